"""Photos in, textured faces out: observe, fuse, complete, assemble."""

import functools
import importlib.util
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, overload

import torch

from ostec.complete.canvas import UvCanvas
from ostec.complete.completer import TextureCompleter
from ostec.complete.diffusion import DiffusionCompleter
from ostec.complete.fuse import fuse, named
from ostec.complete.generator import GeneratorCompleter, GeneratorSettings
from ostec.complete.portrait import FinishedFace, portray
from ostec.complete.prior import PriorCompleter
from ostec.complete.terms import Judging
from ostec.core.device import pick_device
from ostec.core.errors import FaceError, OstecError, OstecWarning, OutputError
from ostec.core.morphable import ModelShape
from ostec.core.progress import PhotoRun, Progress, never_falling
from ostec.core.record import RunRecord, with_warnings
from ostec.core.settings import MAX_UV_MEGAPIXELS, NO_HEAD
from ostec.core.text import counted
from ostec.core.types import CompletedTexture, Evidence, FaceBox, FloatArray, ObservedFace
from ostec.export.head import ENDING
from ostec.export.mesh import read_npz
from ostec.export.page import update_page, write_turntable
from ostec.export.pictures import FaceRenderer
from ostec.export.record import read_record, write_record
from ostec.export.surfaces import read_surfaces
from ostec.fit.dense import face_from_camera
from ostec.heads.maker import HeadMaker
from ostec.io.images import read_image, read_palette_png, write_png
from ostec.load.networks import load_recogniser
from ostec.pipeline.assemble import Assembler, as_written
from ostec.pipeline.frontal import FrontalSource, Sitter, look_around
from ostec.pipeline.guesses import far_half
from ostec.pipeline.keyframes import MOST
from ostec.pipeline.materials import MaterialMaker
from ostec.pipeline.models import Models, load_head_maker, load_joint_fitter, load_models
from ostec.pipeline.observe import Observer, PhotoLike
from ostec.pipeline.result import CompletedFace
from ostec.pipeline.settings import CompleteSettings
from ostec.pipeline.several import SeveralNetworks, is_video, observe_several, with_photos
from ostec.project.space import FaceGenerator, FileGenerator, latent_space
from ostec.project.studio import views_of
from ostec.project.terms import picture_judge

logger = logging.getLogger(__name__)

STAGE_SECONDS = 0.2
"""About what a stage takes on two cores ..."""
ITERATION_SECONDS = 0.06
"""... and an iteration of a projection: for the progress alone."""
MOST_PIXELS = 40_000_000
"""Of the photos that are in memory at once, unless a single one has more: 12 bytes each."""
_USED_LATER = ("cv2", "jinja2", "pytorch_msssim", "trimesh")
"""Imported where they are used, and with the networks: no photo is to fail because memory is short for a library."""


@dataclass(frozen=True)
class PhotoOutcome:
    """What came of one photo of several."""

    faces: Sequence[CompletedFace] = ()
    """Largest first."""
    error: Exception | None = None
    """Why there is none."""
    stage: str = "read"
    """That was reached."""
    seconds: float = 0.0
    """Its own time, and its share of what was done for several."""


