"""Pictures that an evaluation leaves for the eye: differences, and sheets of many pictures."""

from collections.abc import Sequence

import numpy as np

from ostec.core.types import BoolArray, FloatArray
from ostec.io.images import resize_image

GROUND = 0.5
"""Grey where nothing is compared, and where two pictures are equal."""
GAP_PX = 4
WIDEST_PX = 6000
"""A sheet's cells shrink before it grows wider than this."""
LEAST_CELL_PX = 96


def difference(made: FloatArray, truth: FloatArray, mask: BoolArray) -> FloatArray:
    """Grey plus ``made`` less ``truth``, [H, W, 3] in [0, 1]; plain grey outside ``mask`` [H, W]."""
    found: FloatArray = np.where(mask[..., None], np.clip(GROUND + made - truth, 0, 1), GROUND).astype(np.float32)
    return found


def fit_cell(picture: FloatArray, side: int) -> FloatArray:
    """A picture [H, W, 3] as large as it fits into a white square of ``side`` pixels."""
    height, width = picture.shape[:2]
    zoom = side / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    small = resize_image(picture, *size, "area" if zoom < 1 else "bilinear")
    cell = np.ones((side, side, 3), np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = small
    return cell


def sheet(rows: Sequence[Sequence[FloatArray]], side: int) -> FloatArray:
    """Pictures [H, W, 3] in rows, each in a square of at most ``side`` pixels, on white.

    Raises:
        ValueError: there is no picture.
    """
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("expected pictures, got none")
    side = max(min(side, WIDEST_PX // columns - GAP_PX), LEAST_CELL_PX)
    step = side + GAP_PX
    canvas = np.ones((len(rows) * step - GAP_PX, columns * step - GAP_PX, 3), np.float32)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            canvas[i * step : i * step + side, j * step : j * step + side] = fit_cell(picture, side)
    return canvas
