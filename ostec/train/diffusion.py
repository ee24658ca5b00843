"""Train the diffusion model that completes textures: draw what the prior's fill of an imagined picture lacks.

The loss is that of flow matching under EDM's preconditioning (:mod:`ostec.nets.denoiser`); hidden texels that the
portrait showed count fully, shown ones a little, and what the portrait itself never showed counts for nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ostec.nets.denoiser import DenoiserShape, TextureCondition, TextureDenoiser, preconditioning
from ostec.train.imagined import ImaginedTextures
from ostec.train.settings import DiffusionTrainSettings


@dataclass
class DiffusionState:
    """Everything that a checkpoint holds."""

    network: TextureDenoiser
    mean: TextureDenoiser
    """Its weights' running mean, which is what is kept."""
    optimiser: torch.optim.Adam
    random: torch.Generator
    images: int = 0
    step: int = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        named = {name: getattr(self, name).state_dict() for name in ("network", "mean", "optimiser")}
        return {**named, "random": self.random.get_state(), "images": self.images, "step": self.step}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from :meth:`state_dict`."""
        for name in ("network", "mean", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.random.set_state(state["random"].cpu())
        self.images, self.step = int(state["images"]), int(state["step"])


def start_diffusion(settings: DiffusionTrainSettings, scale: torch.Tensor, device: torch.device) -> DiffusionState:
    """The network at the first step; ``scale`` [S, S] is the residual's deviation by texel."""
    shape = DenoiserShape(len(scale), settings.channels, settings.embedding)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = TextureDenoiser(shape)
    network.scale.copy_(scale)
    mean = TextureDenoiser(shape)
    mean.load_state_dict(network.state_dict())
    return DiffusionState(
        network.to(device),
        mean.to(device).eval().requires_grad_(False),
        torch.optim.Adam(network.to(device).parameters(), settings.learning_rate, betas=(0.9, 0.99)),
        torch.Generator().manual_seed(settings.seed),
    )


@dataclass(frozen=True)
class DiffusionBatch:
    """B textures of the imagined pictures."""

    given: TextureCondition
    residual: torch.Tensor
    """[B, 3, S, S] in colours; zero where the portrait showed nothing."""
    weight: torch.Tensor
    """[B, 1, S, S] of a texel in the loss."""


def draw_batch(
    textures: ImaginedTextures, rows: torch.Tensor, settings: DiffusionTrainSettings, random: torch.Generator
) -> DiffusionBatch:
    """Choose a batch among the portraits ``rows`` [M]: the picture of each, its side, how bright and tinted it is."""
    count = settings.batch
    row = rows[torch.randint(len(rows), (count,), generator=random)]
    picture = torch.randint(textures.guess.shape[1], (count,), generator=random)
    mirrored = torch.rand(count, 1, 1, 1, generator=random) < 0.5
    tint = (torch.randn(count, 3, 1, 1, generator=random) * settings.tint).exp()
    tint = tint * (torch.randn(count, 1, 1, 1, generator=random) * settings.gain).exp()
    planes = (
        textures.colour[row] / 255 * tint,
        textures.guess[row, picture] / 255 * tint,
        textures.weight[row, None] / 255,
        textures.trust[row, picture][:, None] / 255,
    )
    colour, guess, weight, trust = (torch.where(mirrored, plane.flip(-1), plane) for plane in planes)
    residual = torch.where(weight > 0, colour - guess, 0.0)
    return DiffusionBatch(
        TextureCondition(guess, guess + residual, trust), residual, weight * (1 - (1 - settings.shown) * trust)
    )


def train_diffusion(
    state: DiffusionState,
    textures: ImaginedTextures,
    rows: torch.Tensor,
    settings: DiffusionTrainSettings,
    on_step: Callable[[DiffusionState, dict[str, float]], None],
) -> None:
    """Go on until ``settings.images`` pictures were seen.

    Args:
        state: changed in place.
        textures: of the portraits.
        rows: [M] which of them may be trained on.
        settings: of the training.
        on_step: called after each step with the losses; saves checkpoints.
    """
    device = state.network.scale.device
    while state.images < settings.images:
        batch = draw_batch(textures, rows, settings, state.random)
        done = state.images / settings.images
        share = settings.final_rate + (1 - settings.final_rate) * (1 + math.cos(math.pi * done)) / 2
        warm = min(1.0, (state.step + 1) / settings.warm_up)
        for group in state.optimiser.param_groups:
            group["lr"] = settings.learning_rate * share * warm
        loss = flow_loss(state.network, batch, settings, state.random, device)
        state.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(state.network.parameters(), 1.0)
        state.optimiser.step()
        state.images += settings.batch
        state.step += 1
        decay = min(settings.ema, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            for kept, now in zip(state.mean.parameters(), state.network.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        on_step(state, {"loss": float(loss.detach())})


def flow_loss(
    network: TextureDenoiser,
    batch: DiffusionBatch,
    settings: DiffusionTrainSettings,
    random: torch.Generator,
    device: torch.device,
) -> torch.Tensor:
    """Mean squared error of what the network draws, at random times; a share of them is 0, where it is the mean."""
    count = len(batch.weight)
    time = torch.sigmoid(torch.randn(count, generator=random))
    time = torch.where(torch.rand(count, generator=random) < settings.at_start, 0.0, time)
    noise = torch.randn(batch.residual.shape, generator=random)
    given = TextureCondition(*(plane.to(device) for plane in vars(batch.given).values()))
    time, noise, weight = (x.to(device) for x in (time, noise, batch.weight))
    residual = batch.residual.to(device) / network.scale
    t = time[:, None, None, None]
    state = (1 - t) * noise + t * residual
    skip, share = preconditioning(time)
    error = (network.drawn(state, time, given) - (residual - skip * state) / share).square()
    return (error * weight).sum() / (3 * weight.sum()).clamp(min=1)
