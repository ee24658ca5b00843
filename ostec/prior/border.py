"""Near the border of the chart the face is bare skin: what portraits and photos show of hair there is taken back.

Temples, the sides in front of the ears and the top of the forehead are hidden by hair in many portraits, so the linear
model has learnt grey and brown patches there that no coefficient sets apart from shade; and thin ends of hair pass
every mask. There the texture may differ only a little from the skin further inside, continued outwards; hair differs
more.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, DoubleArray, FloatArray
from ostec.prior.carry import screened
from ostec.prior.settings import SkinSettings

_FLOOR = 0.03
"""Added before a logarithm is taken of a colour in [0, 1]."""
_SOFT = 2 / 128
"""Deviation in UV of the features' soft border."""
_FEWEST = 1e-6
"""Weight of a texel without any: the solution is defined where nothing is near."""


@dataclass(frozen=True)
class BareSkin:
    """A texture without hair at its border."""

    texture: FloatArray
    """[T, 3]."""
    hair: FloatArray
    """[T] in [0, 1]: how far the photo shows something else than skin there."""


def bare_skin(
    texture: FloatArray,
    seen: FloatArray,
    trust: FloatArray,
    inside: BoolArray,
    features: BoolArray,
    settings: SkinSettings | None = None,
) -> BareSkin:
    """Hold a texture near the chart's border to the skin further inside.

    Args:
        texture: [T, 3] in [0, 1], what the model says.
        seen: [T, 3] the photo; anything where the trust is zero.
        trust: [T] in [0, 1].
        inside: [S, S] the chart, T texels.
        features: [S, S] eyes, brows and lips, which are no skin and stay as they are.
        settings: the defaults if None.
    """
    s = settings or SkinSettings()
    size = len(inside)
    rim = (ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] / size)[inside]
    free = np.clip((rim - s.rim[0]) / (s.rim[1] - s.rim[0]), 0, 1)
    soft = np.clip(2 * ndimage.gaussian_filter(features.astype(np.float32), _SOFT * size), 0, 1)
    free = np.maximum(free, soft[inside])[:, None]
    made, photo = (np.log(np.clip(x, 0, 1) + _FLOOR) for x in (texture, seen))
    skin = ~features[inside] & (rim > s.interior)
    known = made + (photo - made) * trust[:, None]
    continued = _smoothed(inside, known, np.maximum(trust, s.guess) * skin, s.smooth * size)
    light, chroma = _parts(made - continued)
    length = np.linalg.norm(chroma, axis=-1, keepdims=True) + 1e-9
    held = s.light * np.tanh(light / s.light) + chroma / length * s.chroma * np.tanh(length / s.chroma)
    result = np.exp(made + (1 - free) * (continued + held - made)) - _FLOOR
    light, chroma = _parts(_smoothed(inside, photo, trust, s.hair_smooth * size) - continued)
    light = light[:, 0]
    tinted = np.linalg.norm(chroma, axis=-1) / s.hair_chroma * np.clip(1 - light / s.highlight, 0, 1)
    unlike = np.maximum(-light / s.hair_light, tinted)
    hair = np.clip(2 * unlike - 2, 0, 1) * (1 - free[:, 0]) * (trust > 0)
    return BareSkin(np.clip(result, 0, 1).astype(np.float32), hair.astype(np.float32))


def _parts(difference: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Differences [T, 3] of log colours as light [T, 1] and chroma [T, 3]."""
    light = difference.mean(-1, keepdims=True)
    return light, difference - light


def _smoothed(inside: BoolArray, values: FloatArray, weight: FloatArray, length: float) -> DoubleArray:
    """Values [T, C] smoothed over ``length`` texels, continued harmonically to where the weights [T] are zero."""
    middle = np.average(values, axis=0, weights=weight + _FEWEST)
    return middle + screened(inside, values - middle, weight, _FEWEST, length**2)
