"""Cheap ways to complete a face, to be beaten: on the same mesh and the same texels of the photo as the real one."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from headtruth import FaceReader, camera_of

from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.io.images import to_bytes
from ostec.render.uv import sample_image, view_surface

BASELINE_COSINE = 0.4
"""A baseline keeps the photo where the fitted mesh faces the viewer more than this: what a completion trusts too."""
BASELINES = ("median", "mirror", "inpaint")


@dataclass(frozen=True)
class Completion:
    """What a method makes of one picture."""

    texture: FloatArray
    """[S, S, 3] in [0, 1] in the project's layout."""
    face: FittedFace


CompleteFn = Callable[[FloatArray], Completion]
"""[H, W, 3] float32 in [0, 1] to a completion."""


class Baseline:
    """The photo's texels where the fitted mesh sees them well, and a cheap fill elsewhere."""

    def __init__(self, method: str, reader: FaceReader, fill: FloatArray | None = None) -> None:
        """Take one of ``BASELINES``, or any other name and the texture [S, S, 3] that fills."""
        self._method = method
        self._reader = reader
        self._given = fill

    def __call__(self, image: FloatArray) -> Completion:
        """Complete [H, W, 3]."""
        face, layout = self._reader.fit(image), self._reader.layout
        view = view_surface(torch.from_numpy(face.vertices), camera_of(face), layout)
        sampled, within = sample_image(torch.from_numpy(image), view.pixel, layout.inside)
        seen = (view.visible & within & (view.cosine > BASELINE_COSINE)).numpy()
        colour = np.where(seen[..., None], sampled.numpy(), 0).astype(np.float32)
        return Completion(self._fill(colour, seen), face)

    def _fill(self, colour: FloatArray, seen: BoolArray) -> FloatArray:
        if self._given is not None:
            return np.where(seen[..., None], colour, self._given)
        if self._method == "inpaint":
            return np.where(seen[..., None], colour, inpaint(colour, seen))
        filled = np.where(seen[..., None], colour, np.median(colour[seen], axis=0))
        if self._method == "mirror":
            mirrored = ~seen & seen[:, ::-1]
            filled = np.where(mirrored[..., None], colour[:, ::-1], filled)
        return filled.astype(np.float32)


def inpaint(colour: FloatArray, seen: BoolArray, side: int = 256) -> FloatArray:
    """Telea's inpainting of all that is not ``seen``, done at ``side`` texels and enlarged again."""
    size = len(colour)
    share = cv2.resize(seen.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    small = cv2.resize(colour, (side, side), interpolation=cv2.INTER_AREA) / np.maximum(share, 1e-6)[..., None]
    hole = (share < 0.5).astype(np.uint8)
    filled = cv2.inpaint(to_bytes(np.clip(small, 0, 1).astype(np.float32)), hole, 3, cv2.INPAINT_TELEA)
    return cv2.resize(filled.astype(np.float32) / 255, (size, size), interpolation=cv2.INTER_LINEAR)
