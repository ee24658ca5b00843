"""Square, rotated crops with exact inverses, and the resampling that cuts them out.

Pixel convention: ``core/types.py`` (corner origin, centres at +0.5), in the photo and in the crop alike.
"""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional as F

from ostec.core.types import EYES, MOUTH_CORNERS, Array, DoubleArray, FaceBox

NOSE_TIP = 4
"""FaceMesh id. Nearer to where MTCNN has it, 0.03 eye distances above, than 1, 0.08 below (12 photos)."""

Border = Literal["replicate", "zero"]
_BAND_BYTES = 64 << 20
"""Of a picture that is averaged at once; what is smaller than 32 MB may stay with the process when it is freed."""


@dataclass(frozen=True)
class Crop:
    """A square region of a photo, turned by ``angle``, and the size it is resampled to.

    Raises:
        ValueError: side or size is not positive, or a number is not finite.
    """

    center: tuple[float, float]
    """x, y in photo pixels."""
    side: float
    """Photo pixels."""
    angle: float
    """Direction of the crop's x axis in the photo, radians, clockwise as seen (y is down)."""
    size: int
    """Side of the resampled crop in pixels."""

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (*self.center, self.side, self.angle)):
            raise ValueError(f"expected finite numbers, got {self}")
        if self.side <= 0 or self.size <= 0:
            raise ValueError(f"expected a positive side and size, got {self.side} and {self.size}")

    @property
    def scale(self) -> float:
        """Photo pixels per crop pixel."""
        return self.side / self.size

    @property
    def axes(self) -> DoubleArray:
        """[3, 3] A of photo = A @ crop + offset, for points (x, y, z); z is only scaled."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        return self.scale * np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])

    @property
    def offset(self) -> DoubleArray:
        """[3]: the crop's top-left corner in the photo; z is 0."""
        half = self.size / 2
        return np.array([*self.center, 0.0]) - self.axes @ np.array([half, half, 0.0])

    def points_to_photo(self, points: Array) -> Array:
        """Map points [..., 2 or 3] from crop pixels to photo pixels; z is scaled with x. Keeps the dtype.

        Raises:
            ValueError: the last axis is neither 2 nor 3 long.
        """
        n = _dimensions(points)
        photo = points.astype(np.float64) @ self.axes[:n, :n].T + self.offset[:n]
        return photo.astype(points.dtype)

    def points_to_crop(self, points: Array) -> Array:
        """Map points [..., 2 or 3] from photo pixels to crop pixels: the inverse of :meth:`points_to_photo`.

        Raises:
            ValueError: the last axis is neither 2 nor 3 long.
        """
        n = _dimensions(points)
        # The axes are a rotation times scale, so the inverse is the transpose over scale squared.
        inverse = self.axes[:n, :n].T / self.scale**2
        crop = (points.astype(np.float64) - self.offset[:n]) @ inverse.T
        return crop.astype(points.dtype)


def crop_around_points(points: Array, eye_line: Array, expand: float, size: int) -> Crop:
    """Return the square around dense points, turned so that the eyes are level.

    As MediaPipe's ``FaceLandmarkLandmarksToRoi``: the box of the points along the photo's axes, its longer side times
    ``expand``, turned about its centre.

    Args:
        points: [N, >= 2] photo pixels.
        eye_line: [2, >= 2]: the outer corner of the eye on the image's left, then the other.
        expand: side of the crop over the longer side of the box.
        size: pixels of the crop.

    Raises:
        ValueError: the points coincide.
    """
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    return _crop_around_box(low, high, eye_line[1, :2] - eye_line[0, :2], expand, size)


def crop_around_face(face: FaceBox, expand: float, size: int) -> Crop:
    """Return the square around a detected face, turned so that it is upright; arguments as :func:`crop_around_points`.

    Upright is the mean of the eyes' line and the normal to the line from eyes to mouth, each weighted by its length:
    in profile the eyes coincide and their line alone would point anywhere.

    Raises:
        ValueError: the box is empty.
    """
    eyes, mouth = face.points[:2], face.points[3:]
    down = mouth.mean(axis=0) - eyes.mean(axis=0)
    along = eyes[1] - eyes[0] + np.array([down[1], -down[0]])
    return _crop_around_box(face.box[:2], face.box[2:], along, expand, size)


def five_points(landmarks: Array) -> DoubleArray:
    """Eyes' centres, nose tip and mouth corners [5, D] of landmarks [468, D], in the order of ``FaceBox.points``."""
    eyes = [landmarks[list(pair)].mean(axis=0) for pair in EYES]
    return np.stack([*eyes, landmarks[NOSE_TIP], *landmarks[list(MOUTH_CORNERS)]]).astype(np.float64)


def crop_onto_template(points: Array, template: Array, size: int) -> Crop:
    """Return the crop that brings points onto a template as nearly as shift, turn and growth can.

    The least-squares similarity of Umeyama 1991 (without mirroring) from ``points`` to ``template``. In the plane it
    has a closed form: of points p and targets t as complex numbers about their means, t = a p with
    a = sum(conj(p) t) / sum(abs(p)^2).

    Args:
        points: [N, >= 2] photo pixels.
        template: [N, 2] where they belong in the crop, in its pixels.
        size: pixels of the crop.

    Raises:
        ValueError: the shapes differ, or the points are one, are not finite or lie as no turn of the template does.
    """
    if template.shape != (len(points), 2) or points.ndim != 2 or points.shape[1] < 2:
        raise ValueError(f"expected points [N, >= 2] and template [N, 2], got {points.shape} and {template.shape}")
    p, t = (x[:, 0].astype(np.float64) + 1j * x[:, 1].astype(np.float64) for x in (points, template))
    middle, target = p.mean(), t.mean()
    p, t = p - middle, t - target
    spread = float((abs(p) ** 2).sum())
    a = complex((p.conj() * t).sum() / spread) if spread > 0 else 0j
    if not abs(a) > 0 or not math.isfinite(abs(a)):
        raise ValueError(f"expected points that a similarity brings onto the template, got {points[:, :2].tolist()}")
    center = middle + (size / 2 * (1 + 1j) - target) / a
    return Crop((center.real, center.imag), size / abs(a), -cmath.phase(a), size)


