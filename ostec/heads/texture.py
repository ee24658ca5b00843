"""A finished face texture on a full head: carried over by the closest surface, its skin colour beyond the face."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from scipy.ndimage import distance_transform_edt, gaussian_filter
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from ostec.core.types import Array, BoolArray, DoubleArray, FloatArray, IntArray, Topology
from ostec.heads.settings import HeadTextureSettings
from ostec.render.geometry import in_polygon, smoothstep, vertex_normals
from ostec.render.rasterize import sample_texture
from ostec.render.surface import border_edges, closest_points, cotangent_laplacian
from ostec.render.uv import bake_chart
from ostec.stitch.blend import low_pass

NO_SKIN = ("eye_left", "eye_right", "brow_left", "brow_right", "lips", "mouth")
"""Regions of the face's layout whose colour is not the skin's."""


@dataclass(frozen=True)
class FaceOnHead:
    """The face's texture at each of a head's V points: vertices, or texels of a tile, then [S, S] for [V]."""

    uv: FloatArray
    """[V, 2]: where in the face's layout."""
    weight: FloatArray
    """[V] in [0, 1]: how far the point has the face's detail."""
    own_colour: FloatArray
    """[V] in [0, 1]: how far that is on the face's own colour, rather than on the carried one."""
    shade: FloatArray
    """[V] in [0, 1]: factor of the colour; low inside nostrils and behind the lips."""

    def at(self, ids: IntArray) -> "FaceOnHead":
        """The same for some of the points."""
        return FaceOnHead(self.uv[ids], self.weight[ids], self.own_colour[ids], self.shade[ids])


class Chart:
    """One tile of a head's layout, or a face's, baked at one size; rows from the top."""

    def __init__(self, uv: FloatArray, triangles: IntArray, size: int) -> None:
        """Rasterise ``uv`` [V, 2] in [0, 1] and ``triangles`` [F, 3] at ``size`` x ``size`` texels."""
        self._layout = bake_chart(uv, triangles, size)
        self.inside: BoolArray = self._layout.inside.numpy()
        """[S, S]: texels whose centre lies in the chart."""

    def attribute(self, values: Array) -> FloatArray:
        """[V, C] -> [S, S, C], zero outside."""
        return self._layout.attribute(torch.as_tensor(np.asarray(values, np.float32))).numpy()

    def padded(self, picture: Array) -> FloatArray:
        """A picture [S, S, C] that outside the chart repeats the nearest texel inside, limited to [0, 1]."""
        row, column = self._nearest
        return np.clip(picture[row, column], 0, 1).astype(np.float32)

    @cached_property
    def _nearest(self) -> IntArray:
        """[2, S, S]: row and column of the nearest texel inside."""
        return np.asarray(distance_transform_edt(~self.inside, return_distances=False, return_indices=True), np.int32)

    @cached_property
    def noise(self) -> DoubleArray:
        """[S, S]: slightly blurred noise, the same for every chart of this size."""
        return np.asarray(gaussian_filter(np.random.default_rng(0).normal(size=self.inside.shape), 1.2))


def surface_normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """[V, 3] unit normals of a mesh, weighted by area, computed in double precision."""
    exact = vertex_normals(torch.as_tensor(vertices.astype(np.float64)), torch.as_tensor(triangles))
    return exact.numpy().astype(np.float32)