class Completer:
    """Photos in, textured faces out; holds the networks, so that many photos pay for loading once."""

    def __init__(
        self,
        models: Models,
        settings: CompleteSettings,
        device: torch.device,
        notes: Sequence[str] = (),
        heads: HeadMaker | None = None,
        completer: TextureCompleter | None = None,
        generator: FaceGenerator | None = None,
    ) -> None:
        self.models, self.settings, self.device = models, settings, device
        self.observer = Observer(models, settings.uv_size, device, settings.observe)
        generator = generator or face_generator(models)
        self.completer = completer or texture_completer(models, settings, self.observer, generator, device)
        self._generator = self.completer if isinstance(self.completer, GeneratorCompleter) else None
        self._renderer = FaceRenderer(models.topology)
        self._several: SeveralNetworks | None = None
        self.weights: dict[str, str] = {**models.hashes, **(heads.hashes if heads is not None else {})}
        """Name -> SHA-256 of the files of networks and models that are loaded."""
        self._assembler = Assembler(
            models=models,
            settings=settings,
            device=device,
            weights=self.weights,
            notes=(*notes, *(models.generator.notes if models.generator is not None else ())),
            judging=judging_of(models),
            completer=_name_of(self.completer),
            features=self._generator.generator.space.features_name if self._generator is not None else None,
            renderer=self._renderer,
            heads=heads,
            materials=self._materials(),
        )

    def _materials(self) -> MaterialMaker | None:
        """Takes the light out, where that is asked for."""
        model, settings = self.models.albedo, self.settings
        if model is None or settings.materials == "none":
            return None
        layout = self.observer.unwrapper.on_cpu.layout
        return MaterialMaker(self.models.topology, layout, model, settings.light, settings.skin_tone)

    @classmethod
    def from_pretrained(
        cls,
        settings: CompleteSettings | None = None,
        device: str = "auto",
        completer: TextureCompleter | None = None,
        face_generator: FaceGenerator | None = None,
        **changes: Any,
    ) -> "Completer":
        """Load what ships, or what the settings name.

        Args:
            settings: the defaults if None.
            device: auto, cpu or cuda.
            completer: your own way of completing textures, in place of the prior or the generator.
            face_generator: your own generator of faces, in place of the one that ``settings.generator`` names.
            changes: settings by name, as in ``from_pretrained(iterations=0, generator="stylegan2_ffhq")``.

        Raises:
            AssetError: a file is missing or damaged.
            BackendError: the device is not available.
            TypeError, ValueError: there is no such setting, or it may not have that value.
        """
        settings = replace(settings or CompleteSettings(), **changes)
        for library in filter(importlib.util.find_spec, _USED_LATER):
            importlib.import_module(library)
        chosen, notes = pick_device(device)
        heads = load_head_maker(settings.face_model, settings.head) if settings.face_model != NO_HEAD else None
        models = load_models(chosen, settings, with_generator=completer is None and face_generator is None)
        return cls(models, settings, chosen, notes, heads, completer, face_generator)

    @overload
    def __call__(
        self, photo: list[PhotoLike] | tuple[PhotoLike, ...], progress: Progress | None = None, face: int = 1
    ) -> list[CompletedFace]: ...

    @overload
    def __call__(self, photo: PhotoLike, progress: Progress | None = None, face: int = 1) -> CompletedFace: ...

    def __call__(
        self,
        photo: "PhotoLike | list[PhotoLike] | tuple[PhotoLike, ...]",
        progress: Progress | None = None,
        face: int = 1,
    ) -> CompletedFace | list[CompletedFace]:
        """Complete one face, the largest; what its user should know is also warned of (:class:`OstecWarning`).

        Args:
            photo: a path, a file's bytes, a PIL image, an array or a tensor; a list of them gives a list.
            progress: called as the work goes on.
            face: another one of several, by size: 2 is the second largest that was detected.

        Raises:
            ImageError: a file is no picture.
            FaceError: there is no face that can be used, or not so many.
            TypeError, ValueError: an array is no picture, or ``face`` is below 1.
        """
        if isinstance(photo, list | tuple):
            return [self(one, progress, face) for one in photo]
        if face < 1:
            raise ValueError(f"face must be 1 or more, got {face}.")
        (outcome,) = self._complete([photo], progress, only_largest=True, first=face)
        made = _faces_of(outcome)[0]
        for sentence in made.warnings:
            warnings.warn(sentence, OstecWarning, stacklevel=2)
        return made

    def complete_all(self, photo: PhotoLike, progress: Progress | None = None) -> list[CompletedFace]:
        """Complete the faces that ``settings.faces`` asks for, largest first. Raises ImageError, FaceError.

        Errors say in which ``stage`` they arose.
        """
        (outcome,) = self._complete([photo], progress, self.settings.faces == "largest")
        return _faces_of(outcome)

    def complete_many(self, photos: Sequence[PhotoLike], progress: Progress | None = None) -> list[PhotoOutcome]:
        """Complete photos side by side, their projections in one batch: most machines need less time for that.

        What one photo lacks costs the others nothing. Results agree with those of a photo alone but for the last
        digits, which depend on all photos of the call. Should completing several at once fail, they are completed one
        by one, and the faces' warnings say so.

        Args:
            photos: as many as are projected at once.
            progress: called as the work on any of them goes on.
        """
        return self._complete(photos, progress, self.settings.faces == "largest")

    def fuse(
        self, photos: Sequence[PhotoLike], progress: Progress | None = None, reference: "PhotoLike | None" = None
    ) -> CompletedFace:
        """Complete one person's face from several photos, or from a video; one photo gives what a call with it gives.

        Their order does not matter. A photo that cannot be used, or seems to show somebody else, is left out, and a
        warning says so.

        Args:
            photos: of the person, the largest face of each; a path may be that of a video.
            progress: called as the work goes on.
            reference: the one of them whose expression, pose and light the result has; the best frontal one if None.

        Raises:
            FaceError, ImageError: none can be used.
            UsageError: the reference cannot.
            ValueError: there is no photo.
        """
        if not photos:
            raise ValueError("expected at least one photo, got none")
        if len(photos) == 1 and not is_video(photos[0]):
            return _faces_of(self._complete(photos, progress, only_largest=True)[0])[0]
        looks = sum(MOST if is_video(photo) else 1 for photo in photos)
        run = PhotoRun(never_falling(progress), {**self.stage_weights(), "read": 6.0 * looks})
        several = observe_several(self.observer, photos, self._several_networks(), reference, run)
        pictures = [one.observed for one in several.pictures]
        run.warnings.extend((*several.warnings, *pictures[0].warnings))
        evidence = fuse(pictures, self.observer.unwrapper, self.observer.guide)
        made = self._finish([several.source], [pictures[0]], [evidence], [run])[0]
        run.finish()
        return replace(made, record=with_photos(made.record, several, made.provenance))

    def _several_networks(self) -> SeveralNetworks:
        if self._several is None:
            fitter = functools.cache(lambda: load_joint_fitter(self._assembler.heads))
            recogniser = functools.cache(lambda: self.models.recogniser or load_recogniser(self.device).network)
            self._several = SeveralNetworks(fitter, recogniser)
        return self._several

    def _complete(
        self, photos: Sequence[PhotoLike], progress: Progress | None, only_largest: bool, first: int = 1
    ) -> list[PhotoOutcome]:
        works = [_Work(photo, self, only_largest, progress, first) for photo in photos]
        for portion in _portions(works):
            while faces := [face for work in portion if (face := work.next_face()) is not None]:
                self._complete_faces(faces)
            for work in portion:
                work.end()
        return [work.outcome for work in works]

    def _complete_faces(self, faces: Sequence["FaceInWork"]) -> None:
        """Complete one face of each of some photos; each work has its result or its failure then."""
        start, failure = time.perf_counter(), None
        try:
            for one, made in zip(faces, self._make(faces), strict=True):
                one.work.results.append(made)
        except Exception as error:  # noqa: BLE001 - whoever is to blame, the others are not to suffer
            failure = error
        for one in faces:
            one.work.seconds += (time.perf_counter() - start) / len(faces)
        if failure is None:
            return
        if len(faces) == 1:
            faces[0].work.failure = failure
            return
        reason = (
            f"ompleting {len(faces)} faces at once failed ({type(failure).__name__}), so they were done one by one."
        )
        logger.warning("%s: c%s", ", ".join(one.work.name for one in faces), reason)
        for one in faces:
            one.run.warnings.append(f"C{reason}")
            self._complete_faces([one])

    def _make(self, faces: Sequence["FaceInWork"]) -> list[CompletedFace]:
        observed = [one.observed for one in faces]
        evidence = [fuse([one], self.observer.unwrapper, self.observer.guide) for one in observed]
        return self._finish([one.work.source for one in faces], observed, evidence, [one.run for one in faces])

    def _finish(
        self,
        sources: Sequence[dict[str, str]],
        observed: Sequence[ObservedFace],
        evidence: Sequence[Evidence],
        runs: Sequence[PhotoRun],
        shapes: Sequence[ModelShape | None] | None = None,
    ) -> list[CompletedFace]:
        """Complete faces side by side and put their results together.

        ``observed`` is each one's picture, ``shapes`` its face model's coefficients where they are known already.
        """
        beside = len(observed)

        def report(stage: str, share: float) -> None:
            for run in runs:
                if run.stage != stage:
                    run.enter(stage, beside)
                run.advance(share)

        report("prior", 0.0)
        completions = [as_written(c) for c in self.completer.complete(evidence, report)]
        report("export", 0.0)
        portraits: Sequence[FrontalSource | None] = [None] * beside
        if self.settings.frontalize:
            finished = [
                FinishedFace(o.face, c.texture, o.photo, o.identity) for o, c in zip(observed, completions, strict=True)
            ]
            portraits = self._portraits(finished, lambda share: report("export", share))
        known = shapes or [None] * beside
        return [
            self._assembler.assemble(source, o, named(c, e), p, run, shape)
            for source, o, c, e, p, run, shape in zip(
                sources, observed, completions, evidence, portraits, runs, known, strict=True
            )
        ]

    def _portraits(
        self, faces: Sequence[FinishedFace], on_progress: Callable[[float], None] = lambda _: None
    ) -> list[FrontalSource]:
        """What the frontal portraits are drawn from, and the projections that corrected them if there were any.

        A generator of natural photos gives the portrait itself; one of shape-normalised faces corrects the texture,
        which is drawn on the person's own mesh.
        """
        if self._generator is None:
            return [FrontalSource()] * len(faces)
        return [FrontalSource(m.portrait, m.texture, m.view) for m in portray(self._generator, faces, on_progress)]

    def stage_weights(self) -> dict[str, float]:
        """How long the stages take that project, in units of the others."""
        settings = self.settings
        if not settings.projects:
            return {"project": 0.0}
        unit = ITERATION_SECONDS / STAGE_SECONDS
        mode = "hard" if settings.mode == "hard" else "soft"
        frontal = settings.iterations_frontalize if settings.frontalize else 0
        return {"project": settings.iterations * len(views_of(mode)) * unit, "export": 1 + frontal * unit}

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
        texture = read_image(directory / f"{name}.png", MAX_UV_MEGAPIXELS)
        face = face_from_camera(saved.vertices, saved.landmarks, saved.camera_matrix)
        head = read_surfaces(directory, name) if f"{name}{ENDING}.obj" in record["files"] else []
        frontal = None
        if frontalize:
            provenance = read_palette_png(directory / f"{name}_provenance.png")
            if provenance.shape != texture.shape[:2]:
                raise OutputError(f"{directory / name}_provenance.png is another texture's.")
            completed, losses = CompletedTexture({"colour": texture}, provenance), record.get("losses") or {}
            image = self.observer.open(photo, PhotoRun(None))[0].image
            (made,) = self._portraits([FinishedFace(face, completed, image, saved.identity)])
            around = look_around(self.models, image, face) if head else None
            sitter = Sitter(face, texture, self.models.topology, head, around)
            portrait = made.portrait(self._renderer, sitter, self.settings.turn)
            frontal = portrait.picture
            write_png(directory / f"{name}_frontal.png", frontal)
            record = cast("RunRecord", {**record, "frontal": portrait.record})
            if made.view is not None:
                about = self._assembler.projected((made.view,))
                # What judged the views before stays named where this run has no such network.
                known = {key: value for key, value in about.items() if value != "none" or key not in record}
                record = cast("RunRecord", {**record, **known, "losses": {**losses, **about["losses"]}})
        if turntable:
            write_turntable(directory, name, self._renderer.turntable(face, texture, head))
        added = {"frontalize": f"{name}_frontal.png"} if frontalize else {}
        added |= {"turntable": f"{name}_turntable.webp"} if turntable else {}
        record["files"] = sorted({*record.get("files", ()), *added.values()})
        record["settings"] = {**record.get("settings", {}), **dict.fromkeys(added, True)}
        update_page(directory, name, frontal, record)
        return write_record(directory, name, record)


