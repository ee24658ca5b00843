"""Eyes seen on the face: where they look, what of the texture comes onto the ball, what stays painted."""

import numpy as np
import pytest

from ostec.core.types import DoubleArray, FloatArray
from ostec.heads.eyes import DARKEST, EyeOpening, common_gaze, eye_opening, gaze, seen_eye
from ostec.heads.texture import Chart, eye_texture
from tests.toy import toy_face, toy_topology
from tests.toy_head import EYE_RADIUS, EYES, MM_PER_UNIT, toy_head_model

TOPOLOGY = toy_topology()
FACE = toy_face(TOPOLOGY)
MODEL = toy_head_model(TOPOLOGY)
IDS = np.unique(MODEL.triangles[MODEL.parts["eye_left"]])
CHART = Chart(MODEL.uv[-2 * len(IDS) : -len(IDS)], MODEL.triangles[MODEL.parts["eye_left"]] - IDS[0], 128)
SIZE = 512
GREEN, DARK = (0.2, 0.7, 0.2), (0.05, 0.1, 0.3)


@pytest.fixture(scope="module")
def opening() -> EyeOpening:
    return eye_opening(FACE.vertices, TOPOLOGY, "eye_left")


@pytest.fixture(scope="module")
def middle(opening: EyeOpening) -> DoubleArray:
    """Of a ball that touches the opening's middle from behind."""
    points = opening.point[opening.depth_mm > 0]
    return np.array([*points[:, :2].mean(0), points[:, 2].min() - EYE_RADIUS])


def _ball(middle: DoubleArray) -> FloatArray:
    points = MODEL.mean[IDS] * np.float32(MM_PER_UNIT) - np.float32(EYES["eye_left"])
    return (points + middle).astype(np.float32)


def _looking(opening: EyeOpening, middle: DoubleArray, aside: float, radius: float = 4.0) -> FloatArray:
    """The face's texture: white eyes, on the left one a dark disc ``aside`` millimetres to the image's right."""
    texture = np.full((SIZE, SIZE, 3), 0.9, np.float32)
    away = np.linalg.norm(opening.point[..., :2] - np.add(middle[:2], (aside, 0)), axis=-1)
    texture[(opening.depth_mm > 0) & (away < radius)] = DARK
    return texture


def test_opening_is_as_deep_as_half_its_height(opening: EyeOpening) -> None:
    u, v = TOPOLOGY.regions["eye_left"].T
    rows, columns = np.nonzero(opening.depth_mm > 0)
    assert abs(columns.min() / SIZE - u.min()) < 2 / SIZE
    assert abs(1 - rows.max() / SIZE - v.min()) < 3 / SIZE
    middle = opening.point[rows, columns][columns == (columns.min() + columns.max()) // 2]
    assert opening.depth_mm.max() == pytest.approx(np.ptp(middle[:, 1]) / 2, rel=0.1)


@pytest.mark.parametrize("aside", [-3.0, 0.0, 3.0])
def test_gaze_points_at_the_dark_disc(opening: EyeOpening, middle: DoubleArray, aside: float) -> None:
    found = gaze(opening, _looking(opening, middle, aside), middle, EYE_RADIUS)
    assert found is not None
    np.testing.assert_allclose(np.linalg.norm(found), 1, atol=1e-6)
    assert found[0] == pytest.approx(aside / EYE_RADIUS, abs=0.06)
    assert found[2] > 0.9


def test_no_gaze_where_the_eye_is_closed_or_something_else_was_dark(opening: EyeOpening, middle: DoubleArray) -> None:
    shut = EyeOpening(np.zeros_like(opening.depth_mm), opening.point)
    assert gaze(shut, _looking(opening, middle, 0.0), middle, EYE_RADIUS) is None
    assert gaze(opening, _looking(opening, middle, 9.0), middle, EYE_RADIUS) is None


def test_both_eyes_look_the_same_way() -> None:
    left, right = np.array([0.28, 0, 0.96]), np.array([-0.28, 0, 0.96])
    np.testing.assert_allclose(common_gaze([left, right]), (0, 0, 1))
    np.testing.assert_allclose(common_gaze([None, left]), left)
    np.testing.assert_allclose(common_gaze([None, None]), (0, 0, 1))


def test_ball_has_the_face_between_the_lids_and_paint_elsewhere(opening: EyeOpening, middle: DoubleArray) -> None:
    texture = np.zeros((SIZE, SIZE, 3), np.float32) + np.float32(GREEN)
    iris, ahead = np.float32([0.2, 0.3, 0.5]), np.array([0.0, 0.0, 1.0])
    ball = _ball(middle)
    made = seen_eye(CHART, ball, iris, ahead, texture, opening)
    painted = eye_texture(CHART, ball, iris)
    np.testing.assert_allclose(made[64, 64], GREEN, atol=1e-5)
    behind = CHART.attribute(ball)[..., 2] < middle[2]
    # What is painted is as dim as the texture: a mean of 1.1 / 3 where the painted white has 0.83.
    np.testing.assert_allclose(made[behind], painted[behind] * (1.1 / 2.49), atol=1e-5)
    bright = seen_eye(CHART, ball, iris, ahead, np.ones_like(texture), opening)
    np.testing.assert_allclose(bright[behind], painted[behind], atol=1e-6)
    black = seen_eye(CHART, ball, iris, ahead, texture * 0, opening)
    np.testing.assert_allclose(black[behind], painted[behind] * DARKEST, atol=1e-5)
    shut = EyeOpening(np.zeros_like(opening.depth_mm), opening.point)
    np.testing.assert_allclose(seen_eye(CHART, ball, iris, ahead, texture, shut), painted, atol=1e-6)


def test_what_is_painted_looks_along(opening: EyeOpening, middle: DoubleArray) -> None:
    shut = EyeOpening(np.zeros_like(opening.depth_mm), opening.point)
    aside = np.array([0.5, 0.0, np.sqrt(0.75)])
    made = seen_eye(CHART, _ball(middle), np.float32([0.2, 0.3, 0.5]), aside, np.zeros((8, 8, 3), np.float32), shut)
    outwards = (CHART.attribute(_ball(middle)) - middle) / EYE_RADIUS
    pupil = outwards[CHART.inside & (made.max(-1) < 0.05)].mean(0)
    np.testing.assert_allclose(pupil / np.linalg.norm(pupil), aside, atol=0.05)
