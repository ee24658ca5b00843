"""What a diffusion model is worth beside the linear posterior on portraits that neither saw: halves hidden."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray
from ostec.nets.denoiser import TextureCondition, TextureDenoiser, sample_residual
from ostec.prior.linear import TONE_FACTORS, LinearPrior, fill_from_prior, sample_from_prior
from ostec.render.colour import LUMA
from ostec.train.portraits import PortraitTexels

SAMPLES = 8
_STEPS = 16
_SCORED = 0.4
"""Weight above which a texel of a held-out portrait is taken for the truth."""
_FEWEST = 100
"""Scored texels of a half that has figures."""


@dataclass(frozen=True)
class HiddenHalf:
    """A portrait of which one side is hidden."""

    truth: FloatArray
    """[S, S, 3] in [0, 1]."""
    weight: FloatArray
    """[S, S]: what is shown."""
    scored: BoolArray
    """[S, S]: hidden, and the portrait showed it."""


def hidden_halves(data: PortraitTexels, rows: np.ndarray) -> list[HiddenHalf]:
    """Both halves of each of the portraits ``rows``; a strip of 8 % about the midline is not scored."""
    size = len(data.inside)
    u = np.broadcast_to((np.arange(size) + 0.5) / size, data.inside.shape)
    found = []
    for row in rows:
        truth, weight = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
        truth[data.inside], weight[data.inside] = data.colour[row].astype(np.float32) / 255, data.weight[row]
        for shown, hidden in ((u > 0.5, u < 0.46), (u < 0.5, u > 0.54)):
            scored = hidden & (weight > _SCORED)
            if np.count_nonzero(scored) > _FEWEST:
                found.append(HiddenHalf(truth, np.where(shown, weight, 0).astype(np.float32), scored))
    return found


def report_diffusion(
    network: TextureDenoiser, prior: LinearPrior, data: PortraitTexels, portraits: int = 24
) -> dict[str, float]:
    """Means over the held-out portraits, at most so many, evenly chosen.

    Of ``prior`` (the fill), and of the samples of ``linear`` (the prior's posterior) and ``diffusion``: PSNR of one,
    of the mean of eight, and of the best of eight; ``sharpness``, gradient energy over the truth's (1 is right); and
    ``band``, the share of texels' channels between the least and the largest of eight samples (7/9 = 0.78 where they
    are drawn as the truth is).
    """
    held = np.flatnonzero(data.held_out)
    rows = held[:: max(1, -(-len(held) // portraits))]
    scores: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        scores.setdefault(name, []).append(value)

    for number, half in enumerate(hidden_halves(data, rows)):
        fill = fill_from_prior(prior, half.truth, half.weight)
        random = np.random.default_rng((20, number))
        noise = random.standard_normal((SAMPLES, prior.basis.shape[-1] + TONE_FACTORS), np.float32)
        drawn = {
            "linear": sample_from_prior(prior, half.truth, fill.trust, noise),
            "diffusion": draw_textures(network, fill.texture, half.truth, fill.trust, random, SAMPLES),
        }
        note("prior", _psnr(fill.texture, half))
        note("prior_sharpness", _sharpness(fill.texture, half))
        for name, samples in drawn.items():
            note(f"{name}_one", _psnr(samples[0], half))
            note(f"{name}_mean_of_8", _psnr(samples.mean(0), half))
            note(f"{name}_best_of_8", max(_psnr(sample, half) for sample in samples))
            note(f"{name}_sharpness", _sharpness(samples[0], half))
            within = (samples.min(0) <= half.truth) & (half.truth <= samples.max(0))
            note(f"{name}_band", float(within[half.scored].mean()))
    return {name: round(float(np.mean(values)), 3) for name, values in scores.items()}


def draw_textures(
    network: TextureDenoiser,
    guess: FloatArray,
    seen: FloatArray,
    trust: FloatArray,
    random: np.random.Generator,
    count: int,
) -> FloatArray:
    """Samples [N, S, S, 3] of the network given a guess [S, S, 3] and what is seen [S, S, 3] with trust [S, S]."""
    planes = [torch.from_numpy(x).permute(2, 0, 1).expand(count, -1, -1, -1) for x in (guess, seen, trust[..., None])]
    given = TextureCondition(*planes)
    noise = torch.from_numpy(random.standard_normal(planes[0].shape, np.float32))
    residual = sample_residual(network, given, noise, np.linspace(0, 1, _STEPS + 1).tolist())
    return (given.guess + residual).clamp(0, 1).permute(0, 2, 3, 1).numpy()


def _psnr(image: FloatArray, half: HiddenHalf) -> float:
    error = float(((image - half.truth)[half.scored] ** 2).mean())
    return -10 * float(np.log10(max(error, 1e-10)))


def _sharpness(image: FloatArray, half: HiddenHalf) -> float:
    inner = ndimage.binary_erosion(half.scored, iterations=2)
    made, true = (sum(ndimage.sobel(x @ LUMA, axis)[inner] ** 2 for axis in (0, 1)) for x in (image, half.truth))
    return float(made.sum() / max(true.sum(), 1e-9))