def place_on_head(
    face: FloatArray,
    topology: Topology,
    vertices: FloatArray,
    normals: FloatArray,
    settings: HeadTextureSettings | None = None,
) -> FaceOnHead:
    """Where each vertex of a head, or any other point of its surface, lies on the face mesh.

    Args:
        face: [W, 3] the mesh's vertices.
        topology: of the mesh.
        vertices: [V, 3] the head's, canonical millimetres.
        normals: [V, 3] unit normals there.
        settings: the defaults if None.
    """
    settings = settings or HeadTextureSettings()
    near = closest_points(face, topology.triangles, vertices, normals, least_cosine=0.2)
    uv = (topology.uv[near.vertices] * near.weights[..., None]).sum(1)
    point = (face[near.vertices] * near.weights[..., None]).sum(1)
    rim = np.unique(border_edges(topology.triangles))
    inwards = cKDTree(face[rim]).query(point)[0]
    weight = smoothstep(inwards, *settings.rim_mm) * (1 - smoothstep(near.distance, *settings.off_mm))
    corners = face[near.vertices]
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    behind = ((vertices - point) * outwards).sum(1) < 0
    sunk = smoothstep(inwards, *settings.rim_mm) * near.distance * behind
    shade = 1 - settings.dark * smoothstep(sunk, *settings.sunk_mm)
    own = smoothstep(inwards, *settings.colour_mm)
    return FaceOnHead(*(values.astype(np.float32) for values in (uv, weight, own, shade)))


def plain_skin(inside: BoolArray, topology: Topology) -> BoolArray:
    """[S, S]: where a face's layout has plain skin: away from the rim, no eyes, brows and lips."""
    size = len(inside)
    depth = distance_transform_edt(inside) / size
    skin = inside & (depth > min(0.1, 0.5 * float(depth.max())))
    rows, columns = np.nonzero(skin)
    u, v = (columns + 0.5) / size, 1 - (rows + 0.5) / size
    for name in NO_SKIN:
        if name in topology.regions:
            skin[rows, columns] &= ~in_polygon(u, v, topology.regions[name])
    return skin


def skin_of(texture: FloatArray, plain: BoolArray) -> BoolArray:
    """[S, S]: those texels of :func:`plain_skin` that are neither in shadow nor shine."""
    grey = texture.mean(-1)
    low, high = np.quantile(grey[plain], (0.25, 0.9)) if plain.any() else (0, 1)
    return np.asarray(plain & (grey >= low) & (grey <= high))


def carry_colour(
    vertices: FloatArray,
    triangles: IntArray,
    known: FloatArray,
    weight: FloatArray,
    skin: FloatArray,
    settings: HeadTextureSettings | None = None,
) -> FloatArray:
    """Colours of a surface that agree with known ones and beyond them go over smoothly into the skin's: [V, 3].

    The screened Poisson equation: as smooth as possible, held by the known colours, drawn to the mean over the reach.

    Args:
        vertices: [V, 3] millimetres.
        triangles: [F, 3].
        known: [V, 3] colours.
        weight: [V] in [0, 1] how far each is known.
        skin: [3] mean skin colour, or [V, 3].
        settings: the defaults if None.
    """
    settings = settings or HeadTextureSettings()
    unlike = np.linalg.norm(known - skin, axis=1) / settings.unlike
    held = weight / (1 + unlike**2) * settings.hold
    return np.clip(screened(vertices, triangles, known, held, skin, settings.reach_mm), 0, 1).astype(np.float32)


def screened(
    vertices: FloatArray, triangles: IntArray, known: Array, held: Array, target: Array, reach_mm: float
) -> DoubleArray:
    """[V, C]: values as smooth as possible that hold on to ``known`` [V, C] as strongly as ``held`` [V] says.

    Beyond the known ones they are drawn to ``target`` [V, C] or [C] within ``reach_mm``.
    """
    stiffness, area = cotangent_laplacian(vertices.astype(np.float64), triangles)
    system = stiffness + sparse.diags(area * (held + 1 / reach_mm**2))
    right = area[:, None] * (held[:, None] * known + target / reach_mm**2)
    return np.asarray(splu(system.tocsc()).solve(right.astype(np.float64)))


def sample(texture: FloatArray, uv: FloatArray) -> FloatArray:
    """Colours [..., C] of a texture [S, S, C] at ``uv`` [..., 2]."""
    flat = torch.as_tensor(uv.reshape(1, 1, -1, 2))
    return sample_texture(torch.as_tensor(texture)[None], flat)[0, 0].numpy().reshape(*uv.shape[:-1], -1)


