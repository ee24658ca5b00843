"""The generator that ships, as the projection sees it."""

import torch

from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.encoder import pose_codes
from ostec.project.invert import LatentSpace, ProjectionTarget

_LEVELS = 3
"""Finest levels of the encoder whose features are compared: the coarser ones see the whole face at once."""


def latent_space(model: PortraitGenerator) -> LatentSpace:
    """Latents, pictures, starting latents and features of a portrait generator."""

    def encode(image: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
        found = model.encoder(image, trust)
        return model.generator.mapping(found.z) + found.offset

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        return model.encoder.features(image, torch.ones_like(image[:, :1]), _LEVELS)

    return LatentSpace(
        synthesise=model.generator.synthesis,
        mean=model.latent_mean,
        deviation=model.latent_deviation.clamp(min=1e-3),
        encode=encode,
        features=features,
        features_name="encoder",
    )


def starting_latents(
    model: PortraitGenerator, target: ProjectionTarget, coefficients: torch.Tensor, pose_deg: torch.Tensor
) -> torch.Tensor:
    """Starting W+ [B, num_ws, W] where the face's coefficients in the prior and the pose are known.

    They are the generator's own Z; the encoder adds what they do not tell.

    Args:
        model: trained with that prior.
        target: the views.
        coefficients: [K] of the face.
        pose_deg: [B, 2] (pitch, yaw) of the views.
    """
    codes = pose_codes(pose_deg, model.frame.pose_range_deg).to(coefficients)
    z = torch.cat([coefficients.expand(len(codes), -1), codes], dim=1)
    with torch.no_grad():
        return model.generator.mapping(z) + model.encoder(target.image, target.trust).offset
