"""The closest point of triangles in plain NumPy, which the compiled one is held against."""

import numpy as np

from ostec.core.types import DoubleArray, IntArray
from ostec.render.surface import unit_normals


def closest_among_plain(
    corners: DoubleArray,
    near: IntArray,
    points: DoubleArray,
    normals: DoubleArray | None = None,
    least_cosine: float = 0.0,
) -> tuple[IntArray, DoubleArray, DoubleArray]:
    """What :func:`ostec.render.surface.closest_among` does, in NumPy."""
    weights = barycentric_of_closest(corners[near], points[:, None])  # [Q, C, 3]
    distance = np.linalg.norm((weights[..., None] * corners[near]).sum(-2) - points[:, None], axis=-1)
    cost = distance
    if normals is not None:
        away = (unit_normals(corners)[near] * normals[:, None]).sum(-1) < least_cosine
        cost = distance + away * (distance.max() + 1)
    best, rows = cost.argmin(1), np.arange(len(points))
    return near[rows, best].astype(np.int32), weights[rows, best], distance[rows, best]


def barycentric_of_closest(corners: DoubleArray, points: DoubleArray) -> DoubleArray:
    """Weights [..., 3] of the point of each triangle ``corners`` [..., 3, 3] that is closest to ``points`` [..., 3].

    Ericson, Real-Time Collision Detection (2005), 5.1.5: in the plane, else the nearest point of the nearest edge.
    """
    a, b, c = (corners[..., k, :] for k in range(3))
    ab, ac, ap = b - a, c - a, points - a
    d00, d01, d11 = (ab * ab).sum(-1), (ab * ac).sum(-1), (ac * ac).sum(-1)
    d20, d21 = (ap * ab).sum(-1), (ap * ac).sum(-1)
    area = np.maximum(d00 * d11 - d01**2, 1e-18)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    inside = np.stack([1 - v - w, v, w], axis=-1)
    edges = [_on_edge(corners, points, i, j) for i, j in ((0, 1), (1, 2), (2, 0))]
    squared = np.stack([edge[1] for edge in edges], axis=-1)
    nearest = squared.argmin(-1)[..., None, None]
    on_edge = np.take_along_axis(np.stack([edge[0] for edge in edges], axis=-2), nearest, axis=-2)[..., 0, :]
    return np.where((inside >= 0).all(-1, keepdims=True), inside, on_edge)


def _on_edge(corners: DoubleArray, points: DoubleArray, i: int, j: int) -> tuple[DoubleArray, DoubleArray]:
    """Weights [..., 3] of the closest point on the edge from corner i to j, and its squared distance [...]."""
    start, along = corners[..., i, :], corners[..., j, :] - corners[..., i, :]
    t = ((points - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-18)
    t = np.clip(t, 0, 1)
    weights = np.zeros((*t.shape, 3))
    weights[..., i], weights[..., j] = 1 - t, t
    return weights, ((start + t[..., None] * along - points) ** 2).sum(-1)
