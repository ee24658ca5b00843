"""The irises in a photo: where each eye looks, and what the photo shows of it."""

from collections.abc import Callable

import numpy as np
import torch

from ostec.core.types import DoubleArray, FittedFace, FloatArray, SeenEye
from ostec.nets.iris import INPUT_SIZE, IrisNetwork
from ostec.render.crops import Crop, warp

LIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
"""FaceMesh ids round each eye, from its outer corner over the upper lid; image-left eye first."""
INNER = 8
"""Place of the inner corner in those."""
EXPAND = 2.3
"""Side of the square that the network looks at, in widths of the eye; MediaPipe's value."""
DETAIL = 4
"""The eye is kept at so many times the network's resolution."""
RADIUS = (0.10, 0.32)
"""Least and largest radius of an iris in widths of the eye; an eye that is closed or hidden gives others."""


@torch.no_grad()
def seen_eyes(image: FloatArray, face: FittedFace, network: IrisNetwork) -> tuple[SeenEye | None, SeenEye | None]:
    """What a photo [H, W, 3] shows of each eye, image-left eye first; None where its iris was not found."""
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    return _seen_eye(pixels, face, network, 0), _seen_eye(pixels, face, network, 1)


def eye_crop(landmarks: FloatArray, which: int, size: int) -> Crop | None:
    """The square round an eye (0 is the one on the image's left), ``size`` pixels; None where it has no width."""
    outer, inner = (landmarks[LIDS[which][k], :2].astype(np.float64) for k in (0, INNER))
    along = (inner - outer) * (1 if which == 0 else -1)
    width = float(np.hypot(*along))
    if not width > 0:
        return None
    x, y = (outer + inner) / 2
    return Crop((float(x), float(y)), EXPAND * width, float(np.arctan2(along[1], along[0])), size)


def iris_in(crop: torch.Tensor, network: Callable[[torch.Tensor], torch.Tensor], which: int) -> DoubleArray | None:
    """Middle and radius of the iris [3] in a crop [1, 3, 64, 64], in its pixels; None where it was not found."""
    crop = crop if which == 0 else crop.flip(3)  # the network knows eyes whose outer corner is on the left
    points = network(crop)[0].cpu().numpy().astype(np.float64)
    if which == 1:
        points[:, 0] = INPUT_SIZE - points[:, 0]
    radius = float(np.linalg.norm(points[1:] - points[0], axis=1).mean())
    if not RADIUS[0] < radius * EXPAND / INPUT_SIZE < RADIUS[1]:
        return None
    return np.array([*points[0], radius])


def _seen_eye(pixels: torch.Tensor, face: FittedFace, network: IrisNetwork, which: int) -> SeenEye | None:
    crop = eye_crop(face.landmarks, which, INPUT_SIZE * DETAIL)
    if crop is None:
        return None
    lids = face.landmarks[list(LIDS[which]), :2].astype(np.float64)
    shown = warp(pixels, [crop])
    found = iris_in(torch.nn.functional.avg_pool2d(shown, DETAIL).to(next(network.parameters()).device), network, which)
    if found is None:
        return None
    matrix, axes = face.camera_matrix, crop.axes[:2, :2].T / crop.scale**2
    camera = np.c_[axes @ matrix[:2, :3], axes @ (matrix[:2, 3] - crop.offset[:2])]
    iris = (found * DETAIL).astype(np.float32)
    return SeenEye(shown[0].permute(1, 2, 0).numpy(), camera, iris, crop.points_to_crop(lids).astype(np.float32))
