"""Crops and their inverses, and the resampling."""

import math

import numpy as np
import pytest
import torch

from ostec.core.types import FaceBox
from ostec.nets.arcface import TEMPLATE
from ostec.render.crops import (
    NOSE_TIP,
    Crop,
    crop_around_face,
    crop_around_points,
    crop_as_portrait,
    crop_onto_template,
    five_points,
    warp,
)
from ostec.render.geometry import portrait_camera


def random_crops(count, size=64):
    rng = np.random.default_rng(0)
    return [
        Crop(
            (float(rng.uniform(-50, 500)), float(rng.uniform(-50, 500))),
            float(rng.uniform(5, 900)),
            float(rng.uniform(-math.pi, math.pi)),
            size,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("crop", random_crops(20))
@pytest.mark.parametrize("dimensions", [2, 3])
def test_crop_then_inverse_returns_the_points(crop, dimensions):
    points = np.random.default_rng(1).uniform(-100, 600, (50, dimensions))
    np.testing.assert_allclose(crop.points_to_photo(crop.points_to_crop(points)), points, atol=1e-9)
    single = points.astype(np.float32)
    back = crop.points_to_crop(crop.points_to_photo(single))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, single, atol=crop.size / crop.side * 1e-3 + 1e-4)


def test_points_of_a_turned_crop_by_hand():
    # A quarter turn clockwise: the crop's x axis points down in the photo, its y axis to the left.
    crop = Crop(center=(10.0, 20.0), side=8.0, angle=math.pi / 2, size=4)
    points = np.array([[2.0, 2.0, 1.0], [4.0, 2.0, 0.0], [2.0, 4.0, -1.0], [0.0, 0.0, 0.0]])
    expected = [[10.0, 20.0, 2.0], [10.0, 24.0, 0.0], [6.0, 20.0, -2.0], [14.0, 16.0, 0.0]]
    np.testing.assert_allclose(crop.points_to_photo(points), expected, atol=1e-12)
    np.testing.assert_allclose(crop.points_to_crop(np.array(expected)), points, atol=1e-12)


def test_points_without_two_or_three_coordinates_are_refused():
    crop = Crop((0.0, 0.0), 1.0, 0.0, 1)
    for points in (np.zeros((3, 4)), np.zeros(()), np.zeros((2, 1))):
        with pytest.raises(ValueError, match="expected points"):
            crop.points_to_crop(points)
        with pytest.raises(ValueError, match="expected points"):
            crop.points_to_photo(points)


@pytest.mark.parametrize(("side", "size", "x"), [(0.0, 4, 0.0), (-1.0, 4, 0.0), (1.0, 0, 0.0), (1.0, 4, math.nan)])
def test_impossible_crops_are_refused(side, size, x):
    with pytest.raises(ValueError, match="expected"):
        Crop((x, 0.0), side, 0.0, size)


def test_crop_around_points_is_mediapipes_square():
    points = np.array([[10.0, 40.0, 5.0], [30.0, 20.0, 0.0], [50.0, 60.0, 0.0], [20.0, 80.0, 9.0]])
    crop = crop_around_points(points, np.array([[0.0, 0.0], [10.0, 10.0]]), expand=1.5, size=192)
    assert crop == Crop((30.0, 50.0), 90.0, math.pi / 4, 192)


def test_crop_around_points_needs_points_apart():
    with pytest.raises(ValueError, match="positive side"):
        crop_around_points(np.ones((5, 3)), np.ones((2, 3)), expand=1.5, size=192)


def face(points):
    return FaceBox(np.array([10, 20, 110, 140], np.float32), 0.99, np.array(points, np.float32))


@pytest.mark.parametrize("degrees", [-170, -60, 0, 25, 90])
def test_crop_around_a_turned_face_is_turned_with_it(degrees):
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    upright = np.array([[-20, -20], [20, -20], [0, 0], [-15, 25], [15, 25]])
    crop = crop_around_face(face(upright @ turn.T + (60, 80)), expand=1.5, size=192)
    assert crop.center == (60.0, 80.0)
    assert crop.side == 180.0
    assert crop.angle == pytest.approx(angle, abs=1e-6)


def test_crop_around_a_profile_is_upright_though_its_eyes_coincide():
    crop = crop_around_face(face([[60, 60], [59, 63], [30, 80], [50, 110], [50, 111]]), expand=1.5, size=192)
    assert abs(math.degrees(crop.angle)) < 15


def test_warp_over_the_whole_image_returns_it():
    image = torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(warp(image, [Crop((10.0, 10.0), 20.0, 0.0, 20)]), image, atol=1e-5, rtol=0)


def test_warp_turns_as_the_angle_says():
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    # The crop's x axis points down in the photo: its first row is the photo's last column.
    turned = warp(image, [Crop((4.0, 4.0), 8.0, math.pi / 2, 8)])
    torch.testing.assert_close(turned, torch.rot90(image, 1, dims=(2, 3)), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("side", "size"), [(60.0, 96), (150.0, 96), (210.0, 96), (330.0, 96), (880.0, 96)])
def test_a_planted_dot_lands_where_points_to_crop_says(side, size):
    dot, sigma = np.array([203.3, 171.8]), max(3.0, 2 * side / size)
    crop = Crop((190.0, 180.0), side, 0.6, size)
    y, x = np.mgrid[0:400, 0:420] + 0.5
    image = np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / (2 * sigma**2))
    cut = warp(torch.from_numpy(image)[None, None], [crop], border="zero")[0, 0].numpy()
    y, x = np.mgrid[0:size, 0:size] + 0.5
    found = np.array([(cut * x).sum(), (cut * y).sum()]) / cut.sum()
    np.testing.assert_allclose(found, crop.points_to_crop(dot), atol=0.05)


