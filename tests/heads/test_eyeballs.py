"""Made eyeballs are closed, lie behind the lids, and move with them."""

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from ostec.heads.eyes import LIDS, OFFSET, RADIUS, sphere, with_eyeballs
from tests.toy_head import toy_correspondence, toy_head_model

MODEL = toy_head_model()
SKIN = replace(
    MODEL,
    parts={name: MODEL.parts[name] for name in ("face", "head")},
    hollow_eyes=True,
    albedo_mean=np.ones_like(MODEL.mean),
    albedo=MODEL.identity,
)
CORRESPONDENCE = toy_correspondence(SKIN)
MADE = with_eyeballs(SKIN, CORRESPONDENCE)


def test_sphere_is_closed_looks_outwards_and_has_a_chart_without_overlap() -> None:
    ball = sphere()
    mesh = trimesh.Trimesh(ball.points, ball.triangles)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(ball.points, axis=1), 1)
    assert ball.uv.min() >= 0
    assert ball.uv.max() <= 1
    np.testing.assert_allclose(ball.uv[0], 0.5)  # the front pole
    a, b, c = (ball.uv[ball.triangles_uv[:, k]].astype(np.float64) for k in range(3))
    one, other = (b - a).T, (c - a).T
    area = one[0] * other[1] - one[1] * other[0]
    assert (area > 0).all()
    assert area.sum() / 2 == pytest.approx(np.pi * 0.49**2, rel=0.06)  # the disc, once, but for gaps at its edge
    away = np.degrees(np.arccos(np.clip(ball.points[ball.triangles][..., 2], -1, 1)))
    flat = np.linalg.norm(ball.uv[ball.triangles_uv] - 0.5, axis=2)
    np.testing.assert_allclose(flat, 0.49 * away / 180, atol=1e-5)


def test_what_the_model_had_stays_as_it_is() -> None:
    count, ball = len(SKIN.mean), len(sphere().points)
    assert len(MADE.mean) == count + 2 * ball
    for name in ("mean", "identity", "expression", "triangles", "uv", "triangles_uv"):
        own = getattr(SKIN, name)
        np.testing.assert_array_equal(getattr(MADE, name)[: len(own)], own)
    assert set(MADE.parts) == {"face", "head", "eye_left", "eye_right"}
    assert (MADE.hollow_eyes, MADE.albedo, MADE.albedo_mean) == (False, None, None)
    for name in LIDS:
        ids = np.unique(MADE.triangles[MADE.parts[name]])
        assert ids.min() >= count
        assert len(ids) == ball
        assert MADE.triangles_uv[MADE.parts[name]].min() >= len(SKIN.uv)
    tiles = [
        {tuple(tile) for tile in np.floor(MADE.uv[MADE.triangles_uv[ids]].reshape(-1, 2)).tolist()}
        for ids in MADE.parts.values()
    ]
    assert [len(tile) for tile in tiles[2:]] == [1, 1]
    assert not tiles[2] & tiles[3]
    assert not (tiles[2] | tiles[3]) & (tiles[0] | tiles[1])


def test_eyeball_lies_behind_its_lids_turned_towards_the_nose() -> None:
    lids = {name: CORRESPONDENCE.points(SKIN.mean)[list(ids)] for name, ids in LIDS.items()}
    for name, points in lids.items():
        ball = MADE.mean[np.unique(MADE.triangles[MADE.parts[name]])].astype(np.float64)
        width = np.linalg.norm(points[0] - points[1])
        middle = (ball.max(0) + ball.min(0)) / 2
        np.testing.assert_allclose(np.linalg.norm(ball - middle, axis=1), RADIUS * width, rtol=1e-4)
        side = np.sign(points[1, 0] - points[0, 0])
        np.testing.assert_allclose(middle - points.mean(0), width * np.array(OFFSET) * (side, 1, 1), atol=1e-4)


def test_eyeball_moves_with_its_lids_in_one_piece() -> None:
    moved = MADE.shape(np.float32([1, 0.5, -1, 0.3, 2]), np.float32([0.2, 0.7])) - MADE.mean
    for name, ids in LIDS.items():
        ball = moved[np.unique(MADE.triangles[MADE.parts[name]])]
        expected = CORRESPONDENCE.points(moved[: len(SKIN.mean)])[list(ids)].mean(0)
        np.testing.assert_allclose(ball, np.broadcast_to(expected, ball.shape), atol=1e-4)


def test_model_without_layout_gets_none() -> None:
    bare = replace(SKIN, uv=np.empty((0, 2), np.float32), triangles_uv=np.empty((0, 3), np.int32))
    made = with_eyeballs(bare, CORRESPONDENCE)
    assert (made.uv.shape, made.triangles_uv.shape) == ((0, 2), (0, 3))
    assert len(made.triangles) == len(MADE.triangles)
