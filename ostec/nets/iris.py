"""Iris landmarks: middle and rim of the iris in a crop of one eye.

The network of Ablavatski, Vakunov, Grishchenko, Raveendran and Zhdanovich, "Real-time Pupil Tracking from Monocular
Video for Digital Puppetry" (CVPR workshops 2020, arXiv:2006.11341), which MediaPipe publishes as
``iris_landmark.tflite``; its branch for the lids' outline is left out. ``tools/convert_person.py`` turns the published
file into ``models/iris.safetensors``.
"""

import torch
from torch import nn
from torch.nn import functional as F

from ostec.nets.tflite import SameConv

INPUT_SIZE = 64
"""Side of the crop in pixels."""
POINT_COUNT = 5
TRUNK = (64, 64, 64, 64, 64, 128, 128, 128, 128, 128, 128)
"""Channels before the first block of the trunk and after each."""
TRUNK_HALVES = (5, 10)
"""The blocks (counted from 1) that halve the resolution: 32 -> 8 pixels."""
BRANCH, BRANCH_HALVES = 8, (3, 6)
"""Blocks of the branch, and which of them halve the resolution: 8 -> 2 pixels."""


class Bottleneck(nn.Module):
    """A narrow depthwise convolution beside a skip, then PReLU."""

    def __init__(self, before: int, after: int, halves: bool) -> None:
        super().__init__()
        narrow = after // 2
        self.narrow = nn.Conv2d(before, narrow, 2 if halves else 1, 2 if halves else 1)
        self.narrow_act = nn.PReLU(narrow)
        self.depthwise = SameConv(narrow, narrow, 3, groups=narrow)
        self.widen = nn.Conv2d(narrow, after, 1)
        self.act = nn.PReLU(after)
        self.halves, self.new_channels = halves, after - before

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, before, H, W] -> [B, after, H, W], or half of H and W."""
        y = self.widen(self.depthwise(self.narrow_act(self.narrow(x))))
        if self.halves:
            x = F.max_pool2d(x, 2)
        return self.act(F.pad(x, (0, 0, 0, 0, 0, self.new_channels)) + y)


class IrisNetwork(nn.Module):
    """Crop of an eye -> middle and rim of its iris."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_act = SameConv(3, TRUNK[0], 3, 2), nn.PReLU(TRUNK[0])
        self.trunk = nn.Sequential(
            *(Bottleneck(TRUNK[k - 1], TRUNK[k], k in TRUNK_HALVES) for k in range(1, len(TRUNK)))
        )
        width = TRUNK[-1]
        self.branch = nn.Sequential(*(Bottleneck(width, width, k in BRANCH_HALVES) for k in range(1, BRANCH + 1)))
        self.head = nn.Conv2d(width, 3 * POINT_COUNT, 2)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """Find the iris.

        Args:
            crops: [B, 3, 64, 64] RGB in [0, 1]: an eye whose outer corner is on the left, 2.3 times as wide.

        Returns:
            [B, 5, 2] in crop pixels of 64 (corner origin, y down): middle, then four points of the rim.

        Raises:
            ValueError: ``crops`` has another shape.
        """
        if crops.ndim != 4 or tuple(crops.shape[1:]) != (3, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(f"expected crops [B, 3, {INPUT_SIZE}, {INPUT_SIZE}], got {tuple(crops.shape)}")
        found = self.head(self.branch(self.trunk(self.stem_act(self.stem(crops)))))
        return found.reshape(-1, POINT_COUNT, 3)[..., :2]
