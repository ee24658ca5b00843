"""Make ``topology/ict_facemesh.npz``: where FaceMesh's 468 landmarks lie on ICT-FaceKit's head.

The head is deformed by its own identities and expressions (:mod:`ostec.fit.morphable`), then by a smooth field, until
it lies on FaceMesh's mean face; each landmark is then the closest point on it. First only the 68 landmarks that both
projects name are held on to, then all that were found. Left and right are made equal at the end.

The files of ICT-FaceKit are looked for where ``ostec`` looks for them.

Usage: OSTEC_MODELS=FOLDER python tools/make_correspondence.py --out topology/ict_facemesh.npz [--picture look.png]
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import Array, BoolArray, FloatArray, IntArray, Topology
from ostec.fit.morphable import HeadFitter, MorphableFitSettings
from ostec.io.images import write_png
from ostec.io.morphable import read_morphable
from ostec.io.topology import read_topology
from ostec.render.surface import closest_points

# FaceMesh ids of the 68 points of Multi-PIE, in its order: jaw from the image's left, brows, nose, eyes, lips.
MULTI_PIE = (
    *(127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356),
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 81, 13, 311, 308, 402, 14, 178),
)
JAW, BROWS = 17, 27
ROUNDS = 4
FACE_VERTICES = 6706
"""ICT's narrow face: its first vertices, without ears, neck and scalp."""
OUTLINE = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""FaceMesh's outline: it follows the picture's edge of the face rather than a place on the skin."""


@dataclass(frozen=True)
class Found:
    """Landmarks on the head."""

    vertices: IntArray
    weights: FloatArray
    trust: FloatArray


def landmark_trust(topology: Topology) -> FloatArray:
    """[468]: one on lids, lips, nose and brows, falling to 0.15 at the outline."""
    mean = topology.mean_landmarks.astype(np.float64)
    away = cKDTree(mean[list(OUTLINE)]).query(mean)[0]
    return np.clip(0.15 + 0.85 * away / 25, 0, 1).astype(np.float32)


def start(model: MorphableModel, trust: FloatArray) -> Found:
    """The 68 named points alone; jaw and brows count little, they are drawn differently."""
    ids = model.landmarks["ibug68"]
    vertices = np.zeros((len(trust), 3), np.int32)
    weights = np.zeros((len(trust), 3), np.float32)
    weights[:, 0] = 1
    sure = np.zeros(len(trust), np.float32)
    vertices[list(MULTI_PIE)] = ids[:, None]
    sure[list(MULTI_PIE)] = np.r_[np.full(JAW, 0.05), np.full(BROWS - JAW, 0.3), np.ones(68 - BROWS)]
    return Found(vertices, weights, sure)


def refine(model: MorphableModel, topology: Topology, mirror: IntArray) -> Found:
    """Fit and closest points in turn."""
    trust = landmark_trust(topology)
    target = topology.mean_landmarks.astype(np.float64)
    held = start(model, trust)
    found = held
    triangles = model.triangles[(model.triangles < FACE_VERTICES).all(1)]
    for _ in range(ROUNDS):
        settings = MorphableFitSettings(noise_mm=3.0, robust_mm=30.0, residual_limit_mm=40.0)
        record = Correspondence(model.name, len(model.mean), found.vertices, found.weights, found.trust, "")
        head = HeadFitter(model, record, settings).fit(target.astype(np.float32))
        near = closest_points(head.vertices, triangles, target)
        found = symmetric(Found(near.vertices, near.weights, trust), topology, mirror)
        fixed = np.flatnonzero(held.trust >= 0.9)
        found.vertices[fixed], found.weights[fixed] = held.vertices[fixed], held.weights[fixed]
        print(
            f"model off by {head.error_mm:.2f} mm, landmarks from the surface {near.distance.mean():.2f} mm, at most "
            f"{near.distance.max():.2f} mm"
        )
    return found


def symmetric(found: Found, topology: Topology, mirror: IntArray) -> Found:
    """The landmarks on the image's left, and their mirror images; those on the middle line are put onto it."""
    vertices, weights = found.vertices.copy(), found.weights.copy()
    for landmark, other in enumerate(topology.mirror_landmarks):
        if other == landmark:
            middle = on_middle(vertices[landmark], weights[landmark], mirror)
            vertices[landmark], weights[landmark] = middle
        elif topology.mean_landmarks[landmark, 0] > 0:
            vertices[landmark], weights[landmark] = mirror[vertices[other]], weights[other]
    return Found(vertices, weights, found.trust)


