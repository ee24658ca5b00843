"""Wavefront OBJ meshes to arrays, polygons and materials as the file has them."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ostec.core.errors import AssetError
from ostec.core.plain import read_plain
from ostec.core.types import DoubleArray, FloatArray, IntArray

_MAX_BYTES = 512 << 20
_LARGEST = 1e9
"""Beyond it float32 keeps no shape."""


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
        AssetError: as of :func:`read_obj`.
    """
    return _numbers(path, [(n, line) for n, line in enumerate(_lines(path), 1) if line[:2] in (b"v ", b"v\t")], 3)


def read_obj(path: Path, textured: bool = False) -> ObjMesh:
    """Read vertices, texture coordinates, polygons and their materials; all else in the file is passed over.

    Raises AssetError, which has the line, if the file cannot be read, has no polygons, breaks the format or, where it
    must be ``textured``, has a corner without texture coordinates.
    """
    points: dict[bytes, list[tuple[int, bytes]]] = {b"v": [], b"vt": []}
    faces: list[_Face] = []
    names: dict[str, int] = {}
    current = 0
    for number, line in enumerate(_lines(path), 1):
        kind, *rest = line.split(None, 1) or (b"",)
        if kind in points:
            points[kind].append((number, line))
        elif kind == b"f":
            current = current if names else names.setdefault("", 0)
            try:
                ring = _ring(rest[0].split() if rest else [], len(points[b"v"]), len(points[b"vt"]), textured)
            except ValueError as error:
                raise _wrong(path, number, line, str(error)) from None
            faces.append(_Face(number, line, ring, current))
        elif kind == b"usemtl":
            current = names.setdefault(b"".join(rest).strip().decode("utf-8", "replace"), len(names))
    if not faces:
        raise AssetError(f"{path} holds no faces; an OBJ file of a mesh is expected.")
    vertices, uv = _numbers(path, points[b"v"], 3), _numbers(path, points[b"vt"], 2)
    for face in faces:
        if not all(0 <= v < len(vertices) and (t is None or 0 <= t < len(uv)) for v, t in face.ring):
            raise _wrong(path, face.number, face.line, "has a corner that does not exist")
    with_uv = all(t is not None for face in faces for _, t in face.ring)
    return ObjMesh(
        vertices.astype(np.float32),
        uv.astype(np.float32),
        np.array([len(face.ring) for face in faces], np.int32),
        np.array([v for face in faces for v, _ in face.ring], np.int32),
        np.array([t for face in faces for _, t in face.ring] if with_uv else [], np.int32),
        tuple(names),
        np.array([face.material for face in faces], np.int32),
    )


class _Face(NamedTuple):
    number: int
    """Of its line, which follows."""
    line: bytes
    ring: list[tuple[int, int | None]]
    """Its corners: vertex, and texture coordinate if it has one."""
    material: int


def _ring(words: list[bytes], vertices: int, uvs: int, textured: bool) -> list[tuple[int, int | None]]:
    """The corners of a polygon that stands behind so many vertices and texture coordinates."""
    if len(words) < 3:
        raise ValueError("has a face of fewer than three corners")
    ring = []
    for word in words:
        vertex, uv, *_ = *word.split(b"/"), b""
        if textured and not uv:
            raise ValueError("has a corner without texture coordinates")
        try:
            ring.append((_index(int(vertex), vertices), _index(int(uv), uvs) if uv else None))
        except ValueError:
            raise ValueError("has a corner that is no number") from None
    return ring


def _index(asked: int, count: int) -> int:
    """From 1, or backwards from the latest if negative; below 0 where there is none."""
    return count + asked if asked < 0 else asked - 1


def _lines(path: Path) -> list[bytes]:
    try:
        return re.sub(rb"\\\r?\n", b" ", read_plain(path, _MAX_BYTES)).splitlines()
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error


def _numbers(path: Path, lines: list[tuple[int, bytes]], count: int) -> DoubleArray:
    """The first ``count`` numbers of each line, [N, count]; colours and the like may follow."""
    rows = [line.split()[1 : count + 1] for _, line in lines]
    try:
        values = np.array([float(word) for row in rows for word in row]).reshape(len(rows), count)
        if (np.abs(values) < _LARGEST).all():
            return values
    except ValueError:
        pass
    number, line = next(each for each, row in zip(lines, rows, strict=True) if not _are_numbers(row, count))
    raise _wrong(path, number, line, f"does not hold {count} numbers")


def _are_numbers(words: list[bytes], count: int) -> bool:
    try:
        return len(words) == count and all(abs(float(word)) < _LARGEST for word in words)
    except ValueError:
        return False


def _wrong(path: Path, number: int, line: bytes, what: str) -> AssetError:
    return AssetError(f"{path}, line {number}, {what} ({line[:60].decode('utf-8', 'replace')!r}).")
