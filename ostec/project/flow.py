"""Editing of latents by StyleFlow's published flow, with the attributes that are measured here.

Each edit takes the latent to its code with the attributes it has and back with those it shall have (FFHQ-UV, step 3):
light first, then yaw, pitch and expression; of each only the published rows of W+ change.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.errors import WeightsError
from ostec.core.types import DoubleArray, FloatArray
from ostec.nets import styleflow
from ostec.nets.styleflow import StyleFlow
from ostec.project.edit import ATTRIBUTES, LIGHT
from ostec.render.harmonics import harmonics

ROWS = {
    "light": (7, 11),
    "yaw": (0, 3),
    "pitch": (0, 3),
    "expression": (0, 17),
    "glasses": (2, 3),
    "baldness": (0, 5),
}
"""First and last row of W+ of each edit. Published but for the expression, for which FFHQ-UV has a direction."""
EVEN_LEVEL = 1.0
"""Order 0 of the light that is asked for."""
_NUM_WS = 18
_MEAN = (0.854, -0.151, 0.280, -0.041, -0.022, -0.014, -0.163, -0.005, 0.121, 0.43, 0.17, -0.04, -2.9, 0.074, 0.078)
_MEAN_AGE, _MEAN_EXPRESSION = 30.5, 0.743
"""What the flow was trained on, on average: for the attributes that are not measured here."""
_SPREAD = {"yaw_deg": 11.2, "pitch_deg": 6.7, "smile": 0.4, "open": 0.2}
_LIGHT_SPREAD = 0.15


@dataclass(frozen=True)
class FlowEdits:
    """Edits of a StyleGAN2 of FFHQ at 1024 px."""

    flow: StyleFlow
    steps: int = styleflow.STEPS
    """Of the solver."""

    @property
    def spread(self) -> DoubleArray:
        """[A] of the attributes, as :class:`ostec.project.edit.LatentEdits` has it."""
        return np.array([_SPREAD.get(name, _LIGHT_SPREAD) for name in ATTRIBUTES])

    def unmeasured(self, latent: FloatArray, measured: DoubleArray, asked: Mapping[str, float]) -> FloatArray:
        """[18, 512]: what is added to W+ for attributes that nothing measures here, one after the other.

        The face is taken to wear glasses where they are to go, and to have hair as the training's faces have.

        Raises:
            WeightsError: the latent is of another generator.
        """
        moved, now = self._checked(latent), published_attributes(measured)
        for kind, value in asked.items():
            place = styleflow.ATTRIBUTES.index(kind)
            now[place] = 1.0 if kind == "glasses" else now[place]
            then = now.copy()
            then[place] = value
            moved = self._moved(moved, now, then, kind)
            now = then
        return (moved - torch.from_numpy(latent)).numpy()

    def shift(self, latent: FloatArray, before: DoubleArray, after: DoubleArray) -> FloatArray:
        """[18, 512]: what is added to W+ so that attributes [A] become others.

        Raises:
            WeightsError: the latent is of another generator.
        """
        moved, now = self._checked(latent), published_attributes(before)
        wanted = published_attributes(after)
        changed = {
            "light": not np.array_equal(before[-len(LIGHT) :], after[-len(LIGHT) :]),
            **{kind: _value(now, kind) != _value(wanted, kind) for kind in ("yaw", "pitch", "expression")},
        }
        for kind in (kind for kind, does in changed.items() if does):
            then = now.copy()
            if kind == "light":
                then[:9] = wanted[:9] * EVEN_LEVEL / wanted[0]
            else:
                then[styleflow.ATTRIBUTES.index(kind)] = _value(wanted, kind)
            moved = self._moved(moved, now, then, kind)
            now = then
        return (moved - torch.from_numpy(latent)).numpy()

    def _checked(self, latent: FloatArray) -> torch.Tensor:
        if latent.shape != (_NUM_WS, styleflow.WIDTH):
            raise WeightsError(f"StyleFlow edits W+ of [18, 512], and this generator has {list(latent.shape)}.")
        return torch.from_numpy(latent.copy())

    def _moved(self, latent: torch.Tensor, now: DoubleArray, then: DoubleArray, kind: str) -> torch.Tensor:
        """W+ [18, 512] with the rows of one edit as the flow has them for other attributes [17]."""
        old, new = (torch.tensor(a, dtype=torch.float32).expand(_NUM_WS, -1) for a in (now, then))
        found = self.flow(self.flow(latent, old, steps=self.steps), new, back=True, steps=self.steps)
        first, last = ROWS[kind]
        moved = latent.clone()
        moved[first : last + 1] = found[first : last + 1]
        return moved


def published_attributes(measured: DoubleArray) -> DoubleArray:
    """[17] in StyleFlow's order of attributes [A]; those that are not measured here are its training's means."""
    found = np.array([*_MEAN, _MEAN_AGE, _MEAN_EXPRESSION])
    own = dict(zip(ATTRIBUTES, measured.tolist(), strict=True))
    found[:9] = found[0] * to_dpr(np.concatenate([[1.0], measured[-len(LIGHT) :]]))
    for theirs, ours in (("yaw", "yaw_deg"), ("pitch", "pitch_deg"), ("expression", "smile")):
        found[styleflow.ATTRIBUTES.index(theirs)] = own[ours]
    return found


def to_dpr(coefficients: DoubleArray) -> DoubleArray:
    """[9]: harmonics of scattered light as DPR has them, scaled so that the first is 1.

    DPR's axes are x to the image's right, y away from the viewer, z up; its order is 1, y, z, x, xy, yz, 3z^2 - 1, xz,
    x^2 - y^2, orthonormal, with the cosine's weights.
    """
    normals = np.random.default_rng(0).normal(size=(64, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    x, y, z = normals[:, 0], -normals[:, 2], normals[:, 1]
    theirs = np.stack([np.ones(64), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=1)
    orders = np.array([1, 3, 3, 3, 15, 15, 5 / 4, 15, 15 / 4])
    cosine = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5)
    terms = theirs * np.sqrt(orders / (4 * np.pi)) * cosine
    found = np.linalg.lstsq(terms, harmonics(normals) @ coefficients, rcond=None)[0]
    return np.asarray(found / found[0], np.float64)


def _value(attributes: DoubleArray, kind: str) -> float:
    return float(attributes[styleflow.ATTRIBUTES.index(kind)])
