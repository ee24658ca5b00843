"""The mouth of a head: lips that touch, how light fades within, and what the face shows between open lips."""

import numpy as np

from ostec.core.types import FloatArray, IntArray, Topology
from ostec.heads.parts import HeadPart
from ostec.heads.texture import sample, surface_normals
from ostec.render.geometry import in_polygon, smoothstep

INSIDE = ("gums", "mouth_socket", "teeth_lower", "teeth_upper", "tongue")
"""Parts of a model any of which fills its mouth."""
LIPS = (13, 14)
"""FaceMesh ids of the middle of the upper and of the lower lip's inner edge."""
OPEN_MM = 2.0
"""Distance between them from which the mouth is open."""
BEHIND_MM = 3.0
"""How far behind the lips the piece lies; the neighbouring triangles belong to it, so that it ends under the lips."""
REGION, ROUGHNESS = "mouth", 0.6
BRIGHT = 0.8
"""Share of what is seen between the lips that is darker than the teeth."""
TEETH = (0.85, 0.81, 0.73)
"""The colour that teeth are painted with, about."""
DARKEST = 0.45
"""The inside of a mouth is at least so bright, as a share of the usual."""
_SIDE = 256
"""Texels of the layout at which that is measured."""
HIGHLIGHT = 0.95
"""Of a closed mouth, light is told by the face: share of its vertices that are darker than teeth would be."""
FADES_MM = {"teeth_upper": (0.0, 30.0, 0.55), "teeth_lower": (0.0, 30.0, 0.55), "gums": (0.0, 30.0, 0.6)}
INNER_FADES_MM = (-6.0, 34.0, 0.7)
"""How deep behind the front teeth a part begins to darken, where it ends, and by how much; others as the second. Light
enters between the lips alone; renderers that cast shadows must still show something there."""
GROOVE = 0.5
"""How much darker a vertex is that lies as far below its neighbours as they are wide apart."""


def mouth_light(texture: FloatArray, topology: Topology, vertices: FloatArray) -> tuple[float, float, float]:
    """The light inside a mouth, RGB in [``DARKEST``, 1]: of what is brightest between the lips, half of its tint.

    A closed mouth has none of it to show, so that the face's highlights tell how bright it is.

    Args:
        texture: [S, S, 3] in the face's layout.
        topology: with the region ``mouth``; white light where it has none.
        vertices: [W, 3] the face mesh, canonical millimetres.
    """
    if REGION not in topology.regions:
        return 1.0, 1.0, 1.0
    if _closed(vertices):
        bright = np.quantile(sample(texture, topology.uv).mean(-1), HIGHLIGHT)
        grey = float(np.clip(bright / np.mean(TEETH), DARKEST, 1))
        return grey, grey, grey
    at = (np.arange(_SIDE) + 0.5) / _SIDE
    u, v = np.meshgrid(at, at)
    within = in_polygon(u, v, topology.regions[REGION])
    if not within.any():
        return 1.0, 1.0, 1.0
    colour = sample(texture, np.stack([u[within], v[within]], axis=1).astype(np.float32))
    grey = colour.mean(-1)
    bright = colour[grey >= np.quantile(grey, BRIGHT)].mean(0)
    light = bright / np.array(TEETH)
    red, green, blue = np.clip((light + light.mean()) / 2, DARKEST, 1).tolist()  # lips among it tint it less so
    return red, green, blue


def _closed(vertices: FloatArray) -> bool:
    upper, lower = vertices[list(LIPS)]
    return bool(np.linalg.norm(upper - lower) < OPEN_MM)


