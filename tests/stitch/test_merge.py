"""Which texels a view owns, what the views make of the unseen, and that a planted texture is found again."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from ostec.core.assets import asset_path
from ostec.core.types import GeneratedView, Provenance, ViewFrame
from ostec.load.topology import read_topology
from ostec.project.invert import project
from ostec.project.objective import LatentSpace
from ostec.project.studio import View, ViewStudio, views_of
from ostec.render.uv import bake_layout
from ostec.stitch.merge import Progress, ViewFill, add_view, merge_views, quality
from ostec.stitch.settings import ViewSettings
from tests.toy import toy_face, toy_texture

SIZE = 96
SETTINGS = ViewSettings(own=(0.3, 0.5), outline_mm=(2.0, 8.0), colour_share=1.0, detail_share=1.0, contrast=1.0)
"""The generator alone, so that answers are plain; the defaults are a choice of the evaluation."""
U = np.broadcast_to((np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE, (SIZE, SIZE)).copy()


def flat(*colour: float) -> np.ndarray:
    return np.broadcast_to(np.float32(colour), (SIZE, SIZE, 3)).copy()


def view(colour: np.ndarray | None = None, **changes) -> GeneratedView:
    """Seen head on, far from the outline, unless told otherwise."""
    plain = {
        "provenance": Provenance.LEFT,
        "weight": 1.0,
        "colour": flat(0.8, 0.4, 0.2) if colour is None else colour,
        "cosine": np.ones((SIZE, SIZE), np.float32),
        "visible": np.ones((SIZE, SIZE), bool),
        "margin_mm": np.full((SIZE, SIZE), 50, np.float32),
    }
    return GeneratedView(**{**plain, **changes})


@pytest.fixture
def inside() -> np.ndarray:
    """A disc."""
    centre = np.arange(SIZE) + 0.5 - SIZE / 2
    return np.hypot(centre[:, None], centre) < 0.44 * SIZE


@pytest.fixture
def base() -> np.ndarray:
    """Fine grain on a plain colour."""
    grain = np.random.default_rng(0).normal(0, 0.02, (SIZE, SIZE, 3))
    return (np.float32([0.3, 0.4, 0.5]) + grain).astype(np.float32)


def test_quality_by_hand():
    cosine = np.float32([[1.0, 0.5, 0.4, 0.3, 0.29, -1.0, 0.4, 1.0, 1.0, 1.0, 1.0]])
    margin = np.float32([[50, 8, 8, 50, 50, 50, 5, 5, 2, 0, 50]])
    visible = np.array([[True] * 10 + [False]])
    found = quality(GeneratedView(Provenance.LEFT, 1.0, np.zeros((1, 11, 3)), cosine, visible, margin), SETTINGS)
    # Ramps from 0.3 to 0.5 and from 2 to 8 mm, multiplied.
    np.testing.assert_allclose(found, [[1, 1, 0.5, 0, 0, 0, 0.25, 0.5, 0, 0, 0]], atol=1e-6)
    assert found.dtype == np.float32


def test_quality_grows_with_angle_and_distance_and_is_zero_where_hidden():
    for changes in ({"cosine": U}, {"margin_mm": 10 * U}, {"cosine": U, "margin_mm": 10 * U}):
        found = quality(view(**changes), SETTINGS)
        assert (np.diff(found, axis=1) >= 0).all()
        assert found.min() == 0
        assert found.max() == 1
        assert not quality(view(**changes, visible=U < 0), SETTINGS).any()


def test_trusted_texels_never_change(base):
    trust = np.clip((0.6 - U) * 10, 0, 1)
    before = Progress(base, trust)
    after = add_view(before, view(), SETTINGS)
    kept = trust == 1
    assert kept.any()
    np.testing.assert_array_equal(after.texture[kept], base[kept])
    np.testing.assert_array_equal(before.texture, base)  # the caller's record too
    assert np.abs(after.texture - base)[trust == 0].max() > 0


def test_owned_texels_become_trusted_and_trust_never_falls(base):
    trust = np.where(U < 0.3, 1, 0).astype(np.float32)
    seen = view(cosine=np.where(U < 0.8, U, 0).astype(np.float32))
    after = add_view(Progress(base, trust), seen, SETTINGS)
    shown = quality(seen, SETTINGS)
    assert (after.trust >= trust).all()
    assert (after.trust <= 1).all()
    np.testing.assert_allclose(after.trust, np.maximum(trust, shown))
    assert (after.trust[(U > 0.55) & (U < 0.78)] == 1).all()
    nothing = (U > 0.82) | (trust == 1)
    np.testing.assert_array_equal(after.texture[nothing], base[nothing])
    np.testing.assert_array_equal(after.trust[nothing], trust[nothing])


def test_a_texel_belongs_to_the_first_view_that_shows_it(base):
    """Without an overlap to match colours on, they arrive as the views gave them."""
    first = view(flat(0.8, 0.1, 0.1), visible=U < 0.6)
    second = view(flat(0.1, 0.8, 0.1), visible=U > 0.4, provenance=Provenance.RIGHT)
    progress = add_view(Progress(base, np.zeros((SIZE, SIZE), np.float32)), first, SETTINGS)
    np.testing.assert_allclose(progress.texture[U < 0.6], first.colour[U < 0.6], atol=1e-6)
    after = add_view(progress, second, SETTINGS)
    np.testing.assert_array_equal(after.texture[U < 0.6], progress.texture[U < 0.6])
    assert (after.trust == 1).all()
    assert [v.provenance for v in after.views] == [Provenance.LEFT, Provenance.RIGHT]


def test_added_views_have_the_colours_of_the_texture(base):
    """A view of the same skin under another light: what it owns continues the texture."""
    trust = (U < 0.5).astype(np.float32)
    other_light = (base * np.float32([0.8, 0.9, 1.2]) + np.float32([0.1, 0.05, -0.1])).astype(np.float32)
    wrong = np.where(trust[..., None] > 0, base, 0.9).astype(np.float32)
    after = add_view(Progress(wrong, trust), view(other_light), SETTINGS)
    np.testing.assert_allclose(after.texture, base, atol=2e-3)
    np.testing.assert_allclose(after.views[0].colour, base, atol=2e-3)


def test_colours_are_matched_to_what_is_trusted_not_to_what_it_was_mixed_with(base):
    """Where trust fades, the texture goes over to a base that may be far off."""
    trust = np.clip((0.5 - U) * 5 + 0.5, 0, 1)
    mixed = (base * trust[..., None] + flat(0.9, 0.1, 0.9) * (1 - trust[..., None])).astype(np.float32)
    kept = add_view(Progress(mixed, trust), view(base), SETTINGS).views[0]
    error = np.abs(kept.colour - base)
    assert error[U > 0.6].mean() < 0.02  # 0.056 if half-trusted texels counted by half
    assert error[U < 0.3].mean() < 0.02


def test_black_where_a_view_sees_nothing_does_not_leak(base):
    visible = U > 0.4
    trust = (U < 0.6).astype(np.float32)
    seen = view(np.where(visible[..., None], base, 0).astype(np.float32), visible=visible)
    after = add_view(Progress(base, trust), seen, SETTINGS)
    np.testing.assert_allclose(after.texture, base, atol=1e-4)
    np.testing.assert_allclose(after.views[0].colour, base, atol=1e-4)


def test_without_views_the_priors_fill_stays(base, inside):
    found = merge_views(base, [], inside, SETTINGS)
    np.testing.assert_array_equal(found.texture, base)
    np.testing.assert_array_equal(found.provenance, np.where(inside, Provenance.PRIOR, Provenance.OUTSIDE))
    assert found.provenance.dtype == np.uint8


def test_what_no_view_shows_stays_the_priors(base, inside):
    seen = view(visible=U > 0.5)
    found = merge_views(base, [seen], inside, SETTINGS)
    assert isinstance(found, ViewFill)
    np.testing.assert_allclose(found.texture[U < 0.5], base[U < 0.5], atol=1e-6)
    np.testing.assert_allclose(found.texture[U > 0.55], seen.colour[U > 0.55], atol=1e-5)
    assert (found.provenance[inside & (U < 0.5)] == Provenance.PRIOR).all()
    assert (found.provenance[inside & (U > 0.55)] == Provenance.LEFT).all()
    blind = merge_views(base, [view(visible=U < 0), view(cosine=-U)], inside, SETTINGS)
    np.testing.assert_allclose(blind.texture, base, atol=1e-6)
    assert (blind.provenance[inside] == Provenance.PRIOR).all()


@pytest.mark.parametrize(("cosine", "share"), [(0.3, 0.0), (0.35, 0.25), (0.4, 0.5), (0.5, 1.0)])
def test_where_even_the_best_view_is_poor_the_fill_goes_over_to_the_prior(base, inside, cosine, share):
    seen = view(cosine=np.full((SIZE, SIZE), cosine, np.float32))
    found = merge_views(base, [seen], inside, SETTINGS)
    np.testing.assert_allclose(found.texture, base + share * (seen.colour - base), atol=1e-4)
    assert (found.provenance[inside] == (Provenance.LEFT if share > 0.5 else Provenance.PRIOR)).all() or share == 0.5


def test_each_texel_comes_from_the_view_that_sees_it_better(base, inside):
    left = view(flat(0.8, 0.2, 0.2), cosine=1 - 0.8 * U)
    right = view(flat(0.2, 0.8, 0.2), cosine=0.2 + 0.8 * U, provenance=Provenance.RIGHT)
    for views in ([left, right], [right, left]):
        found = merge_views(base, views, inside, SETTINGS)
        for better, where in ((left, U < 0.4), (right, U > 0.6)):
            assert np.abs(found.texture - better.colour)[where].max() < 0.06
            assert np.abs(found.texture - better.colour)[where].mean() < 0.01
        given = found.provenance[inside & (np.abs(U - 0.5) > 0.01)]
        wanted = np.where(U < 0.5, Provenance.LEFT, Provenance.RIGHT)[inside & (np.abs(U - 0.5) > 0.01)]
        np.testing.assert_array_equal(given, wanted)
        # Between them it goes over without a step, and without leaving their mean.
        middle = found.texture[SIZE // 2]
        assert np.abs(np.diff(middle, axis=0)).max() < 0.08
        np.testing.assert_allclose(middle.sum(-1), 1.2, atol=1e-4)
    assert (found.provenance[~inside] == Provenance.OUTSIDE).all()


def test_a_views_weight_moves_the_border(base, inside):
    left = view(flat(0.8, 0.2, 0.2), cosine=1 - 0.8 * U)
    right = view(flat(0.2, 0.8, 0.2), cosine=0.2 + 0.8 * U, provenance=Provenance.RIGHT)
    shares = [
        (merge_views(base, [replace(left, weight=w), right], inside, SETTINGS).provenance == Provenance.LEFT).sum()
        for w in (0.5, 1.0, 2.0)
    ]
    assert shares[0] < 0.8 * shares[1]
    assert shares[2] > 1.2 * shares[1]


def test_shares_of_nothing_give_the_priors_fill(base, inside):
    settings = replace(SETTINGS, colour_share=0.0, detail_share=0.0)
    texture = toy_texture(SIZE)
    found = merge_views(base, [view(texture), view(flat(0.1, 0.2, 0.9))], inside, settings)
    np.testing.assert_allclose(found.texture, base, atol=1e-6)


def test_colour_and_detail_come_from_where_their_shares_say(base, inside):
    """The view has a fine stripe on another colour."""
    stripe = 0.05 * np.where(np.arange(SIZE) % 2, 1, -1)[None, :, None]
    seen = view((flat(0.7, 0.6, 0.2) + stripe).astype(np.float32))
    plain = flat(0.3, 0.4, 0.5)
    wide = replace(SETTINGS, detail=6 / SIZE)
    inner = np.s_[24:-24, 24:-24]
    colour = merge_views(plain, [seen], inside, replace(wide, detail_share=0.0)).texture
    detail = merge_views(plain, [seen], inside, replace(wide, colour_share=0.0)).texture
    both = merge_views(plain, [seen], inside, wide).texture
    half = merge_views(plain, [seen], inside, replace(wide, colour_share=0.5, detail_share=0.5)).texture
    np.testing.assert_allclose(colour[inner], flat(0.7, 0.6, 0.2)[inner], atol=2e-3)
    np.testing.assert_allclose(detail[inner], (plain + stripe)[inner], atol=2e-3)
    np.testing.assert_allclose(both, seen.colour, atol=1e-5)
    np.testing.assert_allclose(half, (seen.colour + plain) / 2, atol=1e-5)


def stripes(amplitude: float) -> np.ndarray:
    """Of two texels' width; their mean is 0 and their mean square ``amplitude`` squared."""
    return (amplitude * np.where(np.arange(SIZE) % 2, 1, -1)[None, :, None] * np.ones((SIZE, 1, 3))).astype(np.float32)


