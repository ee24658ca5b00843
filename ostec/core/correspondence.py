"""Where the landmarks of one topology lie on the surface of another one."""

from dataclasses import dataclass

import numpy as np

from ostec.core.types import DoubleArray, FloatArray, IntArray


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
    """Of the file."""

    def points(self, values: FloatArray | DoubleArray) -> DoubleArray:
        """Bring what is given per vertex [V, ...] to the landmarks [N, ...]."""
        corners = np.asarray(values, np.float64)[self.vertices]
        weights = self.weights.reshape(*self.weights.shape, *(1,) * (corners.ndim - 2))
        return np.asarray((corners * weights).sum(1))
