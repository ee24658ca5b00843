"""Eyeballs for a model whose eyes are holes."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import DoubleArray, FloatArray, IntArray

LIDS = {"eye_left": (33, 133, 159, 145), "eye_right": (263, 362, 386, 374)}
"""FaceMesh ids of each eye: outer corner, inner corner, middle of the upper and of the lower lid."""
RADIUS = 0.427
"""Of the eyeball in widths of the eye; this and the next measured on the head and eyeballs of FFHQ-UV's demo."""
OFFSET = (0.012, 0.069, -0.304)
"""Middle of the eyeball from the lids' in widths of the eye: towards the nose, up, forward."""
_SIDES, _BANDS = 32, 24


def with_eyeballs(model: MorphableModel, correspondence: Correspondence) -> MorphableModel:
    """The model with the parts ``eye_left`` and ``eye_right``: spheres that look along +z and move with their lids.

    Args:
        model: whose eyes are holes.
        correspondence: FaceMesh's landmarks on it.

    Returns:
        The model with more vertices, after its own; if it has texture coordinates, with tiles of their own for the
        new parts (front pole in the middle, the angle from it outwards); no colours.
    """
    ball = sphere()
    means, identities, expressions = [model.mean], [model.identity], [model.expression]
    all_triangles, all_uv, all_triangles_uv = [model.triangles], [model.uv], [model.triangles_uv]
    parts = dict(model.parts)
    lids_of = correspondence.points(model.mean)
    bases = [correspondence.points(basis).astype(np.float32) for basis in (model.identity, model.expression)]
    for name, ids in LIDS.items():
        lids = lids_of[list(ids)]
        width = float(np.linalg.norm(lids[0] - lids[1]))
        side = 1.0 if lids[0, 0] < lids[1, 0] else -1.0
        middle = lids.mean(0) + width * np.array(OFFSET) * (side, 1, 1)
        first, first_uv = sum(map(len, means)), sum(map(len, all_uv))
        parts[name] = (sum(map(len, all_triangles)) + np.arange(len(ball.triangles))).astype(np.int32)
        means.append((middle + RADIUS * width * ball.points).astype(np.float32))
        for found, basis in zip((identities, expressions), bases, strict=True):
            found.append(np.repeat(basis[list(ids)].mean(0)[None], len(ball.points), axis=0))
        all_triangles.append(ball.triangles + np.int32(first))
        if len(model.uv):
            column = np.floor(max(float(uv[:, 0].max()) for uv in all_uv) - 1e-6) + 1
            all_uv.append(ball.uv + np.array([column, 0], np.float32))
            all_triangles_uv.append(ball.triangles_uv + np.int32(first_uv))
    return replace(
        model,
        mean=np.concatenate(means),
        identity=np.concatenate(identities),
        expression=np.concatenate(expressions),
        triangles=np.concatenate(all_triangles),
        uv=np.concatenate(all_uv),
        triangles_uv=np.concatenate(all_triangles_uv),
        albedo_mean=None,
        albedo=None,
        parts=parts,
        hollow_eyes=False,
    )


@dataclass(frozen=True)
class Sphere:
    """The unit sphere as a mesh of V vertices and F triangles."""

    points: DoubleArray
    """[V, 3]: front pole (+z), rings from front to back, back pole."""
    triangles: IntArray
    """[F, 3], counter-clockwise seen from outside."""
    uv: FloatArray
    """[T, 2] within [0, 1]: the front pole in the middle, the angle from it outwards; the back pole is a circle."""
    triangles_uv: IntArray
    """[F, 3] into ``uv``."""


def sphere() -> Sphere:
    """Make it."""
    angle = np.pi * np.arange(1, _BANDS) / _BANDS
    turn = 2 * np.pi * np.arange(_SIDES) / _SIDES
    flat = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    ring = np.sin(angle)[:, None, None] * flat
    depth = np.broadcast_to(np.cos(angle)[:, None, None], (*ring.shape[:2], 1))
    points = np.concatenate([[[0, 0, 1]], np.concatenate([ring, depth], axis=2).reshape(-1, 3), [[0, 0, -1]]])
    between = turn + np.pi / _SIDES
    circle = np.stack([np.cos(between), np.sin(between)], axis=1)
    spread = np.concatenate([[[0, 0]], (angle[:, None, None] / np.pi * flat).reshape(-1, 2), circle])
    loops = [1 + _SIDES * k + np.arange(_SIDES) for k in range(_BANDS - 1)]
    last = len(points) - 1
    triangles = [(0, a, b) for a, b in _around(loops[0])]
    for near, far in pairwise(loops):
        for (a, b), (c, d) in zip(_around(near), _around(far), strict=True):
            triangles += [(a, c, d), (a, d, b)]
    back = [(last, b, a) for a, b in _around(loops[-1])]
    back_uv = [(last + k, b, a) for k, (a, b) in enumerate(_around(loops[-1]))]
    return Sphere(
        points,
        np.array(triangles + back, np.int32),
        (0.5 + 0.49 * spread).astype(np.float32),
        np.array(triangles + back_uv, np.int32),
    )


def _around(loop: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True))
