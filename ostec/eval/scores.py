"""Figures of one picture against its truth, over a mask: pure functions.

``FIGURES`` says which way is better. A figure that cannot be had (an empty mask) is NaN.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray
from ostec.render.colour import LUMA

Direction = Literal["higher", "lower", "one", "none"]
"""Which values are good: high, low, near 1, or neither (the figure describes)."""
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
    "halves": "lower",
    "ita": "lower",
    "pose": "lower",
    "expression": "lower",
    "gaze": "lower",
    "jitter": "lower",
    "blinks": "higher",
    "lost": "lower",
}
"""By the first word of a figure's name."""
Perceptual = Callable[[FloatArray, FloatArray, BoolArray], float]
"""A judge of two pictures [H, W, 3] over a mask [H, W]; lower is better."""
LEAST_SHARE = 0.02
"""Share of the face below which what is unseen has no figures of its own: a rim alone says nothing."""
TONE_LIMITS_DEG = (10, 41)
"""Individual typology angles between dark, medium and light skin."""
RIM_PX = 2
"""Gradients this near to the rim of what is valid are the rim's own."""


def large_enough(part: BoolArray, whole: BoolArray) -> BoolArray:
    """``part`` [H, W], or nothing where it is less than ``LEAST_SHARE`` of ``whole``."""
    return part if part.sum() >= LEAST_SHARE * whole.sum() else np.zeros_like(part)


def psnr(image: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
    """Peak signal to noise in dB over ``mask`` [H, W] of two pictures [H, W, C] in [0, 1]."""
    if not mask.any():
        return math.nan
    error = float(np.mean((image[mask].astype(np.float64) - truth[mask]) ** 2))
    return math.inf if error == 0 else -10 * math.log10(error)


def ssim(image: FloatArray, truth: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Structural similarity (Wang et al. 2004, Gaussian window of 11 taps, sigma 1.5), mean over ``mask`` and channels.

    Pictures [H, W, C] in [0, 1]; the windows take in the pixels that are ``valid`` [H, W].
    """
    import cv2

    def window(plane: FloatArray) -> FloatArray:
        blurred = cv2.GaussianBlur(plane, (11, 11), 1.5, borderType=cv2.BORDER_CONSTANT)
        return blurred.reshape(*blurred.shape[:2], -1)

    if not mask.any():
        return math.nan
    weight = valid.astype(np.float32)[..., None]
    norm = np.maximum(window(weight), 1e-6)
    x, y = image * weight, truth * weight
    mx, my = window(x) / norm, window(y) / norm
    xx, yy, xy = (window(a) / norm - b for a, b in ((x * x, mx * mx), (y * y, my * my), (x * y, mx * my)))
    c1, c2 = 0.01**2, 0.03**2
    index = (2 * mx * my + c1) * (2 * xy + c2) / ((mx**2 + my**2 + c1) * (xx + yy + c2))
    return float(index[mask].mean())


def sharpness(image: FloatArray, truth: FloatArray, mask: BoolArray, valid: BoolArray) -> float:
    """Gradient energy (Sobel, of the grey picture) over that of ``truth``: 1 is right, less is blurred.

    Taken over ``mask`` [H, W] less what is within ``RIM_PX`` of the rim of ``valid`` [H, W]; NaN for a flat truth.
    """
    inner = mask & ndimage.binary_erosion(valid, iterations=RIM_PX)
    made, true = (float(gradient_energy(x)[inner].sum(dtype=np.float64)) for x in (image, truth))
    return made / true if true > 0 else math.nan


def gradient_energy(image: FloatArray) -> FloatArray:
    """Squared length [H, W] of the Sobel gradient of the grey picture of [H, W, 3]."""
    import cv2

    grey = image.astype(np.float32) @ LUMA
    dx, dy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    energy: FloatArray = dx * dx + dy * dy
    return energy


@dataclass(frozen=True)
class Compared:
    """Two pictures of a face, pixel on pixel."""

    made: FloatArray
    """[H, W, 3] in [0, 1]."""
    truth: FloatArray
    """[H, W, 3] in [0, 1]."""
    again: FloatArray
    """[H, W, 3]: the truth, unwrapped and drawn again as ``made`` was, so that the resampling cancels in sharpness."""
    face: BoolArray
    """[H, W]: where both show the face."""
    seen: BoolArray
    """[H, W]: where the input showed it too."""

    @property
    def parts(self) -> dict[str, BoolArray]:
        """``face``, ``seen`` and ``unseen``, the last empty where it is a mere rim."""
        unseen = large_enough(self.face & ~self.seen, self.face)
        return {"face": self.face, "seen": self.face & self.seen, "unseen": unseen}

    def figures(self, judge: Perceptual, suffix: str = "") -> dict[str, float]:
        """PSNR, SSIM, perceptual distance and sharpness over every part; ``suffix`` ends the figures' names."""
        found = {}
        made, truth, face = self.made, self.truth, self.face
        for part, mask in self.parts.items():
            found[f"psnr_{part}{suffix}"] = psnr(made, truth, mask)
            found[f"ssim_{part}{suffix}"] = ssim(made, truth, mask, face)
            found[f"perceptual_{part}{suffix}"] = judge(made, truth, mask)
            found[f"sharpness_{part}{suffix}"] = sharpness(made, self.again, mask, face)
        return found


def tone_deg(colour: FloatArray, skin: BoolArray) -> float:
    """Individual typology angle of the median colour of the ``skin`` [H, W] in a picture [H, W, 3] in [0, 1].

    atan2(L - 50, b) in CIE Lab, in degrees: the larger, the lighter (Chardon et al. 1991). The photo's exposure counts
    as well. NaN without skin.
    """
    if not skin.any():
        return math.nan
    import torch
    from kornia.color import rgb_to_lab

    middle = torch.from_numpy(np.median(colour[skin], axis=0).astype(np.float32))
    light, _, yellow = rgb_to_lab(middle[:, None, None]).flatten().tolist()
    return math.degrees(math.atan2(light - 50, yellow))


def tone_group(ita_deg: float) -> str:
    """The group of skin tones that figures are broken down by: light, medium or dark; unknown for NaN."""
    if math.isnan(ita_deg):
        return "unknown"
    low, high = TONE_LIMITS_DEG
    return f"above {high}" if ita_deg > high else f"{low} to {high}" if ita_deg >= low else f"below {low}"
