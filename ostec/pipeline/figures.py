"""What a photo is like, measured on the texels that it shows of a face."""

import numpy as np

from ostec.core.types import BoolArray, FloatArray

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of Rec. 709, on the values as they are


def photo_figures(texture: FloatArray, seen: BoolArray) -> dict[str, float]:
    """Brightness, contrast and sharpness of what a photo shows of a face; nothing where that is nothing.

    Args:
        texture: [S, S, 3] in [0, 1], the photo in the layout.
        seen: [S, S], the texels that it shows.

    Returns:
        ``brightness`` and ``contrast``, mean and deviation of the luma; ``sharpness``, the mean length of its gradient
        per texel (between texels of the photo only) over the deviation.
    """
    if not seen.any():
        return {}
    luma = texture @ _LUMA
    mean, deviation = float(luma[seen].mean()), float(luma[seen].std())
    inner = seen[:-1, :-1] & seen[1:, :-1] & seen[:-1, 1:]
    across, down = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    figures = {"brightness": round(mean, 4), "contrast": round(deviation, 4)}
    if inner.any() and deviation > 0:
        figures["sharpness"] = round(float(np.hypot(across, down)[inner].mean()) / deviation, 5)
    return figures
