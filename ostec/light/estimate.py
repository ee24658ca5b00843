"""Light and albedo of one face, together: what a photo shows is albedo times the light that comes to the place.

In logs of linear light, per texel t and channel c: y = g_c + a_tc + log e_tc, with

* albedo a = mu + B z, z ~ N(0, I) (a linear model by place, as :mod:`ostec.prior.linear` is for textures; made from
  portraits whose light was taken out with itself, by turns);
* light e = T L + k, T the transfer of ``transfer.py``, L >= 0 the lamps, k >= 0 light that comes to every place alike.

Lamps follow from albedo by non-negative least squares, albedo from lamps in closed form; a few turns of both, with
Student-t weights, give the most probable of each. Highlights, cast shadows that the face's own shape does not explain,
beards and moles are outliers of it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls

from ostec.core.errors import WeightsError
from ostec.core.types import Array, BoolArray, DoubleArray, FloatArray
from ostec.light.settings import LightSettings


@dataclass(frozen=True)
class AlbedoModel:
    """Log albedo of faces by place, less the skin's own level; T texels of an S x S layout, K components."""

    inside: BoolArray
    """[S, S]."""
    mean: FloatArray
    """[T, 3]."""
    basis: FloatArray
    """[T, 3, K], scaled so that coefficients have unit variance."""
    noise: FloatArray
    """[T] variance of a texel given the coefficients."""

    @property
    def size(self) -> int:
        """Side S of the layout in texels."""
        return len(self.inside)

    def posterior(self, seen: Array, weight: Array, tau: float) -> DoubleArray:
        """Most probable z [K] given log albedo [T, 3] seen with weights [T]."""
        precision = weight / (self.noise * tau)
        flat = self.basis.reshape(-1, self.basis.shape[-1])
        weighted = (self.basis * precision[:, None, None].astype(np.float32)).reshape(flat.shape)
        normal = flat.T @ weighted + np.eye(flat.shape[1])
        return np.asarray(np.linalg.solve(normal, weighted.T @ (seen - self.mean).reshape(-1)), np.float64)


@dataclass(frozen=True)
class FittedLight:
    """The light of one photo and the albedo that goes with it, at the model's T texels."""

    lamps: DoubleArray
    """[D + 1, 3]: linear RGB of every lamp, last what comes to every place alike; the mean of each
    channel's log light over the face is 0."""
    gain: DoubleArray
    """[3]: log level of the skin."""
    coefficients: DoubleArray
    """[K] of the albedo."""
    albedo: FloatArray
    """[T, 3]: log albedo with its level, as the model has it."""
    weight: FloatArray
    """[T]: how far a texel is believed."""


def fit_light(
    seen: Array,
    weight: Array,
    transfer: Array,
    model: AlbedoModel,
    settings: LightSettings | None = None,
    start: Array | None = None,
) -> FittedLight:
    """Fit light and albedo.

    Args:
        seen: [T, 3] log of linear light.
        weight: [T] in [0, 1]: how far a texel shows bare face.
        transfer: [T, D].
        model: of albedo.
        settings: the defaults if None.
        start: [K] coefficients to begin with.
    """
    settings = settings or LightSettings()
    passed = np.c_[transfer, np.ones(len(transfer))].astype(np.float64)
    lamps = np.ones((passed.shape[1], 3)) / passed.sum(1).mean()
    z = np.zeros(model.basis.shape[-1]) if start is None else start
    albedo, trust = model.mean + model.basis @ z, weight.astype(np.float64)
    variance = model.noise + settings.spread**2
    for _ in range(settings.turns):
        bright = np.maximum(passed @ lamps, settings.least)
        gain = np.average(seen - albedo - np.log(bright), axis=0, weights=trust / variance)
        wanted = np.exp(np.clip(seen - albedo - gain, -4, 2))
        sure = trust / variance / (trust / variance).sum() / bright.mean(1) ** 2
        grey = _lamps(passed, wanted.mean(1), sure, settings)
        lamps = np.repeat(grey[:, None], 3, axis=1)
        if settings.coloured:
            lamps = np.stack([_lamps(passed, channel, sure, settings, grey) for channel in wanted.T], axis=1)
        light = np.log(np.maximum(passed @ lamps, settings.least))
        lamps /= np.exp(np.average(light, axis=0, weights=weight))  # so that the face keeps its mean tone
        left = seen - np.log(np.maximum(passed @ lamps, settings.least))
        gain = np.average(left - albedo, axis=0, weights=trust / variance)
        z = model.posterior(left - gain, trust, settings.tau)
        albedo = model.mean + model.basis @ z
        error = (left - gain - albedo).mean(1)
        trust = weight * (settings.freedom + 1) / (settings.freedom + error**2 / variance)
    return FittedLight(
        lamps,
        np.asarray(gain, np.float64),
        np.asarray(z, np.float64),
        (albedo + gain).astype(np.float32),
        trust.astype(np.float32),
    )


def _lamps(
    passed: DoubleArray, wanted: Array, sure: Array, settings: LightSettings, near: DoubleArray | None = None
) -> DoubleArray:
    """[D + 1]: the lamps whose light is nearest to ``wanted`` [T], weighted by ``sure`` [T].

    Without ``near`` they are held to an even sky, else to those lamps.
    """
    normal = (passed * sure[:, None]).T @ passed
    right = passed.T @ (sure * wanted)
    count = len(right)
    hold = np.eye(count)
    if near is None:
        hold[:-1, :-1] -= 1 / (count - 1)
        hold[-1, -1] = 0
        hold *= settings.even
    else:
        hold *= settings.grey
        right = right + hold @ near
    factor = np.linalg.cholesky(normal + hold + 1e-6 * np.eye(count))
    return np.asarray(nnls(factor.T, np.linalg.solve(factor, right), maxiter=30 * count)[0])


def albedo_from_tensors(tensors: dict[str, torch.Tensor]) -> AlbedoModel:
    """Build the model from a file's tensors: inside [S, S] u8, mean [T, 3], basis [T, 3, K] (half), noise [T].

    Raises:
        WeightsError: a tensor is missing, has another shape or holds what is no number.
    """
    try:
        inside = tensors["inside"].numpy().astype(bool)
        mean, basis, noise = (tensors[name].float().numpy() for name in ("mean", "basis", "noise"))
    except KeyError as error:
        raise WeightsError(f"The albedo model's file has no tensor {error}.") from error
    count = int(inside.sum())
    square = inside.ndim == 2 and len(set(inside.shape)) == 1 and basis.ndim == 3
    if not square or mean.shape != (count, 3) or basis.shape[:2] != (count, 3) or noise.shape != (count,):
        raise WeightsError(f"The albedo model's tensors do not fit its chart of {count} texels.")
    if not all(np.isfinite(values).all() for values in (mean, basis, noise)):
        raise WeightsError("The albedo model's tensors hold something that is no finite number.")
    return AlbedoModel(inside, mean, basis, noise)
