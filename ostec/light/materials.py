"""Maps of a physically based material from a texture without light and the face's shape.

* Normals: fine log luminance as height, dark is deep. Brows, lashes, beard and moles, which are dark and not deep, have
  none. Tangent space, OpenGL (+Y up).
* Occlusion: share of an even sky that the face leaves free.
* Roughness by place: lips and nose shine more than cheeks; where the photo has a highlight a little more still.
* Specular: F0 relative to 0.04 / 0.028 of skin; lips and open skin alike, less in pores and below hair.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ostec.core.types import Array, BoolArray, FloatArray, Topology
from ostec.render.colour import to_linear
from ostec.render.geometry import in_polygon, smoothstep
from ostec.render.unwrap import resize_map
from ostec.render.uv import UvLayout

DEEP_MM = 0.35
"""Depth in millimetres of what is darker by a factor e."""
STEEPEST = 0.4
"""Slope of the detail at most."""
FINE, COARSE = 0.8 / 1024, 8 / 1024
"""Deviations in UV of the low-passes between which detail becomes height."""
HAIR = (0.10, 0.22)
"""Darkness, in logs, from which fine detail begins to be hair and surely is."""
SKIN, NOSE, FOREHEAD, LIPS = 0.5, 0.38, 0.43, 0.3
"""Roughness."""
SHINY = 0.12
"""Roughness that a highlight takes away."""
SOFT = 0.012
"""Deviation in UV over which places merge."""
PLACES = 256
"""Side of the layout on which places are found: they are soft."""


@dataclass(frozen=True)
class MaterialMaps:
    """Maps of S x S texels in [0, 1], continued beyond the chart."""

    normal: FloatArray
    """[S, S, 3]: 0.5 + 0.5 n."""
    occlusion: FloatArray
    """[S, S, 1]."""
    roughness: FloatArray
    """[S, S, 1]."""
    specular: FloatArray
    """[S, S, 1]."""


def material_maps(
    albedo: FloatArray, vertices: FloatArray, open_sky: FloatArray, shine: FloatArray, layout: UvLayout, face: Topology
) -> MaterialMaps:
    """The maps of a face.

    Args:
        albedo: [S, S, 3] sRGB.
        vertices: [V, 3] of its mesh in millimetres.
        open_sky: [V] of :class:`ostec.light.transfer.LightTransfer`.
        shine: [S, S] how far highlights stand above the skin, in logs.
        layout: the chart at S texels.
        face: whose layout it is.
    """
    inside, size = layout.inside.numpy(), layout.size
    log = np.log(to_linear(albedo).mean(-1) + 0.01)
    height, hair = detail_height(log, inside)
    lips, brows, eyes = (_region(face, names) for names in (("lips",), _BROWS, _EYES))
    bare = resize_map(np.maximum(_soft(brows, 2), _soft(eyes, 2)), size)
    height *= 1 - np.clip(np.maximum(hair, bare), 0, 1)
    normal = detail_normals(height, vertices, layout)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    sky = layout.attribute(torch.from_numpy(open_sky[:, None])).numpy()[..., 0]
    rough = resize_map(_roughness(face, lips), size) - SHINY * smoothstep(shine, 0.05, 0.5)
    pores = np.clip(-height / 0.1, 0, 1)
    specular = (1 - 0.5 * pores) * (1 - 0.5 * np.clip(hair + resize_map(_soft(brows, 1), size), 0, 1))
    maps = [values[..., None][nearest[0], nearest[1]].astype(np.float32) for values in (sky, rough, specular)]
    return MaterialMaps(normal[nearest[0], nearest[1]], *(np.clip(values, 0, 1) for values in maps))


_BROWS, _EYES = ("brow_left", "brow_right"), ("eye_left", "eye_right")


def detail_height(log: Array, inside: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Height [S, S] in millimetres of fine detail, and how far it is hair or a mole, [S, S] in [0, 1].

    Args:
        log: [S, S] log luminance.
        inside: [S, S] the chart.
    """
    size = len(log)
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    log = log[nearest[0], nearest[1]]
    fine, coarse = (ndimage.gaussian_filter(log, sigma * size, truncate=3) for sigma in (FINE, COARSE))
    detail = fine - coarse
    dark = smoothstep(-detail, *HAIR)
    hair = np.clip(3 * ndimage.gaussian_filter(dark, COARSE * size / 2, truncate=3), 0, 1)
    return (DEEP_MM * detail).astype(np.float32), hair.astype(np.float32)


def detail_normals(height: FloatArray, vertices: FloatArray, layout: UvLayout) -> FloatArray:
    """Normal map [S, S, 3] of a height [S, S] in millimetres over a mesh [V, 3]; slopes end at ``STEEPEST``."""
    place = layout.attribute(torch.from_numpy(vertices)).numpy()
    inside = layout.inside.numpy()
    slopes = []
    for axis, sign in ((1, 1), (0, -1)):  # u runs along rows, v against columns
        step = np.linalg.norm(np.gradient(place, axis=axis), axis=-1)
        least = 0.25 * float(np.median(step[inside]))  # the chart's border
        slopes.append(sign * np.gradient(height, axis=axis) / np.maximum(step, least))
    slope = np.stack(slopes, axis=-1)
    length = np.linalg.norm(slope, axis=-1, keepdims=True)
    slope *= STEEPEST * np.tanh(length / STEEPEST) / np.maximum(length, 1e-9)
    normal = functional.normalize(torch.from_numpy(np.dstack([-slope, np.ones_like(height)])), dim=-1).numpy()
    return np.asarray(0.5 + 0.5 * normal, np.float32)


def _roughness(face: Topology, lips: FloatArray) -> FloatArray:
    u, v = _places()
    brow = float(np.mean([face.regions[name][:, 1].min() for name in _BROWS]))
    lip = float(face.regions["lips"][:, 1].max())
    nose = (np.abs(u - 0.5) < 0.09) & (v > lip + 0.03) & (v < brow)
    out = SKIN + (FOREHEAD - SKIN) * _soft((v > brow).astype(np.float32), 3)
    out = out + (NOSE - out) * _soft(nose.astype(np.float32), 2)
    return np.asarray(out + (LIPS - out) * _soft(lips, 0.5), np.float32)


def _region(face: Topology, names: tuple[str, ...]) -> FloatArray:
    u, v = _places()
    found = [in_polygon(u, v, face.regions[name]) for name in names if name in face.regions]
    return np.any(found, axis=0).astype(np.float32)


def _places() -> tuple[Array, Array]:
    """U and v of the texels on which places are found, [S, S] each."""
    along = (np.arange(PLACES) + 0.5) / PLACES
    u, v = np.meshgrid(along, 1 - along)
    return u, v


def _soft(mask: FloatArray, times: float) -> FloatArray:
    return np.asarray(ndimage.gaussian_filter(mask, times * SOFT * len(mask), truncate=3), np.float32)
