"""Folders of aligned portraits to masked texels in the UV layout."""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import ImageError, UsageError
from ostec.core.types import BoolArray, ByteArray, FaceLandmarks, FittedFace, FloatArray, Topology, UvObservation
from ostec.detect.landmarks import detect_landmarks_batch, whole_image
from ostec.detect.settings import LandmarkSettings
from ostec.fit.dense import fit_dense
from ostec.io.arrays import NUMBERS, TEXTS, read_npz
from ostec.io.images import IMAGE_SUFFIXES, read_image
from ostec.mask.skin import MaskGuide, face_mask, mask_guide, surround_colours
from ostec.nets.facemesh import FaceMesh
from ostec.prior.linear import prior_weight
from ostec.prior.settings import PriorSettings
from ostec.render.unwrap import Unwrapper, resize_map

log = logging.getLogger(__name__)

_BATCH = 32
_MASK_SIZE = 256
"""Largest layout that masks are found on, as at run time; they are enlarged to larger ones."""
TRAINING_OUTLINE_MM = (-0.15, 7.0)
"""Gentler at the silhouette than the prior is asked with: the jaw's rim is seen nowhere else, so it keeps 2 %."""
TRAINING_COSINE = (0.05, 0.45)
"""Cosines at which a training texel begins to count and counts fully."""


@dataclass(frozen=True)
class PortraitTexels:
    """N portraits in a layout of T texels."""

    names: tuple[str, ...]
    """File stems."""
    colour: ByteArray
    """[N, T, 3]."""
    weight: FloatArray
    """[N, T] half floats in [0, 1]."""
    held_out: BoolArray
    """[N]: never trained on."""
    inside: BoolArray
    """[S, S] the chart."""
    native_side: FloatArray
    """[N] side of each portrait in its source photo, in pixels: more detail it has not; infinite if unknown."""


def picture_paths(folder: Path) -> list[Path]:
    """The pictures of a folder, or of its subfolder ``images``, by name."""
    pictures = folder / "images" if (folder / "images").is_dir() else folder
    return sorted(path for path in pictures.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)


def is_held_out(stem: str, excluded: frozenset[str] = frozenset()) -> bool:
    """Whether a portrait is kept for reporting: its CRC-32 is 0 modulo 20, or its number that of an excluded photo."""
    return zlib.crc32(stem.encode()) % 20 == 0 or stem.split("_", 1)[-1] in excluded


def collect_texels(
    folders: Sequence[Path],
    excluded: frozenset[str],
    network: FaceMesh,
    topology: Topology,
    size: int,
    progress: Callable[[int, int], None] | None = None,
) -> PortraitTexels:
    """Detect, fit, unwrap and mask every portrait of the folders.

    Args:
        folders: aligned portraits, one face each, filling most of the picture. A folder with ``images/`` and
            ``landmarks.npz`` says there what its portraits hold (``names``, ``native_side``) and what other portraits
            show the same people (``old_names``, separated by commas), who are held out together.
        excluded: numbers (the stem after its first underscore) that are held out beside the CRC rule.
        network: FaceMesh.
        topology: the layout.
        size: side of the texture.
        progress: called with the number done and the total.

    Raises:
        UsageError: a folder holds no picture.
    """
    paths: list[Path] = []
    sides: dict[Path, float] = {}
    for folder in folders:
        pictures = picture_paths(folder)
        if not pictures:
            raise UsageError(f"{folder} holds no portraits.")
        paths += pictures
        sides |= {path: side for path, side, _ in _facts(folder)}
    twins = twins_of_held_out(folders, excluded)
    unwrapper = Unwrapper(topology)
    inside = unwrapper.layout(size).inside.numpy()
    guide = mask_guide(topology, unwrapper.layout(min(size, _MASK_SIZE)).inside.numpy())
    found, colours, weights = [], [], []
    for start in range(0, len(paths), _BATCH):
        for path, image, face in _observe(paths[start : start + _BATCH], network, topology):
            seen = unwrapper.unwrap(image, face, size)
            small = seen if size <= _MASK_SIZE else unwrapper.unwrap(image, face, _MASK_SIZE)
            weight = resize_map(_training_weight(image, face, small, guide), size)
            found.append(path)
            colours.append(np.round(seen.colour[inside] * 255).astype(np.uint8))
            weights.append((weight * seen.visible)[inside].astype(np.float16))
        if progress is not None:
            progress(min(start + _BATCH, len(paths)), len(paths))
    names = tuple(path.stem for path in found)
    held_out = np.array([is_held_out(name, excluded) or name in twins for name in names])
    native = np.array([sides.get(path.with_suffix(""), np.inf) for path in found], np.float32)
    return PortraitTexels(names, np.stack(colours), np.stack(weights), held_out, inside, native)


def twins_of_held_out(folders: Sequence[Path], excluded: frozenset[str]) -> set[str]:
    """Stems of the other portraits of people who are held out, as ``landmarks.npz`` of the folders names them."""
    facts = (fact for folder in folders for fact in _facts(folder))
    return {other for path, _, others in facts if is_held_out(path.stem, excluded) for other in others}


def _facts(folder: Path) -> list[tuple[Path, float, set[str]]]:
    """Path without ending, native side and the other names of each portrait that ``landmarks.npz`` lists."""
    path = folder / "landmarks.npz"
    if not (folder / "images").is_dir() or not path.is_file():
        return []
    arrays = read_npz(path, ("names", "native_side", "old_names"), NUMBERS + TEXTS)
    names, sides = arrays["names"], arrays["native_side"]
    others = arrays.get("old_names", [""] * len(names))
    return [
        (folder / "images" / str(name), float(side), set(filter(None, str(other).split(","))))
        for name, side, other in zip(names, sides, others, strict=True)
    ]


def _observe(paths: Sequence[Path], network: FaceMesh, topology: Topology) -> list[tuple[Path, FloatArray, FittedFace]]:
    """Pictures [H, W, 3] in [0, 1] that show a face, with what was fitted to it."""
    return [(path, image, fit_dense(found, topology)) for path, image, found in observe_portraits(paths, network)]


def observe_portraits(paths: Sequence[Path], network: FaceMesh) -> Iterator[tuple[Path, FloatArray, FaceLandmarks]]:
    """Aligned portraits [H, W, 3] in [0, 1] that show a face, with its landmarks."""
    for path in paths:
        try:
            image = read_image(path)
        except ImageError as error:
            log.warning("%s", error)
            continue
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        region = whole_image(image.shape[1], image.shape[0])
        landmarks = detect_landmarks_batch(pixels, [region], network, LandmarkSettings(looks=1))[0]
        if landmarks.confidence < 0.5:
            log.warning("%s shows no face.", path)
            continue
        yield path, image, landmarks


def _training_weight(image: FloatArray, face: FittedFace, seen: UvObservation, guide: MaskGuide) -> FloatArray:
    outline = face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]
    surround = surround_colours(image, outline.astype(np.float32), face.camera_matrix[:2, 1].astype(np.float32))
    settings = PriorSettings(cosine=TRAINING_COSINE, outline_mm=TRAINING_OUTLINE_MM)
    return prior_weight(seen.cosine, seen.visible, seen.margin_mm, settings) * face_mask(seen, guide, surround).mask