def crop_as_portrait(eyes: Array, mouth: Array, size: int) -> Crop:
    """Return the square that FFHQ and CelebA-HQ cut round a face (Karras et al. 2018, appendix C).

    Its x axis is the mean of the eyes' line and the normal to the line from eyes to mouth, its half side the larger of
    2.0 eye distances and 1.8 times the way from eyes to mouth.

    Args:
        eyes: [2, >= 2] their centres in photo pixels, the eye on the image's left first.
        mouth: [>= 2] its centre.
        size: pixels of the crop.

    Raises:
        ValueError: the points coincide.
    """
    across = (eyes[1, :2] - eyes[0, :2]).astype(np.float64)
    between = eyes[:, :2].astype(np.float64).mean(axis=0)
    down = mouth[:2] - between
    along = across + np.array([down[1], -down[0]])
    side = 2 * max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*down)))
    x, y = between + 0.1 * down
    return Crop((float(x), float(y)), side, math.atan2(along[1], along[0]), size)


def _crop_around_box(low: Array, high: Array, along: Array, expand: float, size: int) -> Crop:
    """Square around the middle of a box whose x axis points ``along`` [2]."""
    x, y = (low.astype(np.float64) + high) / 2
    return Crop((float(x), float(y)), expand * float((high - low).max()), math.atan2(along[1], along[0]), size)


def warp(images: torch.Tensor, crops: Sequence[Crop], border: Border = "replicate") -> torch.Tensor:
    """Cut one crop out of each image, bilinear, without aliasing. Differentiable in the images.

    A crop pixel that covers more than one image pixel is the mean over its area: the image is averaged over whole
    blocks first, then each crop pixel over a few samples. What is cut from one image does not depend on the others.

    Args:
        images: [B, C, H, W] float.
        crops: B crops of one ``size``, in pixels of their images.
        border: what lies outside the image: its nearest pixel, or zero.

    Returns:
        [B, C, size, size].

    Raises:
        ValueError: the shape is another, the counts differ, or the sizes do.
    """
    if images.ndim != 4 or len(images) != len(crops) or not crops:
        raise ValueError(f"expected images [B, C, H, W] and B crops, got {tuple(images.shape)} and {len(crops)}")
    if len({crop.size for crop in crops}) > 1:
        raise ValueError(f"expected crops of one size, got {sorted({crop.size for crop in crops})}")
    return torch.cat([_warp_one(image[None], crop, border) for image, crop in zip(images, crops, strict=True)])


def _warp_one(image: torch.Tensor, crop: Crop, border: Border) -> torch.Tensor:
    """:func:`warp` for one image [1, C, H, W]."""
    block = max(1, math.floor(crop.scale))
    samples = math.ceil(crop.scale / block - 1e-9)
    x0, y0, x1, y1 = _window(crop, block, height=image.shape[2], width=image.shape[3])
    image = image[:, :, y0:y1, x0:x1]
    if block > 1:
        rows = block * max(1, _BAND_BYTES // image[:, :, :block].nbytes)
        bands = image.split(rows, dim=2)  # PyTorch pools a copy: of a band, not of a large photo
        image = torch.cat([F.avg_pool2d(band, block, ceil_mode=True, count_include_pad=False) for band in bands], dim=2)
    steps = (torch.arange(crop.size * samples, dtype=torch.float64) + 0.5) / samples
    v, u = torch.meshgrid(steps, steps, indexing="ij")
    axes, offset = crop.axes / block, (crop.offset[:2] - (x0, y0)) / block
    height, width = image.shape[2:]
    # grid_sample counts from -1 at one edge of the image to 1 at the other.
    x = (axes[0, 0] * u + axes[0, 1] * v + offset[0]) * (2 / width) - 1
    y = (axes[1, 0] * u + axes[1, 1] * v + offset[1]) * (2 / height) - 1
    grid = torch.stack((x, y), dim=-1)[None].to(image)  # [1, size * samples, size * samples, 2]
    mode = "border" if border == "replicate" else "zeros"
    sampled = F.grid_sample(image, grid, mode="bilinear", padding_mode=mode, align_corners=False)
    return F.avg_pool2d(sampled, samples) if samples > 1 else sampled


def _window(crop: Crop, block: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Part of the image that the crop needs: x0, y0, x1, y1 with x0 and y0 at multiples of ``block``; never empty."""
    corners = crop.points_to_photo(np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float64) * crop.size)
    low = np.floor(corners.min(axis=0) / block) - 2
    high = np.ceil(corners.max(axis=0) / block) + 2
    last = np.array([width, height])
    start = np.clip(low * block, 0, (last - 1) // block * block).astype(int)
    stop = np.clip(high * block, start + 1, last).astype(int)
    return int(start[0]), int(start[1]), int(stop[0]), int(stop[1])


def _dimensions(points: Array) -> int:
    if points.ndim == 0 or points.shape[-1] not in (2, 3):
        raise ValueError(f"expected points [..., 2 or 3], got shape {points.shape}")
    return int(points.shape[-1])
