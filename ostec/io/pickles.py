"""Files of ``pickle`` and ``torch.save`` to plain data, without executing anything that they hold.

Known are plain pickles of protocols 0 to 5, and both formats of ``torch.save``: the archive (zip), in which each
storage is a file beside the pickle, and the older stream, in which the storages follow it.
"""

import io
import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.errors import WeightsError, kind_of
from ostec.io.opcodes import Budget, Interpreter, Malformed, Name, Storage, Stream, Stub, storage_type

__all__ = ["Stub", "load_joblib", "load_pickle", "read_objects", "told"]

_MAGIC = 0x1950A86A20F9469CFC6C
"""What the older format of torch.save begins with, as a pickle of its own."""
_STREAM_VERSION = 1001
_DIRECTORY_LIMIT = 8 << 20
"""Bytes of an archive's table of contents; each file in it costs more memory than its entry has bytes."""
_OTHER_FILES = (
    (b"<", "a web page"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file"),
    (b"\x89PNG", "a picture"),
    (b"\x1f\x8b", "an archive (gzip)"),
    (b"\x89HDF", "an HDF5 file"),
)
_EXPECTED = "a pickle or a file of torch.save with plain data"


def read_objects(path: Path) -> Any:
    """Read what a file holds.

    Returns:
        Plain containers (dict, list, tuple, set) of text, bytes, numbers, None, NumPy arrays, tensors (on the CPU, of
        the type that was stored, views of the file's storages) and :class:`Stub` for instances of other classes.

    Raises:
        WeightsError: the file is missing, damaged, claims more than it holds, or would call something; nothing has
            been executed.
    """
    try:
        with path.open("rb") as file:
            if not file.seek(0, io.SEEK_END):
                raise Malformed("an empty file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return _read(content)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}).") from error
    except Malformed as error:
        raise WeightsError(f"{path} cannot be used: expected {_EXPECTED}, found {error}.") from error


def told(value: Any) -> str:
    """A few letters about something that a file holds, for a message.

    Containers are named by their kind: in text a small file with lists of lists could fill all memory.
    """
    if isinstance(value, Stub):
        return f"an instance of {value.module[:40]}.{value.name[:40]}"
    plain = value is None or isinstance(value, str | int | float)
    return str(value)[:40] if plain else kind_of(value)


def load_joblib(data: bytes) -> Any:
    """What ``joblib.dump`` wrote without compression, given as the whole file.

    Raises:
        Malformed: it is damaged, or holds something else than plain data.
    """
    return _JoblibInterpreter(data).load()


def load_pickle(stream: Stream, size: int) -> Any:
    """What a pickle holds that begins where the stream stands; tensors in it may be bytes of torch.save.

    Args:
        stream: of a file.
        size: bytes of the whole file.

    Raises:
        Malformed: it is damaged, or holds something else than plain data.
    """
    return _read_stream(stream, size, Budget(size))


def _read(content: mmap.mmap) -> Any:
    head = content[:32]
    for start, what in _OTHER_FILES:
        if head.lstrip().startswith(start):
            raise Malformed(what)
    if head.startswith(b"PK"):
        return _read_archive(content)
    return _read_stream(content, len(content), Budget(len(content)))


def _read_stream(stream: Stream, size: int, budget: Budget, depth: int = 0) -> Any:
    """A plain pickle, or torch's older format."""
    if depth > 1:
        raise Malformed("a file within a file within a file")

    def nested(data: bytes) -> Any:
        found = _read_stream(io.BytesIO(data), len(data), budget, depth + 1)
        if not isinstance(found, Storage):
            raise Malformed("something else than a tensor's storage within bytes")
        return found

    first = Interpreter(stream, budget, nested=nested).load()
    if type(first) is not int or first != _MAGIC:
        return first
    version, system = (Interpreter(stream, budget).load() for _ in range(2))
    if version != _STREAM_VERSION or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Malformed("a torch file of an unknown version or byte order")
    storages: dict[str, Storage] = {}
    content = Interpreter(stream, budget, _storages_of_stream(storages, stream, size, budget)).load()
    keys = Interpreter(stream, budget).load()
    if not isinstance(keys, list) or len(keys) != len(storages) or {str(key) for key in keys} != storages.keys():
        raise Malformed("tensors without their numbers")
    for key in keys:
        _fill(storages[str(key)].values, stream)
    return content


def _storages_of_stream(
    storages: dict[str, Storage], stream: Stream, size: int, budget: Budget
) -> Callable[[Any], Storage]:
    """Ids -> storages whose numbers come later."""

    def find(asked: Any) -> Storage:
        key, dtype, count = _asked(asked)
        if key not in storages:
            length = count * dtype.itemsize
            if length > size - stream.tell():
                raise Malformed("a tensor larger than the file")
            budget.take(length)
            storages[key] = Storage(torch.zeros(count, dtype=dtype))
        whole, part = storages[key].values, asked[5] if len(asked) > 5 else None
        if part is None:
            return storages[key]
        _, start, length = part
        if not 0 <= start <= start + length <= len(whole):
            raise Malformed("a tensor larger than its storage")
        return Storage(whole[start : start + length])

    return find


def _asked(asked: Any) -> tuple[str, torch.dtype, int]:
    """Key, type and count of the storage that a file refers to."""
    if not isinstance(asked, tuple) or len(asked) < 5 or asked[0] != "storage":
        raise Malformed("a reference to something outside")
    _, kind, key, _, count = asked[:5]
    if not isinstance(key, str | int) or type(count) is not int or count < 0:
        raise Malformed("a reference to something outside")
    return str(key), storage_type(kind), count


def _fill(values: torch.Tensor, stream: Stream) -> None:
    (count,) = struct.unpack("<q", stream.read(8).ljust(8, b"\xff"))
    data = stream.read(values.nbytes) if count == len(values) else b""
    if count != len(values) or len(data) != values.nbytes:
        raise Malformed("tensors without their numbers")
    if count:
        values.copy_(torch.frombuffer(bytearray(data), dtype=values.dtype))


def _read_archive(content: mmap.mmap) -> Any:
    """Torch's newer format."""
    _check_directory(content)
    try:
        with zipfile.ZipFile(_Window(content)) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1:
                raise Malformed("an archive that torch.save has not written")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise Malformed("a compressed archive, which torch.save does not write")
            if sum(entry.file_size for entry in entries.values()) > len(content):
                raise Malformed("an archive that claims more than it holds")
            folder = pickles[0].removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in entries and archive.read(order) != b"little":
                raise Malformed("numbers in another byte order")
            storages: dict[str, Storage] = {}

            def find(asked: Any) -> Storage:
                key, dtype, count = _asked(asked)
                if key not in storages:
                    entry = entries.get(f"{folder}data/{key}")
                    if entry is None or entry.file_size != count * dtype.itemsize:
                        raise Malformed("a tensor of another size than its storage")
                    storages[key] = Storage(_tensor(archive.read(entry), dtype))
                if len(storages[key].values) != count or storages[key].values.dtype != dtype:
                    raise Malformed("a tensor of another size than its storage")
                return storages[key]

            data = archive.read(pickles[0])
            return Interpreter(io.BytesIO(data), Budget(len(content)), find).load()
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Malformed(f"a damaged archive ({error})") from error


def _tensor(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _check_directory(content: mmap.mmap) -> None:
    """Refuse a table of contents that is not there, or would take too much memory."""
    end = content[-22:]
    if len(end) < 22 or not end.startswith(b"PK\5\6"):
        raise Malformed("an archive that is broken off")
    (size,) = struct.unpack("<I", end[12:16])
    locator = content[-42:-22]
    if locator.startswith(b"PK\6\7"):
        (position,) = struct.unpack("<Q", locator[8:16])
        record = content[position : position + 56]
        if not record.startswith(b"PK\6\6") or len(record) < 56:
            raise Malformed("an archive that is broken off")
        (size,) = struct.unpack("<Q", record[40:48])
    if size > min(_DIRECTORY_LIMIT, len(content)):
        raise Malformed("an archive with too large a table of contents")


class _Window(io.RawIOBase):
    """A file in memory for ``zipfile``; reading allocates no more than there is."""

    def __init__(self, content: mmap.mmap) -> None:
        super().__init__()
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self._content)}[whence]
        if start + position < 0:
            raise OSError("a position before the beginning")
        self._at = start + position
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        end = len(self._content) if size is None or size < 0 else self._at + size
        data = self._content[self._at : end]
        self._at += len(data)
        return data


