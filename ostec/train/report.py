"""What a prior and a generator are worth on portraits that they never saw."""

import numpy as np
import torch

from ostec.core.types import BoolArray, FloatArray
from ostec.nets.checkpoint import PortraitGenerator
from ostec.prior.linear import LinearPrior, fill_from_prior
from ostec.prior.settings import PriorSettings
from ostec.train.generator import Draw, render_views
from ostec.train.portraits import PortraitTexels
from ostec.train.renders import PoseBank, TrainingTextures, nearest_inside, on_device

_SCORED = 0.4
"""Weight above which a texel of a held-out portrait is taken for the truth."""
_VIEW_SEED = 20
"""Of the views on which a generator is judged."""
_LEAST_SHARE = 0.005
"""Share of a view's pixels that must be hidden for it to be judged."""
_BATCH = 32


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
        truth, weight = np.zeros((*data.inside.shape, 3), np.float32), np.zeros(data.inside.shape, np.float32)
        truth[data.inside], weight[data.inside] = data.colour[i].astype(np.float32) / 255, data.weight[i]
        note("reconstruction", fill_from_prior(prior, truth, weight, settings).model, truth, weight > _SCORED)
        for shown, hidden in halves:
            left = np.where(shown, weight, 0).astype(np.float32)
            seen = left > _SCORED
            middle = np.median(truth[seen], axis=0) if seen.any() else np.nan
            median = np.broadcast_to(middle, truth.shape).astype(np.float32)
            guesses: dict[str, FloatArray] = {
                "prior": fill_from_prior(prior, truth, left, settings).texture,
                "mean_face": prior.image(prior.mean),
                "median_colour": median,
                "mirrored": np.where(seen[:, ::-1, None], truth[:, ::-1], median),
            }
            for name, guess in guesses.items():
                note(f"hidden_half_{name}", guess, truth, hidden & (weight > _SCORED))
    return {name: round(float(np.mean(values)), 3) for name, values in scores.items()}


@torch.no_grad()
def report_generator(
    model: PortraitGenerator,
    textures: TrainingTextures,
    rows: torch.Tensor,
    bank: PoseBank,
    prior: LinearPrior,
    views: int = 256,
) -> dict[str, float]:
    """Mean PSNR in dB over held-out portraits, in pixels that they showed and an imagined photo hid.

    ``hidden_view_generator``: one pass of the encoder and the generator. ``hidden_view_prior``: what the encoder was
    given in these pixels, the prior's fill. ``hidden_view_mean_face``: the mean texture. The ``views`` of the portraits
    ``rows`` [M], which were held out, are at random poses, the same in every call.
    """
    nearest = nearest_inside(prior.inside)
    mean = torch.from_numpy(prior.image(prior.mean))[nearest[0], nearest[1]].permute(2, 0, 1)
    mean = mean.to(textures.colour.device)
    random = torch.Generator().manual_seed(_VIEW_SEED)
    portrait = rows[torch.arange(views) % len(rows)] if len(rows) else rows
    count = len(portrait)
    draw = Draw(
        portrait,
        torch.randint(textures.guess.shape[1], (count,), generator=random),
        torch.randint(len(bank.grid), (count,), generator=random),
        torch.rand(count, generator=random) < 0.5,
        torch.zeros(count, dtype=torch.bool),
    )
    scores: dict[str, dict[int, list[float]]] = {}
    for start in range(0, count, _BATCH):
        part = slice(start, start + _BATCH)
        some = Draw(*(values[part] for values in vars(draw).values()))
        for name, values in _judge_views(model, textures, some, bank, mean).items():
            of_portrait = scores.setdefault(f"hidden_view_{name}", {})
            for owner, value in zip(some.portrait.tolist(), values.tolist(), strict=True):
                if np.isfinite(value):
                    of_portrait.setdefault(owner, []).append(value)
    means = {name: [np.mean(values) for values in of_portrait.values()] for name, of_portrait in scores.items()}
    return {name: round(float(np.mean(values)), 3) for name, values in means.items() if values}


def _judge_views(
    model: PortraitGenerator, textures: TrainingTextures, draw: Draw, bank: PoseBank, mean: torch.Tensor
) -> dict[str, torch.Tensor]:
    """PSNR [B] in the hidden pixels, given the mean face [3, s, s]; no number where they are too few."""
    draw = on_device(draw, textures.colour.device)
    batch = render_views(textures, draw, bank, model.frame.ground)
    device = next(model.generator.parameters()).device
    if model.encoder is None:
        raise ValueError("expected a generator with an encoder, got one of natural photos")
    encoded = model.encoder(batch.hint.to(device), batch.trust.to(device))
    drawn = model.generator.synthesis(model.generator.mapping(encoded.z) + encoded.offset).clamp(-1, 1)
    flat = bank.render(mean.expand(len(draw.pose), -1, -1, -1), draw.pose, draw.mirrored)
    flat = (flat + (1 - bank.coverage[draw.pose]) * model.frame.ground) * 2 - 1
    hidden = (batch.shown - batch.trust > 0.5).float()
    pixels = hidden.sum((1, 2, 3))
    few = pixels < _LEAST_SHARE * hidden[0].numel()
    found = {}
    for name, picture in (("generator", drawn.to(batch.image.device)), ("prior", batch.hint), ("mean_face", flat)):
        # Pictures are in [-1, 1], so that a colour differs by half of what they do.
        error = (((picture - batch.image) / 2).square() * hidden).sum((1, 2, 3)) / (3 * pixels.clamp(min=1))
        found[name] = torch.where(few, torch.nan, -10 * error.clamp(min=1e-10).log10())
    return found
