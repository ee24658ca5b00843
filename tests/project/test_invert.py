"""Projection finds what the generator made, hears only what is trusted, and treats each picture as if it were alone."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from ostec.nets.losses import pixel_loss
from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.project.invert import Projection, project, rate_at
from ostec.project.objective import LatentSpace, ProjectionTarget
from ostec.project.settings import ProjectionSettings

SIDE = 32
SHAPE = GeneratorShape(SIDE, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16)
QUICK = ProjectionSettings(learning_rate=0.1)
"""The tiny generator has few and large directions."""


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(5)
    return Generator(SHAPE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def space(generator: Generator) -> LatentSpace:
    """Mean and deviation over drawn latents; pictures brought to [-1, 1]."""
    ws = generator.mapping(torch.randn(512, 16, generator=torch.Generator().manual_seed(0)))

    def synthesise(latent: torch.Tensor) -> torch.Tensor:
        return torch.tanh(0.5 * generator.synthesis(latent))

    return LatentSpace(synthesise, ws.mean(0), ws.std(0))


def latents(space: LatentSpace, count: int = 1, seed: int = 2) -> torch.Tensor:
    """W+ with a different offset of half a deviation in each row, around the mean."""
    random = torch.Generator().manual_seed(seed)
    return space.mean + 0.5 * space.deviation * torch.randn(count, *space.mean.shape, generator=random)


def trusted(image: torch.Tensor, trust: torch.Tensor | None = None) -> ProjectionTarget:
    whole = torch.ones_like(image[:, :1])
    return ProjectionTarget(image, whole if trust is None else trust, torch.zeros_like(whole))


def half_trust(image: torch.Tensor) -> torch.Tensor:
    trust = torch.zeros_like(image[:, :1])
    trust[..., :20] = 1
    return trust


def distance(space: LatentSpace, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Root mean square over W+ in deviations, [B]."""
    return ((a - b) / space.deviation).square().mean((1, 2)).sqrt()


