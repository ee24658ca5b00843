"""What is compared at a coarser level is the smaller picture, and only what counts in it."""

from itertools import pairwise

import pytest
import torch

from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.project.invert import Stage, project, stages
from ostec.project.objective import Drawer, LatentSpace, Objective, ProjectionTarget, smaller, target_at
from ostec.project.settings import Level, ProjectionSettings
from ostec.project.terms import PictureTerm

SIDE = 64
SHAPE = GeneratorShape(SIDE, z_dim=16, w_dim=16, mapping_layers=2, channel_base=512, channel_max=16)
LEVELS = (Level(4, 0.4), Level(2, 0.3))


class Counted:
    """A tiny generator that counts how often it draws what."""

    def __init__(self) -> None:
        torch.manual_seed(5)
        self.generator = Generator(SHAPE).eval().requires_grad_(False)
        ws = self.generator.mapping(torch.randn(512, 16, generator=torch.Generator().manual_seed(0)))
        self.sides: list[int] = []
        self.space = LatentSpace(self.whole, ws.mean(0), ws.std(0), pyramid=self.level)

    def whole(self, ws: torch.Tensor) -> torch.Tensor:
        self.sides.append(SIDE)
        return self.generator.synthesis(ws)

    def level(self, ws: torch.Tensor, side: int) -> torch.Tensor:
        self.sides.append(side)
        return self.generator.synthesis(ws, resolution=side)

    def latents(self, seed: int, count: int = 1) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        return self.space.mean + 0.5 * self.space.deviation * torch.randn(
            count, *self.space.mean.shape, generator=random
        )


@pytest.fixture
def network() -> Counted:
    return Counted()


def whole_target(image: torch.Tensor) -> ProjectionTarget:
    one = torch.ones_like(image[:, :1])
    return ProjectionTarget(image, one, torch.zeros_like(one))


def test_a_level_with_its_correction_is_the_smaller_picture(network):
    draw = Drawer(network.space, SIDE, 16, refresh=1)
    for seed in range(3):
        ws = network.latents(seed, 2)
        wanted = smaller(network.generator.synthesis(ws), 16)
        level = network.generator.synthesis(ws, resolution=16)
        assert (level - wanted).abs().max() > 0.1  # the finer layers do add something
        torch.testing.assert_close(draw(ws).image, wanted, rtol=1e-5, atol=1e-5)


def test_the_correction_is_looked_at_as_often_as_asked(network):
    draw = Drawer(network.space, SIDE, 16, refresh=3)
    first = network.latents(0)
    added = smaller(network.generator.synthesis(first), 16) - network.generator.synthesis(first, resolution=16)
    draw(first)
    for seed in (1, 2):
        ws = network.latents(seed)
        torch.testing.assert_close(draw(ws).image, network.generator.synthesis(ws, resolution=16) + added)
    ws = network.latents(3)
    torch.testing.assert_close(draw(ws).image, smaller(network.generator.synthesis(ws), 16), rtol=1e-5, atol=1e-5)
    assert network.sides == [16, SIDE, 16, 16, 16, SIDE]


def test_the_slope_is_the_levels(network):
    ws = network.latents(0).requires_grad_(True)
    (found,) = torch.autograd.grad(Drawer(network.space, SIDE, 32, 5)(ws).image.square().sum(), ws)
    image = smaller(network.generator.synthesis(ws), 32).detach()
    (wanted,) = torch.autograd.grad((network.generator.synthesis(ws, resolution=32) * 2 * image).sum(), ws)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_whole_pictures_come_with_their_slope_and_renew_the_correction(network):
    draw = Drawer(network.space, SIDE, 16, refresh=100)
    ws = network.latents(0).requires_grad_(True)
    drawn = draw(ws, whole=True)
    assert drawn.whole is not None
    assert drawn.whole.shape[-1] == SIDE
    assert drawn.whole.requires_grad
    torch.testing.assert_close(drawn.image, smaller(drawn.whole, 16))
    torch.testing.assert_close(draw(ws).image, drawn.image, rtol=1e-5, atol=1e-5)
    assert network.sides.count(SIDE) == 1


@pytest.mark.parametrize("side", [SIDE, 2 * SIDE])
def test_at_full_size_every_picture_is_whole(network, side):
    draw = Drawer(network.space, SIDE, side, refresh=10)
    assert draw.is_exact
    assert draw(network.latents(0)).image.shape[-1] == SIDE


def test_smaller_targets_are_means_of_what_counts():
    image = torch.tensor([[1.0, 0.0], [0.5, -1.0]]).repeat(2, 2)[None, None].expand(1, 3, 4, 4)
    trust = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).repeat(2, 2)[None, None]
    guessed = 1 - trust
    found = target_at(ProjectionTarget(image, trust, guessed), ProjectionSettings(guess=0.5), 2)
    # Left column: 1 and 0.5 weigh 1 each; right column: 0 and -1 weigh 0.5 each.
    assert found.image[0, 0].tolist() == [[pytest.approx((1.5 - 0.5) / 3)] * 2] * 2
    assert found.trust.tolist() == [[[[0.5, 0.5], [0.5, 0.5]]]]
    assert found.guessed.tolist() == [[[[0.5, 0.5], [0.5, 0.5]]]]


