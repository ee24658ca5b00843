"""Colours of a part without a layout: at its vertices instead of a texture's texels."""

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from ostec.core.types import Array, FloatArray, IntArray
from ostec.heads.skin import Chart, FaceOnHead, FaceTexture

SPREAD = 0.4
"""Deviation of the low-pass that precedes reading a texture at vertices, in distances between neighbours."""


class AtVertices(Chart):
    """V vertices that stand in for the texels of a tile: ``[V]`` for ``[S, S]``."""

    def __init__(self, count: int) -> None:
        self.inside = np.ones(count, bool)

    def attribute(self, values: Array) -> FloatArray:
        """[V, C] as it is."""
        return np.asarray(values, np.float32)

    def padded(self, picture: Array) -> FloatArray:
        """[V, C] limited to [0, 1]."""
        return np.clip(picture, 0, 1).astype(np.float32)


def for_vertices(texture: FaceTexture, on_head: FaceOnHead, triangles: IntArray) -> FaceTexture:
    """The face's texture without the detail that lies between vertices; nothing else of it changes.

    Args:
        texture: of the face.
        on_head: where the V vertices lie on it.
        triangles: [F, 3] between them.
    """
    one, other = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    on_face = np.minimum(on_head.weight[one], on_head.weight[other]) > 0
    if not on_face.any():
        return texture
    apart = np.linalg.norm(on_head.uv[one[on_face]] - on_head.uv[other[on_face]], axis=1)
    sigma = SPREAD * float(np.median(apart)) * len(texture.colour)
    return replace(texture, colour=gaussian_filter(texture.colour, (sigma, sigma, 0)), grain=0.0)
