"""A build: plan what the sources hold, have it done, seal shards, write the manifest."""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, UsageError
from ostec.core.settings import CompleteSettings, from_json, to_json
from ostec.dataset.alone import alone, is_building
from ostec.dataset.attributes import OF_SOURCES
from ostec.dataset.card import write_card
from ostec.dataset.labels import labels_of
from ostec.dataset.manifest import Row, write_manifest, write_timings
from ostec.dataset.plan import Added, Given, Plan
from ostec.dataset.records import Executor, Finished, Group, Item
from ostec.dataset.sources import LeaveOut, find_candidates
from ostec.dataset.store import Store, read_lines, write_lines
from ostec.io.files import make_folder, open_plain, remove_leftovers, write_atomic

logger = logging.getLogger(__name__)

KIND = "ostec dataset"
VERSION = 1
_MAX_CONFIG = 1 << 20


@dataclass(frozen=True)
class DatasetConfig:
    """What all photos of a dataset have in common: ``config.json``."""

    settings: CompleteSettings = field(default_factory=CompleteSettings)
    threads: int = 1
    """CPU threads of a worker: the last digits of results depend on it."""
    shard_size: int = 500
    """Photos to a shard."""
    batch: int = 1
    """Photos whose faces are projected at once: the last digits depend on it too."""


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


Report = Callable[[Counts, int], None]
"""Called with the counts so far, and how many photos this run has done, now and then."""


