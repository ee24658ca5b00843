"""Several photos of one person: each is completed, and compared with what the others show.

Per ordered pair (input, target) the completion of the input is brought onto the target
(:mod:`ostec.eval.photos.warp`) and compared over

* ``face``: the pixels that the mesh fitted to the target covers and where the target shows bare face;
* ``seen``: those of them that the input saw as well: in front, at a cosine of the view angle above ``SEEN_COSINE``, as
  bare face, all on the mesh fitted to the input;
* ``unseen``: the others.

Photos differ in light and exposure. ``psnr_PART_light`` is the PSNR after one gain and offset per colour channel,
fitted by least squares over ``seen``; every other figure is of the pictures as they are. Sharpness is held against the
target itself, unwrapped and drawn again on its own mesh, so that the resampling cancels. ``identity`` compares
textures, where the target shows the face.

With a true frontal photo there is one more row per input, of the method ``frontal``: the frontal portrait is unwrapped
by its own landmarks and brought onto that photo in the same way.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.errors import FaceError, ImageError
from ostec.core.settings import to_json
from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.eval.jobs import Jobs
from ostec.eval.photos.stages import (
    BARE,
    DETECTOR,
    Loaded,
    Sight,
    content_of,
    failures_of,
    load,
    look,
    rows_of,
    run_digest,
)
from ostec.eval.photos.warp import Framed, draw_on, frame, match_light, spread_colours
from ostec.eval.report.pictures import Cell, cell_of, difference, path_of, write_pictures
from ostec.eval.report.record import OSTEC, Evaluation, Row
from ostec.eval.scores import large_enough, psnr, sharpness, ssim
from ostec.io.images import read_image
from ostec.pipeline.settings import CompleteSettings
from ostec.render.uv import UvLayout

KIND = "views"
FRONTAL = "frontal"
"""The method that is the frontal portrait."""
SIZE = 512
"""Side of the textures in texels."""
YAW_TOLERANCE_DEG = 15.0
"""A fitted yaw further than this from the known one is warned about."""
PORTRAIT_RIM_MM = 2.0
"""A frontal portrait's texels nearer than this to the outline are mixed with what is behind it."""
TARGETS_KEPT = 16
"""Photos that a process keeps ready to be compared with."""

Perceptual = Callable[[FloatArray, FloatArray, BoolArray], float]
"""A judge of two pictures [H, W, 3] over a mask [H, W]; lower is better."""


@dataclass(frozen=True)
class ViewPhoto:
    """A photo of the person."""

    name: str
    """Good as a file name, and unlike the others'."""
    path: Path
    yaw_deg: float | None = None
    """Where it is known."""


@dataclass(frozen=True)
class Target:
    """A photo to be compared with."""

    framed: Framed
    face: FittedFace
    truth: FloatArray
    """[S, S, 3]: what it shows in the layout; the nearest colour where it shows nothing."""
    bare: FloatArray
    """[S, S]: 1 where it shows bare face."""
    weight: FloatArray
    """[S, S] in [0, 1]: trust in its texels."""


@dataclass(frozen=True)
class Compared:
    """Two pictures of a face, pixel on pixel."""

    made: FloatArray
    """[h, w, 3] in [0, 1]."""
    truth: FloatArray
    """[h, w, 3] in [0, 1]."""
    again: FloatArray
    """[h, w, 3]: the truth, unwrapped and drawn again as ``made`` was."""
    face: BoolArray
    """[h, w]: where both show the face."""
    seen: BoolArray
    """[h, w]: where the input showed it too."""

    @property
    def parts(self) -> dict[str, BoolArray]:
        """``face``, ``seen`` and ``unseen``, the last empty where it is a mere rim."""
        unseen = large_enough(self.face & ~self.seen, self.face)
        return {"face": self.face, "seen": self.face & self.seen, "unseen": unseen}


def target_of(image: FloatArray, sight: Sight) -> Target:
    """Make a photo [H, W, 3] ready to be compared with."""
    seen = sight.seen
    truth = spread_colours(seen.colour, seen.visible)
    bare = (seen.visible & (seen.mask > BARE)).astype(np.float32)
    return Target(frame(image, sight.face), sight.face, truth, bare, sight.weight.astype(np.float32))


def compare(
    texture: FloatArray,
    seen: BoolArray,
    target: Target,
    layout: UvLayout,
    own: torch.Tensor | None = None,
) -> Compared:
    """Bring a completion onto a target.

    Args:
        texture: [S, S, 3] in [0, 1].
        seen: [S, S], texels that its input saw.
        target: the other photo.
        layout: of both meshes.
        own: [V, 3] the completion's mesh, to compare without the warp; None warps.
    """
    fitted = draw_on(target.framed, layout)
    mesh = fitted if own is None else draw_on(target.framed, layout, own)
    made = mesh.draw(np.concatenate([texture, seen[..., None]], axis=2).astype(np.float32))
    true = fitted.draw(np.concatenate([target.truth, target.bare[..., None]], axis=2))
    face = mesh.covered & fitted.covered & (true[..., 3] > BARE)
    return Compared(_colours(made), target.framed.image, _colours(true), face, made[..., 3] > BARE)


