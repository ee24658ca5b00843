"""Figures of one picture against its truth, over a mask: pure functions.

``FIGURES`` says for each which way is better. A figure that cannot be had (an empty mask) is NaN, and never stands for
a value.
"""

import math
from typing import Literal

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray

Direction = Literal["higher", "lower", "one", "none"]
"""What of a figure is good: high values, low ones, those near 1, or neither (it describes)."""
FIGURES: dict[str, Direction] = {
    "psnr": "higher",
    "ssim": "higher",
    "perceptual": "lower",
    "sharpness": "one",
    "identity": "higher",
    "symmetry": "lower",
    "spread": "higher",
    "area": "higher",
    "coverage": "higher",
    "surface": "higher",
    "energy": "higher",
    "brightness": "none",
    "contrast": "none",
    "duplicates": "lower",
}
"""First word of a figure's name -> what of it is good."""
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_SSIM_WINDOW, _SSIM_SIGMA = 11, 1.5
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Of red, green and blue (BT.601)."""
LEAST_SHARE = 0.02
"""What is unseen has no figures of its own where it is a smaller share of the face: a rim alone says nothing."""
RIM_PX = 2
"""Gradients this near to the rim of what is valid are the rim's own."""


def large_enough(part: BoolArray, whole: BoolArray) -> BoolArray:
    """``part`` [H, W], or nothing where it is less than ``LEAST_SHARE`` of ``whole``."""
    return part if part.sum() >= LEAST_SHARE * whole.sum() else np.zeros_like(part)


def psnr(image: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
    """Peak signal to noise in dB over ``mask`` [H, W] of two pictures [H, W, C] in [0, 1]; NaN for an empty mask."""
    if not mask.any():
        return math.nan
    error = float(np.mean((image[mask].astype(np.float64) - truth[mask]) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(image: FloatArray, truth: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Structural similarity (Wang et al. 2004, Gaussian window of 11 taps, sigma 1.5), mean over ``mask`` and channels.

    Args:
        image: [H, W, C] in [0, 1].
        truth: the same.
        mask: [H, W], where the index is averaged; NaN if empty.
        valid: [H, W], which pixels the windows take in.
    """
    if not mask.any():
        return math.nan
    weight = valid.astype(np.float32)[..., None]
    norm = np.maximum(_window(weight), 1e-6)
    x, y = image * weight, truth * weight
    mx, my = _window(x) / norm, _window(y) / norm
    xx, yy, xy = (_window(a) / norm - b for a, b in ((x * x, mx * mx), (y * y, my * my), (x * y, mx * my)))
    index = (2 * mx * my + _SSIM_C1) * (2 * xy + _SSIM_C2) / ((mx**2 + my**2 + _SSIM_C1) * (xx + yy + _SSIM_C2))
    return float(index[mask].mean())


def sharpness(image: FloatArray, truth: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Gradient energy (Sobel, of the grey picture) over that of ``truth``: 1 is right, less is blurred.

    Taken over ``mask`` [H, W] less what is within ``RIM_PX`` of the rim of ``valid`` [H, W]; NaN where the truth is
    flat or nothing is left.
    """
    inner = mask & ndimage.binary_erosion(valid, iterations=RIM_PX)
    energy = [float(gradient_energy(x)[inner].sum(dtype=np.float64)) for x in (image, truth)]
    return energy[0] / energy[1] if energy[1] > 0 else math.nan


def gradient_energy(image: FloatArray) -> FloatArray:
    """Squared length [H, W] of the Sobel gradient of the grey picture of [H, W, 3]."""
    import cv2

    grey = image.astype(np.float32) @ LUMA
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    energy: FloatArray = dx * dx + dy * dy
    return energy


def _window(image: FloatArray) -> FloatArray:
    import cv2

    size = (_SSIM_WINDOW, _SSIM_WINDOW)
    blurred = cv2.GaussianBlur(image, size, _SSIM_SIGMA, borderType=cv2.BORDER_CONSTANT)
    return blurred.reshape(*blurred.shape[:2], -1)
