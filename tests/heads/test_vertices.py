"""Colours at vertices are those of the texture where the vertices lie on it, without what lies between them."""

import numpy as np
import pytest

from ostec.heads.texture import SPREAD, AtVertices, FaceOnHead, FaceTexture, for_vertices, over_texels, part_texture

SIZE = 64


def _grid(side: int) -> tuple[FaceOnHead, np.ndarray]:
    """A square mesh of ``side`` x ``side`` vertices over the texture."""
    u, v = np.meshgrid(np.linspace(0.1, 0.9, side), np.linspace(0.1, 0.9, side))
    uv = np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float32)
    a = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    triangles = np.concatenate([np.stack([a, a + 1, a + side], 1), np.stack([a + 1, a + side + 1, a + side], 1)])
    one = np.ones(len(uv), np.float32)
    return FaceOnHead(uv, one, one, one), triangles.astype(np.int32)


def _texture(colour: np.ndarray) -> FaceTexture:
    return FaceTexture(colour, np.full_like(colour, 0.5), np.float32([0.5, 0.5, 0.5]), 0.1)


def test_smooth_texture_is_read_where_the_vertices_lie() -> None:
    on_head, triangles = _grid(9)
    ramp = np.linspace(0, 1, SIZE, dtype=np.float32)
    colour = np.stack(np.broadcast_arrays(ramp[None, :], 1 - ramp[:, None], np.float32(0.25)), axis=-1).copy()
    chart = AtVertices(len(on_head.uv))
    smooth = for_vertices(_texture(colour), on_head, triangles)
    base = np.full((len(on_head.uv), 3), 0.5, np.float32)
    found = part_texture(chart, over_texels(chart, on_head), base, smooth)
    expected = np.c_[on_head.uv, np.full(len(on_head.uv), 0.25)]
    np.testing.assert_allclose(found, expected, atol=0.03)


def test_detail_between_vertices_is_gone_and_no_grain_is_added() -> None:
    on_head, triangles = _grid(9)
    chequer = ((np.add.outer(np.arange(SIZE), np.arange(SIZE)) % 2)[..., None] * np.ones(3)).astype(np.float32)
    smooth = for_vertices(_texture(chequer), on_head, triangles)
    assert smooth.grain == 0
    np.testing.assert_allclose(smooth.colour[8:-8, 8:-8], 0.5, atol=1e-3)
    # Neighbours are 0.1 apart, diagonals further: the median is a side's.
    dot = np.zeros((SIZE, SIZE, 3), np.float32)
    dot[32, 32] = 1
    spread = for_vertices(_texture(dot), on_head, triangles).colour[..., 0]
    away = np.arange(SIZE) - 32
    assert np.sqrt((spread.sum(0) * away**2).sum() / spread.sum()) == pytest.approx(SPREAD * 0.1 * SIZE, rel=0.05)


def test_where_the_face_is_not_nothing_changes() -> None:
    on_head, triangles = _grid(3)
    texture = _texture(np.random.default_rng(0).random((SIZE, SIZE, 3)).astype(np.float32))
    away = FaceOnHead(on_head.uv, 0 * on_head.weight, on_head.own_colour, on_head.shade)
    assert for_vertices(texture, away, triangles) is texture
    chart = AtVertices(9)
    base = np.linspace(0, 1.2, 27, dtype=np.float32).reshape(9, 3)
    quiet = FaceTexture(texture.colour, texture.low, texture.skin, 0.0)
    np.testing.assert_allclose(part_texture(chart, over_texels(chart, away), base, quiet), np.clip(base, 0, 1))
