"""Masked latent optimisation: the W+ with which the generator agrees with a picture where it is trusted.

After OSTeC (Gecer et al., CVPR 2021, section 3.3) and the projector of StyleGAN2 (Karras et al. 2020, appendix D), from
a starting latent that an encoder gives if there is one. Several pictures are optimised in one batch, each on its own.
It goes from coarse to fine: the first iterations compare small pictures, which cost little.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ostec.project.objective import Drawer, LatentSpace, Objective, ProjectionTarget, smaller, without_unknown
from ostec.project.settings import ProjectionSettings
from ostec.project.terms import PictureTerm, side_by_side

LEAST_SIDE = 16
"""Of a level's pictures in pixels."""
LEAST_ITERATIONS = 3
"""Of a coarser level; fewer are better spent on the next one."""


@dataclass(frozen=True)
class Projection:
    """What was found, for B pictures."""

    image: torch.Tensor
    """[B, 3, R, R]: the generator's pictures, whole."""
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


@dataclass(frozen=True)
class Stage:
    """Iterations at one level of the pyramid."""

    side: int
    """Of the pictures that are compared, in pixels."""
    first: int
    """Number of its first iteration."""
    iterations: int


def project(
    space: LatentSpace,
    target: ProjectionTarget,
    iterations: int,
    settings: ProjectionSettings | None = None,
    start: torch.Tensor | None = None,
    on_iteration: Callable[[int], None] | None = None,
    judged: Sequence[PictureTerm] = (),
    observe: Callable[[int, torch.Tensor], None] | None = None,
) -> Projection:
    """Find W+ for each picture: the best of all that were tried at the finest level, the start among them.

    Pixels of weight 0, neither trusted nor guessed, are not looked at by the encoder or by any term but those of whole
    pictures. One that is not looked at in every iteration may be recorded as it was a few before the best.

    Args:
        space: the generator.
        target: pictures and what of them is trusted.
        iterations: at most; 0 gives the start.
        settings: the defaults if None.
        start: [B, num_ws, W]; the encoder's if None, the mean latent without encoder.
        on_iteration: called before each iteration with its number from 0.
        judged: further terms, of whole pictures, at the finest level; those without weight are left out.
        observe: called after each iteration with its number and the latent that it led to, [B, num_ws, W].

    Raises:
        ValueError: the shapes of picture, trust and start do not fit, or ``iterations`` is negative.
    """
    _check(space, target, iterations, start)
    settings = settings or ProjectionSettings()
    search = _Search(space, without_unknown(target, settings), settings, start)
    plan = stages(iterations, target.image.shape[-1], settings, space.pyramid is not None)
    best: _Best | None = None
    if len(plan) > 1:  # the coarser stages compare what cannot be held against the finest one's
        search.enter(plan[-1].side, judged)
        with torch.no_grad():
            best = _keep_best(None, *search.look(0), 0, settings)
    first = None if best is None else best.total
    k = 0
    for stage in plan:
        finest = stage is plan[-1]
        search.enter(stage.side, judged if finest else ())
        for j in range(stage.iterations + finest):
            k = stage.first + j
            if on_iteration is not None and k < iterations:
                on_iteration(k)
            ws, total, terms = search.look(j)
            if finest:
                best = _keep_best(best, ws, total, terms, k, settings)
                first = best.total if first is None else first
                if k == iterations or bool((best.stopped >= 0).all()):
                    break
            search.descend(total, k / iterations)
            if observe is not None:
                observe(k, search.latent.detach())
    assert best is not None
    assert first is not None
    image, terms = search.recorded(best)
    return Projection(image, best.ws, _losses(best, terms, first), _iterations(best, k))


def project_each(
    space: LatentSpace,
    target: ProjectionTarget,
    iterations: int,
    settings: ProjectionSettings,
    start: torch.Tensor | None,
    on_iteration: Callable[[int], None],
    judged: Sequence[Sequence[PictureTerm]],
) -> Projection:
    """As :func:`project`, of pictures with terms of their own.

    Args:
        judged: per picture its terms, which hold for a batch of one. A picture that lacks a term that another one has
            loses nothing by it, and has no row of it in its losses.
    """
    joined = side_by_side(judged) if len(judged) > 1 else judged[0]
    found = project(space, target, iterations, settings, start, on_iteration, joined)
    of_any = {term.name for term in joined}
    lacking = [of_any - {term.name for term in own} for own in judged]
    losses = [
        {name: value for name, value in row.items() if name not in none}
        for row, none in zip(found.losses, lacking, strict=True)
    ]
    return replace(found, losses=losses)


