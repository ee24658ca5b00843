"""Who a face is, as a face recogniser sees it: the term of the projection that keeps the person."""

from collections.abc import Callable

import torch

from ostec.core.types import Array, FittedFace, FloatArray
from ostec.nets import arcface, dlib_face
from ostec.nets.arcface import ArcFace
from ostec.nets.dlib_face import FaceRecogniser
from ostec.render.crops import Crop, crop_onto_template, five_points, warp


def identity_crop(points: Array, network: FaceRecogniser) -> Crop:
    """The crop that a recogniser wants of a picture.

    Args:
        points: [468, >= 2] FaceMesh landmarks in the picture's pixels: a photo's own, or those of a view
            (``ViewStudio.landmarks``).
        network: for which it is.

    Raises:
        ValueError: they coincide.
    """
    if isinstance(network, ArcFace):
        return crop_onto_template(five_points(points), arcface.TEMPLATE, arcface.SIZE)
    return crop_onto_template(points[list(dlib_face.LANDMARKS)], dlib_face.TEMPLATE, dlib_face.SIZE)


def identity_of(network: FaceRecogniser | None, photo: FloatArray, face: FittedFace) -> FloatArray | None:
    """Who the face of a photo is: [K] of unit length; None without a network.

    Args:
        network: built with its weights, if there is one.
        photo: [H, W, 3] in [0, 1].
        face: fitted to that photo.
    """
    if network is None:
        return None
    device = next(network.parameters()).device
    planes = torch.from_numpy(photo).permute(2, 0, 1)[None]
    with torch.no_grad():
        found = network.embed(warp(planes, [identity_crop(face.landmarks, network)]).to(device) * 2 - 1)[0]
    return found.cpu().numpy()


def identity_loss(network: FaceRecogniser, wanted: torch.Tensor, crop: Crop) -> Callable[[torch.Tensor], torch.Tensor]:
    """A term for pictures [B, 3, R, R] in [-1, 1] -> [B]: 1 - cosine to a wanted identity, in [0, 2].

    Differentiable in the pictures. OSTeC weighs it by 10 in a view and by 100 in the frontal portrait.

    Args:
        network: on the pictures' device.
        wanted: [K] of unit length, from :func:`identity_of` with the same network.
        crop: of the view, from :func:`identity_crop`.
    """

    def loss(pictures: torch.Tensor) -> torch.Tensor:
        faces = warp(pictures, [crop] * len(pictures))
        return 1 - network.embed(faces) @ wanted

    return loss
