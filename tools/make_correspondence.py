"""Make ``topology/MODEL_COUNT_facemesh.npz``: where FaceMesh's 468 landmarks lie on a model's mesh.

The mesh is deformed, by the model's own identities and expressions where it has them (:mod:`ostec.fit.morphable`) and
by a smooth field, until it lies on FaceMesh's mean face; each landmark is then the closest point on it. First only the
68 landmarks that both projects name are held on to, then all that were found. Where the mesh is its own mirror image,
left and right are made equal at the end.

The files of a model are looked for where ``ostec`` looks for them; ``tools/make_head.py`` has its own way for the model
that ships. Of a model whose files cannot be had freely a mesh of its topology is enough, with key points as the REALY
benchmark has them (data/NAME.obj and data/NAME.txt of czh-98/REALY): a list of 85 of [triangle, weight, weight] for the
triangle's first two corners, of which the first 68 are those of Multi-PIE; quads are split at their first corner.

Usage: OSTEC_MODELS=FOLDER python tools/make_correspondence.py ict [--out FOLDER] [--picture look.png]
       python tools/make_correspondence.py flame --template FLAME.obj --keypoints FLAME.txt [...]
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from ostec.core.correspondence import OUTLINE, Correspondence, correspondence_file, landmark_trust
from ostec.core.morphable import MorphableModel
from ostec.core.types import EYE_CORNER_DISTANCE_MM, Array, FloatArray, IntArray, Topology
from ostec.fit.morphable import HeadFitter, skin_triangles
from ostec.fit.settings import MorphableFitSettings
from ostec.io.images import write_png
from ostec.io.obj import read_obj
from ostec.load.morphable.files import pieces
from ostec.load.morphable.read import READERS, read_morphable
from ostec.load.topology import read_topology
from ostec.render.geometry import vertex_normals
from ostec.render.rasterize import interpolate, rasterize
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
SLIDING = (28, 29, 31, 32, 34, 35)
"""On the bridge of the nose and below the nostrils both place their points up to 7 mm apart: a first guess only."""
EYE_CORNERS = (36, 45)
ROUNDS = 4
MIRRORED_MM = 0.1
"""A mesh whose vertices have a mirror image on average within this is its own mirror image."""


@dataclass(frozen=True)
class Found:
    """Landmarks on a mesh."""

    vertices: IntArray
    weights: FloatArray
    trust: FloatArray


@dataclass(frozen=True)
class Named:
    """The 68 points of Multi-PIE on a mesh."""

    vertices: IntArray
    """[68, 3]."""
    weights: FloatArray
    """[68, 3]."""


def named_by(model: MorphableModel) -> Named:
    """The model's own 68 landmarks, which are vertices."""
    weights = np.zeros((68, 3), np.float32)
    weights[:, 0] = 1
    return Named(np.repeat(model.landmarks["ibug68"][:, None], 3, axis=1), weights)


def read_template(name: str, mesh_path: Path, keypoints_path: Path) -> tuple[MorphableModel, Named]:
    """A mesh without any bases, its largest piece the skin, and its 68 landmarks."""
    mesh = read_obj(mesh_path)
    triangles = mesh.triangulate()[0]
    points = np.array(json.loads(keypoints_path.read_text(encoding="utf-8")), np.float64)[:68]
    weights = np.c_[points[:, 1], points[:, 2], 1 - points[:, 1] - points[:, 2]].astype(np.float32)
    named = Named(triangles[points[:, 0].astype(np.int32)], weights)
    corners = (mesh.vertices[named.vertices] * weights[..., None]).sum(1)[list(EYE_CORNERS)]
    none = np.zeros((len(mesh.vertices), 3, 0), np.float32)
    model = MorphableModel(
        name=name,
        licence="",
        mm_per_unit=EYE_CORNER_DISTANCE_MM / float(np.linalg.norm(corners[0] - corners[1])),
        mean=mesh.vertices - corners.mean(0),
        identity=none,
        expression=none,
        expression_range=(-1, 1),
        expression_names=(),
        triangles=triangles,
        uv=np.empty((0, 2), np.float32),
        triangles_uv=np.empty((0, 3), np.int32),
        albedo_mean=None,
        albedo=None,
        landmarks={},
        parts={"head": pieces(triangles, len(mesh.vertices))[0]},
        sha256="",
    )
    return model, named


def start(named: Named, count: int) -> Found:
    """The 68 named points alone; jaw, brows and those that slide count little, they are drawn differently."""
    vertices = np.zeros((count, 3), np.int32)
    weights = np.zeros((count, 3), np.float32)
    weights[:, 0] = 1
    sure = np.zeros(count, np.float32)
    vertices[list(MULTI_PIE)], weights[list(MULTI_PIE)] = named.vertices, named.weights
    named_trust = np.r_[np.full(JAW, 0.05), np.full(BROWS - JAW, 0.3), np.ones(68 - BROWS)]
    named_trust[list(SLIDING)] = 0.3
    sure[list(MULTI_PIE)] = named_trust
    return Found(vertices, weights, sure)


def face_triangles(model: MorphableModel) -> IntArray:
    """[F, 3]: where landmarks may lie; ICT's narrow face ends before ears, neck and scalp."""
    return model.triangles[model.parts["face_narrow"]] if "face_narrow" in model.parts else skin_triangles(model)


