"""Completions of a textured head's pictures, judged against the head: one job per input picture.

A job draws the head at the input's pose under its light, completes the picture, and compares the completion with the
truth of ``truth.py`` as ``scores.py`` says. Methods are ``ostec``, and with baselines ``prior`` (no view projected),
those of ``baselines.py`` and ``truth``: the true texture itself, about what the figures can reach, for the landmarks of
two poses never quite agree. All use the mesh fitted to the input. Where the completion asks for a face model, its full
head is a method too, as ``full.py`` says.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.assets import sha256_of
from ostec.core.device import threads
from ostec.core.settings import NO_HEAD, to_json
from ostec.core.types import BoolArray, FittedFace, FloatArray, TexturedFace
from ostec.eval.head.albedo import TEXTURE, TONES, albedo_rows, methods_of, toned_head
from ostec.eval.head.full import FullHeadJudge, find_regions
from ostec.eval.head.mesh import PartFiles, load_head
from ostec.eval.head.scores import Target, make_target, picture_figures, texel_figures
from ostec.eval.head.truth import CACHE, UV_SIZE, FaceReader, Studio, UvTruth, cached_uv_truth, set_up
from ostec.eval.jobs import JOB_THREADS, Outcome
from ostec.eval.photos.baselines import BASELINES, seen_texels
from ostec.eval.report.drawing import LIGHTS, DrawnMesh, HeadView, light_of, seen_by
from ostec.eval.report.pictures import Cell, cell_of, path_of, write_pictures
from ostec.eval.report.record import OSTEC, PRIOR, Evaluation, Row
from ostec.eval.scores import Compared
from ostec.eval.study import Loaded, Study, load
from ostec.io.images import resize_image
from ostec.pipeline import Completer
from ostec.pipeline.models import load_head_maker
from ostec.pipeline.settings import CompleteSettings

KIND = "head"
TRUTH = "truth"
"""The method that is the true texture itself."""
YAWS_DEG = (-60, -45, -25, 0, 25, 45, 60)
PITCHES_DEG = (-20, 0, 20)
TARGETS_DEG = (-40, 0, 40)
STEEPEST_DEG = 90
_DIM = 0.25
"""Brightness of what was seen in the picture of what was not."""
MOST_ROWS = 12
"""More inputs than this are not on the sheet: first those of other lights go, then those of other pitches."""
_CROP = 0.12
"""Share of a picture of the head that the sheet cuts off at each side, where there is no face."""


@dataclass(frozen=True)
class Pair:
    """An input and a target, by yaw."""

    input_yaw: int
    target_yaw: int


@dataclass(frozen=True)
class HeadSettings:
    """What is completed and what it is compared with.

    Raises ValueError for a pose out of range, an unknown light, a list that is empty or has doubles, or grid and pairs.
    """

    yaws: tuple[int, ...] = YAWS_DEG
    """Input yaws in degrees."""
    pitches: tuple[int, ...] = PITCHES_DEG
    """Input pitches in degrees."""
    lights: tuple[str, ...] = tuple(LIGHTS)
    """Of ``drawing.LIGHTS``, or of albedos of those that are drawn at random: lamps0, lamps1, ..."""
    targets: tuple[int, ...] = TARGETS_DEG
    """Yaws at pitch 0 at which the completion is compared, in degrees."""
    pairs: tuple[Pair, ...] = ()
    """Input and target yaws at pitch 0, in place of the grid."""
    albedo: bool = False
    """Judge the texture without light, and nothing else."""
    tones: tuple[str, ...] = ("own",)
    """Of ``albedo.TONES``: skin of the head whose albedo is judged."""
    baselines: bool = False
    """Also judge the cheap methods and the truth itself."""
    completion: CompleteSettings = field(
        default_factory=lambda: CompleteSettings(mode="soft", iterations=50, face_model=NO_HEAD)
    )
    """What is judged; its textures are brought to ``truth.UV_SIZE`` for that."""

    def __post_init__(self) -> None:
        if self.pairs and (self.yaws, self.pitches, self.targets) != (YAWS_DEG, PITCHES_DEG, TARGETS_DEG):
            raise ValueError("pairs take the place of yaws, pitches and targets, so give either.")
        if self.albedo != (self.completion.materials != "none"):
            raise ValueError("albedo is what a completion with materials has.")
        for name in ("yaws", "pitches", "lights", "targets", "pairs", "tones"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must not have a value twice.")
            if not values and name != "pairs":
                raise ValueError(f"{name} must have a value.")
            for value in values:
                if name == "lights" and not _is_light(value, self.albedo):
                    raise ValueError(f"lights must be of {', '.join(LIGHTS)}, got {value!r}.")
                if name == "tones" and value not in TONES:
                    raise ValueError(f"tones must be of {', '.join(TONES)}, got {value!r}.")
                for pose in (
                    () if name in ("lights", "tones") else asdict(value).values() if name == "pairs" else (value,)
                ):
                    if abs(pose) > STEEPEST_DEG:
                        raise ValueError(f"{name} must be -{STEEPEST_DEG} to {STEEPEST_DEG} degrees, got {pose}.")

    @property
    def inputs(self) -> dict[str, "Input"]:
        """The inputs by their keys, in order."""
        yaws = tuple(dict.fromkeys(pair.input_yaw for pair in self.pairs)) or self.yaws
        poses = itertools.product(self.lights, (0,) if self.pairs else self.pitches, yaws, self.tones)
        return {pose.key: pose for pose in itertools.starmap(Input, poses)}

    def targets_of(self, input_yaw: int) -> tuple[int, ...]:
        """Yaws that an input is compared at."""
        return tuple(p.target_yaw for p in self.pairs if p.input_yaw == input_yaw) if self.pairs else self.targets

    @property
    def all_targets(self) -> tuple[int, ...]:
        """Every yaw that some input is compared at, in rising order."""
        return tuple(sorted({pair.target_yaw for pair in self.pairs} or set(self.targets)))


def _is_light(name: str, drawn: bool) -> bool:
    """Whether there is a light of that name; ``drawn``: one at random will do."""
    try:
        return drawn or name in LIGHTS if light_of(name) else False
    except KeyError:
        return False


@dataclass(frozen=True)
class Input:
    """A picture of the head that is completed."""

    light: str
    pitch_deg: int
    yaw_deg: int
    tone: str = "own"

    @property
    def key(self) -> str:
        """Good as a file name."""
        return f"{self.light}_pitch{self.pitch_deg}_yaw{self.yaw_deg}" + f"_{self.tone}" * (self.tone != "own")

    def item(self, what: str) -> str:
        """Name of a row: ``uv`` or ``toYAW`` is compared."""
        return f"{self.light}/pitch{self.pitch_deg}/yaw{self.yaw_deg}/{what}"


@dataclass(frozen=True)
class _Bench:
    """What all jobs of a process share."""

    loaded: Loaded
    prior: Completer | None
    reader: FaceReader
    studio: Studio
    truth: UvTruth
    targets: Mapping[int, Target]
    full: FullHeadJudge | None
    """Where the completion asks for a full head."""


@dataclass(frozen=True)
class HeadTask:
    """Completes and judges the input of a key; what is heavy is loaded once in each process."""

    parts: tuple[PartFiles, ...]
    settings: HeadSettings
    folder: Path
    """Of the evaluation."""

    def __reduce__(self) -> tuple[Any, ...]:
        return HeadTask, (self.parts, self.settings, self.folder)

    def __call__(self, key: str) -> Outcome:
        """Rows of one input. Raises FaceError where no face is found in it, OutputError."""
        bench, pose = self.bench, self.settings.inputs[key]
        if self.settings.albedo:
            return {"rows": [asdict(row) for row in self._albedo(pose)]}
        view = bench.studio.shoot(pose.pitch_deg, pose.yaw_deg, (pose.light,))
        image, true = view.images[pose.light], bench.truth.textures[pose.light]
        unseen = bench.truth.unseen(view)
        dimmed = np.where(unseen[..., None], true, true * np.float32(_DIM))
        write_pictures(self.folder, {key: image, f"{key}_unseen": dimmed * _inside(bench)})
        made = bench.loaded.completer(image).textured
        textures = {OSTEC: _texture(made)}
        if self.settings.baselines:
            textures |= self._others(pose, image, made.face)
        own = {yaw: bench.targets[yaw].own(made.face, bench.reader) for yaw in self.settings.targets_of(pose.yaw_deg)}
        rows = [row for name, texture in textures.items() for row in self._rows(pose, name, texture, unseen, view, own)]
        if bench.full is not None:
            rows += self._full_head(pose, made, bench.full, own, rows)
        return {"rows": [asdict(row) for row in rows]}

    def _albedo(self, pose: Input) -> Iterator[Row]:
        """The rows of an input whose light is taken out."""
        bench, key = self.bench, pose.key
        studio = replace(bench.studio, head=toned_head(bench.studio.head, pose.tone))
        image = studio.shoot(pose.pitch_deg, pose.yaw_deg, (pose.light,)).images[pose.light]
        face = bench.loaded.completer(image)
        made = {name: _scaled(texture) for name, texture in methods_of(face.textured).items()}
        write_pictures(self.folder, {key: image})
        pictures = {name: self._pictures(pose, f"{key}_{name}", made[name] * _inside(bench)) for name in made}
        labels: dict[str, float | str] = {
            "light": pose.light,
            "pitch": pose.pitch_deg,
            "yaw": pose.yaw_deg,
            "tone": pose.tone,
        }
        labels["strength"] = face.record["light"]["strength"]
        yield from albedo_rows(pose.item(f"albedo_{pose.tone}"), labels, pictures, made, bench.truth, pose.tone)

    @cached_property
    def bench(self) -> _Bench:
        """Loaded on use. Raises OstecError where the head cannot be used or something is missing."""
        settings = self.settings.completion
        maker = None if settings.face_model == NO_HEAD else load_head_maker(settings.face_model)
        loaded = load(settings)
        reader = FaceReader(loaded.models)
        studio = set_up(load_head(self.parts), reader)
        truth = cached_uv_truth(studio, reader, self.parts, self.folder / CACHE)
        asked = () if self.settings.albedo else self.settings.all_targets
        targets = {yaw: make_target(studio, reader, truth, yaw) for yaw in asked}
        prior = None
        if self.settings.baselines and loaded.models.prior is not None:
            alone = replace(loaded.models, generator=None, shares_prior=False)
            prior = Completer(alone, replace(settings, iterations=0), loaded.completer.device, [])
        full = None if maker is None else FullHeadJudge(maker, find_regions(truth, reader.topology))
        return _Bench(loaded, prior, reader, studio, truth, targets, full)

    def _others(self, pose: Input, image: FloatArray, face: FittedFace) -> dict[str, FloatArray]:
        """Method -> [S, S, 3] of the baselines."""
        bench = self.bench
        found = {} if bench.prior is None else {PRIOR: _texture(bench.prior(image).textured)}
        photo = seen_texels(image, face, bench.reader.layout)
        found |= {name: fill(photo) for name, fill in BASELINES.items()}
        return {**found, TRUTH: bench.truth.textures[pose.light]}

    def _rows(
        self,
        pose: Input,
        method: str,
        texture: FloatArray,
        unseen: BoolArray,
        view: HeadView,
        own: Mapping[int, DrawnMesh],
    ) -> Iterator[Row]:
        bench, light, key = self.bench, pose.light, pose.key
        truth, judges, true = bench.truth, bench.loaded.judges, bench.truth.textures[light]
        labels = {"light": light, "pitch": pose.pitch_deg, "yaw": pose.yaw_deg}
        pictures = self._pictures(pose, f"{key}_{method}", texture * _inside(bench))
        pictures["unseen"] = path_of(f"{key}_unseen")
        figures = texel_figures(texture, true, truth, unseen, judges)
        yield Row(pose.item("uv"), method, figures, labels | {"share_unseen": _share(unseen, truth.valid)}, pictures)
        for yaw, mine in own.items():
            target = bench.targets[yaw]
            seen, picture = seen_by(view, target.view.position, target.view.normal).numpy(), target.view.images[light]
            compared, on_own = (
                Compared(mesh.draw(texture), picture, mesh.draw(true), target.face(mesh), seen)
                for mesh in (target.mesh, mine)
            )
            face = compared.face
            shown = np.where(face[..., None], compared.made, picture)
            pictures = self._pictures(pose, f"{key}_to{yaw}_{method}", shown, f"_to{yaw}")
            figures = picture_figures(compared, on_own, target, judges)
            more = {"target": yaw, "share_unseen": _share(face & ~seen, face)}
            yield Row(pose.item(f"to{yaw}"), method, figures, labels | more, pictures)

    def _full_head(
        self, pose: Input, made: TexturedFace, judge: FullHeadJudge, own: Mapping[int, DrawnMesh], rows: list[Row]
    ) -> Iterator[Row]:
        """The rows of the full head; figures of the default mesh beside it are added to those of ``rows``."""
        head, mine = judge.maker(made), {row.item: row for row in rows if row.method == OSTEC}
        for yaw, mesh in own.items():
            judged = judge.judge(made, head, self.bench.targets[yaw], mesh, pose.light)
            row = mine[pose.item(f"to{yaw}")]
            row.figures.update(judged.figures[OSTEC])
            name = f"{pose.key}_to{yaw}_{judge.method.replace(' ', '_')}"
            pictures = self._pictures(pose, name, judged.picture, f"_to{yaw}")
            yield Row(row.item, judge.method, judged.figures[judge.method], row.labels, pictures)

    def _pictures(self, pose: Input, name: str, made: FloatArray, target: str = "") -> dict[str, str]:
        """Write what was made; the paths of a row's pictures from the evaluation's folder."""
        light = "unlit" if self.settings.albedo else pose.light
        others = {"truth": path_of(f"true_{light}{target}"), "input": path_of(pose.key)}
        return {"made": write_pictures(self.folder, {name: made})[name], **others}


def head_study(task: HeadTask) -> Study:
    """Load everything, find the truth, write the true pictures.

    Raises OstecError where the head cannot be used, a target has no face, or a file is missing or cannot be written.
    """
    settings, folder = task.settings, task.folder
    with threads(JOB_THREADS):  # so that the figures do not depend on who finds the truth
        bench = task.bench
        for light in ("unlit",) if settings.albedo else settings.lights:
            pictures = {f"true_{light}": bench.truth.textures[light] * _inside(bench)}
            targets = bench.targets.items()
            write_pictures(folder, pictures | {f"true_{light}_to{yaw}": t.view.images[light] for yaw, t in targets})
    judged = {"truth": f"texture from {bench.truth.views} views of the head"}
    if settings.baselines and bench.prior is None:
        judged["baseline prior"] = "left out: no prior was asked for"
    paths = [asdict(part) for part in task.parts]
    head = [
        {k: path.name for k, path in p.items()} | {f"{k}_sha256": sha256_of(path) for k, path in p.items()}
        for p in paths
    ]
    about: dict[str, Any] = {"head": head}
    if bench.full is not None:
        about["face_model"] = bench.full.maker.made_with
    items = {key: pose.item("*") for key, pose in settings.inputs.items()}

    def failed(evaluation: Evaluation) -> dict[str, str]:
        count = len(evaluation.failures)  # there is an input at least
        return judged | {"inputs that failed": f"{count} of {len(items)} ({100 * count / len(items):.0f} %)"}

    jobs = replace(settings, yaws=YAWS_DEG, pitches=PITCHES_DEG, lights=tuple(LIGHTS))
    return Study(
        kind=KIND,
        folder=folder,
        task=task,
        items=items,
        by=("tone",) if settings.albedo else ("yaw",),
        loaded=bench.loaded,
        decisive=(to_json(jobs), about, judged),
        settings={**to_json(settings), **about},
        sheet=lambda _: [_sheet_row(folder, settings, pose) for pose in shown_inputs(settings)],
        judged=failed,
        cell_px=240,
    )


def shown_inputs(settings: HeadSettings) -> list[Input]:
    """The sheet's inputs: those of the first light; where they are too many, those of the pitch next to 0."""
    first = settings.lights if settings.albedo else settings.lights[:1]
    inputs = [pose for pose in settings.inputs.values() if pose.light in first]
    if len(inputs) > MOST_ROWS:
        level = min((pose.pitch_deg for pose in inputs), key=abs)
        inputs = [pose for pose in inputs if pose.pitch_deg == level]
    return inputs[:MOST_ROWS]