def stages(iterations: int, resolution: int, settings: ProjectionSettings, pyramid: bool) -> list[Stage]:
    """What is compared when, the finest last; one stage alone without pyramid, or where pictures are small."""
    side = min(resolution, settings.side)
    found: list[Stage] = []
    done = 0
    for level in settings.levels if pyramid else ():
        count = round(level.share * iterations)
        if side // level.divisor >= LEAST_SIDE and count >= LEAST_ITERATIONS:
            found.append(Stage(side // level.divisor, done, count))
            done += count
    return [*found, Stage(side, done, iterations - done)]


class _Search:
    """The latents of B pictures under way."""

    def __init__(
        self, space: LatentSpace, target: ProjectionTarget, settings: ProjectionSettings, start: torch.Tensor | None
    ) -> None:
        self._space, self._target, self._settings = space, target, settings
        self._full = space.resolution or target.image.shape[-1]
        with torch.no_grad():
            origin = start if start is not None else _start(space, target)
        anchored = start is not None or space.encode is not None
        self._origin = origin if anchored else None
        self._rate = settings.learning_rate if anchored else settings.learning_rate_mean
        self._step = ((origin - space.mean) / space.deviation).clone().requires_grad_(True)
        self._optimiser = torch.optim.Adam([self._step], lr=self._rate, betas=(0.9, 0.999))
        self._judged: Sequence[PictureTerm] = ()
        self._objectives: dict[int, Objective] = {}
        self._said: dict[str, torch.Tensor] = {}

    @property
    def latent(self) -> torch.Tensor:
        """[B, num_ws, W]."""
        return self._space.mean + self._step * self._space.deviation

    def enter(self, side: int, judged: Sequence[PictureTerm]) -> None:
        """Compare pictures of ``side`` px from now on."""
        self._drawer = Drawer(self._space, self._full, side, self._settings.refresh)
        if side not in self._objectives:  # the finest is entered twice, for the start and for its own stage
            self._objectives[side] = Objective(self._space, self._target, self._settings, side, self._origin)
        self._objective = self._objectives[side]
        self._judged = [term for term in judged if term.weight > 0]

    def look(self, j: int) -> tuple[torch.Tensor, torch.Tensor, dict[str, torch.Tensor]]:
        """Latent, sum [B] and terms [B] each in the stage's iteration j."""
        ws = self.latent
        due = [term for term in self._judged if j % term.every == 0]
        drawn = self._drawer(ws, whole=any(term.whole for term in due))
        terms = self._objective.terms(drawn.image, ws)
        for term in self._judged:
            if term in due:
                picture = drawn.whole if term.whole and drawn.whole is not None else drawn.image
                value = term.loss(picture)
                # Its value counts once, its gradient as often as it is left out.
                self._said[term.name] = term.weight * (value + (term.every - 1) * (value - value.detach()))
            else:
                self._said[term.name] = self._said[term.name].detach()
            terms[term.name] = self._said[term.name]
        return ws, torch.stack(list(terms.values())).sum(0), terms

    def descend(self, total: torch.Tensor, done: float) -> None:
        """One step of the optimiser, after a share ``done`` of the iterations."""
        self._optimiser.param_groups[0]["lr"] = self._rate * rate_at(done, self._settings)
        (self._step.grad,) = torch.autograd.grad(total.sum(), self._step)
        self._optimiser.step()

    def recorded(self, best: "_Best") -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The whole pictures [B, 3, R, R] of the best latents and, seen on them, their terms."""
        with torch.no_grad():
            image = self._space.synthesise(best.ws)
            if self._drawer.is_exact:
                return image, best.terms
            return image, {**best.terms, **self._objective.terms(smaller(image, self._drawer.side), best.ws)}


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


def _start(space: LatentSpace, target: ProjectionTarget) -> torch.Tensor:
    if space.encode is None:
        return space.mean.expand(len(target.image), -1, -1).clone()
    return space.encode(target.image, target.trust)


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


def _losses(best: _Best, terms: dict[str, torch.Tensor], first: torch.Tensor) -> list[dict[str, float]]:
    total = best.total if terms is best.terms else torch.stack(list(terms.values())).sum(0)
    rows = []
    for b in range(len(first)):
        row = {name: round(float(value[b]), 6) for name, value in terms.items()}
        rows.append({**row, "total": round(float(total[b]), 6), "start_total": round(float(first[b]), 6)})
    return rows


def _iterations(best: _Best, last: int) -> list[int]:
    return [int(s) if s >= 0 else last for s in best.stopped]