RAISING = replace(SETTINGS, contrast=3.0, strong=0.05, detail=8 / SIZE)
INNER = np.s_[20:-20, 20:-20]


@pytest.mark.parametrize(
    # 1 + (3 - 1) / (1 + square of amplitude / 0.05)
    ("amplitude", "factor"),
    [(0.001, 2.9992), (0.01, 2.9231), (0.05, 2.0), (0.1, 1.4), (0.25, 1.0769)],
)
def test_weak_detail_is_raised_and_strong_detail_stays(inside, amplitude, factor):
    plain = flat(0.5, 0.5, 0.5)
    found = merge_views(plain, [view(plain + stripes(amplitude))], inside, RAISING)
    np.testing.assert_allclose(found.texture[INNER], (plain + stripes(amplitude * factor))[INNER], atol=3e-4)


def test_strength_is_judged_where_the_detail_lies_over_all_channels(inside):
    """Weak detail beside strong detail is raised as if it were alone; green lines are not as strong as white ones."""
    plain = flat(0.5, 0.5, 0.5)
    both = np.where((U < 0.5)[..., None], stripes(0.01), stripes(0.25)).astype(np.float32)
    near = replace(RAISING, detail=3 / SIZE, strong_reach=1 / SIZE)
    found = merge_views(plain, [view(plain + both)], inside, near).texture - plain
    weak, strong = np.s_[24:-24, 20:36], np.s_[24:-24, 60:76]
    np.testing.assert_allclose(found[weak], 2.9231 * both[weak], atol=2e-4)
    np.testing.assert_allclose(found[strong], 1.0769 * both[strong], atol=1e-3)
    green = stripes(0.1) * np.float32([0, 1, 0])
    found = merge_views(plain, [view(plain + green)], inside, RAISING).texture - plain
    wanted = 1 + 2 / (1 + 0.1**2 / 3 / 0.05**2)
    np.testing.assert_allclose(found[INNER], wanted * green[INNER], atol=1e-3)


