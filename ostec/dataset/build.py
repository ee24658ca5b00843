"""A build: plan what the sources hold, have it done, seal shards, write the manifest."""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, UsageError
from ostec.core.settings import to_json
from ostec.dataset.attributes import OF_SOURCES, Labels
from ostec.dataset.card import SELECTION, write_card
from ostec.dataset.files import read_lines, write_lines
from ostec.dataset.manifest import Row, join_tables, read_tables, write_manifest, write_timings
from ostec.dataset.plan import (
    Added,
    DatasetConfig,
    Plan,
    Sieve,
    need_config,
    person_of,
    read_config,
    require_equal,
    unheeded,
    write_config,
)
from ostec.dataset.records import Counts, Executor, Group, Item, Report
from ostec.dataset.sources import LeaveOut, Search
from ostec.dataset.store import Store
from ostec.io.files import make_folder, remove_leftovers, write_atomic
from ostec.io.locks import Busy, is_held, only_one

logger = logging.getLogger(__name__)

_BUSY = "{} is being built by another process; please wait until it ends."


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset's folder, which must exist; the system takes it back when its holder ends.

    Raises UsageError if somebody else does, OutputError if the folder cannot be written to.
    """
    try:
        with only_one(folder / "build"):
            yield
    except Busy as error:
        raise UsageError(_BUSY.format(folder)) from error


def is_building(folder: Path) -> bool:
    """Tell whether somebody holds the lock of a dataset's folder; nothing is written."""
    return is_held(folder / "build")


def require_idle(folder: Path) -> None:
    """See that nobody holds it; nothing is written. Raises UsageError."""
    if is_building(folder):
        raise UsageError(_BUSY.format(folder))


