"""The folder of a dataset while it is built: what is staged, what is sealed.

A worker stages what came of a photo as one file, ``state/staged/SHARD/ITEM``: a line of JSON, then the photo's part of
the shard. When all photos of a shard are staged it is sealed: the parts are joined in the order of the plan to
``shards/SHARD.tar``, the failures and seconds are listed, and ``state/sealed/SHARD.jsonl`` is renamed into place, which
means done; then the staged files go. Each file appears whole or not at all, and a sealing that was cut short is done
again to the same bytes.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import AssetError, OutputError
from ostec.dataset.records import Face, Item, Outcome
from ostec.io.files import make_folder, write_atomic
from ostec.io.shards import pack_members, read_blocks, write_shard

_MAX_HEADER = 64 << 20

Parts = dict[str, tuple[int, int, str]]
"""Item -> first byte, number of bytes and SHA-256 of its part of the shard."""


@dataclass(frozen=True)
class Sealed:
    """What is known of a shard that is done: the first line of its list."""

    shard: int
    sha256: str
    """Of the tar file; empty where no face of the shard could be done, so that there is none."""
    size: int
    """Bytes of the tar file."""
    faces: int
    done: int
    """Photos."""
    failed: int
    skipped: int
    parts: Parts = field(default_factory=dict)


class Store:
    """A dataset's folder, and where everything is in it."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder = folder
        self.shard_size = shard_size
        self.shards = folder / "shards"
        self.failures = folder / "failures"
        self.state = folder / "state"

    def make(self) -> None:
        """Make the folders. Raises OutputError."""
        for path in self.folders:
            make_folder(path)

    @property
    def folders(self) -> list[Path]:
        """All that are there from the beginning."""
        below = [self.state / name for name in ("plan", "sealed", "timings", "staged")]
        return [self.folder, self.shards, self.failures, self.state, *below]

    def shard_path(self, shard: int) -> Path:
        """The tar file of a shard."""
        return self.shards / shard_name(shard)

    def failures_path(self, shard: int) -> Path:
        """The list of a shard's failures."""
        return self.failures / f"{shard:05d}.jsonl"

    def timings_path(self, shard: int) -> Path:
        """The list of a shard's seconds."""
        return self.state / "timings" / f"{shard:05d}.jsonl"

    def sealed_path(self, shard: int) -> Path:
        """The list that means that a shard is done."""
        return self.state / "sealed" / f"{shard:05d}.jsonl"

    def staged_folder(self, shard: int) -> Path:
        """Where the outcomes of a shard's photos wait for it."""
        return self.state / "staged" / f"{shard:05d}"

    def staged_path(self, item: int) -> Path:
        """The outcome of a photo."""
        return self.staged_folder(item // self.shard_size) / str(item)

    def scratch(self, item: int) -> Path:
        """A folder for files on their way."""
        return self.staged_folder(item // self.shard_size) / f"{item}.scratch"

    def stage(self, outcome: Outcome, faces: Sequence[Face] = ()) -> None:
        """Write down what came of a photo, with its part of the shard.

        Raises:
            OutputError: it cannot be written.
        """
        parts = [pack_members(_members(face)) for face in faces]
        digest = hashlib.sha256(b"".join(parts)).hexdigest() if parts else ""
        outcome = replace(outcome, sizes=tuple(len(part) for part in parts), sha256=digest)
        path = self.staged_path(outcome.item)
        make = path.parent
        try:
            make.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {make} cannot be made ({error.strerror or error}).") from error
        write_atomic(path, b"".join((_line(asdict(outcome)), *parts)))

    def staged(self, shard: int) -> set[int]:
        """The items of a shard whose outcomes are staged."""
        folder = self.staged_folder(shard)
        names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
        found = {int(name) for name in names if name.isdecimal()}
        return {item for item in found if self._is_whole(item)}

    def _is_whole(self, item: int) -> bool:
        """Whether a staged file is as long as it says: a power cut can shorten it."""
        try:
            outcome, start = self.read_staged(item)
            return self.staged_path(item).stat().st_size == start + sum(outcome.sizes)
        except (OSError, AssetError):
            return False

    def read_staged(self, item: int) -> tuple[Outcome, int]:
        """A staged outcome, and where the photo's part of the shard begins in its file.

        Raises:
            AssetError: there is none, or it is damaged.
        """
        path = self.staged_path(item)
        try:
            with path.open("rb") as stream:
                line = stream.readline(_MAX_HEADER)
            return outcome_from(json.loads(line)), len(line)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AssetError(f"{path} is damaged ({error}).") from error

    def is_sealed(self, shard: int) -> bool:
        """Whether a shard is done."""
        return self.sealed_path(shard).exists()

    def seal(self, shard: int, items: Sequence[Item]) -> Sealed:
        """Join the staged outcomes of a shard's photos; all but those that the plan decides are staged.

        Raises:
            AssetError: a staged file is damaged.
            OutputError: something cannot be written.
        """
        seal = _Seal(self, shard)
        for item in items:
            if item.status is not None:
                seal.add(item, Outcome(item.number, item.status, stage="plan", reason=item.reason), 0)
            else:
                seal.add(item, *self.read_staged(item.number))
        sealed = seal.write()
        shutil.rmtree(self.staged_folder(shard), ignore_errors=True)
        return sealed

    def read_sealed(self, shard: int) -> Sealed:
        """What is known of a shard that is done.

        Raises:
            AssetError: its list is missing or damaged.
        """
        return self._sealed_from(shard, next(self._lines(shard), None))

    def rows(self, shard: int) -> Iterator[dict[str, Any]]:
        """The rows of a sealed shard for the manifest, in order.

        Raises:
            AssetError: its list is missing or damaged.
        """
        lines = self._lines(shard)
        self._sealed_from(shard, next(lines, None))
        yield from lines

    def _lines(self, shard: int) -> Iterator[dict[str, Any]]:
        yield from read_lines(self.sealed_path(shard))

    def _sealed_from(self, shard: int, values: Mapping[str, Any] | None) -> Sealed:
        try:
            sealed = Sealed(**dict(values or {}))
            return replace(sealed, parts={key: (int(a), int(b), str(c)) for key, (a, b, c) in sealed.parts.items()})
        except (TypeError, ValueError) as error:
            raise AssetError(f"{self.sealed_path(shard)} is damaged ({error}).") from error

    def clean(self, shards: int) -> None:
        """Remove what a killed build has left among the staged files of shards that are done, and beyond the plan."""
        for folder in (self.state / "staged").glob("[0-9]*"):
            if not folder.name.isdecimal() or int(folder.name) >= shards or self.is_sealed(int(folder.name)):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            for left in folder.glob("*.scratch"):
                shutil.rmtree(left, ignore_errors=True)

    def last_shard(self) -> int:
        """The highest number of a shard whose tar file is there; -1 if there is none."""
        stems = [path.stem for path in self.shards.glob("*.tar")] if self.shards.is_dir() else []
        return max((int(stem) for stem in stems if stem.isdecimal()), default=-1)

    def write_sealed(self, shard: int, sha256: str, rows: Sequence[dict[str, Any]], parts: Parts) -> Sealed:
        """Write the list of a shard, which means that it is done.

        Args:
            shard: its tar file is there, if any photo of it is done.
            sha256: of that; empty if there is none.
            rows: of the manifest, in the order of the plan.
            parts: as in :class:`Sealed`.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.shard_path(shard)
        photos = {row["item"]: row["status"] for row in rows}
        counts = {status: sum(s == status for s in photos.values()) for status in ("done", "failed", "skipped")}
        sealed = Sealed(
            shard=shard,
            sha256=sha256,
            size=path.stat().st_size if sha256 else 0,
            faces=sum(row["status"] == "done" for row in rows),
            parts=parts,
            **counts,
        )
        write_atomic(self.sealed_path(shard), b"".join(_line(row) for row in (asdict(sealed), *rows)))
        return sealed

    def reopen(self, shard: int, keep: Iterable[int]) -> None:
        """Undo a sealing: the outcomes of the items to keep are staged again, the others are to be done.

        Raises:
            AssetError: the shard cannot be read.
            OutputError: something cannot be written.
        """
        sealed = self.read_sealed(shard)
        faces: dict[int, list[dict[str, Any]]] = {}
        for row in self.rows(shard):
            faces.setdefault(int(row["item"]), []).append(row)
        seconds = {int(line["item"]): line["seconds"] for line in read_lines(self.timings_path(shard))}
        for item in keep:
            start, size, digest = sealed.parts[str(item)]
            rows = faces[item]
            outcome = Outcome(
                item,
                "done",
                tuple(rows),
                tuple(int(row["size"]) for row in rows),
                seconds=seconds.get(item, {}),
                sha256=digest,
            )
            try:
                part = b"".join(read_blocks(self.shard_path(shard), start, size))
            except OSError as error:
                raise AssetError(f"{self.shard_path(shard)} cannot be read ({error.strerror or error}).") from error
            self.staged_folder(shard).mkdir(parents=True, exist_ok=True)
            write_atomic(self.staged_path(item), _line(asdict(outcome)) + part)
        self.sealed_path(shard).unlink()


class _Seal:
    """A shard that is being joined."""

    def __init__(self, store: Store, shard: int) -> None:
        self._store = store
        self._shard = shard
        self._rows: list[dict[str, Any]] = []
        self._failures: list[dict[str, Any]] = []
        self._timings: list[dict[str, Any]] = []
        self._places: list[tuple[Path, int, int]] = []
        self._parts: Parts = {}
        self._end = 0

    def add(self, item: Item, outcome: Outcome, start: int) -> None:
        """The next photo in the order of the plan."""
        if outcome.seconds:
            self._timings.append({"item": item.number, "id": item.id, "seconds": outcome.seconds})
        if outcome.status != "done":
            row = {
                "item": item.number,
                "id": item.id,
                "face": 0,
                "sha256": item.sha256,
                "source": item.source,
                "status": outcome.status,
                "stage": outcome.stage,
                "reason": outcome.reason,
            }
            self._rows.append(row)
            self._failures.append({**row, "path": item.place.path})
            return
        size = sum(outcome.sizes)
        self._places.append((self._store.staged_path(item.number), start, size))
        self._parts[str(item.number)] = (self._end, size, outcome.sha256)
        path = self._store.shard_path(self._shard)
        for row, length in zip(outcome.faces, outcome.sizes, strict=True):
            place = {"item": item.number, "shard": path.name, "offset": self._end, "size": length}
            self._rows.append({**row, "status": "done", **place})
            self._end += length

    def write(self) -> Sealed:
        """Write the shard and its lists; the one that means done comes last."""
        store, shard = self._store, self._shard
        digest = write_shard(store.shard_path(shard), self._places) if self._places else ""
        write_lines(store.failures_path(shard), self._failures)
        write_lines(store.timings_path(shard), self._timings)
        return store.write_sealed(shard, digest, self._rows, self._parts)


def shard_name(shard: int) -> str:
    """``00000.tar``."""
    return f"{shard:05d}.tar"


def _members(face: Face) -> Iterator[tuple[str, bytes]]:
    key = str(face.record["key"])
    for ending, data in face.files.items():
        yield f"{key}.{ending}", data
    yield f"{key}.json", record_bytes(face.record)


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """``KEY.json``: sorted, indented, the same bytes for the same record.

    Raises:
        ValueError: a number is NaN or infinite, or a value has no JSON form.
    """
    try:
        text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
    except TypeError as error:
        raise ValueError(f"expected plain values in a record: {error}") from error
    return (text + "\n").encode("utf-8", "backslashreplace")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _line(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, separators=(",", ":"), sort_keys=True) + "\n").encode("ascii")


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write a list of JSON objects, one a line; without any, see that there is no file. Raises OutputError."""
    if lines:
        write_atomic(path, b"".join(_line(line) for line in lines))
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed ({error.strerror or error}).") from error


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a list; none where there is no file.

    Raises:
        AssetError: it cannot be read or is damaged.
    """
    try:
        with path.open(encoding="ascii") as stream:
            for line in stream:
                values = json.loads(line)
                if not isinstance(values, dict):
                    raise ValueError("expected an object a line")
                yield values
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error


def outcome_from(values: Mapping[str, Any]) -> Outcome:
    """The outcome that a line describes. Raises KeyError, TypeError, ValueError for one that is none."""
    outcome = Outcome(**values)
    return replace(outcome, faces=tuple(outcome.faces), sizes=tuple(int(size) for size in outcome.sizes))
