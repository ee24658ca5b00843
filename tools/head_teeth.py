"""Teeth and gums along an arch: rounded crowns of anatomical widths, and a band of gum over their roots."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ostec.core.types import DoubleArray, IntArray

WIDTHS = {"upper": (8.6, 6.6, 7.6, 7.0, 6.8, 10.2, 9.8), "lower": (5.3, 5.9, 6.9, 7.0, 7.1, 11.2, 10.7)}
"""Millimetres along the arch, from the middle incisor to the second molar (Wheeler's Dental Anatomy)."""
HEIGHTS = {"upper": (10.0, 8.8, 9.6, 8.2, 7.6, 7.2, 6.8), "lower": (8.6, 8.8, 9.4, 8.2, 7.8, 7.2, 6.8)}
DEPTHS = (5.6, 5.4, 6.4, 8.4, 8.6, 10.4, 10.0)
BITE_MM = {"upper": -4.2, "lower": -4.7}
"""The edge of the incisors from the end of MakeHuman's band of teeth."""
TAPER = 0.22
"""How much narrower a crown is at its root."""
AROUND, ALONG = 12, 8
GUM_STEPS, GUM_AROUND, GUM_HEIGHT = 61, 14, 6.0


@dataclass(frozen=True)
class Piece:
    """A closed or open band of quads."""

    vertices: DoubleArray
    """[V, 3] millimetres."""
    faces: IntArray
    """[F, 4], counter-clockwise from outside."""


class Arch:
    """The curve that the front of the teeth follows: depth as an even polynomial of the distance from the middle."""

    def __init__(self, band: DoubleArray, which: str) -> None:
        """Fit it to the front of MakeHuman's band of teeth [V, 3], stretched to the length that all teeth need."""
        side = np.abs(band[:, 0])
        edges = np.linspace(0, side.max(), 9)
        front = [
            (side[near].mean(), band[near, 2].max())
            for low, high in pairwise(edges)
            for near in [(side >= low) & (side <= high)]
            if near.any()
        ]
        x, z = np.array(front).T
        found = np.linalg.lstsq(np.stack([x**0, x**2, x**4], axis=1), z, rcond=None)[0]
        self._x = np.linspace(0, side.max() * 1.02, 400)
        self._z = found[0] + found[1] * self._x**2 + found[2] * self._x**4
        self._s = np.r_[0, np.cumsum(np.hypot(np.diff(self._x), np.diff(self._z)))]
        self._stretch = min(1.0, self._s[-1] / (sum(WIDTHS[which]) + 1.5))

    def __call__(self, along: float) -> tuple[DoubleArray, float]:
        """Point (x, 0, z) at a signed distance from the middle, and the angle of the tangent there."""
        s = min(abs(along) * self._stretch, self._s[-1])
        x, z = np.interp(s, self._s, self._x), np.interp(s, self._s, self._z)
        slope = np.interp(s, self._s[1:], np.diff(self._z) / np.diff(self._x))
        side = 1.0 if along >= 0 else -1.0
        return np.array([side * x, 0, z]), float(side * np.arctan(-slope))


def dentition(arch: Arch, which: str, bite: float) -> tuple[Piece, Piece]:
    """The teeth and the gum of one jaw; ``bite`` is the height of the incisors' edge."""
    up = 1.0 if which == "upper" else -1.0
    crowns, edge = [], 0.0
    for width, height, depth in zip(WIDTHS[which], HEIGHTS[which], DEPTHS, strict=True):
        for side in (1.0, -1.0):
            middle, angle = arch(side * (edge + width / 2))
            crown = _crown(width * 0.985, height, depth)
            points = crown.vertices * [1, up, 1] @ _turn(angle).T
            inwards = _turn(angle) @ [0, 0, -0.42 * depth]
            points += middle + inwards + [0, bite + up * height / 2, 0]
            crowns.append(Piece(points, crown.faces if up > 0 else crown.faces[:, ::-1]))
        edge += width
    return _together(crowns), _gum(arch, which, bite, up)


def _turn(angle: float) -> DoubleArray:
    """[3, 3]: about y."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _crown(width: float, height: float, depth: float) -> Piece:
    """A superellipsoid: x along the arch, root at +y, z outwards."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, ALONG + 1)
    turn = np.linspace(-np.pi, np.pi, AROUND, endpoint=False)
    t, p = np.meshgrid(polar, turn, indexing="ij")
    x, y = _power(np.cos(t), 0.5) * _power(np.cos(p), 0.6), _power(np.sin(t), 0.6)
    z = _power(np.cos(t), 0.5) * _power(np.sin(p), 0.6)
    narrow, thin = 1 - TAPER * (y + 1) / 2, 1 - 0.35 * (1 - y) / 2
    points = np.stack([x * narrow * width / 2, y * height / 2, z * thin * depth / 2], axis=-1).reshape(-1, 3)
    return Piece(points, _grid(ALONG + 1, AROUND))


def _power(values: DoubleArray, exponent: float) -> DoubleArray:
    return np.sign(values) * np.abs(values) ** exponent


def _grid(rows: int, columns: int) -> IntArray:
    """Quads between rows of vertices, closed around: outside is left of a row where the next one lies above it."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    return np.stack([a, a + columns, b + columns, b], axis=-1).reshape(-1, 4)


def _together(pieces: list[Piece]) -> Piece:
    starts = np.cumsum([0, *(len(piece.vertices) for piece in pieces)])
    faces = [piece.faces + start for piece, start in zip(pieces, starts, strict=False)]
    return Piece(np.concatenate([piece.vertices for piece in pieces]), np.concatenate(faces))


def _gum(arch: Arch, which: str, bite: float, up: float) -> Piece:
    """A tube over the roots whose edge dips between the teeth."""
    edges = np.cumsum((0.0, *WIDTHS[which]))
    middles = (edges[:-1] + edges[1:]) / 2
    around = np.linspace(0, 2 * np.pi, GUM_AROUND, endpoint=False)
    points = []
    for along in np.linspace(-edges[-1] - 1, edges[-1] + 1, GUM_STEPS):
        tooth = min(int(np.searchsorted(edges[1:], abs(along))), len(middles) - 1)
        within = np.clip((abs(along) - edges[tooth]) / WIDTHS[which][tooth], 0, 1)
        height = np.interp(abs(along), middles, HEIGHTS[which]) - 1.2 * (2 * within - 1) ** 2
        depth = np.interp(abs(along), middles, DEPTHS)
        middle, angle = arch(along)
        outwards = _turn(angle) @ [0, 0, 1]
        centre = middle - 0.42 * depth * outwards + [0, bite + up * (0.8 * height + GUM_HEIGHT), 0]
        ring = np.cos(around)[:, None] * outwards * (depth / 2 + 0.35)
        points.append(centre + ring + np.sin(around)[:, None] * [0, GUM_HEIGHT, 0])
    return Piece(np.concatenate(points), _grid(GUM_STEPS, GUM_AROUND))
