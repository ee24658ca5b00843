"""Wavefront OBJ meshes to arrays, polygons and materials as the file has them."""

import errno
import io
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ostec.core.errors import AssetError
from ostec.core.plain import open_plain
from ostec.core.types import DoubleArray, FloatArray, IntArray

_MAX_BYTES = 256 << 20
"""Arrays take up to ten times as much memory as their text."""
_MAX_LINE = 4 << 20
_NO_UV, _LAST = -2, 2**31 - 1
"""In the place of a texture coordinate that a corner does not have; and of what is beyond all."""
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
    values = array("d")
    for number, line in _lines(path):
        if line[:2] in (b"v ", b"v\t"):
            values.extend(_numbers(path, number, line, 3))
    return np.array(values).reshape(-1, 3)


def read_obj(path: Path, textured: bool = False) -> ObjMesh:
    """Read vertices, texture coordinates, polygons and their materials; all else in the file is passed over.

    Raises AssetError, which has the line, if the file cannot be read, has no polygons, breaks the format or, where it
    must be ``textured``, has a corner without texture coordinates.
    """
    v, vt = array("d"), array("d")
    corners, corners_uv, sides, material, lines = (array("i") for _ in range(5))
    names: dict[str, int] = {}
    current = 0
    for number, line in _lines(path):
        kind, *rest = line.split(None, 1) or (b"",)
        if kind == b"v":
            v.extend(_numbers(path, number, line, 3))
        elif kind == b"vt":
            vt.extend(_numbers(path, number, line, 2))
        elif kind == b"f":
            current = current if names else names.setdefault("", 0)
            try:
                ring = _ring(rest[0].split() if rest else [], len(v) // 3, len(vt) // 2, textured)
            except ValueError as error:
                raise _wrong(path, number, line, str(error)) from None
            corners.extend(corner for corner, _ in ring)
            corners_uv.extend(corner for _, corner in ring)
            for values, value in ((sides, len(ring)), (material, current), (lines, number)):
                values.append(value)
        elif kind == b"usemtl":
            current = names.setdefault(b"".join(rest).strip().decode("utf-8", "replace"), len(names))
    if not sides:
        raise AssetError(f"{path} holds no faces; an OBJ file of a mesh is expected.")
    mesh = ObjMesh(
        np.array(v, np.float32).reshape(-1, 3),
        np.array(vt, np.float32).reshape(-1, 2),
        np.array(sides, np.int32),
        np.array(corners, np.int32),
        np.array(corners_uv, np.int32),
        tuple(names),
        np.array(material, np.int32),
    )
    lacks = (mesh.corners < 0) | (mesh.corners >= len(mesh.vertices))
    lacks |= (mesh.corners_uv != _NO_UV) & ((mesh.corners_uv < 0) | (mesh.corners_uv >= len(mesh.uv)))
    if lacks.any():
        found = lines[int(np.searchsorted(np.cumsum(mesh.sides), lacks.argmax(), "right"))]
        raise _wrong(path, *next(each for each in _lines(path) if each[0] == found), "has a corner that does not exist")
    return mesh if (mesh.corners_uv != _NO_UV).all() else replace(mesh, corners_uv=np.empty(0, np.int32))


def _ring(words: list[bytes], vertices: int, uvs: int, textured: bool) -> list[tuple[int, int]]:
    """The corners of a polygon that stands behind so many vertices and texture coordinates."""
    if len(words) < 3:
        raise ValueError("has a face of fewer than three corners")
    ring = []
    for word in words:
        vertex, uv, *_ = *word.split(b"/"), b""
        if textured and not uv:
            raise ValueError("has a corner without texture coordinates")
        try:
            ring.append((_index(int(vertex), vertices), _index(int(uv), uvs) if uv else _NO_UV))
        except ValueError:
            raise ValueError("has a corner that is no number") from None
    return ring


def _index(asked: int, count: int) -> int:
    """From 1, or backwards from the latest if negative; -1, or beyond all, where there is none."""
    return max(-1, min(count + asked if asked < 0 else asked - 1, _LAST))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, from 1; one that a backslash ends goes on in the next. Raises AssetError."""
    try:
        with open_plain(path) as raw, io.TextIOWrapper(raw, encoding="latin-1") as stream:
            if (size := os.fstat(raw.fileno()).st_size) > _MAX_BYTES:
                raise OSError(errno.EFBIG, f"it has {size} bytes, more than {_MAX_BYTES}")
            number, line = 0, b""
            while piece := stream.readline(_MAX_LINE).encode("latin-1"):
                line += piece
                if len(line) >= _MAX_LINE:
                    raise OSError(errno.EFBIG, f"line {number + 1} has more than {_MAX_LINE} bytes")
                if line.endswith(b"\\\n"):
                    line = line[:-2] + b" "
                    continue
                number += 1
                yield number, line.rstrip(b"\n")
                line = b""
            if line:
                yield number + 1, line
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error


def _numbers(path: Path, number: int, line: bytes, count: int) -> list[float]:
    """The first ``count`` numbers of a line; colours and the like may follow."""
    try:
        values = [float(word) for word in line.split()[1 : count + 1]]
    except ValueError:
        values = []
    if len(values) < count or not all(abs(value) < _LARGEST for value in values):  # NaN is not below it either
        raise _wrong(path, number, line, f"does not hold {count} numbers")
    return values


def _wrong(path: Path, number: int, line: bytes, what: str) -> AssetError:
    return AssetError(f"{path}, line {number}, {what} ({line[:60].decode('utf-8', 'replace')!r}).")
