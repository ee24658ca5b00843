"""What the photo shows of the head round the face: skin of neck and ears, and hair.

Everything is judged at the skin's vertices. Hair has depth, so scalp is looked at a little above its surface.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, minimum_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ostec.core.types import Array, BoolArray, DoubleArray, FloatArray, IntArray, PhotoAround
from ostec.heads.texture import surface_normals
from ostec.render.geometry import smoothstep
from ostec.render.rasterize import rasterize
from ostec.stitch.blend import low_pass

HAIR_MM = 6.0
"""Depth of hair at which it is looked at."""
DEPTH_SIDE = 384
"""Side in pixels of the depth image that decides what hides what."""
BEHIND_MM = 4.0
"""How far behind the nearest surface a point may lie and still count as seen."""
COSINE, SHARP_COSINE = (0.05, 0.3), (0.3, 0.6)
"""Of the view angle, from which colours begin to count and count fully; the same for their detail."""
BLUR = 3.0
"""Deviation in pixels of the blur before colours are read at vertices."""
INWARDS = 19
"""Side in pixels of the square that must be all person: at the edge, the background's colour is mixed in."""
NECK_MM, COLLAR_MM = (-75.0, -55.0), (-140.0, -115.0)
"""Heights below which the photo's detail is a collar's, and below which its colours are a garment's."""
JAW_MM, CLEAR_MM = -30.0, (5.0, 20.0)
"""Height below which garments and hair lie beside skin, and how far from them it begins to count and counts fully."""
LEAST_SPREAD = np.array([0.35, 0.05, 0.07])
"""Least deviation of skin's and hair's log brightness, log (red / green) and log (green / blue)."""
NECK_SPREAD = 2 * LEAST_SPREAD
"""Most deviation of the neck's: a face half in coloured light varies more, but a collar is no skin."""
UNLIKE = 9.0
"""Squared distance from skin's colours beyond which scalp is hair; and from both where something is neither."""
LEAST_SEEN = 20
"""Vertices of sure scalp below which the photo says nothing of hair."""
HAIRLINE = (0.1, 0.6)
"""How far people have hair where the photo's begins to count, and counts fully: no fringe before the face."""
HAIRY = (0.1, 0.22)
"""Share of the scalp that looks like hair from which there is some, and from which it covers all."""
SHINE = 0.09, -0.45
"""Contrast below which what is unlike skin is a bare scalp's shine, unless it is darker in log brightness than that:
shine has 0.05, hair 0.13 and more."""
FINE = 6.0
"""Deviation in pixels of the blur that contrast is measured against and averaged with."""
BARE = 0.7
"""Scalp with less hair is bare."""
EVIDENCE = 5.0
"""Log odds for or against hair that colour brings at most."""


@dataclass(frozen=True)
class SeenHead:
    """What a photo shows at V vertices of a head's skin."""

    pixel: FloatArray
    """[V, 2] in the crop."""
    weight: FloatArray
    """[V] in [0, 1]: how well it is seen."""
    sharp: FloatArray
    """[V] in [0, 1]: the same for its detail."""
    colour: FloatArray
    """[V, 3] without detail."""
    skin: FloatArray
    """[V] in [0, 1]: how far its colour is skin's."""
    hair: FloatArray
    """[V] in [0, 1]: how far it is hair."""
    hair_colour: FloatArray | None
    """[3] the hair's median; None where there is none, or the photo does not show it."""
    share: tuple[float, float]
    """In [0, 1]: how far what is seen of the scalp has hair, on top and at the sides."""
    unlit: FloatArray | None = None
    """[V, 3]: factor that takes the light out of the photo's colours, which ``colour`` has; None leaves them lit."""


