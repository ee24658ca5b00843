"""A face's texture in another model's layout: for every texel of it, where in the face's layout its colour is.

What is known of a tile is kept as whole numbers, in the same form whether it was just computed or read from a file.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, gaussian_filter

from ostec.core.types import Array, BoolArray, ByteArray, FloatArray, Topology
from ostec.heads.settings import HeadTextureSettings
from ostec.heads.texture import Chart, FaceOnHead, place_on_head

PLACES = 65535
"""Whole number of a texture coordinate of one: at 4096 texels, a step is a sixteenth of a texel."""
SHARES = 255
"""Whole number of a weight of one."""
SMOOTH = 1.5 / 1024
"""Deviation in UV of the blur of the shade, which jumps where the closest point does."""
_AT_ONCE = 1 << 17
"""Texels that are placed at once, which bounds the memory."""


@dataclass(frozen=True)
class TileMap:
    """One tile of a model's layout at S x S texels, laid over the face's; of them N are of the face.

    Where a model has no layout its V vertices stand in for the texels, and ``[V]`` for ``[S, S]``.
    """

    reached: BoolArray
    """[S, S]: texels that have the face's detail, or lie in its shade."""
    place: npt.NDArray[np.uint16]
    """[N, 2]: where in the face's layout, in steps of 1 / :data:`PLACES`; texels row by row."""
    share: ByteArray
    """[N, 3]: weight, own colour and shade of :class:`FaceOnHead`, in steps of 1 / :data:`SHARES`."""

    def unpacked(self) -> FaceOnHead:
        """The same for all texels, [S, S, 2] and [S, S]; where the face does not reach, with a weight of zero."""
        shape = self.reached.shape
        uv, share = np.zeros((*shape, 2), np.float32), np.zeros((*shape, 3), np.float32)
        share[..., 2] = 1
        uv[self.reached] = self.place.astype(np.float32) / np.float32(PLACES)
        share[self.reached] = self.share.astype(np.float32) / np.float32(SHARES)
        return FaceOnHead(uv, share[..., 0], share[..., 1], share[..., 2])

    @property
    def step(self) -> float:
        """Median distance in the face's layout between texels of the face that are neighbours in a row; 0 if none."""
        if self.reached.ndim < 2:
            return 0.0
        at = np.zeros((*self.reached.shape, 2), np.float64)
        at[self.reached] = self.place / PLACES
        both = self.reached[:, 1:] & self.reached[:, :-1]
        steps = np.linalg.norm(at[:, 1:] - at[:, :-1], axis=-1)[both]
        return float(np.median(steps)) if len(steps) else 0.0


def map_tile(
    chart: Chart,
    face: FloatArray,
    topology: Topology,
    vertices: FloatArray,
    normals: FloatArray,
    settings: HeadTextureSettings | None = None,
) -> TileMap:
    """Lay a tile over a face: each texel at the closest point of the face's surface.

    Args:
        chart: of the tile.
        face: [W, 3] the face mesh's vertices.
        topology: of the mesh.
        vertices: [V, 3] of the tile, canonical millimetres.
        normals: [V, 3] unit.
        settings: the defaults if None.
    """
    inside = chart.inside
    points, facing = chart.attribute(vertices)[inside], chart.attribute(normals)[inside]
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
    place, share = np.empty((len(points), 2), np.float32), np.empty((len(points), 3), np.float32)
    for start in range(0, len(points), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        placed = place_on_head(face, topology, points[some], facing[some], settings)
        place[some] = placed.uv
        share[some] = np.stack([placed.weight, placed.own_colour, placed.shade], axis=1)
    if inside.ndim == 2:
        share[:, 2] = _smoothed(share[:, 2], inside)
    parts = np.rint(share * SHARES).astype(np.uint8)
    kept = (parts[:, 0] > 0) | (parts[:, 2] < SHARES)
    reached = np.zeros(inside.shape, bool)
    reached[inside] = kept
    return TileMap(reached, np.rint(np.clip(place[kept], 0, 1) * PLACES).astype(np.uint16), parts[kept])


def _smoothed(values: FloatArray, inside: BoolArray) -> Array:
    """Values [N] of the texels inside a chart [S, S], blurred a little among themselves."""
    sigma = SMOOTH * len(inside)
    spread = np.zeros(inside.shape, np.float32)
    spread[inside] = values
    near = gaussian_filter(inside.astype(np.float32), sigma)
    return np.asarray(gaussian_filter(spread, sigma)[inside] / near[inside])


@dataclass(frozen=True)
class Sheet:
    """Parts that share one picture."""

    parts: tuple[str, ...]
    nearest: npt.NDArray[np.int32] | None = None
    """[2, S, S]: row and column of the nearest texel of any of them; None for a single part: its picture is padded."""

    def joined(self, pictures: Mapping[str, FloatArray], charts: Mapping[str, Chart]) -> FloatArray:
        """The picture [S, S, 3] of the parts' own ones, each taken where its chart is."""
        if self.nearest is None:
            return pictures[self.parts[0]]
        whole = pictures[self.parts[0]].copy()
        for part in self.parts[1:]:
            whole[charts[part].inside] = pictures[part][charts[part].inside]
        return np.asarray(whole[self.nearest[0], self.nearest[1]])


def sheets_of(charts: Mapping[str, Chart], tiles: Mapping[str, tuple[int, int]]) -> list[Sheet]:
    """Which parts share a picture: those of one tile of the layout of which no two lie over each other.

    Args:
        charts: of the parts, all of one size.
        tiles: column and row of each part's tile.
    """
    groups: list[list[str]] = []
    for part, chart in charts.items():
        for group in groups:
            if tiles[group[0]] == tiles[part] and not any(
                (charts[other].inside & chart.inside).any() for other in group
            ):
                group.append(part)
                break
        else:
            groups.append([part])
    return [Sheet(tuple(group), _nearest([charts[part] for part in group])) for group in groups]


def _nearest(charts: Sequence[Chart]) -> npt.NDArray[np.int32] | None:
    if len(charts) == 1:
        return None
    inside = np.any([chart.inside for chart in charts], axis=0)
    return np.asarray(distance_transform_edt(~inside, return_distances=False, return_indices=True), np.int32)
