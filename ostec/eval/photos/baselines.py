"""Cheap ways to complete a face, to be beaten: on the same mesh and the same texels of the photo as the real one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.errors import FaceError
from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.io.images import to_bytes
from ostec.render.geometry import camera_from_matrix
from ostec.render.uv import UvLayout, sample_image, view_surface

BASELINE_COSINE = 0.4
"""A baseline keeps the photo where the fitted mesh faces the viewer more than this: what a completion trusts too."""
INPAINT_SIDE = 256
"""Side in texels at which is inpainted."""
INPAINT_RADIUS = 3


@dataclass(frozen=True)
class SeenTexels:
    """What a photo shows of the face. S is the texture's side."""

    colour: FloatArray
    """[S, S, 3] in [0, 1]; zero where not seen."""
    seen: BoolArray
    """[S, S]; at least one texel is."""


def seen_texels(image: FloatArray, face: FittedFace, layout: UvLayout) -> SeenTexels:
    """Read a photo [H, W, 3] at the texels that the fitted mesh shows well. Raises FaceError for none."""
    view = view_surface(torch.from_numpy(face.vertices), camera_from_matrix(face.camera_matrix, face.rotation), layout)
    sampled, within = sample_image(torch.from_numpy(image), view.pixel, layout.inside)
    seen = (view.visible & within & (view.cosine > BASELINE_COSINE)).numpy()
    if not seen.any():
        raise FaceError("The photo shows no part of the fitted mesh.")
    return SeenTexels(np.where(seen[..., None], sampled.numpy(), 0).astype(np.float32), seen)


def median(photo: SeenTexels) -> FloatArray:
    """The median colour of what was seen everywhere else: [S, S, 3]."""
    return _kept(photo, np.median(photo.colour[photo.seen], axis=0))


def mirror(photo: SeenTexels) -> FloatArray:
    """The other side of the face where that was seen, the median elsewhere: [S, S, 3]."""
    mirrored = ~photo.seen & photo.seen[:, ::-1]
    return np.where(mirrored[..., None], photo.colour[:, ::-1], median(photo))


def inpaint(photo: SeenTexels) -> FloatArray:
    """Telea's inpainting (2004) of all that was not seen, done at ``INPAINT_SIDE`` texels and enlarged: [S, S, 3]."""
    import cv2

    size, small = len(photo.colour), (INPAINT_SIDE, INPAINT_SIDE)
    share = cv2.resize(photo.seen.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(photo.colour, small, interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)[..., None]
    hole = (share < 0.5).astype(np.uint8)
    clipped = to_bytes(np.clip(colour, 0, 1).astype(np.float32))
    filled = cv2.inpaint(clipped, hole, INPAINT_RADIUS, cv2.INPAINT_TELEA).astype(np.float32) / 255
    return _kept(photo, cv2.resize(filled, (size, size), interpolation=cv2.INTER_LINEAR))


BASELINES: dict[str, Callable[[SeenTexels], FloatArray]] = {"median": median, "mirror": mirror, "inpaint": inpaint}
"""By name; each gives a texture [S, S, 3] in [0, 1]."""


def _kept(photo: SeenTexels, fill: FloatArray) -> FloatArray:
    return np.where(photo.seen[..., None], photo.colour, fill).astype(np.float32)
