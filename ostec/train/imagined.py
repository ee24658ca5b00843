"""Pairs for the diffusion model: portraits in UV, and what the prior makes of a part of each."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from ostec.core.types import BoolArray, FloatArray, Topology
from ostec.prior.linear import LinearPrior, with_tone
from ostec.prior.settings import PriorSettings
from ostec.train.portraits import PortraitTexels
from ostec.train.prior import PriorModel
from ostec.train.renders import Filler, as_bytes, hiding_patterns, texel_planes

_BATCH = 32
_EDGE = 2 / 128
"""Deviation in UV of the blur of a cover's edge."""
_KINDS = ("view", "half", "blobs", "view and blobs", "mask")
_SHARES = (0.35, 0.2, 0.2, 0.15, 0.1)
"""How often each kind of hiding is drawn."""
_MASK_TOP = (0.42, 0.6)
"""Heights in UV of the upper edge of an imagined medical mask."""
_SCALE_SMOOTH = 0.02
"""Deviation in UV of the low-pass over the residual's deviation."""


@dataclass(frozen=True)
class ImaginedTextures:
    """N portraits, K imagined pictures of each; the layout has S x S texels."""

    colour: torch.Tensor
    """[N, 3, S, S] uint8; anything where the weight is zero."""
    weight: torch.Tensor
    """[N, S, S] uint8: where the portrait shows the face."""
    guess: torch.Tensor
    """[N, K, 3, S, S] uint8: the prior's fill from what the picture shows."""
    trust: torch.Tensor
    """[N, K, S, S] uint8: where the picture shows the face."""

    def scale(self) -> torch.Tensor:
        """Deviation [S, S] of the hidden texels from the guess, in colours, smoothed over the layout."""
        total = torch.zeros(self.weight.shape[1:], dtype=torch.float64)
        count = torch.zeros_like(total)
        for colour, weight, guess, trust in zip(self.colour, self.weight, self.guess, self.trust, strict=True):
            hidden = (weight.double() / 255) * (1 - trust.double() / 255)  # [K, S, S]
            error = ((colour.double() - guess.double()) / 255).square().mean(1)
            total += (hidden * error).sum(0)
            count += hidden.sum(0)
        sigma = _SCALE_SMOOTH * len(total)
        # The face has two sides alike.
        smooth = [gaussian_filter((x + x.flip(-1)).numpy(), sigma) for x in (total, count)]
        return torch.from_numpy(np.sqrt((smooth[0] + 1e-4) / (smooth[1] + 1e-2))).float()


def imagine_textures(
    data: PortraitTexels, prior: LinearPrior, topology: Topology, per_portrait: int, seed: int
) -> ImaginedTextures:
    """Hide a part of every portrait in ``per_portrait`` ways and let the prior fill it.

    Args:
        data: N portraits in the prior's layout.
        prior: the model that fills.
        topology: the layout.
        per_portrait: K.
        seed: of what is hidden.

    Raises:
        ValueError: the layouts differ.
    """
    if data.inside.shape != prior.inside.shape or (data.inside != prior.inside).any():
        raise ValueError(f"expected portraits in the prior's layout of {prior.size}, got one of {len(data.inside)}")
    toned = with_tone(prior, PriorSettings().tone)
    filler = Filler(PriorModel(toned.mean, toned.basis, toned.noise), prior.inside, 1)
    views = hiding_patterns(topology, prior.size).numpy()
    random = np.random.default_rng(seed)
    parts: list[list[torch.Tensor]] = [[], [], [], []]
    for start in range(0, len(data.colour), _BATCH):
        colour, weight = texel_planes(data, slice(start, start + _BATCH))
        shown = np.stack([[_shown(views, random) for _ in range(per_portrait)] for _ in range(len(colour))])
        trust = weight[:, None] * torch.from_numpy(shown)
        guess = torch.stack([filler(colour, trust[:, k].contiguous()) for k in range(per_portrait)], dim=1)
        for part, values in zip(parts, (colour, weight, guess, trust), strict=True):
            part.append(as_bytes(values))
    return ImaginedTextures(*(torch.cat(part) for part in parts))


def _shown(views: FloatArray, random: np.random.Generator) -> FloatArray:
    """[S, S] in [0, 1]: what an imagined picture shows of the face."""
    size = views.shape[-1]
    kind = _KINDS[random.choice(len(_KINDS), p=_SHARES)]
    shown = np.ones((size, size), np.float32)
    if kind.startswith("view"):
        shown = views[random.integers(len(views))]
    if kind == "half":
        column = (np.arange(size) + 0.5) / size
        edge = 0.5 + random.uniform(-0.06, 0.06)
        shown = shown * ((column < edge) if random.random() < 0.5 else (column > edge))
    if kind.endswith("blobs"):
        shown = shown * (1 - _soft(_blobs(size, random)))
    if kind == "mask":
        v = 1 - (np.arange(size)[:, None] + 0.5) / size
        shown = shown * (1 - _soft(np.broadcast_to(v < random.uniform(*_MASK_TOP), shown.shape)))
    return shown.astype(np.float32)


def _blobs(size: int, random: np.random.Generator) -> BoolArray:
    """[S, S]: one to four ellipses, as hands, hair and microphones cover a face."""
    y, x = (np.indices((size, size)) + 0.5) / size
    covered = np.zeros((size, size), bool)
    for _ in range(random.integers(1, 5)):
        centre, angle = random.uniform(0.1, 0.9, 2), random.uniform(0, np.pi)
        long, short = np.sort(np.exp(random.uniform(np.log(0.04), np.log(0.3), 2)))[::-1]
        dx, dy = x - centre[0], y - centre[1]
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        covered |= (along / long) ** 2 + (across / short) ** 2 < 1
    return covered


def _soft(covered: BoolArray) -> FloatArray:
    return np.asarray(gaussian_filter(covered.astype(np.float32), _EDGE * len(covered)))
