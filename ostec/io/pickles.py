"""Files of ``pickle``, ``torch.save`` and NumPy's pickles to plain data, without executing anything that they hold.

Known are plain pickles of protocols 0 to 5, both formats of ``torch.save`` (the archive, in which each storage is a
file beside the pickle, and the older stream, in which the storages follow it), and objects of ``numpy.save``.

Pickle's instructions are interpreted here without importing or calling anything that a file names. A name is only a
mark. The few calls that arrays, tensors and plain containers need are carried out by code of this module; an instance
of any other class becomes a :class:`Stub`; any other call is refused. What a file can make the interpreter hold is
bounded by the file's own size, and so is its time: copies and look-ups are paid from a :class:`Budget`.
"""

import contextlib
import io
import math
import mmap
import pickletools
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from ostec.core.errors import WeightsError, kind_of, out_of_memory
from ostec.core.plain import open_plain
from ostec.io.arrays import check_directory, read_npy_header

MAX_INSTRUCTIONS = 1_000_000
"""A generator with its optimiser's state takes some 30,000."""
_MAX_BITS, _MAX_KEY_BITS, _MAX_PARTS = 4096, 64, 32
"""Of a whole number, of one as a key; of a shape or a key: with more, arithmetic and hashing would take their time."""
_MAX_PROBES, _TUPLE_PROBES = 1 << 27, 16
"""Of keys other than text, whose hash is secret: a second or two. Any number of tuples may share a hash."""
_GAP = object()  # in the memo, where nothing is
_PLAIN = (str, int, float, bytes, bool, type(None))
_NUMBER = re.compile(r"[fiu][1248]|b1|c8|c16|[SU]\d{1,6}|O8?")
_PLAIN_TYPE_STATES = tuple((order, None, None, None) for order in "<|=")
"""Byte order (little or none), sub-array, field names, fields: of a dtype's state, what matters."""
_STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
}
_MAGIC = 0x1950A86A20F9469CFC6C
"""What the older format of torch.save begins with, as a pickle of its own."""
_OTHER_FILES = (
    (b"<", "a web page"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file"),
    (b"\x89PNG", "a picture"),
    (b"\x1f\x8b", "an archive (gzip)"),
    (b"\x89HDF", "an HDF5 file"),
)


class Malformed(Exception):
    """The file breaks off, is garbled, or asks for something that plain data do not need; the text says what."""


@dataclass(frozen=True)
class Name:
    """A class or function that a file names; it stands for itself and is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module[:60]}.{self.name[:60]}"


@dataclass(eq=False)
class Stub:
    """An instance of a class that is neither built nor called: what the file says about it."""

    module: str
    name: str
    state: Any = None
    args: tuple[Any, ...] = ()
    entries: dict[Any, Any] = field(default_factory=dict)
    """Of a child of dict."""


@dataclass
class Storage:
    """The numbers behind tensors."""

    values: torch.Tensor  # [N]


@dataclass(eq=False)
class _Shell:
    """A NumPy array whose shape and numbers come with a later instruction."""

    places: list[int] = field(default_factory=list)
    """Where the memo has it, to be replaced then."""


_DICTIONARIES = {
    *(Name("collections", kind) for kind in ("OrderedDict", "defaultdict", "Counter")),
    *(Name(module, "EasyDict") for module in ("dnnlib", "dnnlib.util")),
}
_INERT = {
    *(Name("pathlib", kind) for kind in ("PosixPath", "WindowsPath")),
    *(Name("argparse", "Namespace"), Name("torch", "device"), Name("torch.serialization", "_get_layout")),
}
"""What training scripts leave beside the weights: calls without harm or use."""


class Budget:
    """Bytes that a file may still make the reader copy, and look-ups that it may cost."""

    def __init__(self, size: int) -> None:
        # An honest file has each of its numbers copied once; text that stands for bytes, and bytes in bytes, twice.
        self._left = 4 * size + (1 << 20)
        self._probes = _MAX_PROBES

    def take(self, count: int) -> None:
        """Pay for ``count`` bytes before they are allocated."""
        self._left -= count
        if self._left < 0:
            raise Malformed("more data than the file has room for")

    def look_up(self, count: int) -> None:
        """Pay for the keys that could meet in a container."""
        self._probes -= count
        if self._probes < 0:
            raise Malformed("too many numbers for keys")


class Interpreter:
    """Runs one pickle from a stream; its end is left where the pickle ends."""

    def __init__(
        self,
        stream: Any,
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
        nested: Callable[[bytes], Any] | None = None,
    ) -> None:
        """``persistent`` resolves ids of storages, ``nested`` reads what torch stored within a string of bytes."""
        self._stream, self._budget = stream, budget
        self._persistent, self._nested = persistent, nested
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []  # no dict: chosen numbers would all meet in one place of it

    def load(self) -> Any:
        """Run to the end. Raises Malformed."""
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(self._stream)):
                if opcode.name == "STOP":
                    return self._pop()
                if count > MAX_INSTRUCTIONS:
                    raise Malformed(f"more than {MAX_INSTRUCTIONS} instructions")
                self._step(opcode.name, argument)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError, RuntimeError) as error:
            raise Malformed(f"something broken off or garbled at byte {self._stream.tell()}") from error
        raise Malformed("no end")

    def _step(self, name: str, argument: Any) -> None:
        push = self._stack.append
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                self._marks.append(len(self._stack))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                push({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[name])
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE" | "EMPTY_SET":
                push({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": set}[name]())
            case "TUPLE" | "LIST" | "FROZENSET":
                items = self._pop_to_mark()
                push(tuple(items) if name == "TUPLE" else items if name == "LIST" else set(self._keys(items)))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self._pop() for _ in range(int(name[-1])))[::-1])
            case "APPEND" | "APPENDS" | "ADDITEMS" | "SETITEM" | "SETITEMS" | "DICT":
                self._fill(name)
            case "MEMOIZE" | "PUT" | "BINPUT" | "LONG_BINPUT":
                self._remember(len(self._memo) if argument is None else argument, self._stack[-1])
            case "GET" | "BINGET" | "LONG_BINGET":
                if argument < 0 or self._memo[argument] is _GAP:
                    raise IndexError(argument)
                push(self._memo[argument])
            case "DUP":
                push(self._stack[-1])
            case "POP" if not self._marks or self._marks[-1] != len(self._stack):
                self._stack.pop()
            case "POP" | "POP_MARK":
                self._pop_to_mark()
            case "GLOBAL":
                push(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                short, module = self._pop(str), self._pop(str)
                push(_name(module, short))
            case "PERSID" | "BINPERSID":
                if self._persistent is None or name == "PERSID":
                    raise Malformed("a reference to something outside")
                push(self._persistent(self._pop()))
            case "REDUCE" | "NEWOBJ" | "NEWOBJ_EX" | "OBJ" | "INST" | "BUILD":
                self._object(name, argument)
            case _ if isinstance(argument, (*_PLAIN, bytearray)) and argument is not None and name[:3] != "EXT":
                if isinstance(argument, int) and argument.bit_length() > _MAX_BITS:
                    raise Malformed("an enormous number")
                push(argument)
            case _:
                raise Malformed(f"the instruction {name}")

    def _pop(self, kind: Any = object) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise Malformed(f"{type(self._stack[-1]).__name__} in the place of something else")
        return self._stack.pop()

    def _pop_to_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _remember(self, place: int, item: Any) -> None:
        gap = place - len(self._memo)
        if place < 0:
            raise IndexError(place)
        if gap >= 0:  # picklers count from 0 or 1, and optimizing leaves gaps
            self._budget.take(8 * gap)
            self._memo.extend([_GAP] * (gap + 1))
        self._memo[place] = item
        if isinstance(item, _Shell):
            item.places.append(place)

    def _fill(self, name: str) -> None:
        """Put items into the container below them."""
        single = {"APPEND": 1, "SETITEM": 2}.get(name)
        items = self._pop_to_mark() if single is None else [self._pop() for _ in range(single)][::-1]
        if name == "DICT":
            self._stack.append({})
        target = self._stack[-1]
        if name == "ADDITEMS" and isinstance(target, set):
            target.update(self._keys(items, len(target)))
        elif name in ("APPEND", "APPENDS") and isinstance(target, list):
            target.extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT") and isinstance(target, dict | Stub):
            entries = target.entries if isinstance(target, Stub) else target
            entries.update(zip(self._keys(items[::2], len(entries)), items[1::2], strict=True))
        else:
            raise Malformed(f"{type(target).__name__} in the place of a container")

    def _object(self, name: str, argument: Any) -> None:
        if name == "BUILD":
            state = self._pop()
            self._stack.append(self._build(self._pop(), state))
            return
        if name in ("INST", "OBJ"):  # of Python 2: a call if there are arguments
            items = self._pop_to_mark()
            kind = _name(*argument.split(" ", 1)) if name == "INST" else items.pop(0)
            arguments = tuple(items)
            if arguments or not isinstance(kind, Name):
                raise Malformed(f"a call of {kind}" if isinstance(kind, Name) else "a call")
        else:
            if name == "NEWOBJ_EX" and self._pop(dict):
                raise Malformed("an object with named arguments")
            arguments, kind = self._pop(tuple), self._pop(Name)
        self._stack.append(self._call(kind, arguments) if name == "REDUCE" else _instance(kind, arguments))

    def _call(self, kind: Name, arguments: tuple[Any, ...]) -> Any:
        """What the few known functions would return."""
        match kind.module, kind.name, arguments:
            case "copyreg", "_reconstructor", (Name() as real, Name(), state):
                made = _instance(real)
                if isinstance(state, dict) and self._keys(self._paid(state, 100)):
                    (made.entries if isinstance(made, Stub) else made).update(state)
                return made
            case "builtins", "set" | "frozenset", () | (list(),):
                return set(self._keys(self._paid(arguments[0], 100) if arguments else []))
            case "builtins", "list" | "tuple" | "bytearray" | "bytes" as made, () | (list() | tuple() | bytes(),):
                kinds: dict[str, Any] = {"list": list, "tuple": tuple, "bytearray": bytearray, "bytes": bytes}
                return kinds[made](*(self._paid(each, 8) for each in arguments))
            case "_codecs", "encode", (str() as text, "latin1" | "latin-1"):
                return self._paid(text, 1).encode("latin-1")
            case "numpy.core.multiarray", "_reconstruct", (Name("numpy", "ndarray"), *_):
                return _Shell()
            case "numpy.core.multiarray", "scalar", (np.dtype() as dtype, data):
                return self._array((), dtype, False, data).item()
            case "numpy.core.numeric", "_frombuffer", (data, np.dtype() as dtype, shape, order):
                return self._array(shape, dtype, order == "F", data)
            case "numpy", "dtype", (str() as letters, *_) if _NUMBER.fullmatch(letters):
                return np.dtype(f"<{letters}" if letters[0] in "fiucU" else letters)
            case "numpy", "dtype", _:
                raise Malformed("an array of something else than numbers")
            case ("torch", "Size", (tuple() | list() as sizes,)):
                return tuple(self._paid(sizes, 8))
            case "torch_utils.persistence", "_reconstruct_persistent_obj", (
                {"class_name": str() as of, "state": state},
            ):
                return Stub("torch_utils.persistence", of[:80], state)
            case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", (Storage(values), start, size, steps, *_):
                return _view(values, start, size, steps)
            case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", (torch.Tensor() as data, *_):
                return data
            case "torch._tensor" | "torch.tensor", "_rebuild_from_type_v2", (Name() as way, Name(), tuple() as of, _):
                return self._call(way, of)
            case "torch.storage", "_load_from_bytes", (bytes() as data,) if self._nested is not None:
                return self._nested(data)
        if kind in _DICTIONARIES:
            pairs = arguments[0] if arguments and isinstance(arguments[0], list | dict) else []
            pairs = list(pairs.items()) if isinstance(pairs, dict) else pairs
            keys = self._keys(key for key, _ in self._paid(pairs, 100))
            return dict(zip(keys, (value for _, value in pairs), strict=True))
        if kind in _INERT:
            return Stub(kind.module, kind.name, None, arguments)
        raise Malformed(f"a call of {kind}")

    def _build(self, target: Any, state: Any) -> Any:
        if isinstance(target, np.dtype):
            if not isinstance(state, tuple) or state[1:5] not in _PLAIN_TYPE_STATES:
                raise Malformed("an array of something else than plain little-endian numbers")
        elif isinstance(target, _Shell):
            if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], np.dtype):
                raise Malformed("an array without shape, type and numbers")
            array = self._array(state[1], state[2], bool(state[3]), state[4])
            for place in target.places:
                if self._memo[place] is target:
                    self._memo[place] = array
            target.places.clear()
            return array
        elif isinstance(target, Stub):
            target.state = state
        elif not isinstance(target, dict):  # whose own attributes, as of a state_dict, are of no use
            raise Malformed(f"a state for {type(target).__name__}")
        return target

    def _array(self, shape: Any, dtype: np.dtype[Any], by_column: bool, data: Any) -> Any:
        """An array of its own, writable, from bytes that must fit exactly."""
        if not isinstance(shape, tuple) or len(shape) > _MAX_PARTS or not all(map(_is_count, shape)):
            raise Malformed("an array with an impossible shape")
        order: Any = "F" if by_column else "C"
        count = math.prod(shape)
        if dtype.hasobject:
            if not isinstance(data, list) or len(data) != count:
                raise Malformed("an array of objects that does not have them")
            values = np.empty(count, dtype)
            for index, item in enumerate(self._paid(data, 8)):
                values[index] = item
            return values.reshape(shape, order=order)
        if isinstance(data, str):  # Python 2's
            data = self._paid(data, 1).encode("latin-1")
        if not isinstance(data, bytes | bytearray) or count * dtype.itemsize != len(data):
            raise Malformed("an array of another size than its data")
        if not count:
            return np.zeros(shape, dtype)
        return np.frombuffer(self._paid(data, 1), dtype, count).copy().reshape(shape, order=order)

    def _keys(self, keys: Iterable[Any], held: int = 0) -> list[Any]:
        """What may be keys of a container that holds so many: hashing something nested could exhaust the stack."""
        found, cost = list(keys), 0
        for key in found:
            flat = key if isinstance(key, tuple) else (key,)
            if len(flat) > _MAX_PARTS or not all(isinstance(part, (*_PLAIN, Name)) for part in flat):
                raise Malformed("a dictionary with keys other than plain ones")
            if any(isinstance(part, int) and part.bit_length() > _MAX_KEY_BITS for part in flat):
                raise Malformed("a dictionary with enormous numbers for keys")
            cost += _TUPLE_PROBES if isinstance(key, tuple) else not isinstance(key, str | bytes | Name)
        self._budget.look_up(cost * (held + len(found)))
        return found

    def _paid(self, items: Any, each: int) -> Any:
        """``items``, of which a copy is about to be made."""
        self._budget.take(each * len(items))
        return items


def _instance(kind: Name, arguments: tuple[Any, ...] = ()) -> Any:
    return {} if kind in _DICTIONARIES else Stub(kind.module, kind.name, None, arguments)


def _name(module: str, name: str) -> Name:
    """The name as Python 3 and NumPy 1 call it."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    return Name(re.sub(r"^numpy\._core\b", "numpy.core", module), name)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 62


def _view(values: torch.Tensor, start: Any, size: Any, steps: Any) -> torch.Tensor:
    """A tensor within its storage."""
    plain = isinstance(size, tuple) and isinstance(steps, tuple) and len(size) == len(steps) <= _MAX_PARTS
    if not plain or not all(map(_is_count, (*size, *steps, start))):
        raise Malformed("a tensor with an impossible shape")
    last = start + sum((side - 1) * step for side, step in zip(size, steps, strict=True))
    if math.prod(size) and (last >= len(values) or math.prod(size) > len(values)):
        raise Malformed("a tensor larger than its storage")
    return values.as_strided(size, steps, start) if math.prod(size) else values.new_zeros(size)


def read_objects(path: Path) -> Any:
    """Read what a file holds.

    Returns plain containers (dict, list, tuple, set) of text, bytes, numbers, None, NumPy arrays, tensors (on the CPU,
    of the type that was stored, views of the file's storages) and :class:`Stub` for instances of other classes. Raises
    WeightsError if it is missing, damaged, claims more than it holds, or would call something; nothing has been
    executed.
    """
    with _opened(path, "a pickle or a file of torch.save with plain data") as (file, content):
        for start, what in _OTHER_FILES:
            if content[:32].lstrip().startswith(start):
                raise Malformed(what)
        if content[:2] == b"PK":
            return _read_archive(file, content)
        return _read_stream(content, len(content), Budget(len(content)))


def read_npy_object(path: Path) -> Any:
    """Read the one object of a .npy file, as ``numpy.load(path, allow_pickle=True).item()`` would.

    Returns what :func:`read_objects` would for it; raises WeightsError as it does, and for arrays.
    """
    with _opened(path, "one object saved by NumPy") as (_, content):
        try:
            head = read_npy_header(content, "the object")
        except ValueError as error:
            raise Malformed("no header of a .npy file") from error
        if not head.dtype.hasobject:
            raise Malformed("an array of numbers")
        held = _read_stream(content, len(content), Budget(len(content)))
        if not isinstance(held, np.ndarray) or held.shape != ():
            raise Malformed("several")
        return held.item()


@contextlib.contextmanager
def _opened(path: Path, expected: str) -> Iterator[tuple[BinaryIO, mmap.mmap]]:
    """A file, and its content; what is wrong with it becomes a WeightsError."""
    size = 0
    try:
        with open_plain(path) as file:
            if not (size := file.seek(0, io.SEEK_END)):
                raise Malformed("an empty file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield file, content
    except (OSError, MemoryError) as error:
        reason = out_of_memory(error, f"its {size} bytes") or getattr(error, "strerror", None) or error
        raise WeightsError(f"{path} cannot be read ({reason}).") from error
    except Malformed as error:
        raise WeightsError(f"{path} cannot be used: expected {expected}, found {error}.") from error


def told(value: Any) -> str:
    """A few letters about something that a file holds, for a message.

    Containers are named by their kind: in text a small file with lists of lists could fill all memory.
    """
    if isinstance(value, Stub):
        return f"an instance of {value.module[:40]}.{value.name[:40]}"
    plain = value is None or isinstance(value, str | int | float)
    return str(value)[:40] if plain else kind_of(value)


def _read_stream(stream: Any, size: int, budget: Budget, depth: int = 0) -> Any:
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
    if version != 1001 or not isinstance(system, dict) or system.get("little_endian") is not True:
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
    storages: dict[str, Storage], stream: Any, size: int, budget: Budget
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
        if len(asked) < 6 or asked[5] is None:
            return storages[key]
        whole, (_, start, length) = storages[key].values, asked[5]
        if not 0 <= start <= start + length <= len(whole):
            raise Malformed("a tensor larger than its storage")
        return Storage(whole[start : start + length])

    return find


def _asked(asked: Any) -> tuple[str, torch.dtype, int]:
    """Key, type and count of the storage that a file refers to."""
    match asked:
        case ("storage", kind, str() | int() as key, _, int() as count, *_) if type(count) is int and count >= 0:
            pass
        case _:
            raise Malformed("a reference to something outside")
    dtype = _STORAGE_TYPES.get(kind.name.lstrip("_")) if isinstance(kind, Name) else None
    if dtype is None or kind.module not in ("torch", "torch.cuda", "torch.storage"):
        raise Malformed("a tensor of an unknown type")
    return str(key), dtype, count


def _fill(values: torch.Tensor, stream: Any) -> None:
    (count,) = struct.unpack("<q", stream.read(8).ljust(8, b"\xff"))
    data = stream.read(values.nbytes) if count == len(values) else b""
    if count != len(values) or len(data) != values.nbytes:
        raise Malformed("tensors without their numbers")
    values.copy_(_tensor(data, values.dtype))


def _tensor(data: bytes, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _read_archive(file: BinaryIO, content: mmap.mmap) -> Any:
    """Torch's newer format."""
    try:
        check_directory(file)
    except ValueError as error:
        raise Malformed(str(error)) from error
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
            if len(pickles) != 1:
                raise Malformed("an archive that torch.save has not written")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
                raise Malformed("a compressed archive, which torch.save does not write")
            sizes = [entry.file_size for entry in entries.values()]
            if sum(sizes) > len(content) or sizes != [entry.compress_size for entry in entries.values()]:
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
