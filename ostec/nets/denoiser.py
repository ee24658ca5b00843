"""A small network that samples what a linear model of texture cannot know: detail over its posterior mean.

Flow matching (Lipman et al. 2023) on straight paths x_t = (1 - t) e + t r from noise e ~ N(0, I) at t = 0 to the
scaled residual r at t = 1. The network gives r; it is preconditioned as in EDM (Karras et al. 2022, table 1, with data
of unit variance), so that it has to draw at every t what x_t does not tell.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ostec.core.errors import WeightsError
from ostec.nets.frozen import assign_frozen

_GROUPS = 8
_PATCH = 2
"""Texels to a side that become channels at the entrance."""
_PLACE = 8
"""Learned channels that say where on the face a texel lies."""
_FREQUENCIES = 6
"""Of the waves that say what time it is."""
_GIVEN = 14
"""Planes of the state and of its condition: 3 + 3 + 3 + 1 + 3 + 1."""


@dataclass(frozen=True)
class DenoiserShape:
    """Numbers that decide the network's tensors."""

    size: int = 128
    """Side of the layout in texels."""
    channels: tuple[int, ...] = (32, 64, 128, 160)
    """Of the levels, from half the layout's side on, each of half the side of the one before."""
    embedding: int = 128
    """Of the time."""


@dataclass(frozen=True)
class TextureCondition:
    """What is known of B textures; the layout's mirror image is that of the face."""

    guess: torch.Tensor
    """[B, 3, S, S] in [0, 1]: the linear model's posterior mean."""
    seen: torch.Tensor
    """[B, 3, S, S] in [0, 1]; anything where the trust is zero."""
    trust: torch.Tensor
    """[B, 1, S, S] in [0, 1]: where the pictures show the face."""


class _Block(nn.Module):
    """Two convolutions with a skip; the time scales and shifts what lies between."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(_GROUPS, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(_GROUPS, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] and [B, E] to [B, C, H, W]."""
        scale, shift = self.modulation(embedding)[..., None, None].chunk(2, dim=1)
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.norm2(h) * (1 + scale) + shift
        return x + self.conv2(functional.silu(h))


class TextureDenoiser(nn.Module):
    """A U-Net on texels, 2 x 2 of which are one of its pixels."""

    scale: torch.Tensor

    def __init__(self, shape: DenoiserShape) -> None:
        """Build it with random weights."""
        super().__init__()
        self.shape = shape
        widths, embedding, side = shape.channels, shape.embedding, shape.size // _PATCH
        # Deviation of the residual by texel, in colours.
        self.register_buffer("scale", torch.full((1, 1, shape.size, shape.size), 0.06))
        self.place = nn.Parameter(torch.randn(1, _PLACE, side, side) * 0.1)
        self.time = nn.Sequential(nn.Linear(2 * _FREQUENCIES, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.entrance = nn.Conv2d(_GIVEN * _PATCH**2 + _PLACE, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(width, embedding) for width in widths)
        self.halve = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(widths))
        self.middle = _Block(widths[-1], embedding)
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(widths))
        self.up = nn.ModuleList(_Block(width, embedding) for width in widths[:-1])
        self.norm = nn.GroupNorm(_GROUPS, widths[0])
        self.exit = nn.Conv2d(widths[0], 3 * _PATCH**2, 3, padding=1)
        nn.init.zeros_(self.exit.weight)

    def forward(self, state: torch.Tensor, time: torch.Tensor, given: TextureCondition) -> torch.Tensor:
        """The residual r [B, 3, S, S], in units of ``scale``, that a state x_t [B, 3, S, S] at t [B] comes from."""
        drawn = self.drawn(state, time, given)
        skip, share = preconditioning(time)
        return skip * state + share * drawn

    def drawn(self, state: torch.Tensor, time: torch.Tensor, given: TextureCondition) -> torch.Tensor:
        """What of the residual the network draws itself, [B, 3, S, S], of about unit variance."""
        known = self.residual(given.seen, given.guess) * given.trust
        planes = [state, given.guess * 2 - 1, known, given.trust, known.flip(-1), given.trust.flip(-1)]
        x = functional.pixel_unshuffle(torch.cat(planes, dim=1), _PATCH)
        x = self.entrance(torch.cat([x, self.place.expand(len(x), -1, -1, -1)], dim=1))
        embedding = functional.silu(self.time(_time_features(time)))
        kept: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x, embedding)
            if level < len(self.halve):
                kept.append(x)
                x = self.halve[level](x)
        x = self.middle(x, embedding)
        for level in reversed(range(len(self.up))):
            x = functional.interpolate(self.narrow[level](x), scale_factor=2, mode="nearest") + kept[level]
            x = self.up[level](x, embedding)
        return functional.pixel_shuffle(self.exit(functional.silu(self.norm(x))), _PATCH)

    def residual(self, texture: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
        """A texture [B, 3, S, S] in [0, 1] less a guess of it, in units of ``scale``."""
        return (texture - guess) / self.scale


def _time_features(time: torch.Tensor) -> torch.Tensor:
    """[B, 12]: t in [0, 1] as waves."""
    angle = time[:, None] * math.pi * 2.0 ** torch.arange(_FREQUENCIES, device=time.device)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def preconditioning(time: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares [B, 1, 1, 1] of the state and of what is drawn in the residual (EDM's c_skip and c_out)."""
    t = time[:, None, None, None]
    power = t**2 + (1 - t) ** 2
    return t / power, (1 - t) / power.sqrt()


@torch.no_grad()
def sample_residual(
    network: TextureDenoiser, given: TextureCondition, noise: torch.Tensor, times: Sequence[float]
) -> torch.Tensor:
    """Follow the flow from noise [B, 3, S, S] to a residual [B, 3, S, S] in colours.

    Known texels are set to where the path to the known residual is at each time, as RePaint does (Lugmayr et al. 2022).

    Args:
        network: of the layout.
        given: of B textures.
        noise: of unit variance; less draws what is more probable.
        times: from 0 to 1, rising; each but the last costs one pass of the network.
    """
    known = network.residual(given.seen, given.guess)
    state = noise
    for now, then in itertools.pairwise(times):
        clean = network(state, state.new_full((len(state),), now), given)
        # On a straight path the noise is what is left when the residual's share is taken out.
        estimate = (state - now * clean) / (1 - now)
        state = (1 - then) * estimate + then * clean
        path = (1 - then) * noise + then * known
        state = state + (path - state) * given.trust
    return state * network.scale


def denoiser_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> TextureDenoiser:
    """Build the network that a whole state belongs to; ``source`` is the file, for messages.

    Raises WeightsError if a tensor is missing, superfluous, of another shape or no number.
    """
    try:
        levels = sum(name.startswith("down.") and name.endswith(".conv1.bias") for name in tensors)
        widths = tuple(len(tensors[f"down.{level}.conv1.bias"]) for level in range(levels))
        shape = DenoiserShape(tensors["scale"].shape[-1], widths, len(tensors["time.0.bias"]))
        with torch.device("meta"):  # shapes alone: nothing is drawn or allocated
            network = TextureDenoiser(shape)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError, RuntimeError) as error:
        raise WeightsError(f"{source} holds no diffusion model of ostec train diffusion.") from error
    assign_frozen(network, tensors, source)
    return network
