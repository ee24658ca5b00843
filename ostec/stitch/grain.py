"""Grain of skin for what was not seen: patches of this person's own fine detail, in random places.

A fill from a linear model has no detail finer than its layout, so that skin that was seen ends in a blurred border.
Texture synthesis by patches (Efros and Freeman, Image quilting, 2001) continues it; patches are added up with weights
whose squares sum to one (Heitz and Neyret, High-performance by-example noise, 2018), which keeps the deviation where
they overlap. Only what looks like its surroundings is taken: a mole or a scar would be invented.
"""

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray
from ostec.stitch.settings import GrainSettings


def skin_grain(
    detail: FloatArray, plain: BoolArray, wanted: BoolArray, settings: GrainSettings | None = None
) -> FloatArray:
    """Fine detail of bare skin over all wanted texels, of the same deviation and look as where it was seen.

    Args:
        detail: [S, S, 3] what a low-pass leaves of the photo, as a share of its light.
        plain: [S, S] bare skin that the photo shows.
        wanted: [S, S] where grain is wanted.
        settings: the defaults if None.

    Returns:
        [S, S, 3] with zero mean; zero everywhere if too little plain skin was seen.
    """
    settings = settings or GrainSettings()
    size = len(plain)
    side = max(4, 2 * round(settings.patch * size / 2))
    grain = np.zeros_like(detail)
    corners = _corners(detail, plain, side, settings.calm)
    if len(corners) < settings.least * np.count_nonzero(plain | wanted) or not wanted.any():
        return grain
    random = np.random.default_rng(0)
    ramp = np.hanning(side + 1)[:side].astype(np.float32)
    window = np.outer(ramp, ramp)
    power = np.zeros(plain.shape, np.float32)
    reach = ndimage.maximum_filter(wanted, side)
    for y in range(0, size - side + 1, side // 2):
        for x in range(0, size - side + 1, side // 2):
            if not reach[y + side // 2, x + side // 2]:
                continue
            top, left = corners[random.integers(len(corners))]
            patch = detail[top : top + side, left : left + side]
            patch = patch[:, ::-1] if random.random() < 0.5 else patch
            grain[y : y + side, x : x + side] += window[..., None] * (patch - patch.mean((0, 1)))
            power[y : y + side, x : x + side] += window**2
    return np.where(wanted[..., None], grain / np.sqrt(np.maximum(power, 0.1))[..., None], 0).astype(np.float32)


def _corners(detail: FloatArray, plain: BoolArray, side: int, calm: float) -> np.ndarray:
    """[N, 2] (row, column) of patches that are plain skin throughout and hold nothing that stands out."""
    strength = ndimage.gaussian_filter(np.abs(detail).mean(-1), side / 12)
    if not plain.any():
        return np.zeros((0, 2), int)
    good = plain & (strength < calm * np.median(strength[plain]))
    whole = ndimage.minimum_filter(good, side, origin=-(side // 2), mode="constant", cval=0)
    return np.argwhere(whole)
