"""From log-odds to what counts as covered."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.types import UvObservation
from ostec.mask.covers import Cover, find_cover
from ostec.mask.skin import MaskGuide
from ostec.nets.covers import SIZE, CoverNetwork
from ostec.pipeline import Models
from ostec.pipeline.observe import MASK_SIZE, Observer


class Says(CoverNetwork):
    """A network that says what it is told to."""

    def __init__(self, odds: np.ndarray) -> None:
        super().__init__()
        self.odds = torch.from_numpy(odds.astype(np.float32))[None, None]

    def forward(self, colour: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        return self.odds


@pytest.fixture(scope="module")
def guide(models: Models) -> MaskGuide:
    return Observer(models, 128)._guide


@pytest.fixture
def seen(guide: MaskGuide) -> UvObservation:
    flat, inside = np.ones(guide.inside.shape, np.float32), guide.inside
    grey = UvObservation(np.full((*flat.shape, 3), 0.5, np.float32), flat, inside, flat, flat, flat, inside)
    return drawn_eyes(grey, guide, (False, False))


def drawn_eyes(seen: UvObservation, guide: MaskGuide, closed: tuple[bool, bool]) -> UvObservation:
    """Both eyes as a white with a dark iris, or as a lid with lashes at its lower edge."""
    colour = seen.colour.copy()
    v, u = 1 - (np.arange(MASK_SIZE)[:, None] + 0.5) / MASK_SIZE, (np.arange(MASK_SIZE) + 0.5) / MASK_SIZE
    for centre, shut in zip(guide.rims.centres, closed, strict=True):
        x, y = (u - centre[0]) / 0.066, (v - centre[1]) / 0.028
        opening = x**2 + y**2 < 1
        iris = opening & (np.hypot(u - centre[0], v - centre[1]) < 0.028)
        lashes = opening & (y < -0.75 * np.sqrt(np.clip(1 - x**2, 0, 1)))
        for where, light in ((opening, 0.48 if shut else 0.7), (lashes if shut else iris, 0.15)):
            colour[where] = light
    return replace(seen, colour=colour)


def found_for(covered: np.ndarray, seen: UvObservation, guide: MaskGuide, sure: float = 5.0) -> Cover:
    small = covered.reshape(SIZE, MASK_SIZE // SIZE, SIZE, MASK_SIZE // SIZE).mean((1, 3)) > 0.5
    return find_cover(seen, guide, Says(np.where(small, sure, -5.0)))


def test_the_parts_make_up_the_chart_and_none_lies_twice(guide: MaskGuide) -> None:
    count = np.sum(list(guide.parts.values()), axis=0)
    assert set(guide.parts) == {"eyes", "mouth", "forehead", "nose", "chin", "cheeks"}
    np.testing.assert_array_equal(count, (guide.inside & (guide.rim > 0.04)).astype(int))


def test_a_part_that_is_covered_is_named_and_no_longer_free(seen: UvObservation, guide: MaskGuide) -> None:
    cover = found_for(guide.parts["mouth"] | guide.parts["chin"], seen, guide)
    assert set(cover.parts) == {"mouth", "chin"}
    assert cover.free is not None
    assert not cover.free[guide.parts["mouth"]].any()
    assert cover.free[guide.parts["eyes"]].all()
    assert 0.1 < cover.share < 0.4


def test_an_eye_of_which_most_is_covered_is_covered_and_the_other_is_not(seen: UvObservation, guide: MaskGuide) -> None:
    left = guide.parts["eyes"].copy()
    left[:, MASK_SIZE // 2 :] = False
    most = left.copy()
    most[:, : int(np.median(np.nonzero(left)[1])) - 8] = False
    cover = found_for(most, seen, guide)
    assert cover.free is not None
    assert not cover.free[left].any()
    assert cover.free[guide.parts["eyes"] & ~left].all()


@pytest.mark.parametrize(("size", "sure"), [(6, 5.0), (60, 0.5)])
def test_what_is_small_or_unsure_is_nothing(seen: UvObservation, guide: MaskGuide, size: int, sure: float) -> None:
    spot = np.zeros(guide.inside.shape, bool)
    spot[100 : 100 + size, 100 : 100 + size] = True
    assert found_for(spot, seen, guide, sure) == Cover()


def test_where_nothing_is_seen_nothing_is_covered(seen: UvObservation, guide: MaskGuide) -> None:
    blind = replace(seen, visible=np.zeros_like(seen.visible))
    assert found_for(guide.inside, blind, guide) == Cover()


def test_lids_that_are_closed_hide_the_eyes(seen: UvObservation, guide: MaskGuide) -> None:
    cover = find_cover(drawn_eyes(seen, guide, (True, True)), guide, None)
    assert cover.parts == ("eyes",)
    assert cover.free is not None
    assert not cover.free[guide.parts["eyes"]].any()
    assert cover.free[guide.parts["mouth"]].all()


@pytest.mark.parametrize("closed", [(False, False), (True, False), (False, True)])
def test_an_eye_that_is_seen_is_believed(seen: UvObservation, guide: MaskGuide, closed: tuple[bool, bool]) -> None:
    assert find_cover(drawn_eyes(seen, guide, closed), guide, None) == Cover()


def test_of_eyes_that_are_not_seen_nothing_is_said(seen: UvObservation, guide: MaskGuide) -> None:
    drawn = drawn_eyes(seen, guide, (True, True))
    assert find_cover(replace(drawn, visible=drawn.visible & ~guide.parts["eyes"]), guide, None) == Cover()


def test_what_is_known_to_be_covered_is(seen: UvObservation, guide: MaskGuide) -> None:
    known = guide.parts["nose"]
    cover = find_cover(drawn_eyes(seen, guide, (False, False)), guide, None, known=known)
    assert cover.parts == ("nose",)
    assert cover.free is not None
    assert not cover.free[known].any()


def test_a_cover_of_one_colour_runs_on_into_what_is_like_it_but_not_into_skin(
    seen: UvObservation, guide: MaskGuide
) -> None:
    """As a microphone before mouth and moustache, with nothing seen between the lips."""
    v, u = 1 - (np.arange(MASK_SIZE)[:, None] + 0.5) / MASK_SIZE, (np.arange(MASK_SIZE) + 0.5) / MASK_SIZE
    level = float((v * guide.parts["mouth"]).sum() / guide.parts["mouth"].sum())
    disc = np.hypot(u - 0.5, v - level) < 0.09
    above = disc & (v > level + 0.015)
    gap = disc & (np.abs(v - level) < 0.006)
    visible = seen.visible & ~gap
    shown = replace(seen, visible=visible, colour=np.where(disc[..., None], np.float32(0.12), seen.colour))
    cover = found_for(disc & ~above, shown, guide)
    assert cover.free is not None
    assert not cover.free[above & visible & guide.beard].any()
    assert cover.free[guide.parts["nose"] & ~guide.beard].all()
    of_skin = find_cover(seen, guide, None, known=disc & ~above)
    assert of_skin.free is not None
    assert of_skin.free[(v > level + 0.07) & guide.beard & guide.inside & (np.abs(u - 0.5) > 0.15)].all()


def test_pictures_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="128 x 128 texels"):
        CoverNetwork()(torch.zeros(1, 3, 64, 64), torch.zeros(1, 1, 64, 64))
