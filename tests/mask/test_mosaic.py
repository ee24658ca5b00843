"""What is made of squares is found, whatever their size and place; what is not is left alone."""

import numpy as np
import pytest
from scipy import ndimage

from ostec.core.types import FloatArray
from ostec.mask.mosaic import find_mosaic
from ostec.pipeline import Models
from ostec.render.crops import five_points

APART = 60.0
"""Pixels between the eyes."""


@pytest.fixture(scope="module")
def landmarks(models: Models) -> FloatArray:
    """The mean face in a picture of 260 x 260."""
    points = models.topology.mean_landmarks[:, :2].astype(np.float64) * [1, -1]
    eyes = five_points(points)[:2]
    return ((points - eyes.mean(axis=0)) * APART / np.linalg.norm(eyes[1] - eyes[0]) + [130, 110]).astype(np.float32)


@pytest.fixture(scope="module")
def picture() -> FloatArray:
    """Something that changes everywhere, [260, 260, 3]."""
    noise = np.random.default_rng(0).normal(size=(260, 260, 3))
    waves = sum(ndimage.gaussian_filter(noise, (sigma, sigma, 0)) * sigma for sigma in (1, 3, 8))
    return np.clip(0.5 + 0.15 * waves, 0, 1).astype(np.float32)


def squared(picture: FloatArray, side: int, first: tuple[int, int] = (0, 0)) -> FloatArray:
    """All of the picture in squares."""
    rows, columns = ((np.arange(len(picture)) + start) // side for start in first)
    cells = rows[:, None] * 1000 + columns
    means = [ndimage.mean(picture[..., c], cells, np.unique(cells)) for c in range(3)]
    return np.stack([m[np.searchsorted(np.unique(cells), cells)] for m in means], -1).astype(np.float32)


@pytest.mark.parametrize("side", [5, 8, 11, 16])
@pytest.mark.parametrize("first", [(0, 0), (3, 1)])
def test_squares_over_the_eyes_are_found_where_they_are(
    picture: FloatArray, landmarks: FloatArray, side: int, first: tuple[int, int]
) -> None:
    where = np.zeros(picture.shape[:2], bool)
    where[85:140, 70:190] = True
    shown = np.where(where[..., None], squared(picture, side, first), picture)
    found = find_mosaic(shown, landmarks)
    assert (found & where).sum() > 0.95 * where.sum()
    assert found.sum() < 1.4 * where.sum()
    assert find_mosaic(np.round(shown * 255).astype(np.uint8).astype(np.float32) / 255, landmarks)[110, 130]


def test_a_flat_bar_counts_as_one_square(picture: FloatArray, landmarks: FloatArray) -> None:
    shown = picture.copy()
    shown[90:130, 70:190] = 0
    assert find_mosaic(shown, landmarks)[110, 130]


def test_what_changes_everywhere_is_none(picture: FloatArray, landmarks: FloatArray) -> None:
    assert not find_mosaic(picture, landmarks).any()
    assert not find_mosaic(ndimage.gaussian_filter(picture, (4, 4, 0)), landmarks).any()


def test_squares_too_small_to_hide_an_eye_are_pixels(picture: FloatArray, landmarks: FloatArray) -> None:
    assert not find_mosaic(squared(picture, 2), landmarks).any()


def test_squares_beside_the_face_are_none_of_it(picture: FloatArray, landmarks: FloatArray) -> None:
    shown = picture.copy()
    shown[:40] = squared(picture, 10)[:40]
    assert not find_mosaic(shown, landmarks).any()


def test_a_face_outside_the_picture_has_none(picture: FloatArray, landmarks: FloatArray) -> None:
    assert not find_mosaic(picture, landmarks + np.float32(400)).any()
