"""The person in a photo, with hair and clothes: what of the surroundings of a face is theirs."""

import numpy as np
import torch

from ostec.core.types import FittedFace, FloatArray, PhotoAround
from ostec.nets.person import INPUT_SIZE, PersonNetwork
from ostec.render.crops import Crop, warp

SPAN_MM, CENTRE_MM = 380.0, (0.0, -10.0, 0.0)
"""Side of the square that is looked at, and the canonical point in its middle."""
SIZE = 768
"""Its side in pixels."""


@torch.no_grad()
def photo_around(image: FloatArray, face: FittedFace, network: PersonNetwork) -> PhotoAround:
    """Cut out the head with its surroundings, upright, and find the person in it.

    Args:
        image: [H, W, 3] RGB in [0, 1], the photo.
        face: its face.
        network: built, with its weights.
    """
    matrix = face.camera_matrix
    x, y = matrix[:2, :3] @ np.array(CENTRE_MM) + matrix[:2, 3]
    up = matrix[:2, 1]
    angle = float(np.arctan2(up[0], -up[1]))
    crop = Crop((float(x), float(y)), SPAN_MM * face.scale, angle, SIZE)
    pixels = torch.from_numpy(np.require(image, requirements=["C", "W"])).permute(2, 0, 1)[None]
    around = warp(pixels, [crop], border="zero")
    within = warp(torch.ones(1, 1, 1, 1).expand_as(pixels[:, :1]), [crop], border="zero")
    small = torch.nn.functional.avg_pool2d(around, SIZE // INPUT_SIZE).to(next(network.parameters()).device)
    person = torch.nn.functional.interpolate(
        network(small).cpu(), (SIZE, SIZE), mode="bilinear", align_corners=False
    )  # [1, 1, S, S]
    person = person * within
    to_crop = crop.axes[:2, :2].T / crop.scale**2
    camera = np.c_[to_crop @ matrix[:2, :3], to_crop @ (matrix[:2, 3] - crop.offset[:2])]
    return PhotoAround(around[0].permute(1, 2, 0).numpy(), person[0, 0].numpy(), camera, within[0, 0].numpy())
