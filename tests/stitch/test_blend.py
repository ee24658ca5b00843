"""What enters the texture, where its joints lie, and what is said about where it came from."""

import numpy as np
import pytest
from scipy import ndimage

from ostec.core.types import Provenance, UvObservation
from ostec.stitch.blend import (
    feathered,
    low_pass,
    mirrored_detail,
    pad,
    photo_weight,
    slanted_recoloured,
    stitch,
)
from ostec.stitch.settings import BlendSettings

SIZE = 96
EVERYWHERE = np.ones((SIZE, SIZE), np.float32)
GREEN, RED, GREY = np.float32([0, 1, 0]), np.float32([1, 0, 0]), np.float32([0.5, 0.4, 0.3])


@pytest.fixture
def inside() -> np.ndarray:
    """A symmetric disc."""
    centre = np.arange(SIZE) + 0.5 - SIZE / 2
    return np.hypot(centre[:, None], centre) < 0.44 * SIZE


@pytest.fixture
def weight(inside) -> np.ndarray:
    """Believed on the left, with a hole, a soft edge, and doubt on the right."""
    ramp = np.clip((0.45 - (np.arange(SIZE) + 0.5) / SIZE) * 10 + 0.5, 0, 1)
    weight = np.where(inside, ramp, 0).astype(np.float32)
    weight[40:48, 20:28] = 0
    return weight


@pytest.fixture
def photo() -> np.ndarray:
    """Fine detail on a smooth colour."""
    rng = np.random.default_rng(0)
    u = (np.arange(SIZE) + 0.5) / SIZE
    smooth = 0.4 + 0.2 * np.sin(3 * u)[:, None, None] + 0.1 * np.cos(2 * u)[None, :, None]
    return np.clip(smooth + rng.normal(0, 0.03, (SIZE, SIZE, 3)), 0, 1).astype(np.float32)


def flat(colour: np.ndarray) -> np.ndarray:
    return np.broadcast_to(colour, (SIZE, SIZE, 3)).copy()


def observation(inside: np.ndarray, **changes) -> UvObservation:
    plain = {
        "colour": flat(GREY),
        "cosine": inside.astype(np.float32),
        "visible": inside,
        "mask": inside.astype(np.float32),
        "margin_mm": np.where(inside, 60, 0).astype(np.float32),
        "normal": flat(np.float32([0, 0, 1])),
        "inside": inside,
    }
    return UvObservation(**{**plain, **changes})


def test_a_texel_seen_head_on_is_believed_and_one_unseen_is_not(inside):
    np.testing.assert_array_equal(photo_weight(observation(inside), 0.0), inside)
    for nothing in (
        {"visible": np.zeros_like(inside)},
        {"mask": np.zeros((SIZE, SIZE), np.float32)},
        {"margin_mm": np.zeros((SIZE, SIZE), np.float32)},
        {"cosine": np.full((SIZE, SIZE), -0.2, np.float32)},
    ):
        assert not photo_weight(observation(inside, **nothing), 0.0).any()


def test_belief_is_a_weight_that_grows_with_angle_distance_and_mask(inside):
    ramp = np.broadcast_to(np.linspace(0, 1, SIZE, dtype=np.float32), (SIZE, SIZE))
    everywhere = np.ones_like(inside)
    for changes in (
        {"cosine": ramp},
        {"margin_mm": 30 * ramp},
        {"mask": ramp},
        {"cosine": ramp, "margin_mm": 8 * ramp},
    ):
        for yaw_deg in (0.0, -50.0):
            weight = photo_weight(observation(everywhere, **changes), yaw_deg)
            assert weight.dtype == np.float32
            assert weight.min() == 0
            assert weight.max() == 1
            assert (np.diff(weight, axis=1) >= 0).all()


def test_profiles_are_believed_less_near_the_outline(inside):
    seen = observation(
        inside, cosine=np.full((SIZE, SIZE), 0.5, np.float32), margin_mm=np.full((SIZE, SIZE), 5.5, np.float32)
    )
    frontal, left, right = (photo_weight(seen, yaw_deg)[inside].mean() for yaw_deg in (20.0, -45.0, 45.0))
    assert left == right
    assert frontal > left + 0.3


def test_oste_cs_trust_is_the_threshold_near_the_outline(inside):
    settings = BlendSettings(silhouette_mm=5.0, interior_mm=1e9)
    margin = np.full((SIZE, SIZE), 20, np.float32)
    for yaw_deg, threshold in ((0.0, 0.4), (31.0, 0.6)):
        for cosine, believed in ((threshold - 0.06, 0.0), (threshold, 0.5), (threshold + 0.06, 1.0)):
            seen = observation(inside, cosine=np.full((SIZE, SIZE), cosine, np.float32), margin_mm=margin)
            np.testing.assert_allclose(photo_weight(seen, yaw_deg, settings)[inside], believed, atol=1e-5)


