"""What was seen spreads into what was not: a screened Poisson equation on the layout's grid."""

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from ostec.core.types import BoolArray, DoubleArray, FloatArray


def carry_residual(
    inside: BoolArray, residual: FloatArray, trust: FloatArray, reach: float, stiffness: float
) -> FloatArray:
    """Spread what the model left unexplained into the unseen by a screened Poisson equation.

    Minimises sum w (f - r)^2 + stiffness |grad f|^2 + stiffness / reach^2 f^2 on the chart's grid with free borders: f
    follows the residual r where it was seen and fades to zero over ``reach`` texels where it was not.

    Args:
        inside: [S, S] the chart, T texels.
        residual: [T, C].
        trust: [T] weights w in [0, 1].
        reach: in texels.
        stiffness: 0 passes through every texel that was seen.

    Returns:
        [T, C].
    """
    return screened(inside, residual, trust, stiffness / reach**2, stiffness).astype(np.float32)


def screened(inside: BoolArray, values: FloatArray, weight: FloatArray, screen: float, stiffness: float) -> DoubleArray:
    """The f [T, C] that minimises sum w (f - v)^2 + stiffness |grad f|^2 + screen f^2 for values v [T, C]."""
    matrix = sparse.diags(weight.astype(np.float64) + screen) + stiffness * laplacian(inside)
    solution: DoubleArray = splu(matrix.tocsc()).solve((values * weight[:, None]).astype(np.float64))
    return solution


def laplacian(inside: BoolArray) -> sparse.csr_matrix:
    """Graph Laplacian [T, T] of the chart's texels with four neighbours each."""
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(inside.sum())
    pairs = []
    for a, b in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        both = (a >= 0) & (b >= 0)
        pairs.append(np.stack([a[both], b[both]], 1))
    i, j = np.concatenate(pairs).T
    count = int(inside.sum())
    ones = np.ones(len(i))
    adjacency = sparse.coo_matrix((ones, (i, j)), (count, count))
    adjacency = (adjacency + adjacency.T).tocsr()
    return sparse.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency
