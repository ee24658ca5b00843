"""Real spherical harmonics to the second order: the functions, light as their coefficients, published orders of them.

Order here: 1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1, without constants. The light that a convex Lambertian surface
scatters is a sum of these functions of its normal (Ramamoorthi and Hanrahan 2001).
"""

import numpy as np
import torch

from ostec.core.types import Array, DoubleArray

_NORM = np.array([1, 3, 3, 3, 15, 15, 15, 15 / 4, 5 / 4]) / (4 * np.pi)
"""Squares of the constants of orthonormal harmonics."""
_LAMBERT = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5)
"""What max(0, cos) makes of each band."""
_PUBLISHED = (0, 2, 3, 1, 4, 6, 8, 5, 7)
"""Which of our functions each of Deep3DFaceRecon's is; FaceVerse has the same."""
_SIGNS = np.array([1, -1, 1, -1, 1, -1, 1, -1, 1])
_BANDS = np.pi * np.array([1] + [2 / np.sqrt(3)] * 3 + [2 / np.sqrt(8)] * 5)
_CONSTANTS = np.array([1 / np.sqrt(4 * np.pi)] + [np.sqrt(3 / (4 * np.pi))] * 3 + [3 * np.sqrt(5 / (12 * np.pi))] * 5)
_FACTORS = _SIGNS * _BANDS * _CONSTANTS * np.array([1, 1, 1, 1, 1, 1, 0.5 / np.sqrt(3), 1, 0.5])
_CONSTANT_TERM = 0.8
"""Light that Deep3DFaceRecon adds to its first number."""


def harmonics(normals: Array) -> Array:
    """Real spherical harmonics up to the second order of unit normals [..., 3], without their constants.

    Returns:
        [..., 9]: 1, x, y, z, xy, xz, yz, x^2 - y^2, 3z^2 - 1.
    """
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], axis=-1)


def harmonics_tensor(normals: torch.Tensor) -> torch.Tensor:
    """:func:`harmonics` of a tensor, differentiable."""
    x, y, z = normals.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], dim=-1)


def light_harmonics(directions: Array, lamps: Array, even: Array) -> DoubleArray:
    """[9, 3]: coefficients of the scattered light of lamps, without shadows.

    Args:
        directions: [D, 3] unit, towards the lamps.
        lamps: [D, 3] linear RGB: a surface that faces a lamp gets this much of its light.
        even: [3] light that comes to every place alike.
    """
    found = (_LAMBERT * _NORM)[:, None] * (harmonics(directions).T @ lamps)
    found[0] += even
    return np.asarray(found, np.float64)


def scattered_light(coefficients: Array, normals: Array) -> Array:
    """[..., 3]: light that normals [..., 3] scatter, by coefficients [9, 3]."""
    return np.asarray(harmonics(normals) @ coefficients)


def from_published(numbers: Array, channels_first: bool) -> DoubleArray:
    """The 27 numbers of a published network as our coefficients [9, 3].

    Args:
        numbers: [27].
        channels_first: Deep3DFaceRecon has [3, 9] and adds 0.8 to each channel's first; FaceVerse has [9, 3].
    """
    given = np.asarray(numbers, np.float64)
    gamma = given.reshape(3, 9).T + np.eye(9)[:, :1] * _CONSTANT_TERM if channels_first else given.reshape(9, 3)
    found = np.zeros((9, 3))
    found[list(_PUBLISHED)] = gamma * _FACTORS[:, None]
    return found


def to_published(coefficients: Array, channels_first: bool) -> DoubleArray:
    """The inverse of :func:`from_published`: [27]."""
    gamma = np.asarray(coefficients, np.float64)[list(_PUBLISHED)] / _FACTORS[:, None]
    if not channels_first:
        return np.asarray(gamma.reshape(27))
    gamma[0] -= _CONSTANT_TERM
    return np.asarray(gamma.T.reshape(27))


def radiance_of(coefficients: Array) -> DoubleArray:
    """Coefficients [9, 3] of the light that comes from each direction, by those of the light that is scattered."""
    return np.asarray(coefficients / _LAMBERT[:, None], np.float64)
