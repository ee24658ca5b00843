"""A face small enough to reason about: half an ellipsoid with a nose, a smooth texture, photos and priors of it.

The landmarks are the mesh: 18 x 26 = 468 vertices on a grid, so that the records have the sizes of the real ones. Ids
33 and 263 are the outer eye corners, as in FaceMesh. Everything is computed by formula, so every answer is known.
"""

import numpy as np
import torch
from scipy import sparse

from ostec.core.types import (
    EYE_CORNER_DISTANCE_MM,
    EYE_CORNERS,
    ORIGIN_SETBACK_MM,
    BoolArray,
    FittedFace,
    FloatArray,
    Topology,
)
from ostec.prior.linear import LinearPrior
from ostec.render.geometry import camera_from_matrix, orthographic_matrix, rotation_from_pose
from ostec.render.uv import bake_layout, render_textured

ROWS, COLUMNS = 18, 26
UV_MARGIN = 0.0625  # a multiple of a power of two: mirrored u are exact
EYE_ROW, EYE_COLUMN = 12, 5


def _grid_ids() -> np.ndarray:
    """[ROWS, COLUMNS] vertex ids, rows from the chin up; the eye corners are swapped into their FaceMesh ids."""
    ids = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    for landmark, column in zip(EYE_CORNERS, (EYE_COLUMN, COLUMNS - 1 - EYE_COLUMN), strict=True):
        other = ids[EYE_ROW, column]
        ids[ids == landmark] = other
        ids[EYE_ROW, column] = landmark
    return ids


