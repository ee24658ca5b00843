"""Training views of the toy face: small, quick and of known content."""

import torch
from torch.nn import functional

from ostec.core.types import Topology, ViewFrame
from ostec.train.renders import PoseBank, TrainingTextures, hiding_patterns, make_pose_bank
from ostec.train.settings import GeneratorTrainSettings

SIDE, TEXELS, COEFFICIENTS = 16, 32, 4
FRAME = ViewFrame(own_shape=False, ffhq_crop=False)
TINY = GeneratorTrainSettings(
    resolution=SIDE,
    latent=8,
    mapping_layers=1,
    learning_rate=2e-3,
    channel_base=128,
    channel_max=8,
    batch=4,
    grow=(),
    images=40,
    adversarial_from=1_000_000,
    patch=8,
    poses=6,
)


def toy_bank(topology: Topology, count: int = 6) -> PoseBank:
    return make_pose_bank(topology, FRAME, SIDE, count, seed=0)


def toy_textures(topology: Topology, count: int = 5, seed: int = 0) -> TrainingTextures:
    """Smooth random textures, shown whole, with guesses that are a little off; two imagined photos each."""
    random = torch.Generator().manual_seed(seed)
    waves = torch.rand(count, 3, 4, 4, generator=random) * 200 + 20
    colour = functional.interpolate(waves, size=TEXELS, mode="bilinear")
    guess = functional.avg_pool2d(colour, 2)[:, None] * torch.tensor([0.9, 1.1])[:, None, None, None]
    patterns = hiding_patterns(topology, TEXELS)
    return TrainingTextures(
        colour.to(torch.uint8),
        torch.full((count, 1, TEXELS, TEXELS), 255, dtype=torch.uint8),
        guess.clamp(0, 255).to(torch.uint8),
        torch.randint(len(patterns), (count, 2), generator=random),
        patterns,
        torch.randn(count, 2, COEFFICIENTS, generator=random),
        torch.full((count,), torch.inf),
    )
