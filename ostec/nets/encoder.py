"""The encoder of the generator that ships: a view, partly trusted, to the latents that draw it whole."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ostec.nets.stylegan2 import DiscriminatorBlock, FullyConnected, GeneratorShape


@dataclass(frozen=True)
class EncoderShape:
    """Width of the encoder; its input is twice as large as its first features."""

    channel_base: int = 2048
    channel_max: int = 192
    hidden: int = 256
    """Width between the last features and the latents."""


@dataclass(frozen=True)
class EncodedView:
    """What the encoder says of a view."""

    z: torch.Tensor
    """[B, Z], standard normal over the training faces."""
    offset: torch.Tensor
    """[B, num_ws, W] added to W = mapping(z), row by row."""


def pose_codes(pose_deg: torch.Tensor, range_deg: tuple[tuple[float, float], tuple[float, float]]) -> torch.Tensor:
    """The last two numbers of Z, [P, 2]: poses (pitch, yaw) [P, 2] so mapped that they are normal over their range."""
    low, high = torch.tensor(range_deg, dtype=torch.float64).T
    share = ((pose_deg.double().cpu() - low) / (high - low)).clamp(0.01, 0.99)
    return (math.sqrt(2) * torch.erfinv(2 * share - 1)).float()


class Encoder(nn.Module):
    """Residual blocks as in StyleGAN2's discriminator on the view folded to half its size."""

    def __init__(self, generator: GeneratorShape, shape: EncoderShape) -> None:
        super().__init__()
        self.generator, self.shape = generator, shape
        inner = GeneratorShape(
            generator.resolution // 2, channel_base=shape.channel_base, channel_max=shape.channel_max
        )
        self.levels = tuple(reversed(inner.resolutions[1:]))
        for resolution in self.levels:
            self.add_module(f"b{resolution}", DiscriminatorBlock(inner, resolution, image_channels=16))
        self.fc = FullyConnected(inner.channels(4) * 16, shape.hidden, activation=True)
        self.to_z = FullyConnected(shape.hidden, generator.z_dim)
        self.to_offset = FullyConnected(shape.hidden, generator.num_ws * generator.w_dim)
        nn.init.zeros_(self.to_offset.weight)
        self.to(memory_format=torch.channels_last)

    def features(self, image: torch.Tensor, trust: torch.Tensor, count: int | None = None) -> list[torch.Tensor]:
        """Outputs of the first ``count`` blocks (default: all), finest first: [B, C, R/4, R/4], ... [B, C, 4, 4].

        Takes what :meth:`forward` takes.
        """
        x = functional.pixel_unshuffle(torch.cat([image, trust * 2 - 1], dim=1), 2)
        x = x.contiguous(memory_format=torch.channels_last)
        found = []
        for resolution in self.levels[:count]:
            x = self.get_submodule(f"b{resolution}")(x)
            found.append(x)
        return found

    def forward(self, image: torch.Tensor, trust: torch.Tensor) -> EncodedView:
        """Encode.

        Args:
            image: [B, 3, R, R] in [-1, 1]; a first guess where it is not trusted.
            trust: [B, 1, R, R] in [0, 1]: 1 where the photo shows the face.
        """
        x = self.fc(self.features(image, trust)[-1].contiguous().flatten(1))
        offset = self.to_offset(x).view(len(x), self.generator.num_ws, self.generator.w_dim)
        return EncodedView(self.to_z(x), offset)
