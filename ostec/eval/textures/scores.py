"""Figures of a single texture, and of a set of them, without a truth: pure functions, and the coder of identities."""

import math

import numpy as np
import torch
from scipy import ndimage

from ostec.core.types import BoolArray, ByteArray, DoubleArray, FloatArray
from ostec.eval.scores import LUMA, RIM_PX, gradient_energy
from ostec.io.images import resize_image, to_bytes
from ostec.prior.linear import LinearPrior
from ostec.prior.settings import PriorSettings

BLUR_TEXELS = 55
"""Side of FFHQ-UV's Gaussian window at 1024 texels; in proportion at other sizes."""
DUPLICATE_RMS = 2 / 255
"""Textures whose small copies differ by less in root mean square are near-identical. A copy shrunk to half and enlarged
again differs by 0.2 / 255, the nearest two of 24 completed faces by 17 / 255."""
COPY_SIDE = 16
"""Side of a small copy, by which twins are found."""


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


def energy_db(image: FloatArray, valid: BoolArray) -> float:
    """Mean gradient energy (Sobel, of the grey picture) inside ``valid`` in dB; a flat texture has -120."""
    inner = ndimage.binary_erosion(valid, iterations=RIM_PX)
    if not inner.any():
        return math.nan
    return 10 * math.log10(max(float(gradient_energy(image)[inner].mean(dtype=np.float64)), 1e-12))


class Coder:
    """Textures to coefficients of the prior, from all texels of the chart, as ``prior.linear.solve_coefficients``.

    With S the posterior covariance under ``tau`` and R = I - S, the solutions for textures that the model itself draws
    have the covariance R R + R S / tau; ``scale`` is the root of its mean diagonal: such a set has a spread of 1.
    """

    def __init__(self, prior: LinearPrior, tau: float | None = None) -> None:
        """``tau`` as in ``PriorSettings``."""
        self._prior = prior
        tau = PriorSettings().tau if tau is None else tau
        flat = prior.basis.reshape(-1, prior.basis.shape[-1])
        self._weighted = (prior.basis / (prior.noise * tau)[:, None, None]).reshape(flat.shape)
        self._normal = flat.T @ self._weighted + torch.eye(flat.shape[1])
        s = torch.linalg.inv(self._normal)
        r = torch.eye(flat.shape[1]) - s
        self.scale = float((r @ r + r @ s / tau).diagonal().mean().sqrt())

    def __call__(self, image: FloatArray) -> FloatArray:
        """Coefficients [K] of a texture [S, S, 3] of any size, over ``scale``."""
        prior = self._prior
        small = image if len(image) == prior.size else resize_image(image, prior.size, prior.size)
        difference = torch.from_numpy(small[prior.inside]) - prior.mean
        z = torch.linalg.solve(self._normal, self._weighted.T @ difference.reshape(-1))
        return np.asarray(z.numpy() / self.scale, np.float32)


def distances(codes: FloatArray) -> DoubleArray:
    """Root mean square distance [N] of each of [N, K] coefficients from their mean; NaN for none or fewer than two."""
    if not codes.size or len(codes) < 2:
        return np.full(len(codes), np.nan)
    return np.sqrt(((codes - codes.mean(0)) ** 2).mean(axis=1, dtype=np.float64))


def spread(codes: FloatArray) -> float:
    """Root mean square of :func:`distances`."""
    return float(np.sqrt((distances(codes) ** 2).mean()))


def small_copy(image: FloatArray, valid: BoolArray) -> ByteArray:
    """[16, 16, 3] means of the valid texels, 0 to 255; 0 where less than half of a block is valid."""
    weight = valid.astype(np.float32)[..., None]
    share = resize_image(weight, COPY_SIDE, COPY_SIDE)
    total = resize_image(image * weight, COPY_SIDE, COPY_SIDE)
    return np.asarray(to_bytes(np.where(share < 0.5, np.float32(0), total / np.maximum(share, 1e-6))), np.uint8)


def twins(copies: ByteArray, limit: float = DUPLICATE_RMS, block: int = 256) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of :func:`small_copy` [N, 16, 16, 3] that differ by less than ``limit`` (of 1) in RMS.

    Blocks that are empty in all copies do not count.
    """
    used = copies.any(axis=(0, 3))
    if not used.any():
        return []
    flat = copies[:, used].reshape(len(copies), -1).astype(np.float64)  # in which sums of squares of bytes are exact
    squares, bound = (flat**2).sum(1), (255 * limit) ** 2 * flat.shape[1]
    found: list[tuple[int, int]] = []
    for i in range(0, len(flat), block):
        apart = squares[i : i + block, None] + squares[i:] - 2 * flat[i : i + block] @ flat[i:].T
        found += [(int(i + a), int(i + b)) for a, b in np.argwhere(apart < bound) if a < b]
    return found