class Dataset:
    """A dataset's folder with its configuration and plan."""

    def __init__(self, folder: Path, config: DatasetConfig) -> None:
        """Raises AssetError: the plan is damaged."""
        self.folder = folder
        self.config = config
        self.store = Store(folder, config.shard_size)
        self.plan = Plan(folder, config.shard_size)
        self._noted = self.store.state / "sources.json"
        self._named: dict[str, Any] | None = None  # what this process has noted to be planned

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Open one that exists.

        Raises UsageError if there is none in the folder, AssetError if it is damaged, or its state is lost.
        """
        dataset = cls(folder, need_config(folder))
        if dataset.store.last_shard() >= dataset.plan.shards or dataset.plan.is_lost():
            # Planning anew would replace them.
            raise AssetError(
                f"{folder / 'state'} does not know all shards of the dataset. Its faces can still be read, exported, "
                "filtered and split, but it takes no further photos."
            )
        return dataset

    @classmethod
    def at(cls, folder: Path, config: DatasetConfig) -> "Dataset":
        """One that could be begun, or gone on with, with these settings; nothing is written.

        One of which nothing is done yet has no settings to keep. Raises UsageError if other settings or another
        program's files are there, AssetError if it is damaged.
        """
        before = read_config(folder)
        if before is None:
            if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
                raise UsageError(f"{folder} is not empty and holds no dataset; please choose another --out.")
        else:
            dataset = cls.open(folder)
            if dataset.store.is_begun() or (dataset.plan.shards and before.shard_size != config.shard_size):
                require_equal(folder, before, config)
        return cls(folder, config)

    @classmethod
    def create(cls, folder: Path, config: DatasetConfig) -> "Dataset":
        """Begin one, or go on with one, as :meth:`at`; refused while another process builds. Raises OutputError."""
        dataset = cls.at(folder, config)
        if read_config(folder) != config:
            with alone(make_folder(folder)):
                cls.at(folder, config)  # somebody else may have begun one in this moment
                write_config(folder, config)
        return dataset

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else builds; the plan is read again, and the folders are made that are missing.

        Raises UsageError if somebody does, has begun it with other settings, or a folder is a link that leads
        elsewhere, OutputError if the folder cannot be written to, AssetError if the plan is damaged.
        """
        with alone(self.folder):
            require_equal(self.folder, read_config(self.folder) or self.config, self.config)
            self.store.make()
            self.plan = Plan(self.folder, self.config.shard_size)
            yield

    # Sources

    def note_sources(self, sources: Sequence[str], licence: str, attributes: str = "") -> None:
        """Write down what is to be planned, after what was written down before, so that ``resume`` knows it.

        ``attributes``: a table of them, or :data:`OF_SOURCES`; empty for none. Raises UsageError if the dataset is a
        part of another one, AssetError if the note is damaged, OutputError if it cannot be written.
        """
        self._require_whole()
        self.store.make()
        if attributes and attributes != OF_SOURCES:
            attributes = str(Path(attributes).absolute())
        named = [str(Path(source).absolute()) for source in sources]
        self._named = {"sources": named, "licence": licence, "attributes": attributes}
        noted = list(read_lines(self._noted))
        if self._named not in noted:
            write_lines(self._noted, [*noted, self._named])

    @property
    def has_noted_sources(self) -> bool:
        """Whether sources were named that are not planned yet."""
        return self._noted.exists()

    def preview(
        self, sources: Sequence[str], attributes: str, leave_out: LeaveOut, tick: Callable[[int], None]
    ) -> Added:
        """What the sources, after those that are noted, would add to the plan; nothing is written.

        Raises what :meth:`note_sources` and :meth:`plan_noted` do.
        """
        self._require_whole()
        sieve = self._sieve(attributes)
        named = [*(source for note in read_lines(self._noted) for source in note["sources"]), *sources]
        for _ in sieve.sifted(Search(leave_out, self.folder, attributes == OF_SOURCES).find(named), tick):
            pass
        return sieve.added

    def plan_noted(self, leave_out: LeaveOut, tick: Callable[[int], None]) -> Added | None:
        """Plan what was noted; None if there is nothing to plan. ``tick`` is told the number of photos looked at.

        Raises UsageError if a source or the table of attributes is gone, AssetError if the note is damaged, OutputError
        if the plan cannot be written.
        """
        added = None
        noted = list(read_lines(self._noted))
        while noted:
            note = noted.pop(0)
            try:
                sieve, before = self._sieve(note["attributes"]), self.plan.builds
                found = Search(leave_out, self.folder, note["attributes"] == OF_SOURCES).find(note["sources"])
                self.plan.extend(sieve, found, note["licence"], tick, self.config.group)
                added = sieve.added if added is None else added + sieve.added
                remarks = [unheeded(before, note["licence"], sieve.added.known), sieve.labels and sieve.labels.remark()]
                for remark in filter(None, remarks):
                    logger.warning("%s", remark)
            except UsageError as error:
                if self._named is None:
                    more = "is not planned yet; ostec dataset build with sources that are there goes on without it."
                    raise UsageError(f"{error} It was named before and {more}") from error
                write_lines(self._noted, noted)  # it would stand in the way of the next call
                if note == self._named:
                    raise
                logger.warning("%s It was named before and is not planned; please name it again.", error)
            write_lines(self._noted, noted)
        return added

    def _require_whole(self) -> None:
        if (self.folder / SELECTION).exists():
            what = f"is a part of another dataset, as its {SELECTION} says, and takes no further photos"
            raise UsageError(f"{self.folder} {what}; please choose another --out.")

    def _sieve(self, attributes: str) -> Sieve:
        """For what is new; also finds the photos that are not done, which may have moved."""
        unfinished = {}
        for shard in range(self.plan.shards):
            parts = self.store.read_sealed(shard).parts if self.store.is_sealed(shard) else {}
            for item in self.plan.read(shard):
                if item.status is None and str(item.number) not in parts:
                    unfinished[int(item.id, 16)] = item.number
        return Sieve(self.plan, unfinished, Labels(attributes) if attributes else None)

    # Work

    def retry_failed(self) -> int:
        """Have the photos done again that failed in a worker; returns how many. Raises AssetError, OutputError."""
        count = 0
        for shard in range(self.plan.shards):
            if self.store.is_sealed(shard):
                rows = [r for r in self.store.rows(shard) if r["status"] == "failed" and r["stage"] != "plan"]
                if rows:
                    count += len(rows)
                    self.store.reopen(shard, map(int, self.store.read_sealed(shard).parts))
                continue
            for item in self.store.staged(shard):
                if self.store.read_staged(item)[0].status == "failed":
                    self.store.staged_path(item).unlink()
                    count += 1
        return count

    def run(self, executor: Executor, report: Report) -> Counts:
        """Have everything done that is planned and not done; whatever ends it, what is done is kept.

        Raises OstecError if it stops early.
        """
        counts, made, reported = self.count(), 0, 0.0
        left: dict[int, set[int]] = {}  # shard -> items that are still to be done, of the shards that are open
        self.store.clean(self.plan.shards)
        for folder in self.store.folders:
            remove_leftovers(folder)
        try:
            for finished in executor.run(self._pending(left)):
                shard = finished.item // self.config.shard_size
                left[shard].discard(finished.item)
                if not left[shard]:
                    self.store.seal(shard, self.plan.read(shard))
                    del left[shard]
                counts.pending -= 1
                counts.add(finished.status, finished.faces)
                made += 1
                if time.monotonic() - reported > 1.0:
                    reported = time.monotonic()
                    report(counts, made)
        finally:
            report(counts, made)
        return counts

    def _pending(self, left: dict[int, set[int]]) -> Iterator[Group]:
        """The groups with photos that are to be done, shard by shard; read as they are asked for."""
        for shard in range(self.plan.shards):
            if self.store.is_sealed(shard):
                continue
            todo = [item for item in self.plan.read(shard) if item.status is None]
            waiting = left[shard] = {item.number for item in todo} - self.store.staged(shard)
            if not waiting:
                self.store.seal(shard, self.plan.read(shard))
            for group in self._groups(todo) if waiting else ():
                if own := waiting.intersection(item.number for item in group):
                    yield Group(group, frozenset(own))

    def _groups(self, todo: Sequence[Item]) -> Iterator[tuple[Item, ...]]:
        """A shard's photos as they are done together: those of one person, or as many as are projected at once."""
        if self.config.group:
            for _, own in itertools.groupby(todo, lambda item: person_of(item, self.config.group)):
                yield tuple(own)
            return
        start = 0
        for size in group_sizes(len(todo), self.config.batch):
            yield tuple(todo[start : start + size])
            start += size

    def count(self) -> Counts:
        """What is done so far. Raises AssetError."""
        counts = Counts()
        for shard in range(self.plan.shards):
            if self.store.is_sealed(shard):
                sealed = self.store.read_sealed(shard)
                for name in ("done", "failed", "skipped", "faces"):
                    setattr(counts, name, getattr(counts, name) + getattr(sealed, name))
                continue
            staged = self.store.staged(shard)
            for item in self.plan.read(shard):
                if item.status is not None:
                    counts.add(item.status)
                elif item.number in staged:
                    outcome, _ = self.store.read_staged(item.number)
                    counts.add(outcome.status, len(outcome.faces))
                else:
                    counts.pending += 1
        return counts

    # Results

    def tables(self) -> Iterator[Any]:
        """The manifest's rows of each shard that is sealed. Raises AssetError."""
        return map(self.store.table, self._sealed())

    def rows(self) -> Iterator[Row]:
        """The same one by one, without what is not known."""
        return (row for shard in self._sealed() for row in self.store.rows(shard))

    def checksums(self) -> bytes:
        """What ``shards/SHA256SUMS`` says of the shards that are sealed. Raises AssetError."""
        heads = map(self.store.read_sealed, self._sealed())
        return "".join(f"{h.sha256}  {self.store.shard_path(h.shard).name}\n" for h in heads if h.sha256).encode()

    def timings(self) -> Iterator[dict[str, Any]]:
        """The seconds of the photos in the shards that are sealed."""
        return (line for shard in self._sealed() for line in self.store.timings(shard))

    def write_results(self) -> None:
        """Write manifest, timings, checksums, licences and data card anew. Raises AssetError, OutputError."""
        write_atomic(self.store.shards / "SHA256SUMS", self.checksums())
        write_timings(self.folder / "timings.parquet", self.timings())
        write_manifest(self.folder / "manifest.parquet", self.rows())
        rows = join_tables(read_tables(self.folder / "manifest.parquet"))
        write_card(self.folder / "README.md", rows, self.plan.builds, to_json(self.config))

    def _sealed(self) -> Iterator[int]:
        return filter(self.store.is_sealed, range(self.plan.shards))


def group_sizes(count: int, most: int) -> Iterator[int]:
    """Sizes of the groups of so many photos: the last ones are smaller, so that all workers end at about one time."""
    while count > 0:
        size = min(most, -(-count // 3))
        yield size
        count -= size
