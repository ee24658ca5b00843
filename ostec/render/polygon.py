"""Which points lie in a polygon."""

import numpy as np

from ostec.core.types import Array, BoolArray


def in_polygon(x: Array, y: Array, polygon: Array) -> BoolArray:
    """Whether points lie in a polygon: a ray from each to the right crosses an odd number of edges (even-odd rule).

    Args:
        x: coordinates of the points, any shape.
        y: the same shape.
        polygon: [K, 2] corners in order; the last is joined to the first.

    Returns:
        The shape of ``x``. Of two polygons that share an edge, a point on it lies in one alone.

    Raises:
        ValueError: the shapes differ, or the polygon is no [K, 2].
    """
    if x.shape != y.shape:
        raise ValueError(f"expected x and y of one shape, got {x.shape} and {y.shape}")
    if polygon.ndim != 2 or polygon.shape[1] != 2:
        raise ValueError(f"expected a polygon [K, 2], got {polygon.shape}")
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
