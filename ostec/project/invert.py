"""Masked latent optimisation: the W+ with which the generator agrees with a picture where it is trusted.

After OSTeC (Gecer et al., CVPR 2021, section 3.3) and the projector of StyleGAN2 (Karras et al. 2020, appendix D), from
a starting latent that an encoder gives if there is one. Several pictures are optimised in one batch, each on its own.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ostec.nets.losses import feature_loss, latent_loss, ms_ssim_loss, pixel_loss
from ostec.nets.perceptual import Lpips
from ostec.project.terms import PictureTerm


@dataclass(frozen=True)
class ProjectionSettings:
    """How a picture is projected; the defaults scored best on the ground-truth head."""

    learning_rate: float = 0.01
    """Of Adam, in deviations of the latent, from a start that knows something of the picture."""
    learning_rate_mean: float = 0.1
    """The same from the mean latent, which is far from everybody."""
    warm_up: float = 0.05
    """Share of the iterations in which the learning rate rises."""
    decay: float = 0.3
    """Share of the iterations, at the end, in which it falls to zero on a cosine."""
    pixel: float = 1.0
    """Weight of the pixels' log-cosh."""
    ms_ssim: float = 1.0
    """Weight of 1 - MS-SSIM."""
    features: float = 1.0
    """Weight of the features' distance, where there is no LPIPS."""
    lpips: float = 0.5
    """Weight of LPIPS, where there is one: to MS-SSIM as in OSTeC (100 to 200). Not tuned like the others, for its
    backbone does not ship."""
    landmarks: float = 0.1
    """Weight of the landmarks' log-cosh."""
    identity: float = 0.05
    """Weight of the identity's distance, where there is an ArcFace: to MS-SSIM as in OSTeC (10 to 200). Not tuned like
    the others, for no ArcFace ships."""
    identity_frontal: float = 0.5
    """The same for the frontal portrait (OSTeC: 100 to 200)."""
    realism: float = 0.0025
    """Weight of the discriminator's verdict, where there is one of whole pictures: to MS-SSIM as in OSTeC (0.5 to
    200). Not tuned, for none ships."""
    latent: float = 0.02
    """Weight of the squared distance from the mean latent."""
    start: float = 0.2
    """Weight of the squared distance from the starting latent, unless that is the mean."""
    guess: float = 0.1
    """Trust in pixels that the prior guessed."""
    patience: int = 40
    """Iterations without progress after which a picture is left as it is."""
    progress: float = 1e-3
    """Least relative fall of the loss that counts as progress."""


@dataclass(frozen=True)
class LatentSpace:
    """A generator as the projection sees it."""

    synthesise: Callable[[torch.Tensor], torch.Tensor]
    """W+ [B, num_ws, W] to pictures [B, 3, R, R] in [-1, 1]."""
    mean: torch.Tensor
    """[num_ws, W] mean latent."""
    deviation: torch.Tensor
    """[num_ws, W] standard deviation over faces; positive."""
    encode: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None
    """Picture [B, 3, R, R] and trust [B, 1, R, R] to a starting W+; without it the mean latent is the start."""
    features: Callable[[torch.Tensor], list[torch.Tensor]] | None = None
    """Picture to features; without it that term is left out."""
    features_name: str = "none"
    """What the record calls what is compared, be it the features or LPIPS."""
    lpips: Lpips | None = None
    """Takes the place of the features."""


@dataclass(frozen=True)
class ProjectionTarget:
    """B pictures to be found."""

    image: torch.Tensor
    """[B, 3, R, R] in [-1, 1]."""
    trust: torch.Tensor
    """[B, 1, R, R] in [0, 1]: 1 where the picture is known."""
    guessed: torch.Tensor
    """[B, 1, R, R] in [0, 1]: 1 where the picture is a guess that is better than nothing."""


@dataclass(frozen=True)
class Projection:
    """What was found, for B pictures."""

    image: torch.Tensor
    """[B, 3, R, R]: the generator's pictures."""
    ws: torch.Tensor
    """[B, num_ws, W]."""
    losses: list[dict[str, float]]
    """Per picture: each term as weighted and their ``total`` at the best latent, and ``start_total`` at the start."""
    iterations: list[int]
    """Per picture: the iteration after which it was left as it is."""