@pytest.mark.parametrize("scale", [1.7, 2.0, 3.4, 9.5])
def test_a_fine_pattern_becomes_its_mean_rather_than_moire(scale):
    board = (np.indices((640, 640)).sum(axis=0) % 2).astype(np.float32)
    cut = warp(torch.from_numpy(board)[None, None], [Crop((320.0, 320.0), 32 * scale, 0.3, 32)])
    assert (cut - 0.5).abs().max() < 0.15
    assert cut.mean().item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("side", [10.0, 60.0])
def test_outside_the_image_is_its_border_or_zero(side):
    image = torch.full((1, 1, 8, 8), 0.25)
    image[:, :, :, 4:] = 1.0
    crop = Crop((8.0, 4.0), side, 0.0, 10)
    assert warp(image, [crop])[0, 0, 5, -1] == pytest.approx(1.0)
    assert warp(image, [crop], border="zero")[0, 0, 5, -1] == 0.0


def test_a_crop_beside_the_image_is_filled_from_its_nearest_pixels():
    image = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    for block_side in (4.0, 40.0):
        cut = warp(image, [Crop((500.0, -300.0), block_side, 0.2, 4)])
        assert cut.isfinite().all()
        if block_side == 4.0:
            torch.testing.assert_close(cut, image[:, :, :1, -1:].expand(1, 3, 4, 4))


def test_each_image_is_cut_as_if_alone():
    images = torch.rand(4, 3, 60, 50, generator=torch.Generator().manual_seed(0))
    crops = [Crop((20.0, 30.0), side, 0.1, 16) for side in (10.0, 40.0, 100.0, 400.0)]
    together = warp(images, crops)
    for i, crop in enumerate(crops):
        assert torch.equal(together[i : i + 1], warp(images[i : i + 1], [crop]))


@pytest.mark.parametrize("side", [6.0, 14.0, 30.0])
def test_warp_is_differentiable_in_the_image(side):
    image = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    crops = [Crop((5.0, 6.0), side, 0.4, 6)]
    assert torch.autograd.gradcheck(lambda x: warp(x, crops), image.requires_grad_(True))


def test_warp_refuses_what_does_not_fit_together():
    crop, other = Crop((4.0, 4.0), 8.0, 0.0, 8), Crop((4.0, 4.0), 8.0, 0.0, 9)
    for images, crops in (
        (torch.zeros(3, 8, 8), [crop]),
        (torch.zeros(2, 3, 8, 8), [crop]),
        (torch.zeros(0, 3, 8, 8), []),
    ):
        with pytest.raises(ValueError, match="expected images"):
            warp(images, crops)
    with pytest.raises(ValueError, match="one size"):
        warp(torch.zeros(2, 3, 8, 8), [crop, other])


