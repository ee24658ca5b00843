"""One texture from several views over a template: each step by its own property, and all of them on a made face."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import BoolArray, FloatArray
from ostec.stitch.extract import (
    CONTRAST,
    ExtractionRegions,
    FaceView,
    eroded,
    extract,
    match_yuv,
    poisson,
    pyramid_blend,
    softened,
)

S = 256
YUV = np.array([[0.299, 0.587, 0.114], [-0.14713, -0.28886, 0.436], [0.615, -0.51499, -0.10001]])


def noise(seed: int, low: float = 0.3, high: float = 0.7) -> FloatArray:
    return np.random.default_rng(seed).uniform(low, high, (S, S, 3)).astype(np.float32)


def square(rows: slice, columns: slice) -> BoolArray:
    mask = np.zeros((S, S), bool)
    mask[rows, columns] = True
    return mask


def regions(*repaired: BoolArray) -> ExtractionRegions:
    none = np.zeros((S, S), bool)
    return ExtractionRegions(np.ones((S, S), bool), repaired, none, none, none)


def test_the_template_takes_mean_and_a_part_of_the_deviation_of_y_u_and_v() -> None:
    where = square(slice(20, 200), slice(10, 90))
    given, wanted = noise(0, 0.45, 0.55), noise(1, 0.2, 0.5) * np.float32([1.2, 1, 0.8])
    made = match_yuv(given, wanted, where) @ YUV.T
    truth = (wanted @ YUV.T)[where]
    assert made[where].mean(0) == pytest.approx(truth.mean(0), abs=2e-3)
    assert made[where].std(0) == pytest.approx(truth.std(0) / CONTRAST, rel=0.02)


def test_poisson_gives_back_what_its_guide_has_but_for_a_constant() -> None:
    hole = square(slice(60, 110), slice(100, 180))
    texture = np.linspace(0.2, 0.7, S * S * 3).reshape(S, S, 3).astype(np.float32)
    damaged = np.where(hole[..., None], np.float32(0), texture)
    made = poisson(damaged, (texture - np.float32([0.2, 0.1, 0])).astype(np.float32), hole)
    assert np.abs(made - texture).max() < 1e-5
    assert np.array_equal(made[~hole], damaged[~hole])
    with pytest.raises(ValueError, match="border that is known"):
        poisson(texture, texture, np.ones((S, S), bool))


def test_a_pyramid_gives_back_one_picture_where_the_mask_is_all_or_nothing() -> None:
    one, other = noise(2), noise(3)
    assert np.abs(pyramid_blend(one, other, np.ones((S, S), np.float32)) - one).max() < 1e-5
    assert np.abs(pyramid_blend(one, other, np.zeros((S, S), np.float32)) - other).max() < 1e-5
    half = (np.arange(S)[None] < S / 2).astype(np.float32).repeat(S, 0)
    made = pyramid_blend(np.full_like(one, 0.8), np.full_like(one, 0.2), half)
    row = made[S // 2, :, 0]
    assert row[0] == pytest.approx(0.8, abs=0.01)
    assert row[-1] == pytest.approx(0.2, abs=0.01)
    assert np.abs(np.diff(row)).max() < 0.1  # no step


def test_weights_are_one_inside_what_is_sure_and_zero_where_nothing_is_shown() -> None:
    shown = square(slice(40, 200), slice(40, 200))
    core = eroded(shown, np.zeros_like(shown))
    assert core.sum() < shown.sum()
    assert not (core & ~shown).any()
    assert eroded(shown, np.ones_like(shown)).sum() > core.sum()  # less round the mouth
    sure = square(slice(80, 160), slice(80, 160))
    weight = softened(core, sure, shown)
    assert weight[110:130, 110:130].min() == pytest.approx(1)
    assert weight[60, 120] == pytest.approx(0.8, abs=0.1)
    assert weight[~shown].max() == 0


def test_views_give_what_they_show_and_the_template_the_rest_in_their_tone() -> None:
    eye = square(slice(90, 130), slice(60, 110))
    face = np.full((S, S, 3), np.float32([0.7, 0.5, 0.4])) + 0.02 * (noise(4) - 0.5)
    template = np.full((S, S, 3), 0.5, np.float32)
    template[100:120, 70:100] = 0.2  # its eye is dark
    left = square(slice(20, 230), slice(10, 140)) & ~eye
    front = square(slice(20, 230), slice(60, 230)) & ~eye
    all_ = np.ones((S, S), bool)
    greener = np.clip(face * np.float32([0.8, 1.1, 0.9]), 0, 1)
    views = [FaceView(greener, left, all_, all_), FaceView(face, front, all_, all_)]
    made = extract(views, template, regions(eye))
    assert np.abs(made.texture - face)[50:200, 150:210].max() < 0.02  # the reference's own
    assert np.abs(made.texture - face)[50:80, 30:50].mean() < 0.03  # the other one in the reference's tone
    assert made.texture[110, 85].mean() < made.texture[110, 60].mean() - 0.1  # the template's eye
    assert np.abs(made.texture[:, 250] - face[:, 250]).mean() < 0.1  # and its skin, in the face's tone
    assert set(np.unique(made.source)) == {0, 1, 2}
    assert made.source[120, 180] == 2
    assert made.source[60, 30] == 1
    assert 0.6 < made.valid_area(all_) < (left | front).mean()


def test_views_without_a_texel_are_refused() -> None:
    none = np.zeros((S, S), bool)
    with pytest.raises(ValueError, match="expected views that show the face"):
        extract([FaceView(noise(5), none, none, none)], noise(6), regions())
    dot = replace(FaceView(noise(5), none, ~none, ~none), shown=square(slice(5, 6), slice(5, 6)))
    with pytest.raises(ValueError, match="inside its own border"):
        extract([dot], noise(6), regions())
