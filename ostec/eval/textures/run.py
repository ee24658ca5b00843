"""Figures of a set of UV textures, without a truth: even light, spread of identities, detail, duplicates.

What FFHQ-UV measures on its dataset (Bai et al., FFHQ-UV, CVPR 2023, arXiv 2211.13874, section 4), and what one wants
to know before using a folder of textures. Names of the figures (``record.Row.figures``):

* ``symmetry``: :func:`symmetry_error`, 0 to 255.
* ``spread``: distance of the identity from the set's mean; of the set, the root mean square of them. Theirs ("ID std")
  is of ArcFace features; here the directions that the judge of identity gives the texture on the mean face, so that
  people who have nothing in common have 1, and one person has 0.
* ``area_photo``: share of the chart whose colour is the photo's, from ``NAME_provenance.png``; ``area_layout``, where
  there is none: share of the texture that is no padding.
* ``energy``: mean gradient energy in dB; it rises with noise as well. ``sharpness``: over the set's median.
* ``brightness``, ``contrast``: mean and standard deviation of the luma, 0 to 1.
* ``duplicates``, of the set: how many textures have a twin. Its labels name the ``twins``, and the pairs that look like
  ``one_person``.
"""

import contextlib
import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy import ndimage

from ostec.core.assets import asset_path, sha256_of, verified_path
from ostec.core.errors import ImageError, UsageError
from ostec.core.types import BoolArray, ByteArray, DoubleArray, FloatArray, Provenance, kinds_of
from ostec.eval.jobs import Jobs, digest_of, program_digest
from ostec.eval.judges import IdentityJudge, load_identity
from ostec.eval.report.record import Evaluation, Row
from ostec.eval.scores import RIM_PX, gradient_energy
from ostec.export.record import read_record, versions
from ostec.io.files import make_folder, remove_leftovers
from ostec.io.images import IMAGE_SUFFIXES, read_image, read_palette_png, resize_image, to_bytes, write_png
from ostec.light.quick import symmetry_error
from ostec.load.topology import read_topology
from ostec.pipeline.models import load_prior
from ostec.render.colour import LUMA
from ostec.render.uv import bake_layout

DUPLICATE_RMS = 2 / 255
"""Textures whose small copies differ by less in root mean square are near-identical. A copy shrunk to half and enlarged
again differs by 0.2 / 255, the nearest two of 24 completed faces by 17 / 255."""
SAME_COSINE = 0.65
"""Cosine of two identities above which textures are taken for one person's: of 124 pairs of portraits of one person
90 % were, of 57,506 pairs of different people 0.005 %."""
COPY_SIDE = 16
"""Side of a small copy, by which twins are found."""
KIND = "textures"
Layout = Literal["default", "whole"]
"""Where a texture holds colour: the chart of this program's layout, or the whole square."""
TEXTURE, SET = "texture", "set"
"""The methods of the rows: one of each texture, and one of the set."""
WHOLE_SET = "all textures"
"""Item of the set's row."""
THUMBS = "thumbs"
"""Folder of small copies."""
TILE = 160
"""Side of a small copy in pixels."""
MAX_MEGAPIXELS = 17.0
MIN_SIDE = 64
_KEY_LETTERS = 60
_OTHER_ENDINGS = ("_provenance", "_frontal", "_target", "_trust")
NO_IDENTITY = "none: the judge of identity draws textures of the default layout alone"


@dataclass(frozen=True)
class TextureFile:
    """A texture, and what belongs to it."""

    name: str
    """Unique in the set; good as a file name."""
    path: Path
    provenance: Path | None
    """``NAME_provenance.png``, where it lies beside."""

    @property
    def key(self) -> str:
        """Name of the job: another one as soon as a file changes."""
        stamps = [_stamp(path) for path in (self.path, self.provenance) if path]
        return f"{self.name[:_KEY_LETTERS]}-{digest_of(self.name, stamps)[:8]}"

    @property
    def thumb(self) -> str:
        """Path of its small copy from the evaluation's folder."""
        return f"{THUMBS}/{self.name}.png"


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:  # reading it will say what is wrong
        return 0, 0
    return stat.st_size, stat.st_mtime_ns


