"""Eyeballs as a photo shows them: where they look, and a whole iris out of what lies between the lids."""

import numpy as np
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates

from ostec.core.types import Array, BoolArray, DoubleArray, FloatArray, SeenEye
from ostec.heads.texture import SCLERA, Chart, eyeball
from ostec.render.geometry import in_polygon, smoothstep

WIDEST = 0.5
"""Sine of the angle from the line of sight at which an eye may look aside at most."""
IRIS_DEG = (23.0, 38.0)
"""Least and largest half angle of an iris seen from the ball's middle."""
PUPIL, PUPIL_DARK = 0.36, 0.35
"""Radius of the pupil in the iris's, and its brightness beside the iris's at most."""
RIM_DARK = 0.25
"""How much darker the iris is at its rim than the photo shows it, which is blurred there."""
RINGS, TURNS = 32, 180
"""Places of the iris that are looked at."""
LEAST_SEEN = 0.15
"""Share of the iris that must be seen."""
SHINE = 1.5, 0.06
"""An iris is at most so many times, and so much, brighter than the median of its ring; beyond, something mirrors."""
RIM_DEG = 1.8
"""Half of the width over which the iris goes over into the white."""
WHITE = (0.55, 0.9)
"""Shares of what is seen beside the iris that are darker than the white of the eye at least, and at most."""
GREYED, LEAST_WHITE = 0.35, 0.42
"""How far the white's tint is taken back, and its brightness at least."""


def eye_turn(eye: SeenEye, vertices: FloatArray) -> DoubleArray | None:
    """[3, 3]: how an eyeball [V, 3] is turned from straight ahead, by its iris; None where that cannot be."""
    middle, radius = eyeball(vertices)
    inverse, towards = _axes(eye)
    aside = inverse @ (eye.iris[:2] - eye.camera[:, :3] @ middle - eye.camera[:, 3]) / radius
    if np.linalg.norm(aside) > WIDEST:
        return None
    way = aside + towards * np.sqrt(1 - aside @ aside)
    axis = np.cross([0.0, 0.0, 1.0], way)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + way[2]))


def _axes(eye: SeenEye) -> tuple[DoubleArray, DoubleArray]:
    """[3, 2]: pixels to canonical millimetres in the picture's plane; [3]: the unit vector towards the viewer."""
    rows = eye.camera[:, :3]
    inverse = rows.T / (rows**2).sum(1)
    towards = np.cross(rows[0], -rows[1])
    return inverse, towards / np.linalg.norm(towards)


def iris_texture(chart: Chart, vertices: FloatArray, eye: SeenEye, turn: DoubleArray) -> FloatArray | None:
    """An eyeball's texture [S, S, 3] that looks straight ahead; None where too little of the iris is seen.

    Args:
        chart: of the eyeball.
        vertices: [V, 3] of the eyeball, not turned.
        eye: the photo's.
        turn: from :func:`eye_turn`.
    """
    middle, radius = eyeball(vertices)
    inverse, _ = _axes(eye)
    wide = np.degrees(np.arcsin(min(float(np.linalg.norm(inverse[:, 0]) * eye.iris[2]) / radius, 0.7)))
    wide = float(np.clip(wide, *IRIS_DEG))
    polar = _whole_iris(eye, middle, radius, turn, wide)
    if polar is None:
        return None
    at = chart.attribute((vertices - middle) / radius)
    at = at / np.maximum(np.linalg.norm(at, axis=-1, keepdims=True), 1e-6)
    angle = np.degrees(np.arccos(np.clip(at[..., 2], -1, 1)))
    around = np.arctan2(at[..., 1], at[..., 0]) / (2 * np.pi) % 1
    places = np.stack([np.minimum(angle / wide, 1) * RINGS - 0.5, around * TURNS - 0.5])
    padded = np.concatenate([polar[:, -1:], polar, polar[:, :1]], axis=1)
    places[1] += 1
    iris = np.stack([map_coordinates(padded[..., k], places, order=1, mode="nearest") for k in range(3)], axis=-1)
    rim = smoothstep(angle, wide - RIM_DEG, wide + RIM_DEG)[..., None]
    redder = 1 - 0.18 * smoothstep(angle, 40, 75)[..., None] * np.array([0.2, 1, 1])
    shaded = 1 - 0.25 * smoothstep(at[..., 1], 0.15, 0.5)[..., None]  # by the upper lid
    white = _white(eye) * redder
    return chart.padded((iris + (white - iris) * rim) * shaded)


