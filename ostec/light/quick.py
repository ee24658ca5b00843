"""The light of one picture in nine numbers: least squares of its brightness on spherical harmonics of the normals."""

import numpy as np

from ostec.core.types import DoubleArray, UvObservation
from ostec.light.estimate import AlbedoModel
from ostec.render.colour import to_linear
from ostec.render.harmonics import harmonics

_TURNS = 4
_RIDGE = 0.02
_SOFT = 0.15
"""Relative error at which a texel's weight has fallen to a half."""


def grey_harmonics(seen: UvObservation, rotation: DoubleArray, model: AlbedoModel) -> DoubleArray:
    """[9]: harmonics of the scattered light over the mean albedo, in the canonical frame; zeros where nothing is seen.

    Args:
        seen: the picture in the layout, at the model's size.
        rotation: [3, 3] canonical to camera axes.
        model: of albedo; only its mean is used.

    Raises:
        ValueError: the observation has another size than the model.
    """
    if seen.size != model.size:
        raise ValueError(f"expected an observation of {model.size} texels, got {seen.size}")
    shown = (seen.visible & model.inside & (seen.cosine > 0.2))[model.inside]
    albedo = np.exp(model.mean).mean(-1)[shown]
    bright = to_linear(seen.colour)[model.inside].mean(-1)[shown].astype(np.float64) / albedo
    terms = harmonics(seen.normal[model.inside][shown].astype(np.float64) @ rotation)
    found = np.zeros(9)
    if len(bright) < terms.shape[1]:
        return found
    hold = _RIDGE * len(bright) * np.diag([0.0, *[1.0] * 8])
    weight = np.ones(len(bright))
    for _ in range(_TURNS):
        normal = (terms * weight[:, None]).T @ terms + hold
        found = np.linalg.solve(normal, (terms * weight[:, None]).T @ bright)
        error = (bright - terms @ found) / max(float(bright.mean()), 1e-6)
        weight = 1 / (1 + (error / _SOFT) ** 2)
    return np.asarray(found)