def find_textures(folder: Path) -> list[TextureFile]:
    """The textures of a folder, sorted: those that a NAME.json tells of if there is one, else all its pictures.

    Raises UsageError for a folder that cannot be read or holds none.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"The folder {folder} cannot be read ({error.strerror}).") from error
    made = {path.stem for path in paths if path.suffix == ".json" and read_record(path) is not None}
    pictures = [p for p in paths if p.suffix.lower() in IMAGE_SUFFIXES and not p.stem.endswith(_OTHER_ENDINGS)]
    if made:
        pictures = [path for path in pictures if path.suffix == ".png" and path.stem in made]
    if not pictures:
        raise UsageError(f"The folder {folder} holds no texture.")
    count = Counter(path.stem for path in pictures)
    names = [path.stem if count[path.stem] == 1 else path.name.replace(".", "_") for path in pictures]
    beside = {path.name for path in paths}
    return [
        TextureFile(name, path, path.with_name(other) if (other := f"{path.stem}_provenance.png") in beside else None)
        for name, path in zip(names, pictures, strict=True)
    ]


@dataclass(frozen=True)
class TextureTask:
    """Takes the figures of one texture and makes its small copy."""

    files: Mapping[str, TextureFile]
    """By key."""
    layout: Layout
    mask: Path | None
    """A picture: white texels count."""
    out: Path
    """The evaluation's folder."""

    def __call__(self, key: str) -> dict[str, Any]:
        """Plain values: ``size``, ``figures``, ``code`` (who it is, [K]), ``copy`` (hexadecimal).

        Raises ImageError for a texture that is damaged, not square, too large or too small.
        """
        file = self.files[key]
        image = read_image(file.path, MAX_MEGAPIXELS)
        height, width = image.shape[:2]
        if height != width:
            raise ImageError(f"{file.path} has {width} x {height} texels; a texture is square.")
        if width < MIN_SIDE:
            raise ImageError(f"{file.path} has {width} x {width} texels, fewer than {MIN_SIDE} x {MIN_SIDE}.")
        valid = valid_texels(self.layout, self.mask, width)
        luma = (image @ LUMA)[valid].astype(np.float64)
        figures = {"symmetry": symmetry_error(image, valid), **_area(file, valid), "energy": energy_db(image, valid)}
        figures |= {"brightness": float(luma.mean()), "contrast": float(luma.std())}
        make_folder(self.out / THUMBS)
        write_png(self.out / file.thumb, resize_image(image, TILE, TILE))
        return {
            "size": width,
            "figures": figures,
            "code": load_judge().code(image, valid.astype(np.float32)).tolist() if self.layout == "default" else None,
            "copy": small_copy(image, valid).tobytes().hex(),
        }


def texture_jobs(task: TextureTask, settings: Mapping[str, Any]) -> Jobs:
    """One job per texture, with ``settings`` as of :func:`settings_of`."""
    remove_leftovers(task.out / THUMBS)
    return Jobs(tuple(task.files), task.out, digest_of(KIND, settings, versions(), program_digest()))


def read_thumb(out: Path, file: TextureFile) -> FloatArray:
    """A texture's small copy [TILE, TILE, 3], made again where it was removed. Raises ImageError, OutputError."""
    path = out / file.thumb
    with contextlib.suppress(ImageError):
        if (image := read_image(path)).shape[:2] == (TILE, TILE):
            return image
    write_png(path, resize_image(read_image(file.path, MAX_MEGAPIXELS), TILE, TILE))
    return read_image(path)


@functools.lru_cache(maxsize=2)
def valid_texels(layout: Layout, mask: Path | None, size: int) -> BoolArray:
    """The texels [S, S] that count. Raises ImageError for a mask that cannot be read or leaves none."""
    valid = np.ones((size, size), bool)
    if layout == "default":
        valid &= bake_layout(read_topology(asset_path("topology/facemesh.npz")), size).inside.numpy()
    if mask is not None:
        valid &= resize_image(read_image(mask, MAX_MEGAPIXELS), size, size)[..., 0] >= 0.5
    if not valid.any():
        raise ImageError(f"The mask {mask} leaves no texel.")
    return valid


@functools.cache
def load_judge() -> IdentityJudge:
    """The judge of identity, once per process. Raises AssetError if a file is missing or damaged."""
    topology = read_topology(asset_path("topology/facemesh.npz"))
    prior = load_prior(verified_path("prior", "prior.safetensors"), topology, torch.device("cpu"))
    return load_identity(topology, prior)


def settings_of(layout: Layout, mask: Path | None) -> dict[str, Any]:
    """What decides the figures, as plain values. Raises AssetError or UsageError if a file of it cannot be read."""
    settings: dict[str, Any] = {"layout": layout, "mask_sha256": None}
    if layout == "default":
        settings["topology_sha256"] = read_topology(asset_path("topology/facemesh.npz")).sha256
        settings["prior_sha256"] = sha256_of(verified_path("prior", "prior.safetensors"))
        settings["identity"] = load_judge().name
    if mask is not None:
        try:
            height, width = read_image(mask, MAX_MEGAPIXELS).shape[:2]
        except ImageError as error:
            raise UsageError(f"The mask cannot be used: {error}") from error
        if height != width:
            raise UsageError(f"The mask cannot be used: {mask} has {width} x {height} pixels and is not square.")
        settings["mask_sha256"] = sha256_of(mask)
    return settings


def _area(file: TextureFile, valid: BoolArray) -> dict[str, float]:
    if file.provenance is None:
        return {"area_layout": float(valid.mean())}
    origin = kinds_of(read_palette_png(file.provenance))
    if origin.shape != valid.shape:
        raise ImageError(f"{file.provenance} has another size than its texture.")
    chart = (origin != Provenance.OUTSIDE) & (origin != Provenance.PADDING) & valid
    return {"area_photo": float((origin == Provenance.PHOTO)[chart].mean()) if chart.any() else math.nan}


