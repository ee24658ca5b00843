"""The order of the stages for one photo; loads what they need. The only module that names two stages."""

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.assets import asset_path, load_manifest, sha256_of, verified_path
from ostec.core.device import pick_device
from ostec.core.errors import AssetError, BackendError, FaceError, OutputError
from ostec.core.progress import PhotoRun, Progress, never_falling
from ostec.core.settings import CompleteSettings, to_json
from ostec.core.types import (
    BoolArray,
    CompletedTexture,
    FaceBox,
    FittedFace,
    FloatArray,
    Provenance,
    TexturedFace,
    Topology,
    UvObservation,
)
from ostec.detect.faces import detect_faces
from ostec.detect.landmarks import detect_landmarks
from ostec.detect.masks import MaskGuide, face_mask, mask_guide, surround_colours
from ostec.export.mesh import read_npz, write_glb, write_npz, write_obj, write_texture
from ostec.export.page import update_page, write_page, write_turntable
from ostec.export.record import read_record, versions, write_record
from ostec.export.views import FaceRenderer, stage_pictures
from ostec.fit.dense import face_from_camera, fit_dense
from ostec.fit.unwrap import Unwrapper, enlarge_inside, resize_map
from ostec.io.files import make_folder
from ostec.io.images import read_image, to_bytes, write_png
from ostec.io.topology import read_topology
from ostec.io.weights import load_strict, read_mtcnn, read_safetensors
from ostec.nets.facemesh import FaceMesh
from ostec.nets.mtcnn import Mtcnn
from ostec.prior.linear import LinearPrior, PriorFill, PriorSettings, fill_from_prior, prior_from_tensors, prior_weight
from ostec.stitch.blend import BlendSettings, pad, photo_weight, stitch

log = logging.getLogger(__name__)

MASK_SIZE = 256
INTERIOR_RIM = 0.2
"""Distance in UV from the chart's border beyond which what the prior cannot explain is still face: eyes, beards,
scars.
"""
MIN_CONFIDENCE = 0.5
"""FaceMesh's probability below which a detected box is taken for no face."""
MAX_YAW_DEG = 62.0
"""Fitted yaw beyond which the face counts as a full profile. FaceMesh turns too little: a head drawn at 45, 60, 70, 80
and 90 degrees is fitted at 38, 51, 58, 64 and 64."""
TURNED_DEG = 45.0
"""Fitted yaw beyond which the user is told that half of the texture is a guess."""
NO_GENERATOR = "No generator is part of this version yet: the prior alone filled what was not seen (as -i 0)."
SMALL_FACE_PX = 80.0
"""A detected face with a smaller side is completed with a warning."""