@dataclass
class _Best:
    """The best latent of each picture so far, and since when it has not become better."""

    ws: torch.Tensor
    total: torch.Tensor
    terms: dict[str, torch.Tensor]
    mark: torch.Tensor
    """The loss that progress is measured from."""
    waited: torch.Tensor
    """Iterations since the last progress."""
    stopped: torch.Tensor
    """Iteration at which the picture was left as it is; -1 while it is not."""


def project(
    space: LatentSpace,
    target: ProjectionTarget,
    iterations: int,
    settings: ProjectionSettings | None = None,
    start: torch.Tensor | None = None,
    on_iteration: Callable[[int], None] | None = None,
    judged: Sequence[PictureTerm] = (),
) -> Projection:
    """Find W+ for each picture: the best of all that were tried, the start among them.

    Pixels of weight 0, neither trusted nor guessed, are not looked at by the encoder or by any term but those of whole
    pictures. One that is not looked at in every iteration may be recorded as it was a few before the best.

    Args:
        space: the generator.
        target: pictures and what of them is trusted.
        iterations: at most; 0 gives the start.
        settings: the defaults if None.
        start: [B, num_ws, W]; the encoder's if None, the mean latent without encoder.
        on_iteration: called before each iteration with its number from 0.
        judged: further terms, of whole pictures; those without weight are left out.

    Raises:
        ValueError: the shapes of picture, trust and start do not fit, or ``iterations`` is negative.
    """
    _check(space, target, iterations, start)
    settings = settings or ProjectionSettings()
    target = _without_unknown(target, settings)
    with torch.no_grad():
        origin = start if start is not None else _start(space, target)
        wanted = _features(space, target.image)
    step = ((origin - space.mean) / space.deviation).clone().requires_grad_(True)
    anchored = start is not None or space.encode is not None
    rate = settings.learning_rate if anchored else settings.learning_rate_mean
    optimiser = torch.optim.Adam([step], lr=rate, betas=(0.9, 0.999))
    best: _Best | None = None
    first: torch.Tensor | None = None
    said: dict[str, torch.Tensor] = {}
    for k in range(iterations + 1):
        if on_iteration is not None and k < iterations:
            on_iteration(k)
        ws = space.mean + step * space.deviation
        image = space.synthesise(ws)
        terms = _terms(space, image, ws, target, wanted, origin if anchored else None, settings)
        said = _judge(judged, image, k, said)
        terms |= said
        total = torch.stack(list(terms.values())).sum(0)
        first = total.detach() if first is None else first
        best = _keep_best(best, ws, total, terms, k, settings)
        if k == iterations or bool((best.stopped >= 0).all()):
            break
        optimiser.param_groups[0]["lr"] = rate * rate_at(k / iterations, settings)
        (step.grad,) = torch.autograd.grad(total.sum(), step)
        optimiser.step()
    assert best is not None
    assert first is not None
    with torch.no_grad():
        image = space.synthesise(best.ws)
    return Projection(image, best.ws, _losses(best, first), _iterations(best, k))


