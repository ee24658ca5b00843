"""A tile laid over a face: every texel finds its place; parts of one tile share a picture."""

import numpy as np
import pytest

from ostec.core.types import FloatArray
from ostec.heads.settings import HeadTextureSettings
from ostec.heads.texels import PLACES, SHARES, TileMap, map_tile, sheets_of
from ostec.heads.texture import Chart, sample, surface_normals
from tests.toy import toy_face, toy_topology
from tests.toy_head import toy_head_model

TOPOLOGY = toy_topology()
FACE = toy_face(TOPOLOGY).vertices
MODEL = toy_head_model(TOPOLOGY)
NORMALS = surface_normals(MODEL.mean, MODEL.triangles)[:468]
SIZE = 128
TURNED = TOPOLOGY.uv[:, ::-1] * np.float32([-0.5, 0.8]) + np.float32([0.75, 0.1])
"""Another layout of the same face: turned by 90 degrees, smaller, unequally in u and v."""


def _planted(points: FloatArray) -> FloatArray:
    """Colours [..., 3] in [0.2, 0.8] that name the place of points [..., 3] of the face."""
    low, high = FACE.min(0), FACE.max(0)
    return (0.2 + 0.6 * (points - low) / (high - low)).astype(np.float32)


def test_colours_come_to_the_places_that_they_name() -> None:
    source = Chart(TOPOLOGY.uv, TOPOLOGY.triangles, 512)
    texture = source.padded(_planted(source.attribute(FACE)))
    chart = Chart(TURNED, TOPOLOGY.triangles, SIZE)
    at = map_tile(chart, FACE, TOPOLOGY, FACE, NORMALS).unpacked()
    known = at.weight == 1
    assert known.sum() > 0.3 * chart.inside.sum()
    expected = _planted(chart.attribute(FACE))
    np.testing.assert_allclose(sample(texture, at.uv)[known], expected[known], atol=0.004)


def test_texels_lie_between_vertices_where_the_surfaces_differ() -> None:
    """A model of four vertices: the colour at a texel is that of the face below it, not a mean of the corners'."""
    corners = np.float32([[-30, -40, 120], [30, -40, 120], [30, 30, 120], [-30, 30, 120]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    chart = Chart(np.float32([[0, 0], [1, 0], [1, 1], [0, 1]]), triangles, 64)
    normals = np.tile(np.float32([0, 0, 1]), (4, 1))
    settings = HeadTextureSettings(off_mm=(200.0, 300.0))
    at = map_tile(chart, FACE, TOPOLOGY, corners, normals, settings).unpacked()
    assert (at.weight > 0.99).mean() > 0.9
    flat = chart.attribute(corners)
    source = Chart(TOPOLOGY.uv, TOPOLOGY.triangles, 512).attribute(FACE)
    below = sample(source, at.uv)
    behind = below[..., 2] - flat[..., 2]
    assert np.ptp(behind) > 20  # the face is round
    assert np.linalg.norm(below - flat, axis=-1).max() < 90


def test_nothing_is_reached_beyond_the_rim_and_far_from_the_surface() -> None:
    chart = Chart(TURNED, TOPOLOGY.triangles, SIZE)
    tile = map_tile(chart, FACE, TOPOLOGY, FACE, NORMALS)
    assert not tile.reached[~chart.inside].any()
    at = tile.unpacked()
    assert at.weight[~chart.inside].max() == 0
    assert at.shade[~chart.inside].min() == 1
    away = map_tile(chart, FACE, TOPOLOGY, FACE + np.float32([0, 0, 40]), NORMALS)
    assert not away.reached.any()
    assert away.step == 0
    assert away.unpacked().weight.max() == 0


def test_step_is_the_distance_between_neighbours_in_the_faces_layout() -> None:
    tile = map_tile(Chart(TOPOLOGY.uv, TOPOLOGY.triangles, SIZE), FACE, TOPOLOGY, FACE, NORMALS)
    assert tile.step == pytest.approx(1 / SIZE, rel=0.02)
    turned = map_tile(Chart(TURNED, TOPOLOGY.triangles, SIZE), FACE, TOPOLOGY, FACE, NORMALS)
    assert turned.step == pytest.approx(1 / 0.5 / SIZE, rel=0.02)


def test_whole_numbers_come_back_as_they_were_meant() -> None:
    reached = np.array([[False, True], [True, False]])
    place = np.array([[0, PLACES], [PLACES // 5, PLACES]], np.uint16)
    share = np.array([[SHARES, 0, SHARES], [51, 102, 204]], np.uint8)
    at = TileMap(reached, place, share).unpacked()
    np.testing.assert_allclose(at.uv[0, 1], [0, 1])
    np.testing.assert_allclose(at.uv[1, 0], [0.2, 1], atol=1e-6)
    np.testing.assert_allclose([at.weight[0, 1], at.own_colour[0, 1], at.shade[0, 1]], [1, 0, 1])
    np.testing.assert_allclose([at.weight[1, 0], at.own_colour[1, 0], at.shade[1, 0]], [0.2, 0.4, 0.8])
    assert (at.weight[0, 0], at.shade[0, 0]) == (0, 1)


SQUARE = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def _square(left: float, right: float) -> Chart:
    return Chart(np.float32([[left, 0], [right, 0], [right, 1], [left, 1]]), SQUARE, 16)


def test_parts_of_one_tile_share_a_picture_unless_they_overlap() -> None:
    charts = {"a": _square(0, 0.25), "b": _square(0.5, 1), "c": _square(0.2, 0.5), "d": _square(0.5, 0.75)}
    tiles = {"a": (0, 0), "b": (0, 0), "c": (0, 0), "d": (1, 0)}
    assert [sheet.parts for sheet in sheets_of(charts, tiles)] == [("a", "b"), ("c",), ("d",)]


def test_shared_picture_has_each_part_in_its_place_and_no_hole() -> None:
    charts = {"a": _square(0, 0.25), "b": _square(0.5, 1)}
    (sheet,) = sheets_of(charts, {"a": (0, 0), "b": (0, 0)})
    pictures = {"a": np.full((16, 16, 3), 0.25, np.float32), "b": np.full((16, 16, 3), 0.75, np.float32)}
    made = sheet.joined(pictures, charts)
    np.testing.assert_array_equal(made[0, :, 0], [0.25] * 6 + [0.75] * 10)
    alone = sheets_of({"a": charts["a"]}, {"a": (0, 0)})[0]
    assert alone.joined(pictures, charts) is pictures["a"]


def test_settings_reach_the_tile() -> None:
    chart = Chart(TURNED, TOPOLOGY.triangles, SIZE)
    usual = map_tile(chart, FACE, TOPOLOGY, FACE, NORMALS)
    narrow = map_tile(chart, FACE, TOPOLOGY, FACE, NORMALS, HeadTextureSettings(rim_mm=(10.0, 30.0)))
    assert narrow.unpacked().weight.sum() < 0.9 * usual.unpacked().weight.sum()
