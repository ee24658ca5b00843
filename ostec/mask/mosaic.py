"""Mosaics: parts of a photo made of squares of one colour each, of any size and place.

In a mosaic the picture changes along a few straight rows and columns of pixels, and nowhere between them. A window in
which that holds both ways is a mosaic, or flat; eyes, skin and hair change everywhere. Squares too small to hide
anything are pixels of an enlarged photo.
"""

import numpy as np
from scipy import ndimage

from ostec.core.types import Array, BoolArray, FloatArray
from ostec.mask.settings import MosaicSettings
from ostec.render.crops import five_points


def find_mosaic(image: FloatArray, landmarks: Array, settings: MosaicSettings | None = None) -> BoolArray:
    """Where [H, W] the face is made of squares, if eyes, nose or mouth are.

    Args:
        image: [H, W, 3] in [0, 1].
        landmarks: [468, >= 2] of the face in photo pixels.
        settings: the defaults if None.
    """
    settings = settings or MosaicSettings()
    found = np.zeros(image.shape[:2], bool)
    features = five_points(landmarks)[:, :2]
    apart = float(np.linalg.norm(features[1] - features[0]))
    window, cell = max(5, round(settings.window * apart) | 1), max(3, round(settings.cell * apart))
    low = np.maximum(np.floor(landmarks[:, :2].min(axis=0)).astype(int) - window, 0)
    high = np.maximum(np.ceil(landmarks[:, :2].max(axis=0)).astype(int) + window, 0)
    part = image[low[1] : high[1], low[0] : high[0]]
    if min(part.shape[:2]) <= window:
        return found
    alike = np.minimum(_quiet(part, window, cell, settings), _quiet(part.swapaxes(0, 1), window, cell, settings).T)
    label, _ = ndimage.label(alike > settings.share)
    columns, rows = np.clip(np.floor(features - low), 0, np.array(label.shape[::-1]) - 1).astype(int).T
    hidden = np.setdiff1d(label[rows, columns], [0])
    # A window at a mosaic's edge holds too much else: what was found are the middles of windows.
    whole = ndimage.maximum_filter(np.isin(label, hidden).astype(np.uint8), 3 * window // 4 | 1) > 0
    found[low[1] : high[1], low[0] : high[0]] = whole
    return found


def _quiet(image: FloatArray, window: int, cell: int, settings: MosaicSettings) -> FloatArray:
    """Share [H, W] of the columns of the window about each pixel across which the picture does not change."""
    change = np.abs(np.diff(image, axis=1, append=image[:, -1:])).mean(axis=-1)
    line = ndimage.uniform_filter1d(change, window, axis=0)
    level = ndimage.uniform_filter1d(line, window, axis=1)
    still = line < np.maximum(settings.still * level, settings.noise)
    runs = ndimage.binary_opening(still, np.ones((1, cell)))
    return np.asarray(ndimage.uniform_filter1d(runs.astype(np.float32), window, axis=1))
