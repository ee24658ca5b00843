"""A face's texture without the photo's light: what the photo shows is divided by its light, what was filled follows.

* What was believed of the photo loses the fitted light, in logs of linear light.
* What light and albedo do not explain goes over to the most probable albedo as far as it is the light's error, or a
  cast shadow or highlight that the other half of the face does not have; detail stays.
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

BROAD_SIDE = 256
"""Side at which broad differences are found."""


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
    # The face's shape is not known finer than the model's texels.
    bright = _enlarged(_image(here, model), model, size)
    error = log - here - light.albedo
    odd = _unexplained(error, here, weight, model, settings)
    shine = _image(np.maximum(error.mean(-1, keepdims=True), 0) * weight[:, None], model)[..., 0]
    photo = texels - strength * (bright + _enlarged(odd, model, size))
    probable = _enlarged(_image(light.albedo, model), model, size)
    filled = texels - broad_colours(texels - probable, inside, settings.broad)
    mixed = photo + strength * (filled - photo) * (1 - believed[..., None])
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    albedo = from_linear(np.clip(np.exp(mixed) - FLOOR, 0, 1))[nearest[0], nearest[1]]
    return Delit(albedo.astype(np.float32), light, strength, uneven, shine)


def _unexplained(error: Array, shade: Array, weight: Array, model: AlbedoModel, settings: LightSettings) -> FloatArray:
    """What is broad and no albedo of this face, [s, s, 3]: errors of the light's edges, cast shadows, highlights.

    Of what light and albedo leave unexplained, a part is this face's own albedo, with the variance of the model, and a
    part the light's error, with a deviation that grows with how the light changes from texel to texel and lies above or
    below its mean (a Wiener filter). Shadows and highlights of one half of the face alone are no albedo.
    """
    share = ndimage.gaussian_filter(_image(weight[:, None], model)[..., 0], 0.7)
    broad = (
        ndimage.gaussian_filter(_image(error * weight[:, None], model), (0.7, 0.7, 0))
        / np.maximum(share, 0.05)[..., None]
    )
    inside = model.inside
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    light = _image(shade, model).mean(-1)[nearest[0], nearest[1]]
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(light, 0.7)))
    doubt = (settings.edge * slope) ** 2 + (settings.doubt * (light - light[inside].mean())) ** 2
    own = _image(model.noise[:, None], model)[..., 0][nearest[0], nearest[1]]
    grey = broad.mean(-1)
    dark, bright = np.minimum(grey, 0), np.maximum(grey, 0)
    alone = np.minimum(dark - dark[:, ::-1], 0) + np.maximum(bright - bright[:, ::-1], 0)
    doubt = doubt + alone**2 * smoothstep(np.abs(alone) / np.sqrt(own + settings.spread**2), *settings.outlier) * 4
    kept_grey, kept_tint = own / (own + doubt), settings.tint * own / (settings.tint * own + doubt)
    odd = broad - kept_grey[..., None] * grey[..., None] - kept_tint[..., None] * (broad - grey[..., None])
    return np.asarray(odd * (share > 0.1)[..., None], np.float32)


def _image(values: Array, model: AlbedoModel) -> FloatArray:
    """Texels [T, C] as [s, s, C], zero outside the chart."""
    out = np.zeros((*model.inside.shape, values.shape[-1]), np.float32)
    out[model.inside] = values
    return out


def _enlarged(image: FloatArray, model: AlbedoModel, size: int) -> FloatArray:
    return enlarge_inside(image, model.inside, size)


def broad_colours(values: Array, inside: BoolArray, reach: float) -> FloatArray:
    """Values [S, S, C] without what is finer than ``reach`` (UV), within the chart."""
    size = len(values)
    small = min(size, BROAD_SIDE)
    held = resize_map(np.dstack([values * inside[..., None], inside]).astype(np.float32), small)
    held = ndimage.gaussian_filter(held, (reach * small, reach * small, 0), truncate=2.5)
    return resize_map(held[..., :-1] / np.maximum(held[..., -1:], 1e-3), size)