def _colours(drawn: FloatArray) -> FloatArray:
    return np.clip(drawn[..., :3], 0, 1)


def figures(compared: Compared, judge: Perceptual, suffix: str = "") -> dict[str, float]:
    """PSNR, SSIM, perceptual distance and sharpness over every part.

    Args:
        compared: the pictures.
        judge: the perceptual judge.
        suffix: ends the figures' names.
    """
    found = {}
    made, truth, face = compared.made, compared.truth, compared.face
    for part, mask in compared.parts.items():
        found[f"psnr_{part}{suffix}"] = psnr(made, truth, mask)
        found[f"ssim_{part}{suffix}"] = ssim(made, truth, mask, face)
        found[f"perceptual_{part}{suffix}"] = judge(made, truth, mask)
        found[f"sharpness_{part}{suffix}"] = sharpness(made, compared.again, mask, face)
    return found


def light_figures(compared: Compared) -> dict[str, float]:
    """PSNR over every part under the target's light, fitted where the input saw; NaN if that is too little."""
    lit = match_light(compared.made, compared.truth, compared.parts["seen"])
    return {
        f"psnr_{part}_light": math.nan if lit is None else psnr(lit, compared.truth, mask)
        for part, mask in compared.parts.items()
    }


def own_figures(compared: Compared, judge: Perceptual) -> dict[str, float]:
    """What :func:`figures` gives without the warp: PSNR over every part, the rest over the face."""
    every = figures(compared, judge, "_own")
    return {name: value for name, value in every.items() if name.startswith(("psnr", f"{name.split('_')[0]}_face"))}


@dataclass(frozen=True)
class ViewsTask:
    """Completes one photo and compares it with the others; the key is its name."""

    photos: Mapping[str, ViewPhoto]
    """By name, in the order of the command line."""
    truth: ViewPhoto | None
    """The frontal photo that the frontal portrait is compared with."""
    complete: CompleteSettings
    """With the frontal portrait if there is a ``truth``."""
    folder: Path

    def __call__(self, key: str) -> dict[str, Any]:
        """``rows``, ``failures`` of single pairs, ``yaw`` as fitted. Raises ImageError, FaceError, OutputError."""
        loaded = load(self.complete)
        photo = self.photos[key]
        image = read_image(photo.path)
        result = loaded.completer(image).textured
        face, texture = result.face, result.completed.colour
        shown = Sight(face, loaded.observer.mask(image, face, loaded.observer.unwrap(image, face)).seen, DETECTOR).shown
        made = _Made(photo, face, texture, shown)
        outcome: dict[str, Any] = {"rows": [], "failures": [], "yaw": round(face.pose_deg[1], 2)}
        inside = loaded.observer.unwrapper.layout(SIZE).inside.numpy()[..., None]
        pictures = {"photo": frame(image, face).image, "texture": texture * inside}
        write_pictures(self.folder, {f"{key}_{what}": picture for what, picture in pictures.items()})
        for other in self.photos.values():
            if other.name != key:
                self._compare(outcome, made, other, OSTEC)
        if self.truth is not None and result.frontal is not None:
            self._compare(outcome, made, self.truth, FRONTAL, result.frontal)
        return outcome

    def _compare(
        self,
        outcome: dict[str, Any],
        made: "_Made",
        other: ViewPhoto,
        method: str,
        portrait: FloatArray | None = None,
    ) -> None:
        """Add a row or a failure to the outcome; a ``portrait`` takes the place of the texture."""
        try:
            if portrait is not None:
                made = replace(made, texture=_unwrapped(portrait, load(self.complete)))
            row = self._row(made, other, _target(other.path, content_of(other.path), self.complete), method)
            outcome["rows"].append(asdict(row))
        except (FaceError, ImageError) as error:
            item = item_of(made.photo.name, other.name)
            failure = {"item": item, "method": method, "reason": str(error)}
            outcome["failures"].append(failure)

    def _row(self, made: "_Made", other: ViewPhoto, target: Target, method: str) -> Row:
        loaded, texture, shown = load(self.complete), made.texture, made.shown
        layout, judges = loaded.observer.unwrapper.layout(SIZE), loaded.judges
        compared = compare(texture, shown, target, layout)
        found = figures(compared, judges.perceptual) | light_figures(compared)
        found["identity"] = judges.identity(texture, target.truth, target.weight)
        if method == OSTEC:
            own = compare(texture, shown, target, layout, torch.from_numpy(made.face.vertices))
            found |= own_figures(own, judges.perceptual)
        face = compared.face
        labels = {
            "input": made.photo.name,
            "target": other.name,
            "input_yaw": round(made.face.pose_deg[1], 1),
            "target_yaw": round(target.face.pose_deg[1], 1),
            "input_yaw_known": made.photo.yaw_deg,
            "target_yaw_known": other.yaw_deg,
            "share_unseen": round(float(np.mean(~compared.seen[face])), 4) if face.any() else None,
        }
        stem = f"{made.photo.name}_{'frontal_' if method == FRONTAL else ''}as_{other.name}"
        pictures = {
            "made": np.where(face[..., None], compared.made, compared.truth),
            "truth": compared.truth,
            "difference": difference(compared.made, compared.truth, face),
        }
        paths = write_pictures(self.folder, {f"{stem}_{what}": picture for what, picture in pictures.items()})
        of_row = dict(zip(pictures, paths.values(), strict=True))
        return Row(item_of(made.photo.name, other.name), method, found, labels, of_row)