def _whole_iris(eye: SeenEye, middle: DoubleArray, radius: float, turn: DoubleArray, wide: float) -> FloatArray | None:
    """[RINGS, TURNS, 3]: the iris by distance from its middle and angle, round and without what it mirrors."""
    rings = np.arange(RINGS)
    angle = np.radians(wide) * (rings + 0.5)[:, None] / RINGS
    around = 2 * np.pi * (np.arange(TURNS) + 0.5)[None] / TURNS
    aside = np.sin(angle)
    way = np.stack(np.broadcast_arrays(aside * np.cos(around), aside * np.sin(around), np.cos(angle)), axis=-1)
    pixel = (middle + radius * way @ turn.T) @ eye.camera[:, :3].T + eye.camera[:, 3]
    at = pixel.transpose(2, 0, 1)[::-1] - 0.5
    colour = np.stack([map_coordinates(eye.colour[..., k], at, order=1, mode="nearest") for k in range(3)], axis=-1)
    seen = map_coordinates(_open(eye).astype(np.float32), at, order=1, cval=0) > 0.5
    if seen.mean() < LEAST_SEEN:
        return None
    grey = colour.mean(-1)
    matt = seen & (grey < SHINE[0] * _by_ring(grey[..., None], seen) + SHINE[1])
    if not (matt.sum(1) > 4).any():
        return None
    profile = gaussian_filter(_by_ring(colour, matt), (1, 0), mode="nearest")
    streak = 1 + 0.10 * np.sin(23 * around + 2 * np.sin(5 * around)) + 0.06 * np.sin(41 * around)
    made = profile[:, None] * streak[..., None]
    known = gaussian_filter(matt.astype(float), (1, 3), mode=("nearest", "wrap"))
    made = made + (colour - made) * np.where(matt, smoothstep(known, 0.5, 0.95), 0)[..., None]
    return (made * _pupil(profile)[:, None, None]).astype(np.float32)


def _by_ring(values: Array, some: BoolArray) -> DoubleArray:
    """[RINGS, C]: medians of values [RINGS, TURNS, C] over some of each ring; of its neighbours where those are few."""
    enough = np.flatnonzero(some.sum(1) > 4)
    medians = np.array([np.median(values[k][some[k]], axis=0) for k in enough])
    columns = [np.interp(np.arange(len(values)), enough, medians[:, c]) for c in range(values.shape[2])]
    return np.stack(columns, axis=1)


def _pupil(profile: DoubleArray) -> DoubleArray:
    """[RINGS]: factors that give an iris of a small photo a pupil and a rim, and leave one that shows them."""
    share = (np.arange(RINGS) + 0.5) / RINGS
    iris, pupil = float(np.median(profile[share > 0.5].mean(-1))), float(profile[share < PUPIL * 0.7].mean())
    lack = 1 - min(1.0, PUPIL_DARK * iris / max(pupil, 1e-3))
    dark = 1 - lack * (1 - smoothstep(share, PUPIL - 0.07, PUPIL + 0.07))
    return np.asarray(dark * (1 - RIM_DARK * smoothstep(share, 0.8, 1.0)))


def _open(eye: SeenEye) -> BoolArray:
    """[S, S]: pixels between the lids, away from the lashes."""
    size = len(eye.colour)
    at = np.arange(size) + 0.5
    x, y = np.meshgrid(at, at)
    return np.asarray(binary_erosion(in_polygon(x, y, eye.lids), iterations=max(1, size // 42)))


def _white(eye: SeenEye) -> DoubleArray:
    """[3]: the white of an eye as the photo shows it."""
    between = _open(eye)
    row, column = np.nonzero(between)
    aside = np.hypot(column + 0.5 - eye.iris[0], row + 0.5 - eye.iris[1]) > 1.2 * eye.iris[2]
    some = eye.colour[row[aside], column[aside]].astype(np.float64)
    if len(some) < 20:
        return np.array(SCLERA)
    grey = some.mean(-1)
    low, high = np.quantile(grey, WHITE)
    white = np.median(some[(grey >= low) & (grey <= high)], axis=0)
    white = white + (white.mean() - white) * GREYED
    return np.asarray(np.clip(white * max(1.0, LEAST_WHITE / white.mean()), 0, 1))
