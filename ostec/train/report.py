"""What a prior is worth on portraits that it never saw."""

from collections.abc import Callable

import numpy as np

from ostec.core.types import BoolArray, FloatArray
from ostec.prior.linear import LinearPrior, PriorSettings, fill_from_prior
from ostec.train.portraits import PortraitTexels

_SCORED = 0.4
"""Weight above which a texel of a held-out portrait is taken for the truth."""


def report_prior(prior: LinearPrior, data: PortraitTexels, settings: PriorSettings | None = None) -> dict[str, float]:
    """Mean PSNR in dB over the held-out portraits.

    ``reconstruction``: the model alone, all texels given. ``hidden_half``: one half of the chart hidden (a strip of 8
    % about the midline is not scored), filled by the prior; beside it the mean face, the median colour of the seen
    half, and its mirror image.
    """
    settings = settings or PriorSettings()
    u = np.broadcast_to((np.arange(prior.size) + 0.5) / prior.size, data.inside.shape)
    halves = ((u > 0.5, u < 0.46), (u < 0.5, u > 0.54))
    scores: dict[str, list[float]] = {}

    def note(name: str, guess: FloatArray, truth: FloatArray, where: BoolArray) -> None:
        if np.count_nonzero(where) > 100:
            error = float(((guess[where] - truth[where]) ** 2).mean())
            scores.setdefault(name, []).append(-10 * np.log10(max(error, 1e-10)))

    for i in np.flatnonzero(data.held_out):
        truth, weight = _image(data, int(i))
        note("reconstruction", fill_from_prior(prior, truth, weight, settings).model, truth, weight > _SCORED)
        for shown, hidden in halves:
            where = hidden & (weight > _SCORED)
            for name, guess in _guesses(prior, truth, np.where(shown, weight, 0).astype(np.float32), settings).items():
                note(f"hidden_half_{name}", guess(), truth, where)
    return {name: round(float(np.mean(values)), 3) for name, values in scores.items()}


def _guesses(
    prior: LinearPrior, truth: FloatArray, weight: FloatArray, settings: PriorSettings
) -> dict[str, Callable[[], FloatArray]]:
    seen = weight > _SCORED

    def median() -> FloatArray:
        return np.broadcast_to(np.median(truth[seen], axis=0), truth.shape)

    return {
        "prior": lambda: fill_from_prior(prior, truth, weight, settings).texture,
        "mean_face": lambda: prior.image(prior.mean),
        "median_colour": median,
        "mirrored": lambda: np.where(seen[:, ::-1, None], truth[:, ::-1], median()),
    }


def _image(data: PortraitTexels, index: int) -> tuple[FloatArray, FloatArray]:
    colour = np.zeros((*data.inside.shape, 3), np.float32)
    weight = np.zeros(data.inside.shape, np.float32)
    colour[data.inside] = data.colour[index].astype(np.float32) / 255
    weight[data.inside] = data.weight[index]
    return colour, weight
