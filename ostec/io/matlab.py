"""Arrays of numbers in MATLAB's files of versions 5 to 7.2.

SciPy reads them too, but its compiled part trusts the types that a file names, and crashes over damaged ones. The
format: "MAT-File Format", The MathWorks, chapter 1.
"""

import math
import struct
import zlib
from collections.abc import Collection, Iterator
from typing import Any, BinaryIO

import numpy as np

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""As numbers are stored: small ones take fewer bytes than their class says."""
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x800
_HEAD_BYTES = 128
_PEEKED_BYTES = 1024
"""Of an array, to find its name."""


def read_matrices(stream: BinaryIO, names: Collection[str], limit: int) -> dict[str, np.ndarray[Any, Any]]:
    """Those of the named arrays that a file holds, of at most ``limit`` bytes. Raises ValueError, zlib.error."""
    head = stream.read(_HEAD_BYTES)
    order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
    if order is None or head[125 if order == "<" else 124] != 1:
        raise ValueError("it is no MATLAB file of version 5 to 7.2")
    found = {}
    while len(tag := stream.read(8)) == 8:
        kind, size = struct.unpack(f"{order}II", tag)
        start = stream.tell()
        if kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"it holds something unknown at byte {start}")
        peeked = _unpacked(stream.read(min(size, _PEEKED_BYTES)), kind, _PEEKED_BYTES)
        _, sides, name, *_ = [*(bytes(data) for _, data in _parts(peeked, order)), b"", b"", b""]
        if (asked := name.decode("latin-1")) in names:
            shape = tuple(np.frombuffer(sides[: len(sides) & ~3], f"{order}i4").tolist())
            limit -= (needed := 8 * abs(math.prod(shape)))
            if limit < 0:
                raise ValueError(f"its arrays would take {needed} bytes")
            stream.seek(start)
            found[asked] = _matrix(_unpacked(stream.read(size), kind, needed + _PEEKED_BYTES), asked, shape, order)
        stream.seek(start + size)
    return found


def _unpacked(data: bytes, kind: int, limit: int) -> memoryview:
    """The parts of an array; of more than ``limit`` bytes the first."""
    if kind == _COMPRESSED:
        data = zlib.decompressobj().decompress(data, limit)[8:]
    return memoryview(data)[:limit]


def _parts(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and bytes of each part: flags, sides, name, numbers."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:  # up to four bytes stand in the place of the size
            yield kind & 0xFFFF, data[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, data[at + 8 : at + 8 + size]
            at += 8 + size + -size % 8


def _matrix(data: memoryview, name: str, shape: tuple[int, ...], order: str) -> np.ndarray[Any, Any]:
    (_, flags), _, _, (kind, values), *_ = [*_parts(data, order), *[(0, data[:0])] * 4]
    what = struct.unpack_from(f"{order}I", flags)[0] if len(flags) == 8 else 0
    if what & 0xFF not in _CLASSES or what & _COMPLEX:
        raise ValueError(f"{name} holds something else than numbers")
    if kind not in _TYPES or math.prod(shape) * int(_TYPES[kind][1]) != len(values):
        raise ValueError(f"{name} claims the shape {shape} and has other data")
    array = np.frombuffer(values, order + _TYPES[kind]).reshape(shape, order="F")
    return array.astype(_CLASSES[what & 0xFF])
