"""MediaPipe's two networks for hands: palms anywhere in a picture, and the 21 landmarks of one hand.

Zhang, Bazarevsky, Vakunov, Tkachenka, Sung, Chang and Grundmann, "MediaPipe Hands: On-device Real-time Hand Tracking"
(CVPR workshops 2020, arXiv:2006.10214). The palm detector is the published variant ``full``, the landmark network the
variant ``lite``. ``tools/convert_hands.py`` turns the published files into ``models/hands.safetensors``; of the
landmark network its heads for left or right and for metric landmarks are left out.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from ostec.nets.tflite import ConvAct, ResidualBlock, SameConv

PALM_SIZE = 192
"""Side of the palm detector's picture in pixels."""
HAND_SIZE = 224
"""Side of the landmark network's crop in pixels."""
POINT_COUNT = 21
"""Wrist, then four points of thumb, index, middle, ring and little finger, each from the palm to the tip."""
PALM_VALUES = 18
"""Numbers per anchor: a box and seven points."""

_FINE_ANCHORS, _COARSE_ANCHORS = 2, 6
"""Anchors per cell of 8 and of 16 pixels."""


@dataclass(frozen=True)
class PalmOutput:
    """What the palm detector says of a batch of pictures, still relative to its anchors."""

    values: torch.Tensor
    """[B, 2016, 18] in pixels of 192: x, y of the box's centre from the anchor, width, height, then x, y of wrist, the
    knuckles of index, middle, ring and little finger and the thumb's first two joints, each from the anchor."""
    logits: torch.Tensor
    """[B, 2016]: log-odds of a palm. First the 24 x 24 cells by rows with two anchors each, then 12 x 12 with six."""


@dataclass(frozen=True)
class HandOutput:
    """What the landmark network says of a batch of crops."""

    points: torch.Tensor
    """[B, 21, 3] in crop pixels of 224 (corner origin, y down); z in the same unit, zero at the wrist, away from the
    viewer."""
    logit: torch.Tensor
    """[B]: log-odds that the crop shows a hand."""

    @property
    def confidence(self) -> torch.Tensor:
        """[B]: probability of a hand, 0 to 1."""
        return torch.sigmoid(self.logit)


