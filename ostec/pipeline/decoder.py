"""A generator of UV maps as the texture decoder of the RGB fit: its latent is W+, whitened row by row, on spheres.

Stage 2 of FFHQ-UV's fitting: Adam on the whitened latent, every row put back to the length it began with. It begins
where the encoder puts the closed-form albedo, so few steps do.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional

from ostec.core.errors import UsageError
from ostec.core.types import BoolArray, FloatArray
from ostec.fit.rgb import FaceState, RgbFitter
from ostec.load.generators import read_generator
from ostec.nets.checkpoint import PortraitGenerator

SEARCH_STEPS, SEARCH_RATE, SEARCH_FALLING = 40, 0.1, 0.25
"""Published: 100 steps from noise, at that rate, which falls to zero over the last quarter by half a cosine."""
COLOUR, IDENTITY, CROSS = 10.0, 10.0, 0.05
"""Published weights of the search: of colours, identity, and the angles between the rows of W+."""
JOINT_CROSS = 250.0
"""Weight of the angles in ``unlikely``, which the joint fit weighs by 0.0002: 0.05 together, as published."""
LAYOUT = "maps"


@dataclass(frozen=True)
class GeneratorDecoder:
    """Evenly lit textures that a generator draws; R texels a side."""

    model: PortraitGenerator
    nearest: torch.Tensor
    """[2, R, R]: the texel of the chart nearest to each texel, so that no ground shows at its border."""

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """[num_ws, W] whitened -> [1, R, R, 3] linear RGB."""
        picture = self.model.generator.synthesis(self._w(latent)[None]) / 2 + 0.5
        texture = picture[:, :, self.nearest[0], self.nearest[1]].permute(0, 2, 3, 1).clamp(0, 1)
        return torch.where(texture <= 0.04045, texture / 12.92, ((texture + 0.055) / 1.055) ** 2.4)

    def unlikely(self, latent: torch.Tensor) -> torch.Tensor:
        """Angles between the rows of W+, all pairs (PULSE's cross loss)."""
        return JOINT_CROSS * cross_angles(self._w(latent))

    def plain(self, latent: FloatArray) -> FloatArray:
        """[num_ws, W]: the mean map."""
        return np.zeros_like(latent)

    def texture(self, latent: FloatArray) -> FloatArray:
        """[num_ws, W] -> [R, R, 3] sRGB in [0, 1]."""
        with torch.no_grad():
            picture = self.model.generator.synthesis(self._w(torch.from_numpy(latent))[None])[0] / 2 + 0.5
        padded = picture[:, self.nearest[0], self.nearest[1]].permute(1, 2, 0)
        return np.asarray(padded.clamp(0, 1).numpy(), np.float32)

    def start(self, texture: FloatArray) -> FloatArray:
        """[num_ws, W]: the whitened latent that the encoder gives a map [S, S, 3] in [0, 1]; the mean without one."""
        if self.model.encoder is None:
            return np.zeros(tuple(self.model.latent_mean.shape), np.float32)
        side = self.model.generator.shape.resolution
        planes = torch.from_numpy(texture).permute(2, 0, 1)[None] * 2 - 1
        small = functional.interpolate(planes, size=(side, side), mode="area")
        with torch.no_grad():
            found = self.model.encoder(small, torch.ones_like(small[:, :1]))
            w = self.model.generator.mapping(found.z) + found.offset
        deviation = self.model.latent_deviation.clamp(min=1e-6)
        return np.asarray(((w[0] - self.model.latent_mean) / deviation).numpy(), np.float32)

    def _w(self, latent: torch.Tensor) -> torch.Tensor:
        return self.model.latent_mean + latent * self.model.latent_deviation


def load_decoder(path: Path, inside_at: Callable[[int], BoolArray], topology_sha256: str) -> GeneratorDecoder:
    """Read a file of ``ostec train decoder``.

    Args:
        path: of the file.
        inside_at: gives the chart at a number of texels.
        topology_sha256: of the layout.

    Raises:
        AssetError: it is missing or damaged.
        UsageError: it draws something else, or maps of another layout.
    """
    read = read_generator(path)
    if read.card.get("draws") != LAYOUT:
        what = "no maps of this program's layout; HiFi3D++'s texgan is drawn by ostec generate"
        raise UsageError(f"{path} draws {what}. ostec train decoder makes a decoder.")
    if read.card.get("topology_sha256") != topology_sha256:
        raise UsageError(f"{path} draws maps of another UV layout than topology/facemesh.npz.")
    inside = inside_at(read.model.generator.shape.resolution)
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    return GeneratorDecoder(read.model, torch.from_numpy(nearest))


def cross_angles(w: torch.Tensor) -> torch.Tensor:
    """Over all pairs of rows of W+ [N, W], the mean of their squared angles times W, summed, over 8."""
    apart = (w[:, None] - w[None]).square().sum(-1)
    along = (w[:, None] + w[None]).square().sum(-1)
    rows = ~torch.eye(len(w), dtype=torch.bool)
    angle = 2 * torch.atan2((apart[rows] + 1e-12).sqrt(), (along[rows] + 1e-12).sqrt())
    return angle.square().sum() / 8


def search(fitter: RgbFitter, decoder: GeneratorDecoder, state: FaceState) -> FaceState:
    """Stage 2: the latent with which the face agrees with the picture; pose, shape and light stay."""
    latent = torch.tensor(state.latent, requires_grad=True)
    length = latent.detach().norm(dim=1, keepdim=True)
    adam = torch.optim.Adam([latent], lr=SEARCH_RATE, betas=(0.9, 0.999))
    for step in range(SEARCH_STEPS):
        share = (step / SEARCH_STEPS - (1 - SEARCH_FALLING)) / SEARCH_FALLING
        adam.param_groups[0]["lr"] = SEARCH_RATE * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
        colour, identity = fitter.errors(state, latent)
        loss = COLOUR * colour + IDENTITY * identity + CROSS / JOINT_CROSS * decoder.unlikely(latent)
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            latent.mul_(length / latent.norm(dim=1, keepdim=True).clamp(min=1e-6))
    return replace(state, latent=latent.detach().numpy().copy())
