"""Pieces that MediaPipe's networks share, padded as TFLite pads."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class SameConv(nn.Conv2d):
    """Convolution padded as TFLite's "same" for sides divisible by the stride: the odd pixel goes right and below."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H / stride, W / stride]."""
        total = max(self.kernel_size[0] - self.stride[0], 0)
        before, after = total // 2, total - total // 2
        return super().forward(F.pad(x, (before, after, before, after)) if total else x)


class ConvAct(nn.Module):
    """Convolution, then PReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = SameConv(in_channels, out_channels, kernel_size, stride)
        self.act = nn.PReLU(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H / stride, W / stride]."""
        return self.act(self.conv(x))


class ResidualBlock(nn.Module):
    """Depthwise and pointwise convolution beside a skip, then PReLU.

    The skip is max-pooled where the block halves the resolution, and filled up with zero channels where it widens.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = SameConv(in_channels, in_channels, kernel_size, stride, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)
        self.act = nn.PReLU(out_channels)
        self.stride, self.new_channels = stride, out_channels - in_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H / stride, W / stride]."""
        y = self.pointwise(self.depthwise(x))
        if self.stride > 1:
            x = F.max_pool2d(x, self.stride)
        return self.act(F.pad(x, (0, 0, 0, 0, 0, self.new_channels)) + y)


def scripted(network: nn.Module, example: torch.Tensor) -> Callable[[torch.Tensor], Any]:
    """A network in evaluation mode as TorchScript, for inputs of the example's shape, on the CPU."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # TorchScript is called old; what follows it is five times slower here
        call: Callable[[torch.Tensor], Any] = torch.jit.freeze(torch.jit.trace(network, example, check_trace=False))
    return call
