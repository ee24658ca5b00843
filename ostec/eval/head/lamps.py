"""Lights drawn at random: a lamp, a fill and ambient light, cast shadows and a highlight, fixed to the head.

Linear light of a point with albedo a, unit normal n, towards the viewer v (Blinn 1977):
a (ambient + sum_k c_k s_k max(0, n . l_k)) + shine sum_k c_k s_k max(0, n . h_k)^e, with h_k halfway between l_k and v.
s_k in [0, 1] is what a shadow map lets through; the head shades itself. Exposure is as a camera's that meters the face:
of a grey ball the half that faces forwards has the mean brightness 1. A little noise is added.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import DoubleArray
from ostec.eval.head.mesh import Head
from ostec.render.geometry import Camera, camera_from_matrix, orthographic_matrix
from ostec.render.rasterize import interpolate, rasterize

GAMMA = 2.2
"""A picture holds the 1 / 2.2th power of light."""
NOISE = 0.004
SHADOW_SIDE, SHADOW_BIAS_MM, SHADOW_BLUR = 768, 2.5, 5
"""Side of a shadow map in pixels; what lies this far behind is in the shadow; pixels that its edge is averaged over."""


@dataclass(frozen=True)
class Lamp:
    """One lamp far away."""

    towards: tuple[float, float, float]
    """Unit, from the head to the lamp in the head's frame."""
    colour: tuple[float, float, float]
    """Linear RGB."""


@dataclass(frozen=True)
class Lamps:
    """Lamps and ambient light."""

    lamps: tuple[Lamp, ...]
    ambient: tuple[float, float, float]
    """Linear RGB."""
    shine: float
    """Share of the highlight."""
    exponent: float
    """Of the highlight."""
    seed: int
    """Of the noise."""

    def draw(
        self, head: Head, colour: torch.Tensor, normal: torch.Tensor, position: torch.Tensor, viewer: torch.Tensor
    ) -> torch.Tensor:
        """Colours [..., 3] of points of the head, by their own ``colour``; ``viewer`` [3] is towards the camera."""
        scattered = torch.tensor(self.ambient).expand_as(colour).clone()
        glossy = torch.zeros_like(colour)
        for lamp in self.lamps:
            towards = torch.tensor(lamp.towards)
            light = torch.tensor(lamp.colour) * lit_share(head, position, towards)[..., None]
            scattered += light * (normal @ towards).clamp(min=0)[..., None]
            half = functional.normalize(towards + viewer, dim=0)
            glossy += light * ((normal @ half).clamp(min=0) ** self.exponent * (normal @ towards > 0))[..., None]
        shown = (colour**GAMMA * scattered + self.shine * glossy) ** (1 / GAMMA)
        noise = torch.randn(shown.shape, generator=torch.Generator().manual_seed(self.seed))
        return (shown + NOISE * 2 * noise).clamp(0, 1)  # four points are averaged to a pixel


def random_lamps(seed: int) -> Lamps:
    """A key in front of the head or beside it, a fill opposite of another colour, ambient light, a highlight."""
    draw = np.random.default_rng([20, seed])
    yaw, pitch = draw.uniform(-80, 80), draw.uniform(-15, 65)
    key, other = _towards(yaw, pitch), _towards(-np.sign(yaw) * draw.uniform(10, 80), draw.uniform(-20, 40))
    tint = np.exp(draw.normal(0, 0.05) * np.array([1, 0, -1]))
    colours = [tint, draw.uniform(0.05, 0.4) * np.exp(draw.normal(0, 0.12) * np.array([1, 0, -1]))]
    ambient = draw.uniform(0.15, 0.5) * np.ones(3)
    exposure = 1 / (ambient.mean() + sum(c.mean() * _ball(t) for c, t in zip(colours, (key, other), strict=True)))
    lamps = [
        Lamp(tuple(t.tolist()), tuple((c * exposure).tolist())) for c, t in zip(colours, (key, other), strict=True)
    ]
    return Lamps(
        tuple(lamps), tuple((ambient * exposure).tolist()), draw.uniform(0.02, 0.06), draw.uniform(8, 30), seed
    )


def _towards(yaw_deg: float, pitch_deg: float) -> DoubleArray:
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def _ball(towards: DoubleArray) -> float:
    """Mean of max(0, n . l) over what of a ball is seen from the front."""
    grid = np.linspace(-0.98, 0.98, 25)
    x, y = np.meshgrid(grid, grid)
    inside = x * x + y * y < 0.97
    normal = np.stack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))], axis=-1)[inside]
    return float(np.maximum(normal @ towards, 0).mean())


def lit_share(head: Head, position: torch.Tensor, towards: torch.Tensor) -> torch.Tensor:
    """Share [...] of the light of a lamp that comes to points [..., 3] of the head, by a shadow map."""
    camera, depth = _shadow_map(head, tuple(towards.tolist()))
    pixel, height = camera.project(position)
    grid = (pixel / SHADOW_SIDE * 2 - 1).reshape(1, -1, 1, 2)
    share = torch.zeros(height.numel())
    reach = range(-(SHADOW_BLUR // 2), SHADOW_BLUR // 2 + 1)
    for x in reach:
        for y in reach:
            at = grid + torch.tensor([x, y]) * (2 / SHADOW_SIDE)
            nearest = functional.grid_sample(depth[None, None], at, mode="nearest", align_corners=False)
            share += (height.reshape(-1) > nearest[0, 0, :, 0] - SHADOW_BIAS_MM).float()
    return (share / SHADOW_BLUR**2).reshape(height.shape)


@lru_cache(maxsize=8)
def _shadow_map(head: Head, towards: tuple[float, float, float]) -> tuple[Camera, torch.Tensor]:
    """The lamp's camera, and the height [SIDE, SIDE] of what is nearest to it; far below where nothing is."""
    forward = np.array(towards)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right = right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    low, high = head.vertices.amin(0).numpy(), head.vertices.amax(0).numpy()
    scale = SHADOW_SIDE / float(np.linalg.norm(high - low))
    middle = rotation @ ((low + high) / 2) * scale
    centre = (SHADOW_SIDE / 2 - float(middle[0]), SHADOW_SIDE / 2 + float(middle[1]))
    camera = camera_from_matrix(orthographic_matrix(rotation, scale, centre), rotation)
    raster = rasterize(camera.clip(head.vertices, (SHADOW_SIDE,) * 2)[None], head.triangles, (SHADOW_SIDE,) * 2)
    height = interpolate(camera.project(head.vertices)[1][None, :, None], raster, head.triangles)[0, ..., 0]
    return camera, torch.where(raster[0, ..., 3] > 0, height, -1e6).flip(0)
