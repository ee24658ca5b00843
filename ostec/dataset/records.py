"""What plan, workers and store hand each other."""

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

    path: str
    """Absolute."""
    offset: int = -1
    """In a tar file: the first byte."""
    size: int = -1
    """In a tar file: the bytes."""
    group: int = -1
    """In a Parquet file: the row group."""
    row: int = -1
    """The row in it."""
    column: str = ""
    """The column; a field of a struct comes after a dot."""


@dataclass(frozen=True)
class Item:
    """A photo of the plan."""

    number: int
    """Its place in the plan; decides shard and position."""
    id: str
    """The first digits of ``sha256``; of the hash of its name where the bytes could not be read."""
    sha256: str
    """Of its bytes; empty where they could not be read."""
    source: str
    """What the dataset calls it: its path below the source that was named."""
    place: Place
    reason: str = ""
    """Why there is nothing to do: it could not be read, or is a copy."""
    status: Status | None = None
    """None: a worker decides."""
    attributes: Attributes = field(default_factory=dict)
    """Of the photo, for the manifest and each face's record."""


@dataclass(frozen=True)
class Group:
    """Photos whose faces are projected together; which these are follows from the plan alone."""

    items: tuple[Item, ...]
    left: frozenset[int]
    """Numbers of those whose outcome is not staged yet. The others are done with them once more: the last digits
    depend on who is projected with whom."""

    def without(self, numbers: Iterable[int]) -> "Group":
        """The same with fewer left."""
        return replace(self, left=self.left - frozenset(numbers))

    def singles(self) -> "list[Group]":
        """Those that are left, each on its own."""
        return [Group((item,), frozenset({item.number})) for item in self.items if item.number in self.left]


@dataclass(frozen=True)
class Face:
    """One face that a maker has completed, as it goes into a shard."""

    record: dict[str, Any]
    """What ``KEY.json`` holds besides the names: plain values that do not differ between two equal runs."""
    files: dict[str, bytes]
    """Ending -> content, in the order of the shard; ``json`` is added."""


@dataclass(frozen=True)
class Photo:
    """What a maker is given."""

    data: bytes
    source: str
    """The name for the record and for errors."""
    scratch: Path
    """A folder that may be made, for files on their way; it is removed afterwards."""


@dataclass(frozen=True)
class Made:
    """What a maker made of one photo."""

    faces: Sequence[Face] = ()
    """Largest first."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """By stage; ``total`` is the whole."""
    stage: str = ""
    """That was reached."""
    error: Exception | None = None
    """Why there is no face."""


class Maker(Protocol):
    """Completes the faces of photos; one a worker, with its networks loaded."""

    @property
    def weights(self) -> Mapping[str, str]:
        """File -> SHA-256 of what is loaded, as each face's record has it under ``weights``."""

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Complete the faces of photos side by side; what one of them lacks costs the others nothing."""


MakeMaker = Callable[[], Maker]
"""Loads a maker; can be pickled. Raises OstecError."""


@dataclass(frozen=True)
class Outcome:
    """What came of one photo, as it is staged."""

    item: int
    status: Status
    faces: tuple[dict[str, Any], ...] = ()
    """The manifest's rows of its faces, without where they are in the shard."""
    sizes: tuple[int, ...] = ()
    """Bytes of each face's members."""
    stage: str = ""
    reason: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage; ``total`` is the whole."""
    sha256: str = ""
    """Of all members."""


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

    @property
    def photos(self) -> int:
        """All of them."""
        return self.done + self.failed + self.skipped + self.pending

    def add(self, status: Status, faces: int = 0) -> None:
        """Count a photo with its faces."""
        setattr(self, status, getattr(self, status) + 1)
        self.faces += faces


Report = Callable[[Counts, int], None]
"""Called with the counts so far, and how many photos this run has done, now and then."""