def test_feathering_never_adds_belief(inside, weight):
    ramp = feathered(weight, inside, 3.0)
    assert ramp.dtype == np.float32
    assert ramp.min() >= 0
    assert ramp.max() <= 1
    assert (ramp <= weight + 1e-6).all()
    assert not ramp[weight == 0].any()
    assert ramp[48, 12] == 1, "full belief away from any doubt"


def test_feathering_has_no_step(inside, weight):
    ramp = feathered(weight, inside, 4.0)
    both = inside[:, 1:] & inside[:, :-1]
    assert np.abs(np.diff(ramp, axis=1))[both].max() < 0.25
    assert np.abs(np.diff(feathered(weight, inside, 1e-9), axis=1))[both].max() > 0.5


def test_the_charts_border_is_no_joint(inside):
    np.testing.assert_array_equal(feathered(inside.astype(np.float32), inside, 8.0), inside)
    whole = np.ones((SIZE, SIZE), bool)
    np.testing.assert_array_equal(feathered(whole.astype(np.float32), whole, 8.0), whole)


@pytest.mark.parametrize("mirror", [None, EVERYWHERE])
def test_equal_colours_meet_without_a_seam(inside, weight, mirror):
    found = stitch(flat(GREY), weight, flat(GREY), inside, mirror=mirror)
    np.testing.assert_allclose(found.colour, flat(GREY), atol=1e-4)


@pytest.mark.parametrize("mirror", [None, EVERYWHERE])
def test_what_has_no_weight_never_enters_the_texture(inside, weight, photo, mirror):
    fill = flat(GREY)
    found = [
        stitch(np.where(weight[..., None] > 0, photo, planted), weight, fill, inside, mirror=mirror)
        for planted in (GREEN, RED)
    ]
    np.testing.assert_array_equal(found[0].colour, found[1].colour)
    np.testing.assert_array_equal(found[0].provenance, found[1].provenance)


def test_the_photo_is_kept_where_it_is_fully_believed_and_the_fill_where_it_is_not(inside, weight, photo):
    fill = flat(GREY)
    found = stitch(photo, weight, fill, inside)
    kept = ndimage.binary_erosion((weight == 1) | ~inside, iterations=16, border_value=1) & inside
    assert kept.sum() > 100
    np.testing.assert_allclose(found.colour[kept], photo[kept], atol=1e-6)
    unseen = inside & (weight == 0)
    np.testing.assert_allclose(found.colour[unseen], fill[unseen], atol=1e-6)
    low, high = np.minimum(photo, fill), np.maximum(photo, fill)
    between = (found.colour >= low - 1e-6) & (found.colour <= high + 1e-6)
    assert between[inside].all()


def test_no_texel_is_empty(inside, weight, photo):
    photo[weight == 0] = 0
    found = stitch(photo, weight, flat(GREY), inside, mirror=EVERYWHERE)
    assert np.isfinite(found.colour).all()
    assert found.colour.min() > 0.1
    assert found.colour.max() <= 1
    assert found.colour.dtype == np.float32


def test_provenance_says_which_weight_won(inside, weight, photo):
    found = stitch(photo, weight, flat(GREY), inside, mirror=EVERYWHERE)
    assert found.provenance.dtype == np.uint8
    allowed = {Provenance.PHOTO, Provenance.MIRRORED, Provenance.PRIOR}
    assert set(np.unique(found.provenance[inside])) == allowed
    assert set(np.unique(found.provenance[~inside])) == {Provenance.OUTSIDE, Provenance.PADDING}
    assert (found.provenance[48, 12], found.provenance[48, -12]) == (Provenance.PHOTO, Provenance.MIRRORED)
    is_photo = found.provenance == Provenance.PHOTO
    assert (weight[is_photo] >= 0.5).all()
    mirrored = found.provenance == Provenance.MIRRORED
    assert (weight[:, ::-1][mirrored] >= 0.5).all(), "mirrored from where the photo is believed"
    assert (found.provenance[44, 22], found.provenance[44, -22]) == (Provenance.PRIOR, Provenance.PRIOR), "the hole"
    error = np.abs(found.colour - photo).max(-1)
    assert error[is_photo & (feathered(weight, inside, BlendSettings().feather * SIZE) == 1)].max() < 1e-6


def test_without_mirroring_nothing_is_mirrored(inside, weight, photo):
    found = stitch(photo, weight, flat(GREY), inside)
    assert Provenance.MIRRORED not in found.provenance