def texture_completer(
    models: Models,
    settings: CompleteSettings,
    observer: Observer,
    generator: FaceGenerator | None,
    device: torch.device,
) -> TextureCompleter:
    """The completer that settings ask for, on an observer's layout: by diffusion or views where there are networks."""
    canvas = UvCanvas(observer.unwrapper.layout, observer.guide, models.prior, settings.fill, settings.blend)
    if models.denoiser is not None:
        own = settings.diffusion
        return DiffusionCompleter(canvas, models.denoiser, settings.mode, settings.samples, settings.seed, own)
    if generator is None:
        return PriorCompleter(canvas, settings.mode, settings.samples, settings.seed)
    made = GeneratorSettings(
        mode=settings.mode,
        schedule=settings.schedule,
        iterations=settings.iterations,
        iterations_frontalize=settings.iterations_frontalize,
        project=settings.project,
        views=settings.views,
        portrait=settings.portrait,
    )
    return GeneratorCompleter(models.topology, canvas, generator, judging_of(models), made, device)


def face_generator(models: Models) -> FaceGenerator | None:
    """The generator that was loaded, as the completion by views sees it; None without one."""
    if models.generator is None:
        return None
    return FileGenerator(models.generator, latent_space(models.generator, models.perceptual), models.shares_prior)


