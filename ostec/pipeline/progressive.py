"""View by view: draw the face so far, project it, bring the generated picture back, and let it own what it shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ostec.core.types import BoolArray, FloatArray, ProjectedView
from ostec.project.invert import Projection
from ostec.project.objective import LatentSpace, ProjectionSettings, ProjectionTarget
from ostec.project.terms import PictureTerm
from ostec.project.together import Projecting, ProjectionRequest
from ostec.project.views import View, ViewStudio
from ostec.stitch.views import Progress, ViewFill, ViewSettings, add_view, merge_views


@dataclass(frozen=True)
class ViewProjector:
    """What projecting a face's views needs."""

    studio: ViewStudio
    space: LatentSpace
    start: Callable[[View, ProjectionTarget], torch.Tensor] | None = None
    """Gives a view's starting latent; the encoder's own if None."""
    judged: Callable[[View, ProjectionTarget], Sequence[PictureTerm]] | None = None
    """Gives a view's terms of whole pictures; none if None."""
    projection: ProjectionSettings = field(default_factory=ProjectionSettings)
    views: ViewSettings = field(default_factory=ViewSettings)


@dataclass(frozen=True)
class ProgressiveFill:
    """What the generator made of a face."""

    fill: ViewFill
    views: tuple[ProjectedView, ...]
    """In the order of projection."""


@dataclass(frozen=True)
class UvState:
    """A face's texture before the generator sees it; S is the side at which the views are joined."""

    texture: FloatArray
    """[S, S, 3]: the photo over the prior's fill, without holes, padded beyond the chart."""
    trust: FloatArray
    """[S, S] in [0, 1]: how far the photo gave the texel."""
    base: FloatArray
    """[S, S, 3]: what stays where no view sees a texel."""
    inside: BoolArray
    """[S, S]: the chart."""


def complete_views(
    projector: ViewProjector,
    waves: Sequence[Sequence[View]],
    state: UvState,
    iterations: int,
    on_progress: Callable[[float], None] | None = None,
) -> Projecting[ProgressiveFill]:
    """Complete a texture progressively (OSTeC, section 3.2): later views see what earlier ones made.

    Args:
        projector: the face's studio and the generator.
        waves: the views in order; those of one wave are projected at once and do not see each other.
        state: the texture so far.
        iterations: of each view.
        on_progress: called with the share that is done, 0 to 1.
    """
    progress = Progress(state.texture, state.trust)
    done: list[ProjectedView] = []
    for number, wave in enumerate(waves):

        def report(k: int, number: int = number) -> None:
            if on_progress is not None:
                on_progress((number + k / max(iterations, 1)) / len(waves))

        targets = [projector.studio.draw(progress.texture, progress.trust, view) for view in wave]
        found = yield _request(projector, wave, targets, iterations, report)
        for b, (view, target) in enumerate(zip(wave, targets, strict=True)):
            seen = projector.studio.read(found.image[b], view, len(state.texture))
            progress = add_view(progress, seen, projector.views)
            done.append(projected_view(view, target, found, b))
    return ProgressiveFill(merge_views(state.base, progress.views, state.inside, projector.views), tuple(done))


def _request(
    projector: ViewProjector,
    wave: Sequence[View],
    targets: Sequence[ProjectionTarget],
    iterations: int,
    report: Callable[[int], None],
) -> ProjectionRequest:
    """The views of one wave, as one batch."""
    both = list(zip(wave, targets, strict=True))
    return ProjectionRequest(
        space=projector.space,
        target=ProjectionTarget(
            *(torch.cat([getattr(one, name) for one in targets]) for name in ("image", "trust", "guessed"))
        ),
        iterations=iterations,
        settings=projector.projection,
        start=torch.cat([projector.start(*one) for one in both]) if projector.start is not None else None,
        judged=[projector.judged(*one) for one in both] if projector.judged is not None else (),
        on_iteration=report,
    )


def projected_view(view: View, target: ProjectionTarget, found: Projection, b: int = 0) -> ProjectedView:
    """The record of one view: its target, a batch of one, and what was found at place ``b`` of another batch."""
    return ProjectedView(
        name=view.name,
        render=_picture(target.image),
        trust=target.trust[0, 0].cpu().numpy(),
        generated=_picture(found.image[b : b + 1]),
        latent=found.ws[b].cpu().numpy(),
        losses=found.losses[b],
        iterations=found.iterations[b],
    )


def _picture(planes: torch.Tensor) -> FloatArray:
    return np.ascontiguousarray((planes[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy())
