"""Checkpoints to tensors and tensors into modules, strictly, without executing anything that a file holds.

Formats built on pickle are read by :mod:`ostec.io.pickles`.
"""

import io
import math
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from ostec.core.assets import check_file, verified_path
from ostec.core.errors import AssetError, WeightsError, out_of_memory
from ostec.core.plain import open_plain, read_plain
from ostec.core.tensors import require_same_shapes
from ostec.core.types import Array
from ostec.io.pickles import Budget, Interpreter, Malformed, Name, Stub, read_objects, told

_STATE_KEYS = ("state_dict", "g_ema", "net_recon", "model", "net", "params", "module")
"""Where training programs put a state dict."""
_HEADER_LIMIT = 16 << 20
"""Bytes of a safetensors header, which takes many times as much memory; its library would take 100 MB."""
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
    """Read every tensor of a safetensors file onto the CPU. Raises WeightsError if the file is missing or damaged."""
    size = 0
    try:
        with open_plain(path) as stream:
            header = int.from_bytes(stream.read(8), "little")
            size = os.fstat(stream.fileno()).st_size
        if min(header, size) > _HEADER_LIMIT:
            raise ValueError(f"its header claims {header} bytes")
        return dict(load_file(path, device="cpu"))
    except (OSError, SafetensorError, ValueError, KeyError, MemoryError, RuntimeError) as error:
        reason = out_of_memory(error, f"its {size} bytes") or error
        raise WeightsError(f"{path} cannot be read as safetensors ({reason}).") from error


def read_torch(path: Path, size: int, sha256: str) -> dict[str, torch.Tensor]:
    """Read the tensors that ``torch.save`` wrote into a file of others, onto the CPU.

    Nothing is read before size and SHA-256 are the expected ones, and nothing but tensors then. Raises AssetError if
    the file is missing or another, WeightsError if it holds anything but tensors by name.
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


def read_state(path: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """Read a network's tensors by name, onto the CPU, from a file of which nothing is executed.

    Args:
        path: a safetensors file, or what ``torch.save`` wrote: a state dict, or a dictionary with one under a key such
            as ``state_dict``; what is no tensor in it is left out.
        prefix: only the tensors whose names begin so are returned, without it.

    Raises WeightsError if the file is missing or damaged, would call something, or holds no such tensors.
    """
    content = read_safetensors(path) if is_safetensors(path) else read_objects(path)
    tables = [*(content.get(key) for key in _STATE_KEYS), content] if isinstance(content, dict) else []
    for table in tables:
        found = {
            name.removeprefix(prefix): tensor
            for name, tensor in (table.items() if isinstance(table, dict) else ())
            if isinstance(name, str) and isinstance(tensor, torch.Tensor) and name.startswith(prefix)
        }
        if found:
            return found
    what = f"tensors whose names begin with {prefix!r}" if prefix else "tensors by name"
    held = ", ".join(sorted(map(told, content))[:6]) if isinstance(content, dict) else told(content)
    raise WeightsError(f"{path} does not hold {what}, as expected, but {held or 'nothing'}.")


def is_safetensors(path: Path) -> bool:
    """Whether a file is called safetensors, or begins as they do: eight bytes of length, then a JSON object."""
    if path.suffix == ".safetensors":
        return True
    try:
        with open_plain(path) as stream:
            head = stream.read(9)
    except OSError:
        return False
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _HEADER_LIMIT


def check_beginning(path: Path) -> Path:
    """The same path. Raises WeightsError where a file begins with zeros, as no format does: before all is hashed."""
    try:
        with open_plain(path) as stream:
            if any(stream.read(8)):
                return path
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}).") from error
    raise WeightsError(f"{path} cannot be used: it is empty or begins with zeros, so it is no file of weights.")


def encode_safetensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """A safetensors file holding ``tensors``, the same bytes for the same values."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def load_strict(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy ``tensors``, a network's whole state, into ``module``; names and shapes must agree exactly.

    Raises WeightsError if a tensor is missing, superfluous or of another shape; the first few are named.
    """
    require_same_shapes(module.state_dict(), tensors, f"{source} does not fit {type(module).__name__}")
    module.load_state_dict(tensors, strict=True)


def read_mtcnn() -> dict[str, list[Array]]:
    """Read the weights of MTCNN's three networks out of the installed package ``mtcnn``.

    The package is located, never imported: importing it would load TensorFlow. What its files must be is written in
    ``external/mtcnn.toml``; AssetError if one is missing or another. Returns ``pnet``, ``rnet``, ``onet`` -> the
    layers' float32 arrays in Keras order, for ``ostec.nets.mtcnn``.
    """
    weights = {}
    for stage in ("pnet", "rnet", "onet"):
        try:
            path = verified_path("mtcnn", f"assets/weights/{stage}.lz4")
            packed = read_plain(path, _UNPACKED_LIMIT)
        except (AssetError, OSError) as error:
            reason = str(error).rstrip(".")
            raise AssetError(
                f"The face detector cannot be loaded ({reason}); "
                "please run: pip install --force-reinstall --no-deps mtcnn==1.0.0"
            ) from error
        weights[stage] = load_joblib_lz4(packed, str(path))
    return weights


def load_joblib_lz4(packed: bytes, source: str, limit: int = _UNPACKED_LIMIT) -> list[Array]:
    """Read a list of arrays of plain numbers that ``joblib.dump`` wrote with LZ4 compression.

    Raises WeightsError if it is damaged, unpacks to more than ``limit`` bytes or holds anything but a list of arrays.
    """
    unpacked = _unpack_lz4(packed, source, limit)
    try:
        content = _JoblibInterpreter(unpacked).load()
    except Malformed as error:
        raise WeightsError(f"{source} does not hold plain arrays alone: found {error}.") from error
    if not isinstance(content, list) or not all(isinstance(item, np.ndarray) for item in content):
        raise WeightsError(f"{source} does not hold a list of arrays.")
    return content


class _JoblibInterpreter(Interpreter):
    """Of what ``joblib.dump`` writes without compression.

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
