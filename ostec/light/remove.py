"""A face's texture without the photo's light: what the photo shows is divided by its light, what was filled follows.

* What was believed of the photo loses the fitted light, in logs of linear light.
* Where light and albedo do not explain it, and the other half of the face has nothing alike, it is a cast shadow or a
  highlight: what is broader than skin's detail goes over to the most probable albedo, detail stays.
* What was filled keeps its detail; its broad colours are those of the most probable albedo.

How much of the light is taken out depends on how uneven it is: of even light nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from ostec.core.types import Array, BoolArray, FloatArray, UvObservation
from ostec.light.estimate import AlbedoModel, FittedLight, fit_light
from ostec.light.settings import LightSettings
from ostec.light.transfer import LightTransfer
from ostec.render.colour import from_linear, to_linear
from ostec.render.geometry import smoothstep
from ostec.render.unwrap import enlarge_inside, resize_map
from ostec.render.uv import UvLayout

FLOOR = 0.004
"""Added to linear light before its log: black holds no colour."""


@dataclass(frozen=True)
class Delit:
    """A texture without light."""

    albedo: FloatArray
    """[S, S, 3] sRGB in [0, 1]."""
    light: FittedLight
    strength: float
    """0: nothing was taken out; 1: all of the light."""
    unevenness: float
    """Deviation of the log of the light over the face."""
    shine: FloatArray
    """[s, s] at the model's size: how far highlights stand above the skin, in logs."""


def light_of_photo(
    seen: UvObservation, layout: UvLayout, transfer: LightTransfer, model: AlbedoModel, settings: LightSettings
) -> tuple[FittedLight, Array, Array]:
    """Fit the light of an observation of the model's size or a multiple; also log light seen [T, 3] and its weight."""
    ramp = np.clip((seen.cosine - settings.cosine[0]) / (settings.cosine[1] - settings.cosine[0]), 0, 1)
    weight = (seen.visible * seen.mask * ramp).astype(np.float32)
    total = resize_map(weight, model.size)
    mean = resize_map(to_linear(seen.colour) * weight[..., None], model.size) / np.maximum(total, 1e-6)[..., None]
    log = np.log(mean + FLOOR)[model.inside]
    passed = layout.attribute(torch.from_numpy(transfer.scattered)).numpy()[model.inside]
    return fit_light(log, total[model.inside], passed, model, settings), log, total[model.inside]


def remove_light(
    colour: FloatArray,
    believed: FloatArray,
    seen: UvObservation,
    layouts: tuple[UvLayout, UvLayout],
    transfer: LightTransfer,
    model: AlbedoModel,
    settings: LightSettings | None = None,
) -> Delit:
    """Take the light out of a completed texture.

    Args:
        colour: [S, S, 3] sRGB, complete.
        believed: [S, S] in [0, 1]: how far a texel is the photo's.
        seen: the photo in the layout, at the model's size or a multiple.
        layouts: the chart at the model's size and at S.
        transfer: of the face.
        model: of albedo.
        settings: the defaults if None.
    """
    settings = settings or LightSettings()
    small, large = layouts
    light, log, weight = light_of_photo(seen, small, transfer, model, settings)
    passed = np.c_[transfer.scattered, np.ones(len(transfer.scattered))] @ light.lamps
    shade = np.log(np.maximum(passed, settings.least)).astype(np.float32)  # [V, 3]
    here = small.attribute(torch.from_numpy(shade)).numpy()[model.inside]
    uneven = float(np.sqrt(np.average((here.mean(1) - np.average(here.mean(1), weights=weight)) ** 2, weights=weight)))
    strength = float(smoothstep(np.array(uneven), *settings.uneven))
    size, inside = large.size, large.inside.numpy()
    texels = np.log(to_linear(colour) + FLOOR)
    bright = large.attribute(torch.from_numpy(shade)).numpy()
    odd, shine = _outliers(log - here - light.albedo, weight, light.weight, model, settings)
    photo = texels - strength * (bright + _enlarged(odd, model, size))
    probable = _enlarged(_image(light.albedo, model), model, size)
    reach = settings.broad * size
    filled = texels - _broad(texels, inside, reach) + _broad(probable, inside, reach)
    mixed = photo + strength * (filled - photo) * (1 - believed[..., None])
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    albedo = from_linear(np.clip(np.exp(mixed) - FLOOR, 0, 1))[nearest[0], nearest[1]]
    return Delit(albedo.astype(np.float32), light, strength, uneven, shine)


def _outliers(
    error: Array, weight: Array, trust: Array, model: AlbedoModel, settings: LightSettings
) -> tuple[FloatArray, FloatArray]:
    """What neither light nor albedo explain and only one half of the face has, [s, s, 3]; highlights, [s, s]."""
    image, share = _image(error, model), _image(weight[:, None], model)
    mean = ndimage.gaussian_filter(image * share, (1, 1, 0)) / np.maximum(
        ndimage.gaussian_filter(share, (1, 1, 0)), 1e-3
    )
    grey = mean.mean(-1)
    deviation = np.sqrt(_image(model.noise[:, None], model)[..., 0] + settings.spread**2)
    dark, bright = np.minimum(grey, 0), np.maximum(grey, 0)
    alone = np.minimum(dark - dark[:, ::-1], 0) + np.maximum(bright - bright[:, ::-1] * 0.5, 0)
    sure = smoothstep(np.abs(alone) / deviation, *settings.outlier)
    keep = np.where(np.abs(grey) > 1e-6, alone / np.where(np.abs(grey) > 1e-6, grey, 1), 0)
    odd = mean * np.clip(keep * sure, 0, 1)[..., None] * (share > 0.1)
    return odd.astype(np.float32), (bright * share[..., 0]).astype(np.float32)


def _image(values: Array, model: AlbedoModel) -> FloatArray:
    """Texels [T, C] as [s, s, C], zero outside the chart."""
    out = np.zeros((*model.inside.shape, values.shape[-1]), np.float32)
    out[model.inside] = values
    return out


def _enlarged(image: FloatArray, model: AlbedoModel, size: int) -> FloatArray:
    return enlarge_inside(image, model.inside, size)


def _broad(values: Array, inside: BoolArray, reach: float) -> FloatArray:
    """Values [S, S, 3] without detail, within the chart."""
    share = ndimage.gaussian_filter(inside.astype(np.float32), reach, truncate=2.5)
    held = ndimage.gaussian_filter(values * inside[..., None], (reach, reach, 0), truncate=2.5)
    return np.asarray(held / np.maximum(share, 1e-3)[..., None], np.float32)
