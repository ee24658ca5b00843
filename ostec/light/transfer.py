"""How a face passes on light: for lamps all round, how much of each one's light comes to each vertex, and is scattered.

Precomputed radiance transfer (Sloan, Kautz and Snyder 2002) on directions instead of harmonics: noses and brows cast
their shadows. Computed once for each face, by a z-buffer from every lamp.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import DoubleArray, FloatArray, IntArray
from ostec.render.geometry import camera_from_matrix, orthographic_matrix, vertex_normals
from ostec.render.rasterize import interpolate, rasterize

LAMPS = 100
"""Directions round the head; about 20 degrees lie between neighbours."""
BACKMOST = -0.35
"""No lamp further behind the face than this: z of its direction."""
DEPTH_MM = 1.6
"""Side of a pixel of the picture from a lamp."""
MOST_SIDE = 512
"""Side in pixels of that picture at most."""
TOLERANCE_MM = 2.5
"""What lies this far behind is in the shadow."""
SOFT_MM = 3.0
"""Length over which a shadow sets in."""


@dataclass(frozen=True)
class LightTransfer:
    """V vertices and D lamps."""

    directions: DoubleArray
    """[D, 3] unit, towards the lamps, in the canonical frame."""
    scattered: FloatArray
    """[V, D]: max(0, n . l), 0 in the shadow."""
    open: FloatArray
    """[V]: share of the light of an even sky that comes to a vertex: ambient occlusion."""


def lamp_directions(count: int = LAMPS, backmost: float = BACKMOST) -> DoubleArray:
    """[D, 3]: directions spread evenly (Fibonacci's spiral) over the part of a sphere before z = ``backmost``."""
    k = np.arange(count) + 0.5
    z = 1 - (1 - backmost) * k / count
    turn = np.pi * (1 + 5**0.5) * k
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)


def light_transfer(vertices: FloatArray, triangles: IntArray, directions: DoubleArray | None = None) -> LightTransfer:
    """The transfer of a face.

    Args:
        vertices: [V, 3] canonical millimetres.
        triangles: [F, 3].
        directions: [D, 3] of the lamps; all round the front if None.
    """
    points, faces = torch.from_numpy(vertices), torch.from_numpy(triangles)
    normals = vertex_normals(points, faces)
    directions = lamp_directions() if directions is None else directions
    cosine = (normals @ torch.from_numpy(directions.astype(np.float32)).T).clamp(min=0)
    shown = torch.stack([_shown(points, faces, direction) for direction in directions], dim=1)
    scattered = cosine * shown
    open_sky = scattered.sum(1) / cosine.sum(1).clamp(min=1e-6)
    return LightTransfer(directions, scattered.numpy(), open_sky.numpy())


def _shown(points: torch.Tensor, triangles: torch.Tensor, towards: DoubleArray) -> torch.Tensor:
    """[V] in [0, 1]: how far a lamp sees each vertex."""
    right = np.cross([0.0, 1.0, 0.0], towards)
    right = right / max(float(np.linalg.norm(right)), 1e-6)
    rotation = np.stack([right, np.cross(towards, right), towards])
    low, high = points.amin(0).numpy(), points.amax(0).numpy()
    length = float(np.linalg.norm(high - low))
    side = min(MOST_SIDE, max(16, round(length / DEPTH_MM)))
    scale = side / length
    x, y, _ = rotation @ ((low + high) / 2) * scale
    camera = camera_from_matrix(orthographic_matrix(rotation, scale, (side / 2 - x, side / 2 + y)), rotation)
    raster = rasterize(camera.clip(points, (side, side))[None], triangles, (side, side))
    pixel, height = camera.project(points)
    depth = interpolate(height[None, :, None], raster, triangles)
    depth = torch.where(raster[..., 3:] > 0, depth, float(height.min())).flip(1).permute(0, 3, 1, 2)
    # The pixel's own surface rises towards the lamp where it is steep: of its neighbours the lowest counts.
    depth = -functional.max_pool2d(-depth, 3, 1, 1)
    grid = (pixel / side * 2 - 1)[None, None]
    nearest = functional.grid_sample(depth, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0, 0]
    return 1 - ((nearest - height - TOLERANCE_MM) / SOFT_MM).clamp(0, 1)
