"""OSTeC's loop (Gecer et al., CVPR 2021): views of the face projected into a StyleGAN2, their texels stitched."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage

from ostec.complete.canvas import UvCanvas, chosen_mode
from ostec.complete.completer import OnProgress, unwatched
from ostec.complete.progressive import FaceViews, WaveItem, project_views, projected_view
from ostec.complete.settings import PortraitSettings
from ostec.complete.terms import Judging
from ostec.core.types import (
    BoolArray,
    ByteArray,
    Completion,
    Evidence,
    FittedFace,
    FloatArray,
    ProjectedView,
    Provenance,
    Topology,
)
from ostec.prior.linear import PriorFill
from ostec.project.invert import Projection, project_each
from ostec.project.objective import ProjectionTarget
from ostec.project.settings import ProjectionSettings
from ostec.project.space import FaceGenerator
from ostec.project.studio import View, ViewStudio, views_of, waves_of
from ostec.render.unwrap import enlarge_inside
from ostec.stitch.merge import ViewFill, merge_views
from ostec.stitch.settings import ViewSettings

WORK_SIZE = 512
"""Least side in texels at which views are joined, or the texture's own if that is smaller."""
TEXELS_PER_PIXEL = 4
"""Side at which views are joined over the side of the generator's pictures."""


@dataclass(frozen=True)
class GeneratorSettings:
    """How views are projected and used."""

    mode: str = "auto"
    """auto, soft or hard."""
    schedule: str = "progressive"
    """progressive or waves; see ``project.studio.waves_of``."""
    iterations: int = 200
    """Of each view, at most."""
    iterations_frontalize: int = 300
    """Of the frontal portrait, at most."""
    project: ProjectionSettings = field(default_factory=ProjectionSettings)
    views: ViewSettings = field(default_factory=ViewSettings)
    portrait: PortraitSettings = field(default_factory=PortraitSettings)


@dataclass(frozen=True)
class PictureSearch:
    """One picture of a face that is to be found."""

    target: ProjectionTarget
    """A batch of one."""
    points: FloatArray
    """[468, >= 2] the face's landmarks in the picture's pixels."""
    identity: FloatArray | None = None
    """[K] whose face it is, if a face recogniser said so."""
    start: torch.Tensor | None = None
    """[1, num_ws, W]; the encoder's or the mean latent if None."""


@dataclass(frozen=True)
class _Begun:
    """One face before its views."""

    evidence: Evidence
    fill: PriorFill | None
    weight: FloatArray
    mode: str
    reason: str


