"""What plan, workers and store hand each other, and the names of a face's files.

A face's files are members of a shard (``KEY.head.glb``), or lie beside a result (``KEY_head.glb``).
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from ostec.dataset.attributes import Attributes

Status = Literal["done", "failed", "skipped"]

ID_DIGITS = 16
"""Of the SHA-256 of a photo's bytes: 64 bits, so that among ten million photos two meet once in 370,000 datasets."""


@dataclass(frozen=True)
class Place:
    """Where a photo's bytes are: a file, a stretch of a tar file, or a cell of a Parquet file."""

    path: str  # absolute
    offset: int = -1  # in a tar file: the first byte
    size: int = -1  # in a tar file: the bytes
    group: int = -1  # in a Parquet file: the row group
    row: int = -1  # the row in it
    column: str = ""  # the column; a field of a struct comes after a dot


@dataclass(frozen=True)
class Item:
    """A photo of the plan."""

    number: int  # its place in the plan; decides shard and position
    id: str  # the first digits of ``sha256``; of the hash of its name where the bytes could not be read
    sha256: str  # of its bytes; empty where they could not be read
    source: str  # what the dataset calls it: its path below the source that was named
    place: Place
    reason: str = ""  # why there is nothing to do: it could not be read, or is a copy
    status: Status | None = None  # None: a worker decides
    attributes: Attributes = field(default_factory=dict)  # for the manifest and each face's record


@dataclass(frozen=True)
class Group:
    """Photos whose faces are projected together, or that are fused to one; which these are follows from the plan alone.

    Those that are not ``left`` are done with the others once more: the last digits depend on who is projected with
    whom.
    """

    items: tuple[Item, ...]
    left: frozenset[int]  # numbers of those whose outcome is not staged yet

    def without(self, numbers: Iterable[int]) -> "Group":
        """The same with fewer left."""
        return replace(self, left=self.left - frozenset(numbers))

    def singles(self) -> "list[Group]":
        """Those that are left, each on its own."""
        return [Group((item,), frozenset({item.number})) for item in self.items if item.number in self.left]


@dataclass(frozen=True)
class Face:
    """One face that a maker has completed, as it goes into a shard."""

    record: dict[str, Any]  # for ``KEY.json``, besides the names: plain values that are the same in two equal runs
    files: dict[str, bytes]  # ending -> content, in the order of the shard; ``json`` is added


@dataclass(frozen=True)
class Photo:
    """What a maker is given."""

    data: bytes
    source: str  # the name for the record and for errors
    scratch: Path  # a folder that may be made, for files on their way; it is removed afterwards


@dataclass(frozen=True)
class Made:
    """What a maker made of one photo."""

    faces: Sequence[Face] = ()  # largest first
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage; ``total`` is the whole
    stage: str = ""  # that was reached
    error: Exception | None = None  # why there is no face
    skipped: str = ""  # why it has none of its own, where that is as it should be


class Maker(Protocol):
    """Completes the faces of photos; one a worker, with its networks loaded."""

    @property
    def weights(self) -> Mapping[str, str]:
        """File -> SHA-256 of what is loaded, as each face's record has it under ``weights``."""

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Complete the faces of photos side by side; what one of them lacks costs the others nothing."""


MakeMaker = Callable[[], Maker]  # loads a maker; can be pickled. Raises OstecError


@dataclass(frozen=True)
class Outcome:
    """What came of one photo, as it is staged."""

    item: int
    status: Status
    faces: tuple[dict[str, Any], ...] = ()  # the manifest's rows of its faces, without where they are in the shard
    sizes: tuple[int, ...] = ()  # bytes of each face's members
    stage: str = ""
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)  # by stage; ``total`` is the whole
    sha256: str = ""  # of all members


@dataclass(frozen=True)
class Finished:
    """What the driver is told of a photo; the rest is staged."""

    item: int
    status: Status
    faces: int = 0
    seconds: float = 0.0


class Executor(Protocol):
    """Has workers stage the outcomes of photos."""

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        """Take groups as there is room for them, and yield a :class:`Finished` for each photo left, in any order.

        Raises OutputError if outcomes cannot be staged, OstecError if workers cannot be loaded, or go on dying.
        """


@dataclass
class Counts:
    """Photos of a dataset by what came of them."""

    done: int = 0
    failed: int = 0
    skipped: int = 0
    faces: int = 0
    pending: int = 0

    def add(self, status: Status, faces: int = 0) -> None:
        """Count a photo with its faces."""
        setattr(self, status, getattr(self, status) + 1)
        self.faces += faces


Report = Callable[[Counts, int], None]
"""Called with the counts so far, and how many photos this run has done, now and then."""

# Names of files

MESH, PROVENANCE, RECORD, TEXTURE, PORTRAIT = "mesh.npz", "provenance.png", "json", "uv.png", "frontal.png"
"""Endings of members."""
_PLAIN = {".png": TEXTURE, ".npz": MESH, ".json": RECORD}  # what follows NAME where a dot for _ is not enough
_FILES = {ending: rest for rest, ending in _PLAIN.items()}
_VIEWS = "views."
_REFERENCE = re.compile(rb"^((?:mtllib|map_Kd)[ \t]+)([^\r\n]+?)([ \t]*\r?)$", re.MULTILINE)


def ending_of(rest: str) -> str:
    """``uv.png`` for what follows NAME in NAME.png, ``head.glb`` in NAME_head.glb, ``views.left.png`` in NAME_views."""
    return _PLAIN.get(rest) or rest.lstrip("_.").replace("/", ".").replace(" ", "_")


def file_name(key: str, ending: str) -> str:
    """``KEY_frontal.png`` for ``frontal.png``, ``KEY_views/left.png`` for ``views.left.png``."""
    view = ending.startswith(_VIEWS)
    return key + _FILES.get(ending, f"_views/{ending.removeprefix(_VIEWS)}" if view else f"_{ending}")


def face_key(photo: str, number: int) -> str:
    """``ID_FACE`` of a photo's id and the number of the face from 1."""
    return f"{photo}_{number}"


def renamed(ending: str, data: bytes, name_of: Callable[[str], str]) -> bytes:
    """An OBJ or MTL file with the materials and pictures that it refers to renamed; other files as they are."""
    if not ending.endswith((".obj", ".mtl")):
        return data

    def other(found: re.Match[bytes]) -> bytes:
        name = name_of(found[2].decode("utf-8", "surrogateescape"))
        return found[1] + name.encode("utf-8", "surrogateescape") + found[3]

    return _REFERENCE.sub(other, data)