def fading(name: str, vertices: FloatArray, normals: FloatArray, triangles: IntArray, front: float) -> FloatArray:
    """Shares [V, 3] of its colour that the vertices [V, 3] of a part inside the mouth keep: less in depth and grooves.

    Args:
        name: of the part.
        vertices: [V, 3] canonical millimetres.
        normals: [V, 3] unit.
        triangles: [F, 3] of the part.
        front: how far in front the foremost teeth are, the z of their foremost vertex.
    """
    begins, ends, most = FADES_MM.get(name, INNER_FADES_MM)
    deep = 1 - most * smoothstep(front - vertices[:, 2], begins, ends)
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    pairs = np.concatenate([pairs, pairs[:, ::-1]])
    apart = (vertices[pairs[:, 1]] - vertices[pairs[:, 0]]).astype(np.float64)
    above = np.bincount(pairs[:, 0], (apart * normals[pairs[:, 0]]).sum(1), len(vertices))
    width = np.bincount(pairs[:, 0], np.linalg.norm(apart, axis=1), len(vertices))
    groove = 1 - GROOVE * np.clip(above / np.maximum(width, 1e-9), 0, 1)
    return np.repeat((deep * groove)[:, None], 3, axis=1).astype(np.float32)


def between_lips(vertices: FloatArray, topology: Topology, texture: FloatArray, has_layout: bool) -> HeadPart | None:
    """The piece of the face mesh between the lips as a part of its own, or None where the mouth is closed.

    Args:
        vertices: [W, 3] the face mesh, canonical millimetres.
        topology: of the mesh, with the region ``mouth``.
        texture: [S, S, 3] in its layout.
        has_layout: whether the part gets a texture, or else colours at its vertices.
    """
    if REGION not in topology.regions or _closed(vertices):
        return None
    within = in_polygon(topology.uv[:, 0], topology.uv[:, 1], topology.regions[REGION])
    ids, inverse = np.unique(topology.triangles[within[topology.triangles].any(axis=1)], return_inverse=True)
    if not len(ids):
        return None
    triangles = inverse.reshape(-1, 3).astype(np.int32)
    points = vertices[ids] - np.array([0, 0, BEHIND_MM], np.float32)
    normals, uv = surface_normals(points, triangles), topology.uv[ids]
    white = (1.0, 1.0, 1.0)
    if not has_layout:
        empty = np.empty((0, 2), np.float32)
        colours = sample(texture, uv)
        return HeadPart(REGION, points, normals, triangles, empty, white, ROUGHNESS, vertex_colours=colours)
    size = len(texture)
    left, right = np.floor(uv[:, 0].min() * size), np.ceil(uv[:, 0].max() * size)
    top, bottom = np.floor((1 - uv[:, 1].max()) * size), np.ceil((1 - uv[:, 1].min()) * size)
    picture = texture[int(top) : int(bottom), int(left) : int(right)]
    corner, span = np.array([left, size - bottom]), np.array([right - left, bottom - top])
    own = np.clip((uv * size - corner) / span, 0, 1).astype(np.float32)
    return HeadPart(REGION, points, normals, triangles, own, white, ROUGHNESS, np.ascontiguousarray(picture))


INNER_LIPS = (
    *((13, 14), (82, 87), (312, 317), (81, 178), (311, 402)),
    *((80, 88), (310, 318), (191, 95), (415, 324)),
)
"""FaceMesh ids along the opening of the mouth: upper lip, lower lip."""
CLOSED_MM, OPEN_MM = 3.0, 4.0
"""Gap of the landmarks up to which the lips touch, and from which the mouth is as open as they say. Of 24 portraits,
closed mouths have 1.3 to 2.9, mouths that show their teeth 4.3 and more."""
PRESSED_MM = 2.5
"""How far the landmarks of lips that touch are led past each other: a fit that weighs them against the rest of the face
follows about half of it."""


def close_lips(landmarks: FloatArray) -> FloatArray:
    """Landmarks [468, 3] in millimetres whose lips touch where they nearly do; those of an open mouth as they are."""
    upper, lower = np.array(INNER_LIPS).T
    if len(landmarks) <= max(upper.max(), lower.max()):
        return landmarks
    apart = landmarks[upper] - landmarks[lower]
    gap = np.linalg.norm(apart, axis=1, keepdims=True)
    t = np.clip((gap - CLOSED_MM) / (OPEN_MM - CLOSED_MM), 0, 1)
    wanted = gap * t - PRESSED_MM * (1 - t)
    half = apart / np.maximum(gap, 1e-6) * (gap - wanted) / 2
    closed = np.array(landmarks)
    closed[upper] -= half
    closed[lower] += half
    return closed
