"""The generator that ships, as the projection sees it."""

import torch

from ostec.nets.checkpoint import PortraitGenerator
from ostec.project.invert import LatentSpace

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