def seen_head(
    photo: PhotoAround, vertices: DoubleArray, triangles: IntArray, ids: IntArray, scalp: FloatArray, face: BoolArray
) -> SeenHead:
    """Look at a head's skin.

    Args:
        photo: with the head in it.
        vertices: [W, 3] of the whole head, canonical millimetres.
        triangles: [F, 3] of the whole head.
        ids: [V] the skin's vertices.
        scalp: [V] in [0, 1]: how far people have hair there.
        face: [V]: the face's own, whose colours are skin.
    """
    pixel, cosine, visible = _view(photo, vertices, triangles, ids, scalp)
    at = pixel.T[::-1] - 0.5
    inner = minimum_filter(smoothstep(photo.person, 0.5, 0.9), INWARDS)
    person = map_coordinates(inner, at, order=1, cval=0) * smoothstep(vertices[ids, 1], *COLLAR_MM)
    blurred = low_pass(photo.colour, inner.astype(np.float32), BLUR)
    colour = np.stack([map_coordinates(blurred[..., k], at, order=1, mode="nearest") for k in range(3)], axis=1)
    weight = visible * person * smoothstep(cosine + 0.2 * scalp, *COSINE)
    sharp = weight * smoothstep(cosine, *SHARP_COSINE) * smoothstep(vertices[ids, 1], *NECK_MM)
    value = _log_colours(colour)
    skins = _spread(value[face & (weight > 0.8)], value)
    of_skin = _distance(value, skins)
    sure = (scalp > 0.8) & (weight > 0.3)
    hairy = sure & (of_skin > UNLIKE)
    top = vertices[ids, 1] > 70
    share = [float(smoothstep(np.mean(hairy[sure & part]), *HAIRY)) for part in (top, ~top) if (sure & part).sum() > 5]
    low = ~face & (scalp < 0.01) & (vertices[ids, 1] < JAW_MM)
    skin = _skin(value, skins, low, visible * person > 0.05, vertices[ids])
    shines = False
    if hairy.any():
        contrast = np.median(map_coordinates(_contrast(photo), at[:, hairy], order=1))
        shines = bool(contrast < SHINE[0] and np.median(value[hairy, 0]) - skins[0][0] > SHINE[1])
    nothing = np.zeros(len(ids), np.float32)
    sharpest = _single(sharp * skin)
    seen = SeenHead(
        _single(pixel), _single(weight), sharpest, _single(colour), _single(skin), nothing, None, (0.0, 0.0)
    )
    if hairy.sum() < LEAST_SEEN or max(share) == 0 or shines:
        return seen
    of_hair = _distance(value, _spread(value[hairy], value))
    evidence = np.clip((of_skin - of_hair) / 2, -EVIDENCE, EVIDENCE)
    prior = np.clip(scalp, 0.02, 0.98)
    hair = (scalp > 0.01) / (1 + np.exp(-evidence - np.log(prior / (1 - prior))))
    patch = holes(hair, scalp, weight, triangles, ids)
    hair[patch] = 1
    usual = np.median(colour[hairy], axis=0)
    badge = patch & (of_hair > UNLIKE)  # on a cap, say: its colour is no hair's
    known = np.maximum(skin, np.exp(-np.maximum(of_hair - UNLIKE, 0) / UNLIKE) * smoothstep(scalp, *HAIRLINE))
    return replace(
        seen,
        sharp=_single(sharp * known),
        skin=_single(skin * (1 - hair)),
        hair=_single(hair),
        colour=_single(np.where(badge[:, None], usual, colour)),
        hair_colour=_single(usual),
        share=(share[0], max(share)),  # who has hair on top has it at the sides
    )


def _skin(
    value: DoubleArray, skins: tuple[DoubleArray, DoubleArray], low: BoolArray, seen: BoolArray, places: DoubleArray
) -> DoubleArray:
    """[V] in [0, 1]: how far a colour [V, 3] is skin's; below the jaw (``low``) nothing else may be near either."""
    of_neck = _distance(value, (skins[0], np.minimum(skins[1], NECK_SPREAD)))
    distance = np.where(low, of_neck, _distance(value, skins))
    return np.exp(-np.maximum(distance - 4, 0) / 4) * clear_of(low & seen & (of_neck > UNLIKE), low, places)


def clear_of(other: BoolArray, neck: BoolArray, places: DoubleArray) -> DoubleArray:
    """[V] in [0, 1]: how far the neck's skin is from what is none, a collar or long hair: its edge is blurred into it.

    Args:
        other: [V]: what of the neck the photo shows covered.
        neck: [V]: what is looked at.
        places: [V, 3] in millimetres.
    """
    clear = np.ones(len(places))
    if other.any():
        clear[neck] = smoothstep(cKDTree(places[other]).query(places[neck])[0], *CLEAR_MM)
    return clear


