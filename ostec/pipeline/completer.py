"""Photo in, textured face out: the stages in their order."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.device import pick_device
from ostec.core.errors import FaceError, OutputError
from ostec.core.progress import PhotoRun, Progress, never_falling
from ostec.core.settings import CompleteSettings, to_json
from ostec.core.types import (
    CompletedTexture,
    FaceBox,
    FittedFace,
    FloatArray,
    ProjectedView,
    Provenance,
    TexturedFace,
)
from ostec.detect.faces import detect_faces
from ostec.export.mesh import read_npz
from ostec.export.page import update_page, write_turntable
from ostec.export.record import read_record, versions, write_record
from ostec.export.views import FaceRenderer, overlay_head, stage_pictures
from ostec.fit.dense import face_from_camera
from ostec.heads.assemble import HeadMaker, described
from ostec.io.images import read_image, read_palette_png, to_bytes, write_png
from ostec.pipeline.faces import SMALL_FACE_PX, FoundFace, ReadPhoto, Tried, find_face, read_photo
from ostec.pipeline.figures import photo_figures
from ostec.pipeline.models import Models, load_head_maker, load_models
from ostec.pipeline.portrait import Person, portray
from ostec.pipeline.result import CompletedFace
from ostec.pipeline.texture import TextureMaker
from ostec.project.identity import identity_of
from ostec.project.together import Projecting, alone
from ostec.project.views import views_of

TURNED_DEG = 45.0
"""Fitted yaw beyond which the user is told that half of the texture is a guess."""
HARD_FROM_PX = 512
"""Side of the generator's pictures from which auto lets it draw the whole face of a profile photo."""
STAGE_SECONDS = 0.2
"""About what a stage takes on two cores ..."""
ITERATION_SECONDS = 0.06
"""... and an iteration of a projection: for the progress alone."""


