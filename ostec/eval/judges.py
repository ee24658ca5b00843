"""Networks that say how alike two pictures or two textures are, and what they are called.

They do not depend on what is evaluated: they are loaded from what ships or what is found on this machine, so that the
figures of two runs with different generators or priors can be compared.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ostec.core.assets import load_manifest, verified_path
from ostec.core.types import EYES, MOUTH_CORNERS, BoolArray, FloatArray, Topology
from ostec.load.networks import load_perceptual, load_recogniser
from ostec.nets.dlib_face import FaceRecogniser
from ostec.pipeline.models import Models, load_prior
from ostec.prior.linear import LinearPrior
from ostec.project.identity import identity_crop
from ostec.render.crops import warp
from ostec.render.geometry import portrait_camera
from ostec.render.unwrap import resize_map
from ostec.render.uv import bake_layout, render_textured

MAX_SIDE = 256
"""Pixels: what is larger is averaged down before LPIPS looks at it, which was fitted to patches of 64."""
TEXELS = 256
"""Side of the textures that the recogniser's portrait is drawn with."""
DRAWN_SIDE = 256
"""Pixels of the portrait that its crop is cut from; the face is drawn there at about the crop's own size."""
GROUND = 0.5
"""Grey behind it."""
_PREFERRED = ("alexnet", "vgg16")
"""LPIPS's authors advise AlexNet for evaluation; VGG16, where that is all there is, is also what projections lower."""


