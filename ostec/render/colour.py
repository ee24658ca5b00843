"""Between sRGB and linear light (IEC 61966-2-1), both in [0, 1]."""

import numpy as np
import torch

from ostec.core.types import Array

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (BT.601)."""


def to_linear(values: Array) -> Array:
    """SRGB to linear light."""
    return np.asarray(np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4), values.dtype)


def from_linear(values: Array) -> Array:
    """Linear light to sRGB."""
    return np.asarray(
        np.where(values <= 0.0031308, values * 12.92, 1.055 * np.maximum(values, 0) ** (1 / 2.4) - 0.055), values.dtype
    )


def srgb_tensor(linear: torch.Tensor) -> torch.Tensor:
    """Linear light to sRGB, differentiable; what is below zero becomes black."""
    bright = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, linear.clamp(min=0) * 12.92, bright)
