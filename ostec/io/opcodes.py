"""Pickle's instructions, interpreted without importing or calling anything that a file names.

A name is only a mark. The few calls that arrays, tensors and plain containers need are carried out here, by code of
this module; an instance of any other class becomes a :class:`Stub`; any other call is refused. What a file can make the
interpreter hold is bounded by the file's own size: every copy is paid from a :class:`Budget`.
"""

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

MAX_INSTRUCTIONS = 1_000_000
"""A generator with its optimiser's state takes some 30,000."""
_MAX_BITS, _MAX_PARTS = 4096, 32
"""Of a whole number; of a shape or a key: with more, arithmetic, text and hashing would take their time."""
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

    values: torch.Tensor
    """[N]."""


@dataclass(eq=False)
class _Shell:
    """A NumPy array whose shape and numbers come with a later instruction."""

    places: list[int] = field(default_factory=list)
    """Where the memo has it, to be replaced then."""


class Stream(Protocol):
    """What is read: a file in memory, so that nothing is allocated for what is claimed, but not there."""

    def read(self, size: int = -1, /) -> bytes: ...  # noqa: D102
    def readline(self) -> bytes: ...  # noqa: D102
    def tell(self) -> int: ...  # noqa: D102


class Budget:
    """Bytes that a file may still make the reader copy."""

    def __init__(self, size: int) -> None:
        # An honest file has each of its numbers copied once; text that stands for bytes, and bytes in bytes, twice.
        self._left = 4 * size + (1 << 20)

    def take(self, count: int) -> None:
        """Pay for ``count`` bytes before they are allocated."""
        self._left -= count
        if self._left < 0:
            raise Malformed("more data than the file has room for")


def storage_type(name: Any) -> torch.dtype:
    """The type of the numbers in a storage of that name."""
    dtype = _STORAGE_TYPES.get(name.name.lstrip("_")) if isinstance(name, Name) else None
    if dtype is None or name.module not in ("torch", "torch.cuda", "torch.storage"):
        raise Malformed("a tensor of an unknown type")
    return dtype


