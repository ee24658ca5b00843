"""Modified butterfly subdivision as sparse operators.

Zorin, Schroeder and Sweldens, Interpolating subdivision for meshes with arbitrary topology (1996). One level splits
every triangle into four and passes through the old vertices. New vertices are fixed weighted sums of old ones, so a
level is a sparse matrix, and several levels are their product.
"""

import numpy as np
from scipy import sparse

Edge = tuple[int, int]
Rings = dict[int, dict[int, int]]
"""Vertex -> neighbour -> the next neighbour counter-clockwise."""


def butterfly_level(triangles: np.ndarray, count: int) -> tuple[np.ndarray, sparse.csr_matrix, sparse.csr_matrix]:
    """One level of modified butterfly: new triangles, smooth operator and midpoint operator, both [V', V]."""
    opposite: dict[Edge, int] = {}
    for a, b, c in triangles.tolist():
        opposite[a, b], opposite[b, c], opposite[c, a] = c, a, b
    after: Rings = {}
    for (a, b), c in opposite.items():
        after.setdefault(a, {})[b] = c
    border = {v for a, b in opposite if (b, a) not in opposite for v in (a, b)}
    follow = {a: b for a, b in opposite if (b, a) not in opposite}
    precede = {b: a for a, b in follow.items()}
    edges = sorted({(min(a, b), max(a, b)) for a, b in opposite})
    ids = {e: count + i for i, e in enumerate(edges)}
    smooth, middle = [], []
    for a, b in edges:
        if (a, b) not in opposite or (b, a) not in opposite:
            a, b = (a, b) if (a, b) in opposite else (b, a)
            stencil = {a: 9 / 16, b: 9 / 16, precede[a]: -1 / 16, follow[b]: -1 / 16}
        else:
            stencil = inner_stencil(a, b, after, opposite, border)
        smooth.append(stencil)
        middle.append({a: 0.5, b: 0.5})
    new = []
    for a, b, c in triangles.tolist():
        ab, bc, ca = (ids[min(p, q), max(p, q)] for p, q in ((a, b), (b, c), (c, a)))
        new += [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
    return np.array(new), to_operator(smooth, count), to_operator(middle, count)


def inner_stencil(a: int, b: int, after: Rings, opposite: dict[Edge, int], border: set[int]) -> dict[int, float]:
    """Weights of the new vertex on the inner edge a-b."""
    irregular = [v for v in (a, b) if v not in border and len(after[v]) != 6]
    if irregular and not border & {a, b}:
        total: dict[int, float] = {}
        for v in irregular:
            for k, w in ring_stencil(v, b if v == a else a, after[v]).items():
                total[k] = total.get(k, 0) + w / len(irregular)
        return total
    stencil = {a: 0.5, b: 0.5}
    c, d = opposite[a, b], opposite[b, a]
    for v in (c, d):
        stencil[v] = stencil.get(v, 0) + 1 / 8
    for p, q in ((b, c), (c, a), (a, d), (d, b)):
        wing = opposite.get((q, p))
        # A wing beyond the border is taken to lie where the edge's own end is: its weight goes there.
        target = wing if wing is not None else (p if p in (a, b) else q)
        stencil[target] = stencil.get(target, 0) - 1 / 16
    return stencil


def ring_stencil(v: int, first: int, after: dict[int, int]) -> dict[int, float]:
    """Zorin's weights round an extraordinary vertex, the ring starting at ``first``."""
    n = len(after)
    if n == 3:
        s = [5 / 12, -1 / 12, -1 / 12]
    elif n == 4:
        s = [3 / 8, 0, -1 / 8, 0]
    else:
        s = [(0.25 + np.cos(2 * np.pi * j / n) + 0.5 * np.cos(4 * np.pi * j / n)) / n for j in range(n)]
    stencil = {v: 1 - sum(s)}
    for w in s:
        stencil[first] = stencil.get(first, 0) + w
        first = after[first]
    return stencil


def to_operator(stencils: list[dict[int, float]], count: int) -> sparse.csr_matrix:
    """Old vertices kept, then one row per stencil."""
    rows = np.concatenate([np.full(len(s), i) for i, s in enumerate(stencils)])
    cols = np.concatenate([list(s) for s in stencils])
    vals = np.concatenate([list(s.values()) for s in stencils])
    new = sparse.csr_matrix((vals, (rows, cols)), (len(stencils), count))
    return sparse.vstack([sparse.identity(count, format="csr"), new]).tocsr()
