"""Wavefront OBJ meshes to arrays, polygons and materials as the file has them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostec.core.errors import AssetError
from ostec.core.types import DoubleArray, FloatArray, IntArray

_CORNERS_LIMIT = 64
"""Of one polygon."""


@dataclass(frozen=True)
class ObjMesh:
    """A mesh of V vertices, T texture coordinates and P polygons with C corners altogether; ids are 0-based."""

    vertices: FloatArray
    """[V, 3]."""
    uv: FloatArray
    """[T, 2], v up."""
    sides: IntArray
    """[P]: how many corners each polygon has."""
    corners: IntArray
    """[C]: the polygons' vertices, one polygon after the other."""
    corners_uv: IntArray
    """[C]: their texture coordinates; empty where a corner has none."""
    materials: tuple[str, ...]
    """Names in order of appearance; the first may be empty (before any is named)."""
    material: IntArray
    """[P]: index into ``materials``."""

    def triangulate(self) -> tuple[IntArray, IntArray, IntArray]:
        """Split each polygon into the fan of triangles round its first corner.

        Returns:
            Triangles [F, 3], their texture coordinates [F, 3] ([0, 3] where there are none), and their polygons [F].
        """
        first = np.cumsum(self.sides) - self.sides
        polygon = np.repeat(np.arange(len(self.sides)), self.sides - 2)
        within = np.arange(len(polygon)) - np.repeat(np.cumsum(self.sides - 2) - (self.sides - 2), self.sides - 2)
        places = first[polygon][:, None] + np.stack([np.zeros_like(within), within + 1, within + 2], axis=1)
        uv = self.corners_uv[places] if len(self.corners_uv) else np.empty((0, 3), np.int32)
        return self.corners[places], uv, polygon.astype(np.int32)


def read_vertices(path: Path) -> DoubleArray:
    """Read only the vertices of an OBJ file, [V, 3].

    Raises:
        AssetError: the file cannot be read, or a vertex is no three numbers.
    """
    return _numbers(path, [line for line in _lines(path) if line.startswith(b"v ")], 3, "vertex")


def read_obj(path: Path) -> ObjMesh:
    """Read an OBJ file.

    Raises:
        AssetError: the file cannot be read, has no vertices or polygons, or a line is not as the format demands; the
            sentence quotes the line.
    """
    lines = _lines(path)
    vertices = _numbers(path, [line for line in lines if line.startswith(b"v ")], 3, "vertex")
    uv = _numbers(path, [line for line in lines if line.startswith(b"vt ")], 2, "texture coordinate")
    names: dict[str, int] = {}
    current = 0
    polygons, material = [], []
    for line in lines:
        if line.startswith(b"f "):
            polygons.append(line)
            if not names:
                names[""] = 0
            material.append(current)
        elif line.startswith(b"usemtl"):
            current = names.setdefault(line[6:].strip().decode("utf-8", "replace"), len(names))
    if not len(vertices) or not polygons:
        raise AssetError(f"{path} is no mesh: it has {len(vertices)} vertices and {len(polygons)} polygons.")
    sides, corners, corners_uv = _polygons(path, polygons, len(vertices), len(uv))
    return ObjMesh(
        vertices.astype(np.float32),
        uv.astype(np.float32),
        sides,
        corners,
        corners_uv,
        tuple(names),
        np.array(material, dtype=np.int32),
    )


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error


def _numbers(path: Path, lines: list[bytes], count: int, what: str) -> DoubleArray:
    """The first ``count`` numbers of each line, [N, count]."""
    rows = [line.split()[1 : count + 1] for line in lines]
    short = next((line for line, row in zip(lines, rows, strict=True) if len(row) < count), None)
    try:
        if short is not None:
            raise ValueError
        values = np.array([float(word) for row in rows for word in row]).reshape(len(rows), count)
    except ValueError as error:
        line = short if short is not None else next(line for line in lines if not _is_numbers(line.split()[1:]))
        raise AssetError(f"{path} is no mesh: the {what} {_quote(line)} is not {count} numbers.") from error
    if not np.isfinite(values).all():
        raise AssetError(f"{path} is no mesh: a {what} is not finite.")
    return values


def _is_numbers(words: list[bytes]) -> bool:
    try:
        return bool([float(word) for word in words])
    except ValueError:
        return False


def _polygons(path: Path, lines: list[bytes], vertices: int, uvs: int) -> tuple[IntArray, IntArray, IntArray]:
    words = [line.split()[1:] for line in lines]
    sides = np.array([len(each) for each in words], dtype=np.int32)
    odd = np.flatnonzero((sides < 3) | (sides > _CORNERS_LIMIT))
    if len(odd):
        raise AssetError(f"{path} is no mesh: the polygon {_quote(lines[odd[0]])} has {sides[odd[0]]} corners.")
    parts = [word.split(b"/") for each in words for word in each]
    try:
        corners = np.array([int(part[0]) for part in parts], dtype=np.int64) - 1
        with_uv = all(len(part) > 1 and part[1] for part in parts)
        corners_uv = np.array([int(part[1]) for part in parts] if with_uv else [], dtype=np.int64) - 1
    except (ValueError, OverflowError) as error:
        raise AssetError(f"{path} is no mesh: a polygon's corner is no number.") from error
    for ids, count, what in ((corners, vertices, "vertices"), (corners_uv, uvs, "texture coordinates")):
        if len(ids) and (ids.min() < 0 or ids.max() >= count):
            wrong = int(ids.min() if ids.min() < 0 else ids.max()) + 1
            raise AssetError(f"{path} is no mesh: a polygon names {wrong}, expected 1 to {count} ({what}).")
    return sides, corners.astype(np.int32), corners_uv.astype(np.int32)


def _quote(line: bytes) -> str:
    return repr(line[:60].decode("utf-8", "replace"))
