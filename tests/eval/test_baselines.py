"""The cheap methods, by hand on a small texture and on the toy face."""

import numpy as np
import pytest

from ostec.core.errors import FaceError
from ostec.eval.photos.baselines import BASELINE_COSINE, SeenTexels, inpaint, median, mirror, seen_texels
from ostec.render.uv import bake_layout
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology


def row(*values: float) -> np.ndarray:
    return np.repeat(np.float32(values)[None, :, None], 3, 2)


def small() -> SeenTexels:
    return SeenTexels(row(0.1, 0.2, 0.6, 0.0, 0.0, 0.0), np.array([[True, True, True, True, False, False]]))


def test_median_fills_with_the_median_of_what_was_seen() -> None:
    assert median(small()) == pytest.approx(row(0.1, 0.2, 0.6, 0.0, 0.15, 0.15))


def test_mirror_takes_the_other_side_where_that_was_seen() -> None:
    photo = SeenTexels(row(0.0, 0.2, 0.6, 0.0, 0.0, 0.0), np.array([[False, True, True, False, False, False]]))
    assert mirror(photo) == pytest.approx(row(0.4, 0.2, 0.6, 0.6, 0.2, 0.4))


def test_inpaint_continues_a_plain_colour_and_keeps_what_was_seen() -> None:
    seen = np.ones((64, 64), bool)
    seen[20:40, 30:50] = False
    colour = np.where(seen[..., None], np.float32([0.8, 0.4, 0.2]), 0).astype(np.float32)
    found = inpaint(SeenTexels(colour, seen))
    assert found.dtype == np.float32
    assert np.array_equal(found[seen], colour[seen])
    assert found[~seen] == pytest.approx(np.broadcast_to([0.8, 0.4, 0.2], (400, 3)), abs=0.04)  # 8 of 255 by rounding


def test_what_is_seen_is_the_photo_where_the_mesh_faces_it() -> None:
    topology = toy_topology()
    face, texture = toy_face(topology, (0.0, 35.0, 0.0)), toy_texture(256)
    layout = bake_layout(topology, 128)
    photo = seen_texels(toy_photo(topology, face, texture), face, layout)
    assert not photo.colour[~photo.seen].any()
    assert 0.3 < photo.seen.sum() / layout.inside.sum() < 0.95
    halves = photo.seen[:, :64].sum(), photo.seen[:, 64:].sum()
    assert halves[0] > 1.3 * halves[1]  # the nose turns to the image's right: the left half is seen
    small_texture = texture.reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(photo.colour - small_texture)[photo.seen].mean() < 0.01
    assert 0 < BASELINE_COSINE < 1


def test_a_photo_that_shows_nothing_is_an_error() -> None:
    topology = toy_topology()
    face = toy_face(topology, centre=(-5000.0, 90.0))
    with pytest.raises(FaceError, match="no part"):
        seen_texels(np.zeros((64, 64, 3), np.float32), face, bake_layout(topology, 32))
