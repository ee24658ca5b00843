"""A texture brought onto another picture's mesh: exact frames, a shift undone, the light fitted."""

import numpy as np
import pytest
import torch

from ostec.core.types import FittedFace, FloatArray, Topology
from ostec.eval.photos.warp import frame, match_light, spread_colours
from ostec.eval.scores import psnr
from ostec.render.unwrap import Unwrapper
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology


@pytest.fixture(scope="module")
def topology() -> Topology:
    return toy_topology()


@pytest.fixture(scope="module")
def unwrapper(topology: Topology) -> Unwrapper:
    return Unwrapper(topology)


def pixels_of(face: FittedFace) -> FloatArray:
    return face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]


def test_a_frame_moves_picture_and_camera_together(topology: Topology) -> None:
    face = toy_face(topology, (5, 20, 10), scale=0.6, centre=(150, 60))
    image = np.random.default_rng(0).random((200, 300, 3), np.float32)
    framed = frame(image, face)
    moved = framed.camera.project(framed.vertices)[0].numpy()
    shift = pixels_of(face) - moved
    assert np.abs(shift - np.round(shift[0])).max() < 1e-3
    left, top = np.round(shift[0]).astype(int)
    assert left > 0
    height, width = framed.size
    assert np.array_equal(framed.image, image[top : top + height, left : left + width])
    assert (moved >= 0).all()
    assert (moved <= [width, height]).all()


def test_a_large_face_is_made_smaller_and_its_mesh_with_it(topology: Topology) -> None:
    large = toy_face(topology, (0, 25, 0), scale=1.6, centre=(190.0, 140.0))
    framed = frame(toy_photo(topology, large, toy_texture(256), (380, 380)), large, most_px=120)
    assert max(framed.size) == 120
    mesh = framed.mesh(Unwrapper(topology).layout(16))
    assert mesh.covered.mean() > 0.4
    assert psnr(mesh.draw(toy_texture(256)), framed.image, mesh.covered) > 38


def test_a_mesh_outside_the_picture_is_refused(topology: Topology) -> None:
    with pytest.raises(ValueError, match="lies in the photo, got one outside"):
        frame(np.zeros((100, 100, 3), np.float32), toy_face(topology, centre=(900.0, 50.0)))


def test_what_is_drawn_is_the_photo(topology: Topology, unwrapper: Unwrapper) -> None:
    face = toy_face(topology, (10, -30, 5))
    framed = frame(toy_photo(topology, face, toy_texture(256)), face)
    mesh = framed.mesh(unwrapper.layout(16))
    assert mesh.covered.mean() > 0.3
    assert psnr(mesh.draw(toy_texture(256)), framed.image, mesh.covered) > 38


def test_the_warp_undoes_shift_turn_and_size(topology: Topology, unwrapper: Unwrapper) -> None:
    here = toy_face(topology, (0, -15, 0), scale=1.0, centre=(120.0, 100.0))
    there = toy_face(topology, (5, 15, 20), scale=1.2, centre=(140.0, 80.0))
    photos = [toy_photo(topology, face, toy_texture(256)) for face in (here, there)]
    seen = unwrapper.unwrap(photos[0], here, 256)
    target = frame(photos[1], there)
    texels = np.concatenate([seen.colour, (seen.visible & (seen.cosine > 0.4))[..., None]], axis=2, dtype=np.float32)
    mesh = target.mesh(unwrapper.layout(16))
    drawn = mesh.draw(texels)
    both = mesh.covered & (drawn[..., 3] > 0.999)
    assert both.mean() > 0.3
    assert psnr(drawn[..., :3], target.image, both) > 34
    # The same picture without the warp is another.
    assert psnr(frame(photos[0], there).image, target.image, both) < 20


def test_other_vertices_take_the_place_of_the_fitted_ones(topology: Topology, unwrapper: Unwrapper) -> None:
    face = toy_face(topology)
    framed = frame(np.zeros((256, 256, 3), np.float32), face)
    layout = unwrapper.layout(16)
    warped, own = (framed.mesh(layout, v) for v in (None, framed.vertices * torch.tensor([0.5, 1, 1])))
    rows = warped.covered.any(1) & own.covered.any(1)
    widths = [mesh.covered[rows].sum(1) for mesh in (warped, own)]
    assert abs(np.median(widths[1] / widths[0]) - 0.5) < 0.03
    again = framed.mesh(layout, framed.vertices)
    assert np.array_equal(again.draw(toy_texture(64)), warped.draw(toy_texture(64)))


def test_gain_and_offset_are_found_where_they_are_looked_for() -> None:
    rng = np.random.default_rng(1)
    made = rng.uniform(0.2, 0.7, (40, 40, 3)).astype(np.float32)
    truth = (made * [0.9, 1.2, 0.7] + [0.05, -0.1, 0.2]).astype(np.float32)
    where = np.zeros((40, 40), bool)
    where[:, :20] = True
    truth[:, 30:] = 0  # not looked at
    found = match_light(made, truth, where)
    assert found is not None
    assert np.abs(found - truth)[:, :30].max() < 1e-5


def test_too_few_pixels_give_no_light_and_a_flat_channel_is_only_moved() -> None:
    made = np.full((20, 20, 3), 0.4, np.float32)
    where = np.zeros((20, 20), bool)
    where.flat[:99] = True
    assert match_light(made, made, where) is None
    made[0, 0] = 0.9  # one pixel is different, elsewhere
    found = match_light(made, np.full((20, 20, 3), 0.6, np.float32), ~where)
    assert found is not None
    assert np.allclose(found[5:], 0.6)
    assert found[0, 0] == pytest.approx([1.0] * 3)  # 0.9 + 0.2, clipped


def test_unknown_texels_take_the_nearest_known_colour() -> None:
    colour = np.zeros((1, 5, 3), np.float32)
    colour[0, 0], colour[0, 4] = 0.2, 0.8
    known = np.array([[True, False, False, False, True]])
    found = spread_colours(colour, known)
    assert found[0, [0, 1, 3, 4], 0] == pytest.approx([0.2, 0.2, 0.8, 0.8])
    assert spread_colours(colour, np.zeros((1, 5), bool)) is colour
