"""Several photos of one person: each is completed, and compared with what the others show.

Per ordered pair (input, target) the completion of the input is brought onto the target
(:mod:`ostec.eval.photos.warp`) and compared over

* ``face``: the pixels that the mesh fitted to the target covers and where the target shows bare face;
* ``seen``: those of them that the input saw as well: in front, at a cosine of the view angle above ``SEEN_COSINE``, as
  bare face, all on the mesh fitted to the input;
* ``unseen``: the others.

Photos differ in light and exposure. ``psnr_PART_light`` is the PSNR after one gain and offset per colour channel,
fitted by least squares over ``seen``; every other figure is of the pictures as they are. ``identity`` compares
textures, where the target shows the face.

With ``fuse`` the completion is that of all photos but the target, fused (leave one out): one row per photo. What the
result took from photos counts as seen then.

With a true frontal photo there is one more row per input, of the method ``frontal``: the frontal portrait is unwrapped
by its own landmarks and brought onto that photo in the same way.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import FaceError, ImageError
from ostec.core.settings import to_json
from ostec.core.types import BoolArray, FittedFace, FloatArray, Provenance, kinds_of
from ostec.eval.jobs import Outcome
from ostec.eval.photos.sight import BARE, DETECTOR, Sight, look
from ostec.eval.photos.warp import Framed, frame, match_light, spread_colours
from ostec.eval.report.pictures import Cell, cell_of, difference, path_of, write_pictures
from ostec.eval.report.record import OSTEC, Evaluation, Row
from ostec.eval.scores import Compared, Perceptual, psnr
from ostec.eval.study import Study, content_of, load
from ostec.io.images import read_image
from ostec.pipeline.observe import WHOLE_MEGAPIXELS
from ostec.pipeline.settings import CompleteSettings
from ostec.render.uv import UvLayout

KIND = "views"
FUSED = "fuse"
"""In settings: each photo is compared with all others fused."""
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


def target_of(image: FloatArray, sight: Sight) -> Target:
    """Make a photo [H, W, 3] ready to be compared with."""
    seen = sight.seen
    truth = spread_colours(seen.colour, seen.visible)
    bare = (seen.visible & (seen.mask > BARE)).astype(np.float32)
    return Target(frame(image, sight.face), sight.face, truth, bare, sight.weight.astype(np.float32))


def compare(
    texture: FloatArray, seen: BoolArray, target: Target, layout: UvLayout, own: torch.Tensor | None = None
) -> Compared:
    """Bring a completion, ``texture`` [S, S, 3] in [0, 1], onto a target; ``layout`` is that of both meshes.

    ``seen`` [S, S] are texels that its input saw; ``own`` [V, 3] is its mesh, to compare without the warp.
    """
    fitted = target.framed.mesh(layout)
    mesh = fitted if own is None else target.framed.mesh(layout, own)
    made = mesh.draw(np.concatenate([texture, seen[..., None]], axis=2).astype(np.float32))
    true = fitted.draw(np.concatenate([target.truth, target.bare[..., None]], axis=2))
    face = mesh.covered & fitted.covered & (true[..., 3] > BARE)
    colours = (np.clip(drawn[..., :3], 0, 1) for drawn in (made, true))
    return Compared(next(colours), target.framed.image, next(colours), face, made[..., 3] > BARE)


def light_figures(compared: Compared) -> dict[str, float]:
    """PSNR over every part under the target's light, fitted where the input saw; NaN if that is too little."""
    lit = match_light(compared.made, compared.truth, compared.parts["seen"])
    return {
        f"psnr_{part}_light": math.nan if lit is None else psnr(lit, compared.truth, mask)
        for part, mask in compared.parts.items()
    }