class GeneratorCompleter:
    """Completes faces by views that a generator imagines; holds what is computed once."""

    def __init__(
        self,
        topology: Topology,
        canvas: UvCanvas,
        generator: FaceGenerator,
        judging: Judging,
        settings: GeneratorSettings | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """Complete in the layout of ``canvas``, which is that of ``topology``, on ``device``."""
        self.topology, self.canvas, self.generator, self.judging = topology, canvas, generator, judging
        self.settings = settings or GeneratorSettings()
        self.device = torch.device(device)

    @property
    def draws_portraits(self) -> bool:
        """Whether the generator's pictures are portraits of people with their own shape."""
        return self.generator.frame.own_shape

    def work_size(self, size: int) -> int:
        """Side in texels at which views are joined, for a texture of ``size``."""
        return min(size, max(WORK_SIZE, TEXELS_PER_PIXEL * self.generator.resolution))

    def studio(self, face: FittedFace) -> ViewStudio:
        """Where a face's views are drawn for the generator."""
        return ViewStudio(
            self.topology, face, self.generator.frame, self.generator.resolution, self.canvas.layout, self.device
        )

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        """Complete the texture of each face; see :class:`ostec.complete.completer.TextureCompleter`.

        The sums over a batch of another size may differ in their last digits: who is completed with whom must follow
        from the work, not from the clock.
        """
        on_progress("prior", 0.0)
        begun = [self._begin(one, self.canvas.fill(one)) for one in evidence]
        on_progress("project", 0.0)
        faces = [self._views_of(one) for one in begun]

        def search(items: Sequence[WaveItem], report: Callable[[float], None]) -> Projection:
            wanted = [
                PictureSearch(
                    item.target,
                    faces[item.face].studio.landmarks(item.view),
                    begun[item.face].evidence.identity,
                    self._start(begun[item.face].fill, item.view, item.target),
                )
                for item in items
            ]
            return self.search(wanted, self.settings.iterations, report)

        widest = "hard" if any(one.mode == "hard" for one in begun) else "soft"
        waves = waves_of(widest, self.settings.schedule)
        project_views(faces, waves, search, self.settings.views, lambda share: on_progress("project", share))
        on_progress("stitch", 0.0)
        return [self._stitched(one, views) for one, views in zip(begun, faces, strict=True)]

    def search(
        self,
        pictures: Sequence[PictureSearch],
        iterations: int,
        on_progress: Callable[[float], None],
        settings: ProjectionSettings | None = None,
    ) -> Projection:
        """Project pictures of faces in one batch.

        Args:
            pictures: all with or all without a start.
            iterations: of each, at most.
            on_progress: called with the share that is done, 0 to 1.
            settings: this completer's if None.
        """
        settings = settings or self.settings.project
        targets, starts = [one.target for one in pictures], [one.start for one in pictures if one.start is not None]
        return project_each(
            self.generator.space,
            ProjectionTarget(*(torch.cat([getattr(one, name) for one in targets]) for name in _PLANES)),
            iterations,
            settings,
            torch.cat(starts) if starts else None,
            lambda k: on_progress(k / max(iterations, 1)),
            [self.judging.terms(one.points, one.target, settings, one.identity) for one in pictures],
        )

    def _begin(self, evidence: Evidence, fill: PriorFill | None) -> _Begun:
        canvas = self.canvas
        profile_deg = canvas.blend_settings.profile_deg
        mode, reason = chosen_mode(
            self.settings.mode, evidence.face.pose_deg[1], profile_deg, self.generator.resolution
        )
        return _Begun(evidence, fill, canvas.weight(evidence, fill), mode, reason)

    def _views_of(self, begun: _Begun) -> FaceViews:
        evidence = begun.evidence
        state = self.canvas.start(evidence, begun.weight, begun.fill, self.work_size(evidence.seen.size))
        return FaceViews(self.studio(evidence.face), state, views_of(begun.mode))

    def _start(self, fill: PriorFill | None, view: View, target: ProjectionTarget) -> torch.Tensor | None:
        return None if fill is None else self.generator.start(target, view.pose_deg, fill.coefficients)

    def _stitched(self, begun: _Begun, views: FaceViews) -> Completion:
        state, fill, seen = views.state, begun.fill, begun.evidence.seen
        made = merge_views(state.base, views.progress.views, state.inside, self.settings.views)
        work = len(state.texture)
        texture = enlarge_inside(made.texture, state.inside, seen.size) if work < seen.size else made.texture
        given = _enlarge_labels(made.provenance, seen.inside)
        if fill is None:
            given = np.where(given == Provenance.PRIOR, Provenance.PADDING, given).astype(np.uint8)
        joined = self.canvas.join(begun.evidence, begun.weight, ViewFill(np.clip(texture, 0, 1), given), begun.mode)
        return Completion(
            joined,
            begun.weight >= 0.5,
            begun.mode,
            begun.reason,
            tuple(views.done),
            None if fill is None else fill.model,
            self.canvas.is_occluded(fill),
        )

    def invert(
        self,
        evidence: Evidence,
        fill: PriorFill | None,
        view: View,
        iterations: int,
        on_progress: Callable[[float], None],
    ) -> ProjectedView:
        """Project the pictures themselves: their texture at one pose, trusted where they are believed."""
        face = self._views_of(self._begin(evidence, fill))
        target = face.draw(view)
        start = self._start(fill, view, target)
        picture = PictureSearch(target, face.studio.landmarks(view), evidence.identity, start)
        return projected_view(view, target, self.search([picture], iterations, on_progress))


_PLANES = ("image", "trust", "guessed")


def _enlarge_labels(labels: ByteArray, inside: BoolArray) -> ByteArray:
    """Labels of a smaller layout brought to the chart ``inside`` [S, S], each texel its nearest one's."""
    nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    whole = labels[nearest[0], nearest[1]]
    index = (np.arange(len(inside)) + 0.5) * len(labels) // len(inside)
    rows = index.astype(int)
    return np.where(inside, whole[rows[:, None], rows[None]], Provenance.OUTSIDE).astype(np.uint8)
