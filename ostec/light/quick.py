"""The light of one picture in nine numbers, by least squares of its brightness on harmonics; of a texture in one."""

import math

import numpy as np

from ostec.core.types import BoolArray, DoubleArray, FloatArray, UvObservation
from ostec.light.estimate import AlbedoModel
from ostec.render.colour import LUMA, to_linear
from ostec.render.harmonics import harmonics

BLUR_TEXELS = 55
"""Side of FFHQ-UV's Gaussian window at 1024 texels; in proportion at other sizes."""
_TURNS = 4
_RIDGE = 0.02
_SOFT = 0.15
"""Relative error at which a texel's weight has fallen to a half."""


def grey_harmonics(seen: UvObservation, rotation: DoubleArray, model: AlbedoModel) -> DoubleArray:
    """[9]: harmonics of the scattered light over the mean albedo, in the canonical frame; zeros where nothing is seen.

    Args:
        seen: the picture in the layout, at the model's size.
        rotation: [3, 3] canonical to camera axes.
        model: of albedo; only its mean is used.

    Raises:
        ValueError: the observation has another size than the model.
    """
    if seen.size != model.size:
        raise ValueError(f"expected an observation of {model.size} texels, got {seen.size}")
    shown = (seen.visible & model.inside & (seen.cosine > 0.2))[model.inside]
    albedo = np.exp(model.mean).mean(-1)[shown]
    bright = to_linear(seen.colour)[model.inside].mean(-1)[shown].astype(np.float64) / albedo
    terms = harmonics(seen.normal[model.inside][shown].astype(np.float64) @ rotation)
    found = np.zeros(9)
    if len(bright) < terms.shape[1]:
        return found
    hold = _RIDGE * len(bright) * np.diag([0.0, *[1.0] * 8])
    weight = np.ones(len(bright))
    for _ in range(_TURNS):
        normal = (terms * weight[:, None]).T @ terms + hold
        found = np.linalg.solve(normal, (terms * weight[:, None]).T @ bright)
        error = (bright - terms @ found) / max(float(bright.mean()), 1e-6)
        weight = 1 / (1 + (error / _SOFT) ** 2)
    return np.asarray(found)


def symmetry_error(image: FloatArray, valid: BoolArray) -> float:
    """Brightness symmetry error, FFHQ-UV's BS Error: ||B(Y) - F(B(Y))||_1, the mean over the texels, 0 to 255.

    Y is the luma (BT.601, 0 to 255), F the flip left to right, B a Gaussian blur of 55 x 55 texels at 1024. Light that
    comes from one side makes it large; a texture equal to its mirror image has 0. Their repository holds no code
    of it: the luma, the window's deviation (OpenCV's, 8.6 texels) and its growth with the size, and that texels outside
    ``valid`` neither count nor blur into those inside are choices made here, so compare with the paper's table with
    care.

    Args:
        image: [S, S, 3] in [0, 1].
        valid: [S, S]: the chart; texels whose mirror image is not in it do not count.
    """
    import cv2

    both = valid & valid[:, ::-1]
    if not both.any():
        return math.nan
    side = round(BLUR_TEXELS * len(image) / 1024) | 1
    weight = both.astype(np.float32)

    def blurred(plane: FloatArray) -> FloatArray:
        return np.asarray(cv2.GaussianBlur(plane, (side, side), 0, borderType=cv2.BORDER_CONSTANT), np.float32)

    luma = blurred(255 * (image @ LUMA) * weight) / np.maximum(blurred(weight), 1e-6)
    return float(np.abs(luma - luma[:, ::-1])[both].mean(dtype=np.float64))