def toy_surface(s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Points [..., 3] over the square [-1, 1] x [-1, 1], before scaling: half an ellipsoid and a nose."""
    s, t = 0.9 * s, 0.9 * t
    x, y = s * np.sqrt(1 - t**2 / 2), t * np.sqrt(1 - s**2 / 2)  # square to disc
    z = np.sqrt(1 - 0.8 * (x**2 + y**2)) + 0.15 * np.exp(-(x**2 + (y + 0.05) ** 2) / 0.03)
    return np.stack([75 * x, 95 * y, 70 * z], axis=-1)


def toy_topology() -> Topology:
    """The mesh with its square chart; mirror-symmetric, canonical, its operator the identity."""
    ids = _grid_ids()
    s, t = np.meshgrid(np.linspace(-1, 1, COLUMNS), np.linspace(-1, 1, ROWS))
    points = np.empty((ROWS * COLUMNS, 3))
    points[ids] = toy_surface(s, t)
    left, right = points[EYE_CORNERS[0]], points[EYE_CORNERS[1]]
    scale = EYE_CORNER_DISTANCE_MM / np.linalg.norm(left - right)
    points = (points - (left + right) / 2) * scale + [0, 0, ORIGIN_SETBACK_MM]
    uv = np.empty((ROWS * COLUMNS, 2), np.float32)
    step = round((1 - 2 * UV_MARGIN) / (COLUMNS - 1) * 2**15) / 2**16
    u = 0.5 + step * (2 * np.arange(COLUMNS) - (COLUMNS - 1))
    uv[ids] = np.stack(np.meshgrid(u, UV_MARGIN + (1 - 2 * UV_MARGIN) * np.linspace(0, 1, ROWS)), axis=-1)
    mirror = np.empty(ROWS * COLUMNS, np.int32)
    mirror[ids] = ids[:, ::-1]
    triangles = []
    for row in range(ROWS - 1):
        for column in range(COLUMNS - 1):
            a, b = ids[row, column : column + 2]
            d, c = ids[row + 1, column : column + 2]
            mirrored = column >= COLUMNS // 2
            triangles += [(a, b, d), (b, c, d)] if mirrored else [(a, b, c), (a, c, d)]
    return Topology(
        name="toy",
        sha256="70" * 32,
        triangles=np.array(triangles, np.int32),
        uv=uv,
        operator=sparse.identity(ROWS * COLUMNS, format="csr", dtype=np.float32),
        mirror=mirror,
        mirror_landmarks=mirror,
        mean_landmarks=points.astype(np.float32),
        rigid_weight=np.ones(ROWS * COLUMNS, np.float32),
        regions={
            "eye_left": _box(0.30, 0.66, 0.08, 0.03),
            "eye_right": _box(0.70, 0.66, 0.08, 0.03),
            "brow_left": _box(0.30, 0.74, 0.10, 0.02),
            "brow_right": _box(0.70, 0.74, 0.10, 0.02),
            "lips": _box(0.5, 0.28, 0.12, 0.05),
            "mouth": _box(0.5, 0.28, 0.10, 0.02),
        },
    )


def _box(u: float, v: float, half_width: float, half_height: float) -> FloatArray:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    return corners * np.float32([half_width, half_height]) + np.float32([u, v])


def toy_face(
    topology: Topology,
    pose_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    scale: float = 1.1,
    centre: tuple[float, float] = (128.0, 90.0),
) -> FittedFace:
    """The mean face of any topology seen at a pose, as a perfect fit would report it."""
    rotation = rotation_from_pose(*pose_deg)
    matrix = orthographic_matrix(rotation, scale, centre)
    mean = topology.mean_landmarks.astype(np.float64)
    seen = mean @ rotation.T * scale * [1, -1, -1] + [*centre, 0.0]
    return FittedFace(
        vertices=(topology.operator @ mean).astype(np.float32),
        landmarks=seen.astype(np.float32),
        rotation=rotation,
        camera_matrix=matrix,
        pose_deg=pose_deg,
        scale=scale,
        residual=0.0,
    )


def toy_texture(size: int) -> FloatArray:
    """[S, S, 3] in [0.2, 0.8], smooth, different in every corner and on both sides."""
    u = (np.arange(size) + 0.5) / size
    v = 1 - u[:, None]
    waves = (
        np.sin(2 * np.pi * (1.1 * u + 0.6 * v)),
        np.cos(2 * np.pi * (0.7 * u - 0.9 * v) + 0.5),
        np.sin(2 * np.pi * (0.4 * u + 1.2 * v) + 1.0),
    )
    return np.stack([0.5 + 0.3 * np.broadcast_to(w, (size, size)) for w in waves], axis=-1).astype(np.float32)


def toy_photo(
    topology: Topology,
    face: FittedFace,
    texture: FloatArray,
    size: tuple[int, int] = (256, 256),
    background: tuple[float, float, float] = (0.0, 0.0, 1.0),
) -> FloatArray:
    """The face drawn without light before a plain background, [H, W, 3]."""
    view = render_textured(
        torch.from_numpy(face.vertices),
        bake_layout(topology, 16),
        torch.from_numpy(texture),
        camera_from_matrix(face.camera_matrix, face.rotation),
        size,
        oversample=3,
    )
    empty = 1 - view.coverage.numpy()[..., None]
    return np.clip(view.colour.numpy() + empty * np.float32(background), 0, 1)


def toy_prior(inside: BoolArray, components: int = 6, noise: float = 1e-4, seed: int = 0) -> LinearPrior:
    """A model of known mean and smooth, global components for a chart ``inside`` [S, S]."""
    size = len(inside)
    rng = np.random.default_rng(seed)
    u = (np.arange(size) + 0.5) / size
    v = 1 - u[:, None]
    basis = []
    for _ in range(components):
        a, b, phase = rng.uniform(-1.5, 1.5), rng.uniform(-1.5, 1.5), rng.uniform(0, 2 * np.pi)
        wave = np.sin(2 * np.pi * (a * u + b * v) + phase)
        basis.append(0.08 * wave[..., None] * rng.normal(size=3))
    return LinearPrior(
        inside=inside,
        mean=torch.from_numpy(toy_texture(size)[inside]),
        basis=torch.from_numpy(np.stack(basis, axis=-1)[inside].astype(np.float32)),
        noise=torch.full((int(inside.sum()),), noise),
        topology_sha256="70" * 32,
    )
