"""Training views for the generator that ships: portraits' textures on the mean shape, at the poses of the views."""

import math
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch.nn import functional

from ostec.core.types import POSE_RANGE_DEG, VIEW_POSES_DEG, BoolArray, Topology, ViewFrame
from ostec.nets.encoder import pose_codes
from ostec.prior.settings import PriorSettings
from ostec.render.geometry import centred_camera
from ostec.render.uv import bake_layout, render_textured, view_surface
from ostec.train.portraits import PortraitTexels
from ostec.train.prior import PriorModel, expect

HIDDEN_YAW_DEG = (15.0, 30.0, 45.0, 60.0)
"""Yaws of imagined photos, to either side, of which a training texture keeps what such a photo would have shown."""
_JITTER_DEG = 2.0
_OVERSAMPLE = 2
_BATCH = 64
_CARRY_UV = 0.06
"""Deviation in UV of the Gaussian that carries residuals; reaches as far as the prior's own equation."""
_CARRY_FLOOR = 0.05
"""Weight at which a carried residual has faded to half."""


_T = TypeVar("_T")


def on_device(record: _T, device: torch.device) -> _T:
    """A record of tensors alone, with all of them on ``device``."""
    moved = {field.name: getattr(record, field.name).to(device) for field in fields(record)}  # type: ignore[arg-type]
    return replace(record, **moved)  # type: ignore[type-var]


