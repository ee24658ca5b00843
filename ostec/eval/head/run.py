"""Completions of a textured head's pictures, judged against the head: one job per input picture.

A job draws the head at the input's pose under its light, completes the picture, and compares the completion with the
truth of ``truth.py`` as ``headscores.py`` says. Methods are ``ostec``, and with baselines ``prior`` (no view
projected), those of ``baselines.py`` and ``truth``: the true texture itself, about what the figures can reach, for the
landmarks of two poses never quite agree. All use the mesh fitted to the input. Where the completion asks for a face
model, its full head is a method too, as ``full_head.py`` says.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.assets import sha256_of
from ostec.core.errors import UsageError
from ostec.core.settings import to_json
from ostec.core.types import BoolArray, FittedFace, FloatArray, TexturedFace
from ostec.eval.head.full import FullHeadJudge, full_head_judge
from ostec.eval.head.mesh import PartFiles, load_head
from ostec.eval.head.scores import (
    OwnMesh,
    Target,
    hidden_from,
    make_target,
    own_figures,
    own_mesh,
    picture_figures,
    texel_figures,
)
from ostec.eval.head.truth import CACHE, UV_SIZE, FaceReader, Studio, UvTruth, cached_uv_truth, set_up
from ostec.eval.jobs import JOB_THREADS
from ostec.eval.photos.baselines import BASELINES, seen_texels
from ostec.eval.photos.stages import Loaded, failures_of, load, rows_of, run_digest
from ostec.eval.report.drawing import LIGHTS, HeadView
from ostec.eval.report.pictures import path_of, write_pictures
from ostec.eval.report.record import OSTEC, PRIOR, Evaluation, Row
from ostec.io.images import resize_image
from ostec.pipeline import Completer
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


@dataclass(frozen=True)
class Pair:
    """An input and a target, by yaw."""

    input_yaw: int
    target_yaw: int


@dataclass(frozen=True)
class HeadSettings:
    """What is completed and what it is compared with.

    Raises:
        ValueError: a pose is out of range, a light unknown, a list empty or with doubles, or both grid and pairs asked.
    """

    yaws: tuple[int, ...] = YAWS_DEG
    """Input yaws in degrees."""
    pitches: tuple[int, ...] = PITCHES_DEG
    """Input pitches in degrees."""
    lights: tuple[str, ...] = tuple(LIGHTS)
    """Of ``drawing.LIGHTS``."""
    targets: tuple[int, ...] = TARGETS_DEG
    """Yaws at pitch 0 at which the completion is compared, in degrees."""
    pairs: tuple[Pair, ...] = ()
    """Input and target yaws at pitch 0, in place of the grid."""
    baselines: bool = False
    """Also judge the cheap methods and the truth itself."""
    completion: CompleteSettings = field(default_factory=lambda: CompleteSettings(mode="soft", iterations=50))
    """What is judged; its textures are brought to ``truth.UV_SIZE`` for that."""

    def __post_init__(self) -> None:
        if self.pairs and (self.yaws, self.pitches, self.targets) != (YAWS_DEG, PITCHES_DEG, TARGETS_DEG):
            raise ValueError("pairs take the place of yaws, pitches and targets, so give either.")
        for name in ("yaws", "pitches", "lights", "targets", "pairs"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must not have a value twice.")
            if not values and name != "pairs":
                raise ValueError(f"{name} must have a value.")
        for light in self.lights:
            if light not in LIGHTS:
                raise ValueError(f"lights must be of {', '.join(LIGHTS)}, got {light!r}.")
        of_pairs = tuple(yaw for pair in self.pairs for yaw in asdict(pair).values())
        for name, poses in zip(
            ("yaws", "pitches", "targets", "pairs"), (self.yaws, self.pitches, self.targets, of_pairs), strict=True
        ):
            for pose in poses:
                if abs(pose) > STEEPEST_DEG:
                    raise ValueError(f"{name} must be -{STEEPEST_DEG} to {STEEPEST_DEG} degrees, got {pose}.")

    @property
    def inputs(self) -> dict[str, "Input"]:
        """The inputs by their keys, in order."""
        yaws = tuple(dict.fromkeys(pair.input_yaw for pair in self.pairs)) or self.yaws
        pitches = (0,) if self.pairs else self.pitches
        found = [Input(light, pitch, yaw) for light in self.lights for pitch in pitches for yaw in yaws]
        return {pose.key: pose for pose in found}

    def targets_of(self, input_yaw: int) -> tuple[int, ...]:
        """Yaws that an input is compared at."""
        if not self.pairs:
            return self.targets
        return tuple(pair.target_yaw for pair in self.pairs if pair.input_yaw == input_yaw)

    @property
    def all_targets(self) -> tuple[int, ...]:
        """Every yaw that some input is compared at, in rising order."""
        return tuple(sorted({pair.target_yaw for pair in self.pairs} or set(self.targets)))


@dataclass(frozen=True)
class Input:
    """A picture of the head that is completed."""

    light: str
    pitch_deg: int
    yaw_deg: int

    @property
    def key(self) -> str:
        """Good as a file name."""
        return f"{self.light}_pitch{self.pitch_deg}_yaw{self.yaw_deg}"

    @property
    def labels(self) -> dict[str, Any]:
        """Labels of its rows."""
        return {"light": self.light, "pitch": self.pitch_deg, "yaw": self.yaw_deg}

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
class _Shot:
    """An input picture and what it shows."""

    pose: Input
    view: HeadView
    texels: BoolArray
    """[S, S]: texels with a truth that it does not show."""
    hidden: Mapping[int, BoolArray]
    """Target yaw -> [H, W]: pixels that it does not show."""
    own: Mapping[int, OwnMesh]
    """Target yaw -> the mesh fitted to it, there."""

    @property
    def image(self) -> FloatArray:
        """[H, W, 3]."""
        return self.view.images[self.pose.light]


@dataclass(frozen=True)
class HeadTask:
    """Completes and judges the input of a key; what is heavy is loaded once in each process."""

    parts: tuple[PartFiles, ...]
    settings: HeadSettings
    folder: Path
    """Of the evaluation."""

    def __reduce__(self) -> tuple[Any, ...]:
        return HeadTask, (self.parts, self.settings, self.folder)

    def __call__(self, key: str) -> dict[str, Any]:
        """Rows of one input. Raises FaceError where no face is found in it, OutputError."""
        bench, pose = self._bench, self.settings.inputs[key]
        view = bench.studio.shoot(pose.pitch_deg, pose.yaw_deg, (pose.light,))
        image = view.images[pose.light]
        texels = bench.truth.unseen(view)
        true = bench.truth.textures[pose.light]
        inside = bench.reader.layout.inside.numpy()[..., None]
        unseen = np.where(texels[..., None], true, true * np.float32(_DIM)) * inside
        write_pictures(self.folder, {key: image, f"{key}_unseen": unseen})
        made = bench.loaded.completer(image).textured
        targets = {yaw: bench.targets[yaw] for yaw in self.settings.targets_of(pose.yaw_deg)}
        hidden = {yaw: hidden_from(view, target) for yaw, target in targets.items()}
        own = {yaw: own_mesh(made.face, target, true, bench.reader) for yaw, target in targets.items()}
        shot = _Shot(pose, view, texels, hidden, own)
        textures = {OSTEC: _texture(made), **(self._others(shot, made.face) if self.settings.baselines else {})}
        rows = [row for name, texture in textures.items() for row in self._rows(shot, name, texture)]
        if bench.full is not None:
            rows = self._with_full_head(shot, made, bench.full, rows)
        return {"rows": [asdict(row) for row in rows]}

    def prepare(self) -> dict[str, str]:
        """Load everything, find the truth and see that each target has a face; writes the true pictures.

        Returns:
            Purpose -> what judges, and what is missing.

        Raises:
            OstecError: the head cannot be used, something is missing, or a file cannot be written.
        """
        before = torch.get_num_threads()
        torch.set_num_threads(JOB_THREADS)  # as in the jobs, so that the figures do not depend on who prepares
        try:
            bench = self._bench
            inside = bench.reader.layout.inside.numpy()[..., None]
            for light in self.settings.lights:
                write_pictures(self.folder, {f"true_{light}": bench.truth.textures[light] * inside})
                images = {yaw: target.view.images[light] for yaw, target in bench.targets.items()}
                write_pictures(self.folder, {f"true_{light}_to{yaw}": image for yaw, image in images.items()})
        finally:
            torch.set_num_threads(before)
        judged = {**bench.loaded.judges.described(), "truth": f"texture from {bench.truth.views} views of the head"}
        if self.settings.baselines and bench.prior is None:
            judged["baseline prior"] = "left out: no prior was asked for"
        return judged

    def digest(self, judged: Mapping[str, str]) -> str:
        """Of all that decides the outcomes of the jobs, which are those of the lists of poses and lights."""
        settings = replace(self.settings, yaws=YAWS_DEG, pitches=PITCHES_DEG, lights=tuple(LIGHTS))
        return run_digest(KIND, to_json(settings), self._bench.loaded, self.about, dict(judged))

    @property
    def about(self) -> dict[str, Any]:
        """Files and weights, for the record."""
        parts = [{"mesh": part.mesh.name, "texture": part.texture.name, **_hashes(part)} for part in self.parts]
        full = self._bench.full
        return {
            "head": parts,
            "weights": self._bench.loaded.models.hashes,
            **({"face_model": full.made_with} if full is not None else {}),
        }

    def evaluation(self, outcomes: Mapping[str, dict[str, Any]], judged: Mapping[str, str]) -> Evaluation:
        """All rows of the jobs' outcomes, and which inputs could not be completed."""
        failures = failures_of(outcomes, lambda key: self.settings.inputs[key].item("*"))
        share = f"{len(failures)} of {len(outcomes)} ({100 * len(failures) / max(len(outcomes), 1):.0f} %)"
        settings = {**to_json(self.settings), **self.about}
        return Evaluation(KIND, settings, {**judged, "inputs that failed": share}, rows_of(outcomes), failures)

    @cached_property
    def _bench(self) -> _Bench:
        settings = self.settings.completion
        loaded = load(settings)
        reader = FaceReader(loaded.models)
        studio = set_up(load_head(self.parts), reader)
        truth = cached_uv_truth(studio, reader, self.parts, self.folder / CACHE)
        targets = {yaw: make_target(studio, reader, truth, yaw) for yaw in self.settings.all_targets}
        prior = None
        if self.settings.baselines and loaded.models.prior is not None:
            alone = replace(loaded.models, generator=None, shares_prior=False)
            prior = Completer(alone, replace(settings, iterations=0), loaded.completer.device, [])
        full = full_head_judge(settings, truth, reader.topology)
        return _Bench(loaded, prior, reader, studio, truth, targets, full)

    def _others(self, shot: _Shot, face: FittedFace) -> dict[str, FloatArray]:
        """Method -> [S, S, 3] of the baselines."""
        bench = self._bench
        found = {} if bench.prior is None else {PRIOR: _texture(bench.prior(shot.image).textured)}
        photo = seen_texels(shot.image, face, bench.reader.layout)
        found |= {name: fill(photo) for name, fill in BASELINES.items()}
        return {**found, TRUTH: bench.truth.textures[shot.pose.light]}

    def _rows(self, shot: _Shot, method: str, texture: FloatArray) -> list[Row]:
        bench, pose = self._bench, shot.pose
        truth, judges, key = bench.truth, bench.loaded.judges, pose.key
        inside = bench.reader.layout.inside.numpy()[..., None]
        pictures = self._pictures(pose, f"{key}_{method}", texture * inside)
        pictures["unseen"] = path_of(f"{key}_unseen")
        figures = texel_figures(texture, truth.textures[pose.light], truth, shot.texels, judges)
        labels = {**pose.labels, "share_unseen": _share(shot.texels, truth.valid)}
        rows = [Row(pose.item("uv"), method, figures, labels, pictures)]
        for yaw, hidden in shot.hidden.items():
            target = bench.targets[yaw]
            true, render = target.view.images[pose.light], target.mesh.draw(texture)
            made = np.where(target.face[..., None], render, true)
            pictures = self._pictures(pose, f"{key}_to{yaw}_{method}", made, f"_to{yaw}")
            figures = picture_figures(render, target, pose.light, hidden, judges)
            figures |= own_figures(texture, shot.own[yaw], true, hidden, judges)
            labels = {**pose.labels, "target": yaw, "share_unseen": _share(target.face & hidden, target.face)}
            rows.append(Row(pose.item(f"to{yaw}"), method, figures, labels, pictures))
        return rows

    def _with_full_head(self, shot: _Shot, made: TexturedFace, judge: FullHeadJudge, rows: list[Row]) -> list[Row]:
        """``rows`` with the figures of the default mesh beside its full head, and the rows of that head."""
        head, pose = judge.head_of(made), shot.pose
        for yaw, own in shot.own.items():
            judged = judge.judge(made, head, self._bench.targets[yaw], own, pose.light)
            item = pose.item(f"to{yaw}")
            mine = next(k for k, row in enumerate(rows) if (row.item, row.method) == (item, OSTEC))
            rows[mine] = replace(rows[mine], figures=rows[mine].figures | judged.figures[OSTEC])
            name = f"{pose.key}_to{yaw}_{judge.method.replace(' ', '_')}"
            pictures = self._pictures(pose, name, judged.picture, f"_to{yaw}")
            rows.append(Row(item, judge.method, judged.figures[judge.method], rows[mine].labels, pictures))
        return rows

    def _pictures(self, pose: Input, name: str, made: FloatArray, target: str = "") -> dict[str, str]:
        """Write what was made; the paths of a row's pictures from the evaluation's folder."""
        others = {"truth": path_of(f"true_{pose.light}{target}"), "input": path_of(pose.key)}
        return {"made": write_pictures(self.folder, {name: made})[name], **others}


def check_files(parts: tuple[PartFiles, ...]) -> None:
    """Raise UsageError where a mesh or texture does not exist."""
    for part in parts:
        for path in (part.mesh, part.texture):
            if not path.is_file():
                raise UsageError(f"{path} does not exist, or is no file.")


def _texture(made: TexturedFace) -> FloatArray:
    """[S, S, 3] as large as the truth's."""
    texture = made.completed.colour
    return texture if len(texture) == UV_SIZE else resize_image(texture, UV_SIZE, UV_SIZE)


def _hashes(part: PartFiles) -> dict[str, str]:
    return {"mesh_sha256": sha256_of(part.mesh), "texture_sha256": sha256_of(part.texture)}


def _share(part: BoolArray, whole: BoolArray) -> float:
    return round(float(part.sum() / max(whole.sum(), 1)), 4)
