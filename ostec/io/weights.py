"""Checkpoints to tensors and tensors into modules, strictly, without executing anything that a file holds.

Also the only place that knows formats built on pickle. They are read by an interpreter that knows the few instructions
which arrays need and for which a name is only a mark, so that a hostile file can neither import nor call anything, nor
take more memory than it has bytes.
"""

import io
import math
import pickle
import pickletools
import warnings
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from ostec.core.assets import check_file, verified_path
from ostec.core.errors import AssetError, WeightsError
from ostec.core.tensors import require_same_shapes
from ostec.core.types import Array

_PIECE = 256 << 10
_UNPACKED_LIMIT = 64 << 20
"""Bytes; the largest of MTCNN's files unpacks to 1.6 MB."""
_UNREADABLE = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    pickle.UnpicklingError,
)
"""What ``torch.load`` raises over files that are broken off, garbled or want more than tensors."""


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file onto the CPU.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        return dict(load_file(path, device="cpu"))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}).") from error


def read_torch(path: Path, size: int, sha256: str) -> dict[str, torch.Tensor]:
    """Read the tensors that ``torch.save`` wrote into a file of others, onto the CPU.

    Nothing is read before size and SHA-256 are the expected ones, and nothing but tensors then.

    Args:
        path: the file.
        size: its bytes.
        sha256: 64 hexadecimal digits.

    Raises:
        AssetError: the file is missing, or its size or SHA-256 is another.
        WeightsError: it holds anything but tensors by name.
    """
    check_file(path, size, sha256)
    try:
        with warnings.catch_warnings():  # of a pickle that it does not know it warns, before it refuses it
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise WeightsError(f"{path} does not hold plain tensors alone.") from error
    if not isinstance(content, dict) or not all(
        isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()
    ):
        raise WeightsError(f"{path} does not hold tensors by name.")
    return dict(content)


def encode_safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """A safetensors file holding ``tensors``, the same bytes for the same values."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def load_strict(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy ``tensors`` into ``module``; names and shapes must agree exactly.

    Args:
        module: a built network.
        tensors: its whole state, by name.
        source: where the tensors came from, for the message.

    Raises:
        WeightsError: a tensor is missing, superfluous or of another shape; the first few are named.
    """
    require_same_shapes(module.state_dict(), tensors, f"{source} does not fit {type(module).__name__}")
    module.load_state_dict(tensors, strict=True)


def read_mtcnn() -> dict[str, list[Array]]:
    """Read the weights of MTCNN's three networks out of the installed package ``mtcnn``.

    The package is located, never imported: importing it would load TensorFlow. What its files must be is written in
    ``external/mtcnn.toml``.

    Returns:
        ``pnet``, ``rnet``, ``onet`` -> the layers' float32 arrays in Keras order, for ``ostec.nets.mtcnn``.

    Raises:
        AssetError: the package is not installed, or one of the files is missing or another than expected.
    """
    weights = {}
    for stage in ("pnet", "rnet", "onet"):
        try:
            path = verified_path("mtcnn", f"assets/weights/{stage}.lz4")
            packed = path.read_bytes()
        except (AssetError, OSError) as error:
            reason = str(error).rstrip(".")
            raise AssetError(
                f"The face detector cannot be loaded ({reason}); "
                "please run: pip install --force-reinstall --no-deps mtcnn==1.0.0"
            ) from error
        weights[stage] = load_joblib_lz4(packed, str(path))
    return weights


def load_joblib_lz4(packed: bytes, source: str, limit: int = _UNPACKED_LIMIT) -> list[Array]:
    """Read a list of arrays that ``joblib.dump`` wrote with LZ4 compression.

    Args:
        packed: the whole file.
        source: where it came from, for messages.
        limit: the most bytes it may unpack to.

    Returns:
        The arrays, each of a plain little-endian float or integer type.

    Raises:
        WeightsError: the file is damaged, too large or holds anything but a list of arrays.
    """
    unpacked = _unpack_lz4(packed, source, limit)
    try:
        content = _ArrayStream(unpacked).load()
    except _Malformed as error:
        raise WeightsError(f"{source} does not hold plain arrays alone: {error}.") from error
    if not isinstance(content, list) or not all(isinstance(item, np.ndarray) for item in content):
        raise WeightsError(f"{source} does not hold a list of arrays.")
    return content


def _unpack_lz4(packed: bytes, source: str, limit: int) -> bytes:
    from lz4.frame import LZ4FrameDecompressor

    machine = LZ4FrameDecompressor()
    unpacked = bytearray()
    try:
        part = packed
        while not machine.eof:
            # In pieces: what is asked for is allocated at once.
            unpacked += machine.decompress(part, max_length=_PIECE)
            part = b""
            if len(unpacked) > limit:
                raise WeightsError(f"{source} is damaged: it unpacks to more than {limit} bytes.")
            if machine.needs_input and not machine.eof:
                raise WeightsError(f"{source} is damaged: it ends too early.")
    except (RuntimeError, EOFError) as error:
        raise WeightsError(f"{source} is damaged: it is no whole LZ4 file ({error}).") from error
    return bytes(unpacked)


