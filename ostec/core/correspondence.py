"""Where the landmarks of one topology lie on the surface of another one."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from ostec.core.types import DoubleArray, FloatArray, IntArray

OUTLINE = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""FaceMesh's outline: it follows the picture's edge of the face rather than a place on the skin."""
ENDING = "_facemesh.npz"
_SURE_MM, _LEAST = 25.0, 0.15
"""How far inside the outline landmarks are trusted fully, and how far those on it."""


@dataclass(frozen=True)
class Correspondence:
    """N landmarks as weighted means of three vertices each of a mesh of V vertices."""

    name: str
    """Of the mesh: a morphable model's name."""
    vertex_count: int
    """V of the mesh that it was made for."""
    vertices: IntArray
    """[N, 3] vertex ids."""
    weights: FloatArray
    """[N, 3], rows sum to one."""
    trust: FloatArray
    """[N] in [0, 1]: how surely a landmark marks that point (lids, lips and nose high, the face's outline low)."""
    sha256: str
    """Of the file; the model's where its own file names the landmarks."""

    def points(self, values: FloatArray | DoubleArray) -> DoubleArray:
        """Bring what is given per vertex [V, ...] to the landmarks [N, ...]."""
        corners = np.asarray(values, np.float64)[self.vertices]
        weights = self.weights.reshape(*self.weights.shape, *(1,) * (corners.ndim - 2))
        return np.asarray((corners * weights).sum(1))


def landmark_trust(mean_landmarks: FloatArray) -> FloatArray:
    """[N]: one on lids, lips, nose and brows, falling to 0.15 at the outline.

    Args:
        mean_landmarks: [N, 3] FaceMesh's mean face, canonical millimetres.
    """
    mean = mean_landmarks.astype(np.float64)
    away = cKDTree(mean[list(OUTLINE)]).query(mean)[0]
    return np.clip(_LEAST + (1 - _LEAST) * away / _SURE_MM, 0, 1).astype(np.float32)


def at_vertices(name: str, vertex_count: int, ids: IntArray, trust: FloatArray, sha256: str) -> Correspondence:
    """The correspondence of landmarks that are the vertices ``ids`` [N] of a mesh; ``sha256`` is that of their file."""
    weights = np.zeros((len(ids), 3), np.float32)
    weights[:, 0] = 1
    return Correspondence(name, vertex_count, np.repeat(ids[:, None], 3, axis=1), weights, trust, sha256)


def correspondence_file(name: str, vertex_count: int) -> str:
    """Name of the file in ``topology/`` for the mesh of ``vertex_count`` vertices of the model ``name``."""
    return f"{name}_{vertex_count}{ENDING}"
