"""Resampling and activation as StyleGAN2 uses them (Karras et al. 2020, code conventions of the published networks)."""

import torch
from torch.nn import functional

LRELU_GAIN = 2**0.5
"""Gain after a leaky ReLU of slope 0.2 that keeps the variance."""
_TAPS = (1.0, 3.0, 3.0, 1.0)


def lowpass_filter(taps: tuple[float, ...] = _TAPS) -> torch.Tensor:
    """The separable filter [4, 4] that the published networks resample with; its sum is 1."""
    row = torch.tensor(taps)
    square = torch.outer(row, row)
    return square / square.sum()


def filter_planes(x: torch.Tensor, kernel: torch.Tensor, padding: tuple[int, int], gain: float = 1.0) -> torch.Tensor:
    """Convolve every channel with one symmetric kernel.

    Args:
        x: [B, C, H, W].
        kernel: [k, k], symmetric.
        padding: zeros before and after, on both axes.
        gain: multiplies the result.

    Returns:
        [B, C, H + before + after - k + 1, W + before + after - k + 1].
    """
    before, after = padding
    if before != after:
        x, before = functional.pad(x, (before, after, before, after)), 0
    weight = (kernel * gain).to(x.dtype).expand(x.shape[1], 1, *kernel.shape)
    return functional.conv2d(x, weight, padding=before, groups=x.shape[1])


def upsample2d(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Twice as large: zeros in between, then the filter. [B, C, H, W] -> [B, C, 2H, 2W]."""
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, height, 2, width, 2)
    spread[:, :, :, 0, :, 0] = x
    return filter_planes(spread.reshape(batch, channels, 2 * height, 2 * width), kernel, (2, 1), 4.0)


def downsample2d(x: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """Half as large: the filter, then every second pixel. [B, C, H, W] -> [B, C, H/2, W/2]."""
    return filter_planes(x, kernel, (1, 1))[:, :, ::2, ::2]


def leaky_relu(x: torch.Tensor, bias: torch.Tensor, gain: float = LRELU_GAIN) -> torch.Tensor:
    """Add a bias per channel, leaky ReLU of slope 0.2, gain."""
    return functional.leaky_relu(x + bias.view(1, -1, *[1] * (x.ndim - 2)), 0.2) * gain
