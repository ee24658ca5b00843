"""Photos with a part of the face hidden on purpose, and the error of what fills it.

A photo goes through the same stages as when it is completed. Then texels of the layout are taken away from what it
showed, the texture is completed without them, and compared with what they were. Scored are hidden texels that the photo
showed well (trust of the prior above ``LEAST_WEIGHT``) and that lie more than ``MARGIN_UV`` inside of what is hidden:
nearer to its rim, anything smooth would do.

What is hidden: ``half``, one side of the layout, by turns the image's right and left; ``random``, irregular blobs over
about a third of the face; ``profile``, what the fitted mesh would not show turned to a yaw of 60 degrees, by turns
either way. Texels are hidden, not pixels: landmarks, fit and the mask of bare face see the whole photo, as they would
see a face of which that part is turned away.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from scipy import ndimage

from ostec.complete.canvas import UvCanvas
from ostec.complete.prior import PriorCompleter
from ostec.core.errors import FaceError
from ostec.core.settings import to_json
from ostec.core.types import BoolArray, Evidence, FittedFace, FloatArray, UvObservation
from ostec.eval.jobs import Outcome
from ostec.eval.judges import Judges
from ostec.eval.photos.baselines import BASELINE_COSINE, BASELINES, SeenTexels
from ostec.eval.photos.sight import BARE, WHOLE_PICTURE, Sight, look
from ostec.eval.report.drawing import SEEN_COSINE
from ostec.eval.report.pictures import Cell, cell_of, write_pictures
from ostec.eval.report.record import OSTEC, PRIOR, Evaluation, Row
from ostec.eval.scores import psnr, sharpness, ssim, tone_deg, tone_group
from ostec.eval.study import Loaded, Study, content_of, load
from ostec.io.images import read_image
from ostec.mask.skin import mask_guide
from ostec.pipeline.observe import WHOLE_MEGAPIXELS
from ostec.pipeline.settings import CompleteSettings
from ostec.render.geometry import orthographic_camera, rotation_from_pose
from ostec.render.uv import UvLayout, view_surface

_T = TypeVar("_T")
Masks = Literal["half", "random", "profile"]
Side = Literal["right", "left"]
"""Of the image, where the hidden part lies."""
KIND = "holdout"
SIZE = 256
"""Side of the textures in texels."""
MARGIN_UV = 0.04
LEAST_WEIGHT = 0.5
"""Trust of the prior from which the photo counts as the truth of a texel."""
LEAST_TEXELS = 128
"""Scored texels below which there is nothing to be learnt from a photo."""
PROFILE_YAW_DEG = 60.0
BLOB_SHARE = 0.36
"""Share of the chart that blobs cover before thin and small parts are dropped; a third is left."""
BLOB_UV = 0.055
"""Deviation in UV of the low-pass whose hills are the blobs."""
BLOB_THIN_UV = 0.03
"""What a disc of this radius does not fit into is dropped from a blob."""
LEAST_PART = 0.03
"""Least area of a blob, and of a part that a profile shows, as a share of the chart."""


@dataclass(frozen=True)
class HoldoutPhoto:
    """A photo of the run."""

    name: str
    """Good as a file name, and unlike the others'."""
    path: Path
    side: Side


@dataclass(frozen=True)
class HoldoutPlan:
    """What is hidden, and who fills it."""

    masks: Masks
    complete: CompleteSettings
    """Its mode is soft or hard: auto looks at a photo's yaw, which says nothing of what is hidden."""
    seed: int = 0
    """Of the random blobs."""
    baselines: bool = False

    def __post_init__(self) -> None:
        if self.complete.mode == "auto" or self.complete.uv_size != SIZE:
            raise ValueError(f"expected mode soft or hard at {SIZE} texels, got {self.complete}")

    @property
    def methods(self) -> tuple[str, ...]:
        """Who fills; ``prior`` only where there is one and ``ostec`` is more than that."""
        alone = (PRIOR,) if self.complete.projects and self.complete.prior != "none" else ()
        return (OSTEC, *alone, *(BASELINES if self.baselines else ()))

    def item(self, photo: HoldoutPhoto) -> str:
        """Name of a photo's rows."""
        return f"{photo.name} {self.masks} {self.seed if self.masks == 'random' else photo.side}"

    def mask(self, photo: HoldoutPhoto, sight: Sight, layout: UvLayout) -> BoolArray:
        """[S, S]: what is hidden of a photo."""
        if self.masks == "half":
            return half_mask(SIZE, photo.side)
        if self.masks == "profile":
            return profile_mask(sight.face, layout, photo.side)
        return random_mask(sight.seen.inside, photo.name, self.seed)