def test_mirrored_detail_is_the_other_sides_detail_without_its_colour(inside, weight, photo):
    alpha = feathered(weight, inside, 3.0)
    detail, trust = mirrored_detail(photo, alpha, low_pass(photo, alpha, 2.0))
    np.testing.assert_array_equal(trust, alpha[:, ::-1])
    well = ndimage.binary_erosion(trust == 1, iterations=6)
    assert well.sum() > 200
    assert np.abs(detail[well].mean(0)).max() < 0.005, "zero mean"
    expected = (photo - ndimage.gaussian_filter(photo, (2, 2, 0)))[:, ::-1]
    np.testing.assert_allclose(detail[well], expected[well], atol=0.01)
    assert not detail[trust == 0].any()
    brighter, _ = mirrored_detail(photo + 0.1, alpha, low_pass(photo + 0.1, alpha, 2.0))
    np.testing.assert_allclose(brighter[well], detail[well], atol=1e-4)


def test_mirroring_gives_the_fill_the_grain_of_the_seen_half_and_no_colour(inside, weight, photo):
    plain = stitch(photo, weight, flat(GREY), inside)
    rich = stitch(photo, weight, flat(GREY), inside, BlendSettings(detail_limit=1.0), EVERYWHERE)
    mirrored = ndimage.binary_erosion(rich.provenance == Provenance.MIRRORED, iterations=4)
    assert mirrored.sum() > 300
    assert plain.colour[mirrored].std(0).max() < 1e-4
    assert rich.colour[mirrored].std(0).min() > 0.015
    np.testing.assert_allclose(rich.colour[mirrored].mean(0), GREY, atol=0.01)


def test_mirrored_detail_takes_the_place_of_the_fills_own(inside, weight, photo):
    """A brow that the fill draws a little beside the mirrored one is not seen twice."""
    fill = flat(GREY)
    fill[:, 70:73] -= 0.1
    settings = BlendSettings(detail=3 / SIZE, detail_limit=1.0)
    found = stitch(flat(GREY), weight, fill, inside, settings, EVERYWHERE)
    well = ndimage.binary_erosion(found.provenance == Provenance.MIRRORED, iterations=6)
    line = well & (np.arange(SIZE) == 71)
    assert line.sum() > 10
    assert np.abs(found.colour[line] - GREY).max() < 0.06, "the line's low-pass stays"
    kept = stitch(flat(GREY), weight, fill, inside, settings, 0 * EVERYWHERE)
    np.testing.assert_allclose(kept.colour[line], fill[line], atol=1e-5)
    assert Provenance.MIRRORED not in kept.provenance


def test_no_mirrored_detail_exceeds_its_limit(inside, weight, photo):
    plain = stitch(photo, weight, flat(GREY), inside)
    found = stitch(photo, weight, flat(GREY), inside, BlendSettings(detail_limit=0.01), EVERYWHERE)
    mirrored = found.provenance == Provenance.MIRRORED
    change = np.abs(found.colour - plain.colour)[mirrored]
    assert 0.002 < change.max() <= 0.01 + 1e-6


def test_low_pass_counts_only_what_has_weight():
    image = np.zeros((32, 32, 1), np.float32)
    image[:, 16:] = 1
    weight = np.zeros((32, 32), np.float32)
    weight[:, :16] = 1
    smooth = low_pass(image, weight, 2.0)
    assert np.abs(smooth[:, :20]).max() < 1e-6
    np.testing.assert_allclose(low_pass(image + 0.5, np.ones((32, 32), np.float32), 2.0)[:, :4], 0.5, atol=1e-5)


def test_padding_repeats_the_border_and_leaves_the_inside(inside, photo):
    provenance = np.where(inside, Provenance.PRIOR, Provenance.OUTSIDE).astype(np.uint8)
    found = pad(np.where(inside[..., None], photo, GREEN), provenance, inside, width=6 / SIZE)
    np.testing.assert_array_equal(found.colour[inside], photo[inside])
    np.testing.assert_array_equal(found.provenance[inside], Provenance.PRIOR)
    distance = ndimage.distance_transform_edt(~inside)
    padding = found.provenance == Provenance.PADDING
    np.testing.assert_array_equal(padding, (distance > 0) & (distance <= 6))
    row = SIZE // 2
    first = int(np.flatnonzero(inside[row])[0])
    np.testing.assert_array_equal(found.colour[row, first - 3], photo[row, first], err_msg="straight outwards")
    np.testing.assert_allclose(found.colour[0, 0], photo[inside].mean(0), atol=1e-5)
    assert np.abs(found.colour[~inside] - GREEN).max(-1).min() > 0.2, "nothing of what lay outside"


# --- colours of what is seen at a slant ------------------------------------------------------------------------------

OTHER = np.float32([0.3, 0.6, 0.5])
STRIPES = 0.05 * np.where(np.arange(SIZE) % 2, 1, -1).astype(np.float32)[None, :, None]
"""Detail whose mean over any low-pass is 0, but at the border."""
MIDDLE = np.s_[8:-8, 8:-8]