class PalmDetector(nn.Module):
    """Picture -> palms at 2016 anchors: a feature pyramid of two levels over residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvAct(3, 32, 5, stride=2)
        self.fine = nn.Sequential(*_stage(32, 32), *_stage(32, 64, halve=True), *_stage(64, 128, halve=True))
        self.middle = nn.Sequential(*_stage(128, 256, halve=True))
        self.coarse = nn.Sequential(*_stage(256, 256, halve=True))
        self.to_middle = ConvAct(256, 256)
        self.merge_middle = nn.Sequential(ResidualBlock(256, 256, 5), ResidualBlock(256, 256, 5))
        self.middle_logits = nn.Conv2d(256, _COARSE_ANCHORS, 1)
        self.middle_values = nn.Conv2d(256, _COARSE_ANCHORS * PALM_VALUES, 1)
        self.to_fine = ConvAct(256, 128)
        self.merge_fine = nn.Sequential(ResidualBlock(128, 128, 5), ResidualBlock(128, 128, 5))
        self.fine_logits = nn.Conv2d(128, _FINE_ANCHORS, 1)
        self.fine_values = nn.Conv2d(128, _FINE_ANCHORS * PALM_VALUES, 1)

    def forward(self, pictures: torch.Tensor) -> PalmOutput:
        """Look for palms.

        Args:
            pictures: [B, 3, 192, 192] RGB in [0, 1].

        Raises:
            ValueError: ``pictures`` has another shape.
        """
        _require_size(pictures, PALM_SIZE, "pictures")
        fine = self.fine(self.stem(pictures))  # [B, 128, 24, 24]
        middle = self.middle(fine)  # [B, 256, 12, 12]
        middle = self.merge_middle(self.to_middle(_twice(self.coarse(middle))) + middle)
        fine = self.merge_fine(self.to_fine(_twice(middle)) + fine)
        values = [
            _per_anchor(self.fine_values(fine), PALM_VALUES),
            _per_anchor(self.middle_values(middle), PALM_VALUES),
        ]
        logits = [_per_anchor(self.fine_logits(fine), 1), _per_anchor(self.middle_logits(middle), 1)]
        return PalmOutput(torch.cat(values, dim=1), torch.cat(logits, dim=1)[..., 0])


class HandLandmarker(nn.Module):
    """Crop of an upright hand -> its landmarks: inverted residuals as in MobileNetV2."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 24, 3, stride=2)
        self.first = SameConv(24, 24, 3, groups=24)
        self.narrow = nn.Conv2d(24, 16, 1)
        layout = [  # channels in, widened, out, kernel, stride
            (16, 64, 16, 3, 2),
            (16, 96, 16, 3, 1),
            (16, 96, 24, 5, 2),
            (24, 144, 24, 5, 1),
            (24, 144, 48, 3, 2),
            (48, 288, 48, 3, 1),
            (48, 288, 48, 3, 1),
            (48, 288, 64, 5, 1),
            (64, 384, 64, 5, 1),
            (64, 384, 64, 5, 1),
            (64, 384, 112, 5, 2),
            (112, 672, 112, 5, 1),
            (112, 672, 112, 5, 1),
            (112, 672, 112, 5, 1),
        ]
        self.trunk = nn.Sequential(*(_InvertedBlock(*row) for row in layout))
        self.widen = nn.Conv2d(112, 672, 1)
        self.last = SameConv(672, 672, 3, groups=672)
        self.hand_head = nn.Linear(672, 1)
        self.points_head = nn.Linear(672, POINT_COUNT * 3)

    def forward(self, crops: torch.Tensor) -> HandOutput:
        """Find the landmarks of hands whose fingers point up and that fill about half of their crops.

        Args:
            crops: [B, 3, 224, 224] RGB in [0, 1].

        Raises:
            ValueError: ``crops`` has another shape.
        """
        _require_size(crops, HAND_SIZE, "crops")
        features = self.narrow(F.relu6(self.first(F.relu6(self.stem(crops)))))
        features = F.relu6(self.widen(self.trunk(features)))
        pooled = F.relu6(self.last(features)).mean(dim=(2, 3))  # [B, 672]
        points = self.points_head(pooled).reshape(-1, POINT_COUNT, 3)
        return HandOutput(points, self.hand_head(pooled)[:, 0])


class HandNetworks(nn.Module):
    """Both networks, as they lie in one file."""

    def __init__(self) -> None:
        super().__init__()
        self.palm = PalmDetector()
        self.hand = HandLandmarker()


class _InvertedBlock(nn.Module):
    """Pointwise widening, depthwise convolution, pointwise narrowing; beside a skip where the channels stay."""

    def __init__(self, in_channels: int, wide: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(in_channels, wide, 1)
        self.depthwise = SameConv(wide, wide, kernel_size, stride, groups=wide)
        self.narrow = nn.Conv2d(wide, out_channels, 1)
        self.stride = stride
        self.skips = in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.narrow(F.relu6(self.depthwise(F.relu6(self.widen(x)))))
        if not self.skips:
            return y
        return y + (F.max_pool2d(x, self.stride) if self.stride > 1 else x)


def _stage(in_channels: int, out_channels: int, halve: bool = False) -> list[ResidualBlock]:
    """Four blocks at one resolution, after one that halves it."""
    first = [ResidualBlock(in_channels, out_channels, 5, stride=2)] if halve else []
    return [*first, *(ResidualBlock(out_channels, out_channels, 5) for _ in range(4))]


def _twice(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _per_anchor(x: torch.Tensor, count: int) -> torch.Tensor:
    """[B, anchors * count, H, W] to [B, H * W * anchors, count]."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, count)


def _require_size(x: torch.Tensor, side: int, name: str) -> None:
    if x.ndim != 4 or tuple(x.shape[1:]) != (3, side, side):
        raise ValueError(f"expected {name} [B, 3, {side}, {side}], got {tuple(x.shape)}")