@dataclass(frozen=True)
class PoseBank:
    """Which texel each pixel shows, for P poses of the mean shape."""

    grid: torch.Tensor
    """[P, 2R, 2R, 2] for ``grid_sample``, twice as large as the pictures."""
    coverage: torch.Tensor
    """[P, 1, R, R] in [0, 1]."""
    pose_deg: torch.Tensor
    """[P, 2] (pitch, yaw)."""
    span_mm: torch.Tensor
    """[] side of the pictures."""

    @property
    def codes(self) -> torch.Tensor:
        """[P, 2]: the poses as a generator's latent holds them, standard normal over ``POSE_RANGE_DEG``."""
        return pose_codes(self.pose_deg, POSE_RANGE_DEG).to(self.grid.device)

    def render(self, planes: torch.Tensor, index: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
        """Draw textures, mirrored where asked for: zero where nothing was hit.

        Args:
            planes: [B, C, S, S].
            index: [B] which poses.
            mirrored: [B] bool.

        Returns:
            [B, C, R, R].
        """
        grid = self.grid[index]
        # The layout is symmetric: to read it from the other side is to mirror the texture.
        grid = torch.stack([torch.where(mirrored[:, None, None], -grid[..., 0], grid[..., 0]), grid[..., 1]], dim=-1)
        return functional.avg_pool2d(functional.grid_sample(planes, grid, align_corners=False), _OVERSAMPLE)


def make_pose_bank(topology: Topology, frame: ViewFrame, resolution: int, count: int, seed: int) -> PoseBank:
    """Draw ``count`` random poses, every second one near a view; pixels beside the face point outside the texture."""
    random = np.random.default_rng(seed)
    low, high = np.array(POSE_RANGE_DEG).T
    poses = low + random.uniform(size=(count, 2)) * (high - low)
    near = np.array(list(VIEW_POSES_DEG.values()))[np.arange(count) // 2 % len(VIEW_POSES_DEG)]
    near = near + random.uniform(-_JITTER_DEG, _JITTER_DEG, size=near.shape)
    poses = np.where((np.arange(count) % 2 == 0)[:, None], near, poses)
    layout = bake_layout(topology, 8)
    vertices = torch.from_numpy((topology.operator @ topology.mean_landmarks).astype(np.float32))
    size = resolution * _OVERSAMPLE
    grids, covers = [], []
    for pitch, yaw in poses:
        camera = centred_camera((float(pitch), float(yaw)), frame.centre_mm, frame.span_mm, size)
        view = render_textured(vertices, layout, torch.ones(2, 2, 3), camera, (size, size))
        grid = torch.stack([view.uv[..., 0] * 2 - 1, 1 - view.uv[..., 1] * 2], dim=-1)
        grids.append(torch.where(view.coverage[..., None] > 0, grid, torch.tensor(-3.0)))
        covers.append(functional.avg_pool2d(view.coverage[None, None], _OVERSAMPLE)[0])
    return PoseBank(torch.stack(grids), torch.stack(covers), torch.from_numpy(poses), torch.tensor(frame.span_mm))


def hiding_patterns(topology: Topology, size: int) -> torch.Tensor:
    """What photos at each of ``HIDDEN_YAW_DEG``, right then left, show of the mean shape: [H, S, S] in [0, 1]."""
    layout = bake_layout(topology, size)
    vertices = torch.from_numpy((topology.operator @ topology.mean_landmarks).astype(np.float32))
    found = []
    for yaw in HIDDEN_YAW_DEG:
        for sign in (1, -1):
            camera = centred_camera((0.0, sign * yaw), (0.0, 0.0, 0.0), 200.0, 512)
            view = view_surface(vertices, camera, layout, fold_mm=math.inf)
            trust = ((view.cosine - 0.3) / 0.2).clamp(0, 1) * view.visible
            found.append(trust * (view.margin_mm / 6).clamp(0, 1))
    return torch.stack(found)


@dataclass(frozen=True)
class TrainingTextures:
    """N portraits in UV, whole, and as the prior would complete what an imagined photo shows of them."""

    colour: torch.Tensor
    """[N, 3, S, S] uint8: the portrait where it was shown, else the prior's fill."""
    shown: torch.Tensor
    """[N, 1, S, S] uint8: 255 where the portrait was shown."""
    guess: torch.Tensor
    """[N, K, 3, s, s] uint8: the prior's fill given what imagined photo k shows, on a coarser layout."""
    pattern: torch.Tensor
    """[N, K] which of ``patterns`` photo k follows."""
    patterns: torch.Tensor
    """[H, S, S] from :func:`hiding_patterns`."""
    codes: torch.Tensor
    """[N, 2, K] the prior's coefficients of each portrait and of its mirror image."""
    native_side: torch.Tensor
    """[N] as in :class:`PortraitTexels`."""

    def __len__(self) -> int:
        return len(self.colour)


def make_training_textures(
    data: PortraitTexels, model: PriorModel, coarse: BoolArray, topology: Topology, per_portrait: int, seed: int
) -> TrainingTextures:
    """Fill what the portraits did not show and imagine ``per_portrait`` photos of each.

    Args:
        data: of N portraits on S x S texels.
        model: the prior on s x s texels, S a multiple of s.
        coarse: [s, s] the prior's chart.
        topology: the layout.
        per_portrait: photos imagined of each portrait.
        seed: which of them.
    """
    size = len(data.inside)
    patterns = hiding_patterns(topology, size)
    count = len(data.colour)
    drawn = np.random.default_rng(seed).integers(len(patterns), size=(count, per_portrait))
    filler = Filler(model, coarse, size // len(coarse))
    nearest = nearest_inside(data.inside)
    colours, shown, guesses, codes = [], [], [], []
    for start in range(0, count, _BATCH):
        rows = slice(start, start + _BATCH)
        colour, weight = texel_planes(data, rows)
        whole = functional.interpolate(filler(colour, weight), size=(size, size), mode="bilinear")
        mixed = colour * weight[:, None] + whole * (1 - weight[:, None])
        colours.append(as_bytes(mixed[:, :, nearest[0], nearest[1]]))
        shown.append(((weight > 0.5) * 255).to(torch.uint8)[:, None])
        guesses.append(
            torch.stack(
                [as_bytes(filler(colour, weight * patterns[d])) for d in torch.from_numpy(drawn[rows]).T], dim=1
            )
        )
        both = ((colour, weight), (colour.flip(-1), weight.flip(-1)))
        codes.append(torch.stack([filler.codes(c, w) for c, w in both], dim=1))
    return TrainingTextures(
        torch.cat(colours),
        torch.cat(shown),
        torch.cat(guesses),
        torch.from_numpy(drawn),
        patterns,
        torch.cat(codes),
        torch.from_numpy(data.native_side),
    )


def as_bytes(planes: torch.Tensor) -> torch.Tensor:
    """Planes in [0, 1] as uint8."""
    return (planes.clamp(0, 1) * 255).round().to(torch.uint8)


def nearest_inside(inside: BoolArray) -> torch.Tensor:
    """[2, S, S]: the texel of the chart nearest to each texel, so that filters see no black beside it."""
    return torch.from_numpy(distance_transform_edt(~inside, return_distances=False, return_indices=True))


def texel_planes(data: PortraitTexels, rows: slice) -> tuple[torch.Tensor, torch.Tensor]:
    """Colours [B, 3, S, S] and weights [B, S, S]."""
    weight_texels = torch.from_numpy(data.weight[rows].astype(np.float32))
    inside = torch.from_numpy(data.inside)
    colour = torch.zeros(len(weight_texels), 3, *inside.shape)
    colour[:, :, inside] = torch.from_numpy(data.colour[rows].astype(np.float32) / 255).transpose(1, 2)
    weight = torch.zeros(len(weight_texels), *inside.shape)
    weight[:, inside] = weight_texels
    return colour, weight


class Filler:
    """The prior's fill of textures.

    A Gaussian carries the residual, for the screened Poisson equation would take hours for thousands of portraits.
    """

    def __init__(self, model: PriorModel, coarse: BoolArray, factor: int) -> None:
        self.model, self.factor = model, factor
        self.coarse = torch.from_numpy(coarse)
        self.nearest = nearest_inside(coarse)

    def __call__(self, colour: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Colours [B, 3, S, S] and weights [B, S, S] to the filled textures [B, 3, s, s]."""
        seen, trust = self._pooled(colour, weight)
        z, _ = expect(self.model, seen, trust / PriorSettings().tau)
        drawn = self.model.mean + torch.einsum("tck,bk->btc", self.model.basis, z)
        power = trust[..., None] ** PriorSettings().carry_power
        stack = torch.zeros(len(z), *self.coarse.shape, 4)
        stack[:, self.coarse] = torch.cat([(seen - drawn) * power, power], dim=-1)
        carried = self._blur(stack)
        planes = torch.zeros(len(z), 3, *self.coarse.shape)
        planes[:, :, self.coarse] = drawn.transpose(1, 2)
        return (planes + carried)[:, :, self.nearest[0], self.nearest[1]]

    def codes(self, colour: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The prior's coefficients [B, K] of colours [B, 3, S, S] with weights [B, S, S]."""
        seen, trust = self._pooled(colour, weight)
        return expect(self.model, seen, trust / PriorSettings().tau)[0]

    def _pooled(self, colour: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Colours [B, T, 3] and weights [B, T] of the prior's texels."""
        pooled = functional.avg_pool2d(torch.cat([colour * weight[:, None], weight[:, None]], 1), self.factor)
        pooled = pooled[:, :, self.coarse].transpose(1, 2)  # [B, T, 4]
        return pooled[..., :3] / pooled[..., 3:].clamp(min=1e-4), pooled[..., 3]

    def _blur(self, stack: torch.Tensor) -> torch.Tensor:
        """Residuals times weights, and weights, [B, s, s, 4] to the carried residual [B, 3, s, s]."""
        sigma = _CARRY_UV * stack.shape[1]
        blurred = torch.from_numpy(gaussian_filter(stack.numpy(), (0, sigma, sigma, 0), truncate=3.0))
        return (blurred[..., :3] / (blurred[..., 3:] + _CARRY_FLOOR)).permute(0, 3, 1, 2)