def psnr(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """[B] in dB, of pictures in [-1, 1]."""
    return -10 * torch.log10((a - b).square().mean((1, 2, 3)) / 4)


def test_a_picture_that_the_generator_made_is_found(space):
    true = latents(space)
    target = space.synthesise(true)
    found = project(space, trusted(target), 80, replace(QUICK, latent=0.0))
    at_start = space.mean[None]
    assert float(psnr(space.synthesise(at_start), target)) < 25
    assert float(psnr(found.image, target)) > 35
    assert float(distance(space, found.ws, true)) < 0.9 * float(distance(space, at_start, true))
    assert found.losses[0]["total"] < 0.05 * found.losses[0]["start_total"]


def test_a_start_that_is_given_is_where_it_begins(space):
    true = latents(space, 2)
    start = true + 0.1 * (latents(space, 2, seed=7) - space.mean)
    target = trusted(space.synthesise(true))
    begun = project(space, target, 0, QUICK, start=start)
    torch.testing.assert_close(begun.ws, start)
    found = project(space, target, 15, replace(QUICK, learning_rate=0.02), start=start)
    assert (psnr(found.image, target.image) > psnr(begun.image, target.image) + 5).all()
    assert (distance(space, found.ws, start) < 0.1).all()


def test_no_iterations_give_the_start(space):
    target = trusted(space.synthesise(latents(space, 2)))
    found = project(space, target, 0)
    torch.testing.assert_close(found.ws, space.mean.expand(2, -1, -1))
    torch.testing.assert_close(found.image, space.synthesise(found.ws))
    assert found.iterations == [0, 0]
    for row in found.losses:
        assert row["total"] == row["start_total"]
        assert row["latent"] == 0
        assert "start" not in row
        assert "features" not in row


def assert_same(a: Projection, b: Projection) -> None:
    assert torch.equal(a.ws, b.ws)
    assert torch.equal(a.image, b.image)
    assert (a.losses, a.iterations) == (b.losses, b.iterations)


def features_of(image: torch.Tensor) -> list[torch.Tensor]:
    """Of wide receptive fields."""
    wide = functional.avg_pool2d(functional.pad(image, [6] * 4, mode="replicate"), 13, stride=4)
    return [torch.cat([wide, wide.square(), torch.ones_like(wide[:, :1])], dim=1)]


def test_nothing_outside_the_trusted_pixels_is_heard(space):
    def encode(image: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
        return space.mean + space.deviation * image.mean((1, 2, 3), keepdim=True)[..., 0]

    whole = replace(space, encode=encode, features=features_of)
    image = space.synthesise(latents(space))
    trust = half_trust(image)
    target = trusted(image, trust)
    settings = replace(QUICK, guess=0.0)
    found = project(whole, target, 8, settings)
    random = torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    for other in (random, torch.full_like(image, -1.0), torch.full_like(image, torch.nan)):
        changed = ProjectionTarget(torch.where(trust > 0, image, other), trust, 1 - trust)
        assert_same(project(whole, changed, 8, settings), found)
    changed = replace(target, image=torch.where(trust > 0, -image, image))
    assert not torch.equal(project(whole, changed, 8, settings).ws, found.ws)


@pytest.mark.parametrize("guess", [0.0, 0.1, 1.0])
def test_a_guess_counts_as_much_as_it_is_trusted(space, guess):
    image = space.synthesise(latents(space))
    trust, guessed = half_trust(image), torch.ones_like(image[:, :1])
    guessed[..., 28:] = 0
    settings = replace(QUICK, guess=guess)
    found = project(space, ProjectionTarget(image, trust, guessed), 0, settings).losses[0]
    weight = torch.cat([trust[..., :20], guess * guessed[..., 20:]], dim=-1)
    drawn = space.synthesise(space.mean[None])
    assert found["pixel"] == pytest.approx(float(pixel_loss(drawn, image, weight)), rel=1e-5)
    alone = project(space, trusted(image, weight), 0, settings).losses[0]
    assert found == alone


def test_untrusted_pixels_may_be_anything_where_nothing_is_trusted(space):
    image = space.synthesise(latents(space))
    found = project(space, trusted(image, torch.zeros_like(image[:, :1])), 5, QUICK)
    torch.testing.assert_close(found.ws, space.mean[None])
    assert found.losses[0]["pixel"] == 0
    assert found.losses[0]["ms_ssim"] == 0


def test_each_picture_is_found_as_if_it_were_alone(space):
    image = space.synthesise(latents(space, 2))
    trust = torch.cat([half_trust(image[:1]), torch.ones(1, 1, SIDE, SIDE)])
    whole = replace(space, features=features_of)
    # The first has no progress to make after a while and is left, the second goes on.
    start = torch.cat([latents(space, 2)[:1], space.mean[None]])
    settings = replace(QUICK, patience=6, latent=0.0)
    together = project(whole, trusted(image, trust), 15, settings, start=start)
    assert together.iterations[0] < together.iterations[1]
    for b in range(2):
        one = slice(b, b + 1)
        alone = project(whole, trusted(image[one], trust[one]), 15, settings, start=start[one])
        assert alone.iterations == together.iterations[one]
        torch.testing.assert_close(alone.ws, together.ws[one], atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(alone.image, together.image[one], atol=2e-3, rtol=1e-3)
        assert alone.losses[0] == pytest.approx(together.losses[b], rel=1e-2, abs=1e-4)


@pytest.mark.parametrize("learning_rate", [0.1, 3.0])
def test_the_best_is_kept_and_its_loss_is_what_is_reported(space, learning_rate):
    target = trusted(space.synthesise(latents(space, 2)))
    settings = ProjectionSettings(learning_rate=learning_rate, decay=0.0, start=0.0)
    found = project(space, target, 12, settings)
    again = project(space, target, 0, settings, start=found.ws)
    for row, check in zip(found.losses, again.losses, strict=True):
        assert row["total"] <= row["start_total"]
        assert row["total"] == pytest.approx(check["start_total"], abs=3e-6)
        terms = {name: value for name, value in row.items() if not name.endswith("total")}
        assert set(terms) == {"pixel", "ms_ssim", "latent"}
        assert sum(terms.values()) == pytest.approx(row["total"], abs=3e-6)
    torch.testing.assert_close(again.image, found.image, atol=1e-6, rtol=1e-5)


def test_steps_that_only_lose_give_back_the_start(space):
    true = latents(space)
    wild = ProjectionSettings(learning_rate=50.0, decay=0.0, warm_up=0.0, latent=0.0)
    found = project(space, trusted(space.synthesise(true)), 4, wild, start=true)
    torch.testing.assert_close(found.ws, true)
    assert found.losses[0]["total"] == found.losses[0]["start_total"]


def test_a_picture_without_progress_is_left(space):
    target = trusted(space.synthesise(latents(space, 2)))
    hard_to_please = replace(QUICK, patience=3, progress=0.9)
    asked: list[int] = []
    found = project(space, target, 50, hard_to_please, on_iteration=asked.append)
    assert found.iterations == [3, 3]
    assert asked == [0, 1, 2, 3]
    for row in found.losses:
        assert row["total"] < row["start_total"]


def scripted(errors: list[list[float]]) -> tuple[LatentSpace, ProjectionTarget]:
    """A generator whose k-th picture b is off by ``errors[b][k]``, and the pictures that it should make."""
    calls = iter(zip(*errors, strict=True))
    last = torch.zeros(len(errors), 1, 1, 1)

    def synthesise(ws: torch.Tensor) -> torch.Tensor:
        nonlocal last
        if torch.is_grad_enabled():  # the last picture, of the best latent, is no iteration
            last = torch.tensor(next(calls))[:, None, None, None]
        return (last + 0 * ws.mean((1, 2))[:, None, None, None]).expand(-1, 3, SIDE, SIDE)

    target = trusted(torch.zeros(len(errors), 3, SIDE, SIDE))
    return LatentSpace(synthesise, torch.zeros(8, 16), torch.ones(8, 16)), target


def test_progress_restarts_the_patience_and_a_picture_that_is_left_stays_as_it_is():
    space, target = scripted(
        [
            [1.0, 0.9, 1.0, 1.0, 0.8, 1.0, 1.0, 0.7, 0.71, 0.699, 0.72, 0.1, 0.1, 0.1, 0.1],
            [1.0, 0.9, 0.8, 0.7, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.1],
        ]
    )
    settings = replace(QUICK, patience=3, progress=0.01, ms_ssim=0.0)
    found = project(space, target, 14, settings)
    # 0.699 is better than 0.7, and kept, but no progress.
    assert found.iterations == [10, 14]
    for row, best in zip(found.losses, (0.699, 0.1), strict=True):
        assert row["pixel"] == pytest.approx(math.log(math.cosh(16 * best)), rel=1e-4)


def test_every_iteration_is_announced_once(space):
    asked: list[int] = []
    found = project(space, trusted(space.synthesise(latents(space))), 7, QUICK, on_iteration=asked.append)
    assert asked == list(range(7))
    assert found.iterations == [7]


def test_two_runs_are_equal(space):
    target = trusted(space.synthesise(latents(space, 2)))
    assert_same(project(space, target, 10, QUICK), project(space, target, 10, QUICK))


def test_the_caller_keeps_its_tensors(space):
    true = latents(space)
    target = trusted(space.synthesise(true))
    start, image = true + 0.1, target.image.clone()
    kept = start.clone()
    project(space, target, 3, QUICK, start=start)
    assert torch.equal(start, kept)
    assert torch.equal(target.image, image)
    assert not start.requires_grad


def counting_encoder(space: LatentSpace, ws: torch.Tensor) -> tuple[list[int], Callable]:
    calls: list[int] = []

    def encode(image: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
        assert not torch.is_grad_enabled()
        calls.append(len(image))
        return ws

    return calls, encode


def test_the_encoder_is_asked_once_and_its_answer_is_the_start(space):
    true = latents(space, 2)
    offset = true + 0.2 * space.deviation
    calls, encode = counting_encoder(space, offset)
    target = trusted(space.synthesise(true))
    found = project(replace(space, encode=encode), target, 10, QUICK)
    assert calls == [2]
    assert all("start" in row for row in found.losses)
    assert_same(found, project(space, target, 10, QUICK, start=offset))


def test_the_encoder_is_not_asked_for_a_start_that_is_given(space):
    true = latents(space)
    calls, encode = counting_encoder(space, true)
    project(replace(space, encode=encode), trusted(space.synthesise(true)), 1, QUICK, start=space.mean[None])
    assert calls == []


def test_a_heavy_anchor_holds_the_start(space):
    true = latents(space)
    start = true + 0.3 * space.deviation
    target = trusted(space.synthesise(true))
    loose, held = (
        project(space, target, 15, replace(QUICK, latent=0.0, start=weight), start=start) for weight in (0.0, 100.0)
    )
    assert float(distance(space, held.ws, start)) < 0.3 * float(distance(space, loose.ws, start))


def test_features_are_a_term_of_their_own(space):
    target = trusted(space.synthesise(latents(space)))
    with_features = replace(space, features=features_of, features_name="wide")
    only = replace(QUICK, pixel=0.0, ms_ssim=0.0, latent=0.0)
    found = project(with_features, target, 30, only)
    row = found.losses[0]
    assert row["features"] == row["total"]
    assert row["total"] < 0.3 * row["start_total"]


def test_features_do_not_hear_what_is_drawn_where_nothing_is_trusted(space):
    image = space.synthesise(latents(space))
    trust = half_trust(image)
    drawn = space.synthesise(space.mean[None])
    rows = []
    for beside in (0.0, 0.9):
        picture = torch.where(trust > 0, drawn, beside)
        fixed = replace(space, synthesise=lambda _, picture=picture: picture, features=features_of)
        rows.append(project(fixed, trusted(image, trust), 0, QUICK).losses[0])
    assert rows[0] == rows[1]
    assert rows[0]["features"] > 0


def test_learning_rate_by_hand():
    settings = ProjectionSettings(warm_up=0.1, decay=0.4)
    # Rises from a tenth, since 0.01 of 0.1 is over; then falls on a cosine over the last 0.4.
    for done, wanted in ((0.0, 0.1), (0.04, 0.5), (0.09, 1.0), (0.6, 1.0), (0.7, 0.5 + math.sqrt(0.125)), (0.8, 0.5)):
        assert rate_at(done, settings) == pytest.approx(wanted)
    assert rate_at(0.9, settings) == pytest.approx(0.5 - math.sqrt(0.125))
    assert rate_at(1.0, settings) == 0
    assert rate_at(1.0, replace(settings, decay=0.0)) == 1
    assert rate_at(0.0, replace(settings, warm_up=0.0)) == 1


def test_negative_iterations_are_refused(space):
    with pytest.raises(ValueError, match="iterations must be 0 or more, got -1"):
        project(space, trusted(torch.zeros(1, 3, SIDE, SIDE)), -1)


@pytest.mark.parametrize("name", ["trust", "guessed"])
def test_masks_of_another_shape_are_refused(space, name):
    target = trusted(torch.zeros(2, 3, SIDE, SIDE))
    for shape in ((1, 1, SIDE, SIDE), (2, 3, SIDE, SIDE), (2, 1, SIDE, 16)):
        with pytest.raises(ValueError, match=rf"expected {name} \[2, 1, 32, 32\], got \[{shape[0]}, {shape[1]}, "):
            project(space, replace(target, **{name: torch.ones(shape)}), 1)


def test_a_start_of_another_shape_is_refused(space):
    target = trusted(torch.zeros(2, 3, SIDE, SIDE))
    with pytest.raises(ValueError, match=r"expected start \[2, 8, 16\], got \[1, 8, 16\]"):
        project(space, target, 1, start=space.mean[None])