@dataclass(frozen=True)
class Hidden:
    """A photo in the layout of which a part is hidden."""

    sight: Sight
    """The whole."""
    shown: UvObservation
    """Without the hidden part."""
    scored: BoolArray
    """[S, S]."""
    known: BoolArray
    """[S, S]: the photo is the truth of the texel, hidden or not."""


def half_mask(size: int, side: Side) -> BoolArray:
    """Everything on one side of the layout's middle line, [S, S]."""
    right = np.arange(size) >= size / 2
    return np.broadcast_to(right if side == "right" else ~right, (size, size)).copy()


def profile_mask(face: FittedFace, layout: UvLayout, side: Side) -> BoolArray:
    """Texels [S, S] of the chart that the mesh, turned to ``PROFILE_YAW_DEG``, does not show or too steeply.

    What it shows in specks alone is hidden as well.
    """
    yaw = PROFILE_YAW_DEG if side == "right" else -PROFILE_YAW_DEG
    camera = orthographic_camera(rotation_from_pose(0, yaw), 1.0, (0.0, 0.0))
    view = view_surface(torch.from_numpy(face.vertices), camera, layout)
    inside = layout.inside.numpy()
    # Of the far eye and the lips' corner a few texels would face the viewer: no photo at that yaw shows them.
    shown = _large(np.asarray((layout.inside & view.visible & (view.cosine > SEEN_COSINE)).numpy()), inside)
    return inside & ~shown


def random_mask(inside: BoolArray, name: str, seed: int) -> BoolArray:
    """Irregular blobs [S, S] over about a third of the chart, the same for the same name and seed."""
    size = len(inside)
    noise = np.random.default_rng([seed, zlib.crc32(name.encode())]).standard_normal((size, size))
    hills = ndimage.gaussian_filter(noise, BLOB_UV * size)
    blobs = inside & (hills > np.quantile(hills[inside], 1 - BLOB_SHARE))
    radius = round(BLOB_THIN_UV * size)
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    # The chart's border is no edge of a blob that reaches it.
    blobs = inside & ndimage.binary_opening(blobs | ~inside, x * x + y * y <= radius * radius)
    return _large(blobs, inside)


def _large(region: BoolArray, inside: BoolArray) -> BoolArray:
    """The connected parts of a region [S, S] that are no specks of the chart."""
    label, _ = ndimage.label(region)
    large = np.bincount(label.ravel()) >= LEAST_PART * np.count_nonzero(inside)
    return region & np.asarray(large[label])


def hide(sight: Sight, mask: BoolArray) -> Hidden:
    """Take the texels of ``mask`` [S, S] away from what a photo shows. Raises FaceError for too few to score."""
    seen = sight.seen
    kept = seen.inside & ~mask
    colour, bare = seen.colour * ~mask[..., None], np.where(mask, 0, seen.mask)
    shown = replace(seen, colour=colour, visible=seen.visible & ~mask, mask=bare)
    known = sight.weight > LEAST_WEIGHT
    depth = ndimage.distance_transform_edt(~kept) if kept.any() else np.full(mask.shape, np.inf)
    scored = mask & known & (depth > MARGIN_UV * seen.size)
    if np.count_nonzero(scored) < LEAST_TEXELS:
        raise FaceError("The photo shows too little of the part that was to be hidden.")
    return Hidden(sight, shown, scored, known)


def skin_shown(hidden: Hidden, loaded: Loaded) -> BoolArray:
    """[S, S]: bare skin, away from hair and features, that is left of the photo."""
    shown = hidden.shown
    core = mask_guide(loaded.models.topology, shown.inside).core
    return core & shown.visible & (shown.cosine > SEEN_COSINE) & (shown.mask > BARE)


def score(made: FloatArray, hidden: Hidden, judges: Judges) -> dict[str, float]:
    """Figures of a texture [S, S, 3] over what was hidden; ``identity`` over all that the photo showed."""
    truth, scored = hidden.sight.seen.colour, hidden.scored
    return {
        "psnr_unseen": psnr(made, truth, scored),
        "ssim_unseen": ssim(made, truth, scored, hidden.known),
        "perceptual_unseen": judges.perceptual(made, truth, scored),
        "sharpness_unseen": sharpness(made, truth, scored, hidden.known),
        "identity": judges.identity(made, truth, hidden.sight.weight.astype(np.float32)),
    }