def evaluation_of(
    files: Sequence[TextureFile], outcomes: Sequence[Mapping[str, Any]], settings: dict[str, Any]
) -> Evaluation:
    """Bring the outcomes of :class:`TextureTask`, one per file, together into rows of the textures and of the set.

    The set has one size: that of most textures (of several, the largest); those of another size count as failures.
    """
    sizes = Counter(int(outcome["size"]) for outcome in outcomes if "error" not in outcome)
    size = max(sizes, key=lambda side: (sizes[side], side)) if sizes else 0
    failures, good = [], []
    for file, outcome in zip(files, outcomes, strict=True):
        reason, side = outcome.get("error"), outcome.get("size")
        if side == size:
            good.append((file, outcome))
        else:
            reason = reason or f"{file.path} has {side} x {side} texels, the others have {size} x {size}."
            failures.append({"item": file.name, "method": TEXTURE, "reason": reason})
    settings = {**settings, "size": size, "duplicate_rms": DUPLICATE_RMS}
    models = {"identity": settings.get("identity", NO_IDENTITY)}
    return Evaluation(KIND, settings, models, _rows(good), tuple(failures))


def _rows(good: Sequence[tuple[TextureFile, Mapping[str, Any]]]) -> tuple[Row, ...]:
    if not good:
        return ()
    energy = np.array([outcome["figures"]["energy"] for _, outcome in good])
    sharpness = 10 ** ((energy - np.nanmedian(energy)) / 10) if np.isfinite(energy).any() else energy
    codes = np.array([outcome["code"] or [] for _, outcome in good], np.float32)
    copies = np.stack([np.frombuffer(bytes.fromhex(outcome["copy"]), np.uint8) for _, outcome in good])
    pairs = twins(copies.reshape(-1, COPY_SIDE, COPY_SIDE, 3))
    rows = []
    for (file, outcome), sharp, apart in zip(good, sharpness, distances(codes), strict=True):
        figures = {**outcome["figures"], "sharpness": float(sharp), "spread": float(apart)}
        rows.append(Row(file.name, TEXTURE, figures, pictures={"made": file.thumb}))
    figures = {"spread": spread(codes), "duplicates": float(len({k for pair in pairs for k in pair}))}
    labels = {"textures": len(good), "twins": [[good[k][0].name for k in pair] for pair in pairs]}
    labels["one_person"] = [[good[k][0].name for k in pair] for pair in one_person(codes)]
    return (*rows, Row(WHOLE_SET, SET, figures, labels))


def energy_db(image: FloatArray, valid: BoolArray) -> float:
    """Mean gradient energy (Sobel, of the grey picture) inside ``valid`` in dB; a flat texture has -120."""
    inner = ndimage.binary_erosion(valid, iterations=RIM_PX)
    if not inner.any():
        return math.nan
    return 10 * math.log10(max(float(gradient_energy(image)[inner].mean(dtype=np.float64)), 1e-12))


def distances(codes: FloatArray) -> DoubleArray:
    """Distance [N] of each of [N, K] codes from their mean; NaN for none or fewer than two."""
    few = not codes.size or len(codes) < 2
    return np.full(len(codes), np.nan) if few else np.sqrt(np.square(codes - codes.mean(0)).sum(1, dtype=np.float64))


def one_person(codes: FloatArray) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of codes [N, K] of unit length that are alike enough for one person; none without codes."""
    alike = np.triu(codes @ codes.T, 1) if codes.size else np.zeros((0, 0))
    return [(int(i), int(j)) for i, j in np.argwhere(alike > SAME_COSINE)]


def spread(codes: FloatArray) -> float:
    """Root mean square of :func:`distances`."""
    return float(np.sqrt((distances(codes) ** 2).mean()))


def small_copy(image: FloatArray, valid: BoolArray) -> ByteArray:
    """[16, 16, 3] means of the valid texels, 0 to 255; 0 where less than half of a block is valid."""
    weight = valid.astype(np.float32)[..., None]
    share = resize_image(weight, COPY_SIDE, COPY_SIDE)
    total = resize_image(image * weight, COPY_SIDE, COPY_SIDE)
    return np.asarray(to_bytes(np.where(share < 0.5, np.float32(0), total / np.maximum(share, 1e-6))), np.uint8)


def twins(copies: ByteArray, limit: float = DUPLICATE_RMS, block: int = 256) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of :func:`small_copy` [N, 16, 16, 3] that differ by less than ``limit`` (of 1) in RMS.

    Blocks that are empty in all copies do not count.
    """
    used = copies.any(axis=(0, 3))
    if not used.any():
        return []
    flat = copies[:, used].reshape(len(copies), -1).astype(np.float64)  # in which sums of squares of bytes are exact
    squares, bound = (flat**2).sum(1), (255 * limit) ** 2 * flat.shape[1]
    found: list[tuple[int, int]] = []
    for i in range(0, len(flat), block):
        apart = squares[i : i + block, None] + squares[i:] - 2 * flat[i : i + block] @ flat[i:].T
        found += [(int(i + a), int(i + b)) for a, b in np.argwhere(apart < bound) if a < b]
    return found
