"""Terms of the projection's objective: pure functions, one value per picture of the batch."""

import math

import torch
from torch.nn import functional

MS_SSIM_WINDOW = 7
"""Side of the Gaussian window: 11 needs pictures of 161 px for five scales, 7 needs 97."""
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales, finest first."""


def weighted_mean(values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Mean [B] of values [B, C, H, W] under weights [B, 1, H, W]; zero where all weights are."""
    total = (values.mean(1, keepdim=True) * weight).sum((1, 2, 3))
    return total / weight.sum((1, 2, 3)).clamp(min=1e-6)


def log_cosh(difference: torch.Tensor) -> torch.Tensor:
    """Logarithm of cosh, elementwise: half the square near zero, the absolute value less log 2 far away."""
    size = difference.abs()
    return size + functional.softplus(-2 * size) - math.log(2)


def pixel_loss(image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, scale: float = 16.0) -> torch.Tensor:
    """Weighted log-cosh [B] of the differences, in units of 1 / ``scale`` of the range [-1, 1]."""
    return weighted_mean(log_cosh((image - target) * scale), weight)


def ms_ssim_loss(image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 - MS-SSIM [B] (Wang et al. 2003) after the untrusted part of ``image`` was replaced by the target's.

    Pictures below 97 px take as many of the five scales as fit, finest first, their exponents scaled to sum to one.

    Args:
        image: [B, 3, H, W] in [-1, 1].
        target: the same.
        weight: [B, 1, H, W] in [0, 1].

    Raises:
        ValueError: the pictures are smaller than the window.
    """
    from pytorch_msssim import ms_ssim

    side = min(image.shape[-2:])
    scales = sum(side > (MS_SSIM_WINDOW - 1) * 2**k for k in range(len(_MS_SSIM_WEIGHTS)))
    if scales == 0:
        raise ValueError(f"expected pictures of at least {MS_SSIM_WINDOW} px, got {list(image.shape)}")
    # The library refuses pictures in which fewer than five scales fit. Pixels doubled so often that all fit become the
    # picture again by its halving; the scales on the way have exponent 0.
    doubled = len(_MS_SSIM_WEIGHTS) - scales
    exponents = [0.0] * doubled + [w / sum(_MS_SSIM_WEIGHTS[:scales]) for w in _MS_SSIM_WEIGHTS[:scales]]
    mixed = target + (image - target) * weight
    ours, theirs = (
        (x / 2 + 0.5).repeat_interleave(2**doubled, -2).repeat_interleave(2**doubled, -1) for x in (mixed, target)
    )
    return 1 - ms_ssim(ours, theirs, data_range=1.0, size_average=False, win_size=MS_SSIM_WINDOW, weights=exponents)


def feature_loss(found: list[torch.Tensor], wanted: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
    """Distance [B] of features, each position of unit length as in LPIPS (Zhang et al. 2018), mean over the layers.

    Args:
        found: [B, C, h, w] per layer.
        wanted: the same, of the target.
        weight: [B, 1, H, W] of the pixels; averaged down to each layer.
    """
    total = weight.new_zeros(len(weight))
    for a, b in zip(found, wanted, strict=True):
        share = functional.adaptive_avg_pool2d(weight, (a.shape[-2], a.shape[-1]))
        difference = functional.normalize(a, dim=1) - functional.normalize(b, dim=1)
        total = total + weighted_mean(difference.square().sum(1, keepdim=True), share)
    return total / len(found)


def latent_loss(ws: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    """Mean squared distance [B] of W+ [B, num_ws, W] from the mean latent, in deviations of the training faces."""
    return ((ws - mean) / deviation).square().mean((1, 2))