def test_only_what_a_view_gave_is_raised_and_no_colour_is(base, inside):
    seen = view((base + flat(0.2, 0.1, 0.0)).astype(np.float32), visible=U > 0.5)
    found = merge_views(base, [seen], inside, RAISING)
    np.testing.assert_allclose(found.texture[U < 0.45], base[U < 0.45], atol=1e-6)
    raised = (U > 0.7) & (U < 0.9)
    ratio = found.texture[raised].std(0) / base[raised].std(0)
    assert (ratio > 2).all()
    np.testing.assert_allclose(found.texture[raised].mean(0), seen.colour[raised].mean(0), atol=5e-3)
    unraised = merge_views(base, [seen], inside, replace(RAISING, contrast=1.0))
    np.testing.assert_allclose(unraised.texture[raised], seen.colour[raised], atol=1e-4)


def test_results_are_colours(base, inside):
    stripe = np.where(np.arange(SIZE) % 2, 1.0, 0.0)[None, :, None] * np.ones((SIZE, 1, 3))
    exaggerated = replace(SETTINGS, detail_share=3.0)
    found = merge_views(base, [view(stripe.astype(np.float32))], inside, exaggerated)
    assert found.texture.min() >= 0
    assert found.texture.max() <= 1
    assert found.texture.dtype == np.float32
    after = add_view(Progress(flat(0, 0, 1), (U < 0.5).astype(np.float32)), view(stripe.astype(np.float32)), SETTINGS)
    assert after.texture.min() >= 0
    assert after.texture.max() <= 1


