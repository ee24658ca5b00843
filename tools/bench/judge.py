"""What says how close two pictures are: one network of VGG16's shape with random weights, and their pixels.

The published projector compares pictures by LPIPS on VGG16, at 256 px. Its weights must be fetched; a network of the
same shape costs the same, and with weights drawn from a seed (He et al., Delving deep into rectifiers, ICCV 2015) it is
the same for everybody. Both sides are optimised by its features and judged by them.
"""

import torch
from torch import nn
from torch.nn import functional

JUDGED_SIDE = 256
"""Pixels: larger pictures are reduced to it, smaller ones are judged as they are."""
MIN_SIDE = 16
"""Pixels: of smaller pictures nothing is left at the last level."""
_LEVELS = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))
"""Channels, in units of the first level's, and convolutions of each level (Simonyan and Zisserman 2015, table 1, D)."""
_WIDTH = 64
_BIAS = 0.3
"""Deviation of the biases: without any, features of length 1 would not tell a picture from a paler one."""
_EPS = 1e-10


class VggShaped(nn.Module):
    """The 13 convolutions of VGG16 with random weights; in evaluation mode, without gradients of its own."""

    def __init__(self, seed: int = 0, width: int = _WIDTH) -> None:
        """``width`` channels at the first level; equal seeds and widths give equal networks."""
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        inputs = 3
        for k, (share, count) in enumerate(_LEVELS):
            level = nn.ModuleList()
            for _ in range(count):
                layer = nn.utils.skip_init(nn.Conv2d, inputs, share * width, 3, padding=1)
                with torch.no_grad():
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=random) * (2 / (9 * inputs)) ** 0.5)
                    layer.bias.copy_(torch.randn(layer.bias.shape, generator=random) * _BIAS)
                level.append(layer)
                inputs = share * width
            self.add_module(f"level{k}", level)
        self.eval().requires_grad_(False)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of pictures [B, 3, H, W] in [-1, 1].

        Returns:
            The last activations of the five levels, [B, C, h, w], finest first, each position of length 1 as LPIPS
            takes them. Levels for which the picture is too small are left out.
        """
        found: list[torch.Tensor] = []
        x = image
        for k in range(len(_LEVELS)):
            if k:
                if min(x.shape[-2:]) < 2:
                    break
                x = functional.max_pool2d(x, 2)
            for layer in self.get_submodule(f"level{k}").children():
                x = functional.relu(layer(x))
            found.append(functional.normalize(x, dim=1, eps=_EPS))
        return found


def distance(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> torch.Tensor:
    """Distance [B] of two lists of features: squared difference, mean over positions, sum over channels and levels."""
    levels = [(a - b).square().sum(1).mean((1, 2)) for a, b in zip(found, wanted, strict=True)]
    return torch.stack(levels).sum(0)


def judged_size(image: torch.Tensor) -> torch.Tensor:
    """Pictures [B, 3, R, R] at the size at which they are compared: by area to 256 px where they are larger."""
    if image.shape[-1] <= JUDGED_SIDE:
        return image
    return functional.interpolate(image, size=(JUDGED_SIDE, JUDGED_SIDE), mode="area")


class Judge:
    """The final loss of pictures, the same for both sides: features' distance plus pixels' mean squared error."""

    def __init__(self, network: VggShaped, target: torch.Tensor) -> None:
        """``target``: [B, 3, R, R] in [-1, 1]; raises ValueError where it is smaller than ``MIN_SIDE``."""
        if target.shape[-1] < MIN_SIDE:
            raise ValueError(f"expected pictures of at least {MIN_SIDE} px, got {list(target.shape)}")
        self._network = network
        self.target = judged_size(target)
        with torch.no_grad():
            self._wanted = network(self.target)

    @torch.no_grad()
    def loss(self, image: torch.Tensor) -> torch.Tensor:
        """Loss [B] of pictures [B, 3, R, R] in [-1, 1], which are not clamped; the squared error is on that scale."""
        small = judged_size(image)
        return distance(self._network(small), self._wanted) + (small - self.target).square().mean((1, 2, 3))