def fill_hidden(methods: Sequence[str], image: FloatArray, hidden: Hidden, loaded: Loaded) -> dict[str, FloatArray]:
    """Method -> texture [S, S, 3] completed from what is left of the photo [H, W, 3].

    Raises FaceError where nothing is left.
    """
    face, shown, observer = hidden.sight.face, hidden.shown, loaded.observer
    kept = shown.visible & (shown.cosine > BASELINE_COSINE) & (shown.mask > BARE)
    if not kept.any():
        raise FaceError("The photo shows nothing beside the part that was to be hidden.")
    evidence = Evidence(face, shown, observer.coarse(image, face, shown), image)
    left = SeenTexels(np.where(kept[..., None], shown.colour, 0).astype(np.float32), kept)

    def made(method: str) -> FloatArray:
        if method in BASELINES:
            return BASELINES[method](left)
        by = loaded.completer.completer
        if method == PRIOR:
            by = PriorCompleter(UvCanvas(observer.unwrapper.layout, observer.guide, loaded.models.prior), "soft")
        return by.complete([evidence])[0].texture.colour

    return {method: made(method) for method in methods}


@dataclass(frozen=True)
class HoldoutTask:
    """Hides, fills and scores one photo; the key is its name."""

    photos: Mapping[str, HoldoutPhoto]
    plan: HoldoutPlan
    folder: Path

    def __call__(self, key: str) -> Outcome:
        """``rows``. Raises ImageError, FaceError, OutputError."""
        photo, plan = self.photos[key], self.plan
        loaded = load(plan.complete)
        image = read_image(photo.path, whole_megapixels=WHOLE_MEGAPIXELS)
        sight = look(image, loaded.observer, aligned=True)
        hidden = hide(sight, plan.mask(photo, sight, loaded.observer.unwrapper.layout(SIZE)))
        made = fill_hidden(plan.methods, image, hidden, loaded)
        inside = sight.seen.inside
        labels = {
            "photo": photo.name,
            "masks": plan.masks,
            "side": photo.side if plan.masks != "random" else None,
            "yaw": round(sight.face.pose_deg[1], 1),
            "share_hidden": round(float(np.mean(hidden.scored[inside])), 4),
            "found_by": sight.region,
        }
        tone = tone_deg(hidden.shown.colour, skin_shown(hidden, loaded))
        labels |= {"ita": None if math.isnan(tone) else round(tone, 1), "tone": tone_group(tone)}
        shown = hidden.shown.colour * hidden.shown.visible[..., None]
        textures = {"truth": sight.seen.colour, "shown": shown, **made}
        files = {what: np.where(inside[..., None], texture, 0) for what, texture in textures.items()}
        paths = write_pictures(self.folder, files, small=True, stem=f"{key}_")
        rows = []
        for method, texture in made.items():
            pictures = {"made": paths[method], "truth": paths["truth"], "shown": paths["shown"]}
            rows.append(asdict(Row(plan.item(photo), method, score(texture, hidden, loaded.judges), labels, pictures)))
        return {"rows": rows}


def holdout_study(task: HoldoutTask) -> Study:
    """The evaluation. Raises AssetError where a file of the program is missing."""
    photos, plan, folder = task.photos, task.plan, task.folder

    def judged(evaluation: Evaluation) -> dict[str, str]:
        whole = {row.item for row in evaluation.rows if row.labels["found_by"] == WHOLE_PICTURE}
        of = f"{len(whole)} of {len(photos)} photos"
        return {"face": f"whole picture where the detector found none ({of})"} if whole else {}

    return Study(
        kind=KIND,
        folder=folder,
        task=task,
        items={name: plan.item(photo) for name, photo in photos.items()},
        by=("tone",),
        loaded=load(plan.complete),
        decisive=(to_json(plan), {name: (content_of(photo.path), photo.side) for name, photo in photos.items()}),
        settings={**to_json(plan), "photos": len(photos)},
        sheet=lambda evaluation: sheet_rows(folder, evaluation),
        judged=judged,
    )


def sheet_rows(folder: Path, evaluation: Evaluation, most: int = 12) -> list[list[Cell]]:
    """Of at most ``most`` photos, evenly chosen: what was shown, the truth, then every method's texture."""
    found = []
    for item in evenly(list(dict.fromkeys(row.item for row in evaluation.rows)), most):
        rows = [row for row in evaluation.rows if row.item == item]
        cells = [(rows[0].pictures["shown"], item), (rows[0].pictures["truth"], "true")]
        cells += [(row.pictures["made"], f"{row.method}: {row.figures['psnr_unseen']:.1f} dB") for row in rows]
        found.append([cell_of(folder, *cell) for cell in cells])
    return found


def evenly(items: Sequence[_T], count: int) -> list[_T]:
    """At most ``count`` items, evenly chosen, both ends among them; all for 0."""
    if count <= 0 or count >= len(items):
        return list(items)
    return [items[math.floor(k + 0.5)] for k in np.linspace(0, len(items) - 1, count)]