def test_pixels_that_do_not_count_say_nothing_at_any_level(network):
    image = network.generator.synthesis(network.latents(4))
    trust = torch.zeros_like(image[:, :1])
    trust[..., :20] = 1  # its border falls inside a coarse pixel
    other = torch.where(trust > 0, image, torch.rand_like(image))
    none = torch.zeros_like(trust)
    settings = ProjectionSettings(levels=LEVELS)
    a, b = (project(network.space, ProjectionTarget(p, trust, none), 12, settings) for p in (image, other))
    torch.testing.assert_close(a.ws, b.ws, rtol=1e-5, atol=1e-5)


def test_stages_by_hand():
    settings = ProjectionSettings(levels=(Level(4, 0.3), Level(2, 0.2)))
    wanted = [Stage(64, 0, 30), Stage(128, 30, 20), Stage(256, 50, 50)]
    assert stages(100, 1024, settings, pyramid=True) == wanted
    assert stages(100, 256, settings, pyramid=True) == wanted
    assert stages(100, 32, settings, pyramid=True) == [Stage(16, 0, 20), Stage(32, 20, 80)]
    assert stages(100, 16, settings, pyramid=True) == [Stage(16, 0, 100)]
    assert stages(100, 1024, settings, pyramid=False) == [Stage(256, 0, 100)]
    assert stages(0, 256, settings, pyramid=True) == [Stage(256, 0, 0)]
    assert stages(8, 256, settings, pyramid=True) == [Stage(256, 0, 8)]
    assert stages(10, 256, settings, pyramid=True) == [Stage(64, 0, 3), Stage(256, 3, 7)]


@pytest.mark.slow
def test_coarse_to_fine_finds_what_full_size_finds_and_draws_less(network):
    target = whole_target(network.generator.synthesis(network.latents(7)).clamp(-2, 2))
    found, drawn = {}, {}
    for name, levels in (("plain", ()), ("levels", LEVELS)):
        network.sides.clear()
        settings = ProjectionSettings(levels=levels)
        found[name] = project(network.space, target, 60, settings).losses[0]
        drawn[name] = network.sides.count(SIDE)
    assert found["levels"]["start_total"] == pytest.approx(found["plain"]["start_total"], rel=1e-5)
    assert found["plain"]["total"] < 0.25 * found["plain"]["start_total"]
    assert found["levels"]["total"] < 1.25 * found["plain"]["total"]
    assert drawn["levels"] < 0.5 * drawn["plain"]


def test_what_is_recorded_was_seen_on_the_whole_picture(network):
    target = whole_target(smaller(network.generator.synthesis(network.latents(7)), 32))
    space = LatentSpace(
        network.whole, network.space.mean, network.space.deviation, pyramid=network.level, resolution=SIDE
    )
    settings = ProjectionSettings(levels=(Level(2, 0.5),))
    found = project(space, target, 20, settings)
    assert found.image.shape[-1] == SIDE
    terms = Objective(space, target, settings, 32, None).terms(smaller(found.image, 32), found.ws)
    for name, value in terms.items():
        assert found.losses[0][name] == pytest.approx(float(value), abs=1e-5)
    assert found.losses[0]["total"] == pytest.approx(sum(float(v) for v in terms.values()), abs=1e-5)
    assert found.losses[0]["total"] < found.losses[0]["start_total"]


def test_terms_of_whole_pictures_get_them_at_the_finest_level_alone(network):
    seen: dict[str, list[int]] = {"whole": [], "compared": []}

    def term(name: str) -> PictureTerm:
        def loss(pictures: torch.Tensor) -> torch.Tensor:
            seen[name].append(pictures.shape[-1])
            return pictures.square().mean((1, 2, 3))

        return PictureTerm(name, 0.1, loss, every=5, whole=name == "whole")

    target = whole_target(smaller(network.generator.synthesis(network.latents(7)), 32))
    space = LatentSpace(
        network.whole, network.space.mean, network.space.deviation, pyramid=network.level, resolution=SIDE
    )
    settings = ProjectionSettings(levels=(Level(2, 0.5),), patience=100)
    found = project(space, target, 20, settings, judged=[term("whole"), term("compared")])
    # Once at the start, then in iterations 0, 5 and 10 of the ten of the finest level and the look after them.
    assert seen == {"whole": [SIDE] * 4, "compared": [32] * 4}
    assert {"whole", "compared"} <= set(found.losses[0])


def test_every_iteration_is_observed_with_where_it_led(network):
    target = whole_target(network.generator.synthesis(network.latents(7)))
    rows: list[tuple[int, torch.Tensor]] = []
    settings = ProjectionSettings(levels=LEVELS, patience=100)
    project(network.space, target, 10, settings, observe=lambda k, ws: rows.append((k, ws.clone())))
    assert [k for k, _ in rows] == list(range(10))
    assert all(not torch.equal(a, b) for (_, a), (_, b) in pairwise(rows))