class Completer:
    """Photo in, textured face out; holds the networks, so that many photos pay for loading once."""

    def __init__(
        self,
        models: Models,
        settings: CompleteSettings,
        device: torch.device,
        notes: list[str],
        heads: HeadMaker | None = None,
    ) -> None:
        self.models = models
        self._heads = heads
        self.settings = settings
        self.device = device
        self._notes = [*notes, *(models.generator.notes if models.generator is not None else ())]
        self.textures = TextureMaker(models, settings, device)
        self._renderer = FaceRenderer(models.topology)

    @classmethod
    def from_pretrained(cls, settings: CompleteSettings | None = None, device: str = "auto") -> "Completer":
        """Load what ships.

        Raises:
            AssetError: a file is missing or damaged.
            BackendError: the device is not available.
        """
        settings = settings or CompleteSettings()
        chosen, notes = pick_device(device)
        heads = load_head_maker(settings.face_model) if settings.face_model != "facemesh" else None
        return cls(load_models(chosen, settings), settings, chosen, notes, heads)

    @property
    def weights(self) -> dict[str, str]:
        """Name -> SHA-256 of the files of networks and models that are loaded."""
        return {**self.models.hashes, **(self._heads.hashes if self._heads is not None else {})}

    def __call__(self, photo: str | Path | FloatArray, progress: Progress | None = None) -> CompletedFace:
        """Complete the largest face. Raises ImageError, FaceError."""
        return alone(self._complete(photo, PhotoRun(never_falling(progress)), only_largest=True))[0]

    def complete_all(
        self, photo: str | Path | FloatArray | ReadPhoto, progress: Progress | None = None
    ) -> list[CompletedFace]:
        """Complete the faces that ``settings.faces`` asks for, largest first. Raises ImageError, FaceError."""
        return alone(self.completing(photo, progress))

    def completing(
        self,
        photo: str | Path | FloatArray | ReadPhoto,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> Projecting[list[CompletedFace]]:
        """The same as a generator that asks for its projections, for several photos side by side.

        Args:
            photo: as :meth:`complete_all` takes it.
            progress: called as the work goes on.
            clock: tells the seconds; one that stands still while others work.
        """
        run = PhotoRun(never_falling(progress), clock=clock)
        return (yield from self._complete(photo, run, only_largest=self.settings.faces == "largest"))

    def _complete(
        self, photo: str | Path | FloatArray | ReadPhoto, run: PhotoRun, only_largest: bool
    ) -> Projecting[list[CompletedFace]]:
        run.weights = self._stage_weights()
        run.enter("read")
        read = read_photo(photo)
        run.enter("detect")
        boxes = detect_faces(read.image, self.models.mtcnn)
        if not boxes:
            raise FaceError("No face was found in the photo.")
        wanted = 1 if only_largest else len(boxes)
        tried = Tried[CompletedFace](boxes, wanted)
        for box in tried:
            with tried.attempt():
                own = run.of_face(len(tried.results), wanted)
                tried.results.append((yield from self._complete_face(read.image, read.source, box, own)))
        results, errors = tried.results, tried.errors
        run.finish()
        if not results:
            raise errors[0]
        notes = []
        if only_largest and len(boxes) > 1:
            notes.append(
                f"{len(boxes)} faces were detected; the largest that could be completed was (--faces all tries all)."
                if errors
                else f"The photo has {len(boxes)} faces; the largest was completed (--faces all does all)."
            )
        if errors:
            notes.append(f"{len(errors)} of {len(boxes)} detected faces could not be completed: {errors[0]}")
        if notes:
            results = [replace(r, record={**r.record, "warnings": [*r.record["warnings"], *notes]}) for r in results]
        return results

    def _stage_weights(self) -> dict[str, float]:
        """How long the stages take that project, in units of the others."""
        settings = self.settings
        if not settings.projects:
            return {"project": 0.0}
        unit = ITERATION_SECONDS / STAGE_SECONDS
        mode = "hard" if settings.mode == "hard" else "soft"
        frontal = settings.iterations_frontalize if settings.frontalize else 0
        return {"project": settings.iterations * len(views_of(mode)) * unit, "export": 1 + frontal * unit}

    def _complete_face(
        self, image: FloatArray, source: dict[str, Any], box: FaceBox, run: PhotoRun
    ) -> Projecting[CompletedFace]:
        found = find_face(image, box, self.models, run)
        face = found.face
        self._warn_of_view(found, run)
        mode = self._mode(face)
        run.enter("unwrap")
        seen = self.textures.unwrap(image, face)
        run.enter("mask")
        observed = self.textures.mask(image, face, seen)
        run.warnings.extend(observed.warnings)
        run.enter("prior")
        fill = self.textures.fill(image, face, observed.seen)
        occluders = [*observed.occluders, *(["occluder"] if self.textures.is_occluded(fill) else [])]
        identity = identity_of(self.models.arcface, image, face)
        made = yield from self.textures.complete(observed.seen, fill, face, mode[0], run, identity)
        # As NAME.png holds it, so that what is drawn from the file later is the same.
        completed = made.completed
        completed = replace(completed, texture=to_bytes(completed.texture).astype(np.float32) / np.float32(255))
        run.enter("export")
        person = Person(face, image, identity)
        portrayed = (yield from self._portrait(person, completed, run)) if self.settings.frontalize else (None, None)
        frontal, view = portrayed
        frames = self._renderer.turntable(face, completed.texture) if self.settings.turntable else None
        textured = TexturedFace(face, self.models.topology, completed, frontal, views=made.views)
        textured = replace(textured, identity=identity.cpu().numpy() if identity is not None else None)
        model = None if fill is None else fill.model
        textured = replace(textured, stages=stage_pictures(image, observed.seen, model, textured, self._renderer))
        views = (*made.views, *([view] if view else []))
        about = {"occluders": occluders, "parsing": observed.parsing, **self._projected(views)}
        about["figures"] = photo_figures(observed.seen.colour, made.photo)
        head = self._heads(textured) if self._heads is not None else None
        if head is not None:
            pictures = {**textured.stages, "Fitted head": overlay_head(image, face, head)}
            textured = replace(textured, stages=pictures)
        record = {**self._record(source, found, textured, mode, run), **about, "face_model": described(head)}
        run.enter("")
        return CompletedFace(textured, record, run.seconds, frames, view, head)

    def _portrait(
        self, person: Person, completed: CompletedTexture, run: PhotoRun
    ) -> Projecting[tuple[FloatArray, ProjectedView | None]]:
        """The frontal portrait, and the projection that corrected it if there was one.

        A generator of natural photos gives the portrait itself; one of shape-normalised faces corrects the texture,
        which is drawn on the person's own mesh.
        """
        if not self.settings.projects:
            return self._renderer.portrait(person.face, completed.texture), None
        made = yield from portray(self.textures, person, completed, run.advance)
        if made.portrait is not None:
            return made.portrait, made.view
        return self._renderer.portrait(person.face, made.texture), made.view

    def _warn_of_view(self, found: FoundFace, run: PhotoRun) -> None:
        yaw = found.face.pose_deg[1]
        if abs(yaw) > TURNED_DEG:
            run.warnings.append(
                f"The face is turned by {abs(yaw):.0f} degrees: the far half of the texture is a guess."
            )
        if found.box.side < SMALL_FACE_PX:
            run.warnings.append(f"The face is only {found.box.side:.0f} pixels large, so its texture is blurred.")

    def _mode(self, face: FittedFace) -> tuple[str, str]:
        """Soft or hard, and why."""
        yaw, limit = abs(face.pose_deg[1]), self.textures.blend_settings.profile_deg
        if self.settings.mode != "auto":
            return self.settings.mode, "asked for"
        if yaw <= limit:
            return "soft", f"yaw is {yaw:.0f} degrees, within {limit:.0f}"
        model = self.models.generator
        if model is not None and model.generator.shape.resolution >= HARD_FROM_PX:
            return "hard", f"yaw is {yaw:.0f} degrees, and the generator draws {model.generator.shape.resolution} px"
        return "soft", f"yaw is {yaw:.0f} degrees, but no generator of {HARD_FROM_PX} px or more is there"

    def _record(
        self,
        source: dict[str, Any],
        found: FoundFace,
        result: TexturedFace,
        mode: tuple[str, str],
        run: PhotoRun,
    ) -> dict[str, Any]:
        inside = result.completed.provenance[(result.completed.provenance > 0) & (result.completed.provenance < 10)]
        shares = {p.name.lower(): round(float(np.mean(inside == p)), 4) for p in Provenance if np.any(inside == p)}
        return {
            **source,
            "settings": to_json(self.settings),
            "seed": self.settings.seed,
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "weights": self.weights,
            "face_box": [round(float(v), 2) for v in found.box.box],
            "face_confidence": round(float(found.confidence), 4),
            "fit_residual_percent": round(result.face.residual, 3),
            "pose_deg": [round(v, 2) for v in result.face.pose_deg],
            "mode": mode[0],
            "mode_reason": mode[1],
            "texel_shares": shares,
            "warnings": [*self._notes, *run.warnings],
        }

    def extend(self, directory: Path, name: str, photo: Path, frontalize: bool, turntable: bool) -> Path:
        """Add a missing frontal portrait or turntable to a finished result, from photo and files; rewrites NAME.json.

        Args:
            directory: of the result.
            name: of the result.
            photo: that it was made from; read if the generator draws natural photos.
            frontalize: whether the portrait is missing.
            turntable: whether the turntable is.

        Raises:
            ImageError: the photo cannot be read.
            OutputError: the result's files cannot be read back or written.
        """
        record = read_record(directory / f"{name}.json")
        if record is None:
            raise OutputError(f"{directory / name}.json cannot be read, so nothing can be added to it.")
        saved = read_npz(directory / f"{name}.npz")
        texture = read_image(directory / f"{name}.png")
        face = face_from_camera(saved.vertices, saved.landmarks, saved.camera_matrix)
        frontal = None
        if frontalize:
            completed = CompletedTexture(texture, read_palette_png(directory / f"{name}_provenance.png"))
            known = torch.from_numpy(saved.identity).to(self.device) if saved.identity is not None else None
            losses = record["losses"]
            image = read_photo(photo).image if self.textures.draws_portraits else None
            person = Person(face, image, known)
            frontal, view = alone(self._portrait(person, completed, PhotoRun(None)))
            write_png(directory / f"{name}_frontal.png", frontal)
            if view is not None:
                about = self._projected((view,))
                # What judged the views before stays named where this run has no such network.
                record |= {key: value for key, value in about.items() if value != "none" or key not in record}
                record["losses"] = {**losses, **about["losses"]}
        if turntable:
            write_turntable(directory, name, self._renderer.turntable(face, texture))
        added = {"frontalize": f"{name}_frontal.png"} if frontalize else {}
        added |= {"turntable": f"{name}_turntable.gif"} if turntable else {}
        record["files"] = sorted({*record["files"], *added.values()})
        record["settings"] = {**record["settings"], **dict.fromkeys(added, True)}
        update_page(directory, name, frontal, record)
        return write_record(directory, name, record)

    def _projected(self, views: Sequence[ProjectedView]) -> dict[str, Any]:
        """What the record says of the projections."""
        return {
            "losses": {view.name: {**view.losses, "iterations": view.iterations} for view in views},
            "features": self.textures.features_name if views else None,
            **self.textures.judging.described(views),
        }
