"""A folder of aligned portraits to masked texels in the UV layout."""

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import ImageError, UsageError
from ostec.core.types import BoolArray, ByteArray, FloatArray, Topology, UvObservation
from ostec.detect.landmarks import LandmarkSettings, detect_landmarks_batch, whole_image
from ostec.fit.dense import fit_dense
from ostec.io.images import IMAGE_SUFFIXES, read_image
from ostec.mask.skin import MaskGuide, face_mask, mask_guide, surround_colours
from ostec.nets.facemesh import FaceMesh
from ostec.prior.linear import prior_weight
from ostec.prior.settings import PriorSettings
from ostec.render.unwrap import Unwrapper

log = logging.getLogger(__name__)

_BATCH = 32
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


def is_held_out(stem: str, excluded: frozenset[str] = frozenset()) -> bool:
    """Whether a portrait is kept for reporting.

    Its CRC-32 is 0 modulo 20, or its number is that of an excluded photo.
    """
    return zlib.crc32(stem.encode()) % 20 == 0 or stem.split("_", 1)[-1] in excluded


def collect_texels(
    folder: Path,
    excluded: frozenset[str],
    network: FaceMesh,
    topology: Topology,
    size: int,
    progress: Callable[[int, int], None] | None = None,
) -> PortraitTexels:
    """Detect, fit, unwrap and mask every portrait of a folder.

    Args:
        folder: aligned portraits, one face each, filling most of the picture.
        excluded: numbers (the stem after its first underscore) that are held out beside the CRC rule.
        network: FaceMesh.
        topology: the layout.
        size: side of the texture.
        progress: called with the number done and the total.

    Raises:
        UsageError: the folder holds no picture.
    """
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UsageError(f"{folder} holds no portraits.")
    unwrapper = Unwrapper(topology)
    inside = unwrapper.layout(size).inside.numpy()
    guide = mask_guide(topology, inside)
    names, colours, weights = [], [], []
    for start in range(0, len(paths), _BATCH):
        for stem, image, seen, up in _observe(paths[start : start + _BATCH], network, topology, unwrapper, size):
            names.append(stem)
            colours.append(np.round(seen.colour[inside] * 255).astype(np.uint8))
            weights.append(_training_weight(image, seen, guide, up)[inside].astype(np.float16))
        if progress is not None:
            progress(min(start + _BATCH, len(paths)), len(paths))
    held_out = np.array([is_held_out(n, excluded) for n in names])
    return PortraitTexels(tuple(names), np.stack(colours), np.stack(weights), held_out, inside)


_Outline = tuple[FloatArray, FloatArray]


def _observe(
    paths: Sequence[Path], network: FaceMesh, topology: Topology, unwrapper: Unwrapper, size: int
) -> list[tuple[str, FloatArray, UvObservation, _Outline]]:
    found = []
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
        face = fit_dense(landmarks, topology)
        outline = face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]
        up = face.camera_matrix[:2, 1]
        seen = unwrapper.unwrap(image, face, size)
        found.append((path.stem, image, seen, (outline.astype(np.float32), up.astype(np.float32))))
    return found


def _training_weight(image: FloatArray, seen: UvObservation, guide: MaskGuide, outline: _Outline) -> FloatArray:
    mask = face_mask(seen, guide, surround_colours(image, *outline)).mask
    settings = PriorSettings(cosine=TRAINING_COSINE, outline_mm=TRAINING_OUTLINE_MM)
    return prior_weight(seen.cosine, seen.visible, seen.margin_mm, settings) * mask
