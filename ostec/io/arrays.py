"""Arrays of NumPy's archives (.npz): no pickle in them is opened, no memory taken for what is only claimed."""

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ostec.core.errors import AssetError
from ostec.core.plain import open_plain, read_plain

NUMBERS, TEXTS = "fiub", "U"
"""NumPy's letters of the kinds of arrays."""
_MAX_NPY_BYTES = 256 << 20
_ZIP_TAIL, _ZIP64_TAIL = 22, 42
"""Bytes at the end of an archive that say where its table of contents is; with those of a large archive before them."""
_DIRECTORY_LIMIT = 8 << 20
"""Bytes of an archive's table of contents; each file in it costs more memory than its entry has bytes."""
_ERRORS = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)
_FREE = 64 << 20
_TIMES = 20
"""An archive may unpack to this many times its size, beyond the first bytes: numbers hardly shrink, bombs by 1000."""


def read_npz(path: Path, names: Collection[str] | None = None, kinds: str = NUMBERS) -> dict[str, np.ndarray[Any, Any]]:
    """Read the arrays of an archive; of the named ones, if there are ``names``, those that it holds.

    Raises AssetError if the file is missing, no such archive, damaged, unpacks to far more than it should, or one of
    the arrays is of another than these ``kinds`` (NumPy's letters).
    """
    try:
        with open_plain(path) as stream:
            return _arrays(stream, lambda name: names is None or name in names, kinds)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def read_prefixed(path: Path, prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an archive as of :func:`decode_npz`. Raises AssetError as :func:`read_npz`."""
    try:
        with open_plain(path) as stream:
            return _prefixed(stream, prefix)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def read_texts(path: Path, name: str) -> tuple[str, ...]:
    """Read a list of texts from an archive. Raises AssetError as :func:`read_npz`, and where it is missing."""
    try:
        with open_plain(path) as stream:
            values = _arrays(stream, name.__eq__, TEXTS)[name]
        if values.ndim != 1:
            raise ValueError(f"{name} is no list of texts")
        return tuple(values.tolist())
    except (*_ERRORS, KeyError) as error:
        raise _unreadable(path, error) from error


def decode_npz(data: bytes, prefix: str, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an archive whose names begin with ``prefix``, by the rest of their names, sorted.

    Raises:
        AssetError: as of :func:`read_npz`; it calls the archive ``name``.
    """
    try:
        return _prefixed(io.BytesIO(data), prefix)
    except _ERRORS as error:
        raise _unreadable(name, error) from error


def _prefixed(stream: IO[bytes], prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    found = _arrays(stream, lambda array: array.startswith(prefix), NUMBERS)
    return {array.removeprefix(prefix): found[array] for array in sorted(found)}


def read_npy(path: Path) -> np.ndarray[Any, Any]:
    """Read the array of numbers in a .npy file. Raises AssetError if it is missing, damaged, too large or no such."""
    try:
        return _array(read_plain(path, _MAX_NPY_BYTES), path.name, NUMBERS)
    except _ERRORS as error:
        raise AssetError(f"{path} cannot be read as an array ({getattr(error, 'strerror', None) or error}).") from error


def check_directory(stream: IO[bytes]) -> int:
    """The size of a zip file. Raises ValueError where its table of contents is not there, or would take much memory."""
    size = stream.seek(0, io.SEEK_END)
    stream.seek(max(0, size - _ZIP64_TAIL))
    tail = stream.read(_ZIP64_TAIL)
    end, locator = tail[-_ZIP_TAIL:], tail[:-_ZIP_TAIL]
    if len(end) < _ZIP_TAIL or not end.startswith(b"PK\5\6"):
        raise ValueError("an archive that is broken off")
    (contents,) = struct.unpack("<I", end[12:16])
    if locator.startswith(b"PK\6\7"):
        (position,) = struct.unpack("<Q", locator[8:16])
        stream.seek(min(position, size))
        record = stream.read(56)
        if not record.startswith(b"PK\6\6") or len(record) < 56:
            raise ValueError("an archive that is broken off")
        (contents,) = struct.unpack("<Q", record[40:48])
    if contents > min(_DIRECTORY_LIMIT, size):
        raise ValueError("an archive with too large a table of contents")
    return size


def _unreadable(name: Path | str, error: Exception) -> AssetError:
    reason = getattr(error, "strerror", None) or error
    return AssetError(f"{name} cannot be read as an archive of arrays ({reason}).")


def _arrays(stream: IO[bytes], wanted: Callable[[str], bool], kinds: str) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays with a wanted name, of those kinds of NumPy's. Raises one of ``_ERRORS``."""
    found = {}
    left = _FREE + _TIMES * check_directory(stream)
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename or not wanted(name):
                continue
            left -= entry.file_size
            if left < 0:
                raise ValueError(f"{name} would take {entry.file_size} bytes")
            try:
                with archive.open(entry) as member:
                    found[name] = _array(member.read(entry.file_size + 1), name, kinds)
            except MemoryError as error:
                raise ValueError(f"there is not enough memory for the {entry.file_size} bytes of {name}") from error
    return found


@dataclass(frozen=True)
class NpyHeader:
    """What the head of a .npy file says of the array that follows."""

    version: tuple[int, int]
    shape: tuple[int, ...]
    by_column: bool
    """Fortran's order."""
    dtype: np.dtype[Any]


def read_npy_header(stream: Any, name: str) -> NpyHeader:
    """Read the head of a .npy file; the stream is at the array's bytes then. Raises ValueError if it is garbled."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        return NpyHeader(version, *read(stream))
    except (tokenize.TokenError, SyntaxError, TypeError, MemoryError) as error:  # open brackets, names that are none
        raise ValueError(f"the header of {name} is garbled") from error


def _array(data: bytes, name: str, kinds: str) -> np.ndarray[Any, Any]:
    stream = io.BytesIO(data)
    head = read_npy_header(stream, name)
    if head.dtype.kind not in kinds:
        raise ValueError(f"{name} holds something else than {'texts' if kinds == TEXTS else 'numbers'}")
    if math.prod(head.shape) * head.dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"{name} claims the shape {head.shape} and has other data")
    values = np.frombuffer(data, head.dtype, offset=stream.tell()).copy()
    return values.reshape(head.shape, order="F" if head.by_column else "C")
