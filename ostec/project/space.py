"""A generator of faces as completion by views and projection see it: the protocol, and generators from files."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from ostec.core.types import FloatArray, ViewFrame
from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.efficientnet import PerceptualNetwork
from ostec.nets.encoder import pose_codes
from ostec.project.objective import LatentSpace, ProjectionTarget

_LEVELS = 3
"""Finest levels of the encoder whose features are compared: the coarser ones see the whole face at once."""
ENCODER = "encoder (no perceptual network)"
"""What the record calls the encoder's features, which stand in for a perceptual network."""
TOO_SMALL = "encoder ({} needs {} px)"
"""The same where the generator's pictures are too small for it."""
JUDGE = "discriminator (no perceptual network)"
"""What the record calls the discriminator's features, which stand in where a generator of photos has no encoder."""


class FaceGenerator(Protocol):
    """A generator of faces: what completing a face by views needs of it."""

    @property
    def frame(self) -> ViewFrame:
        """How its training faces were framed, and so how views are drawn for it."""

    @property
    def resolution(self) -> int:
        """Side of its pictures in pixels."""

    @property
    def space(self) -> LatentSpace:
        """Its latents and pictures."""

    def start(self, target: ProjectionTarget, pose_deg: tuple[float, float], face: FloatArray) -> torch.Tensor | None:
        """Where the search for a view begins, [1, num_ws, W]; None leaves that to ``space``.

        Args:
            target: the view, a batch of one.
            pose_deg: its pitch and yaw.
            face: [K] the face's coefficients in the prior.
        """


@dataclass(frozen=True)
class FileGenerator:
    """A portrait generator from a file: the one that ships, or a published one."""

    model: PortraitGenerator
    space: LatentSpace
    shares_prior: bool
    """Whether its Z holds coefficients of the prior in use."""

    @property
    def frame(self) -> ViewFrame:
        """As the file says."""
        return self.model.frame

    @property
    def resolution(self) -> int:
        """Side of its pictures in pixels."""
        return self.model.generator.shape.resolution

    def start(self, target: ProjectionTarget, pose_deg: tuple[float, float], face: FloatArray) -> torch.Tensor | None:
        """From the prior's coefficients, where they mean something to the generator."""
        if not self.shares_prior:
            return None
        coefficients = torch.from_numpy(face).to(target.image.device)
        return starting_latents(self.model, target, coefficients, torch.tensor([pose_deg]))


def latent_space(model: PortraitGenerator, perceptual: PerceptualNetwork | None = None) -> LatentSpace:
    """Latents, pictures, starting latents of a portrait generator, and what its pictures are compared by.

    That is the perceptual network if it is given and the pictures are large enough, else the encoder's features; a
    generator of natural photos has no encoder: there the discriminator's features stand in, else nothing.
    """
    synthesis, encoder, judge = model.generator.synthesis, model.encoder, model.discriminator

    def pyramid(ws: torch.Tensor, resolution: int) -> torch.Tensor:
        return synthesis(ws, resolution=resolution)

    def encode(image: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
        assert encoder is not None
        found = encoder(image, trust)
        return model.generator.mapping(found.z) + found.offset

    too_small = perceptual is not None and model.generator.shape.resolution < perceptual.min_side
    features: Callable[[torch.Tensor], list[torch.Tensor]] | None = None
    stand_in = "none"
    if encoder is not None:
        stand_in, features = ENCODER, lambda image: encoder_features(model, image)
        if perceptual is not None:
            stand_in = TOO_SMALL.format(perceptual.name, perceptual.min_side)
    elif judge is not None:
        stand_in, features = JUDGE, lambda image: judge.features(image)[:_LEVELS]
    if too_small:
        perceptual = None
    return LatentSpace(
        synthesise=synthesis,
        mean=model.latent_mean,
        deviation=model.latent_deviation.clamp(min=1e-3),
        encode=None if encoder is None else encode,
        features=features,
        features_name=stand_in if perceptual is None else perceptual.name,
        perceptual=perceptual,
        pyramid=pyramid,
    )


def encoder_features(model: PortraitGenerator, image: torch.Tensor) -> list[torch.Tensor]:
    """Features [B, C, h, w] per level, finest first, by which pictures [B, 3, R, R] in [-1, 1] are compared."""
    if model.encoder is None:
        raise ValueError("expected a generator with an encoder, got one of natural photos")
    return model.encoder.features(image, torch.ones_like(image[:, :1]), _LEVELS)


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
    if model.encoder is None:
        raise ValueError("expected a generator with an encoder, got one of natural photos")
    codes = pose_codes(pose_deg, model.frame.pose_range_deg).to(coefficients)
    z = torch.cat([coefficients.expand(len(codes), -1), codes], dim=1)
    with torch.no_grad():
        return model.generator.mapping(z) + model.encoder(target.image, target.trust).offset
