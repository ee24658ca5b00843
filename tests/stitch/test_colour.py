"""Colours of a generated view are brought to the reference's, by what both show and no further than that says."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.stitch.colour import match_colour
from ostec.stitch.settings import ColourSettings

SIZE = 128
COLUMN = (np.arange(SIZE) + 0.5) / SIZE
SETTINGS = ColourSettings()
GAIN, OFFSET = np.float32([0.9, 1.2, 0.8]), np.float32([0.05, -0.1, 0.12])


@pytest.fixture
def reference() -> np.ndarray:
    """Smooth, with fine grain, [S, S, 3]."""
    grain = np.random.default_rng(0).normal(0, 0.02, (SIZE, SIZE, 3))
    waves = [0.5 + 0.15 * np.sin(7 * COLUMN + k)[None] * np.cos((5 + k) * COLUMN)[:, None] for k in range(3)]
    return (np.stack(waves, axis=-1) + grain).astype(np.float32)


@pytest.fixture
def overlap() -> np.ndarray:
    """The left third, with a soft edge."""
    ramp = np.clip((1 / 3 - COLUMN) * 10 + 0.5, 0, 1)
    return np.broadcast_to(ramp, (SIZE, SIZE)).astype(np.float32)


def test_an_affine_change_is_undone_everywhere(reference, overlap):
    generated = (reference - OFFSET) / GAIN
    found = match_colour(generated, reference, overlap)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference, atol=1e-4)


def test_equal_colours_stay(reference, overlap):
    np.testing.assert_allclose(match_colour(reference, reference, overlap), reference, atol=1e-5)


def test_what_an_affine_change_leaves_is_carried_and_fades_away(reference, overlap):
    # On the overlap half the rows differ one way, half the other, so that mean and deviation hardly change.
    waves = 0.1 * np.sign(np.arange(SIZE) - SIZE / 2 + 0.5)[:, None, None]
    shifted = (reference + waves).astype(np.float32)
    found = match_colour(reference, shifted, overlap)
    plain = match_colour(reference, shifted, overlap, replace(SETTINGS, fade=1e9))  # mean and deviation only
    carried = np.abs(found - plain).mean((0, 2))
    inner = overlap[0] == 1
    assert carried[inner].min() > 0.05
    left, before = np.abs(found - shifted)[:, inner].mean(), np.abs(plain - shifted)[:, inner].mean()
    assert left < 0.5 * before
    beyond = carried[overlap[0] == 0]
    assert (np.diff(beyond) < 1e-6).all()
    assert beyond[-1] < 0.02 * carried[inner].max()
    np.testing.assert_allclose(found[:, -20:], plain[:, -20:], atol=2e-3)


def test_reach_is_how_far_the_difference_is_carried(reference, overlap):
    waves = 0.1 * np.sign(np.arange(SIZE) - SIZE / 2 + 0.5)[:, None, None]
    shifted = (reference + waves).astype(np.float32)

    def carried(reach: float) -> float:
        near, none = (
            match_colour(reference, shifted, overlap, ColourSettings(reach=reach, fade=fade)) for fade in (0.05, 1e9)
        )
        return float(np.abs(near - none)[:, SIZE // 2 :].mean())

    assert carried(30 / 1024) < 0.5 * carried(60 / 1024) < 0.5 * carried(120 / 1024)


def test_mean_and_deviation_by_hand():
    # Weighted 3 : 1, generated 0 and 1 have mean 1/4 and deviation sqrt(3)/4, the reference's 0.2 and 0.6 0.3 and 0.4 x
    # that; 0.4 is less than the least factor 0.7.
    generated = np.zeros((2, 2, 3), np.float32)
    generated[0, 1] = generated[1, 1] = 1
    reference = 0.2 + 0.4 * generated
    overlap = np.float32([[0.75, 0.25], [0, 0]])
    settings = ColourSettings(fade=1e9)
    expected = np.where(generated > 0, 0.3 + 0.7 * 0.75, 0.3 - 0.7 * 0.25)
    np.testing.assert_allclose(match_colour(generated, reference, overlap, settings), expected, atol=1e-5)
    free = replace(settings, contrast=(0.1, 10.0))
    np.testing.assert_allclose(match_colour(generated, reference, overlap, free), reference, atol=1e-5)


@pytest.mark.parametrize(("factor", "limited"), [(0.2, 0.7), (0.7, 0.7), (1.2, 1.2), (1.4, 1.4), (5.0, 1.4)])
def test_contrast_is_changed_within_limits(reference, factor, limited):
    everywhere = np.ones((SIZE, SIZE), np.float32)
    mean = reference.mean((0, 1))
    wanted = ((reference - mean) * factor + mean).astype(np.float32)
    found = match_colour(reference, wanted, everywhere, replace(SETTINGS, fade=1e9))
    np.testing.assert_allclose(found.std((0, 1)) / reference.std((0, 1)), limited, rtol=1e-3)
    np.testing.assert_allclose(found.mean((0, 1)), mean, atol=1e-4)


def test_an_overlap_of_one_colour_says_nothing_about_contrast(reference):
    flat = np.full_like(reference, 0.5)
    everywhere = np.ones((SIZE, SIZE), np.float32)
    for generated, wanted in ((flat, reference), (reference, flat), (flat, flat)):
        found = match_colour(generated, wanted, everywhere)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found.mean((0, 1)), wanted.mean((0, 1)), atol=5e-3)


def test_without_enough_overlap_nothing_changes(reference):
    generated = reference[::-1] * 0.5
    for share in (0.0, 0.5 * SETTINGS.least, 0.99 * SETTINGS.least):
        overlap = np.full((SIZE, SIZE), share, np.float32)
        np.testing.assert_array_equal(match_colour(generated, reference, overlap), generated)
    enough = np.full((SIZE, SIZE), 1.01 * SETTINGS.least, np.float32)
    assert np.abs(match_colour(generated, reference, enough) - generated).mean() > 0.05


def test_what_is_not_shared_has_no_say(reference, overlap):
    generated = (reference - OFFSET) / GAIN
    other = np.where(overlap[..., None] > 0, reference, 77).astype(np.float32)
    np.testing.assert_array_equal(match_colour(generated, other, overlap), match_colour(generated, reference, overlap))


def test_the_callers_arrays_stay(reference, overlap):
    generated = reference * 0.5
    kept = [x.copy() for x in (generated, reference, overlap)]
    match_colour(generated, reference, overlap)
    for before, after in zip(kept, (generated, reference, overlap), strict=True):
        np.testing.assert_array_equal(before, after)
