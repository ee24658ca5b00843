"""Pictures of one face brought to the light of one of them: gains and a low-order field in linear light.

What a camera's exposure, its white balance and a distant lamp do to evenly scattering skin is a factor per channel that
depends on the surface's normal alone. Its logarithm is a constant and first harmonics of the normal, per picture and
channel; all are found at once, by least squares over all pairs of pictures (the true colour of a texel that several
pictures show is eliminated), with the reference's own at zero.
"""

from collections.abc import Sequence

import numpy as np

from ostec.core.types import DoubleArray, FloatArray

LEAST_LIGHT = 0.004
"""Linear intensity that is added before logarithms: shadows are mostly noise."""
FIELD_PRIOR = 0.02
"""Weight of the field's first harmonics, as a share of the texels; a constant has next to none."""
ROBUST = 0.15
"""Difference of logarithms at which a texel's weight has fallen to a half."""
ROUNDS = 8


def harmonics(normal: FloatArray) -> FloatArray:
    """[..., 4] of unit normals [..., 3]: a constant, and the first harmonics of a frontal normal at zero."""
    return np.concatenate([np.ones_like(normal[..., :1]), normal - [0, 0, 1]], axis=-1).astype(np.float32)


def match_exposures(light: Sequence[FloatArray], weight: Sequence[FloatArray], normal: FloatArray) -> DoubleArray:
    """Logarithms of the gains that bring pictures to the first one's light, as coefficients of :func:`harmonics`.

    Args:
        light: [S, S, 3] linear, per picture.
        weight: [S, S], per picture: how well it shows a texel; clipped texels have none.
        normal: [S, S, 3] unit, canonical frame.

    Returns:
        [P, 4, 3]; the first picture's are zero.
    """
    shown = np.stack(weight) > 0
    where = shown.sum(0) > 1
    count = len(light)
    found = np.zeros((count, 4, 3))
    if not where.any():
        return found
    basis = harmonics(normal)[where].astype(np.float64)  # [T, 4]
    w = np.stack([one[where] for one in weight]).astype(np.float64)  # [P, T]
    w /= max(w.mean(), 1e-12)
    logs = np.stack([np.log(one[where] + LEAST_LIGHT) for one in light]).astype(np.float64)  # [P, T, 3]
    prior = np.array([1e-6, *[FIELD_PRIOR] * 3]) * len(basis)
    robust = np.ones(logs.shape[:2])
    for _ in range(ROUNDS):
        found = _solved(basis, logs, w * robust, prior)
        left = logs + np.einsum("tk,pkc->ptc", basis, found)
        middle = (left * (w * robust)[..., None]).sum(0) / np.maximum((w * robust).sum(0), 1e-12)[:, None]
        robust = 1 / (1 + ((left - middle) ** 2).mean(-1) / ROBUST**2)
    return found


def _solved(basis: DoubleArray, logs: DoubleArray, weight: DoubleArray, prior: DoubleArray) -> DoubleArray:
    """Minimise the weighted differences of all pictures from each texel's mean, which is eliminated: [P, 4, 3]."""
    count, terms = len(logs), basis.shape[1]
    total = np.maximum(weight.sum(0), 1e-12)
    middle = np.einsum("pt,ptc->tc", weight, logs) / total[:, None]
    normal, right = np.zeros((count, terms, count, terms)), np.zeros((count, terms, 3))
    for p in range(count):
        right[p] = -basis.T @ (weight[p, :, None] * (logs[p] - middle))
        for q in range(count):
            shared = (weight[p] if p == q else 0) - weight[p] * weight[q] / total
            normal[p, :, q] = basis.T @ (shared[:, None] * basis)
        normal[p, :, p] += np.diag(prior)
    free = (count - 1) * terms
    solved = np.zeros((count, terms, 3))
    solved[1:] = np.linalg.solve(normal[1:, :, 1:].reshape(free, free), right[1:].reshape(free, 3)).reshape(
        count - 1, terms, 3
    )
    return solved