def holes(hair: DoubleArray, scalp: FloatArray, weight: DoubleArray, triangles: IntArray, ids: IntArray) -> BoolArray:
    """[V]: bare scalp with hair all round: a highlight, or hair like skin. A bald head's reaches its brow."""
    own = np.full(triangles.max() + 1, -1)
    own[ids] = np.arange(len(ids))
    bare = (hair < BARE) & ((weight > 0.05) | (scalp < 0.5))
    edges = own[np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])]
    one, other = edges[(edges >= 0).all(1) & bare[edges].all(1)].T
    graph = coo_array((np.ones(len(one)), (one, other)), (len(ids), len(ids)))
    piece = connected_components(graph, directed=False)[1]
    return np.asarray(bare & ~np.isin(piece, piece[scalp < 0.5]))


def _view(
    photo: PhotoAround, vertices: DoubleArray, triangles: IntArray, ids: IntArray, scalp: FloatArray
) -> tuple[DoubleArray, DoubleArray, BoolArray]:
    """Pixel [V, 2] and cosine [V] of the view angle of the skin's vertices, and whether they are seen."""
    normals = surface_normals(vertices.astype(np.float32), triangles)[ids]
    towards = np.cross(photo.camera[0, :3], -photo.camera[1, :3])
    towards = towards / np.linalg.norm(towards)
    points = vertices[ids] + HAIR_MM * scalp[:, None] * normals
    pixel = points @ photo.camera[:, :3].T + photo.camera[:, 3]
    nearest = _nearest(photo, vertices, triangles, towards)
    places = np.clip(pixel * DEPTH_SIDE / len(photo.person), 0, DEPTH_SIDE - 1).astype(int)
    visible = points @ towards > nearest[places[:, 1], places[:, 0]] - BEHIND_MM
    return pixel, normals @ towards, visible


def _single(values: Array) -> FloatArray:
    return values.astype(np.float32)


def _nearest(photo: PhotoAround, vertices: DoubleArray, triangles: IntArray, towards: DoubleArray) -> DoubleArray:
    """[D, D]: height towards the viewer of the nearest surface in millimetres; -inf where there is none."""
    flat = (vertices @ photo.camera[:, :3].T + photo.camera[:, 3]) * (2 / len(photo.person)) - 1
    height = vertices @ towards
    low, high = float(height.min()), float(height.max())
    depth = 1 - 2 * (height - low) / (high - low)
    position = np.c_[flat, 0.99 * depth, np.ones(len(flat))].astype(np.float32)  # rows run down in both
    turned = torch.from_numpy(triangles[:, ::-1].copy())
    found = rasterize(torch.from_numpy(position)[None], turned, (DEPTH_SIDE, DEPTH_SIDE))[0].numpy()
    return np.where(found[..., 3] > 0, low + (1 - found[..., 2] / 0.99) / 2 * (high - low), -np.inf)


def _contrast(photo: PhotoAround) -> FloatArray:
    """[S, S]: local deviation of the log brightness without its coarse course."""
    grey = np.log(photo.colour.mean(-1) + 0.03)
    fine = grey - gaussian_filter(grey, FINE)
    return np.asarray(np.sqrt(gaussian_filter(fine**2, FINE)))


def _log_colours(colour: FloatArray) -> DoubleArray:
    """[V, 3]: log brightness, log (red / green), log (green / blue)."""
    logs = np.log(colour.astype(np.float64) + 0.02)
    return np.stack([logs.mean(1), logs[:, 0] - logs[:, 1], logs[:, 1] - logs[:, 2]], axis=1)


def _spread(some: DoubleArray, every: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Median and robust deviation [3] of some values, of all where there are too few."""
    of = some if len(some) >= LEAST_SEEN else every
    middle = np.median(of, axis=0)
    return middle, np.maximum(1.48 * np.median(np.abs(of - middle), axis=0), LEAST_SPREAD)


def _distance(value: DoubleArray, spread: tuple[DoubleArray, DoubleArray]) -> DoubleArray:
    """[V] squared, in deviations."""
    return np.asarray((((value - spread[0]) / spread[1]) ** 2).sum(1))
