"""What a published network reads of a face's shape, and the crops that it is shown.

Deep3DFaceRecon (util/preprocess.py) and FaceVerse 4 (faceversev4/FaceVerse_networks.py). Points in pictures are in this
program's pixels, which count from corners.
"""

import numpy as np
import torch
from torch.nn import functional

from ostec.core.morphable import ModelShape
from ostec.core.types import DoubleArray, FloatArray
from ostec.nets.regressor import DEEP3D, FACEVERSE, Regressor
from ostec.render.crops import five_points

_CROP_FACTOR = 102.0
_FIVE_POINTS = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""[5, 3] decimetres: eyes, nose tip and mouth's corners, from the 68 of Deep3DFaceRecon's similarity_Lm3D_all.mat."""


def deep3d_crop(points: FloatArray, width: int, height: int) -> DoubleArray:
    """Where Deep3DFaceRecon cuts its 224 pixels from a photo (``align_img``).

    Args:
        points: [5, 2] photo pixels, in the order of ``FaceBox.points``.
        width: the photo's, in pixels.
        height: the photo's, in pixels.

    Returns:
        [2, 3]: photo pixels (x, y, 1) to crop pixels.
    """
    size = DEEP3D.size
    seen = np.stack([points[:, 0] - 0.5, height - 0.5 - points[:, 1]], axis=1).astype(np.float64)  # y up, from centres
    known = np.column_stack([_FIVE_POINTS, np.ones(5)])
    solved = np.linalg.lstsq(known, seen, rcond=None)[0]  # [4, 2]: rows of a scaled rotation, then the shift
    scale = _CROP_FACTOR / (np.linalg.norm(solved[:3], axis=0).mean())
    across, down = int(width * scale), int(height * scale)
    left = int(across / 2 - size / 2 + (solved[3, 0] - width / 2) * scale)
    up = int(down / 2 - size / 2 + (height / 2 - solved[3, 1]) * scale)
    return np.array([[across / width, 0, -left], [0, down / height, -up]], dtype=np.float64)


def faceverse_crop(landmarks: FloatArray) -> DoubleArray:
    """Where FaceVerse cuts its 256 pixels from a photo (``crop_img``).

    From the centre of the landmarks' box 0.65 of its longer side to the left and right, 0.7 up, 0.6 down.

    Args:
        landmarks: [N, 2] photo pixels.

    Returns:
        [2, 3]: photo pixels (x, y, 1) to crop pixels.

    Raises:
        ValueError: the landmarks' box is smaller than a pixel.
    """
    low, high = landmarks.min(axis=0).astype(np.float64), landmarks.max(axis=0).astype(np.float64)
    length, (x, y) = int((high - low).max()), (low + high) / 2
    if length < 1:
        raise ValueError(f"expected landmarks apart from each other, got a box of {(high - low).tolist()} pixels")
    left, right = int(x - length * 0.65), int(x + length * 0.65)
    top, bottom = int(y - length * 0.7), int(y + length * 0.6)
    across, down = (FACEVERSE.size / side for side in (right - left, bottom - top))
    return np.array([[across, 0, -left * across], [0, down, -top * down]], dtype=np.float64)


def read_shape(network: Regressor, photo: FloatArray, landmarks: FloatArray) -> ModelShape:
    """What a published network reads of a face's shape.

    Args:
        network: Deep3DFaceRecon's or FaceVerse's.
        photo: [H, W, 3] in [0, 1].
        landmarks: [468, >= 2] FaceMesh's, photo pixels.
    """
    if network.layout is DEEP3D:
        crop = deep3d_crop(five_points(landmarks).astype(np.float32), photo.shape[1], photo.shape[0])
    else:
        crop = faceverse_crop(landmarks[:, :2])
    device = next(network.parameters()).device
    with torch.no_grad():
        found = network(cut_out(photo, crop, network.layout.size).to(device))
    return ModelShape(found.identity[0].cpu().numpy(), found.expression[0].cpu().numpy())


def cut_out(photo: FloatArray, crop: DoubleArray, size: int) -> torch.Tensor:
    """Cut a crop [2, 3] that neither turns nor shears out of a photo [H, W, 3]: [1, 3, size, size] in [0, 1].

    By bicubic interpolation with low-pass, as Pillow resizes; black where it leaves the photo.
    """
    (across, _, left), (_, down, top) = crop
    x, y = round(-left / across), round(-top / down)
    width, height = max(1, round(size / across)), max(1, round(size / down))
    whole = torch.from_numpy(photo).permute(2, 0, 1)[None]
    padding = (max(0, -x), max(0, x + width - photo.shape[1]), max(0, -y), max(0, y + height - photo.shape[0]))
    padded = functional.pad(whole, padding)
    part = padded[..., max(0, y) : max(0, y) + height, max(0, x) : max(0, x) + width]
    return functional.interpolate(part, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)