class Dataset:
    """A dataset's folder with its configuration and plan."""

    def __init__(self, folder: Path, config: DatasetConfig) -> None:
        """Raises AssetError: the plan is damaged."""
        self.folder = folder
        self.config = config
        self.store = Store(folder, config.shard_size)
        self.plan = Plan(folder / "state" / "plan", config.shard_size)

    @classmethod
    def open(cls, folder: Path, lost_state: bool = False) -> "Dataset":
        """Open one that exists; ``lost_state``: also one with shards that its plan does not know.

        Raises:
            UsageError: there is none in the folder.
            AssetError: it is damaged.
        """
        config = read_config(folder)
        if config is None:
            raise UsageError(f"{folder} holds no dataset: it has no config.json of ostec dataset build.")
        dataset = cls(folder, config)
        if not lost_state and dataset.store.last_shard() >= dataset.plan.shards:
            # Planning anew would replace them.
            raise AssetError(
                f"{folder / 'state'} does not know all shards of the dataset; please run: "
                f"ostec dataset verify {folder} --repair"
            )
        return dataset

    @classmethod
    def create(cls, folder: Path, config: DatasetConfig) -> "Dataset":
        """Begin one, or go on with one that was begun with the same settings.

        Raises:
            UsageError: other settings, or another program's files are there, or another process begins one.
            OutputError: it cannot be written.
        """
        if read_config(folder) is None:
            if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
                raise UsageError(f"{folder} is not empty and holds no dataset; please choose another --out.")
            with alone(make_folder(folder)):
                if read_config(folder) is None:  # nobody has begun one in this moment
                    values = {"kind": KIND, "version": VERSION, **to_json(config)}
                    content = (json.dumps(values, indent=2) + "\n").encode("ascii")
                    write_atomic(folder / "config.json", content, synced=True)
        _require_equal(folder, read_config(folder) or config, config)
        return cls.open(folder)

    @contextlib.contextmanager
    def locked(self, make: bool = True) -> Iterator[None]:
        """Nobody else builds; the plan is read again, and with ``make`` the folders are made that are missing.

        Raises:
            UsageError: somebody does, or a folder is a link that leads elsewhere.
            OutputError: the folder cannot be written to.
            AssetError: the plan is damaged.
        """
        with alone(self.folder):
            if make:
                self.store.make()
            self.plan = Plan(self.folder / "state" / "plan", self.config.shard_size)
            yield

    # Sources

    def note_sources(self, sources: Sequence[str], licence: str, attributes: str = "") -> None:
        """Write down what is to be planned, after what was written down before, so that ``resume`` knows it.

        Args:
            sources: folders, photos, patterns, lists, archives.
            licence: of the photos.
            attributes: a table of them, or :data:`OF_SOURCES`; empty for none.

        Raises:
            AssetError: the note is damaged.
            OutputError: it cannot be written.
        """
        self.store.make()
        noted = list(read_lines(self._noted))
        values = {"sources": [str(Path(source).absolute()) for source in sources], "licence": licence}
        if attributes:
            values["attributes"] = attributes if attributes == OF_SOURCES else str(Path(attributes).absolute())
        if values not in noted:
            write_lines(self._noted, [*noted, values])

    def plan_noted(self, leave_out: LeaveOut, tick: Callable[[int], None]) -> Added | None:
        """Plan what was noted; None if there is nothing to plan.

        Raises:
            UsageError: a source or the table of attributes is gone.
            AssetError: the note is damaged.
            OutputError: the plan cannot be written.
        """
        added = None
        noted = list(read_lines(self._noted))
        while noted:
            values = noted.pop(0)
            asked = str(values.get("attributes", ""))
            try:
                given = Given(str(values["licence"]), labels_of(asked) if asked else None)
                candidates = find_candidates(values["sources"], leave_out, self.folder, asked == OF_SOURCES)
                new = self.plan.extend(candidates, self._unfinished(), given, tick)
                added = new if added is None else added + new
                if given.labels and not given.labels.complete:
                    logger.warning("%s", given.labels.told())
            except UsageError:  # it would stand in the way of the next call
                write_lines(self._noted, noted)
                raise
            write_lines(self._noted, noted)
        return added

    @property
    def _noted(self) -> Path:
        return self.store.state / "sources.json"

    @property
    def has_noted_sources(self) -> bool:
        """Whether sources were named that are not planned yet."""
        return self._noted.exists()

    def is_locked(self) -> bool:
        """Whether somebody builds; nothing is written."""
        return is_building(self.folder)

    def _unfinished(self) -> dict[int, int]:
        """Id, as a number, -> item of the photos that are not done."""
        found = {}
        for shard in range(self.plan.shards):
            parts = self.store.read_sealed(shard).parts if self.store.is_sealed(shard) else {}
            for item in self.plan.read(shard):
                if item.status is None and str(item.number) not in parts:
                    found[int(item.id, 16)] = item.number
        return found

    # Work

    def retry_failed(self) -> int:
        """Have the photos done again that failed in a worker; returns how many.

        Raises:
            AssetError: a shard is damaged.
            OutputError: something cannot be written.
        """
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

        Raises:
            OstecError: it stops early.
        """
        run = _Run(self, report)
        self.store.clean(self.plan.shards)
        for folder in self.store.folders:
            remove_leftovers(folder)
        try:
            for finished in executor.run(run.pending()):
                run.note(finished)
        finally:
            report(run.counts, run.made)
        return run.counts

    def count(self) -> Counts:
        """What is done so far."""
        counts = Counts()
        for shard in range(self.plan.shards):
            if self.store.is_sealed(shard):
                _add(counts, self.store, shard)
                continue
            items = self.plan.read(shard)
            staged = self.store.staged(shard)
            for item in items:
                if item.status is not None:
                    _tally(counts, item.status)
                elif item.number in staged:
                    outcome, _ = self.store.read_staged(item.number)
                    _tally(counts, outcome.status, len(outcome.faces))
                else:
                    counts.pending += 1
        return counts

    # Results

    def rows(self) -> Iterator[Row]:
        """The manifest's rows of the shards that are sealed."""
        for shard in range(self.plan.shards):
            if self.store.is_sealed(shard):
                yield from self.store.rows(shard)

    def checksums(self) -> bytes:
        """What ``shards/SHA256SUMS`` says of the shards that are sealed. Raises AssetError."""
        heads = (self.store.read_sealed(s) for s in range(self.plan.shards) if self.store.is_sealed(s))
        return "".join(f"{h.sha256}  {self.store.shard_path(h.shard).name}\n" for h in heads if h.sha256).encode(
            "ascii"
        )

    def write_results(self) -> None:
        """Write manifest, timings, checksums and data card anew.

        Raises:
            AssetError: a list of a shard is damaged.
            OutputError: a file cannot be written.
        """
        sealed = [shard for shard in range(self.plan.shards) if self.store.is_sealed(shard)]
        write_atomic(self.store.shards / "SHA256SUMS", self.checksums())
        lines = (line for shard in sealed for line in self.store.timings(shard))
        write_timings(self.folder / "timings.parquet", lines)
        write_manifest(self.folder / "manifest.parquet", self.rows())
        write_card(self.folder / "README.md", self.rows(), self.plan.builds, to_json(self.config))


