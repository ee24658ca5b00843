"""View by view: draw the faces so far, project them in one batch, bring the generated pictures back.

OSTeC (Gecer et al., CVPR 2021, section 3.2): later views see what earlier ones made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from ostec.core.types import BoolArray, FloatArray, ProjectedView
from ostec.project.invert import Projection
from ostec.project.objective import ProjectionTarget
from ostec.project.studio import View, ViewStudio
from ostec.stitch.merge import Progress, add_view
from ostec.stitch.settings import ViewSettings


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


@dataclass
class FaceViews:
    """One face on its way through its views."""

    studio: ViewStudio
    state: UvState
    views: tuple[View, ...]
    """All that are projected for it, in order."""
    progress: Progress = field(init=False)
    done: list[ProjectedView] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.progress = Progress(self.state.texture, self.state.trust)

    def draw(self, view: View) -> ProjectionTarget:
        """The face so far in one view."""
        return self.studio.draw(self.progress.texture, self.progress.trust, view)

    def add(self, view: View, target: ProjectionTarget, found: Projection, b: int, settings: ViewSettings) -> None:
        """Bring picture ``b`` of a projection back: it owns the texels that nobody owned and that it shows well."""
        seen = self.studio.read(found.image[b], view, len(self.state.texture))
        self.progress = add_view(self.progress, seen, settings)
        self.done.append(projected_view(view, target, found, b))


@dataclass(frozen=True)
class WaveItem:
    """One picture of a batch that is projected: one view of one face."""

    face: int
    view: View
    target: ProjectionTarget


Search = Callable[[Sequence[WaveItem], Callable[[float], None]], Projection]
"""Projects the pictures of one wave; told where to report the share that is done."""


def project_views(
    faces: Sequence[FaceViews],
    waves: Sequence[Sequence[View]],
    search: Search,
    settings: ViewSettings,
    on_progress: Callable[[float], None],
) -> None:
    """Complete textures progressively; each face's ``progress`` and ``done`` hold what was made.

    Args:
        faces: B faces; one that leaves out a view (mode soft: the front) waits for the others.
        waves: views in order; those of one wave are projected at once, of all faces, and do not see each other.
        search: projects one batch.
        settings: how views are used.
        on_progress: called with the share that is done, 0 to 1.
    """
    for number, wave in enumerate(waves):
        items = [
            WaveItem(b, view, face.draw(view)) for b, face in enumerate(faces) for view in wave if view in face.views
        ]
        found = search(items, lambda share, number=number: on_progress((number + share) / len(waves)))  # type: ignore[misc]
        for k, item in enumerate(items):
            faces[item.face].add(item.view, item.target, found, k, settings)


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