def on_middle(vertices: IntArray, weights: FloatArray, mirror: IntArray) -> tuple[IntArray, FloatArray]:
    """A point that is its own mirror image: the mean of both, on the three vertices that weigh most in it."""
    both: dict[int, float] = {}
    for vertex, weight in zip([*vertices, *mirror[vertices]], [*weights, *weights], strict=True):
        both[int(vertex)] = both.get(int(vertex), 0.0) + float(weight) / 2
    pairs = sorted({tuple(sorted((v, int(mirror[v])))) for v in both}, key=lambda p: -sum(both.get(v, 0) for v in p))
    chosen: list[int] = []
    for pair in pairs:
        extra = [v for v in dict.fromkeys(pair) if v not in chosen]
        if len(chosen) + len(extra) <= 3:
            chosen += extra
    share = np.array([both[v] for v in chosen])
    ids, parts = np.full(3, chosen[0]), np.zeros(3)
    ids[: len(chosen)], parts[: len(chosen)] = chosen, share / share.sum()
    return ids.astype(np.int32), parts.astype(np.float32)


def mirror_of(mean: FloatArray) -> IntArray:
    """[F]: for each vertex of the face, the face's vertex nearest to its mirror image."""
    face = mean[:FACE_VERTICES]
    return np.asarray(cKDTree(face).query(face * [-1, 1, 1])[1], np.int32)


def draw(model: MorphableModel, found: Found, path: Path) -> None:
    """A picture of the landmarks on the mean head: front and side, the outline in red."""
    points = (model.mean[found.vertices] * found.weights[..., None]).sum(1)
    write_png(path, np.concatenate([_dots(model, points, k) for k in (0, 2)], axis=1))


def _dots(model: MorphableModel, points: Array, axis: int) -> FloatArray:
    """One orthographic view, [900, 900, 3]: the head's vertices grey, the landmarks coloured."""
    canvas = np.ones((900, 900, 3), np.float32)
    unit = 400 / np.abs(model.mean[:FACE_VERTICES]).max()

    def dot(values: Array, colour: tuple[float, float, float], radius: int) -> None:
        columns = (450 + unit * values[:, axis]).astype(int)
        rows = (450 - unit * values[:, 1]).astype(int)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                canvas[np.clip(rows + dy, 0, 899), np.clip(columns + dx, 0, 899)] = colour

    seen: BoolArray = np.arange(len(model.mean)) < FACE_VERTICES
    dot(model.mean[seen], (0.7, 0.7, 0.7), 0)
    dot(points, (0.1, 0.3, 0.9), 2)
    dot(points[list(OUTLINE)], (0.9, 0.2, 0.1), 2)
    return canvas


def main() -> int:
    """Run the conversion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--topology", type=Path, default=Path("topology/facemesh.npz"), help="of the landmarks")
    parser.add_argument("--out", type=Path, default=Path("topology/ict_facemesh.npz"), help="file to write")
    parser.add_argument("--picture", type=Path, help="also draw the landmarks on the head")
    options = parser.parse_args()
    topology = read_topology(options.topology)
    model = read_morphable("ict")
    found = refine(model, topology, mirror_of(model.mean))
    with options.out.open("wb") as stream:
        np.savez_compressed(
            stream,
            vertex_count=np.int32(len(model.mean)),
            vertices=found.vertices,
            weights=found.weights,
            trust=found.trust,
        )
    if options.picture is not None:
        draw(model, found, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