def everywhere(value: float) -> np.ndarray:
    return np.full((SIZE, SIZE), value, np.float32)


@pytest.mark.parametrize(
    ("cosine", "share"), [(-0.5, 1.0), (0.4, 1.0), (0.5, 0.75), (0.6, 0.5), (0.7, 0.25), (0.8, 0.0), (1.0, 0.0)]
)
def test_the_flatter_the_view_the_more_of_the_fills_colour(cosine, share):
    settings = BlendSettings(own_colour=(0.4, 0.8))
    found = slanted_recoloured(flat(GREY), EVERYWHERE, everywhere(cosine), flat(OTHER), settings)
    np.testing.assert_allclose(found, flat(GREY + share * (OTHER - GREY)), atol=1e-5)
    assert found.dtype == np.float32


def test_the_defaults_leave_what_is_seen_straight():
    low, high = BlendSettings().own_colour
    assert 0 < low < high < 1
    photo, fill = flat(GREY), flat(OTHER)
    np.testing.assert_array_equal(slanted_recoloured(photo, EVERYWHERE, everywhere(high), fill), photo)
    np.testing.assert_allclose(slanted_recoloured(photo, EVERYWHERE, everywhere(low), fill), fill, atol=1e-5)


def test_the_photo_keeps_its_detail_and_takes_none_of_the_fills():
    flat_view = everywhere(0.0)
    found = slanted_recoloured(flat(GREY) + STRIPES, EVERYWHERE, flat_view, flat(OTHER))
    np.testing.assert_allclose(found[MIDDLE], (flat(OTHER) + STRIPES)[MIDDLE], atol=2e-3)
    found = slanted_recoloured(flat(GREY), EVERYWHERE, flat_view, flat(OTHER) + STRIPES)
    np.testing.assert_allclose(found[MIDDLE], flat(OTHER)[MIDDLE], atol=2e-3)


def test_nothing_changes_where_the_photo_is_seen_straight_or_not_believed(inside, weight, photo):
    cosine = np.broadcast_to(np.linspace(1, 0.2, SIZE, dtype=np.float32)[:, None], (SIZE, SIZE))
    found = slanted_recoloured(photo, weight, cosine, flat(OTHER))
    kept = (cosine >= BlendSettings().own_colour[1]) | (weight == 0)
    assert 0.3 < kept.mean() < 0.9
    np.testing.assert_array_equal(found[kept], photo[kept])
    lost = (cosine <= BlendSettings().own_colour[0]) & (weight == 1)
    assert lost.sum() > 100
    assert (np.abs(found - photo).max(-1)[lost] > 0.02).mean() > 0.95


def test_what_is_not_believed_lends_no_colour(weight, photo):
    """Neither the photo's colour there, black or green, nor the fill's."""
    believed = weight[..., None] > 0
    plain = slanted_recoloured(photo, weight, everywhere(0.3), flat(OTHER))
    for colour in (GREEN, 0 * GREEN):
        found = slanted_recoloured(np.where(believed, photo, colour), weight, everywhere(0.3), flat(OTHER))
        np.testing.assert_array_equal(np.where(believed, found, 0), np.where(believed, plain, 0))
        found = slanted_recoloured(photo, weight, everywhere(0.3), np.where(believed, flat(OTHER), colour))
        np.testing.assert_array_equal(found, plain)


def test_recoloured_texels_are_colours():
    bright = np.clip(flat(np.float32([0.9, 0.1, 0.5])) + 3 * STRIPES, 0, 1)
    found = slanted_recoloured(bright, EVERYWHERE, everywhere(0.0), flat(np.float32([1, 0, 0.5])))
    assert found.min() == 0
    assert found.max() == 1


def test_a_darkened_rim_gets_the_fills_colour_without_an_edge():
    """Shading that sets in with the slant is gone, and a photo that was right stays."""
    ramp = np.linspace(1, 0.3, SIZE, dtype=np.float32)
    cosine = np.broadcast_to(ramp, (SIZE, SIZE))
    true = flat(GREY) + STRIPES
    shade = np.clip((cosine - 0.3) / 0.5, 0, 1)[..., None] * 0.5 + 0.5
    settings = BlendSettings(detail=3 / SIZE)
    found = slanted_recoloured((true * shade).astype(np.float32), EVERYWHERE, cosine, flat(GREY), settings)
    before, after = (np.abs(low_pass(x - true, EVERYWHERE, 3.0)) for x in (true * shade, found))
    assert after.max() < 0.35 * before.max()
    same = slanted_recoloured(true, EVERYWHERE, cosine, flat(GREY), settings)
    np.testing.assert_allclose(same[MIDDLE], true[MIDDLE], atol=2e-3)
    assert np.abs(np.diff(low_pass(found, EVERYWHERE, 2.0), axis=1)).max() < 0.02