def _sheet_row(folder: Path, settings: HeadSettings, pose: Input) -> list[Cell]:
    """Input, completed and true texture, its unseen part; then per target the completed face, and the true."""
    key, light = pose.key, pose.light
    if settings.albedo:
        made = [(f"{key}_{name}", name, 0.0) for name in (OSTEC, TEXTURE)]
        cells = [(key, f"{light}, {pose.tone}", _CROP), *made, ("true_unlit", "true", 0.0)]
        return [cell_of(folder, path_of(name), label, crop) for name, label, crop in cells]
    cells = [(key, f"{light}, pitch {pose.pitch_deg}, yaw {pose.yaw_deg}", _CROP)]
    cells += [(f"{key}_{OSTEC}", "completed", 0.0), (f"true_{light}", "true", 0.0), (f"{key}_unseen", "unseen", 0.0)]
    for yaw in settings.targets_of(pose.yaw_deg):
        cells.append((f"{key}_to{yaw}_{OSTEC}", f"completed, to {yaw}", _CROP))
        cells.append((f"true_{light}_to{yaw}", f"true, {yaw}", _CROP))
    return [cell_of(folder, path_of(name), label, crop) for name, label, crop in cells]


def _texture(made: TexturedFace) -> FloatArray:
    """[S, S, 3] as large as the truth's."""
    return _scaled(made.completed.colour)


def _scaled(texture: FloatArray) -> FloatArray:
    return texture if len(texture) == UV_SIZE else resize_image(texture, UV_SIZE, UV_SIZE)


def _inside(bench: _Bench) -> BoolArray:
    """[S, S, 1]: the chart."""
    return bench.reader.layout.inside.numpy()[..., None]


def _share(part: BoolArray, whole: BoolArray) -> float:
    return round(float(part.sum() / max(whole.sum(), 1)), 4)
