"""From an observed face and its completed texture to a finished face: portrait, stages, head, record."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import torch

from ostec.complete.terms import Judging
from ostec.core.morphable import ModelShape
from ostec.core.progress import PhotoRun
from ostec.core.record import RunRecord
from ostec.core.settings import to_json
from ostec.core.types import (
    Completion,
    ObservedFace,
    ProjectedView,
    Provenance,
    TexturedFace,
    kinds_of,
)
from ostec.export.pictures import FaceRenderer, overlay_head, stage_pictures
from ostec.export.record import versions
from ostec.export.surfaces import Surface, surfaces_of
from ostec.fit.regress import read_shape
from ostec.heads.maker import HeadMaker, described
from ostec.heads.rig import as_neutral
from ostec.io.images import to_bytes
from ostec.pipeline.figures import photo_figures
from ostec.pipeline.frontal import FrontalSource, Sitter, look_around
from ostec.pipeline.materials import MaterialMaker
from ostec.pipeline.models import Models
from ostec.pipeline.result import CompletedFace
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class Assembler:
    """Puts finished faces together; all that they have in common."""

    models: Models
    settings: CompleteSettings
    device: torch.device
    weights: dict[str, str]
    """Name -> SHA-256 of all that is loaded."""
    notes: tuple[str, ...]
    """Warnings of every face."""
    judging: Judging
    completer: str
    """Who completed the textures."""
    features: str | None
    """What the projection's pictures are compared by; None where nothing is projected."""
    renderer: FaceRenderer
    heads: HeadMaker | None = None
    materials: MaterialMaker | None = None

    def assemble(
        self,
        source: dict[str, str],
        observed: ObservedFace,
        completion: Completion,
        portrait: FrontalSource | None,
        run: PhotoRun,
        shape: ModelShape | None = None,
    ) -> CompletedFace:
        """The finished face with the record of how it was made; ends ``run``'s stage.

        Args:
            source: ``source`` and ``source_sha256`` of the photo.
            observed: the face.
            completion: its texture, as :func:`as_written` gives it.
            portrait: of the frontal view, if asked for.
            run: times and warnings of the face.
            shape: the face model's coefficients, where they are known already.
        """
        face, settings, texture = observed.face, self.settings, completion.texture
        views, renderer = completion.views, self.renderer
        lit = self.materials(observed, completion) if self.materials is not None else None
        texture = lit.texture if lit is not None else texture
        textured = TexturedFace(face, self.models.topology, texture, views=views, identity=observed.identity)
        head, over_photo, surfaces, around = None, {}, list[Surface](), None
        if self.heads is not None:
            read = self.models.regressor
            if shape is None and read is not None:
                shape = read_shape(read, observed.photo, face.landmarks)
            around = look_around(self.models, observed.photo, face)
            head = self.heads(_bare(textured), shape, around, settings.hair == "painted")
            head = replace(head, unlit=lit is not None)
            over_photo = {"Fitted head": overlay_head(observed.photo, face, head)}
            head = as_neutral(head) if settings.expression == "neutral" else head
            surfaces = surfaces_of(head)
        frames = renderer.turntable(face, texture.colour, surfaces) if settings.turntable else None
        view = portrait.view if portrait is not None else None
        frontal = None
        if portrait is not None:
            sitter = Sitter(face, texture.colour, self.models.topology, surfaces, around)
            frontal = portrait.portrait(renderer, sitter, settings.turn)
        pictures = stage_pictures(observed.photo, observed.seen, completion.prior, textured, renderer, surfaces)
        picture = frontal.picture if frontal is not None else None
        textured = replace(textured, frontal=picture, stages=pictures | over_photo)
        record = {
            **source,
            **self._made_with(),
            **self._of_face(observed, completion, run),
            **self.projected((*views, *([view] if view else []))),
            "face_model": described(head),
            **({"light": lit.light} if lit is not None else {}),
            **({"frontal": frontal.record} if frontal is not None else {}),
        }
        run.enter("")
        return CompletedFace(
            textured, observed.photo, cast("RunRecord", record), run.seconds, frames, view, head, completion.samples
        )

    def projected(self, views: Sequence[ProjectedView]) -> dict[str, Any]:
        """What the record says of projections."""
        return {
            "losses": {view.name: {**view.losses, "iterations": view.iterations} for view in views},
            "features": self.features if views else None,
            **self.judging.described(views),
        }

    def _made_with(self) -> dict[str, Any]:
        return {
            "settings": to_json(self.settings),
            "completer": self.completer,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "weights": self.weights,
        }

    def _of_face(self, observed: ObservedFace, completion: Completion, run: PhotoRun) -> dict[str, Any]:
        inside = kinds_of(completion.texture.provenance)
        inside = inside[(inside > 0) & (inside < Provenance.PADDING)]
        shares = {p.name.lower(): round(float(np.mean(inside == p)), 4) for p in Provenance if np.any(inside == p)}
        return {
            "face_box": [round(float(v), 2) for v in observed.box.box],
            "face_confidence": round(float(observed.confidence), 4),
            "fit_residual_percent": round(observed.face.residual, 3),
            "pose_deg": [round(v, 2) for v in observed.face.pose_deg],
            "mode": completion.mode,
            "mode_reason": completion.mode_reason,
            "texel_shares": shares,
            "occluders": [*observed.occluders, *(["occluder"] if completion.occluded else [])],
            "parsing": observed.parsing,
            "figures": photo_figures(observed.seen.colour, completion.believed),
            "warnings": [*self.notes, *run.warnings],
        }


def _bare(textured: TexturedFace) -> TexturedFace:
    """The face with its albedo for a colour, if it has one: what a head is made of."""
    completed = textured.completed
    layers = {**completed.layers, "colour": completed.layers.get("albedo", completed.colour)}
    return replace(textured, completed=replace(completed, layers=layers))


def as_written(completion: Completion) -> Completion:
    """A completion with the colours as NAME.png holds them, so that what is drawn from the file later is the same."""
    texture = completion.texture
    colour = to_bytes(texture.colour).astype(np.float32) / np.float32(255)
    return replace(completion, texture=replace(texture, layers={**texture.layers, "colour": colour}))
