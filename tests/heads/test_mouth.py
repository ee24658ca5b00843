"""What shows between open lips becomes a piece behind them; closed lips need none."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import FloatArray
from ostec.heads.mouth import BEHIND_MM, DARKEST, TEETH, between_lips, fading, mouth_light
from ostec.heads.texture import sample
from ostec.render.geometry import in_polygon
from tests.toy import toy_texture, toy_topology

TOPOLOGY = toy_topology()
TEXTURE = toy_texture(256)


def _mesh(gap_mm: float) -> FloatArray:
    """The toy face with the two landmarks of the lips' middle so far apart."""
    vertices = TOPOLOGY.mean_landmarks.copy()
    vertices[14] = vertices[13] - np.float32([0, gap_mm, 0])
    return vertices


def test_piece_lies_behind_the_lips_and_shows_what_the_face_shows_there() -> None:
    vertices = _mesh(5.0)
    made = between_lips(vertices, TOPOLOGY, TEXTURE, has_layout=True)
    assert made is not None
    assert made.texture is not None
    expected = vertices[:, None] - np.float32([0, 0, BEHIND_MM])
    distance = np.abs(made.vertices[None] - expected).max(axis=2)  # [W, V]
    np.testing.assert_allclose(distance.min(axis=0), 0, atol=1e-5)
    source = distance.argmin(axis=0)
    within = in_polygon(TOPOLOGY.uv[:, 0], TOPOLOGY.uv[:, 1], TOPOLOGY.regions["mouth"])
    assert set(np.flatnonzero(within)) <= set(source.tolist())  # and their neighbours
    assert len(source) > within.sum()
    away = np.abs(TOPOLOGY.uv[source] - TOPOLOGY.regions["mouth"].mean(0)).max(axis=0)
    assert (away < np.ptp(TOPOLOGY.regions["mouth"], axis=0) / 2 + 0.06).all()
    inner = within[source]  # at the crop's border the neighbouring texels are missing
    found = sample(made.texture, made.uv)[inner]
    np.testing.assert_allclose(found, sample(TEXTURE, TOPOLOGY.uv[source])[inner], atol=1e-4)
    assert made.normals[:, 2].min() > 0


def test_without_layout_its_vertices_have_the_colours() -> None:
    made = between_lips(_mesh(5.0), TOPOLOGY, TEXTURE, has_layout=False)
    textured = between_lips(_mesh(5.0), TOPOLOGY, TEXTURE, has_layout=True)
    assert made is not None
    assert textured is not None
    assert (made.texture, made.uv.shape) == (None, (0, 2))
    np.testing.assert_array_equal(made.vertices, textured.vertices)
    np.testing.assert_array_equal(made.triangles, textured.triangles)
    assert made.vertex_colours is not None
    assert made.vertex_colours.shape == made.vertices.shape


@pytest.mark.parametrize("gap", [0.0, 1.9])
def test_closed_mouth_needs_none(gap: float) -> None:
    assert between_lips(_mesh(gap), TOPOLOGY, TEXTURE, has_layout=True) is None


def test_face_without_a_mouth_has_none() -> None:
    assert between_lips(_mesh(5.0), replace(TOPOLOGY, regions={}), TEXTURE, has_layout=True) is None


def test_light_of_the_mouth_is_that_of_what_is_between_the_lips() -> None:
    at = (np.arange(256) + 0.5) / 256
    u, v = np.meshgrid(at, 1 - at)
    within = in_polygon(u, v, TOPOLOGY.regions["mouth"])
    teeth = np.array(TEETH)
    for colour, wanted in (
        (teeth, [1, 1, 1]),
        (teeth * [0.9, 0.7, 0.5], [0.8, 0.7, 0.6]),
        (0 * teeth, [DARKEST] * 3),
        (1 + 0 * teeth, [1, 1, 1]),
    ):
        texture = np.full((256, 256, 3), 0.1 if colour.mean() > 0.7 else 0.9, np.float32)
        texture[within] = colour
        assert mouth_light(texture, TOPOLOGY, _mesh(5.0)) == pytest.approx(wanted, abs=1e-3)
    elsewhere = replace(TOPOLOGY, regions={})
    assert mouth_light(np.zeros((8, 8, 3), np.float32), elsewhere, _mesh(5.0)) == (1, 1, 1)


def test_light_of_a_closed_mouth_is_grey_and_as_bright_as_the_face_not_the_lips() -> None:
    at = (np.arange(256) + 0.5) / 256
    u, v = np.meshgrid(at, 1 - at)
    texture = np.full((256, 256, 3), np.mean(TEETH) * 0.8, np.float32)
    texture[in_polygon(u, v, TOPOLOGY.regions["mouth"])] = 0.2, 0.1, 0.1
    assert mouth_light(texture, TOPOLOGY, _mesh(0.5)) == pytest.approx([0.8] * 3, abs=1e-3)
    assert max(mouth_light(texture, TOPOLOGY, _mesh(5.0))) < 0.7


def test_what_lies_deeper_is_darker_and_a_groove_is_darker_than_its_sides() -> None:
    depth = np.arange(0, 40, 2, np.float32)
    vertices = np.stack([np.tile([-1, 0, 1], 20), np.zeros(60), -np.repeat(depth, 3)], axis=1).astype(np.float32)
    up = np.tile(np.float32([0, 1, 0]), (60, 1))
    ids = np.arange(60).reshape(20, 3)
    one, two, three, four = ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]
    quads = np.stack([one, two, three, four], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    for name in ("teeth_upper", "tongue"):
        flat = fading(name, vertices, up, triangles, 0.0)
        assert (np.diff(flat[::3, 0]) <= 0).all()
        assert flat[-1, 0] < 0.5 < 0.9 < flat[0, 0]
        grooved = vertices.copy()
        grooved[1::3, 1] -= 0.5
        assert (fading(name, grooved, up, triangles, 0.0)[1::3] < flat[1::3]).all()
        np.testing.assert_allclose(fading(name, grooved, up, triangles, 0.0)[::3], flat[::3])
