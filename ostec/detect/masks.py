"""Skin and unoccluded, without parsing weights: a colour model of the face itself, in the UV layout.

In UV every face is in the same place, so what is surely skin (cheeks, nose, forehead between the brows) is known before
looking. Its colour is modelled per photo: log intensity by second-order spherical harmonics of the normals (Ramamoorthi and
Hanrahan 2001: shading of a convex Lambertian surface), log chroma by a constant. What the model does not explain near the
chart's rim (fringe, hair over temples, caps, background at the silhouette) loses its trust; in the middle of the face colour
alone never does, for a beard, a highlight or a cast shadow is face.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ostec.core.types import BoolArray, FloatArray, Topology

_FLOOR = 0.03
"""Added before the logarithm, so that black does not dominate."""


@dataclass(frozen=True)
class MaskSettings:
    """How suspicious the colour model is."""

    evidence: float = 5.5
    """Log odds for skin of a texel that has exactly the predicted colour."""
    doubt: float = -10.0
    """Log odds at which colour alone stops counting: pupils and nostrils are face."""
    interior: float = 8.0
    """Log odds for skin, whatever the colour, far from the rim."""
    middle: float = 15.0
    """More of the same in the middle of the face."""
    rim: float = 0.16
    """Width in UV over which those odds fall to zero towards the rim."""
    forehead: float = 4.0
    """Odds taken off near the hairline."""
    smooth: float = 1.0 / 128
    """Deviation in UV of the blur that makes the decision regional."""
    retreat: float = 5.0 / 256
    """Width in UV of the neighbourhood that a texel which was taken out takes with it."""


@dataclass(frozen=True)
class MaskGuide:
    """What the layout knows before any photo, at one size S."""

    inside: BoolArray
    """[S, S] the chart."""
    rim: FloatArray
    """[S, S] distance in UV from the chart's border."""
    core: BoolArray
    """[S, S] surely skin where visible."""
    hairline: FloatArray
    """[S, S] in [0, 1]: 1 near the top of the forehead."""
    beard: BoolArray
    """[S, S] below the nose, where dark is face."""
    features: BoolArray
    """[S, S] eyes, brows and lips with a margin: no skin, but face whatever their colour."""


def mask_guide(topology: Topology, inside: BoolArray) -> MaskGuide:
    """Prepare the regions of a layout whose chart is ``inside`` [S, S]."""
    size = len(inside)
    rim = (ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] / size).astype(np.float32)
    v = np.broadcast_to(1 - (np.arange(size)[:, None] + 0.5) / size, inside.shape)
    features = np.zeros(inside.shape, bool)
    for name in ("eye_left", "eye_right", "brow_left", "brow_right", "lips"):
        features |= polygon_mask(topology.regions[name], size)
    features = ndimage.binary_dilation(features, iterations=max(1, round(size * 3 / 128)))
    core = (rim > 0.13) & ~features & (v < 0.80)
    hairline = np.clip((v - 0.78) / 0.1, 0, 1).astype(np.float32)
    return MaskGuide(inside, rim, core, hairline, inside & (v < 0.47), inside & features)


