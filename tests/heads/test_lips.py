"""Lips that nearly touch are led together; an open mouth and the rest of the face stay as they are."""

import numpy as np
import pytest

from ostec.core.types import FloatArray
from ostec.heads.mouth import CLOSED_MM, INNER_LIPS, OPEN_MM, PRESSED_MM, close_lips

AXIS = np.float32([0.36, 0.8, -0.48])
"""From lower to upper lip: no axis of the frame."""


def _landmarks(gap: float) -> FloatArray:
    """All lips' pairs ``gap`` millimetres apart along ``AXIS``, the others anywhere."""
    points = np.random.default_rng(0).normal(0, 40, (468, 3)).astype(np.float32)
    for upper, lower in INNER_LIPS:
        points[upper] = points[lower] + gap * AXIS
    return points


@pytest.mark.parametrize(
    ("gap", "made"),
    [
        (0.8, -PRESSED_MM),
        (CLOSED_MM, -PRESSED_MM),
        (3.5, 0.5 * 3.5 - 0.5 * PRESSED_MM),  # half way between closed and open
        (OPEN_MM, OPEN_MM),
        (12.0, 12.0),
    ],
)
def test_gap_by_hand(gap: float, made: float) -> None:
    before = _landmarks(gap)
    after = close_lips(before)
    upper, lower = np.array(INNER_LIPS).T
    np.testing.assert_allclose(after[upper] - after[lower], np.tile(made * AXIS, (len(upper), 1)), atol=1e-4)
    np.testing.assert_allclose(after[upper] + after[lower], before[upper] + before[lower], atol=1e-4)
    others = np.setdiff1d(np.arange(468), np.concatenate([upper, lower]))
    np.testing.assert_array_equal(after[others], before[others])


def test_landmarks_are_not_changed_in_place_and_equal_ones_stay_finite() -> None:
    before = _landmarks(1.0)
    kept = before.copy()
    close_lips(before)
    np.testing.assert_array_equal(before, kept)
    assert np.isfinite(close_lips(_landmarks(0.0))).all()


def test_fewer_landmarks_have_no_lips() -> None:
    few = np.ones((68, 3), np.float32)
    np.testing.assert_array_equal(close_lips(few), few)
