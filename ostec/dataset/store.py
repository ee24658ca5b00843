"""The folder of a dataset while it is built: what is staged, what is sealed.

A worker stages what came of a photo as one file, ``state/staged/SHARD/ITEM``: a line of JSON, then the photo's part of
the shard. When all photos of a shard are staged it is sealed: the parts are joined in the order of the plan to
``shards/SHARD.tar``, the failures and seconds are listed, and ``state/sealed/SHARD.jsonl`` is renamed into place, which
means done; then the staged files go. Each file appears whole or not at all, and a sealing that was cut short is done
again to the same bytes.
"""

import hashlib
import itertools
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import AssetError, OutputError, UsageError
from ostec.core.text import shown
from ostec.dataset.attributes import dumped
from ostec.dataset.records import Face, Item, Outcome
from ostec.dataset.rows import Parts, Sealed, check_row, check_timing, sealed_from
from ostec.io.files import make_folder, open_plain, part_of, remove_leftovers, write_atomic
from ostec.io.shards import DamagedPart, pack_members, read_blocks, write_shard

logger = logging.getLogger(__name__)

_MAX_HEADER = 64 << 20


class Store:
    """A dataset's folder, and where everything is in it."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder = folder
        self.shard_size = shard_size
        self.shards = folder / "shards"
        self.failures = folder / "failures"
        self.state = folder / "state"

    def make(self) -> None:
        """Make the folders.

        Raises:
            UsageError: one of them is a link that leads out of the dataset, so that others' files would be written.
            OutputError: one cannot be made or written to.
        """
        for path in self.folders:
            make_folder(path)
            if not path.resolve().is_relative_to(self.folder.resolve()):
                raise UsageError(f"{path} is a link to {path.resolve()}; a dataset's folders must lie in it.")

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
        """A folder for files on their way: another one in each process, since one that is lost may still be running."""
        return part_of(self.staged_folder(item // self.shard_size), item)

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
            with open_plain(path) as stream:
                line = stream.readline(_MAX_HEADER)
            return outcome_from(json.loads(line)), len(line)
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise AssetError(f"{path} is damaged ({error}).") from error

    def is_sealed(self, shard: int) -> bool:
        """Whether a shard is done."""
        return self.sealed_path(shard).exists()

    def seal(self, shard: int, items: Sequence[Item]) -> Sealed:
        """Join the staged outcomes of a shard's photos; all but those that the plan decides are staged.

        Raises:
            AssetError: a staged file is damaged, and was removed, so that its photo is done again.
            OutputError: something cannot be written.
        """
        seal = _Seal(self, shard)
        for item in items:
            if item.status is not None:
                seal.add(item, Outcome(item.number, item.status, stage="plan", reason=item.reason), 0)
            else:
                seal.add(item, *self.read_staged(item.number))
        try:
            sealed = seal.write()
        except DamagedPart as error:  # by a power cut, for one
            error.file.unlink(missing_ok=True)
            raise AssetError(f"{error} It was removed; ostec dataset resume does its photo again.") from error
        shutil.rmtree(self.staged_folder(shard), ignore_errors=True)
        return sealed

    def read_sealed(self, shard: int) -> Sealed:
        """What is known of a shard that is done.

        Raises:
            AssetError: its list is missing or damaged.
        """
        return self._sealed(shard, next(read_lines(self.sealed_path(shard)), None))

    def rows(self, shard: int) -> Iterator[dict[str, Any]]:
        """The rows of a sealed shard for the manifest, in order.

        Raises:
            AssetError: its list is missing or damaged.
        """
        lines = read_lines(self.sealed_path(shard))
        self._sealed(shard, next(lines, None))
        try:
            yield from map(check_row, lines)
        except ValueError as error:
            raise AssetError(f"{self.sealed_path(shard)} is damaged ({error}).") from error

    def _sealed(self, shard: int, values: Mapping[str, Any] | None) -> Sealed:
        try:
            return sealed_from(values or {}, shard)
        except ValueError as error:
            raise AssetError(f"{self.sealed_path(shard)} is damaged ({error}).") from error

    def timings(self, shard: int) -> list[dict[str, Any]]:
        """The seconds of a shard's photos: ``item``, ``id``, ``seconds`` by stage; none where the list is damaged."""
        path = self.timings_path(shard)
        try:
            return [check_timing(line) for line in read_lines(path)]
        except (AssetError, ValueError) as error:
            logger.warning("%s is damaged and left out (%s).", path, error)
            return []

    def clean(self, shards: int) -> None:
        """Remove what a killed build has left among the staged files of shards that are done, and beyond the plan."""
        for folder in (self.state / "staged").glob("[0-9]*"):
            if not folder.name.isdecimal() or int(folder.name) >= shards or self.is_sealed(int(folder.name)):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            remove_leftovers(folder)

    def is_begun(self) -> bool:
        """Whether anything is done yet, or was."""
        found = ((self.state / "sealed").glob("*"), (self.state / "staged").glob("*/[0-9]*"), self.shards.glob("*.tar"))
        return any(True for _ in itertools.chain(*found))

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
        write_atomic(self.sealed_path(shard), b"".join(_line(row) for row in (asdict(sealed), *rows)), synced=True)
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
        seconds = {line["item"]: line["seconds"] for line in self.timings(shard)}
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
                "reason": shown(outcome.reason),  # Arrow takes no text that is not UTF-8
                **({"attributes": dumped(item.attributes)} if item.attributes else {}),
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
        digests = [digest for _, _, digest in self._parts.values()]
        digest = write_shard(store.shard_path(shard), self._places, digests) if self._places else ""
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
        write_atomic(path, b"".join(_line(line) for line in lines), synced=True)
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
        with open_plain(path) as stream:
            while line := stream.readline(_MAX_HEADER):
                values = json.loads(line.decode("ascii"))
                if not isinstance(values, dict):
                    raise ValueError("expected an object a line")
                yield values
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error


def outcome_from(values: Mapping[str, Any]) -> Outcome:
    """The outcome that a line describes. Raises KeyError, TypeError, ValueError for one that is none."""
    outcome = Outcome(**values)
    return replace(outcome, faces=tuple(outcome.faces), sizes=tuple(int(size) for size in outcome.sizes))
