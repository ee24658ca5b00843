"""On triangle meshes: the closest point to each of many points, the border, and the Laplacian."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from ostec.core.types import Array, DoubleArray, FloatArray, IntArray
from ostec.render.closest import closest_among

CANDIDATES = 24
"""Triangles that are tried for each point: those whose middles are nearest."""


@dataclass(frozen=True)
class SurfacePoints:
    """Q points on a mesh."""

    triangles: IntArray
    """[Q] the triangle of each."""
    vertices: IntArray
    """[Q, 3] its vertices."""
    weights: FloatArray
    """[Q, 3] barycentric, rows sum to one."""
    distance: FloatArray
    """[Q] between the asked and the found point."""


def closest_points(
    vertices: Array, triangles: IntArray, points: Array, normals: Array | None = None, least_cosine: float = 0.0
) -> SurfacePoints:
    """The closest point of a mesh to each of ``points``.

    Exact wherever the closest triangle is among the :data:`CANDIDATES` whose middles are nearest, as on meshes of
    evenly sized triangles.

    Args:
        vertices: [V, 3].
        triangles: [F, 3].
        points: [Q, 3].
        normals: [Q, 3] unit; if given, triangles that face another way are taken only where nothing else is near.
        least_cosine: between normal and triangle.
    """
    corners = np.asarray(vertices, np.float64)[triangles]
    wanted = np.asarray(points, np.float64)
    count = min(CANDIDATES, len(triangles))
    near = cKDTree(corners.mean(1)).query(wanted, count)[1].reshape(len(wanted), count)
    facing = None if normals is None else np.asarray(normals, np.float64)
    chosen, weights, distance = closest_among(corners, near, wanted, facing, least_cosine)
    return SurfacePoints(
        chosen, np.asarray(triangles[chosen], np.int32), weights.astype(np.float32), distance.astype(np.float32)
    )


def border_edges(triangles: IntArray) -> IntArray:
    """[E, 2]: the edges of a mesh that belong to one triangle alone, each with its lower vertex first, in order."""
    edges = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, uses = np.unique(edges, axis=0, return_counts=True)
    return edges[uses == 1]


def cotangent_laplacian(points: DoubleArray, triangles: IntArray) -> tuple[sparse.csr_matrix, DoubleArray]:
    """Stiffness [V, V] (positive semidefinite) and area [V] of every vertex.

    Pinkall and Polthier, Computing discrete minimal surfaces and their conjugates (1993); cotangents of slivers are
    limited to 20.
    """
    count = len(points)
    corners = points[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    double_area = np.maximum(np.linalg.norm(normal, axis=1), 1e-9)
    total = sparse.csr_matrix((count, count))
    for k in range(3):
        i, j = triangles[:, (k + 1) % 3], triangles[:, (k + 2) % 3]
        one = points[i] - points[triangles[:, k]]
        other = points[j] - points[triangles[:, k]]
        half = np.clip((one * other).sum(1) / double_area, -0.5, 20) / 2
        total = total + sparse.csr_matrix((half, (i, j)), shape=(count, count))
    total = total + total.T
    stiffness = sparse.diags(np.asarray(total.sum(1)).ravel()) - total
    area = np.bincount(triangles.ravel(), np.repeat(double_area / 6, 3), count)
    return stiffness.tocsr(), np.maximum(area, 1e-6)