@dataclass(frozen=True)
class FaceTexture:
    """A face's texture of S x S texels, taken apart."""

    colour: FloatArray
    """[S, S, 3]."""
    low: FloatArray
    """[S, S, 3] without detail."""
    skin: FloatArray
    """[3] the median of plain skin."""
    grain: float
    """Deviation of the skin's fine contrast."""


def take_apart(
    texture: FloatArray, inside: BoolArray, skin: BoolArray, settings: HeadTextureSettings | None = None
) -> FaceTexture:
    """Take a face's texture [S, S, 3] apart.

    Args:
        texture: the face's.
        inside: [S, S] its layout's chart.
        skin: [S, S] from :func:`plain_skin`.
        settings: the defaults if None.
    """
    settings = settings or HeadTextureSettings()
    low = low_pass(texture, inside.astype(np.float32), settings.smooth * len(inside))
    plain = skin_of(texture, skin)
    texels = texture[plain] if plain.any() else texture[inside]
    grain = 0.0
    if plain.any():
        grey = texture.mean(-1)
        fine = grey - gaussian_filter(grey, 3 / 1024 * len(grey))
        grain = float(np.median(np.abs(fine[plain])) * 1.48 * settings.grain)
    return FaceTexture(texture, low, np.asarray(np.median(texels, axis=0), np.float32), grain)


def over_texels(chart: Chart, on_head: FaceOnHead) -> FaceOnHead:
    """What is known at the V vertices of a tile, interpolated at its S x S texels: [S, S, 2] and [S, S]; else zero."""
    at = chart.attribute(np.c_[on_head.uv, on_head.weight, on_head.own_colour, on_head.shade])
    return FaceOnHead(at[..., :2], at[..., 2], at[..., 3], at[..., 4])


def part_texture(chart: Chart, at: FaceOnHead, base: FloatArray, texture: FaceTexture) -> FloatArray:
    """The texture [S, S, 3] of one tile: the face's where it is face, else the carried colours with a little grain.

    Args:
        chart: of the tile.
        at: of the tile's texels.
        base: [V, 3] carried colours.
        texture: of the face.
    """
    skin, noise = chart.attribute(base), chart.noise
    made: Array = skin + (texture.grain * noise / max(float(noise.std()), 1e-9))[..., None]
    if at.weight.any():
        both = sample(np.dstack([texture.colour, texture.low]), at.uv)
        low = both[..., 3:]
        made = laid_over(at, made, both[..., :3], low, skin)
    return chart.padded(made)


def laid_over(at: FaceOnHead, made: Array, colour: Array, low: Array, skin: Array) -> Array:
    """The face's colours on those made for its surroundings, [..., 3] as all colours here; not clipped.

    Args:
        at: of the same points.
        made: what is there without the face.
        colour: of the face.
        low: the same without detail.
        skin: carried colours, which the face's detail stands on where its own colour does not count.
    """
    face = colour - low + skin + (low - skin) * at.own_colour[..., None]
    return np.asarray((made + (face - made) * at.weight[..., None]) * at.shade[..., None])


IRIS_DEG, PUPIL_DEG = 29.0, 10.5
"""Half angles of iris and pupil seen from the eyeball's middle: radii of 5.8 and 2.2 mm on one of 12 mm."""
SCLERA = (0.86, 0.83, 0.80)
IRIS = (0.27, 0.18, 0.11)
"""The commonest colour, where the face shows none."""


