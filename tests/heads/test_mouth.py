"""What shows between open lips becomes a piece behind them; closed lips need none."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import FloatArray
from ostec.heads.mouth import BEHIND_MM, DARKEST, TEETH, between_lips, mouth_light
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
        assert mouth_light(texture, TOPOLOGY) == pytest.approx(wanted, abs=1e-3)
    elsewhere = replace(TOPOLOGY, regions={})
    assert mouth_light(np.zeros((8, 8, 3), np.float32), elsewhere) == (1, 1, 1)
