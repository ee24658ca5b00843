"""Dense landmarks of a face: where to look, FaceMesh, and once more from its own result."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.types import EYE_CORNERS, Array, FaceBox, FaceLandmarks, FloatArray
from ostec.detect.settings import LandmarkSettings
from ostec.nets.facemesh import INPUT_SIZE, FaceMesh
from ostec.render.crops import Crop, crop_around_face, crop_around_points, warp

_LOOKS = (
    (0.0, 0.0, 1.0, 0.0),
    (0.02, 0.01, 1.03, 0.03),
    (-0.02, -0.01, 0.97, -0.03),
    (0.01, -0.02, 0.97, 0.03),
    (-0.01, 0.02, 1.03, -0.03),
)
"""Shift (x, y, in sides), growth and turn (radians) of each look's region; their means are 0, 0, 1 and 0."""


@dataclass(frozen=True)
class LandmarkBatch:
    """Landmarks of a batch, attached to autograd."""

    points: torch.Tensor
    """[B, 468, 3] in the photo frame of ``core/types.py``."""
    confidence: torch.Tensor
    """[B]: FaceMesh's face probability, 0 to 1."""


def detect_landmarks(
    image: FloatArray, face: FaceBox, network: FaceMesh, settings: LandmarkSettings | None = None
) -> FaceLandmarks:
    """Find the dense landmarks of a detected face.

    Args:
        image: [H, W, 3] RGB in [0, 1].
        face: the detector's box and points in that image.
        network: built FaceMesh with its weights.
        settings: the defaults if None.

    Returns:
        Landmarks in the photo frame. Where no face is in the box the confidence is low: the caller decides.

    Raises:
        ValueError: the image is not [H, W, 3] float32, or the box is empty.
    """
    settings = settings or LandmarkSettings()
    return detect_landmarks_in(image, crop_around_face(face, settings.expand_box, INPUT_SIZE), network, settings)


def detect_landmarks_in(
    image: FloatArray, roi: Crop, network: FaceMesh, settings: LandmarkSettings | None = None
) -> FaceLandmarks:
    """Find the dense landmarks of the face in a region of an image; arguments and result as :func:`detect_landmarks`.

    Args:
        roi: where to look first; its size is that of the network, 192. See :func:`whole_image`.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32 or image.size == 0:
        raise ValueError(f"expected an image [H, W, 3] float32, got {list(image.shape)} {image.dtype}")
    # PyTorch shares memory only with arrays that are writable and run forwards.
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    return detect_landmarks_batch(pixels, [roi], network, settings)[0]


@torch.no_grad()
def detect_landmarks_batch(
    images: torch.Tensor, rois: Sequence[Crop], network: FaceMesh, settings: LandmarkSettings | None = None
) -> list[FaceLandmarks]:
    """Find the dense landmarks of one face in each of a batch of images.

    Args:
        images: [B, 3, H, W] RGB in [0, 1], on the network's device or not.
        rois: B regions to look at first.
        network: built FaceMesh with its weights.
        settings: the defaults if None.
    """
    settings = settings or LandmarkSettings()
    for _ in range(settings.refinements):
        points = landmarks_in_crops(images, rois, network).points.cpu().numpy()
        rois = [crop_around_landmarks(p, settings.expand) for p in points]
    looks: list[torch.Tensor] = []
    confidence: list[torch.Tensor] = []
    for shift_x, shift_y, grow, turn in _LOOKS[: max(1, settings.looks)]:
        around = [_jittered(roi, (shift_x, shift_y), grow, turn) for roi in rois]
        found = landmarks_in_crops(images, around, network)
        looks.append(found.points)
        confidence.append(found.confidence)
    mean = torch.stack(looks).mean(0).cpu().numpy()
    return [FaceLandmarks(p, float(c)) for p, c in zip(mean, torch.stack(confidence).mean(0).cpu(), strict=True)]


def _jittered(roi: Crop, shift: tuple[float, float], grow: float, turn: float) -> Crop:
    """Return the region moved along its own axes, so that a turned photo is looked at in the same way."""
    moved = roi.axes[:2, :2] @ (np.array(shift) * roi.size) + np.array(roi.center)
    return Crop((float(moved[0]), float(moved[1])), roi.side * grow, roi.angle + turn, roi.size)


def landmarks_in_crops(images: torch.Tensor, crops: Sequence[Crop], network: FaceMesh) -> LandmarkBatch:
    """Run FaceMesh once on one crop of each image. Differentiable in the images.

    Args:
        images: [B, 3, H, W] RGB in [0, 1].
        crops: B crops of size 192.
        network: built FaceMesh with its weights.
    """
    device = next(network.parameters()).device
    output = network(warp(images, crops).to(device))
    axes = output.points.new_tensor(np.stack([crop.axes for crop in crops]))  # [B, 3, 3]
    offset = output.points.new_tensor(np.stack([crop.offset for crop in crops]))  # [B, 3]
    points = output.points @ axes.transpose(1, 2) + offset[:, None]
    return LandmarkBatch(points, output.confidence)


def crop_around_landmarks(points: Array, expand: float = LandmarkSettings.expand) -> Crop:
    """Return the region in which FaceMesh expects the face whose landmarks [468, >= 2] are known."""
    return crop_around_points(points, points[list(EYE_CORNERS)], expand, INPUT_SIZE)


def whole_image(width: int, height: int) -> Crop:
    """Return the region for an aligned portrait whose face fills most of the image: the square around all of it."""
    return Crop((width / 2, height / 2), float(max(width, height)), 0.0, INPUT_SIZE)
