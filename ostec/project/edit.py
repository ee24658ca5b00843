"""Editing of latents: how W moves with pose, expression and light, fitted in closed form to a generator's own samples.

StyleFlow's published flow adds to W a vector that depends on the attributes alone, not on W: g(a_new) - g(a_old).
Here g is a polynomial of the attributes, the regression of W on them; of attributes that enter linearly this is the
smallest change of W that their joint Gaussian asks for, S_wa inv(S_aa) (a_new - a_old).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ostec.core.errors import WeightsError
from ostec.core.types import DoubleArray, FloatArray

POSE, FACE = ("yaw_deg", "pitch_deg"), ("smile", "open")
LIGHT = tuple(f"light{k}" for k in range(1, 9))
ATTRIBUTES = (*POSE, *FACE, *LIGHT)
"""Degrees; expression coefficients in [0, 1]; spherical harmonics of the scattered light over that of order 0."""
PUBLISHED_ROWS = {"pose": (0, 3), "light": (7, 11)}
"""First and last row of W+ that an edit changes in a generator of 1024 px (FFHQ-UV); expressions change all."""
_ROWS_AT_1024 = 18
_RIDGE = 1e-2
_LEAST_SPREAD = 1e-3


class Edits(Protocol):
    """Says how latents of one generator are edited."""

    @property
    def spread(self) -> DoubleArray:
        """[A] usual deviation of each attribute."""

    def unmeasured(self, latent: FloatArray, measured: DoubleArray, asked: Mapping[str, float]) -> FloatArray:
        """[num_ws, W]: what is added to W+ for attributes by name that no picture is measured for, such as glasses.

        Raises:
            WeightsError: there is no direction for one of them, or the latent is of another generator.
        """

    def shift(self, latent: FloatArray, before: DoubleArray, after: DoubleArray) -> FloatArray:
        """[num_ws, W]: what is added to W+ so that the attributes it shows become others.

        Args:
            latent: [num_ws, W].
            before: [A] as measured.
            after: [A] as asked.
        """


@dataclass(frozen=True)
class LatentEdits:
    """What W gains with the attributes, for one generator."""

    centre: DoubleArray
    """[A] mean of the attributes over the samples."""
    spread: DoubleArray
    """[A] their standard deviations."""
    coefficients: DoubleArray
    """[P, W]: the change of W per feature of :func:`features`."""

    def unmeasured(self, latent: FloatArray, measured: DoubleArray, asked: Mapping[str, float]) -> FloatArray:
        """Nothing of the kind was measured on this generator's samples. Raises WeightsError."""
        del latent, measured
        what = " and ".join(asked)
        raise WeightsError(f"This generator's edits have no direction for {what}: StyleFlow's flow has (--edits FILE).")

    def shift(self, latent: FloatArray, before: DoubleArray, after: DoubleArray) -> FloatArray:
        """[num_ws, W]: what is added to W+, a ``latent`` of that shape, so that attributes [A] become others.

        In a generator of 1024 px pose and light change only the rows that are published.
        """
        num_ws = len(latent)
        moved = np.zeros((num_ws, self.coefficients.shape[1]))
        step = before.copy()
        for names, rows in ((POSE, "pose"), (FACE, "face"), (LIGHT, "light")):
            ids = [ATTRIBUTES.index(name) for name in names]
            following = step.copy()
            following[ids] = after[ids]
            change = (self._features(following) - self._features(step)) @ self.coefficients
            first, last = PUBLISHED_ROWS.get(rows, (0, num_ws - 1)) if num_ws == _ROWS_AT_1024 else (0, num_ws - 1)
            moved[first : last + 1] += change
            step = following
        return moved.astype(np.float32)

    def _features(self, attributes: DoubleArray) -> DoubleArray:
        return features((attributes - self.centre) / self.spread)


def features(scaled: DoubleArray) -> DoubleArray:
    """Attributes [..., A] in standard deviations -> [..., P]: themselves, and what of the pose is curved."""
    yaw, pitch = scaled[..., 0:1], scaled[..., 1:2]
    return np.concatenate([scaled, yaw**2, pitch**2, yaw * pitch, yaw**3, pitch**3], axis=-1)


def fit_edits(latents: FloatArray, attributes: DoubleArray) -> LatentEdits:
    """Regress W on the attributes of what it draws.

    Args:
        latents: [N, W].
        attributes: [N, A] as measured.

    Raises:
        ValueError: there are fewer samples than features.
    """
    centre, spread = attributes.mean(0), np.maximum(attributes.std(0), _LEAST_SPREAD)
    terms = features((attributes - centre) / spread)
    if len(terms) <= terms.shape[1]:
        raise ValueError(f"expected more than {terms.shape[1]} samples, got {len(terms)}")
    terms = terms - terms.mean(0)
    normal = terms.T @ terms + _RIDGE * len(terms) * np.eye(terms.shape[1])
    found = np.linalg.solve(normal, terms.T @ (latents - latents.mean(0)))
    return LatentEdits(centre, spread, np.asarray(found, np.float64))


def wanted(measured: DoubleArray, asked: Mapping[str, float]) -> DoubleArray:
    """[A]: the attributes that are asked for, the others as measured."""
    target = measured.copy()
    for name, value in asked.items():
        target[ATTRIBUTES.index(name)] = value
    return target


def edits_to_tensors(edits: LatentEdits) -> dict[str, torch.Tensor]:
    """What a file holds."""
    return {name: torch.from_numpy(getattr(edits, name).astype(np.float32)) for name in _SHAPES}


def edits_from_tensors(tensors: Mapping[str, torch.Tensor], w_dim: int, source: str) -> LatentEdits:
    """Read :func:`edits_to_tensors` back.

    Raises:
        WeightsError: a tensor is missing, has another shape or holds what is no number.
    """
    count = len(ATTRIBUTES)
    shapes = {"centre": (count,), "spread": (count,), "coefficients": (count + 5, w_dim)}
    for name, shape in shapes.items():
        found = tensors.get(name)
        if found is None or tuple(found.shape) != shape or not bool(torch.isfinite(found.float()).all()):
            lack = "is missing" if found is None else f"is {list(found.shape)}"
            raise WeightsError(f"{source} holds no edits for this generator: {name} {lack}, expected {list(shape)}.")
    if not bool((tensors["spread"] > 0).all()):
        raise WeightsError(f"{source} holds no edits for this generator: a spread is not above 0.")
    return LatentEdits(*(tensors[name].double().numpy() for name in _SHAPES))


_SHAPES = ("centre", "spread", "coefficients")
