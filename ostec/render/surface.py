"""On triangle meshes: the closest point to each of many points, the border, and the Laplacian.

What chooses among a few triangles is compiled by numba; ``tests`` hold it against plain NumPy.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from ostec.core.types import Array, DoubleArray, FloatArray, IntArray
from ostec.render.zbuffer import compiled

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


def closest_among(
    corners: DoubleArray,
    near: IntArray,
    points: DoubleArray,
    normals: DoubleArray | None = None,
    least_cosine: float = 0.0,
) -> tuple[IntArray, DoubleArray, DoubleArray]:
    """Choose for each point the closest of its candidates.

    Args:
        corners: [F, 3, 3] of the triangles.
        near: [Q, C] ids of the candidates of each point.
        points: [Q, 3].
        normals: [Q, 3] unit; if given, candidates that face another way are taken only where there is no other.
        least_cosine: between normal and candidate.

    Returns:
        The triangle [Q], the barycentric weights [Q, 3] of its closest point, and the distance [Q] from there.
    """
    triangle, found = np.zeros(len(points), np.int32), np.zeros((len(points), 4))
    given = np.empty((0, 3)) if normals is None else np.ascontiguousarray(normals)
    asked = (np.ascontiguousarray(near, np.int32), np.ascontiguousarray(points), given, float(least_cosine))
    _choose(np.ascontiguousarray(corners), unit_normals(corners), *asked, triangle, found)
    return triangle, found[:, :3], found[:, 3]


def unit_normals(corners: DoubleArray) -> DoubleArray:
    """[F, 3] of triangles [F, 3, 3]."""
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return np.asarray(face / np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-12))


@compiled
def _choose(corners, faces, near, points, normals, least_cosine, chosen, found):  # type: ignore[no-untyped-def]
    """Write the triangle of each point to ``chosen`` [Q], its weights and its distance to ``found`` [Q, 4]."""
    weights = np.empty(3)
    for q in range(near.shape[0]):
        least, least_away = np.inf, True
        for c in range(near.shape[1]):
            away = False
            if len(normals) > 0:
                face, normal = faces[near[q, c]], normals[q]
                away = face[0] * normal[0] + face[1] * normal[1] + face[2] * normal[2] < least_cosine
            if away and not least_away:
                continue
            triangle = corners[near[q, c]]
            _weigh(triangle, points[q], weights)
            square = 0.0
            for axis in range(3):
                at = weights[0] * triangle[0, axis] + weights[1] * triangle[1, axis] + weights[2] * triangle[2, axis]
                square += (at - points[q, axis]) ** 2
            reach = np.sqrt(square)
            if reach < least or (least_away and not away):
                least, least_away = reach, away
                chosen[q], found[q, :3], found[q, 3] = near[q, c], weights, reach


@compiled
def _weigh(triangle, point, weights):  # type: ignore[no-untyped-def]
    """Weights of the closest point.

    Ericson, Real-Time Collision Detection (2005), 5.1.5: in the plane, else the nearest point of the nearest edge.
    """
    d00 = d01 = d11 = d20 = d21 = 0.0
    for axis in range(3):
        ab = triangle[1, axis] - triangle[0, axis]
        ac = triangle[2, axis] - triangle[0, axis]
        ap = point[axis] - triangle[0, axis]
        d00 += ab * ab
        d01 += ab * ac
        d11 += ac * ac
        d20 += ap * ab
        d21 += ap * ac
    area = max(d00 * d11 - d01 * d01, 1e-18)
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    if v >= 0 and w >= 0 and 1 - v - w >= 0:
        weights[0], weights[1], weights[2] = 1 - v - w, v, w
        return
    least = np.inf
    for i in range(3):
        j = (i + 1) % 3
        along = length = 0.0
        for axis in range(3):
            step = triangle[j, axis] - triangle[i, axis]
            along += (point[axis] - triangle[i, axis]) * step
            length += step * step
        t = min(max(along / max(length, 1e-18), 0.0), 1.0)
        square = 0.0
        for axis in range(3):
            step = triangle[j, axis] - triangle[i, axis]
            square += (triangle[i, axis] + t * step - point[axis]) ** 2
        if square < least:
            least = square
            weights[0] = weights[1] = weights[2] = 0.0
            weights[i], weights[j] = 1 - t, t