def refine(model: MorphableModel, named: Named, topology: Topology) -> Found:
    """Fit and closest points in turn."""
    trust = landmark_trust(topology.mean_landmarks)
    target = topology.mean_landmarks.astype(np.float64)
    held = start(named, len(trust))
    found = held
    triangles = face_triangles(model)
    mirror = mirror_of(model, triangles)
    for _ in range(ROUNDS):
        settings = MorphableFitSettings(noise_mm=3.0, robust_mm=30.0, residual_limit_mm=40.0)
        record = Correspondence(model.name, len(model.mean), found.vertices, found.weights, found.trust, "")
        head = HeadFitter(model, record, settings).fit(target.astype(np.float32))
        near = closest_points(head.vertices, triangles, target)
        found = Found(near.vertices, near.weights, trust)
        if mirror is not None:
            found = symmetric(found, topology, mirror)
        fixed = np.flatnonzero(held.trust >= 0.9)
        found.vertices[fixed], found.weights[fixed] = held.vertices[fixed], held.weights[fixed]
        away = np.linalg.norm((head.vertices[found.vertices] * found.weights[..., None]).sum(1) - target, axis=1)
        print(
            f"mesh off by {head.error_mm:.2f} mm before the field; landmarks from the surface "
            f"{near.distance.mean():.2f} mm, at most {near.distance.max():.2f} mm; from their points "
            f"{away.mean():.2f} mm, at most {away.max():.2f} mm"
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


def mirror_of(model: MorphableModel, triangles: IntArray) -> IntArray | None:
    """[V]: for each vertex of the triangles, the one nearest to its mirror image; None where the mesh has none."""
    ids = np.unique(triangles)
    face = model.mean[ids]
    distance, nearest = cKDTree(face).query(face * [-1, 1, 1])
    if distance.mean() * model.mm_per_unit > MIRRORED_MM:
        return None
    mirror = np.arange(len(model.mean), dtype=np.int32)
    mirror[ids] = ids[nearest]
    return mirror


def draw(model: MorphableModel, found: Found, path: Path) -> None:
    """A picture of the landmarks on the mesh as it is: front, half side and side, the outline in red."""
    points = (model.mean[found.vertices] * found.weights[..., None]).sum(1) * model.mm_per_unit
    mesh = model.mean * model.mm_per_unit
    middle = points.mean(0)
    views = [_view(mesh - middle, model.triangles, points - middle, yaw) for yaw in (0.0, 45.0, 85.0)]
    write_png(path, np.concatenate(views, axis=1))


def _view(mesh: Array, triangles: IntArray, points: Array, yaw_deg: float, size: int = 900) -> FloatArray:
    """One orthographic view [S, S, 3] of 240 mm: the mesh shaded, those landmarks that are not hidden as dots."""
    angle = np.radians(yaw_deg)
    turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
    turned, dots = mesh @ turn.T / 120, points @ turn.T / 120
    flat = torch.as_tensor(np.c_[turned[:, :2], -turned[:, 2:] / 4, np.ones(len(turned))].astype(np.float32))
    ids = torch.as_tensor(triangles)
    raster = rasterize(flat[None].contiguous(), ids, (size, size)).flip(1).contiguous()
    normals = vertex_normals(torch.as_tensor(turned.astype(np.float32)), ids)
    both = interpolate(torch.cat([normals, flat[:, 2:3]], dim=1)[None].contiguous(), raster, ids)[0].numpy()
    inside = raster[0, ..., 3].numpy() > 0
    picture = np.ones((size, size, 3), np.float32)
    picture[inside] = (0.25 + 0.6 * np.clip(both[inside][:, 2:3], 0, 1)).repeat(3, axis=1)
    for k, (x, y, z) in enumerate(dots):
        column, row = int((x + 1) * size / 2), int((1 - y) * size / 2)
        if 2 < row < size - 3 and 2 < column < size - 3 and -z / 4 < both[row, column, 3] + 0.008:
            picture[row - 2 : row + 3, column - 2 : column + 3] = (0.9, 0.2, 0.1) if k in OUTLINE else (0.1, 0.3, 0.9)
    return picture


def main() -> int:
    """Run the conversion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=[name for name in READERS if name != "head"], help="name of the face model")
    parser.add_argument("--template", type=Path, help="a mesh of its topology, instead of the model's files")
    parser.add_argument("--keypoints", type=Path, help="the mesh's key points as the REALY benchmark has them")
    parser.add_argument("--topology", type=Path, default=Path("topology/facemesh.npz"), help="of the landmarks")
    parser.add_argument("--out", type=Path, default=Path("topology"), help="folder to write to")
    parser.add_argument("--picture", type=Path, help="also draw the landmarks on the mesh")
    options = parser.parse_args()
    if (options.template is None) != (options.keypoints is None):
        parser.error("--template and --keypoints belong together")
    topology = read_topology(options.topology)
    if options.template is None:
        model = read_morphable(options.model)
        named = named_by(model)
    else:
        model, named = read_template(options.model, options.template, options.keypoints)
    found = refine(model, named, topology)
    path = options.out / correspondence_file(model.name, len(model.mean))
    with path.open("wb") as stream:
        np.savez_compressed(
            stream,
            vertex_count=np.int32(len(model.mean)),
            vertices=found.vertices,
            weights=found.weights,
            trust=found.trust,
        )
    print(path)
    if options.picture is not None:
        draw(model, found, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
