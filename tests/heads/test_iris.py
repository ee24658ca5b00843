"""Eyeballs as a photo shows them: which way they are turned, and a whole iris from the part between the lids."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import FloatArray, SeenEye
from ostec.heads.eyes import sphere
from ostec.heads.iris import eye_turn, iris_texture
from ostec.heads.texture import Chart

MIDDLE, RADIUS, SIZE, ZOOM = np.array([30.0, 5.0, 40.0]), 12.0, 256, 6.0
SPHERE = sphere()
OWN = np.zeros(len(SPHERE.uv), np.int32)
OWN[SPHERE.triangles_uv] = SPHERE.triangles
BALL = (MIDDLE + RADIUS * SPHERE.points[OWN]).astype(np.float32)
"""One vertex for each place of the chart."""
CHART = Chart(SPHERE.uv, SPHERE.triangles_uv, 128)
BROWN, WHITE = (0.4, 0.25, 0.15), (0.8, 0.78, 0.76)
WAY = np.array([0.3, -0.1, np.sqrt(1 - 0.1)])


def _eye(shine: bool = False, lids: FloatArray | None = None) -> SeenEye:
    """A photo, straight from the front, of an eye that looks to the picture's right and down."""
    camera = np.array([[ZOOM, 0, 0, SIZE / 2 - ZOOM * MIDDLE[0]], [0, -ZOOM, 0, SIZE / 2 + ZOOM * MIDDLE[1]]])
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    place = camera[:, :3] @ (MIDDLE + RADIUS * WAY) + camera[:, 3]
    away = np.hypot(x - place[0], y - place[1])
    picture = np.where((away < 5.8 * ZOOM)[..., None], BROWN, WHITE)
    picture[away < 2.2 * ZOOM] = 0.04
    if shine:
        picture[np.hypot(x - place[0] - 18, y - place[1] + 8) < 5] = 1
    if lids is None:
        lids = np.array([[10, 128], [128, 60], [246, 128], [128, 200]], np.float32)
    return SeenEye(picture.astype(np.float32), camera, np.array([*place, 5.8 * ZOOM], np.float32), lids)


def test_ball_turns_to_where_the_iris_is() -> None:
    turn = eye_turn(_eye(), BALL)
    assert turn is not None
    np.testing.assert_allclose(turn @ [0, 0, 1], WAY, atol=1e-3)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)


def test_iris_beside_the_ball_turns_nothing() -> None:
    eye = _eye()
    assert eye_turn(replace(eye, iris=eye.iris + np.array([70, 0, 0], np.float32)), BALL) is None


@pytest.mark.parametrize("shine", [False, True])
def test_iris_is_whole_round_and_without_highlight(shine: bool) -> None:
    eye = _eye(shine)
    turn = eye_turn(eye, BALL)
    assert turn is not None
    made = iris_texture(CHART, BALL, eye, turn)
    assert made is not None
    at = CHART.attribute((BALL - MIDDLE) / RADIUS)
    angle = np.degrees(np.arccos(np.clip(at[..., 2], -1, 1)))
    iris = made[CHART.inside & (angle > 14) & (angle < 22)]
    assert np.abs(iris - BROWN).max() < 0.12  # above and below too, where lids hide it
    assert made[CHART.inside & (angle < 6)].max() < 0.1
    white = made[CHART.inside & (angle > 36) & (angle < 42) & (at[..., 1] < 0)]
    np.testing.assert_allclose(white.mean(0), np.array(WHITE), atol=0.06)


def test_closed_eye_gives_no_iris() -> None:
    eye = _eye(lids=np.array([[10, 128], [128, 126], [246, 128], [128, 130]], np.float32))
    turn = eye_turn(eye, BALL)
    assert turn is not None
    assert iris_texture(CHART, BALL, eye, turn) is None