@dataclass(frozen=True)
class CompletedFace:
    """One finished face with the record of how it was made."""

    textured: TexturedFace
    record: dict[str, Any]
    """What NAME.json holds; nothing in it differs between two equal runs. ``warnings`` is a list of sentences."""
    seconds: dict[str, float]
    """Wall time by stage, for run.jsonl."""
    turntable: FloatArray | None = None
    """[N, H, W, 3] frames, if asked for."""

    def save(self, directory: str | Path, name: str | None = None) -> Path:
        """Write every file of the result; NAME.json is renamed last and means done.

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
        result = self.textured
        written = write_texture(folder, name, result)
        written += write_obj(folder, name, result.face, result.topology)
        written += [write_glb(folder, name, result), write_npz(folder, name, result)]
        if self.turntable is not None:
            written.append(write_turntable(folder, name, self.turntable))
        record = dict(self.record)
        record["files"] = sorted({path.name for path in written} | {f"{name}.html", f"{name}.json"})
        write_page(folder, name, result, record)
        return write_record(folder, name, record)


@dataclass(frozen=True)
class Models:
    """Everything that is loaded once."""

    mtcnn: Mtcnn
    facemesh: FaceMesh
    topology: Topology
    prior: LinearPrior | None
    hashes: dict[str, str]
    """Name -> SHA-256 of the file it came from."""


def load_models(device: torch.device, prior: str = "default") -> Models:
    """Load what ships.

    Args:
        device: where the networks shall run.
        prior: ``default``, ``none`` or a file of ``ostec train prior``.

    Raises:
        AssetError: a file is missing, damaged or belongs to another layout.
    """
    mtcnn = Mtcnn.from_keras(read_mtcnn()).to(device)
    facemesh = FaceMesh()
    path = verified_path("facemesh", "facemesh.safetensors")
    load_strict(facemesh, read_safetensors(path), path.name)
    topology = read_topology(asset_path("topology/facemesh.npz"))
    hashes = {entry.name: entry.sha256 for name in ("mtcnn", "facemesh") for entry in load_manifest(name).files}
    hashes["facemesh.npz"] = topology.sha256
    loaded = None
    if prior != "none":
        file = Path(prior)
        if prior == "default":
            verified_path("prior", "prior.json")
            file = verified_path("prior", "prior.safetensors")
        loaded = load_prior(file, topology, device)
        hashes[file.name] = sha256_of(file)
    return Models(mtcnn.eval(), facemesh.to(device).eval().requires_grad_(False), topology, loaded, hashes)


def load_prior(path: Path, topology: Topology, device: torch.device) -> LinearPrior:
    """Read a prior and the JSON beside it.

    Raises:
        AssetError: a file is missing or damaged, or the prior was fitted in another UV layout.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise AssetError(f"{path.with_suffix('.json')}, which belongs to {path.name}, cannot be read.") from error
    if card.get("topology_sha256") != topology.sha256:
        raise AssetError(f"{path} was fitted in another UV layout than topology/{topology.name}.npz.")
    return prior_from_tensors(read_safetensors(path), topology.sha256, device)


