"""The diffusion model keeps what is seen, is what it was before training, and follows the flow to a known end."""

import numpy as np
import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.denoiser import (
    DenoiserShape,
    TextureCondition,
    TextureDenoiser,
    denoiser_from_tensors,
    preconditioning,
    sample_residual,
)

SHAPE = DenoiserShape(32, (8, 16), 16)


@pytest.fixture
def network() -> TextureDenoiser:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = TextureDenoiser(SHAPE)
        for parameter in made.parameters():  # not the zeros that training starts from
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return made.eval().requires_grad_(False)


def condition(trust: torch.Tensor) -> TextureCondition:
    random = torch.Generator().manual_seed(1)
    guess, seen = (torch.rand(len(trust), 3, 32, 32, generator=random) for _ in range(2))
    return TextureCondition(guess, seen, trust)


def test_seen_texels_stay_exactly_and_the_others_do_not(network: TextureDenoiser) -> None:
    trust = torch.zeros(2, 1, 32, 32)
    trust[..., :16] = 1
    given = condition(trust)
    noise = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    made = given.guess + sample_residual(network, given, noise, np.linspace(0, 1, 5).tolist())
    torch.testing.assert_close(made[..., :16], given.seen[..., :16], atol=1e-5, rtol=0)
    other = given.guess + sample_residual(network, given, noise.flip(0), np.linspace(0, 1, 5).tolist())
    assert (made - other)[..., 16:].abs().mean() > 1e-3


def test_the_flow_ends_where_a_perfect_network_says(network: TextureDenoiser) -> None:
    given = condition(torch.zeros(1, 1, 32, 32))
    wanted = network.residual(given.seen, given.guess)

    class Perfect(TextureDenoiser):
        def forward(self, state: torch.Tensor, time: torch.Tensor, given: TextureCondition) -> torch.Tensor:
            return wanted

    perfect = Perfect(SHAPE)
    made = sample_residual(perfect, given, torch.randn(1, 3, 32, 32), [0.0, 0.3, 0.7, 1.0])
    torch.testing.assert_close(made, given.seen - given.guess, atol=1e-5, rtol=0)


def test_preconditioning_is_that_of_unit_variance() -> None:
    skip, share = preconditioning(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(skip.flatten(), torch.tensor([0.0, 1.0, 1.0]))
    torch.testing.assert_close(share.flatten(), torch.tensor([1.0, 0.5**0.5, 0.0]))


def test_a_face_and_its_mirror_image_are_told_apart_by_place_alone(network: TextureDenoiser) -> None:
    given = condition(torch.ones(1, 1, 32, 32))
    state, time = torch.zeros(1, 3, 32, 32), torch.tensor([0.5])
    before = network(state, time, given)
    changed = TextureCondition(given.guess, given.seen.clone(), given.trust)
    changed.seen[..., 4, 3] += 0.5
    far = (network(state, time, changed) - before)[..., 4, 28].abs().max()
    assert far > 0, "what the other side shows is an input of the mirrored texel"


def test_a_state_builds_its_own_network_and_another_is_refused(network: TextureDenoiser) -> None:
    state = network.state_dict()
    again = denoiser_from_tensors(state, "own.safetensors")
    assert again.shape == SHAPE
    given, time = condition(torch.ones(1, 1, 32, 32)), torch.tensor([0.3])
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(again(x, time, given), network(x, time, given))
    with pytest.raises(WeightsError, match="does not fit"):
        denoiser_from_tensors({**state, "exit.bias": torch.zeros(3)}, "own.safetensors")
    with pytest.raises(WeightsError, match="holds no diffusion model"):
        denoiser_from_tensors({"mean": torch.zeros(3)}, "own.safetensors")
