"""The linear texture decoder: broad colours by the albedo model, detail by the texture prior.

In logs of linear light a map is broad(mu + B z) + detail, where mu, B are the albedo model's and ``detail`` is what the
same low-pass leaves of the prior's most probable texture of this face.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from ostec.core.types import BoolArray, FloatArray
from ostec.light.estimate import AlbedoModel, FittedLight
from ostec.light.remove import FLOOR, broad_colours
from ostec.render.colour import from_linear, to_linear
from ostec.render.unwrap import enlarge_inside


@dataclass(frozen=True)
class AlbedoDecoder:
    """Evenly lit textures of one face; S texels a side."""

    mean: torch.Tensor
    """[S, S, 3]: log of linear light, detail included."""
    basis: torch.Tensor
    """[S, S, 3, 3 + K]: three gains, one of each channel, and the model's components."""

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        """[3 + K] -> [1, S, S, 3] linear RGB."""
        return ((self.mean + self.basis @ latent).exp() - FLOOR).clamp(min=0)[None]

    def unlikely(self, latent: torch.Tensor) -> torch.Tensor:
        """Squared length of the components; any gain is as likely as another."""
        return (latent[3:] ** 2).sum()

    def plain(self, latent: FloatArray) -> FloatArray:
        """[3 + K]: the gains alone."""
        return np.concatenate([latent[:3], np.zeros_like(latent[3:])])

    def texture(self, latent: FloatArray) -> FloatArray:
        """[3 + K] -> [S, S, 3] sRGB in [0, 1]."""
        with torch.no_grad():
            linear = self.decode(torch.from_numpy(latent))[0].numpy()
        return np.clip(from_linear(np.clip(linear, 0, 1)), 0, 1).astype(np.float32)


def albedo_decoder(model: AlbedoModel, probable: FloatArray, inside: BoolArray, broad: float) -> AlbedoDecoder:
    """The decoder of one face.

    Args:
        model: of albedo.
        probable: [S, S, 3] in [0, 1] the prior's most probable texture of the face.
        inside: [S, S] the chart.
        broad: deviation in UV of the low-pass that tells broad colours from detail.
    """
    size = len(inside)
    log = np.log(to_linear(probable) + FLOOR)
    detail = log - broad_colours(log, inside, broad)
    flat = np.concatenate([model.mean[..., None], model.basis], axis=2).astype(np.float32)  # [T, 3, 1 + K]
    image = np.zeros((*model.inside.shape, flat.shape[1] * flat.shape[2]), np.float32)
    image[model.inside] = flat.reshape(len(flat), -1)
    smooth = broad_colours(image, model.inside, broad)
    large = enlarge_inside(smooth, model.inside, size).reshape(size, size, 3, -1)
    gains = np.broadcast_to(np.eye(3, dtype=np.float32), (size, size, 3, 3))
    basis = np.concatenate([gains, large[..., 1:]], axis=-1)
    row, column = distance_transform_edt(~inside, return_distances=False, return_indices=True)  # no border shows
    mean = (large[..., 0] + detail)[row, column]
    return AlbedoDecoder(torch.from_numpy(mean), torch.from_numpy(basis[row, column]))


def latent_of(light: FittedLight) -> FloatArray:
    """[3 + K]: what :class:`AlbedoDecoder` takes of the closed-form solution."""
    return np.concatenate([light.gain, light.coefficients]).astype(np.float32)
