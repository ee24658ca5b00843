"""The diffusion model's training learns, resumes bit for bit, and learns nothing from what the portraits hid."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.types import Topology
from ostec.prior.linear import LinearPrior
from ostec.render.uv import bake_layout
from ostec.train.diffusion import DiffusionState, draw_batch, flow_loss, start_diffusion, train_diffusion
from ostec.train.imagined import ImaginedTextures, imagine_textures
from ostec.train.portraits import PortraitTexels
from ostec.train.result import load_checkpoint, save_checkpoint
from ostec.train.sampled import hidden_halves, report_diffusion
from ostec.train.settings import DiffusionTrainSettings
from tests.toy import toy_topology

SIZE = 32
SETTINGS = DiffusionTrainSettings(channels=(8, 16), embedding=16, batch=4, images=32, warm_up=2, photos=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def topology() -> Topology:
    return toy_topology()


@pytest.fixture(scope="module")
def prior(topology: Topology) -> LinearPrior:
    inside = bake_layout(topology, SIZE).inside.numpy()
    count = int(inside.sum())
    random = torch.Generator().manual_seed(0)
    basis = 0.05 * torch.randn(count, 3, 4, generator=random)
    return LinearPrior(inside, torch.full((count, 3), 0.5), basis, torch.full((count,), 4e-4), topology.sha256)


@pytest.fixture(scope="module")
def portraits(prior: LinearPrior) -> PortraitTexels:
    random = torch.Generator().manual_seed(1)
    z = torch.randn(6, 4, generator=random)
    colour = prior.mean + torch.einsum("tck,nk->ntc", prior.basis, z)
    colour = colour + 0.02 * torch.randn(colour.shape, generator=random)
    weight = np.ones(colour.shape[:2], np.float16)
    held_out = np.array([False] * 5 + [True])
    pixels = (colour.clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    names = tuple(f"p{n}" for n in range(6))
    return PortraitTexels(names, pixels, weight, held_out, prior.inside, np.full(6, 600, np.float32))


@pytest.fixture(scope="module")
def textures(portraits: PortraitTexels, prior: LinearPrior, topology: Topology) -> ImaginedTextures:
    return imagine_textures(portraits, prior, topology, SETTINGS.photos, 0)


def trained(textures: ImaginedTextures, settings: DiffusionTrainSettings) -> DiffusionState:
    state = start_diffusion(settings, textures.scale(), CPU)
    train_diffusion(state, textures, torch.arange(5), settings, lambda _state, _losses: None)
    return state


def test_what_is_imagined_hides_a_part_and_is_guessed_near_the_truth(textures: ImaginedTextures) -> None:
    shown = textures.trust.float().mean((2, 3)) / textures.weight[:, None].float().mean((2, 3))
    assert shown.max() <= 1
    assert shown.min() < 0.9
    inside = textures.weight[0] > 0
    error = (textures.guess.float() - textures.colour[:, None].float())[..., inside].abs().mean() / 255
    assert error < 0.05
    scale = textures.scale()
    torch.testing.assert_close(scale, scale.flip(-1))
    assert 0.01 < scale[inside].mean() < 0.1


def test_training_lowers_the_loss(textures: ImaginedTextures) -> None:
    settings = replace(SETTINGS, images=400, batch=8)
    before, after = start_diffusion(settings, textures.scale(), CPU), trained(textures, settings)
    losses = []
    for state in (before, after):
        random = torch.Generator().manual_seed(5)
        with torch.no_grad():
            batches = [draw_batch(textures, torch.arange(5), settings, random) for _ in range(8)]
            losses.append(np.mean([float(flow_loss(state.network, b, settings, random, CPU)) for b in batches]))
    assert losses[1] < 0.97 * losses[0]


def test_a_resumed_training_is_the_same_training(textures: ImaginedTextures, tmp_path: Path) -> None:
    whole = trained(textures, SETTINGS)
    half = start_diffusion(SETTINGS, textures.scale(), CPU)

    class Stop(Exception):
        pass

    def stop(state: DiffusionState, _losses: dict[str, float]) -> None:
        if state.images == 16:
            save_checkpoint(tmp_path / "c.pt", state, SETTINGS)
            raise Stop

    with pytest.raises(Stop):
        train_diffusion(half, textures, torch.arange(5), SETTINGS, stop)
    again = start_diffusion(SETTINGS, textures.scale(), CPU)
    assert load_checkpoint(tmp_path / "c.pt", again, SETTINGS) == []
    train_diffusion(again, textures, torch.arange(5), SETTINGS, lambda _state, _losses: None)
    for name, value in whole.mean.state_dict().items():
        assert torch.equal(value, again.mean.state_dict()[name]), name


def test_what_a_portrait_never_showed_teaches_nothing(textures: ImaginedTextures) -> None:
    weight = textures.weight.clone()
    weight[..., 10:20, 10:20] = 0
    trust = torch.minimum(textures.trust, weight[:, None])
    hidden = replace(textures, weight=weight, trust=trust)
    colour = hidden.colour.clone()
    colour[..., 10:20, 10:20] = 255 - colour[..., 10:20, 10:20]
    one, other = (trained(part, SETTINGS) for part in (hidden, replace(hidden, colour=colour)))
    for name, value in one.network.state_dict().items():
        assert torch.equal(value, other.network.state_dict()[name]), name


def test_the_report_hides_halves_of_those_held_out(
    textures: ImaginedTextures, prior: LinearPrior, portraits: PortraitTexels
) -> None:
    halves = hidden_halves(portraits, np.array([5]))
    assert len(halves) == 2
    assert not (halves[0].scored & halves[1].scored).any()
    figures = report_diffusion(trained(textures, SETTINGS).mean, prior, portraits)
    assert figures["linear_best_of_8"] >= figures["linear_one"]
    assert figures["prior"] > 25
    assert 0 <= figures["diffusion_band"] <= 1
