"""The closest of a few triangles to each of many points, compiled by numba; ``tests`` hold it against plain NumPy."""

import numpy as np

from ostec.core.types import DoubleArray, IntArray
from ostec.render.zbuffer import compiled


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