class _Run:
    """One run over the plan: which shards are open, and what is left of each."""

    def __init__(self, dataset: Dataset, report: Report) -> None:
        self._store, self._plan = dataset.store, dataset.plan
        self._batch = dataset.config.batch
        self._report = report
        self._open: dict[int, tuple[list[Item], set[int]]] = {}
        self._reported = 0.0
        self.counts = dataset.count()
        self.made = 0

    def pending(self) -> Iterator[Group]:
        """The groups with photos that are to be done, shard by shard; read as they are asked for."""
        for shard in range(self._plan.shards):
            if self._store.is_sealed(shard):
                continue
            items = self._plan.read(shard)
            staged = self._store.staged(shard)
            left = {item.number for item in items if item.status is None} - staged
            self._open[shard] = (items, left)
            if not left:
                self._seal(shard)
            todo = [item for item in items if item.status is None]
            for first in range(0, len(todo), self._batch):
                group = tuple(todo[first : first + self._batch])
                if own := left.intersection(item.number for item in group):
                    yield Group(group, frozenset(own))

    def note(self, finished: Finished) -> None:
        """A photo is staged; the last one of its shard seals it."""
        shard = finished.item // self._store.shard_size
        left = self._open[shard][1]
        left.discard(finished.item)
        self.counts.pending -= 1
        _tally(self.counts, finished.status, finished.faces)
        self.made += 1
        if not left:
            self._seal(shard)
        if time.monotonic() - self._reported > 1.0:
            self._reported = time.monotonic()
            self._report(self.counts, self.made)

    def _seal(self, shard: int) -> None:
        items, _ = self._open.pop(shard)
        self._store.seal(shard, items)


def _tally(counts: Counts, status: str, faces: int = 0) -> None:
    setattr(counts, status, getattr(counts, status) + 1)
    counts.faces += faces


def _add(counts: Counts, store: Store, shard: int) -> None:
    sealed = store.read_sealed(shard)
    for name in ("done", "failed", "skipped", "faces"):
        setattr(counts, name, getattr(counts, name) + getattr(sealed, name))


def read_config(folder: Path) -> DatasetConfig | None:
    """A dataset's ``config.json``; None where there is none.

    Raises:
        UsageError: it is another program's.
        AssetError: it is damaged.
    """
    path = folder / "config.json"
    try:
        with open_plain(path) as stream:
            values: Any = json.loads(stream.read(_MAX_CONFIG))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise UsageError(f"{path} is not of ostec dataset build.")
    if values.get("version") != VERSION:
        raise UsageError(f"{path} is of version {values.get('version')}; this program knows version {VERSION}.")
    try:
        settings = from_json(CompleteSettings, values["settings"])
        config = DatasetConfig(settings, int(values["threads"]), int(values["shard_size"]), int(values.get("batch", 1)))
        if min(config.threads, config.shard_size, config.batch) < 1:
            raise ValueError("threads, shard_size and batch must be 1 or more")
        return config
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error


def _require_equal(folder: Path, before: DatasetConfig, asked: DatasetConfig) -> None:
    old, new = asdict(before), asdict(asked)
    old, new = {**old.pop("settings"), **old}, {**new.pop("settings"), **new}
    other = [name for name in old if old[name] != new[name]]
    if other:
        what = ", ".join(f"{name} {old[name]} (asked for: {new[name]})" for name in other)
        raise UsageError(f"{folder} was begun with {what}; a dataset has one setting, please choose another --out.")
