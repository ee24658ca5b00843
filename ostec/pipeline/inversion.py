"""Photo in, the generator's picture of its largest face and the latents behind it out."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from ostec.complete.fuse import fuse
from ostec.complete.generator import GeneratorCompleter
from ostec.complete.portrait import invert_photo
from ostec.core.assets import sha256_of
from ostec.core.device import pick_device
from ostec.core.errors import ImageError, UsageError
from ostec.core.progress import PhotoRun, Progress, never_falling
from ostec.core.record import INVERSION
from ostec.core.settings import to_json
from ostec.core.types import FaceBox, FloatArray, ObservedFace, ProjectedView, Provenance
from ostec.export.record import versions, write_record
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import read_image, write_png
from ostec.load.networks import load_e4e
from ostec.nets.e4e import ROWS, SIDE, WIDTHS
from ostec.pipeline.completer import ITERATION_SECONDS, STAGE_SECONDS, face_generator, texture_completer
from ostec.pipeline.models import Models, load_models
from ostec.pipeline.observe import HIDDEN, WHOLE_MEGAPIXELS, Observer, Tried
from ostec.pipeline.settings import CompleteSettings, InvertSettings
from ostec.project.objective import LatentSpace
from ostec.project.space import FileGenerator
from ostec.project.studio import View

TOLD_DEG = 2.0
"""Difference between the photo's pose and the nearest that the generator draws beyond which the user is told."""


