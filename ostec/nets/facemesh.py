"""FaceMesh: 468 dense landmarks with depth and the probability of a face, from one crop.

The network of Kartynnik, Ablavatski, Grishchenko and Grundmann, "Real-time Facial Surface Geometry from Monocular Video
on Mobile GPUs" (CVPR workshops 2019, arXiv:1907.06724), in the variant that MediaPipe publishes as
``face_landmark.tflite``: depthwise-separable residual blocks, the plain 468 points without the attention stage.
``tools/convert_facemesh.py`` turns the published file into ``models/facemesh.safetensors``.
"""

import copy
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from ostec.nets.tflite import ConvAct, ResidualBlock, scripted

INPUT_SIZE = 192
"""Side of the crop in pixels."""
POINT_COUNT = 468

_TRUNK = (16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128)
"""Channels before the first block of the trunk and after each."""
_TRUNK_HALVES = (3, 6, 9, 12)
"""The blocks (counted from 1) that halve the resolution: 96 -> 6 pixels."""
_HEAD_WIDTH = 32


@dataclass(frozen=True)
class FaceMeshOutput:
    """What the network says of a batch of crops."""

    points: torch.Tensor
    """[B, 468, 3] in crop pixels of 192 (corner origin, y down); z in the same unit, away from the viewer, its zero
    near the middle of the head. May leave the crop."""
    logit: torch.Tensor
    """[B]: log-odds that the crop shows a face."""

    @property
    def confidence(self) -> torch.Tensor:
        """[B]: probability of a face, 0 to 1."""
        return torch.sigmoid(self.logit)


class FrozenFaceMesh:
    """A FaceMesh for one crop at a time on a CPU, compiled by TorchScript with channels last: a third of the time."""

    def __init__(self, network: "FaceMesh") -> None:
        """Compile a copy. Numbers agree with the network's but for rounding (1e-4 pixels)."""
        frozen = copy.deepcopy(network).to(memory_format=torch.channels_last)
        crop = self._laid_out(torch.zeros(1, 3, INPUT_SIZE, INPUT_SIZE))
        self._call = scripted(_Tensors(frozen).eval(), crop)

    @staticmethod
    def _laid_out(crop: torch.Tensor) -> torch.Tensor:
        return crop.contiguous(memory_format=torch.channels_last)

    def __call__(self, crop: torch.Tensor) -> FaceMeshOutput:
        """As :meth:`FaceMesh.forward`, of one crop [1, 3, 192, 192]."""
        with torch.inference_mode():
            return FaceMeshOutput(*self._call(self._laid_out(crop)))


class _Tensors(nn.Module):
    """FaceMesh as TorchScript takes it: tensors in and out."""

    def __init__(self, network: "FaceMesh") -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, 3, 192, 192] -> points, logit."""
        found = self.network(crop)
        return found.points, found.logit


class FaceMesh(nn.Module):
    """Crop of a face -> dense landmarks. Differentiable in the crop."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvAct(3, _TRUNK[0], kernel_size=3, stride=2)
        self.trunk = nn.Sequential(
            *(
                ResidualBlock(before, after, 3, stride=2 if number in _TRUNK_HALVES else 1)
                for number, (before, after) in enumerate(pairwise(_TRUNK), start=1)
            )
        )
        width = _TRUNK[-1]
        self.points_head = nn.Sequential(
            ResidualBlock(width, width, 3, stride=2),
            ResidualBlock(width, width, 3),
            ResidualBlock(width, width, 3),
            ConvAct(width, _HEAD_WIDTH),
            ResidualBlock(_HEAD_WIDTH, _HEAD_WIDTH, 3),
            nn.Conv2d(_HEAD_WIDTH, POINT_COUNT * 3, 3),
        )
        self.face_head = nn.Sequential(
            ResidualBlock(width, width, 3, stride=2),
            ConvAct(width, _HEAD_WIDTH),
            ResidualBlock(_HEAD_WIDTH, _HEAD_WIDTH, 3),
            nn.Conv2d(_HEAD_WIDTH, 1, 3),
        )

    def forward(self, crops: torch.Tensor) -> FaceMeshOutput:
        """Find the landmarks of upright faces that fill about two thirds of their crops.

        Args:
            crops: [B, 3, 192, 192] RGB in [0, 1].

        Raises:
            ValueError: ``crops`` has another shape.
        """
        if crops.ndim != 4 or tuple(crops.shape[1:]) != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(f"expected crops [B, 3, {INPUT_SIZE}, {INPUT_SIZE}], got {tuple(crops.shape)}")
        features = self.trunk(self.stem(crops))  # [B, 128, 6, 6]
        points = self.points_head(features).reshape(-1, POINT_COUNT, 3)
        return FaceMeshOutput(points, self.face_head(features).reshape(-1))