class Interpreter:
    """Runs one pickle from a stream; its end is left where the pickle ends."""

    def __init__(
        self,
        stream: Stream,
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
        nested: Callable[[bytes], Any] | None = None,
    ) -> None:
        """``persistent`` resolves ids of storages, ``nested`` reads what torch stored within a string of bytes."""
        self._stream, self._budget = stream, budget
        self._persistent, self._nested = persistent, nested
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Run to the end.

        Raises:
            Malformed: as its description says.
        """
        try:
            for count, (opcode, argument, _) in enumerate(pickletools.genops(self._stream)):  # type: ignore[arg-type]
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
                push(tuple(items) if name == "TUPLE" else items if name == "LIST" else _as_set(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(tuple(self._pop() for _ in range(int(name[-1])))[::-1])
            case "APPEND" | "APPENDS" | "ADDITEMS" | "SETITEM" | "SETITEMS" | "DICT":
                self._fill(name)
            case "MEMOIZE" | "PUT" | "BINPUT" | "LONG_BINPUT":
                place, item = len(self._memo) if argument is None else argument, self._stack[-1]
                self._memo[place] = item
                if isinstance(item, _Shell):
                    item.places.append(place)
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self._memo[argument])
            case "POP" | "POP_MARK" | "DUP":
                self._drop(name)
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

    def _drop(self, name: str) -> None:
        if name == "DUP":
            self._stack.append(self._stack[-1])
        elif name == "POP_MARK" or (self._marks and self._marks[-1] == len(self._stack)):
            self._pop_to_mark()
        else:
            self._stack.pop()

    def _fill(self, name: str) -> None:
        """Put items into the container below them."""
        single = {"APPEND": 1, "SETITEM": 2}.get(name)
        items = self._pop_to_mark() if single is None else [self._pop() for _ in range(single)][::-1]
        if name == "DICT":
            self._stack.append({})
        target = self._stack[-1]
        if name == "ADDITEMS" and isinstance(target, set):
            target.update(_as_set(items))
        elif name in ("APPEND", "APPENDS") and isinstance(target, list):
            target.extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT") and isinstance(target, dict | Stub):
            entries = target.entries if isinstance(target, Stub) else target
            entries.update(zip(map(_as_key, items[::2]), items[1::2], strict=True))
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
        called = name == "REDUCE"
        self._stack.append(self._call(kind, arguments) if called else self._instance(kind, arguments))

    def _instance(self, kind: Name, arguments: tuple[Any, ...]) -> Any:
        return {} if kind in _DICTIONARIES else Stub(kind.module, kind.name, None, arguments)

    def _call(self, kind: Name, arguments: tuple[Any, ...]) -> Any:
        """What the few known functions would return."""
        match kind.module, kind.name, arguments:
            case "copyreg", "_reconstructor", (Name() as real, Name(), state):
                made = self._instance(real, ())
                if isinstance(state, dict):
                    (made.entries if isinstance(made, Stub) else made).update(self._paid(state, 100))
                return made
            case "builtins", "set" | "frozenset", () | (list(),):
                return _as_set(self._paid(arguments[0], 100) if arguments else [])
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
        if kind in _DICTIONARIES:
            pairs = arguments[0] if arguments and isinstance(arguments[0], list | dict) else []
            pairs = list(pairs.items()) if isinstance(pairs, dict) else pairs
            return {_as_key(key): value for key, value in self._paid(pairs, 100)}
        if kind.module.startswith("torch"):
            return self._torch(kind, arguments)
        if kind in _INERT:
            return Stub(kind.module, kind.name, None, arguments)
        raise Malformed(f"a call of {kind}")

    def _torch(self, kind: Name, arguments: tuple[Any, ...]) -> Any:
        match kind.module, kind.name, arguments:
            case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2", (Storage(values), start, size, steps, *_):
                return _view(values, start, size, steps)
            case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state", (torch.Tensor() as data, *_):
                return data
            case "torch._tensor" | "torch.tensor", "_rebuild_from_type_v2", (Name() as way, Name(), tuple() as of, _):
                return self._torch(way, of)
            case "torch.storage", "_load_from_bytes", (bytes() as data,) if self._nested is not None:
                return self._nested(data)
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
            self._memo.update(dict.fromkeys((k for k in target.places if self._memo[k] is target), array))
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

    def _paid(self, items: Any, each: int) -> Any:
        """``items``, of which a copy is about to be made."""
        self._budget.take(each * len(items))
        return items


def _name(module: str, name: str) -> Name:
    """The name as Python 3 and NumPy 1 call it."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    return Name(re.sub(r"^numpy\._core\b", "numpy.core", module), name)


def _as_key(key: Any) -> Any:
    """A key of a dictionary: hashing something nested could exhaust the stack."""
    flat = key if isinstance(key, tuple) else (key,)
    if len(flat) > _MAX_PARTS or not all(isinstance(part, (*_PLAIN, Name)) for part in flat):
        raise Malformed("a dictionary with keys other than plain ones")
    return key


def _as_set(items: list[Any]) -> set[Any]:
    return {_as_key(item) for item in items}


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


_DICTIONARIES = frozenset(
    (
        Name("collections", "OrderedDict"),
        Name("collections", "defaultdict"),
        Name("collections", "Counter"),
        Name("dnnlib", "EasyDict"),
        Name("dnnlib.util", "EasyDict"),
    )
)
_INERT = frozenset(
    (
        Name("argparse", "Namespace"),
        Name("pathlib", "PosixPath"),
        Name("pathlib", "WindowsPath"),
        Name("torch", "device"),
        Name("torch.serialization", "_get_layout"),
    )
)
"""What training scripts leave beside the weights: calls without harm or use."""
