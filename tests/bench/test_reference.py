"""The plain reference: its network equals the fast one's, its parts equal the published formulae, it finds pictures."""

import math

import pytest
import torch
from torch.nn import functional

from bench.judge import VggShaped
from bench.network import draw_target, random_network
from bench.reference import (
    PlainNetwork,
    ReferenceSettings,
    exploration_at,
    noise_correlation,
    project_reference,
    rate_at,
    statistics,
)
from ostec.nets.checkpoint import mapped_samples
from ostec.nets.stylegan2 import Generator, GeneratorShape

SHAPE = GeneratorShape(32, z_dim=12, w_dim=10, mapping_layers=3, channel_base=256, channel_max=16)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> Generator:
    return random_network(SHAPE, 3)


@pytest.fixture(scope="module")
def judge() -> VggShaped:
    return VggShaped(0, 4)


def rows(count: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(count, SHAPE.num_ws, SHAPE.w_dim, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("clamp", [None, 0.7])
def test_draws_what_the_fast_network_draws_in_value_and_gradient(network: Generator, clamp: float | None) -> None:
    twin = Generator(SHAPE, clamp).eval().requires_grad_(False)
    twin.load_state_dict(network.state_dict())
    plain = PlainNetwork(twin.state_dict(), clamp)
    ws = rows(3).requires_grad_()
    fast, slow = twin.synthesis(ws), plain.draw(ws)
    torch.testing.assert_close(slow, fast, rtol=1e-4, atol=1e-5)
    pull = torch.randn(fast.shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.autograd.grad((picture * pull).sum(), ws)[0] for picture in (fast, slow))
    assert float((ours - theirs).norm() / ours.norm()) < 1e-4
    if clamp is not None:
        free = PlainNetwork(twin.state_dict()).draw(ws)
        assert not torch.allclose(free, slow, atol=1e-2), "the limit is met"


def test_draws_with_noise_maps_that_it_is_given(network: Generator) -> None:
    plain, ws = PlainNetwork(network.state_dict()), rows(1)
    assert sorted(plain.noises) == [
        "b16.conv0",
        "b16.conv1",
        "b32.conv0",
        "b32.conv1",
        "b4.conv1",
        "b8.conv0",
        "b8.conv1",
    ]
    silent = plain.draw(ws, {name: torch.zeros_like(x) for name, x in plain.noises.items()})
    torch.testing.assert_close(silent, network.synthesis(ws, "none"), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(silent, plain.draw(ws), atol=1e-3)


def test_maps_as_the_fast_network_does(network: Generator) -> None:
    z = torch.randn(5, SHAPE.z_dim, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(PlainNetwork(network.state_dict()).map(z), network.mapping(z)[:, 0])


def test_statistics_are_of_the_published_samples(network: Generator) -> None:
    found = statistics(PlainNetwork(network.state_dict()), ReferenceSettings(), SHAPE.z_dim, CPU)
    samples = mapped_samples(network)
    torch.testing.assert_close(found.mean[0], samples.mean(0), rtol=1e-4, atol=1e-5)
    assert found.deviation == pytest.approx(float(samples.var(0, correction=0).sum().sqrt()), rel=1e-4)


@pytest.mark.parametrize(
    ("done", "rate"),
    [
        (0.0, 0.0),
        (0.025, 0.05),
        (0.05, 0.1),
        (0.5, 0.1),
        (0.75, 0.1),
        (0.875, 0.05),
        (0.9375, 0.1 * (0.5 - math.sqrt(0.125))),
    ],
)
def test_learning_rate_rises_on_a_line_and_falls_on_a_cosine(done: float, rate: float) -> None:
    assert rate_at(done, ReferenceSettings()) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(("done", "noise"), [(0.0, 0.05), (0.375, 0.0125), (0.75, 0.0), (0.9, 0.0)])
def test_exploration_ends_after_three_quarters(done: float, noise: float) -> None:
    assert exploration_at(done, ReferenceSettings()) == pytest.approx(noise)


def test_noise_correlation_by_hand() -> None:
    # Columns of -1, 1: a step to the right turns every sign (mean -1, squared 1), a step down none (1).
    stripes = torch.tensor([-1.0, 1.0]).repeat(4, 2)
    assert float(noise_correlation({"a": stripes})) == pytest.approx(2.0)
    # Of 16 px the level of 8 px counts too: pairs of equal columns keep their stripes there, single ones vanish.
    assert float(noise_correlation({"a": torch.tensor([-1.0, 1.0]).repeat(16, 8)})) == pytest.approx(2.0)
    pairs = torch.tensor([-1.0, -1.0, 1.0, 1.0]).repeat(16, 4)
    assert float(noise_correlation({"a": pairs})) == pytest.approx(0 + 1 + 1 + 1)
    assert float(noise_correlation({"a": stripes, "b": pairs})) == pytest.approx(5.0)


def test_finds_a_picture_that_the_network_drew(network: Generator, judge: VggShaped) -> None:
    plain, target = PlainNetwork(network.state_dict()), draw_target(network, 1, 5)
    seen: list[int] = []
    found = project_reference(plain, target, judge, 40, seed=0, observe=seen.append)
    assert seen == [-1, *range(40)]
    assert len(found.distances) == 40
    assert found.distances[-1] < 0.35 * found.distances[0]
    for noise in found.noises.values():
        assert float(noise.mean()) == pytest.approx(0, abs=1e-5)
        assert float(noise.square().mean()) == pytest.approx(1, abs=1e-4)
    assert not any(torch.equal(x, plain.noises[name]) for name, x in found.noises.items())


def test_first_step_moves_nothing_for_its_rate_is_zero(network: Generator, judge: VggShaped) -> None:
    plain = PlainNetwork(network.state_dict())
    found = project_reference(plain, draw_target(network, 1, 5), judge, 1)
    mean = statistics(plain, ReferenceSettings(), SHAPE.z_dim, CPU).mean
    torch.testing.assert_close(found.w, mean)


def test_equal_seeds_give_equal_runs(network: Generator, judge: VggShaped) -> None:
    plain, target = PlainNetwork(network.state_dict()), draw_target(network, 1, 5)
    one, same, other = (project_reference(plain, target, judge, 2, seed=seed).distances for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_larger_pictures_are_compared_at_256_px() -> None:
    # Narrow as it is, the network draws 512 px; the features see a picture averaged in fields of 2 x 2.
    small = random_network(GeneratorShape(512, z_dim=4, w_dim=4, mapping_layers=1, channel_base=512, channel_max=2))
    target = draw_target(small, 1, 0)
    sides: list[torch.Tensor] = []

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        sides.append(image.detach())
        return [image]

    project_reference(PlainNetwork(small.state_dict()), target, features, 1)
    assert [list(x.shape[2:]) for x in sides] == [[256, 256], [256, 256]]
    torch.testing.assert_close(sides[0], functional.avg_pool2d(target, 2))


def test_refuses_what_is_not_one_picture_of_the_networks_size(network: Generator, judge: VggShaped) -> None:
    plain = PlainNetwork(network.state_dict())
    for shape, steps in (((1, 3, 16, 16), 5), ((2, 3, 32, 32), 5), ((1, 3, 32, 32), 0)):
        with pytest.raises(ValueError, match=r"expected a target \[1, 3, 32, 32\] and 1 step or more, got \["):
            project_reference(plain, torch.zeros(shape), judge, steps)