def _judge(
    judged: Sequence[PictureTerm], image: torch.Tensor, k: int, before: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The weighted terms of whole pictures in iteration k: name -> [B]."""
    said = {}
    for term in judged:
        if term.weight > 0 and k % term.every == 0:
            value = term.loss(image)
            # Its value counts once, its gradient as often as it is left out.
            said[term.name] = term.weight * (value + (term.every - 1) * (value - value.detach()))
        elif term.weight > 0:
            said[term.name] = before[term.name].detach()
    return said


def rate_at(done: float, settings: ProjectionSettings) -> float:
    """Share of the learning rate after a share ``done`` of the iterations (StyleGAN2, appendix D)."""
    fall = min(1.0, (1 - done) / settings.decay) if settings.decay > 0 else 1.0
    rise = min(1.0, (done + 1e-2) / settings.warm_up) if settings.warm_up > 0 else 1.0
    return (0.5 - 0.5 * math.cos(fall * math.pi)) * rise


def _check(space: LatentSpace, target: ProjectionTarget, iterations: int, start: torch.Tensor | None) -> None:
    if iterations < 0:
        raise ValueError(f"iterations must be 0 or more, got {iterations}")
    shape = target.image.shape
    for name in ("trust", "guessed"):
        got = getattr(target, name).shape
        if got != (shape[0], 1, *shape[2:]):
            raise ValueError(f"expected {name} [{shape[0]}, 1, {shape[2]}, {shape[3]}], got {list(got)}")
    if start is not None and start.shape != (shape[0], *space.mean.shape):
        raise ValueError(f"expected start {[shape[0], *space.mean.shape]}, got {list(start.shape)}")


def _weight(target: ProjectionTarget, settings: ProjectionSettings) -> torch.Tensor:
    """How much each pixel counts, [B, 1, R, R]."""
    return torch.maximum(target.trust, settings.guess * target.guessed)


def _without_unknown(target: ProjectionTarget, settings: ProjectionSettings) -> ProjectionTarget:
    """The target with the mean colour of what counts where nothing is known.

    MS-SSIM's windows and the receptive fields of encoder and features reach beyond the pixels that count.
    """
    weight = _weight(target, settings)
    known = torch.where(weight > 0, target.image, 0)
    mean = (known * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-6)
    return replace(target, image=torch.where(weight > 0, target.image, mean))


def _start(space: LatentSpace, target: ProjectionTarget) -> torch.Tensor:
    if space.encode is None:
        return space.mean.expand(len(target.image), -1, -1).clone()
    return space.encode(target.image, target.trust)


def _terms(
    space: LatentSpace,
    image: torch.Tensor,
    ws: torch.Tensor,
    target: ProjectionTarget,
    wanted: list[torch.Tensor],
    origin: torch.Tensor | None,
    settings: ProjectionSettings,
) -> dict[str, torch.Tensor]:
    """Each weighted term of the objective, [B]."""
    weight = _weight(target, settings)
    terms = {
        "pixel": settings.pixel * pixel_loss(image, target.image, weight),
        "ms_ssim": settings.ms_ssim * ms_ssim_loss(image, target.image, weight),
        "latent": settings.latent * latent_loss(ws, space.mean, space.deviation),
    }
    if origin is not None:
        terms["start"] = settings.start * latent_loss(ws, origin, space.deviation)
    if wanted:
        # What is not trusted is the target's on both sides, so that it says nothing through wide receptive fields.
        found = _features(space, target.image + (image - target.image) * weight)
        if space.lpips is not None:
            terms["lpips"] = settings.lpips * space.lpips.distance(found, wanted, target.trust)
        else:
            terms["features"] = settings.features * feature_loss(found, wanted, target.trust)
    return terms


def _features(space: LatentSpace, image: torch.Tensor) -> list[torch.Tensor]:
    """Per layer what is compared of pictures [B, 3, R, R]; empty if nothing is."""
    if space.lpips is not None:
        return space.lpips.features(image)
    return space.features(image) if space.features is not None else []


def _keep_best(
    best: _Best | None,
    ws: torch.Tensor,
    total: torch.Tensor,
    terms: dict[str, torch.Tensor],
    k: int,
    settings: ProjectionSettings,
) -> _Best:
    now = {name: value.detach() for name, value in terms.items()}
    total = total.detach()
    if best is None:
        none = torch.zeros(len(ws), dtype=torch.long, device=ws.device)
        return _Best(ws.detach().clone(), total, now, total, none, none - 1)
    running = best.stopped < 0
    better = (total < best.total) & running
    enough = (total < best.mark * (1 - settings.progress)) & running
    best.mark = torch.where(enough, total, best.mark)
    best.waited = torch.where(enough, 0, best.waited + running.long())
    best.ws = torch.where(better[:, None, None], ws.detach(), best.ws)
    best.total = torch.where(better, total, best.total)
    best.terms = {name: torch.where(better, now[name], old) for name, old in best.terms.items()}
    best.stopped = torch.where(running & (best.waited >= settings.patience), k, best.stopped)
    return best


def _losses(best: _Best, first: torch.Tensor) -> list[dict[str, float]]:
    rows = []
    for b in range(len(first)):
        row = {name: round(float(value[b]), 6) for name, value in best.terms.items()}
        rows.append({**row, "total": round(float(best.total[b]), 6), "start_total": round(float(first[b]), 6)})
    return rows


def _iterations(best: _Best, last: int) -> list[int]:
    return [int(s) if s >= 0 else last for s in best.stopped]
