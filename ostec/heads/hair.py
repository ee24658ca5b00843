"""Hair painted on a head's scalp: where it grows, its colour, and strands where the photo does not show it."""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates
from scipy.spatial import cKDTree

from ostec.core.types import Array, FloatArray
from ostec.heads.around import SeenHead
from ostec.render.geometry import smoothstep

AXIS_Z_MM = -20.0
"""Depth of the upright axis through the head, round which the hairline is told."""
HAIRLINE = np.array(
    [
        *((0, 62), (25, 62), (38, 55), (50, 40), (58, 18), (64, -8), (70, -20), (80, -20), (87, 22)),
        *((115, 22), (128, -25), (140, -55), (180, -62)),
    ],
    np.float64,
)
"""Degrees round that axis from the front, and height in millimetres over the eyes where hair begins."""
SOFT_MM, RIM_MM = 7.0, (1.0, 7.0)
"""Half of the hairline's width; distance from the face's own part over which hair begins."""
EAR = ((-48.0, 24.0), (72.0, 78.0), (-70.0, -8.0))
"""Box of the ears on the mean head: heights, widths from which they begin and are, depths."""
EAR_TINT = np.array([1.04, 0.93, 0.92], np.float32)
"""Colour of ears beside the skin's: blood shows."""
TOP_MM = (60.0, 95.0)
"""Height over which the sides of the scalp go over into its top."""
CROWN = np.array([0.0, 0.80, -0.60])
"""Direction of the whorl from the head's middle, from which hair runs down on all sides."""
MIDDLE_MM = np.array([0.0, 25.0, -25.0])
STRAND_MM, STRAND_DEG = 1.1, 14.0
"""Width and length of a strand."""
CONTRAST = (0.12, 0.4)
"""Least and most deviation of strands' brightness."""


def scalp_of(points: FloatArray, face: FloatArray) -> FloatArray:
    """[V] in [0, 1]: how far people have hair at points [V, 3] of the mean head with the face part's [N, 3]."""
    around = np.degrees(np.arctan2(np.abs(points[:, 0]), points[:, 2] - AXIS_Z_MM))
    line = np.interp(around, HAIRLINE[:, 0], HAIRLINE[:, 1])
    scalp = smoothstep(points[:, 1] - line, -SOFT_MM, SOFT_MM) * (1 - ear_of(points))
    if len(face):
        scalp = scalp * smoothstep(cKDTree(face).query(points)[0], *RIM_MM)
    return scalp.astype(np.float32)


def ear_of(points: FloatArray) -> FloatArray:
    """[V] in [0, 1]: how far points [V, 3] of the mean head are ears."""
    (low, high), wide, (back, front) = EAR
    y, z = points[:, 1], points[:, 2]
    box = smoothstep(y, low - 4, low + 4) * (1 - smoothstep(y, high - 2, high + 4))
    box = box * smoothstep(z, back - 4, back + 4) * (1 - smoothstep(z, front - 4, front + 4))
    return (box * smoothstep(np.abs(points[:, 0]), *wide)).astype(np.float32)


def usual_hair(seen: SeenHead, scalp: FloatArray, points: FloatArray) -> FloatArray:
    """[V]: how far there is hair where the photo does not show it: what it shows elsewhere, on top and at the sides."""
    top = smoothstep(points[:, 1], *TOP_MM)
    return (scalp * (seen.share[1] + (seen.share[0] - seen.share[1]) * top)).astype(np.float32)


def strands(points: FloatArray, inside: Array) -> FloatArray:
    """[S, S] of deviation one: strands that run down from the crown; ``points`` [S, S, 3] lie on the mean head."""
    way = points[inside] - MIDDLE_MM
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-6)
    side = np.array([1.0, 0, 0])
    ahead = np.cross(side, CROWN)
    down = np.arccos(np.clip(way @ CROWN, -1, 1))
    turn = np.arctan2(way @ side, way @ ahead) / (2 * np.pi) + 0.5
    rng = np.random.default_rng(0)
    bend = gaussian_filter(rng.normal(size=(256, 64)), (8, 6), mode=("wrap", "nearest")) * 25
    at = np.stack([turn * 256, down * 64 / np.pi])
    turn = turn + 0.012 * map_coordinates(bend, at, order=1, mode="grid-wrap") / np.maximum(np.sin(down), 0.2)
    wanted = np.log2(np.maximum(2 * np.pi * 100 * np.sin(down) / STRAND_MM, 16))  # strands at that distance, levels
    found = np.zeros(len(way))
    long = 180 / STRAND_DEG
    for level in range(4, 11):
        share = np.maximum(1 - np.abs(wanted - level), 0)
        if level == 10:
            share = np.where(wanted > 10, 1, share)
        noise = rng.normal(size=(2**level, 256))
        noise = gaussian_filter1d(gaussian_filter1d(noise, 0.6, axis=0, mode="wrap"), 256 / long / 2.5, axis=1)
        noise /= noise.std()
        some = share > 0
        at = np.stack([turn[some] * 2**level, down[some] * 256 / np.pi])
        found[some] += share[some] * map_coordinates(noise, at, order=1, mode="grid-wrap")
    made = np.zeros(inside.shape, np.float32)
    made[inside] = found / max(float(found.std()), 1e-6)
    return made


def painted(made: Array, hair: FloatArray, colour: FloatArray, strand: FloatArray, contrast: float) -> Array:
    """A tile [S, S, 3] with hair painted on.

    Args:
        made: the tile's skin.
        hair: [S, S] in [0, 1].
        colour: [S, S, 3] of the hair.
        strand: from :func:`strands`.
        contrast: deviation of the strands' brightness.
    """
    cover = smoothstep(hair + 0.06 * strand * (hair > 0.02), 0.3, 0.7)[..., None]
    lock = colour * np.exp(contrast * strand)[..., None]
    return np.asarray(made + (lock - made) * cover)


def hair_contrast(photo: FloatArray, seen: SeenHead) -> float:
    """Deviation of the brightness of hair in a photo [S, S, 3], as a share, without its coarse course."""
    some = (seen.hair > 0.8) & (seen.sharp > 0.5)
    if some.sum() < 10:
        return CONTRAST[0]
    grey = np.log(photo.mean(-1) + 0.03)
    fine = grey - gaussian_filter(grey, 8.0)
    column, row = seen.pixel[some].astype(int).T
    return float(np.clip(fine[row.clip(0, len(fine) - 1), column.clip(0, len(fine) - 1)].std(), *CONTRAST))
