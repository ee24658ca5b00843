"""Textured heads from OBJ files: any unit, triangles or larger faces, with or without normals, in several parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import AssetError, UsageError
from ostec.core.types import FloatArray, IntArray
from ostec.io.images import read_image
from ostec.io.obj import read_obj
from ostec.render.geometry import vertex_normals

MAX_ATLAS_MEGAPIXELS = 100.0
UV_SLACK = 0.01
"""Texture coordinates this far outside [0, 1] are rounding and are put onto the border; those further out are tiles."""


@dataclass(frozen=True)
class PartFiles:
    """A mesh and its texture."""

    mesh: Path
    """OBJ."""
    texture: Path
    """A picture."""


@dataclass(frozen=True)
class Surface:
    """The surface of an OBJ file: V vertices, T texture vertices, F triangles."""

    vertices: FloatArray
    """[V, 3], in the file's unit."""
    uv: FloatArray
    """[T, 2] in [0, 1], v up."""
    corners: IntArray
    """[F, 3, 2]: vertex, texture vertex."""


@dataclass(frozen=True)
class Head:
    """A textured head; V counts corners with a UV of their own."""

    vertices: torch.Tensor
    """[V, 3], y up, looking along +z."""
    normals: torch.Tensor
    """[V, 3] unit, smooth."""
    uv: torch.Tensor
    """[V, 2] in the atlas, v up."""
    triangles: torch.Tensor
    """[F, 3] int32, counter-clockwise seen from outside."""
    atlas: torch.Tensor
    """[H, W, 3] in [0, 1]: the parts' textures side by side."""


def read_surface(path: Path) -> Surface:
    """Read the surface of an OBJ file; faces of more than three corners become fans.

    A mesh whose triangles run clockwise is turned round, by the sign of the volume round its middle. Raises AssetError
    where the file cannot be read, or holds no mesh whose every corner has texture coordinates within [0, 1].
    """
    mesh = read_obj(path, textured=True)
    triangles, triangles_uv, _ = mesh.triangulate()
    used = mesh.uv[triangles_uv]
    if used.min() < -UV_SLACK or used.max() > 1 + UV_SLACK:
        raise AssetError(f"{path} has texture coordinates outside 0 to 1; tiled textures cannot be read.")
    corners = mesh.vertices[triangles].astype(np.float64)
    a, b, c = np.moveaxis(corners - corners.mean((0, 1)), 1, 0)
    turn = -1 if (a * np.cross(b, c)).sum() < 0 else 1
    return Surface(mesh.vertices, np.clip(mesh.uv, 0, 1), np.stack([triangles, triangles_uv], axis=2)[:, ::turn])


def load_head(parts: Sequence[PartFiles]) -> Head:
    """Join the parts of a head, in one common frame, into one mesh with one atlas.

    Parts with the same texture share its tile. Raises AssetError or ImageError where a file cannot be used, UsageError
    for a flat head.
    """
    paths = list(dict.fromkeys(part.texture for part in parts))
    textures = [read_image(path, MAX_ATLAS_MEGAPIXELS / len(paths)) for path in paths]
    height, width = (max(t.shape[axis] for t in textures) for axis in (0, 1))
    if height * width * len(paths) > 2 * MAX_ATLAS_MEGAPIXELS * 1e6:
        raise UsageError(f"{paths[0]} and the other textures have too different shapes to lie side by side.")
    atlas = np.zeros((height, width * len(paths), 3), np.float32)
    for k, tile in enumerate(textures):
        atlas[: tile.shape[0], k * width : k * width + tile.shape[1]] = tile
    joined: list[list[torch.Tensor]] = []
    start = 0
    for part in parts:
        mesh, place = read_surface(part.mesh), paths.index(part.texture)
        rows, columns = textures[place].shape[:2]
        own, index = np.unique(mesh.corners.reshape(-1, 2), axis=0, return_inverse=True)
        vertex, (u, v) = own[:, 0], mesh.uv[own[:, 1]].T
        smooth = vertex_normals(torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.corners[..., 0].copy()))
        uv = np.stack([(place * width + u * columns) / atlas.shape[1], 1 - (1 - v) * rows / height], 1)
        triangles = (index.reshape(-1, 3) + start).astype(np.int32)
        arrays = (mesh.vertices[vertex], smooth.numpy()[vertex], uv.astype(np.float32), triangles)
        joined.append([torch.from_numpy(array) for array in arrays])
        start += len(own)
    vertices, normals, uvs, faces = (torch.cat(of_parts) for of_parts in zip(*joined, strict=True))
    head = Head(vertices, normals, uvs, faces, torch.from_numpy(atlas))
    if float((head.vertices.amax(0) - head.vertices.amin(0)).min()) <= 0:
        raise UsageError(f"{parts[0].mesh} is flat, and no head.")
    return head