class _JoblibInterpreter(Interpreter):
    """Of what ``joblib.dump`` writes.

    It is a pickle, except that each array's wrapper is followed by one byte that counts the bytes of padding, the
    padding, and the array's bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        super().__init__(self._file, Budget(len(data)))

    def _build(self, target: Any, state: Any) -> Any:
        if isinstance(target, Stub) and (target.module, target.name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return self._read_array(state if isinstance(state, dict) else {})
        return super()._build(target, state)

    def _read_array(self, wrapper: dict[str, Any]) -> Any:
        shape, dtype = wrapper.get("shape"), wrapper.get("dtype")
        if wrapper.get("subclass") != Name("numpy", "ndarray") or not isinstance(dtype, np.dtype) or dtype.hasobject:
            raise Malformed("an array of an unknown class or type")
        if not isinstance(shape, tuple) or not all(type(side) is int and side > 0 for side in shape):
            raise Malformed("an array with an impossible shape")
        if wrapper.get("numpy_array_alignment_bytes") is not None:  # joblib before 1.2 wrote no padding
            self._file.seek(self._file.read(1)[0], io.SEEK_CUR)
        data = self._file.read(math.prod(shape) * dtype.itemsize) if math.prod(shape) < 1 << 48 else b""
        if len(data) < math.prod(shape) * dtype.itemsize:
            raise Malformed("an array larger than the file")
        return self._array(shape, dtype, wrapper.get("order") == "F", data)