class _Malformed(Exception):
    """The stream asks for something that a list of arrays does not need, or breaks off."""


class _Name(Enum):
    """The only names a stream may use. They stand for themselves: nothing is ever looked up or called."""

    WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")
    NDARRAY = ("numpy", "ndarray")
    DTYPE = ("numpy", "dtype")


class _Wrapper:
    """joblib's description of an array, before the array's bytes, which follow it in the stream, were read."""


_NUMBER_TYPES = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"})
_PLAIN_TYPE_STATES = tuple((order, None, None, None) for order in "<|")
"""Byte order (little or none), sub-array, field names, fields: of a dtype's state, what matters."""


class _ArrayStream:
    """Interprets the instructions that ``joblib.dump`` writes for nested lists and tuples of arrays.

    It is a pickle stream, except that each array's wrapper is followed by one byte that counts the bytes of padding,
    the padding, and the array's bytes.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._file = io.BytesIO(data)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []

    def load(self) -> Any:
        """Run to the end.

        Raises:
            _Malformed: as its description says.
        """
        try:
            for opcode, argument, _ in pickletools.genops(self._file):
                if opcode.name == "STOP":
                    return self._pop(object)
                self._step(opcode.name, argument)
        except (ValueError, IndexError) as error:
            raise _Malformed(f"broken off or garbled at byte {self._file.tell()}") from error
        raise _Malformed("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        push = self._stack.append
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(self._stack))
            case "BININT" | "BININT1" | "BININT2" | "BINUNICODE" | "SHORT_BINUNICODE":
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE":
                push({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
            case "TUPLE":
                push(tuple(self._pop_to_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self._pop(object) for _ in range(int(name[-1])))[::-1])
            case "APPEND" | "APPENDS":
                items = [self._pop(object)] if name == "APPEND" else self._pop_to_mark()
                self._top(list).extend(items)
            case "SETITEM" | "SETITEMS":
                items = [self._pop(object), self._pop(object)][::-1] if name == "SETITEM" else self._pop_to_mark()
                if not all(isinstance(key, str) for key in items[::2]):
                    raise _Malformed("a dictionary with keys other than strings")
                self._top(dict).update(zip(items[::2], items[1::2], strict=True))
            case "MEMOIZE":
                self._memo.append(self._top(object))
            case "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "STACK_GLOBAL":
                push(self._name())
            case "NEWOBJ" | "REDUCE" | "BUILD":
                push({"NEWOBJ": self._new, "REDUCE": self._reduce, "BUILD": self._build}[name]())
            case _:
                raise _Malformed(f"the instruction {name}")

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise _Malformed(f"a {type(self._stack[-1]).__name__} where a {kind.__name__} belongs")
        return self._stack[-1]

    def _pop(self, kind: type) -> Any:
        self._top(kind)
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _name(self) -> _Name:
        name, module = self._pop(str), self._pop(str)
        try:
            return _Name((module, name))
        except ValueError:
            raise _Malformed(f"the name {module[:80]}.{name[:80]}") from None

    def _new(self) -> _Wrapper:
        arguments, name = self._pop(tuple), self._pop(_Name)
        if name is not _Name.WRAPPER or arguments:
            raise _Malformed("an object other than an array")
        return _Wrapper()

    def _reduce(self) -> np.dtype[Any]:
        arguments, name = self._pop(tuple), self._pop(_Name)
        kind = arguments[0] if name is _Name.DTYPE and arguments else None
        if not isinstance(kind, str) or kind not in _NUMBER_TYPES:
            raise _Malformed("a call, or an array of something else than numbers")
        return np.dtype(f"<{kind}")

    def _build(self) -> Array | np.dtype[Any]:
        state = self._stack.pop()
        target = self._pop(object)
        if isinstance(target, np.dtype) and isinstance(state, tuple) and state[1:5] in _PLAIN_TYPE_STATES:
            return target
        if isinstance(target, _Wrapper) and isinstance(state, dict):
            return self._read_array(state)
        raise _Malformed("an object other than a plain array")

    def _read_array(self, wrapper: dict[str, Any]) -> Array:
        shape, dtype = wrapper.get("shape"), wrapper.get("dtype")
        if wrapper.get("subclass") is not _Name.NDARRAY or not isinstance(dtype, np.dtype):
            raise _Malformed("an array of an unknown class or type")
        if not isinstance(shape, tuple) or not all(type(side) is int and side > 0 for side in shape):
            raise _Malformed("an array with an impossible shape")
        if wrapper.get("numpy_array_alignment_bytes") is not None:  # joblib before 1.2 wrote no padding
            self._file.seek(self._file.read(1)[0], io.SEEK_CUR)
        start, count = self._file.tell(), math.prod(shape)
        if start + count * dtype.itemsize > len(self._data):
            raise _Malformed("an array larger than the file")
        self._file.seek(count * dtype.itemsize, io.SEEK_CUR)
        # A copy: the result is writable and does not hold the whole file.
        values = np.frombuffer(self._data, dtype, count, start).copy()
        return values.reshape(shape, order="F" if wrapper.get("order") == "F" else "C")