TEXELS = 160


def planted(size: int) -> np.ndarray:
    """Smooth, with spots of some texels' size."""
    u, v = np.meshgrid(np.arange(size) / size, np.arange(size) / size)
    spots = 0.06 * np.sin(50 * u) * np.sin(44 * v)
    return np.clip(toy_texture(size) + spots[..., None], 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def studio() -> ViewStudio:
    """Of the topology that ships."""
    topology = read_topology(asset_path("topology/facemesh.npz"))
    layouts = {TEXELS: bake_layout(topology, TEXELS)}
    frame = ViewFrame(own_shape=False, ffhq_crop=False)
    return ViewStudio(topology, toy_face(topology), frame, 128, layouts.__getitem__)


def perfect(studio: ViewStudio, truth: np.ndarray, shown: View) -> LatentSpace:
    """A generator that draws the true face whatever it is asked for."""
    picture = studio.draw(truth, np.ones(truth.shape[:2], np.float32), shown).image
    return LatentSpace(lambda _: picture, torch.zeros(4, 8), torch.ones(4, 8))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(a - b).mean()))


def test_a_planted_texture_is_found_by_a_perfect_generator(studio):
    """The photo saw one half; the rest begins wrong and becomes right, view by view."""
    truth = planted(TEXELS)
    inside = studio.layout_at(TEXELS).inside.numpy()
    photo = View((0.0, -35.0), Provenance.PHOTO, 1.0)
    drawn = studio.draw(truth, np.ones((TEXELS, TEXELS), np.float32), photo)
    trust = quality(studio.read(drawn.image[0], photo, TEXELS), SETTINGS)
    wrong = np.clip(1.1 - toy_texture(TEXELS)[:, ::-1], 0, 1)
    base = (wrong + (truth - wrong) * trust[..., None]).astype(np.float32)
    progress, unknown = Progress(base, trust), []
    for shown in views_of("soft"):
        target = studio.draw(progress.texture, progress.trust, shown)
        found = project(perfect(studio, truth, shown), target, 0)
        progress = add_view(progress, studio.read(found.image[0], shown, TEXELS), SETTINGS)
        unknown.append(int((inside & (progress.trust < 0.5)).sum()))
    assert all(b <= a for a, b in pairwise(unknown))
    fill = merge_views(base, progress.views, inside, SETTINGS)
    unseen = inside & (trust < 0.01)
    shown_well = unseen & (np.max([quality(v, SETTINGS) for v in progress.views], axis=0) > 0.9)
    assert shown_well.sum() > 0.65 * unseen.sum() > 2000
    assert psnr(base[shown_well], truth[shown_well]) < 15
    for texture in (progress.texture, fill.texture):
        assert psnr(texture[shown_well], truth[shown_well]) > 30
    # Nothing that the photo showed has moved.
    np.testing.assert_array_equal(progress.texture[trust == 1], base[trust == 1])
    names = {Provenance(p).name for p in np.unique(fill.provenance[shown_well])}
    assert "LEFT" in names
    assert "PRIOR" not in names
    assert (fill.provenance[~inside] == Provenance.OUTSIDE).all()
