"""The folder of a dataset while it is built: what is staged, what is sealed.

A worker stages what came of a photo as one file, ``state/staged/SHARD/ITEM``: a line of JSON, then the photo's part of
the shard. When all photos of a shard are staged it is sealed: the parts are joined in the order of the plan to
``shards/SHARD.tar``, the failures are listed, and ``state/sealed/SHARD.jsonl`` is renamed into place, which
means done; then the staged files go. Each file appears whole or not at all, and a sealing that was cut short is done
again to the same bytes.
"""

import hashlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, OutputError, UsageError
from ostec.core.plain import open_plain
from ostec.core.text import shown
from ostec.dataset.attributes import dumped
from ostec.dataset.files import MAX_BYTES, as_line, read_lines, told_if_damaged, write_lines
from ostec.dataset.manifest import Row, table_of
from ostec.dataset.records import Face, Item, Outcome
from ostec.export.record import to_text
from ostec.io.files import make_folder, part_of, remove_leftovers, write_atomic
from ostec.io.shards import DamagedPart, pack_members, read_blocks, write_shard

Parts = dict[str, tuple[int, int, str]]  # item -> first byte, number of bytes and SHA-256 of its part of the shard
Seconds = dict[str, dict[str, float]]  # item -> stage -> seconds


@dataclass(frozen=True)
class Sealed:
    """What is known of a shard that is done: the first line of its list."""

    shard: int
    sha256: str  # of the tar file; empty where no face of the shard could be done, so that there is none
    size: int  # bytes of the tar file
    faces: int
    done: int  # photos
    failed: int
    skipped: int
    parts: Parts = field(default_factory=dict)
    seconds: Seconds = field(default_factory=dict)


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

        Raises UsageError if one is a link that leads out of the dataset, so that others' files would be written,
        OutputError if one cannot be made or written to.
        """
        for path in self.folders:
            make_folder(path)
            if not path.resolve().is_relative_to(self.folder.resolve()):
                raise UsageError(f"{path} is a link to {path.resolve()}; a dataset's folders must lie in it.")

    @property
    def folders(self) -> list[Path]:
        """All that are there from the beginning."""
        below = [self.state / name for name in ("plan", "sealed", "staged")]
        return [self.folder, self.shards, self.failures, self.state, *below]

    def shard_path(self, shard: int) -> Path:
        """The tar file of a shard."""
        return self.shards / f"{shard:05d}.tar"

    def failures_path(self, shard: int) -> Path:
        """The list of a shard's failures."""
        return self.failures / f"{shard:05d}.jsonl"

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

    # Staging

    def stage(self, outcome: Outcome, faces: Sequence[Face] = ()) -> None:
        """Write down what came of a photo, with its part of the shard. Raises OutputError."""
        self._stage(outcome, [pack_members(_members(face)) for face in faces])

    def _stage(self, outcome: Outcome, parts: Sequence[bytes]) -> None:
        digest = hashlib.sha256(b"".join(parts)).hexdigest() if parts else ""
        outcome = replace(outcome, sizes=tuple(map(len, parts)), sha256=digest)
        path = self.staged_path(outcome.item)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {path.parent} cannot be made ({error.strerror or error}).") from error
        write_atomic(path, b"".join((as_line(asdict(outcome)), *parts)))

    def staged(self, shard: int) -> set[int]:
        """The items of a shard whose outcomes are staged; files that a power cut has shortened are none."""
        folder = self.staged_folder(shard)
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        return {int(name) for name in names if name.isdecimal() and self._is_whole(int(name))}

    def _is_whole(self, item: int) -> bool:
        try:
            outcome, start = self.read_staged(item)
            return self.staged_path(item).stat().st_size == start + sum(outcome.sizes)
        except (OSError, AssetError):
            return False

    def read_staged(self, item: int) -> tuple[Outcome, int]:
        """A staged outcome, and where the photo's part of the shard begins in its file. Raises AssetError."""
        path = self.staged_path(item)
        with told_if_damaged(path):
            with open_plain(path) as stream:
                line = stream.readline(MAX_BYTES)
            outcome = Outcome(**json.loads(line))
            return replace(outcome, faces=tuple(outcome.faces), sizes=tuple(map(int, outcome.sizes))), len(line)

    def clean(self, shards: int) -> None:
        """Remove what a killed build has left among the staged files of shards that are done, and beyond the plan."""
        for folder in (self.state / "staged").glob("[0-9]*"):
            if not folder.name.isdecimal() or int(folder.name) >= shards or self.is_sealed(int(folder.name)):
                shutil.rmtree(folder, ignore_errors=True)
            else:
                remove_leftovers(folder)

    def is_begun(self) -> bool:
        """Whether anything is done yet, or was."""
        found = ((self.state / "sealed").glob("*"), (self.state / "staged").glob("*/[0-9]*"), self.shards.glob("*.tar"))
        return any(True for _ in itertools.chain(*found))

    def last_shard(self) -> int:
        """The highest number of a shard whose tar file is there; -1 if there is none."""
        return max((int(path.stem) for path in self.shards.glob("*.tar") if path.stem.isdecimal()), default=-1)

    # Sealing

    def is_sealed(self, shard: int) -> bool:
        """Whether a shard is done."""
        return self.sealed_path(shard).exists()

    def seal(self, shard: int, items: Sequence[Item]) -> None:
        """Join the staged outcomes of a shard's photos; all but those that the plan decides are staged.

        Raises AssetError if a staged file is damaged, and was removed, so that its photo is done again, OutputError if
        something cannot be written.
        """
        path, end = self.shard_path(shard), 0
        rows, failures, seconds, parts = list[Row](), list[Row](), Seconds(), Parts()
        places: list[tuple[Path, int, int]] = []
        for item in items:
            outcome, start = Outcome(item.number, item.status or "done", stage="plan", reason=item.reason), 0
            if item.status is None:
                outcome, start = self.read_staged(item.number)
            if outcome.seconds:
                seconds[str(item.number)] = outcome.seconds
            if outcome.status != "done":
                rows.append(_failed(item, outcome))
                failures.append({**rows[-1], "path": item.place.path})
                continue
            size = sum(outcome.sizes)
            places.append((self.staged_path(item.number), start, size))
            parts[str(item.number)] = (end, size, outcome.sha256)
            for row, length in zip(outcome.faces, outcome.sizes, strict=True):
                place = {"item": item.number, "shard": path.name, "offset": end, "size": length}
                rows.append({**row, "status": "done", **place})
                end += length
        try:
            digest = write_shard(path, places, [part[2] for part in parts.values()]) if places else ""
        except DamagedPart as error:  # by a power cut, for one
            error.file.unlink(missing_ok=True)
            raise AssetError(f"{error} It was removed; ostec dataset resume does its photo again.") from error
        write_lines(self.failures_path(shard), failures)
        self.write_sealed(shard, digest, rows, parts, seconds)
        shutil.rmtree(self.staged_folder(shard), ignore_errors=True)

    def write_sealed(
        self, shard: int, sha256: str, rows: Sequence[Row], parts: Parts, seconds: Seconds | None = None
    ) -> None:
        """Write the list of a shard, which means that it is done; its tar file is there if ``sha256`` is not empty.

        The rows of the manifest are in the order of the plan. Raises OutputError.
        """
        size = self.shard_path(shard).stat().st_size if sha256 else 0
        photos = Counter({row["item"]: row["status"] for row in rows}.values())
        faces = sum(row["status"] == "done" for row in rows)
        head = Sealed(
            shard, sha256, size, faces, photos["done"], photos["failed"], photos["skipped"], parts, seconds or {}
        )
        write_lines(self.sealed_path(shard), [asdict(head), *rows])

    def read_sealed(self, shard: int) -> Sealed:
        """What is known of a shard that is done. Raises AssetError if its list is missing or damaged."""
        path = self.sealed_path(shard)
        with told_if_damaged(path, "{path} is damaged ({kind}: {error})."):
            values = next(read_lines(path), {})
            parts = {str(int(key)): (int(a), int(b), str(c)) for key, (a, b, c) in dict(values.pop("parts")).items()}
            digest = str(values.pop("sha256"))
            seconds = {
                str(int(item)): {str(stage): float(value) for stage, value in own.items()}
                for item, own in dict(values.pop("seconds", {})).items()
            }
            numbers = {name: int(value) for name, value in values.items()}
            sealed = Sealed(sha256=digest, parts=parts, seconds=seconds, **numbers)
            if sealed.shard != shard:
                raise ValueError(f"it is of shard {sealed.shard}")
            return sealed

    def rows(self, shard: int) -> list[Row]:
        """The rows of a sealed shard for the manifest, in order. Raises AssetError if its list is damaged."""
        return self._listed(shard)[0]

    def table(self, shard: int) -> Any:
        """The same as a table of Arrow. Raises AssetError."""
        return self._listed(shard)[1]

    def _listed(self, shard: int) -> tuple[list[Row], Any]:
        self.read_sealed(shard)
        rows = list(read_lines(self.sealed_path(shard)))[1:]
        with told_if_damaged(self.sealed_path(shard)):
            return rows, table_of(rows)

    def timings(self, shard: int) -> Iterator[dict[str, Any]]:
        """The seconds of a sealed shard's photos: ``item``, ``id``, ``seconds`` by stage. Raises AssetError."""
        seconds, ids = self.read_sealed(shard).seconds, {row["item"]: row["id"] for row in self.rows(shard)}
        return ({"item": item, "id": ids[item], "seconds": seconds[str(item)]} for item in ids if str(item) in seconds)

    def reopen(self, shard: int, keep: Iterable[int]) -> None:
        """Undo a sealing: the outcomes of the items to keep are staged again, the others are to be done.

        Raises AssetError if the shard cannot be read, OutputError if something cannot be written.
        """
        rows = self.rows(shard)
        seconds = self.read_sealed(shard).seconds
        for item in keep:
            own = tuple(row for row in rows if row["item"] == item)
            parts = [b"".join(_blocks(self.shard_path(shard), row["offset"], row["size"])) for row in own]
            self._stage(Outcome(item, "done", own, seconds=seconds.get(str(item), {})), parts)
        self.sealed_path(shard).unlink()