def judging_of(models: Models) -> Judging:
    """Builds the terms of whole pictures with the networks that were loaded."""
    judge = picture_judge(models.generator) if models.generator is not None else None
    return Judging(models.facemesh, models.recogniser, judge)


def _name_of(completer: TextureCompleter) -> str:
    """For the record: prior, generator, or the class of somebody's own."""
    if isinstance(completer, PriorCompleter):
        return "prior"
    if isinstance(completer, DiffusionCompleter):
        return "diffusion"
    if isinstance(completer, GeneratorCompleter):
        own = completer.generator
        return "generator" if isinstance(own, FileGenerator) else f"generator ({type(own).__qualname__})"
    return type(completer).__qualname__


@dataclass
class _Work:
    """One photo on its way."""

    photo: PhotoLike
    completer: Completer
    only_largest: bool
    progress: Progress | None
    first: int = 1
    """The face that is completed, or begun with, by size."""
    source: dict[str, str] = field(default_factory=dict)
    results: list[CompletedFace] = field(default_factory=list)
    errors: list[FaceError] = field(default_factory=list)
    """Of detections that could not be completed."""
    failure: Exception | None = None
    stage: str = "read"
    seconds: float = 0.0
    outcome: PhotoOutcome = field(default_factory=PhotoOutcome)
    _image: FloatArray | None = None
    _boxes: list[FaceBox] = field(default_factory=list)
    _left: list[FaceBox] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._run = PhotoRun(never_falling(self._report), self.completer.stage_weights())

    @property
    def name(self) -> str:
        """Of the photo, for messages."""
        return self.source.get("source", "photo")

    def _report(self, stage: str, done: float) -> None:
        self.stage = stage
        if self.progress is not None:
            self.progress(stage, done)

    def open(self) -> int:
        """Read the photo and find its faces; gives its pixels, 0 where that failed."""
        start = time.perf_counter()
        try:
            with self._run.named_in_errors():
                read, self._boxes = self.completer.observer.open(self.photo, self._run)
            self.source = read.source
            self._run.warnings.extend(read.notes)
            if self.first > len(self._boxes):
                raise FaceError(f"The photo has {counted(len(self._boxes), 'face')}, so there is no face {self.first}.")
            self._image, self._left = read.image, self._boxes[self.first - 1 :]
            return read.image.shape[0] * read.image.shape[1]
        except Exception as error:  # noqa: BLE001 - it costs the others nothing
            self.failure = error
            return 0
        finally:
            self._run.enter("")
            self.seconds += time.perf_counter() - start

    def next_face(self) -> "FaceInWork | None":
        """The next face that is to be completed; None if there is none.

        A false detection can be larger than the face: the next one is tried then.
        """
        wanted = 1 if self.only_largest else len(self._boxes)
        start = time.perf_counter()
        try:
            while self._image is not None and self._left and self.failure is None and len(self.results) < wanted:
                run = self._run.of_face(len(self.results), wanted)
                box = self._left.pop(0)
                try:
                    with run.named_in_errors():
                        observed = self.completer.observer.observe(self._image, box, run)
                except FaceError as error:
                    self.errors.append(error)
                    continue
                run.enter("")
                run.warnings.extend((*far_half(observed.face), *observed.warnings))
                return FaceInWork(self, observed, run)
        except Exception as error:  # noqa: BLE001 - it costs the others nothing
            self.failure = error
        finally:
            self.seconds += time.perf_counter() - start
        return None

    def end(self) -> None:
        """All faces are done: the photo's memory is given back, and its outcome is there."""
        self._image = None
        if self.failure is None and not self.results:
            self.failure = self.errors[0]
        if self.failure is None:
            self._run.finish()
        elif isinstance(self.failure, OstecError):
            self.stage = self.failure.stage = self.failure.stage or self.stage
        faces = [_with_warnings(face, self._notes()) for face in self.results] if self.failure is None else []
        self.outcome = PhotoOutcome(faces, self.failure, self.stage, self.seconds)

    def _notes(self) -> list[str]:
        count, errors = len(self._boxes), self.errors
        notes = []
        if self.first > 1:
            notes.append(f"The photo has {count} faces; number {self.first} by size was asked for.")
        elif self.only_largest and count > 1:
            notes.append(
                f"{count} faces were detected; the largest that could be completed was (--faces all tries all)."
                if errors
                else f"The photo has {count} faces; the largest was completed (--faces all does all)."
            )
        if errors:
            notes.append(f"{len(errors)} of {count} detected faces could not be completed: {errors[0]}")
        return notes


@dataclass(frozen=True)
class FaceInWork:
    """One face of a photo that is to be completed."""

    work: _Work
    observed: ObservedFace
    run: PhotoRun


def _faces_of(outcome: PhotoOutcome) -> list[CompletedFace]:
    if outcome.error is not None:
        raise outcome.error
    return list(outcome.faces)


def _with_warnings(face: CompletedFace, notes: Sequence[str]) -> CompletedFace:
    return replace(face, record=with_warnings(face.record, notes)) if notes else face


def _portions(works: Sequence[_Work]) -> Iterator[list[_Work]]:
    """Photos that may be in memory at once, opened, in their order."""
    portion: list[_Work] = []
    pixels = 0
    for work in works:
        own = work.open()
        if portion and pixels + own > MOST_PIXELS:
            yield portion
            portion, pixels = [], 0
        portion.append(work)
        pixels += own
    if portion:
        yield portion