def polygon_mask(polygon: FloatArray, size: int) -> BoolArray:
    """Texels [S, S] whose centre lies in a polygon [K, 2] given in UV (even-odd rule)."""
    u = (np.arange(size) + 0.5) / size
    x, y = np.broadcast_to(u, (size, size)), np.broadcast_to(1 - u[:, None], (size, size))
    inside = np.zeros((size, size), bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside


def face_mask(
    colour: FloatArray,
    normal: FloatArray,
    weight: FloatArray,
    guide: MaskGuide,
    settings: MaskSettings | None = None,
) -> FloatArray:
    """How far each texel is unoccluded face.

    Args:
        colour: [S, S, 3] RGB in [0, 1]; anything where ``weight`` is zero.
        normal: [S, S, 3] unit normals in camera axes.
        weight: [S, S] in [0, 1]: cosine of the view angle where visible, else 0.
        guide: the layout's regions at the same size.
        settings: the defaults if None.

    Returns:
        [S, S] in [0, 1]; 1 inside the chart where nothing was seen, and everywhere if too little of the sure skin was seen
        to know its colour.

    Raises:
        ValueError: sizes differ.
    """
    settings = settings or MaskSettings()
    if colour.shape[:2] != guide.inside.shape or weight.shape != guide.inside.shape:
        raise ValueError(f"expected {guide.inside.shape} texels, got {colour.shape[:2]} and {weight.shape}")
    seed = np.where(guide.core & (weight > 0.3), weight, 0.0)
    if np.count_nonzero(seed) < 0.01 * guide.inside.size / 3:
        return guide.inside.astype(np.float32)
    distance = _colour_distance(colour, normal, seed, guide)
    odds = np.maximum(settings.evidence - 0.5 * distance, settings.doubt)
    border = np.clip(1 - guide.rim / settings.rim, 0, 1)
    odds += settings.interior * (1 - border) - settings.forehead * guide.hairline
    odds += settings.middle * ((guide.rim > 0.2) | guide.features) + 4 * guide.beard * (1 - border)
    odds = np.where(weight > 0, np.clip(odds, -8, 8), 0)
    # Normalised over what was seen, so that the unseen has no say.
    sigma = settings.smooth * len(colour)
    seen = ndimage.gaussian_filter((weight > 0).astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(odds, sigma) / np.maximum(seen, 1e-3)
    # Where face and background mix in one pixel the colour is between both: step back from whatever was taken out.
    smooth = ndimage.minimum_filter(np.where(weight > 0, smooth, np.inf), max(3, round(settings.retreat * len(colour)) | 1))
    mask = 1 / (1 + np.exp(-1.5 * np.clip(smooth, -20, 20)))
    return np.where(guide.inside, np.where(weight > 0, mask, 1), 0).astype(np.float32)


def _colour_distance(colour: FloatArray, normal: FloatArray, seed: FloatArray, guide: MaskGuide) -> FloatArray:
    """Squared Mahalanobis distance [S, S] of every texel from the skin predicted there."""
    log = np.log(colour + _FLOOR)
    light = log.mean(-1)
    chroma = (log - light[..., None])[..., [0, 2]]
    harmonics = _harmonics(normal)
    known = seed > 0
    weight = seed
    ridge = np.diag([1e-3, 0.3, 0.3, 0.3, 1, 1, 1, 1, 1]) * seed.sum() * 0.02
    for _ in range(8):
        rows, w = harmonics[known], weight[known][:, None]
        shading = np.linalg.solve(rows.T @ (rows * w) + ridge, rows.T @ (light[known][:, None] * w))[:, 0]
        error = light - harmonics @ shading
        tint = chroma - np.median(chroma[weight > 0.1 * weight.max()], axis=0)
        # Deviation from the median absolute deviation; a floor for photos without any texture.
        spread = 1.48 * np.median(np.abs(error[known])) + 0.02
        spread_tint = 1.48 * np.median(np.abs(tint[known]), axis=0) + 0.015
        weight = seed / (1 + (error / (2 * spread)) ** 2 + ((tint / (2 * spread_tint)) ** 2).sum(-1)) ** 2
    spread, spread_tint = np.clip(spread, 0.08, 0.25), np.clip(spread_tint, 0.03, 0.10)
    # Away from the seeds the extrapolated shading is less sure.
    near = np.clip(1.5 * ndimage.gaussian_filter(guide.core.astype(np.float32), len(colour) * 6 / 128), 0, 1)
    wide = spread * (1 + 1.5 * (1 - near))
    wide_tint = spread_tint * (1 + 0.8 * (1 - near))[..., None]
    return (error / wide) ** 2 + ((tint / wide_tint) ** 2).sum(-1)


def _harmonics(normal: FloatArray) -> FloatArray:
    """Second-order real spherical harmonics [..., 9] of unit normals, without their constants."""
    x, y, z = normal[..., 0], normal[..., 1], normal[..., 2]
    return np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], axis=-1)
