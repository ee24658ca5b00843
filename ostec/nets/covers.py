"""A small U-net over the UV layout (Ronneberger et al. 2015, arXiv:1505.04597): which texels something covers."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

SIZE = 128
"""Side of its layout in texels."""
_WIDTHS = (12, 24, 40, 64, 96)
"""Channels at 64, 32, 16, 8 and 4 texels."""


class CoverNetwork(nn.Module):
    """Unwrapped photo -> log-odds that each texel is covered: anything but the face's own skin, eyes, lips and beard.

    Every face lies in the same place of the layout, so two planes with the place itself are part of the input, and so
    few layers see the whole of it; colours are told as deviations from the training faces' mean in that place.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((1, 3, SIZE // 2, SIZE // 2), 0.5))
        self.register_buffer("deviation", torch.full((1, 3, SIZE // 2, SIZE // 2), 0.25))
        self.stem = _block(6, _WIDTHS[0], stride=2)
        self.down = nn.ModuleList(nn.Sequential(_block(a, b, stride=2), _block(b, b)) for a, b in pairwise(_WIDTHS))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairwise(_WIDTHS[::-1]))
        self.head = nn.Conv2d(_WIDTHS[0], 1, 1)

    def forward(self, colour: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Log-odds [B, 1, 128, 128] of a photo in the layout.

        Args:
            colour: [B, 3, 128, 128] RGB in [0, 1], zero where nothing was seen.
            visible: [B, 1, 128, 128], 1 where the photo shows the texel.

        Raises:
            ValueError: the pictures have another size.
        """
        if colour.shape[1:] != (3, SIZE, SIZE) or visible.shape[1:] != (1, SIZE, SIZE):
            raise ValueError(f"expected {SIZE} x {SIZE} texels, got {list(colour.shape)} and {list(visible.shape)}")
        place = torch.linspace(-1, 1, SIZE, device=colour.device).expand(len(colour), 1, SIZE, SIZE)
        mean, deviation = (functional.interpolate(t, scale_factor=2.0) for t in (self.mean, self.deviation))
        unlike = (colour - mean) / deviation * visible
        x = self.stem(torch.cat([unlike, visible, place, place.transpose(2, 3)], dim=1))
        kept = []
        for down in self.down:
            kept.append(x)
            x = down(x)
        for up in self.up:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = up(torch.cat([x, kept.pop()], dim=1))
        return functional.interpolate(self.head(x), scale_factor=2, mode="bilinear", align_corners=False)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)
    )
