"""The skin's tone: ITA, the individual typology angle (Chardon et al. 1991), and the gain that brings skin to one.

ITA = atan((L* - 50) / b*): above 55 degrees very light, 41 to 55 light, 28 to 41 intermediate, 10 to 28 tan, -30 to 10
brown, below dark.
"""

import numpy as np

from ostec.core.types import Array, BoolArray, FloatArray
from ostec.render.colour import from_linear, to_linear

_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE = _XYZ.sum(1)


def ita_deg(colour: Array) -> float:
    """ITA in degrees of an sRGB colour [3] in [0, 1]."""
    ratio = _XYZ @ to_linear(np.asarray(colour, np.float64)) / _WHITE
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio * (29 / 6) ** 2 / 3 + 4 / 29)
    light, yellow = 116 * root[1] - 16, 200 * (root[1] - root[2])
    return float(np.degrees(np.arctan2(light - 50, yellow)))


def skin_colour(albedo: FloatArray, skin: BoolArray) -> FloatArray:
    """[3]: the median sRGB colour of skin [S, S] in an albedo [S, S, 3]."""
    return np.asarray(np.median(albedo[skin], axis=0), np.float32)


def toned(albedo: FloatArray, skin: BoolArray, target_deg: float) -> FloatArray:
    """An albedo whose skin has an ITA; one gain on linear light, found by bisection, clipped at white."""
    own = to_linear(skin_colour(albedo, skin).astype(np.float64))
    low, high = np.log(0.02), np.log(0.98 / own.max())
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if ita_deg(from_linear(own * np.exp(middle))) < target_deg else (low, middle)
    return np.clip(from_linear(to_linear(albedo) * np.float32(np.exp(low))), 0, 1).astype(np.float32)
