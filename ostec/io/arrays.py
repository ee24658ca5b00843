"""Arrays of NumPy's archives (.npz): no pickle in them is opened, no memory taken for what is only claimed."""

import io
import math
import tokenize
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ostec.core.errors import AssetError

_ERRORS = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)
_FREE = 64 << 20
_TIMES = 20
"""An archive may unpack to this many times its size, beyond the first bytes: numbers hardly shrink, bombs by 1000."""


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray[Any, Any]]:
    """Read those of the named arrays that an archive holds.

    Raises AssetError if the file is missing, no such archive, damaged, unpacks to far more than it should, or one of
    the arrays holds something else than numbers.
    """
    try:
        with path.open("rb") as stream:
            return _arrays(stream, path.stat().st_size, names.__contains__)
    except _ERRORS as error:
        raise _unreadable(path, error) from error


def read_texts(path: Path, name: str) -> tuple[str, ...]:
    """Read a list of texts from an archive. Raises AssetError as :func:`read_npz`, and where it is missing."""
    try:
        with path.open("rb") as stream:
            values = _arrays(stream, path.stat().st_size, name.__eq__, "U")[name]
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
        found = _arrays(io.BytesIO(data), len(data), lambda array: array.startswith(prefix))
    except _ERRORS as error:
        raise _unreadable(name, error) from error
    return {array.removeprefix(prefix): found[array] for array in sorted(found)}


def _unreadable(name: Path | str, error: Exception) -> AssetError:
    reason = getattr(error, "strerror", None) or error
    return AssetError(f"{name} cannot be read as an archive of arrays ({reason}).")


def _arrays(
    stream: IO[bytes], size: int, wanted: Callable[[str], bool], kinds: str = "fiub"
) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays with a wanted name, of those kinds of NumPy's. Raises one of ``_ERRORS``."""
    found = {}
    left = _FREE + _TIMES * size
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            if name == entry.filename or not wanted(name):
                continue
            left -= entry.file_size
            if left < 0:
                raise ValueError(f"{name} would take {entry.file_size} bytes")
            with archive.open(entry) as member:
                found[name] = _array(member.read(entry.file_size + 1), name, kinds)
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
    except (tokenize.TokenError, MemoryError) as error:  # of brackets that stay open, or nest without number
        raise ValueError(f"the header of {name} is garbled") from error


def _array(data: bytes, name: str, kinds: str) -> np.ndarray[Any, Any]:
    stream = io.BytesIO(data)
    head = read_npy_header(stream, name)
    if head.dtype.kind not in kinds:
        raise ValueError(f"{name} holds something else than {'texts' if kinds == 'U' else 'numbers'}")
    if math.prod(head.shape) * head.dtype.itemsize != len(data) - stream.tell():
        raise ValueError(f"{name} claims the shape {head.shape} and has other data")
    values = np.frombuffer(data, head.dtype, offset=stream.tell()).copy()
    return values.reshape(head.shape, order="F" if head.by_column else "C")
