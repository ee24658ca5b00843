"""Selfie segmentation: which pixels of a picture are a person, hair and clothes included.

The network that MediaPipe publishes as ``selfie_segmentation.tflite``: an encoder of MobileNetV3's blocks (Howard et
al., "Searching for MobileNetV3", ICCV 2019, arXiv:1905.02244) and a decoder that weighs each skip's channels.
``tools/convert_person.py`` turns the published file into ``models/person.safetensors``.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ostec.nets.tflite import SameConv

INPUT_SIZE = 256
"""Side of the picture in pixels."""
_BLOCKS = (
    (16, 16, 16, 3, 2, 8, False),
    (16, 72, 24, 3, 2, 0, False),
    (24, 88, 24, 3, 1, 0, False),
    (24, 96, 32, 5, 2, 24, True),
    (32, 128, 32, 5, 1, 32, True),
    (32, 128, 32, 5, 1, 32, True),
    (32, 96, 32, 5, 1, 24, True),
    (32, 96, 32, 5, 1, 24, True),
)
"""Channels before, within and after each block, kernel, stride, width of its gate (0: none), hard swish for ReLU."""
_SKIPS = (0, 2)
"""Blocks whose result the decoder takes up again, beside the stem's."""


class Gate(nn.Module):
    """Weights of channels, from their means."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.narrow, self.widen = nn.Conv2d(channels, width, 1), nn.Conv2d(width, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, 1, 1] in [0, 1]."""
        return torch.sigmoid(self.widen(F.relu(self.narrow(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    """MobileNetV3's inverted residual block."""

    def __init__(self, before: int, within: int, after: int, kernel: int, stride: int, gate: int, hard: bool) -> None:
        super().__init__()
        self.widen = nn.Conv2d(before, within, 1)
        self.depthwise = SameConv(within, within, kernel, stride, groups=within)
        self.gate = Gate(within, gate) if gate else None
        self.narrow = nn.Conv2d(within, after, 1)
        self.act = F.hardswish if hard else F.relu
        self.skips = stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] -> [B, after, H / stride, W / stride]."""
        y = self.act(self.depthwise(self.act(self.widen(x))))
        y = self.narrow(y if self.gate is None else y * self.gate(y))
        return x + y if self.skips else y


class Merge(nn.Module):
    """The coarser level enlarged, and a skip weighed by both."""

    def __init__(self, coarse: int, channels: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(coarse, channels, 1)
        self.gate = Gate(channels, channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.depthwise = SameConv(channels, channels, 3, groups=channels)

    def forward(self, coarse: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """[B, coarse, H / 2, W / 2] and [B, C, H, W] -> [B, C, H, W]."""
        y = self.enter(F.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False))
        y = F.relu(self.pointwise(skip * self.gate(skip + y) + y))
        return y + F.relu(self.depthwise(y))


class PersonNetwork(nn.Module):
    """Picture -> how likely each pixel is a person."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 16, 3, 2)
        self.blocks = nn.ModuleList(Block(*sizes) for sizes in _BLOCKS)
        self.deep, self.deep_gate = nn.Conv2d(32, 128, 1), nn.Conv2d(32, 128, 1)
        self.merges = nn.ModuleList((Merge(128, 24), Merge(24, 16), Merge(16, 16)))
        self.last = nn.ConvTranspose2d(16, 1, 2, 2)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Find the person.

        Args:
            pictures: [B, 3, 256, 256] RGB in [0, 1]: head and shoulders fill most of it.

        Returns:
            [B, 1, 256, 256] in [0, 1].

        Raises:
            ValueError: ``pictures`` has another shape.
        """
        if pictures.ndim != 4 or tuple(pictures.shape[1:]) != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(f"expected pictures [B, 3, {INPUT_SIZE}, {INPUT_SIZE}], got {tuple(pictures.shape)}")
        x = F.hardswish(self.stem(pictures))
        skips = [x]
        for number, block in enumerate(self.blocks):
            x = block(x)
            skips += [x] if number in _SKIPS else []
        x = F.relu(self.deep(x)) * torch.sigmoid(self.deep_gate(x.mean((2, 3), keepdim=True)))
        for merge, skip in zip(self.merges, reversed(skips), strict=True):
            x = merge(x, skip)
        return torch.sigmoid(self.last(x))