def own_figures(compared: Compared, judge: Perceptual) -> dict[str, float]:
    """Figures without the warp: PSNR over every part, the rest over the face."""
    every = compared.figures(judge, "_own")
    return {name: value for name, value in every.items() if name.startswith("psnr") or name.endswith("_face_own")}


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
    fuse: bool = False
    """Leave one out: the photo of the key is compared with what all others give together."""

    def __call__(self, key: str) -> Outcome:
        """``rows``, ``failures`` of single pairs, ``yaw`` as fitted. Raises ImageError, FaceError, OutputError."""
        if self.fuse:
            return self._left_out(self.photos[key])
        observer = load(self.complete).observer
        photo = self.photos[key]
        image = read_image(photo.path, whole_megapixels=WHOLE_MEGAPIXELS)
        result = load(self.complete).completer(image).textured
        face, texture = result.face, result.completed.colour
        shown = Sight(face, observer.mask(image, face, observer.unwrap(image, face)).seen, DETECTOR).shown
        inside = observer.unwrapper.layout(SIZE).inside.numpy()[..., None]
        write_pictures(self.folder, {"photo": frame(image, face).image, "texture": texture * inside}, stem=f"{key}_")
        others = [other for name, other in self.photos.items() if name != key]
        front = [self.truth] if self.truth is not None and result.frontal is not None else []
        rows, failures = [], []
        for other, portrait in [*((other, None) for other in others), *((other, result.frontal) for other in front)]:
            method = OSTEC if portrait is None else FRONTAL
            try:
                made = texture if portrait is None else self._unwrapped(portrait)
                rows.append(asdict(self._row(photo, face, shown, made, other, method)))
            except (FaceError, ImageError) as error:
                failures.append({"item": f"{key} to {other.name}", "method": method, "reason": str(error)})
        return {"rows": rows, "failures": failures, "yaw": round(face.pose_deg[1], 2)}

    def _left_out(self, target: ViewPhoto) -> Outcome:
        """The row of one photo and all others, fused."""
        made = load(self.complete).completer.fuse([one.path for one in self.photos.values() if one is not target])
        face, texture = made.textured.face, made.texture
        shown = kinds_of(made.provenance) == Provenance.PHOTO
        others = ViewPhoto(f"all_but_{target.name}", target.path)
        inside = load(self.complete).observer.unwrapper.layout(SIZE).inside.numpy()[..., None]
        pictures = {"photo": frame(made.photo, face).image, "texture": texture * inside}
        write_pictures(self.folder, pictures, stem=f"{others.name}_")
        row = self._row(others, face, shown, texture, target, OSTEC)
        return {"rows": [asdict(row)], "failures": []}

    def _unwrapped(self, portrait: FloatArray) -> FloatArray:
        """A picture [H, W, 3] of a face by its own landmarks: texture [S, S, 3]."""
        try:
            seen = look(portrait, load(self.complete).observer).seen
        except FaceError as error:
            raise FaceError("No face was found in the frontal portrait that was made.") from error
        return spread_colours(seen.colour, seen.visible & (seen.margin_mm > PORTRAIT_RIM_MM))

    def _row(
        self, photo: ViewPhoto, fit: FittedFace, shown: BoolArray, texture: FloatArray, other: ViewPhoto, method: str
    ) -> Row:
        loaded, target = load(self.complete), _target(other.path, content_of(other.path), self.complete)
        layout, judges = loaded.observer.unwrapper.layout(SIZE), loaded.judges
        compared = compare(texture, shown, target, layout)
        found = compared.figures(judges.perceptual) | light_figures(compared)
        found["identity"] = judges.identity(texture, target.truth, target.weight)
        if method == OSTEC:
            own = compare(texture, shown, target, layout, torch.from_numpy(fit.vertices))
            found |= own_figures(own, judges.perceptual)
        face, name = compared.face, photo.name
        labels = {
            "input": name,
            "target": other.name,
            "input_yaw": round(fit.pose_deg[1], 1),
            "target_yaw": round(target.face.pose_deg[1], 1),
            "input_yaw_known": photo.yaw_deg,
            "target_yaw_known": other.yaw_deg,
            "share_unseen": round(float(np.mean(~compared.seen[face])), 4) if face.any() else None,
        }
        stem = f"{name}_{'frontal_' if method == FRONTAL else ''}as_{other.name}"
        made, truth = np.where(face[..., None], compared.made, compared.truth), compared.truth
        pictures = {"made": made, "truth": truth, "difference": difference(compared.made, truth, face)}
        paths = write_pictures(self.folder, pictures, stem=f"{stem}_")
        return Row(f"{name} to {other.name}", method, found, labels, paths)


@lru_cache(maxsize=TARGETS_KEPT)
def _target(path: Path, content: str, settings: CompleteSettings) -> Target:  # noqa: ARG001 - decides what is kept
    image = read_image(path, whole_megapixels=WHOLE_MEGAPIXELS)
    return target_of(image, look(image, load(settings).observer))


def views_study(task: ViewsTask) -> Study:
    """The evaluation. Raises AssetError where a file of the program is missing."""
    complete, truth, yaws = to_json(task.complete), task.truth, [photo.yaw_deg for photo in task.photos.values()]
    listed = [*task.photos.values(), *([truth] if truth else [])]
    contents = [(photo.name, photo.yaw_deg, content_of(photo.path)) for photo in listed]
    return Study(
        kind=KIND,
        folder=task.folder,
        task=task,
        items={name: f"all_but_{name} to *" if task.fuse else f"{name} to *" for name in task.photos},
        by=("input", "target"),
        loaded=load(task.complete),
        decisive=(complete, contents, truth is not None, *([FUSED] if task.fuse else [])),
        settings={"complete": complete, "photos": list(task.photos), "yaws": yaws, "truth": truth and truth.name}
        | ({FUSED: True} if task.fuse else {}),
        sheet=lambda evaluation: sheet_rows(task.folder, evaluation),
        doubts=lambda outcomes: doubtful_yaws(task, outcomes),
    )


def doubtful_yaws(task: ViewsTask, outcomes: Mapping[str, Outcome]) -> list[str]:
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
        titles = {"photo": name, "texture": "texture"}
        cells = [cell_of(folder, path_of(f"{name}_{what}"), title) for what, title in titles.items()]
        for row in [row for row in evaluation.rows if row.labels["input"] == name][:most]:
            target, method = row.labels["target"], "" if row.method == OSTEC else f", {row.method}"
            made = f"as {target}{method}: {row.figures['psnr_face']:.1f} dB"
            labels = {"made": made, "truth": f"{target}, true", "difference": "difference"}
            cells += [cell_of(folder, row.pictures[what], label) for what, label in labels.items()]
        found.append(cells)
    return found