def umeyama(points, template):
    """Scale, rotation [2, 2] and shift [2] from points to template, by the singular values of Umeyama 1991, eq. 34."""
    p, t = points - points.mean(0), template - template.mean(0)
    u, d, v = np.linalg.svd(t.T @ p / len(p))
    sign = np.diag([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    rotation = u @ sign @ v
    scale = np.trace(np.diag(d) @ sign) / p.var(0).sum()
    return scale, rotation, template.mean(0) - scale * rotation @ points.mean(0)


def test_five_points_are_eyes_nose_and_mouth_from_left_to_right():
    landmarks = np.zeros((468, 3), np.float32)
    for where, ids in (((10, 5), (33, 133)), ((30, 5), (362, 263)), ((20, 12), (NOSE_TIP,)), ((14, 20), (61,))):
        landmarks[list(ids), :2] = where
    landmarks[133, 0] += 4
    landmarks[291] = (26, 21, -7)
    expected = [[12, 5, 0], [30, 5, 0], [20, 12, 0], [14, 20, 0], [26, 21, -7]]
    np.testing.assert_array_equal(five_points(landmarks), expected)


def test_similarity_by_hand():
    """A template turned by a quarter, three times as large and shifted: the crop undoes just that."""
    template = np.array([[2.0, 2.0], [6.0, 2.0], [2.0, 8.0]])
    points = np.array([[100.0, 50.0], [100.0, 62.0], [82.0, 50.0]])  # (x, y) -> (106 - 3y, 44 + 3x)
    crop = crop_onto_template(points, template, 10)
    assert crop.center == pytest.approx((91.0, 59.0))  # of (5, 5)
    assert crop.side == pytest.approx(30.0)
    assert crop.angle == pytest.approx(math.pi / 2)
    np.testing.assert_allclose(crop.points_to_crop(points), template, atol=1e-12)
    np.testing.assert_allclose(crop.points_to_photo(template), points, atol=1e-12)


@pytest.mark.parametrize("mirrored", [False, True])
def test_similarity_of_points_that_do_not_fit_is_umeyamas(mirrored):
    random = np.random.default_rng(0)
    points = TEMPLATE * 3 + random.normal(size=(5, 2)) * 20 + [100, 200]
    points = np.ascontiguousarray(points[:, ::-1]) if mirrored else points  # a mirror image is turned, not mirrored
    scale, rotation, shift = umeyama(points, TEMPLATE.astype(np.float64))
    crop = crop_onto_template(points, TEMPLATE, 112)
    others = random.uniform(0, 500, (20, 2))
    np.testing.assert_allclose(crop.points_to_crop(others), scale * others @ rotation.T + shift, atol=1e-6)
    np.testing.assert_allclose(crop.points_to_photo(crop.points_to_crop(others)), others, atol=1e-9)


def test_points_that_no_similarity_brings_onto_the_template_are_refused():
    for points in (np.ones((5, 2)), np.full((5, 2), np.nan)):
        with pytest.raises(ValueError, match="expected points that a similarity brings onto the template"):
            crop_onto_template(points, TEMPLATE, 112)
    with pytest.raises(
        ValueError, match=r"expected points \[N, >= 2\] and template \[N, 2\], got \(4, 2\) and \(5, 2\)"
    ):
        crop_onto_template(TEMPLATE[:4], TEMPLATE, 112)


def test_the_portraits_square_by_hand():
    """Eyes level 40 apart, mouth 60 below: the half side is the larger of 80 and 108, a tenth of the way down."""
    eyes = np.array([[80.0, 100.0], [120.0, 100.0]])
    crop = crop_as_portrait(eyes, np.array([100.0, 160.0]), 512)
    assert (crop.center, crop.side, crop.angle, crop.size) == ((100.0, 106.0), 216.0, 0.0, 512)
    wide = crop_as_portrait(eyes, np.array([100.0, 130.0]), 512)
    assert (wide.center, wide.side) == ((100.0, 103.0), 160.0)
    turned = crop_as_portrait(eyes[:, ::-1], np.array([40.0, 100.0]), 64)  # the face lies on its right side
    assert (turned.center, turned.angle) == ((94.0, 100.0), pytest.approx(math.pi / 2))


def test_the_portraits_square_is_what_the_portraits_camera_shows():
    eyes, mouth = np.array([[-32.0, 5.0, 0.0], [32.0, 5.0, 0.0]]), np.array([0.0, -60.0, 0.0])
    camera = portrait_camera(eyes, mouth, (0.0, 0.0), 256)
    drawn = [camera.project(torch.tensor(x, dtype=torch.float32))[0].numpy() for x in (eyes, mouth)]
    crop = crop_as_portrait(*drawn, 128)
    assert crop.center == pytest.approx((128.0, 128.0), abs=1e-3)
    assert crop.side == pytest.approx(256.0, abs=1e-3)
    with pytest.raises(ValueError, match="expected a positive side"):
        crop_as_portrait(np.ones((2, 2)), np.ones(2), 64)


def test_a_picture_averaged_in_bands_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.from_numpy(np.random.default_rng(0).random((211, 173, 3), np.float32)).permute(2, 0, 1)[None]
    crop = Crop((90.0, 100.0), 170.0, 0.3, 24)
    whole = warp(image, [crop])
    monkeypatch.setattr("ostec.render.crops._BAND_BYTES", 1)
    torch.testing.assert_close(warp(image, [crop]), whole, rtol=0, atol=0)
