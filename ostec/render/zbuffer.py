"""CPU rasteriser: a z-buffer compiled by numba that returns what nvdiffrast returns.

Follows the conventions of nvdiffrast (Laine et al., Modular Primitives for High-Performance Differentiable Rendering,
2020): clip-space input, pixel centres at half-integers, rows from y = -1 up, and in the last channel the triangle's
index plus one, zero where nothing was hit.
"""

from collections.abc import Callable

import numpy as np
from numba import njit

from ostec.core.types import FloatArray, IntArray


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile with numba; keep the machine code on disk where some folder for it can be written."""
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # neither the package's nor the user's cache folder can be written
        return njit(function)


@compiled
def _fill_triangle(a, b, c, label, image, depth):  # type: ignore[no-untyped-def]
    """Draw one triangle given as three (x, y, z/w, 1/w) in pixels into one image."""
    height, width = depth.shape
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area == 0.0:
        return
    x0 = max(int(np.floor(min(a[0], b[0], c[0]) - 0.5)), 0)
    x1 = min(int(np.ceil(max(a[0], b[0], c[0]) - 0.5)), width - 1)
    y0 = max(int(np.floor(min(a[1], b[1], c[1]) - 0.5)), 0)
    y1 = min(int(np.ceil(max(a[1], b[1], c[1]) - 0.5)), height - 1)
    for y in range(y0, y1 + 1):
        py = y + 0.5
        for x in range(x0, x1 + 1):
            px = x + 0.5
            wa = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) / area
            wb = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) / area
            # Not 1 - wa - wb: an edge's sign must come out exactly opposite in the triangle on its other side.
            wc = ((a[0] - px) * (b[1] - py) - (a[1] - py) * (b[0] - px)) / area
            if wa < 0.0 or wb < 0.0 or wc < 0.0:
                continue
            z = wa * a[2] + wb * b[2] + wc * c[2]
            # Outside the frustum as in OpenGL; strictly nearer wins, so that the lower index keeps a tie.
            if z < -1.0 or z > 1.0 or z >= depth[y, x]:
                continue
            depth[y, x] = z
            # Perspective-correct barycentrics: linear in clip space, not on the screen.
            norm = wa * a[3] + wb * b[3] + wc * c[3]
            image[y, x, 0] = wa * a[3] / norm
            image[y, x, 1] = wb * b[3] / norm
            image[y, x, 2] = z
            image[y, x, 3] = label


@compiled
def _rasterize_one(position, triangles, image, depth):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    corner = np.empty((3, 4), np.float64)
    for t in range(triangles.shape[0]):
        visible = True
        for k in range(3):
            p = position[triangles[t, k]]
            if p[3] <= 0.0:
                visible = False
                break
            corner[k, 0] = (p[0] / p[3] + 1.0) * 0.5 * width
            corner[k, 1] = (p[1] / p[3] + 1.0) * 0.5 * height
            corner[k, 2] = p[2] / p[3]
            corner[k, 3] = 1.0 / p[3]
        if visible:
            _fill_triangle(corner[0], corner[1], corner[2], t + 1, image, depth)


def rasterize_cpu(position: FloatArray, triangles: IntArray, size: tuple[int, int]) -> FloatArray:
    """Rasterise a batch of clip-space meshes that share their triangles.

    Args:
        position: [B, V, 4] clip-space (x, y, z, w).
        triangles: [F, 3] vertex ids; both windings are drawn, as nvdiffrast does.
        size: (height, width) in pixels.

    Returns:
        [B, H, W, 4] float32: (u, v, z/w, triangle + 1). u weighs the triangle's first vertex, v its second, 1 - u - v
        its third; rows from y = -1 up; zero where nothing was hit. A triangle that reaches behind the camera
        (w <= 0) is left out whole, where nvdiffrast would clip it: cameras here stand in front of the face.
    """
    height, width = size
    image = np.zeros((len(position), height, width, 4), np.float32)
    depth = np.empty((height, width), np.float64)
    vertices = np.ascontiguousarray(position, np.float64)
    faces = np.ascontiguousarray(triangles, np.int32)
    for index in range(len(position)):
        depth.fill(np.inf)
        _rasterize_one(vertices[index], faces, image[index], depth)
    return image