@dataclass(frozen=True)
class _Made:
    """A photo and what was completed from it."""

    photo: ViewPhoto
    face: FittedFace
    texture: FloatArray
    shown: BoolArray


def item_of(name: str, other: str) -> str:
    """What a pair of photos is called, by their names."""
    return f"{name} to {other}"


@lru_cache(maxsize=TARGETS_KEPT)
def _target(path: Path, content: str, settings: CompleteSettings) -> Target:  # noqa: ARG001 - decides what is kept
    loaded = load(settings)
    image = read_image(path)
    return target_of(image, look(image, loaded.observer))


def _unwrapped(portrait: FloatArray, loaded: Loaded) -> FloatArray:
    """A picture [H, W, 3] of a face by its own landmarks: texture [S, S, 3]."""
    try:
        seen = look(portrait, loaded.observer).seen
    except FaceError as error:
        raise FaceError("No face was found in the frontal portrait that was made.") from error
    return spread_colours(seen.colour, seen.visible & (seen.margin_mm > PORTRAIT_RIM_MM))


def views_jobs(task: ViewsTask) -> Jobs:
    """One job per photo. Raises AssetError where a file of the program is missing."""
    listed = [*task.photos.values(), *([task.truth] if task.truth else [])]
    contents = [(photo.name, photo.yaw_deg, content_of(photo.path)) for photo in listed]
    loaded, settings = load(task.complete), to_json(task.complete)
    digest = run_digest(KIND, settings, loaded, contents, task.truth is not None)
    return Jobs(tuple(task.photos), task.folder, digest)


def views_evaluation(task: ViewsTask, outcomes: Mapping[str, dict[str, Any]]) -> Evaluation:
    """All rows and failures, in the order of the photos."""
    loaded = load(task.complete)
    failures = failures_of(outcomes, lambda name: item_of(name, "*"))
    settings = {
        "complete": to_json(task.complete),
        "weights": loaded.models.hashes,
        "photos": list(task.photos),
        "yaws": [photo.yaw_deg for photo in task.photos.values()],
        "truth": task.truth.name if task.truth else None,
    }
    return Evaluation(KIND, settings, loaded.judges.described(), rows_of(outcomes), failures)


def doubtful_yaws(task: ViewsTask, outcomes: Mapping[str, dict[str, Any]]) -> list[str]:
    """A sentence for every photo whose fitted yaw is far from the known one."""
    found = []
    for name, outcome in outcomes.items():
        known, fitted = task.photos[name].yaw_deg, outcome.get("yaw")
        if known is not None and fitted is not None and abs(fitted - known) > YAW_TOLERANCE_DEG:
            said = f"{task.photos[name].path.name} is said to be at a yaw of {known:g} degrees"
            found.append(f"{said}, and the fit says {fitted:.0f}.")
    return found


def sheet_rows(folder: Path, evaluation: Evaluation, most: int = 8) -> list[list[Cell]]:
    """For at most ``most`` inputs: photo, texture, then made, truth and difference for as many of the targets."""
    found = []
    for name in list(dict.fromkeys(row.labels["input"] for row in evaluation.rows))[:most]:
        cells = [
            cell_of(folder, path_of(f"{name}_photo"), name),
            cell_of(folder, path_of(f"{name}_texture"), "texture"),
        ]
        for row in [row for row in evaluation.rows if row.labels["input"] == name][:most]:
            target, method = row.labels["target"], "" if row.method == OSTEC else f", {row.method}"
            label = f"as {target}{method}: {row.figures['psnr_face']:.1f} dB"
            cells.append(cell_of(folder, row.pictures["made"], label))
            cells.append(cell_of(folder, row.pictures["truth"], f"{target}, true"))
            cells.append(cell_of(folder, row.pictures["difference"], "difference"))
        found.append(cells)
    return found