def iris_colour(texture: FloatArray, topology: Topology) -> FloatArray:
    """[3]: the colour of the irises in a face's texture: the darker part of the eyes without the darkest; limited."""
    size = len(texture)
    v, u = np.meshgrid(1 - (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    found = []
    for name in ("eye_left", "eye_right"):
        if name in topology.regions:
            polygon = topology.regions[name]
            middle, reach = polygon.mean(0), np.ptp(polygon, axis=0)
            near = (np.abs(u - middle[0]) < 0.2 * reach[0]) & (np.abs(v - middle[1]) < 0.25 * reach[1])
            found.append(texture[near])
    texels = np.concatenate(found) if found else np.empty((0, 3), np.float32)
    if len(texels) == 0:
        return np.array(IRIS, np.float32)
    grey = texels.mean(1)
    low, high = np.quantile(grey, (0.2, 0.6))
    colour = np.median(texels[(grey >= low) & (grey <= high)], axis=0)
    return np.clip(colour, 0.06, 0.5).astype(np.float32)


def eye_texture(chart: Chart, vertices: FloatArray, iris: FloatArray) -> FloatArray:
    """An eyeball's texture [S, S, 3]: pupil, iris and sclera by the angle from its forward axis.

    Args:
        chart: of the eyeball.
        vertices: [V, 3] of the eyeball.
        iris: [3] colour.
    """
    middle, radius = eyeball(vertices)
    at = chart.attribute((vertices - middle) / radius)
    forward = at[..., 2] / np.maximum(np.linalg.norm(at, axis=-1), 1e-6)
    angle = np.degrees(np.arccos(np.clip(forward, -1, 1)))
    turn = np.arctan2(at[..., 1], at[..., 0])
    streaks = 1 + 0.10 * np.sin(23 * turn + 2 * np.sin(5 * turn)) + 0.06 * np.sin(41 * turn)
    ring = 1 - 0.55 * smoothstep(angle, IRIS_DEG - 6, IRIS_DEG)
    inner = 1 + 0.25 * (1 - smoothstep(angle, PUPIL_DEG, PUPIL_DEG + 8))
    coloured = iris * (1.25 * streaks * ring * inner)[..., None]
    rim = smoothstep(angle, IRIS_DEG - 1.2, IRIS_DEG + 1.2)[..., None]
    redder = 1 - 0.18 * smoothstep(angle, 40, 75)[..., None] * np.array([0.2, 1, 1])
    out = coloured + (np.array(SCLERA) * redder - coloured) * rim
    out = out * smoothstep(angle, PUPIL_DEG - 1, PUPIL_DEG + 1)[..., None] + 0.02
    return chart.padded(out)


def eyeball(vertices: FloatArray) -> tuple[DoubleArray, float]:
    """Middle [3] and radius of the sphere nearest to an eyeball's vertices, by linear least squares."""
    points = vertices.astype(np.float64)
    found = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
    return found[:3], float(np.sqrt(found[3] + (found[:3] ** 2).sum()))


SPREAD = 0.4
"""Deviation of the low-pass that precedes reading a texture at vertices, in distances between neighbours."""


class AtVertices(Chart):
    """V vertices that stand in for the texels of a tile: ``[V]`` for ``[S, S]``."""

    def __init__(self, count: int) -> None:
        self.inside = np.ones(count, bool)

    def attribute(self, values: Array) -> FloatArray:
        """[V, C] as it is."""
        return np.asarray(values, np.float32)

    def padded(self, picture: Array) -> FloatArray:
        """[V, C] limited to [0, 1]."""
        return np.clip(picture, 0, 1).astype(np.float32)


def for_vertices(texture: FaceTexture, on_head: FaceOnHead, triangles: IntArray) -> FaceTexture:
    """The face's texture without the detail that lies between vertices; nothing else of it changes.

    Args:
        texture: of the face.
        on_head: where the V vertices lie on it.
        triangles: [F, 3] between them.
    """
    one, other = triangles[:, [0, 1, 2]].ravel(), triangles[:, [1, 2, 0]].ravel()
    on_face = np.minimum(on_head.weight[one], on_head.weight[other]) > 0
    if not on_face.any():
        return texture
    apart = np.linalg.norm(on_head.uv[one[on_face]] - on_head.uv[other[on_face]], axis=1)
    sigma = SPREAD * float(np.median(apart)) * len(texture.colour)
    return replace(texture, colour=gaussian_filter(texture.colour, (sigma, sigma, 0)), grain=0.0)