@dataclass(frozen=True)
class InvertedFace:
    """What the generator made of one photo, with the record of how."""

    view: ProjectedView
    """What was to be found, where it was trusted, what was found, and its latents."""
    pose_deg: tuple[float, float, float]
    """Pitch, yaw, roll of the photo's face."""
    record: dict[str, Any]
    """What NAME.json holds; nothing in it differs between two equal runs. ``warnings`` is a list of sentences."""

    def save(self, directory: str | Path, name: str | None = None) -> Path:
        """Write NAME.png, NAME_target.png, NAME_trust.png and NAME.npz, then NAME.json, which means done.

        Args:
            directory: made if it does not exist.
            name: stem of the files; default: the photo's.

        Returns:
            The path of NAME.json.

        Raises:
            OutputError: a file cannot be written; nothing half-written is left.
        """
        folder = make_folder(Path(directory))
        name = name or Path(str(self.record["source"])).stem
        trust = np.repeat(self.view.trust[..., None], 3, axis=2)
        pictures = {"": self.view.generated, "_target": self.view.render, "_trust": trust}
        for ending, picture in pictures.items():
            write_png(folder / f"{name}{ending}.png", picture)
        arrays = {"w": self.view.latent.astype(np.float32), "pose_deg": np.array(self.pose_deg, np.float64)}
        write_atomic(folder / f"{name}.npz", lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
        files = sorted([*(f"{name}{ending}.png" for ending in pictures), f"{name}.npz", f"{name}.json"])
        return write_record(folder, name, {**self.record, "files": files}, INVERSION)


class Inverter:
    """Photo in, latents out; holds the networks, so that many photos pay for loading once."""

    def __init__(
        self, models: Models, settings: InvertSettings, device: torch.device, notes: Sequence[str] = ()
    ) -> None:
        if models.generator is None:
            raise ValueError("expected models with a generator, got none")
        self.models, self.settings, self.device = models, settings, device
        self._notes = [*notes, *models.generator.notes]
        self._pose_range_deg = models.generator.frame.pose_range_deg
        complete = _stages(settings)
        self._observer = Observer(models, complete.uv_size, device, complete.observe)
        generator = face_generator(models)
        assert generator is not None
        self._hashes = dict(models.hashes)
        if settings.encoder == "e4e":
            assert isinstance(generator, FileGenerator)
            generator = replace(generator, space=self._by_e4e(generator.space))
        completer = texture_completer(models, complete, self._observer, generator, device)
        assert isinstance(completer, GeneratorCompleter)
        self._completer = completer

    def _by_e4e(self, space: LatentSpace) -> LatentSpace:
        """The generator's latents, whose search begins where e4e puts a picture. Raises AssetError, UsageError."""
        if tuple(space.mean.shape) != (ROWS, WIDTHS[-1]):
            raise UsageError(f"--encoder e4e gives W+ of [18, 512], and this generator has {list(space.mean.shape)}.")
        network, mean, hashes = load_e4e(self.device)
        self._hashes |= hashes

        def encode(image: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
            shown = image * (trust > 0)
            small = functional.interpolate(shown, size=(SIDE, SIDE), mode="area")
            return network(small) + mean

        return replace(space, encode=encode)

    @classmethod
    def from_pretrained(cls, settings: InvertSettings | None = None, device: str = "auto") -> "Inverter":
        """Load what ships.

        Raises:
            AssetError: a file is missing or damaged.
            BackendError: the device is not available.
        """
        settings = settings or InvertSettings()
        chosen, notes = pick_device(device)
        return cls(load_models(chosen, _stages(settings)), settings, chosen, notes)

    def __call__(
        self,
        photo: str | Path | FloatArray,
        mask: str | Path | FloatArray | None = None,
        progress: Progress | None = None,
    ) -> InvertedFace:
        """Invert the largest face.

        Args:
            photo: a file, or [H, W, 3] in [0, 1].
            mask: a picture of the photo's size, or [H, W] in [0, 1]: white is trusted, what is darker than middle
                grey is not looked at once the face is found.
            progress: called as the work goes on.

        Raises:
            ImageError: a file cannot be read, or the mask has another size than the photo.
            FaceError: there is no face that can be used, or the mask hides it.
        """
        cost = self.settings.iterations * ITERATION_SECONDS / STAGE_SECONDS
        run = PhotoRun(never_falling(progress), {"project": cost, "stitch": 0.0})
        with run.named_in_errors():
            read, boxes = self._observer.open(photo, run)
            run.warnings.extend(read.notes)
            run.enter("read")
            hiding = _read_mask(mask, read.image)
        tried = Tried[InvertedFace](boxes, 1)
        for box in tried:
            of_face = run.of_face(0, 1)
            with tried.attempt(), of_face.named_in_errors():
                tried.results.append(self._invert(read.image, hiding.trusted, box, of_face))
        run.finish()
        if not tried.results:
            raise tried.errors[0]
        notes = []
        if len(boxes) > 1:
            which = "largest that could be inverted was" if tried.errors else "largest was inverted"
            notes.append(f"The photo has {len(boxes)} faces; the {which}.")
        notes += [f"A larger one could not be inverted: {error}" for error in tried.errors[:1]]
        (found,) = tried.results
        warnings = [*found.record["warnings"], *notes]
        return replace(found, record={**read.source, "mask": hiding.source, **found.record, "warnings": warnings})

    def _invert(self, image: FloatArray, trusted: FloatArray | None, box: FaceBox, run: PhotoRun) -> InvertedFace:
        observed = self._observer.observe(image, box, run, trusted)
        face, completer = observed.face, self._completer
        portraits = completer.draws_portraits
        view = View(face.pose_deg[:2], Provenance.FRONT, 1.0) if portraits else self._view(observed, run)
        run.warnings.extend(observed.warnings)
        run.enter("prior")
        evidence = fuse([observed], self._observer.unwrapper, self._observer.guide)
        fill = completer.canvas.fill(evidence)
        run.enter("project")
        steps = self.settings.iterations
        if portraits:
            projected = invert_photo(completer, evidence, trusted, view, steps, run.advance)
        else:
            projected = completer.invert(evidence, fill, view, steps, run.advance)
        run.enter("")
        record = {
            **self._record(observed, view, run),
            "occluders": [*observed.occluders, *(["occluder"] if completer.canvas.is_occluded(fill) else [])],
            "losses": projected.losses,
            "iterations": projected.iterations,
            "features": completer.generator.space.features_name,
            "parsing": observed.parsing,
            **completer.judging.described((projected,)),
        }
        return InvertedFace(projected, face.pose_deg, record)

    def _view(self, found: ObservedFace, run: PhotoRun) -> View:
        """The photo's own pose, as near as the generator draws it."""
        asked = found.face.pose_deg[:2]
        pitch, yaw = (min(max(v, low), high) for v, (low, high) in zip(asked, self._pose_range_deg, strict=True))
        if max(abs(pitch - asked[0]), abs(yaw - asked[1])) > TOLD_DEG:
            run.warnings.append(
                f"The face has pitch {asked[0]:.0f} and yaw {asked[1]:.0f}, more than the generator draws: "
                f"it is inverted at {pitch:.0f} and {yaw:.0f}."
            )
        return View((pitch, yaw), Provenance.FRONT, 1.0)

    def _record(self, found: ObservedFace, view: View, run: PhotoRun) -> dict[str, Any]:
        return {
            "settings": to_json(self.settings),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "weights": self._hashes,
            "face_box": [round(float(v), 2) for v in found.box.box],
            "face_confidence": round(float(found.confidence), 4),
            "pose_deg": [round(v, 2) for v in found.face.pose_deg],
            "view_pose_deg": [round(v, 2) for v in view.pose_deg],
            "warnings": [*self._notes, *run.warnings],
        }


@dataclass(frozen=True)
class _Mask:
    """What the user lets be seen of a photo."""

    trusted: FloatArray | None
    """[H, W, 1] in [0, 1]; None: everything."""
    source: dict[str, str] | None
    """Name and SHA-256, for the record."""


def _stages(settings: InvertSettings) -> CompleteSettings:
    """Up to the projection a photo goes the way of the completer."""
    return CompleteSettings(
        generator=settings.generator,
        observe=settings.observe,
        fill=settings.fill,
        project=settings.project,
        blend=settings.blend,
    )


def _read_mask(mask: str | Path | FloatArray | None, image: FloatArray) -> _Mask:
    if mask is None:
        return _Mask(None, None)
    if isinstance(mask, np.ndarray):
        if mask.ndim != 2 or mask.dtype != np.float32:
            raise ValueError(f"expected a float32 mask [H, W], got {mask.dtype} {mask.shape}")
        name, grey = "array", mask
        digest = hashlib.sha256(np.ascontiguousarray(mask).tobytes()).hexdigest()
    else:
        path = Path(mask)
        grey = read_image(path, whole_megapixels=WHOLE_MEGAPIXELS).mean(axis=2)  # as the photo is read
        name, digest = path.name, sha256_of(path)
    if grey.shape != image.shape[:2]:
        sizes = [f"{a.shape[1]} x {a.shape[0]}" for a in (grey, image)]
        raise ImageError(f"The mask {name} has {sizes[0]} pixels and its photo {sizes[1]}; they must be the same.")
    trusted = np.where(grey < HIDDEN, 0, np.clip(grey, 0, 1)).astype(np.float32)
    return _Mask(trusted[..., None], {"file": name, "sha256": digest})
