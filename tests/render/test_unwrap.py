"""A photo of the toy face comes back as the toy's texture."""

import numpy as np
import pytest

from ostec.core.types import Provenance
from ostec.render.geometry import rotation_from_pose
from ostec.render.unwrap import Unwrapper, enlarge_inside, resize_map
from ostec.stitch.blend import photo_weight, stitch
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology

SIZE = 128
POSE = (8.0, 30.0, -6.0)


@pytest.fixture(scope="module")
def unwrapper() -> Unwrapper:
    return Unwrapper(toy_topology())


@pytest.fixture(scope="module")
def texture() -> np.ndarray:
    return toy_texture(SIZE)


def photographed(unwrapper, texture, pose=POSE, zoom=1.0, shift=(0.0, 0.0), background=(0.0, 0.0, 1.0)):
    centre = (256 * zoom + shift[0], 180 * zoom + shift[1])
    face = toy_face(unwrapper.topology, pose, 2.2 * zoom, centre)
    size = (round(512 * zoom), round(512 * zoom))
    return face, toy_photo(unwrapper.topology, face, texture, size, background)


@pytest.mark.parametrize("zoom", [0.4, 1.0, 1.4])
def test_the_texture_comes_back_where_it_was_seen(unwrapper, texture, zoom):
    face, photo = photographed(unwrapper, texture, zoom=zoom)
    seen = unwrapper.unwrap(photo, face, SIZE)
    good = seen.visible & (seen.cosine > 0.3) & (seen.margin_mm > 4)
    assert good.mean() > 0.35
    assert -10 * np.log10(((seen.colour - texture)[good] ** 2).mean()) > 42


def test_a_finer_layout_shows_the_same(unwrapper, texture):
    face, photo = photographed(unwrapper, texture)
    fine, coarse = (unwrapper.unwrap(photo, face, size) for size in (256, 128))
    assert (fine.size, coarse.size) == (256, 128)
    both = coarse.visible & (resize_map(fine.visible.astype(np.float32), 128) == 1) & (coarse.margin_mm > 4)
    np.testing.assert_allclose(resize_map(fine.colour, 128)[both], coarse.colour[both], atol=0.02)
    np.testing.assert_allclose(resize_map(fine.cosine, 128)[both], coarse.cosine[both], atol=0.05)


def test_the_record_is_consistent(unwrapper, texture):
    face, photo = photographed(unwrapper, texture)
    seen = unwrapper.unwrap(photo, face, SIZE)
    for array in (seen.colour, seen.cosine, seen.mask, seen.margin_mm, seen.normal):
        assert array.dtype == np.float32
    assert seen.visible.dtype == seen.inside.dtype == bool
    assert not (seen.visible & ~seen.inside).any()
    assert not seen.colour[~seen.visible].any()
    assert (seen.cosine[seen.visible] > 0).all()
    np.testing.assert_array_equal(seen.mask, seen.inside)
    np.testing.assert_allclose(np.linalg.norm(seen.normal[seen.inside], axis=1), 1, atol=1e-5)
    # Camera axes: what faces the viewer has a positive z, and for parallel rays that is the cosine.
    np.testing.assert_allclose(seen.normal[seen.inside][:, 2], seen.cosine[seen.inside], atol=1e-5)
    straight = unwrapper.unwrap(photo, toy_face(unwrapper.topology), SIZE).normal
    np.testing.assert_allclose(seen.normal, straight @ rotation_from_pose(*POSE).T, atol=1e-5)


def test_what_lies_outside_the_photo_is_not_visible(unwrapper, texture):
    face, photo = photographed(unwrapper, texture, pose=(0.0, 0.0, 0.0), shift=(-256.0, 0.0))
    seen = unwrapper.unwrap(photo, face, SIZE)
    assert not seen.visible[:, : SIZE // 2 - 1].any(), "the half on the image's left was cut off"
    assert seen.visible[:, SIZE // 2 + 1 :][seen.inside[:, SIZE // 2 + 1 :]].all()
    assert (seen.cosine[seen.inside] > 0).all()


def test_a_layout_is_baked_once(unwrapper):
    assert unwrapper.layout(64) is unwrapper.layout(64)
    assert unwrapper.layout(64).inside.shape == (64, 64)


def test_what_is_computed_on_the_cpu_has_its_layout_there(unwrapper):
    assert unwrapper.on_cpu is unwrapper
    elsewhere = Unwrapper(toy_topology(), "meta")
    assert elsewhere.on_cpu is elsewhere.on_cpu
    assert elsewhere.on_cpu.layout(64).inside.numpy().any()


@pytest.mark.parametrize("pose", [(0.0, 0.0, 0.0), (5.0, 40.0, 0.0), (-5.0, -60.0, 10.0)])
def test_nothing_of_the_background_enters_the_stitched_texture(unwrapper, texture, pose):
    # The fill is the truth, so any difference from it came in through the photo.
    face, photo = photographed(unwrapper, texture, pose, background=(0.0, 1.0, 0.0))
    seen = unwrapper.unwrap(photo, face, SIZE)
    weight = photo_weight(seen, pose[1])
    found = stitch(seen.colour, weight, texture, seen.inside, mirror=None)
    assert (found.provenance == Provenance.PHOTO).mean() > 0.15
    assert np.abs(found.colour - texture)[seen.inside].max() < 0.06


def test_maps_are_averaged_down_and_interpolated_up():
    values = np.float32([[0, 4], [8, 12]])
    np.testing.assert_array_equal(resize_map(values, 1), [[6]])
    np.testing.assert_array_equal(resize_map(values, 2), values)
    np.testing.assert_allclose(resize_map(values, 4)[0], [0, 1, 3, 4])
    stacked = np.stack([values, 2 * values, 1 - values], axis=-1)
    np.testing.assert_allclose(resize_map(stacked, 3)[..., 1], 2 * resize_map(values, 3))
    assert resize_map(stacked, 3).shape == (3, 3, 3)


def test_a_resized_map_does_not_share_memory():
    values = np.zeros((2, 2), np.float32)
    resize_map(values, 2)[:] = 1
    assert not values.any()


def test_enlarging_lets_no_black_in_from_outside_the_chart():
    inside = np.zeros((16, 16), bool)
    inside[4:12, 4:12] = True
    values = np.where(inside[..., None], np.float32([0.5, 0.6, 0.7]), 0).astype(np.float32)
    large = enlarge_inside(values, inside, 64)
    np.testing.assert_allclose(large, np.broadcast_to(np.float32([0.5, 0.6, 0.7]), (64, 64, 3)), atol=1e-6)


def test_enlarging_keeps_what_is_inside():
    inside = np.ones((8, 8), bool)
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None], (8, 8))[..., None]
    large = enlarge_inside(ramp, inside, 32)[..., 0]
    # Cubic interpolation reaches two texels: nearer to the border it sees the repeated edge.
    np.testing.assert_allclose(resize_map(large, 8)[2:-2], ramp[2:-2, :, 0], atol=1e-5)
