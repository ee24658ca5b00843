"""Textured heads from OBJ files: any unit, triangles or larger faces, with or without normals, in several parts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import UsageError
from ostec.core.types import FloatArray, IntArray
from ostec.io.images import read_image
from ostec.render.geometry import vertex_normals

MAX_OBJ_BYTES = 200_000_000
MAX_TRIANGLES = 2_000_000
MAX_ATLAS_MEGAPIXELS = 100.0
MAX_COORDINATE = 1e9
"""Beyond it float32 keeps no shape."""
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
class Obj:
    """What an OBJ file says of the surface: V vertices, T texture vertices, F triangles."""

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

    def moved(self, origin: torch.Tensor, scale: float) -> "Head":
        """The head with ``origin`` [3] at zero, ``scale`` times as large."""
        return Head((self.vertices - origin) * scale, self.normals, self.uv, self.triangles, self.atlas)


def read_obj(path: Path) -> Obj:
    """Read vertices, texture vertices and faces of an OBJ file; all else in it is passed over.

    Faces of more than three corners become fans. A mesh whose triangles run clockwise is turned round, by the sign of
    the volume round its middle.

    Raises:
        UsageError: the file cannot be read, is too large, holds no faces, a face without texture coordinates, a corner
            that does not exist, or what is no number; the sentence has the line.
    """
    try:
        if path.stat().st_size > MAX_OBJ_BYTES:
            raise UsageError(f"{path} has more than {MAX_OBJ_BYTES // 1_000_000} MB; please make it smaller.")
        text = path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error}).") from error
    reader = _ObjReader(path)
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        reader.take(number, line)
    return reader.finish()


@dataclass
class _ObjReader:
    """The lines of one file, one after the other."""

    path: Path
    vertices: list[list[float]] = field(default_factory=list)
    texture: list[list[float]] = field(default_factory=list)
    corners: list[list[tuple[int, int]]] = field(default_factory=list)

    def take(self, number: int, line: str) -> None:
        kind, *rest = line.split() or [""]
        if kind == "v":
            self.vertices.append(self._numbers(number, rest, 3))
        elif kind == "vt":
            self.texture.append(self._numbers(number, rest, 2))
        elif kind == "f":
            ring = [self._corner(number, word) for word in rest]
            if len(ring) < 3:
                raise self._wrong(number, "has a face of fewer than three corners")
            self.corners += [[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)]
            if len(self.corners) > MAX_TRIANGLES:
                raise UsageError(f"{self.path} has more than {MAX_TRIANGLES} triangles; please make it smaller.")

    def finish(self) -> Obj:
        if not self.corners:
            raise UsageError(f"{self.path} holds no faces; an OBJ file of a textured mesh is expected.")
        vertices = np.array(self.vertices, np.float64)
        uv = np.array(self.texture, np.float32)
        corners = np.array(self.corners, np.int32)
        used = uv[corners[..., 1]]
        if used.min() < -UV_SLACK or used.max() > 1 + UV_SLACK:
            raise UsageError(f"{self.path} has texture coordinates outside 0 to 1; tiled textures cannot be read.")
        middle = vertices[corners[..., 0]].reshape(-1, 3).mean(0)
        a, b, c = (vertices[corners[:, k, 0]] - middle for k in range(3))
        if (a * np.cross(b, c)).sum() < 0:
            corners = corners[:, ::-1].copy()
        return Obj(vertices.astype(np.float32), np.clip(uv, 0, 1), corners)

    def _numbers(self, number: int, words: list[str], count: int) -> list[float]:
        try:
            values = [float(word) for word in words[:count]]
        except ValueError:
            values = []
        if len(values) < count or not all(math.isfinite(v) and abs(v) < MAX_COORDINATE for v in values):
            raise self._wrong(number, f"does not hold {count} numbers")
        return values

    def _corner(self, number: int, word: str) -> tuple[int, int]:
        parts = word.split("/")
        if len(parts) < 2 or not parts[1]:
            raise self._wrong(number, "has a corner without texture coordinates")
        try:
            asked = int(parts[0]), int(parts[1])
        except ValueError:
            raise self._wrong(number, "has a corner that is no number") from None
        found = [self._index(k, len(of)) for k, of in zip(asked, (self.vertices, self.texture), strict=True)]
        if min(found) < 0:
            raise self._wrong(number, "has a corner that does not exist")
        return found[0], found[1]

    @staticmethod
    def _index(asked: int, count: int) -> int:
        """From 1, or backwards from the latest if negative; -1 where there is none."""
        index = asked - 1 if asked > 0 else count + asked if asked < 0 else -1
        return index if 0 <= index < count else -1

    def _wrong(self, number: int, what: str) -> UsageError:
        return UsageError(f"{self.path}, line {number}, {what}.")


def load_head(parts: Sequence[PartFiles]) -> Head:
    """Join the parts of a head, in one common frame, into one mesh with one atlas.

    Args:
        parts: at least one; those with the same texture share its tile.

    Raises:
        UsageError: an OBJ cannot be used, or the textures together are too large.
        ImageError: a texture cannot be read.
    """
    meshes = [read_obj(part.mesh) for part in parts]
    paths = list(dict.fromkeys(part.texture for part in parts))
    textures = [read_image(path, MAX_ATLAS_MEGAPIXELS / len(paths)) for path in paths]
    height, width = (max(t.shape[axis] for t in textures) for axis in (0, 1))
    if height * width * len(paths) > MAX_ATLAS_MEGAPIXELS * 1e6:
        raise UsageError(
            f"The textures side by side have more than {MAX_ATLAS_MEGAPIXELS:g} megapixels; please make them smaller."
        )
    atlas = np.zeros((height, width * len(paths), 3), np.float32)
    for k, tile in enumerate(textures):
        atlas[: tile.shape[0], k * width : k * width + tile.shape[1]] = tile
    points, normals, uvs, triangles, start = [], [], [], [], 0
    for part, mesh in zip(parts, meshes, strict=True):
        place = paths.index(part.texture)
        rows, columns = textures[place].shape[:2]
        own, index = np.unique(mesh.corners.reshape(-1, 2), axis=0, return_inverse=True)
        smooth = vertex_normals(torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.corners[..., 0].copy()))
        u = (place * width + mesh.uv[own[:, 1], 0] * columns) / atlas.shape[1]
        v = 1 - (1 - mesh.uv[own[:, 1], 1]) * rows / height
        points.append(torch.from_numpy(mesh.vertices[own[:, 0]]))
        normals.append(smooth[torch.from_numpy(own[:, 0].astype(np.int64))])
        uvs.append(torch.from_numpy(np.stack([u, v], 1).astype(np.float32)))
        triangles.append(torch.from_numpy((index.reshape(-1, 3) + start).astype(np.int32)))
        start += len(own)
    joined = [torch.cat(x) for x in (points, normals, uvs, triangles)]
    head = Head(joined[0], joined[1], joined[2], joined[3], torch.from_numpy(atlas))
    if float((head.vertices.amax(0) - head.vertices.amin(0)).min()) <= 0:
        raise UsageError(f"{parts[0].mesh} is flat, and no head.")
    return head
