"""Fit the texture prior: probabilistic PCA with missing data by expectation maximisation, robust to what is no face.

Tipping and Bishop 1999, with a weight per texel that multiplies its precision (0: not seen) and a noise per texel:
E-step: z | y ~ N(m, C) with C = (I + sum_t w_t B_t' B_t / s_t)^-1 and m = C sum_t w_t B_t' (y_t - mu_t) / s_t.
M-step: rows of [B, mu] by weighted least squares on E[z], E[z z']; s_t from the expected residual. Between the two,
texels whose neighbourhood the model cannot explain lose weight as under a Student t (Peel and McLachlan 2000).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, uniform_filter

from ostec.core.types import BoolArray

_CHUNK_TEXELS = 1024
_CHUNK_FACES = 256
_LEAST_NOISE = 2e-5


@dataclass(frozen=True)
class PriorTrainSettings:
    """How the prior is fitted."""

    components: int = 120
    """Dimension of the linear model: more reconstruct better (100: 30.0 dB at 32 px, 60: 28.3) and fill alike."""
    iterations: int = 10
    """Rounds of expectation maximisation; the noise changes by less than 0.5 % after eight."""
    size: int = 128
    """Side of the layout in texels; the portraits hold no finer detail."""
    freedom: float = 4.0
    """Degrees of freedom of the Student t; smaller is more suspicious."""
    trusting_iterations: int = 3
    """First rounds without suspicion, while the model knows nothing yet."""
    ridge: float = 1.0
    """Weight of a row of the basis being zero, in portraits: rows that were hardly ever seen stay near the mean."""
    least_portraits: float = 60.0
    """Total weight below which a texel takes its parameters from the nearest one that was seen more."""
    seed: int = 0
    """Of the random start."""


@dataclass
class PriorModel:
    """The parameters; T texels, K components."""

    mean: torch.Tensor
    """[T, 3]."""
    basis: torch.Tensor
    """[T, 3, K]."""
    noise: torch.Tensor
    """[T]."""


def fit_prior(
    colour: torch.Tensor,
    weight: torch.Tensor,
    inside: BoolArray,
    settings: PriorTrainSettings,
    on_round: Callable[[int, PriorModel], None] | None = None,
) -> PriorModel:
    """Fit the model.

    Args:
        colour: [N, T, 3] in [0, 1].
        weight: [N, T] in [0, 1].
        inside: [S, S] the chart of T texels, for neighbourhoods.
        settings: of the fit.
        on_round: called after each round with its number from 1.
    """
    model = _start(colour, weight, settings)
    trust = weight
    for done in range(1, settings.iterations + 1):
        z, cov = expect(model, colour, trust)
        model, z = _standardise(_maximise(colour, trust, z, cov, settings.ridge), z, cov)
        if done > settings.trusting_iterations:
            trust = _suspect(model, colour, weight, z, inside, settings.freedom)
        if on_round is not None:
            on_round(done, model)
    return fill_unseen(model, weight.sum(0), inside, settings.least_portraits)


def fill_unseen(model: PriorModel, seen: torch.Tensor, inside: BoolArray, least: float) -> PriorModel:
    """Give texels that hardly any portrait showed the parameters of the nearest one that was seen.

    ``seen`` [T] is each texel's total weight over all portraits, from ``least`` on it counts as seen; ``inside`` [S, S]
    is the chart.
    """
    known = np.zeros(inside.shape, bool)
    known[inside] = (seen >= least).cpu().numpy()
    if not known.any():
        return model
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(np.count_nonzero(inside))
    source = torch.from_numpy(index[nearest[0], nearest[1]][inside]).to(model.mean.device)
    return PriorModel(model.mean[source], model.basis[source], model.noise[source])


def _start(colour: torch.Tensor, weight: torch.Tensor, settings: PriorTrainSettings) -> PriorModel:
    """Mean, and principal components of the weighted residuals by randomised SVD (Halko et al. 2011)."""
    generator = torch.Generator().manual_seed(settings.seed)
    total = weight.sum(0).clamp(min=1e-3)
    mean = (weight[..., None] * colour).sum(0) / total[:, None]
    residual = ((colour - mean) * weight[..., None].sqrt()).reshape(len(colour), -1)
    probe = torch.randn(len(colour), settings.components + 10, generator=generator).to(colour.device)
    for _ in range(2):
        probe = torch.linalg.qr(residual @ (residual.T @ probe))[0]
    _, scale, rows = torch.linalg.svd(probe.T @ residual, full_matrices=False)
    basis = rows[: settings.components] * scale[: settings.components, None] / len(colour) ** 0.5
    noise = (residual**2).reshape(*colour.shape).sum((0, 2)) / (3 * total) * 0.3
    shaped = basis.reshape(settings.components, *mean.shape).permute(1, 2, 0).contiguous()
    return PriorModel(mean, shaped, noise.clamp(min=1e-5))


def expect(model: PriorModel, colour: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """E-step: posterior mean [N, K] and covariance [N, K, K] of the coefficients of N faces."""
    count, k = len(colour), model.basis.shape[-1]
    rows, columns = torch.triu_indices(k, k, device=colour.device)
    normal = colour.new_zeros(count, len(rows))
    for a in range(0, len(model.noise), _CHUNK_TEXELS):
        part = model.basis[a : a + _CHUNK_TEXELS]
        gram = torch.einsum("tck,tcl->tkl", part, part)[:, rows, columns]
        normal += weight[:, a : a + _CHUNK_TEXELS] @ (gram / model.noise[a : a + _CHUNK_TEXELS, None])
    scaled = (model.basis / model.noise[:, None, None]).reshape(-1, k)
    z, cov = colour.new_empty(count, k), colour.new_empty(count, k, k)
    for a in range(0, count, _CHUNK_FACES):
        rows_of = slice(a, a + _CHUNK_FACES)
        right = ((colour[rows_of] - model.mean) * weight[rows_of, :, None]).reshape(-1, len(scaled)) @ scaled
        matrix = colour.new_zeros(len(right), k, k)
        matrix[:, rows, columns] = normal[rows_of]
        matrix[:, columns, rows] = normal[rows_of]
        cov[rows_of] = torch.linalg.inv(matrix + torch.eye(k, device=colour.device))
        z[rows_of] = torch.einsum("nkl,nl->nk", cov[rows_of], right)
    return z, cov


def _maximise(
    colour: torch.Tensor, weight: torch.Tensor, z: torch.Tensor, cov: torch.Tensor, ridge: float
) -> PriorModel:
    """M-step, texel by texel; the mean is one more column whose coefficient is 1."""
    count, k = z.shape
    extended = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
    rows, columns = torch.triu_indices(k + 1, k + 1, device=z.device)
    second = colour.new_empty(count, len(rows))
    for a in range(0, count, _CHUNK_FACES):
        part = slice(a, a + _CHUNK_FACES)
        moment = extended[part, :, None] * extended[part, None]
        moment[:, :k, :k] += cov[part]
        second[part] = moment[:, rows, columns]
    penalty = torch.diag(torch.tensor([ridge] * k + [1e-3], device=z.device))
    means, bases, noises = [], [], []
    for a in range(0, colour.shape[1], _CHUNK_TEXELS):
        w, y = weight[:, a : a + _CHUNK_TEXELS], colour[:, a : a + _CHUNK_TEXELS]
        packed = w.T @ second
        normal = colour.new_zeros(len(packed), k + 1, k + 1)
        normal[:, rows, columns] = packed
        normal[:, columns, rows] = packed
        right = torch.stack([(w * y[..., c]).T @ extended for c in range(3)], dim=1)  # [t, 3, K + 1]
        solved = torch.linalg.solve(normal + penalty, right.transpose(1, 2)).transpose(1, 2)
        power = torch.stack([(w * y[..., c] ** 2).sum(0) for c in range(3)], dim=1).sum(1)
        fit = torch.einsum("tck,tkl,tcl->t", solved, normal, solved)
        residual = power - 2 * (solved * right).sum((1, 2)) + fit
        noises.append((residual / (3 * w.sum(0).clamp(min=1))).clamp(min=_LEAST_NOISE))
        bases.append(solved[..., :k])
        means.append(solved[..., k])
    return PriorModel(torch.cat(means), torch.cat(bases), torch.cat(noises))


def _standardise(model: PriorModel, z: torch.Tensor, cov: torch.Tensor) -> tuple[PriorModel, torch.Tensor]:
    """Move the coefficients' mean and covariance into mu and B, so that z ~ N(0, I) holds again.

    The same faces then have other coefficients [N, K], which are returned too. Parameter-expanded EM (Liu, Rubin
    and Wu 1998): plain EM corrects the scale of B only over very many rounds.
    """
    centre = z.mean(0)
    spread = (z - centre).T @ (z - centre) / len(z) + cov.mean(0)
    factor = torch.linalg.cholesky(spread)
    moved = torch.linalg.solve_triangular(factor, (z - centre).T, upper=False).T
    return PriorModel(model.mean + model.basis @ centre, model.basis @ factor, model.noise), moved


def _suspect(
    model: PriorModel, colour: torch.Tensor, weight: torch.Tensor, z: torch.Tensor, inside: BoolArray, freedom: float
) -> torch.Tensor:
    """Student-t weights [N, T] times ``weight``: what a neighbourhood's mean squared error says of a texel."""
    trust = torch.empty_like(weight)
    side = max(1, len(inside) // 32) | 1
    for a in range(0, len(colour), _CHUNK_FACES // 2):
        part = slice(a, a + _CHUNK_FACES // 2)
        predicted = model.mean + torch.einsum("nk,tck->ntc", z[part], model.basis)
        error = ((colour[part] - predicted) ** 2).mean(-1) / model.noise
        image = np.zeros((len(error), *inside.shape), np.float32)
        image[:, inside] = error.cpu().numpy()
        local = torch.from_numpy(uniform_filter(image, (1, side, side))[:, inside]).to(error.device)
        trust[part] = weight[part] * ((freedom + 1) / (freedom + local)).clamp(max=1.0)
    return trust
