"""A completed face brought onto another photo, so that both can be compared pixel by pixel.

Two ways. *Warped*: the completed texture is drawn on the mesh that is fitted to the other photo. Both pictures then
have the same dense landmarks, so this is the completed face warped onto the photo, piecewise affinely, and geometry
hides no error of the texture. *Own*: the completion's own mesh is drawn with the other photo's camera, a rigid motion
and a scale, so that errors of the shape count.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ostec.core.types import BoolArray, FittedFace, FloatArray
from ostec.eval.report.drawing import DrawnMesh, draw_mesh
from ostec.io.images import resize_image
from ostec.render.geometry import Camera, camera_from_matrix
from ostec.render.uv import UvLayout

MOST_PX = 512
"""Longer side of a picture that is compared; larger faces are made smaller, which also makes their figures alike."""
MARGIN = 0.05
"""Margin around the mesh's box, as a share of its longer side."""
LEAST_PIXELS = 100
"""Pixels below which no light is fitted."""


@dataclass(frozen=True)
class Framed:
    """A photo cut to its face."""

    image: FloatArray
    """[h, w, 3] in [0, 1]."""
    vertices: torch.Tensor
    """[V, 3] of the mesh that is fitted to it, canonical frame."""
    camera: Camera
    """In pixels of ``image``."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[0], self.image.shape[1]

    def mesh(self, layout: UvLayout, vertices: torch.Tensor | None = None) -> DrawnMesh:
        """The fitted mesh (warped), or other ``vertices`` [V, 3] of the layout (own), in front of the camera."""
        return draw_mesh(self.vertices if vertices is None else vertices, self.camera, layout, self.size)


def frame(image: FloatArray, face: FittedFace, most_px: int = MOST_PX) -> Framed:
    """Cut a photo [H, W, 3] to the mesh fitted to it, and make it smaller where it is larger than ``most_px``.

    Raises ValueError for a mesh outside the photo.
    """
    pixel = face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]
    low, high = pixel.min(0), pixel.max(0)
    margin = MARGIN * float((high - low).max())
    height, width = image.shape[:2]
    left, top = (int(v) for v in np.maximum(np.floor(low - margin), 0))
    right, bottom = (int(v) for v in np.minimum(np.ceil(high + margin), (width, height)))
    if right <= left or bottom <= top:
        raise ValueError("expected a mesh that lies in the photo, got one outside")
    cut = image[top:bottom, left:right]
    zoom = min(1.0, most_px / max(cut.shape[:2]))
    size = max(1, round(cut.shape[1] * zoom)), max(1, round(cut.shape[0] * zoom))
    if zoom < 1:
        cut = resize_image(cut, *size, "area")
    into = np.diag([size[0] / (right - left), size[1] / (bottom - top), 1.0])
    into[:2, 2] = -into[0, 0] * left, -into[1, 1] * top
    camera = camera_from_matrix(into @ face.camera_matrix, face.rotation)
    return Framed(np.ascontiguousarray(cut), torch.from_numpy(face.vertices), camera)


def spread_colours(colour: FloatArray, known: BoolArray) -> FloatArray:
    """Texels [S, S, 3] with the nearest ``known`` [S, S] one's colour where they are not; as they are if none is."""
    if not known.any():
        return colour
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    found: FloatArray = colour[nearest[0], nearest[1]]
    return found


def match_light(made: FloatArray, truth: FloatArray, where: BoolArray) -> FloatArray | None:
    """``made`` [H, W, 3] under the light of ``truth``: one gain and offset per channel, least squares over ``where``.

    Returns [H, W, 3], clipped to [0, 1]; None where ``where`` [H, W] has too few pixels. A channel that is flat there
    is only moved.
    """
    if np.count_nonzero(where) < LEAST_PIXELS:
        return None
    x, y = made[where].astype(np.float64), truth[where].astype(np.float64)
    mx, my = x.mean(0), y.mean(0)
    variance = ((x - mx) ** 2).mean(0)
    covariance = ((x - mx) * (y - my)).mean(0)
    gain = np.where(variance > 1e-8, covariance / np.maximum(variance, 1e-8), 1.0)
    return np.clip((made - mx) * gain + my, 0, 1).astype(np.float32)
