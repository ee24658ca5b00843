"""What plan, workers and store hand each other."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

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


Progress = Callable[[str, float], None]


class Maker(Protocol):
    """Completes the faces of photos; one a worker, with its networks loaded."""

    def __call__(self, photo: Photo, progress: Progress) -> tuple[Sequence[Face], Mapping[str, float]]:
        """Complete a photo's faces, largest first; also the seconds by stage. Raises OstecError."""


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

    def run(self, items: Iterable[Item]) -> Iterator[Finished]:
        """Take items as there is room for them, and yield a :class:`Finished` for each, in any order.

        Raises:
            OutputError: outcomes cannot be staged.
            OstecError: workers cannot be loaded, or go on dying.
        """
