"""Eyes of a head: eyeballs for a model whose eyes are holes, and what the face's texture shows of the eyes on them.

The texture lies on the face mesh's surface between the lids. An eyeball takes over what lies straight before each of
its points; elsewhere, as where lids hide it, it is painted, turned to where the irises look.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from scipy.interpolate import LinearNDInterpolator
from scipy.ndimage import distance_transform_edt

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import BoolArray, DoubleArray, FloatArray, IntArray, Topology
from ostec.heads.texture import SCLERA, Chart, eye_texture, eyeball, sample
from ostec.render.geometry import in_polygon, smoothstep

RIM_MM = (0.0, 0.6)
"""Distance from the lids from which the texture begins to count, and from which it counts fully."""
CLEAR_MM = 2.0
"""The iris is looked for this far from the lids."""
IRIS_SHARE = 0.7
"""Share of what is seen of an eye, from the darkest on, that may be its iris; the darker, the more it counts."""
WIDEST_DEG = 30.0
"""An eye looks at most so far from straight ahead; beyond, something else than the iris was dark."""
WHITE_SHARE = 0.8
"""Share of what is seen of an eye that is darker than its white."""
DARKEST = 0.3
"""The white is painted at least so bright, as a share of the usual."""
LEAST_COSINE = 0.2
_SIDE = 512
"""Texels of the layout in which the opening between the lids is measured."""


@dataclass(frozen=True)
class EyeOpening:
    """What a face's mesh and texture have between the lids of one eye; S texels."""

    depth_mm: FloatArray
    """[S, S]: distance from the lids, 0 outside."""
    point: FloatArray
    """[S, S, 3]: of the face mesh."""

    def behind(self, places: DoubleArray) -> FloatArray:
        """[Q, 3]: what lies before the points ``places`` [Q, 2] (x, y): u, v and depth; zero beside the opening."""
        inside = self.depth_mm > 0
        rows, columns = np.nonzero(inside)
        if len(rows) < 4:
            return np.zeros((len(places), 3), np.float32)
        values = np.stack([(columns + 0.5) / _SIDE, 1 - (rows + 0.5) / _SIDE, self.depth_mm[inside]], axis=1)
        found = LinearNDInterpolator(self.point[inside][:, :2].astype(np.float64), values, fill_value=0.0)(places)
        return found.astype(np.float32)

    @property
    def clear(self) -> BoolArray:
        """[S, S]: away from the lids."""
        return self.depth_mm > CLEAR_MM


def eye_opening(vertices: FloatArray, topology: Topology, name: str) -> EyeOpening:
    """The opening ``name`` (``eye_left``, ``eye_right``) of a face mesh [V, 3] in millimetres."""
    at = (np.arange(_SIDE) + 0.5) / _SIDE
    u, v = np.meshgrid(at, 1 - at)
    inside = in_polygon(u, v, topology.regions[name])
    point = Chart(topology.uv, topology.triangles, _SIDE).attribute(vertices)
    down = np.linalg.norm(np.diff(point, axis=0), axis=-1)[inside[1:] & inside[:-1]]
    across = np.linalg.norm(np.diff(point, axis=1), axis=-1)[inside[:, 1:] & inside[:, :-1]]
    if not (down.size and across.size):
        return EyeOpening(np.zeros((_SIDE, _SIDE), np.float32), point)
    texel = float(np.median(down)), float(np.median(across))
    return EyeOpening(distance_transform_edt(inside, sampling=texel).astype(np.float32), point)


def gaze(opening: EyeOpening, texture: FloatArray, middle: DoubleArray, radius: float) -> DoubleArray | None:
    """[3] unit: where an eyeball looks, by the middle of what is dark; None where too little of it is seen."""
    clear = opening.clear
    if not clear.any():
        return None
    rows, columns = np.nonzero(clear)
    uv = np.stack([(columns + 0.5) / _SIDE, 1 - (rows + 0.5) / _SIDE], axis=1).astype(np.float32)
    grey = sample(texture, uv).mean(-1)
    dark = np.maximum(np.quantile(grey, IRIS_SHARE) - grey, 0)
    if not dark.any():
        return None
    x, y, _ = (np.average(opening.point[rows, columns], axis=0, weights=dark) - middle) / radius
    aside = float(np.hypot(x, y))
    if aside > np.sin(np.radians(WIDEST_DEG)):
        return None
    return np.array([x, y, np.sqrt(1 - aside**2)])


def common_gaze(found: list[DoubleArray | None]) -> DoubleArray:
    """[3] unit: the mean of both eyes' directions; straight ahead where there is none."""
    known = [direction for direction in found if direction is not None]
    total = np.sum(known, axis=0) if known else np.array([0.0, 0.0, 1.0])
    return np.asarray(total / np.linalg.norm(total))


def brightness(opening: EyeOpening, texture: FloatArray) -> np.float32:
    """How bright the white of an eye is beside the painted one, in [``DARKEST``, 1]: lids shade it."""
    rows, columns = np.nonzero(opening.depth_mm > 0)
    if not len(rows):
        return np.float32(1)
    uv = np.stack([(columns + 0.5) / _SIDE, 1 - (rows + 0.5) / _SIDE], axis=1).astype(np.float32)
    white = np.quantile(sample(texture, uv).mean(-1), WHITE_SHARE)
    return np.float32(np.clip(white / np.mean(SCLERA), DARKEST, 1))


def seen_eye(
    chart: Chart, vertices: FloatArray, iris: FloatArray, towards: DoubleArray, texture: FloatArray, opening: EyeOpening
) -> FloatArray:
    """An eyeball's texture [S, S, 3]: the face's between the lids, painted elsewhere.

    Args:
        chart: of the eyeball.
        vertices: [V, 3] of the eyeball, canonical millimetres.
        iris: [3] colour.
        towards: [3] unit, where it looks.
        texture: [T, T, 3] the face's.
        opening: between the lids.
    """
    middle, radius = eyeball(vertices)
    turned = (vertices - middle) @ _onto_z(towards).T + middle
    painted = eye_texture(chart, turned.astype(np.float32), iris) * brightness(opening, texture)
    outwards = (chart.attribute(vertices) - middle) / radius
    front = chart.inside & (outwards[..., 2] > LEAST_COSINE)
    found = opening.behind((outwards[front] * radius + middle)[:, :2])
    weight = smoothstep(found[:, 2], *RIM_MM)[:, None]
    made = painted.copy()
    made[front] += (sample(texture, found[:, :2]) - painted[front]) * weight
    return chart.padded(made)


def _onto_z(direction: DoubleArray) -> DoubleArray:
    """[3, 3]: the shortest rotation of a unit ``direction`` [3] onto +z."""
    axis = np.cross(direction, [0.0, 0.0, 1.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + direction[2]))


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
        joints=None,
        polygons=None,
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
