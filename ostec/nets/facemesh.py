"""FaceMesh: 468 dense landmarks with depth and the probability of a face, from one crop.

The network of Kartynnik, Ablavatski, Grishchenko and Grundmann, "Real-time Facial Surface Geometry from Monocular Video
on Mobile GPUs" (CVPR workshops 2019, arXiv:1907.06724), in the variant that MediaPipe publishes as
``face_landmark.tflite``: depthwise-separable residual blocks, the plain 468 points without the attention stage.
``tools/convert_facemesh.py`` turns the published file into ``models/facemesh.safetensors``.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

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


class FaceMesh(nn.Module):
    """Crop of a face -> dense landmarks. Differentiable in the crop."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _ConvAct(3, _TRUNK[0], kernel_size=3, stride=2)
        self.trunk = nn.Sequential(
            *(
                _Block(before, after, stride=2 if number in _TRUNK_HALVES else 1)
                for number, (before, after) in enumerate(pairwise(_TRUNK), start=1)
            )
        )
        width = _TRUNK[-1]
        self.points_head = nn.Sequential(
            _Block(width, width, stride=2),
            _Block(width, width),
            _Block(width, width),
            _ConvAct(width, _HEAD_WIDTH),
            _Block(_HEAD_WIDTH, _HEAD_WIDTH),
            nn.Conv2d(_HEAD_WIDTH, POINT_COUNT * 3, 3),
        )
        self.face_head = nn.Sequential(
            _Block(width, width, stride=2),
            _ConvAct(width, _HEAD_WIDTH),
            _Block(_HEAD_WIDTH, _HEAD_WIDTH),
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


class _ConvAct(nn.Module):
    """Convolution with TFLite's "same" padding, then PReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride)
        self.act = nn.PReLU(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.conv(_pad_same(x, self.conv)))


class _Block(nn.Module):
    """Depthwise 3x3 and pointwise convolution beside a skip, then PReLU.

    The skip is max-pooled where the block halves the resolution, and filled up with zero channels where it widens.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)
        self.act = nn.PReLU(out_channels)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.pointwise(self.depthwise(_pad_same(x, self.depthwise)))
        if self.stride > 1:
            x = F.max_pool2d(x, self.stride)
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return self.act(x + y)


def _pad_same(x: torch.Tensor, conv: nn.Conv2d) -> torch.Tensor:
    """Zero-pad as TFLite's "same" does for sides divisible by the stride: the odd pixel goes right and below."""
    total = max(int(conv.kernel_size[0]) - int(conv.stride[0]), 0)
    if total == 0:
        return x
    before, after = total // 2, total - total // 2
    return F.pad(x, (before, after, before, after))
