"""A latent that was edited, brought back to the person that it showed before, without losing what was asked for."""

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import FloatArray
from ostec.nets.dlib_face import FaceRecogniser
from ostec.nets.stylegan2 import Generator
from ostec.project.identity import identity_crop, identity_loss

ENOUGH = 0.87
"""Cosine to the person before at which the search ends: beyond, it draws what the network likes, not the person."""
STEPS = 25
RATE = 0.05
HOLD = 20.0
"""Weight of the squared change of what is broad: pose, light and expression stay."""
BROAD = 8
"""Pixels of 128 that are averaged for it."""


def like_before(
    generator: Generator, latent: FloatArray, wanted: FloatArray, points: FloatArray, network: FaceRecogniser
) -> FloatArray:
    """Move W+ by a few steps of Adam until the picture shows the person again.

    Args:
        generator: that draws.
        latent: [num_ws, W], edited.
        wanted: [K] of unit length, who is to be seen.
        points: [468, >= 2] landmarks of the picture of ``latent``, in its pixels.
        network: says who is seen.

    Returns:
        [num_ws, W].
    """
    crop = identity_crop(points, network)
    device = generator.mapping.w_avg.device
    loss = identity_loss(network, torch.from_numpy(wanted).to(device), crop)
    start = torch.from_numpy(latent).to(device)
    reach = max(1, generator.shape.resolution * BROAD // 128)
    with torch.no_grad():
        held = functional.avg_pool2d(generator.synthesis(start[None]), reach)
    moved = torch.zeros_like(start, requires_grad=True)
    optimiser = torch.optim.Adam([moved], lr=RATE)
    for _ in range(STEPS):
        picture = generator.synthesis((start + moved)[None])
        apart = loss(picture).sum()
        if float(apart.detach()) < 1 - ENOUGH:
            break
        total = apart + HOLD * (functional.avg_pool2d(picture, reach) - held).square().mean()
        (moved.grad,) = torch.autograd.grad(total, moved)
        optimiser.step()
    return np.asarray((start + moved.detach()).cpu().numpy(), np.float32)
