"""A face's texture on a head: unchanged where the surfaces agree, skin beyond the rim, eyes painted where they look."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import FloatArray
from ostec.heads.settings import HeadTextureSettings
from ostec.heads.texture import (
    IRIS,
    SCLERA,
    Chart,
    FaceOnHead,
    FaceTexture,
    carry_colour,
    eye_texture,
    eyeball,
    iris_colour,
    over_texels,
    part_texture,
    place_on_head,
    plain_skin,
    skin_of,
    surface_normals,
    take_apart,
)
from tests.toy import toy_face, toy_texture, toy_topology
from tests.toy_head import EYE_RADIUS, EYES, MM_PER_UNIT, toy_head_model

TOPOLOGY = toy_topology()
FACE = toy_face(TOPOLOGY)
MODEL = toy_head_model(TOPOLOGY)
SIZE = 128


def _normals(vertices: FloatArray) -> FloatArray:
    import trimesh

    return trimesh.Trimesh(vertices, MODEL.triangles, process=False).vertex_normals.astype(np.float32)


HEAD = MODEL.mean * np.float32(MM_PER_UNIT)
PLACED = place_on_head(FACE.vertices, TOPOLOGY, HEAD, _normals(HEAD))


def test_vertices_on_the_face_keep_their_place_in_its_layout() -> None:
    inner = PLACED.weight[:468] > 0.5
    assert inner.sum() > 200
    np.testing.assert_allclose(PLACED.uv[:468][inner], TOPOLOGY.uv[inner], atol=1e-4)
    np.testing.assert_allclose(PLACED.shade[:468], 1, atol=1e-5)


def test_nothing_counts_beyond_the_rim_and_detail_before_colour() -> None:
    behind = np.unique(MODEL.triangles[MODEL.parts["head"]])
    behind = behind[behind >= 468]
    assert PLACED.weight[behind].max() == 0
    assert (PLACED.own_colour <= PLACED.weight + 1e-6)[:468].all()
    middle = int(np.argmin(np.linalg.norm(HEAD[:468] - [0, 0, 100], axis=1)))
    assert PLACED.weight[middle] == PLACED.own_colour[middle] == 1


def test_what_lies_far_behind_the_face_is_dark() -> None:
    sunk = HEAD[:468] - np.float32([0, 0, 9])
    middle = int(np.argmin(np.linalg.norm(HEAD[:468] - [0, 0, 100], axis=1)))
    found = place_on_head(FACE.vertices, TOPOLOGY, sunk, _normals(HEAD)[:468])
    assert found.shade[middle] < 0.4
    raised = place_on_head(FACE.vertices, TOPOLOGY, HEAD[:468] + np.float32([0, 0, 9]), _normals(HEAD)[:468])
    assert raised.shade[middle] == 1


def test_texture_of_the_same_chart_comes_back_inside() -> None:
    texture = toy_texture(SIZE)
    chart = Chart(TOPOLOGY.uv, TOPOLOGY.triangles, SIZE)
    taken = take_apart(texture, chart.inside, plain_skin(chart.inside, TOPOLOGY))
    everywhere = FaceOnHead(TOPOLOGY.uv, *(np.ones(468, np.float32) for _ in range(3)))
    made = part_texture(chart, over_texels(chart, everywhere), np.zeros((468, 3), np.float32), taken)
    np.testing.assert_allclose(made[chart.inside], texture[chart.inside], atol=2e-3)
    nowhere = replace(everywhere, weight=np.zeros(468, np.float32))
    skin = np.full((468, 3), 0.4, np.float32)
    plain = part_texture(chart, over_texels(chart, nowhere), skin, replace(taken, grain=0.01))
    assert abs(float(plain.mean()) - 0.4) < 1e-3
    assert 0.005 < float(plain[chart.inside][:, 0].std()) < 0.015
    assert plain.shape == (SIZE, SIZE, 3)


def test_detail_stays_and_colour_is_matched_where_only_the_detail_counts() -> None:
    chart = Chart(TOPOLOGY.uv, TOPOLOGY.triangles, SIZE)
    stripes = 0.5 + 0.1 * np.sin(np.arange(SIZE) * np.pi / 2)[:, None, None] * np.ones((1, SIZE, 3))
    taken = FaceTexture(
        stripes.astype(np.float32), np.full((SIZE, SIZE, 3), 0.5, np.float32), np.full(3, 0.3, np.float32), 0.0
    )
    only_detail = FaceOnHead(TOPOLOGY.uv, np.ones(468, np.float32), np.zeros(468, np.float32), np.ones(468, np.float32))
    made = part_texture(chart, over_texels(chart, only_detail), np.full((468, 3), 0.3, np.float32), taken)
    inside = chart.inside
    np.testing.assert_allclose(made[inside], (stripes - 0.2)[inside], atol=2e-3)


def test_carried_colours_meet_the_face_and_become_the_skins() -> None:
    skin = np.float32([0.6, 0.45, 0.4])
    known = np.tile(skin + np.float32([0.1, 0, -0.1]), (len(HEAD), 1)).astype(np.float32)
    weight = (np.arange(len(HEAD)) < 468).astype(np.float32)
    found = carry_colour(HEAD, MODEL.triangles, known, weight, skin)
    np.testing.assert_allclose(found[:468], known[:468], atol=0.01)
    behind = np.unique(MODEL.triangles[MODEL.parts["head"]])
    share = (found[behind, 0] - skin[0]) / 0.1  # one at the rim, less with the distance
    last = behind[-20:]
    assert 0 < ((found[last, 0] - skin[0]) / 0.1).mean() < 0.5
    assert share.min() > -0.01
    assert share.max() < 1.01
    same = carry_colour(HEAD, MODEL.triangles, np.tile(skin, (len(HEAD), 1)), weight, skin)
    np.testing.assert_allclose(same, np.tile(skin, (len(HEAD), 1)), atol=1e-5)


def test_plain_skin_leaves_out_rim_eyes_brows_lips_and_shine() -> None:
    chart = Chart(TOPOLOGY.uv, TOPOLOGY.triangles, SIZE)
    texture = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    texture[60:64, 60:64] = 1.0  # a highlight
    skin = skin_of(texture, plain_skin(chart.inside, TOPOLOGY))
    assert skin.any()
    assert not skin[60:64, 60:64].any()
    for name, polygon in TOPOLOGY.regions.items():
        u, v = polygon.mean(0)
        assert not skin[int((1 - v) * SIZE), int(u * SIZE)], name
    assert not skin[:, : int(0.1 * SIZE)].any()
    taken = take_apart(texture, chart.inside, plain_skin(chart.inside, TOPOLOGY))
    np.testing.assert_allclose(taken.skin, 0.5)
    assert taken.grain == 0


def test_eyeball_is_the_sphere_and_its_texture_looks_ahead() -> None:
    eye = np.unique(MODEL.triangles[MODEL.parts["eye_left"]])
    middle, radius = eyeball(HEAD[eye])
    np.testing.assert_allclose(middle, EYES["eye_left"], atol=1e-3)
    assert radius == pytest.approx(EYE_RADIUS, abs=1e-3)
    chart = Chart(MODEL.uv[-len(eye) :], MODEL.triangles[MODEL.parts["eye_left"]] - eye[0], 128)
    iris = np.float32([0.2, 0.3, 0.5])
    made = eye_texture(chart, HEAD[eye], iris)
    assert made[64, 64].max() < 0.05  # the pupil
    ring = made[64, 64 + int(128 * 0.48 * 20 / 180)]  # 20 degrees off
    assert ring[2] > 1.3 * ring[0]
    np.testing.assert_allclose(made[64, 64 + int(128 * 0.48 * 40 / 180)], SCLERA, atol=0.04)


def test_iris_is_the_darker_part_of_the_eye() -> None:
    texture = np.full((SIZE, SIZE, 3), 0.7, np.float32)
    for name in ("eye_left", "eye_right"):
        u, v = TOPOLOGY.regions[name].mean(0)
        row, column = int((1 - v) * SIZE), int(u * SIZE)
        texture[row - 4 : row + 4, column - 6 : column + 6] = (0.1, 0.25, 0.4)
    np.testing.assert_allclose(iris_colour(texture, TOPOLOGY), (0.1, 0.25, 0.4), atol=1e-6)
    np.testing.assert_allclose(iris_colour(texture, replace(TOPOLOGY, regions={})), IRIS)
    assert iris_colour(texture * 0, TOPOLOGY).min() >= 0.06


def test_settings_move_the_joint() -> None:
    narrow = place_on_head(FACE.vertices, TOPOLOGY, HEAD, _normals(HEAD), HeadTextureSettings(rim_mm=(10.0, 30.0)))
    assert narrow.weight.sum() < 0.9 * PLACED.weight.sum()


def test_normals_point_outwards_and_are_unit() -> None:
    found = surface_normals(HEAD, MODEL.triangles)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (found * _normals(HEAD)).sum(1).min() > 0.9  # weighted by area here, by angle there
    flat = np.float32([[0, 0, 0], [1, 0, 0], [0, 2, 0], [5, 5, 5]])
    assert surface_normals(flat, np.array([[0, 1, 2]], np.int32)).tolist() == [[0, 0, 1]] * 3 + [[0, 0, 0]]


def test_padding_repeats_the_nearest_texel_and_limits() -> None:
    square = np.float32([[0.25, 0], [0.75, 0], [0.75, 1], [0.25, 1]])
    chart = Chart(square, np.array([[0, 1, 2], [0, 2, 3]], np.int32), 8)
    picture = np.zeros((8, 8, 3)) + np.linspace(-0.5, 1.25, 8)[None, :, None]
    np.testing.assert_allclose(chart.padded(picture)[3, :, 0], [0, 0, 0, 0.25, 0.5, 0.75, 0.75, 0.75])
