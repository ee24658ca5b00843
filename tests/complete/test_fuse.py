"""Planted shifts, gains and covers are found; what they leave behind is the face."""

import numpy as np
import pytest
from scipy import ndimage

from ostec.complete.exposure import harmonics, match_exposures
from ostec.complete.fuse import _agreement, weighted_median
from ostec.complete.register import MOST, shifted, small_flow
from ostec.complete.settings import FuseSettings
from ostec.core.types import FloatArray, Provenance, kinds_of
from ostec.render.colour import from_linear, to_linear

SIZE = 128
RNG = np.random.default_rng(3)


def skin(size: int = SIZE, sigma: float = 1.5) -> FloatArray:
    """[S, S, 3] a picture with detail everywhere, about as bright as skin."""
    noise = ndimage.gaussian_filter(RNG.normal(size=(size, size)), sigma)
    return np.float32(np.clip(0.5 + 0.1 * noise[..., None] / noise.std() * [1.0, 0.9, 0.8], 0.05, 0.95))


def normals(size: int = SIZE) -> FloatArray:
    """[S, S, 3] of a half sphere."""
    y, x = (np.indices((size, size)) + 0.5) / size * 1.6 - 0.8
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0.05, None))
    normal = np.stack([x, -y, z], axis=-1)
    return np.float32(normal / np.linalg.norm(normal, axis=-1, keepdims=True))


def test_linear_light_and_back() -> None:
    values = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    np.testing.assert_allclose(from_linear(to_linear(values)), values, atol=1e-6)
    assert to_linear(np.float32([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)


def test_planted_gains_and_lights_are_found_jointly() -> None:
    """Three pictures of which the outer two share no texel with each other, only with the reference."""
    light, normal = to_linear(skin()), normals()
    column = np.arange(SIZE)[None] * np.ones((SIZE, 1))
    weights = [np.float32(column >= 0), np.float32(column < 60), np.float32(column >= 60)]
    planted = np.array(
        [np.zeros((4, 3)), [[0.4, 0.2, -0.1], *[[0.1, 0.1, 0.1]] * 3], [[-0.5, 0.0, 0.3], *[[0, 0.1, 0]] * 3]]
    )
    seen = [light * np.exp(-harmonics(normal) @ p) for p in planted]
    found = match_exposures(seen, weights, normal)
    assert (found[0] == 0).all()
    for p, f, w in zip(planted, found, weights, strict=True):
        apart = (harmonics(normal) @ (f - p))[w > 0]
        assert np.abs(apart).max() < 0.06


def test_a_picture_without_overlap_keeps_its_light() -> None:
    light, normal = to_linear(skin()), normals()
    half = np.float32(np.arange(SIZE)[None] < 64) * np.ones((SIZE, 1), np.float32)
    assert (match_exposures([light, 2 * light], [half, 1 - half], normal) == 0).all()


def test_an_outlier_does_not_move_the_gains() -> None:
    light, normal = to_linear(skin()), normals()
    covered = light * 0.8
    covered[:40, :60] = 0.9  # a hand, brighter than the skin
    whole = np.ones((SIZE, SIZE), np.float32)
    found = match_exposures([light, covered, light * 1.2], [whole] * 3, normal)
    np.testing.assert_allclose(np.exp(found[1, 0]), 1 / 0.8, rtol=0.03)


@pytest.mark.parametrize("shift", [(2.0, -1.5), (-2.5, 0.5)])
def test_planted_shift_is_found(shift: tuple[float, float]) -> None:
    size = 512
    reference = skin(size, 3.0)
    rows = np.indices((size, size), np.float32)[0]
    wave = np.float32(np.sin(rows / 80) * 0.5)
    planted = np.stack([shift[0] + wave, np.full_like(wave, shift[1])], axis=-1)
    other = shifted(reference, -planted)  # so that other(x + planted) is about reference(x)
    found = small_flow(reference, other, np.ones((size, size), np.float32))
    inner = (slice(60, -60),) * 2
    assert np.abs(found - planted)[inner].mean() < 0.25
    assert np.linalg.norm(found, axis=-1).max() <= MOST * size + 1e-4


def test_flow_is_zero_where_nothing_is_shared() -> None:
    shared = np.zeros((256, 256), np.float32)
    shared[:, :60] = 1
    picture = skin(256, 3.0)
    found = small_flow(picture, np.roll(picture, 1, axis=1), shared)
    assert np.abs(found[:, 200:]).max() < 0.02


def test_weighted_median_by_hand() -> None:
    values = np.float32([[[0.9]], [[0.1]], [[0.4]]])
    assert weighted_median(values, np.float32([[[1]], [[1]], [[1]]]))[0, 0] == np.float32(0.4)
    assert weighted_median(values, np.float32([[[5]], [[1]], [[1]]]))[0, 0] == np.float32(0.9)
    assert weighted_median(values, np.float32([[[1]], [[0]], [[0]]]))[0, 0] == np.float32(0.9)
    assert weighted_median(values, np.zeros((3, 1, 1), np.float32))[0, 0] == 0


def test_glare_on_one_of_three_pictures_is_outvoted_even_on_the_best() -> None:
    face = skin()
    glare = face.copy()
    glare[50:60, 50:60] = 1.0
    whole = np.ones((SIZE, SIZE), np.float32)
    weights = _agreement([glare, face, face], [whole, 0.3 * whole, 0.3 * whole], FuseSettings())
    spot, rest = (slice(53, 57),) * 2, (slice(80, 100),) * 2
    assert weights[0][spot].max() < 0.05
    assert weights[1][spot].min() > 0.9
    assert weights[0][rest].min() > 0.9


def test_of_two_pictures_the_better_one_is_believed() -> None:
    whole = np.ones((SIZE, SIZE), np.float32)
    one, other = np.full((SIZE, SIZE, 3), 0.3, np.float32), np.full((SIZE, SIZE, 3), 0.6, np.float32)
    better, worse = _agreement([one, other], [whole, 0.5 * whole], FuseSettings())
    assert better.min() > 0.99
    assert worse.max() < 0.05


def test_kinds_of_provenance_do_not_tell_photos_apart() -> None:
    given = np.array([[0, 1, 2, 10, 11, 14]], np.uint8)
    assert kinds_of(given).tolist() == [[0, 1, 2, 10, Provenance.PHOTO, Provenance.PHOTO]]