def digest_of(path: Path, start: int, size: int) -> str:
    """The SHA-256 of a stretch of a shard. Raises AssetError."""
    digest = hashlib.sha256()
    for block in _blocks(path, start, size):
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path, start: int, size: int) -> Iterator[bytes]:
    try:
        yield from read_blocks(path, start, size)
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error


def parts_of(path: Path, rows: Iterable[Row]) -> Parts:
    """The parts of a shard by the rows of its photos. Raises AssetError."""
    spans: dict[int, tuple[int, int]] = {}
    for row in (row for row in rows if row["status"] == "done"):
        start, size = spans.get(row["item"], (row["offset"], 0))
        spans[row["item"]] = (start, size + row["size"])
    return {str(item): (*span, digest_of(path, *span)) for item, span in spans.items()}


def _failed(item: Item, outcome: Outcome) -> Row:
    return {
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


def _members(face: Face) -> Iterator[tuple[str, bytes]]:
    key = str(face.record["key"])
    for ending, data in face.files.items():
        yield f"{key}.{ending}", data
    yield f"{key}.json", record_bytes(face.record)


def record_bytes(record: Mapping[str, Any]) -> bytes:
    """``KEY.json``: the same bytes for the same record. Raises ValueError if a value has no JSON form, as NaN."""
    return (to_text(record, 1) + "\n").encode("utf-8")