class Completer:
    """Photo in, textured face out; holds the networks, so that many photos pay for loading once."""

    def __init__(self, models: Models, settings: CompleteSettings, device: torch.device, notes: list[str]) -> None:
        self.models = models
        self.settings = settings
        self.device = device
        self._notes = notes
        self._unwrapper = Unwrapper(models.topology, device)
        self._renderer = FaceRenderer(models.topology)
        self._guide: MaskGuide = mask_guide(models.topology, self._inside(MASK_SIZE))
        self._prior_guide = mask_guide(models.topology, models.prior.inside) if models.prior else self._guide
        self.prior_settings = PriorSettings()
        self.blend_settings = BlendSettings()

    @classmethod
    def from_pretrained(cls, settings: CompleteSettings | None = None, device: str = "auto") -> "Completer":
        """Load what ships.

        Raises:
            AssetError: a file is missing or damaged.
            BackendError: the device, or the generator that was asked for, is not available.
        """
        settings = settings or CompleteSettings()
        chosen, notes = pick_device(device)
        if settings.generator is not None:
            raise BackendError("This version cannot project into a generator yet: leave out --generator.")
        if settings.prior == "none":
            raise BackendError(
                "Without a generator, which this version lacks, only the prior can fill what was not seen."
            )
        if settings.iterations > 0:
            notes.append(NO_GENERATOR)
        return cls(load_models(chosen, settings.prior), settings, chosen, notes)

    def __call__(self, photo: str | Path | FloatArray, progress: Progress | None = None) -> CompletedFace:
        """Complete the largest face. Raises ImageError, FaceError."""
        return self._complete(photo, progress, only_largest=True)[0]

    def complete_all(self, photo: str | Path | FloatArray, progress: Progress | None = None) -> list[CompletedFace]:
        """Complete the faces that ``settings.faces`` asks for, largest first. Raises ImageError, FaceError."""
        return self._complete(photo, progress, only_largest=self.settings.faces == "largest")

    def _complete(
        self, photo: str | Path | FloatArray, progress: Progress | None, only_largest: bool
    ) -> list[CompletedFace]:
        run = PhotoRun(never_falling(progress))
        run.enter("read")
        image, source = self._read(photo)
        run.enter("detect")
        boxes = detect_faces(image, self.models.mtcnn)
        if not boxes:
            raise FaceError("No face was found in the photo.")
        results: list[CompletedFace] = []
        errors: list[FaceError] = []
        wanted = 1 if only_largest else len(boxes)
        # A false detection can be larger than the face: the next one is tried then.
        for box in boxes:
            try:
                results.append(self._complete_face(image, source, box, run.of_face(len(results), wanted)))
            except FaceError as error:
                errors.append(error)
            if len(results) == wanted:
                break
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

    def _read(self, photo: str | Path | FloatArray) -> tuple[FloatArray, dict[str, Any]]:
        if isinstance(photo, np.ndarray):
            if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.float32:
                raise ValueError(f"expected a float32 image [H, W, 3], got {photo.dtype} {photo.shape}")
            digest = hashlib.sha256(np.ascontiguousarray(photo).tobytes()).hexdigest()
            return photo, {"source": "array", "source_sha256": digest}
        path = Path(photo)
        return read_image(path), {"source": path.name, "source_sha256": sha256_of(path)}

    def _complete_face(self, image: FloatArray, source: dict[str, Any], box: FaceBox, run: PhotoRun) -> CompletedFace:
        run.enter("landmarks")
        landmarks = detect_landmarks(image, box, self.models.facemesh)
        if landmarks.confidence < MIN_CONFIDENCE:
            raise FaceError(f"What was detected does not look like a face (confidence {landmarks.confidence:.2f}).")
        run.enter("fit")
        face = fit_dense(landmarks, self.models.topology)
        self._check_view(face, box, run)
        mode, reason = self._mode(face)
        run.enter("unwrap")
        seen = self._unwrapper.unwrap(image, face, self.settings.uv_size)
        run.enter("mask")
        seen = self._mask(image, face, seen, run)
        run.enter("prior")
        assert self.models.prior is not None  # from_pretrained refuses prior none
        fill = self._fill(image, face, seen)
        if (fill.occluded & (self._prior_guide.rim > INTERIOR_RIM)).any():
            run.notes["occluders"] = [*run.notes.get("occluders", []), "occluder"]
        run.enter("stitch")
        completed = self._stitch(seen, fill, face, mode)
        # As NAME.png holds it, so that what is drawn from the file later is the same.
        completed = replace(completed, texture=to_bytes(completed.texture).astype(np.float32) / np.float32(255))
        run.enter("export")
        frontal = self._renderer.portrait(face, completed.texture) if self.settings.frontalize else None
        frames = self._renderer.turntable(face, completed.texture) if self.settings.turntable else None
        textured = TexturedFace(face, self.models.topology, completed, frontal)
        textured = replace(textured, stages=stage_pictures(image, seen, fill.model, textured, self._renderer))
        record = self._record(source, box, landmarks.confidence, textured, (mode, reason), run)
        run.enter("")
        return CompletedFace(textured, record, run.seconds, frames)

    def _check_view(self, face: FittedFace, box: FaceBox, run: PhotoRun) -> None:
        yaw = face.pose_deg[1]
        if abs(yaw) > MAX_YAW_DEG:
            raise FaceError(
                f"The face is nearly in profile (yaw {abs(yaw):.0f} degrees; at most {MAX_YAW_DEG:.0f} can be used)."
            )
        if abs(yaw) > TURNED_DEG:
            run.warnings.append(
                f"The face is turned by {abs(yaw):.0f} degrees: the far half of the texture is a guess."
            )
        if box.side < SMALL_FACE_PX:
            run.warnings.append(f"The face is only {box.side:.0f} pixels large, so its texture is blurred.")

    def _mode(self, face: FittedFace) -> tuple[str, str]:
        yaw = abs(face.pose_deg[1])
        profile = yaw > self.blend_settings.profile_deg
        if self.settings.mode != "auto":
            return self.settings.mode, "asked for"
        if profile:
            return "soft", f"yaw is {yaw:.0f} degrees, but no generator of 512 px or more is there"
        return "soft", f"yaw is {yaw:.0f} degrees, within {self.blend_settings.profile_deg:.0f}"

    def _inside(self, size: int) -> BoolArray:
        return self._unwrapper.layout(size).inside.cpu().numpy()

    def _mask(self, image: FloatArray, face: FittedFace, seen: UvObservation, run: PhotoRun) -> UvObservation:
        small = self._unwrapper.unwrap(image, face, MASK_SIZE)
        pixels = (face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]).astype(np.float32)
        up = face.camera_matrix[:2, 1].astype(np.float32)
        found = face_mask(small, self._guide, surround_colours(image, pixels, up))
        if found.spectacles.any():
            run.notes["occluders"] = ["spectacles"]
        return replace(seen, mask=resize_map(found.mask, seen.size) * seen.inside)

    def _fill(self, image: FloatArray, face: FittedFace, seen: UvObservation) -> PriorFill:
        prior = self.models.prior
        assert prior is not None
        small = self._unwrapper.unwrap(image, face, prior.size)
        mask = resize_map(seen.mask, prior.size)
        weight = prior_weight(small.cosine, small.visible, small.margin_mm, self.prior_settings) * mask
        return fill_from_prior(prior, small.colour, weight.astype(np.float32), self.prior_settings)

    def _stitch(self, seen: UvObservation, fill: PriorFill, face: FittedFace, mode: str) -> CompletedTexture:
        prior = self.models.prior
        assert prior is not None
        chosen = fill.texture if mode == "soft" else fill.model
        large = np.clip(enlarge_inside(chosen, prior.inside, seen.size), 0, 1)
        if mode == "hard":
            provenance = np.where(seen.inside, Provenance.PRIOR, Provenance.OUTSIDE).astype(np.uint8)
            return pad(large, provenance, seen.inside, self.blend_settings.padding)
        believed = np.maximum(np.clip(fill.explained * 4 - 1, 0, 1), self._prior_guide.rim > INTERIOR_RIM)
        believed *= ~fill.occluded
        believed = resize_map(believed.astype(np.float32), seen.size)
        weight = photo_weight(seen, face.pose_deg[1], self.blend_settings) * believed
        profile = abs(face.pose_deg[1]) > self.blend_settings.profile_deg
        return stitch(seen.colour, weight, large, seen.inside, self.blend_settings, mirror=profile)

    def _record(
        self,
        source: dict[str, Any],
        box: FaceBox,
        confidence: float,
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
            "weights": self.models.hashes,
            "face_box": [round(float(v), 2) for v in box.box],
            "face_confidence": round(float(confidence), 4),
            "fit_residual_percent": round(result.face.residual, 3),
            "pose_deg": [round(v, 2) for v in result.face.pose_deg],
            "mode": mode[0],
            "mode_reason": mode[1],
            "texel_shares": shares,
            "occluders": run.notes.get("occluders", []),
            "losses": {},
            "warnings": [*self._notes, *run.warnings],
        }

    def extend(self, directory: Path, name: str, frontalize: bool, turntable: bool) -> Path:
        """Add a missing frontal portrait or turntable to a finished result, from its own files; rewrites NAME.json.

        Raises:
            OutputError: the result's files cannot be read back or written.
        """
        record = read_record(directory / f"{name}.json")
        if record is None:
            raise OutputError(f"{directory / name}.json cannot be read, so nothing can be added to it.")
        saved = read_npz(directory / f"{name}.npz")
        texture = read_image(directory / f"{name}.png")
        face = face_from_camera(saved.vertices, saved.landmarks, saved.camera_matrix)
        frontal = self._renderer.portrait(face, texture) if frontalize else None
        if frontal is not None:
            write_png(directory / f"{name}_frontal.png", frontal)
        if turntable:
            write_turntable(directory, name, self._renderer.turntable(face, texture))
        added = {"frontalize": f"{name}_frontal.png"} if frontalize else {}
        added |= {"turntable": f"{name}_turntable.gif"} if turntable else {}
        record["files"] = sorted({*record["files"], *added.values()})
        record["settings"] = {**record["settings"], **dict.fromkeys(added, True)}
        update_page(directory, name, frontal, record)
        return write_record(directory, name, record)
