"""The figures are what theory says."""

import math

import numpy as np
import pytest

from ostec.eval.scores import psnr, sharpness, ssim, tone_deg, tone_group


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, shape).astype(np.float32)


def test_equal_pictures_score_perfectly() -> None:
    image, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    assert psnr(image, image, mask) == math.inf
    assert ssim(image, image, mask, mask) == pytest.approx(1, abs=1e-4)
    assert sharpness(image, image, mask, mask) == pytest.approx(1)


def test_psnr_of_a_constant_offset_is_its_logarithm() -> None:
    image, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    for offset in (0.1, 0.01, -0.2):
        assert psnr(image + np.float32(offset), image, mask) == pytest.approx(-20 * math.log10(abs(offset)), abs=1e-3)


def test_half_wrong_is_three_decibels_better_than_all_wrong() -> None:
    image, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    half = image.copy()
    half[:20] += 0.1
    assert psnr(half, image, mask) == pytest.approx(20 + 10 * math.log10(2), abs=1e-4)


def test_ssim_of_a_constant_offset_is_its_first_factor() -> None:
    """On flat pictures variances vanish: (2 x y + C1) / (x^2 + y^2 + C1)."""
    mask = np.ones((30, 30), bool)
    x, y = (np.full((30, 30, 3), value, np.float32) for value in (0.5, 0.3))
    assert ssim(x, y, mask, mask) == pytest.approx((0.3 + 1e-4) / (0.25 + 0.09 + 1e-4), abs=1e-4)


def test_figures_look_at_the_mask_alone() -> None:
    truth, mask = noise(40, 50, 3), np.zeros((40, 50), bool)
    mask[5:30, 10:40] = True
    image = np.where(mask[..., None], truth, noise(40, 50, 3, seed=1))
    assert psnr(image, truth, mask) == math.inf
    assert ssim(image, truth, mask, mask) == pytest.approx(1, abs=1e-4)
    assert sharpness(image, truth, mask, mask) == pytest.approx(1, abs=1e-5)


def test_an_empty_mask_has_no_figures() -> None:
    image, nothing, mask = noise(9, 9, 3), np.zeros((9, 9), bool), np.ones((9, 9), bool)
    assert math.isnan(psnr(image, image, nothing))
    assert math.isnan(ssim(image, image, nothing, mask))
    assert math.isnan(sharpness(image, image, nothing, mask))


def test_halved_contrast_has_a_quarter_of_the_gradient_energy() -> None:
    truth, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    assert sharpness(truth / 2 + np.float32(0.3), truth, mask, mask) == pytest.approx(0.25, abs=1e-4)


def test_half_flat_has_half_the_gradient_energy_of_a_ramp() -> None:
    ramp = np.repeat(np.linspace(0, 1, 41, dtype=np.float32)[None, :, None], 41, 0).repeat(3, 2)
    mask = np.ones((41, 41), bool)
    flat = np.where(np.arange(41)[:, None, None] < 20, ramp[:, 20:21], ramp)
    mask[18:22] = False  # where both meet
    assert sharpness(flat, ramp, mask, np.ones_like(mask)) == pytest.approx(17 / 33, abs=0.02)


def test_the_tone_is_the_angle_of_the_median_skin_in_lab() -> None:
    picture = np.full((4, 4, 3), 0.5, np.float32)
    picture[:, :3] = np.float32([224, 172, 105]) / 255
    picture[0] = 0  # the median does not hear a few
    skin = np.zeros((4, 4), bool)
    skin[:, :3] = True
    # Lab of sRGB (224, 172, 105) under D65: L 73.8, b 41.5.
    assert tone_deg(picture, skin) == pytest.approx(math.degrees(math.atan2(73.8 - 50, 41.5)), abs=0.2)
    assert tone_deg(picture * np.float32(0.5), skin) < 0 < tone_deg(picture, skin)
    assert math.isnan(tone_deg(picture, np.zeros((4, 4), bool)))


def test_tones_fall_into_three_groups() -> None:
    found = [tone_group(x) for x in (60.0, 41.5, 41.0, 10.0, 9.5, -40.0, math.nan)]
    assert found == ["above 41", "above 41", "10 to 41", "10 to 41", "below 10", "below 10", "unknown"]