@dataclass(frozen=True)
class PerceptualJudge:
    """How far apart two pictures are to the eye; lower is better."""

    name: str
    """What judges."""
    distance: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    """Pictures [1, 3, R, R] in [-1, 1], their truth, weights [1, 1, R, R] -> [1]."""
    sides: tuple[int, int]
    """Least and largest side R in pixels that the distance takes."""

    def __call__(self, image: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
        """Compare two pictures [H, W, 3] in [0, 1] within a mask [H, W]; NaN for an empty one.

        Looks at the smallest square around the mask; what is outside the mask is the truth's on both sides. The square
        is resampled where it is too small or too large, weights and all. Raises ValueError where the shapes differ.
        """
        if image.shape != truth.shape or mask.shape != truth.shape[:2]:
            raise ValueError(f"expected three of one size, got {image.shape}, {truth.shape} and mask {mask.shape}")
        if not mask.any():
            return math.nan
        mixed = np.where(mask[..., None], image, truth)
        crops = [_square(x.astype(np.float32), mask, "edge") for x in (mixed, truth)]
        crops.append(_square(mask[..., None].astype(np.float32), mask, "constant"))
        side = min(max(len(crops[0]), self.sides[0]), self.sides[1])
        ours, theirs, weight = (_resampled(x, side) for x in crops)
        with torch.no_grad():
            return float(self.distance(ours * 2 - 1, theirs * 2 - 1, weight.clamp(0, 1))[0])


class IdentityJudge:
    """Whether two textures are one person's, by the cosine of two codes: both are drawn on the mean face, frontally.

    What does not count is the prior's mean face in both. So the shape says nothing, and neither does what is unseen.
    """

    def __init__(self, network: FaceRecogniser, topology: Topology, prior: LinearPrior, name: str) -> None:
        """Take a built network on the CPU; the prior, in the topology's layout, gives what does not count.

        ``name`` says what judges.
        """
        self.name, self.network = name, network
        nearest = ndimage.distance_transform_edt(~prior.inside, return_distances=False, return_indices=True)
        self._mean = resize_map(prior.image(prior.mean)[nearest[0], nearest[1]], TEXELS)
        points = topology.mean_landmarks
        eyes = np.stack([points[list(pair)].mean(0) for pair in EYES]).astype(np.float64)
        self._camera = portrait_camera(eyes, points[list(MOUTH_CORNERS)].mean(0).astype(np.float64), (0, 0), DRAWN_SIDE)
        self._vertices = torch.as_tensor((topology.operator @ points).astype(np.float32))
        self._layout = bake_layout(topology, prior.size)
        pixels, _ = self._camera.project(torch.as_tensor(points.astype(np.float32)))
        self._crop = identity_crop(pixels.numpy(), network)

    def __call__(self, texture: FloatArray, truth: FloatArray, weight: FloatArray) -> float:
        """Compare two textures [S, S, 3] in [0, 1], in the prior's layout at any size, where ``weight`` says.

        The weight is [S, S] in [0, 1]; where it is 0, textures may hold anything. NaN where nothing is weighed. Raises
        ValueError where the shapes differ.
        """
        if texture.shape != truth.shape or weight.shape != truth.shape[:2]:
            raise ValueError(f"expected three of one size, got {texture.shape}, {truth.shape} and {weight.shape}")
        if not (weight > 0).any():
            return math.nan
        first, second = (self.code(x, weight) for x in (texture, truth))
        return min(1.0, max(-1.0, float(first @ second)))

    def code(self, texture: FloatArray, weight: FloatArray) -> torch.Tensor:
        """Who a texture [S, S, 3] shows where the weight [S, S] says: a direction [K]."""
        # Weighted before it is resampled, so that texels that do not count leak nothing.
        weighed = np.where(weight[..., None] > 0, texture * weight[..., None], 0).astype(np.float32)
        share = resize_map(weight.astype(np.float32), TEXELS)
        filled = resize_map(weighed, TEXELS) + self._mean * (1 - share[..., None])
        with torch.no_grad():
            return self.network.embed(self._draw(filled))[0]

    def _draw(self, texture: FloatArray) -> torch.Tensor:
        """[1, 3, R, R] in [-1, 1]: the texture on the mean face, on plain grey."""
        size = (DRAWN_SIDE, DRAWN_SIDE)
        drawn = render_textured(self._vertices, self._layout, torch.from_numpy(texture), self._camera, size, 2)
        image = drawn.colour + GROUND * (1 - drawn.coverage[..., None])
        return warp(image.permute(2, 0, 1)[None].contiguous(), [self._crop]) * 2 - 1


@dataclass(frozen=True)
class Judges:
    """What an evaluation judges with, beside plain arithmetic."""

    perceptual: PerceptualJudge
    identity: IdentityJudge

    def described(self) -> dict[str, str]:
        """Purpose -> what judges it, for ``Evaluation.models``."""
        return {"perceptual": self.perceptual.name, "identity": self.identity.name}


def load_judges(models: Models) -> Judges:
    """Load the best judges of this machine; they run on the CPU.

    ``models`` give the topology, and what they hold of what ships. Raises AssetError where a file is missing or
    damaged, BackendError where the packages for a backbone that was found are not installed.
    """
    device = torch.device("cpu")
    perceptual = load_perceptual(device, _PREFERRED).network
    judge = PerceptualJudge(perceptual.name, perceptual, (perceptual.min_side, MAX_SIDE))
    prior = models.prior
    if prior is None or not _ships(models, "prior") or prior.mean.device != device:
        prior = load_prior(verified_path("prior", "prior.safetensors"), models.topology, device)
    return Judges(judge, load_identity(models.topology, prior))


def load_identity(topology: Topology, prior: LinearPrior) -> IdentityJudge:
    """The best judge of identity of this machine, on the CPU; the prior that ships, in that topology's layout.

    Raises AssetError where a file is missing or damaged.
    """
    recogniser = load_recogniser(torch.device("cpu"))
    (sha256,) = recogniser.hashes.values()  # two files of one depth judge differently
    return IdentityJudge(recogniser.network, topology, prior, f"{recogniser.network.name} ({sha256[:8]})")


def _ships(models: Models, name: str) -> bool:
    """Whether the models hold the file that ships, and not the user's own."""
    entry = load_manifest(name).file(f"{name}.safetensors")
    return models.hashes.get(entry.name) == entry.sha256


def _square(values: FloatArray, mask: BoolArray, border: Literal["edge", "constant"]) -> FloatArray:
    """The smallest square [N, N, C] of [H, W, C] around the mask, moved into the picture if it fits into it.

    Where it does not, the picture is continued by its ``border``, or by zeros.
    """
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    side = max(span.stop - span.start for span in found)
    spans, margins = [], []
    for span, length in zip(found, mask.shape, strict=True):
        middle = (span.start + span.stop) // 2
        start = min(max(middle - side // 2, 0), max(length - side, 0))
        spans.append(slice(start, start + side))
        missing = max(side - length, 0)
        margins.append((missing // 2, missing - missing // 2))
    return np.pad(values[spans[0], spans[1]], (*margins, (0, 0)), mode=border)


def _resampled(values: FloatArray, side: int) -> torch.Tensor:
    """[N, N, C] as [1, C, side, side], without aliasing."""
    planes = torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()
    if side == len(values):
        return planes
    return functional.interpolate(planes, size=(side, side), mode="bilinear", antialias=True, align_corners=False)
