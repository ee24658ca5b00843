"""A picture to W+ by the shortest way: no masks, no encoder, any StyleGAN2, compared by any features.

What :func:`ostec.project.invert.project` does for a face's views, for whole pictures and for benchmarks: the pictures
that are compared have at most 256 px, and the generator draws the whole picture only now and then and at the end.
"""

from collections.abc import Callable

import torch

from ostec.nets.checkpoint import mapped_samples
from ostec.nets.stylegan2 import Generator
from ostec.project.invert import Projection, project
from ostec.project.objective import LatentSpace, ProjectionTarget
from ostec.project.settings import ProjectionSettings

WHOLE_PICTURES = ProjectionSettings(latent=0.002)
"""The pull towards the mean latent is weak: it is there for faces of which a part is hidden."""


def search(
    network: Generator,
    target: torch.Tensor,
    features: Callable[[torch.Tensor], list[torch.Tensor]] | None,
    iterations: int,
    settings: ProjectionSettings = WHOLE_PICTURES,
    observe: Callable[[int, torch.Tensor], None] | None = None,
) -> Projection:
    """Find W+ for pictures, each on its own, from the mean latent.

    Args:
        network: in evaluation mode, without gradients.
        target: [B, 3, S, S] in [-1, 1], S a power of two up to the network's resolution R.
        features: pictures [B, 3, s, s] of any s from 16 to S to features [B, C, h, w]; without it pixels alone count.
        iterations: steps of the optimiser.
        settings: how.
        observe: called after each iteration with its number and W+ [B, num_ws, W].

    Returns:
        W+, the pictures of R px, losses.

    Raises:
        ValueError: the picture's side is none of the network's resolutions.
    """
    shape = network.shape
    if target.shape[-1] not in shape.resolutions or target.shape[-1] != target.shape[-2]:
        raise ValueError(f"expected pictures of {shape.resolutions} px, got {list(target.shape)}")
    latents = mapped_samples(network)
    space = LatentSpace(
        synthesise=network.synthesis,
        mean=latents.mean(0).expand(shape.num_ws, -1),
        deviation=latents.std(0).expand(shape.num_ws, -1).clamp(min=1e-3),
        features=features,
        features_name="given",
        pyramid=lambda ws, side: network.synthesis(ws, resolution=side),
        resolution=shape.resolution,
    )
    whole = torch.ones_like(target[:, :1])
    wanted = ProjectionTarget(target, whole, torch.zeros_like(whole))
    return project(space, wanted, iterations, settings, observe=observe)
