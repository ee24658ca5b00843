"""A morphable head small enough to reason about: the toy face, a back of the head sewn to its rim, and two eyeballs.

Laid out as ICT-FaceKit is: unit 10 mm, face and head in texture tiles of their own, eyeballs apart. The first 468
vertices are the toy face's, so that the correspondence is one to one.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import FloatArray, IntArray, Topology
from tests.toy import toy_topology

MM_PER_UNIT = 10.0
RINGS = 6
EYE_RADIUS = 12.0
EYES = {"eye_left": (-32.0, 8.0, 48.0), "eye_right": (32.0, 8.0, 48.0)}
SIDES, BANDS = 16, 12


def rim_of(triangles: IntArray) -> IntArray:
    """[B]: the vertices of the border in order, the mesh on the left."""
    directed = {(int(a), int(b)) for t in triangles for a, b in zip(t, np.roll(t, -1), strict=True)}
    follow = dict(edge for edge in directed if edge[::-1] not in directed)
    loop = [min(follow)]
    while follow[loop[-1]] != loop[0]:
        loop.append(follow[loop[-1]])
    return np.array(loop, np.int32)


def _band(one: IntArray, other: IntArray) -> list[tuple[int, int, int]]:
    """Triangles between two closed loops, ``other`` outside the face that is left of ``one``."""
    following = zip(one, np.roll(one, -1), other, np.roll(other, -1), strict=True)
    return [t for a, b, c, d in following for t in ((b, a, c), (b, c, d))]


def _sphere(middle: tuple[float, float, float], first: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """Vertices, triangles and radial UV of an eyeball that looks along +z."""
    angle = np.pi * np.arange(1, BANDS) / BANDS
    turn = 2 * np.pi * np.arange(SIDES) / SIDES
    ring = np.stack(
        [
            np.outer(np.sin(angle), np.cos(turn)),
            np.outer(np.sin(angle), np.sin(turn)),
            np.outer(np.cos(angle), turn**0),
        ],
        axis=-1,
    ).reshape(-1, 3)
    points = np.concatenate([[[0, 0, 1]], ring, [[0, 0, -1]]])
    away = np.arccos(np.clip(points[:, 2], -1, 1)) / np.pi
    flat = points[:, :2] / np.maximum(np.linalg.norm(points[:, :2], axis=1, keepdims=True), 1e-9)
    loops = [first + 1 + SIDES * k + np.arange(SIDES) for k in range(BANDS - 1)]
    triangles = [(first, a, b) for a, b in zip(loops[0], np.roll(loops[0], -1), strict=True)]
    for inner, outer in pairwise(loops):
        triangles += _band(inner, outer)
    last = first + len(points) - 1
    triangles += [(last, b, a) for a, b in zip(loops[-1], np.roll(loops[-1], -1), strict=True)]
    uv = 0.5 + 0.48 * away[:, None] * flat
    return points * EYE_RADIUS + middle, np.array(triangles, np.int32), uv.astype(np.float32)


def toy_head_model(topology: Topology | None = None) -> MorphableModel:
    """The head: 468 vertices of the face, six rings behind it, two eyeballs; five identities and two expressions."""
    topology = topology or toy_topology()
    face = topology.mean_landmarks.astype(np.float64)
    rim = rim_of(topology.triangles)
    vertices, loops = [face], [rim]
    middle = face[rim].mean(0)
    for k in range(1, RINGS + 1):
        loops.append(len(face) + (k - 1) * len(rim) + np.arange(len(rim)))
        share = np.cos(k / (RINGS + 1) * np.pi / 2)
        back = np.array([0, 0, -90 * np.sin(k / (RINGS + 1) * np.pi / 2)])
        vertices.append((face[rim] - middle) * share + middle + back)
    behind = np.array([t for a, b in pairwise(loops) for t in _band(a, b)], np.int32)
    turn = 2 * np.pi * np.arange(len(rim)) / len(rim)
    tile = np.concatenate(
        [[1.5, 0.5] + (0.48 - 0.06 * k) * np.stack([np.cos(turn), np.sin(turn)], axis=1) for k in range(RINGS + 1)]
    )
    uv = [topology.uv.astype(np.float64), tile]
    number = np.full(len(face) + RINGS * len(rim), -1)
    number[np.concatenate(loops)] = len(face) + np.arange(len(tile))
    triangles, triangles_uv = [topology.triangles, behind], [topology.triangles, number[behind]]
    parts = {"face": np.arange(len(topology.triangles)), "head": len(topology.triangles) + np.arange(len(behind))}
    for name, place in EYES.items():
        first, first_uv = sum(map(len, vertices)), sum(map(len, uv))
        points, ball, flat = _sphere(place, first)
        parts[name] = sum(map(len, triangles)) + np.arange(len(ball))
        vertices.append(points), uv.append(flat)
        triangles.append(ball), triangles_uv.append(ball - first + first_uv)
    mean = np.concatenate(vertices)
    return MorphableModel(
        name="ict",
        licence="MIT",
        mm_per_unit=MM_PER_UNIT,
        mean=(mean / MM_PER_UNIT).astype(np.float32),
        identity=np.stack(_identities(mean), axis=-1).astype(np.float32),
        expression=np.stack(_expressions(mean), axis=-1).astype(np.float32),
        expression_range=(0.0, 1.0),
        expression_names=("chin", "brows"),
        triangles=np.concatenate(triangles).astype(np.int32),
        uv=np.concatenate(uv).astype(np.float32),
        triangles_uv=np.concatenate(triangles_uv).astype(np.int32),
        albedo_mean=None,
        albedo=None,
        landmarks={},
        parts={name: ids.astype(np.int32) for name, ids in parts.items()},
        sha256="ab" * 32,
        notes=("A toy.",),
    )


def _identities(mean: np.ndarray) -> list[np.ndarray]:
    """Wide, tall, deep, long-nosed and slanted heads, in units of the model, about 5 mm each."""
    x, y, z = (mean / [75, 95, 70]).T
    nose = np.exp(-(x**2 + (y + 0.5) ** 2) / 0.1) * (z > 0)
    zero = 0 * x
    offsets = [(x, zero, zero), (zero, y, zero), (zero, zero, z), (zero, zero, 1.5 * nose), (0.6 * x * y, zero, zero)]
    return [0.5 * np.stack(one, axis=1) for one in offsets]


def _expressions(mean: np.ndarray) -> list[np.ndarray]:
    """The chin 12 mm down, the brows 8 mm up."""
    y = mean[:, 1] / 95
    zero = 0 * y
    front = mean[:, 2] > 0
    chin, brows = np.clip(-y - 0.4, 0, 1) * 2 * front, np.exp(-((y - 0.3) ** 2) / 0.02) * front
    return [np.stack([zero, -1.2 * chin, zero], axis=1), np.stack([zero, 0.8 * brows, zero], axis=1)]


JAW_MM, JAW_DEG = (0.0, -10.0, -20.0), 20.0


def toy_arkit_model(topology: Topology | None = None) -> MorphableModel:
    """The toy head with blend shapes: both brows, pupils that nobody asks for, and a chin that turns like a jaw."""
    model = toy_head_model(topology)
    points, brows = model.mean * MM_PER_UNIT - JAW_MM, model.expression[:, :, 1]
    cosine, sine = np.cos(np.radians(JAW_DEG)), np.sin(np.radians(JAW_DEG))
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    chin = (model.mean[:, 1] * MM_PER_UNIT < -30) & (model.mean[:, 2] > 0)
    jaw = chin[:, None] * (points @ turn.T - points) / MM_PER_UNIT
    left = np.clip(model.mean[:, :1] + 0.5, 0, 1)  # the head's, our right
    expressions = [brows * (1 - left), jaw, brows * left, 0.01 * brows]
    return replace(
        model,
        expression=np.stack(expressions, axis=2).astype(np.float32),
        expression_names=("browInnerUp_R", "jawOpen", "browInnerUp_L", "PupilDilate_L"),
    )


def toy_correspondence(model: MorphableModel) -> Correspondence:
    """Landmark k is vertex k."""
    ids = np.repeat(np.arange(468, dtype=np.int32)[:, None], 3, axis=1)
    weights = np.tile(np.float32([1, 0, 0]), (468, 1))
    return Correspondence("ict", len(model.mean), ids, weights, np.ones(468, np.float32), "cd" * 32)
