"""Whether a dataset is what was written down when it was made, and what can be made again from the rest."""

import contextlib
import functools
import itertools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, OstecError
from ostec.core.plain import MAX_JSON_BYTES, read_plain
from ostec.dataset.attributes import loaded
from ostec.dataset.build import Dataset, require_idle
from ostec.dataset.files import read_lines, write_lines
from ostec.dataset.manifest import Row, check_table, known_of, read_manifest, read_tables, read_timings
from ostec.dataset.plan import LICENCES
from ostec.dataset.records import Item, Place
from ostec.dataset.store import digest_of, parts_of
from ostec.dataset.worker import mixed

logger = logging.getLogger(__name__)


@dataclass
class Found:
    """What a verification came to."""

    problems: list[str] = field(default_factory=list)  # a sentence each
    repaired: list[str] = field(default_factory=list)  # what was done about them
    faces: int = 0
    shards: int = 0


def verify(folder: Path, repair: bool) -> Found:
    """Compare shards, lists, manifest and checksums with each other, reading every byte.

    With ``repair``, what can be made from the rest is made anew. Raises UsageError if there is no dataset, or it is
    being built, AssetError if its ``config.json`` or the plan's index is damaged, OutputError if a repair cannot be
    written.
    """
    dataset = Dataset.open(folder, lost_state=True)
    with dataset.locked() if repair else _idle(folder):
        check = _Check(dataset, repair)
        check.plan()
        for shard in range(check.dataset.plan.shards):
            check.shard(shard)
        check.results()
    return check.found


@contextlib.contextmanager
def _idle(folder: Path) -> Iterator[None]:
    """Nobody builds before and after; nothing is written, not even a lock. Raises UsageError."""
    require_idle(folder)
    yield
    require_idle(folder)


class _Check:
    """One verification, in the order of its methods."""

    def __init__(self, dataset: Dataset, repair: bool) -> None:
        self.dataset = dataset
        self.found = Found()
        self._store = dataset.store
        self._repair = repair

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """An AssetError is a problem."""
        try:
            yield
        except AssetError as error:
            self.found.problems.append(str(error))

    def plan(self) -> None:
        """The lists of the plan, one for each shard."""
        plan, present = self.dataset.plan, self._store.last_shard() + 1
        if lost := plan.shards < present or plan.is_lost():
            self.found.problems.append(f"The plan does not know all of {present} shards: state/ was lost.")
        damaged = []
        for shard in range(present if lost and self._repair else plan.shards):
            try:
                plan.read(shard)
            except AssetError as error:
                damaged.append(shard)
                self.found.problems += [] if lost else [str(error)]
        if self._repair and not all(self._manifest.get(shard) for shard in damaged):
            # An empty list would have photos that are done planned again.
            self.found.problems.append("The manifest does not know the photos of all lost lists: nothing was repaired.")
            self._repair = False
        for shard in damaged if self._repair else ():
            failures = read_lines(self._store.failures_path(shard))
            paths = {line.get("item"): str(line.get("path", "")) for line in failures}
            items = {row["item"]: _item_of(row, paths.get(row["item"], "")) for row in self._manifest[shard]}
            plan.write(shard, items.values())
            self.found.repaired.append(f"The plan of shard {shard} was made again from the manifest.")
        if lost and self._repair:
            what = "sources" if plan.restore(present) else "sources and licences"
            self.found.repaired.append(
                f"The plan was made again from the manifest; {what} were not written down elsewhere."
            )

    @functools.cached_property
    def _manifest(self) -> dict[int, list[Row]]:
        """The manifest's rows by shard, without what is not known; none where it cannot be read."""
        found: dict[int, list[Row]] = {}
        with contextlib.suppress(AssetError, ValueError):
            for table in read_tables(self.dataset.folder / "manifest.parquet"):
                check_table(table)
                for row in table.to_pylist():
                    found.setdefault(row["item"] // self._store.shard_size, []).append(known_of(row))
        return found

    def shard(self, shard: int) -> None:
        """The tar file of a shard, and its lists."""
        store, path = self._store, self._store.shard_path(shard)
        if not store.is_sealed(shard):
            if not path.exists() or store.staged_folder(shard).exists():
                return  # not done yet
            self.found.problems.append(f"The list of {path.name} is missing.")
            if not (self._repair and self._is_listed_again(shard)):
                return
        self.found.shards += 1
        rows: list[Row] = []
        try:
            sealed, rows = store.read_sealed(shard), store.rows(shard)
            self.found.faces += sealed.faces
            if sealed.sha256 and (not path.exists() or path.stat().st_size != sealed.size):
                raise AssetError(f"{path} is missing or has another size than {sealed.size} bytes.")
            if sealed.sha256 and sha256_of(path) != sealed.sha256:
                raise AssetError(f"{path} is damaged: its SHA-256 is another one.")
            self._failures(shard, rows)
        except (OSError, AssetError) as error:
            self.found.problems.append(str(error))
            if self._repair and (rows or not self._is_listed_again(shard)):
                self._reopen(shard)

    def _failures(self, shard: int, rows: list[Row]) -> None:
        """What could not be done, for people to read: the list of the shard has it too."""
        path = self._store.failures_path(shard)
        try:
            where = {item.number: item.place.path for item in self.dataset.plan.read(shard)}
        except AssetError:
            return  # the plan's list was named above
        failed = [{**row, "path": where.get(row["item"], "")} for row in rows if row["status"] != "done"]
        before = len(self.found.problems)
        with self._noted():
            if list(read_lines(path)) != failed:
                what = "differs from the list of its shard" if path.exists() else "is missing"
                raise AssetError(f"{path} {what}.")
        if self._repair and len(self.found.problems) > before:
            write_lines(path, failed)
            self.found.repaired.append(f"{path} was made again from the list of its shard.")

    def _is_listed_again(self, shard: int) -> bool:
        """Write the list of a sealed shard, if the manifest knows all of its photos, and the tar file is as it was."""
        path, rows, digest = self._store.shard_path(shard), self._manifest.get(shard, []), ""
        try:
            if {item.number for item in self.dataset.plan.read(shard)} != {row["item"] for row in rows}:
                return False
            if any(row["status"] == "done" for row in rows):
                digest = sha256_of(path)
                sums = read_plain(path.parent / "SHA256SUMS", MAX_JSON_BYTES)
                if f"{digest}  {path.name}\n".encode() not in sums:
                    return False
            self._store.write_sealed(shard, digest, rows, parts_of(path, rows))
        except (AssetError, OSError, ValueError) as error:
            logger.debug("%s", error)
            return False
        self.found.repaired.append(f"The list of {path.name} was made again from the manifest.")
        return True

    def _reopen(self, shard: int) -> None:
        """Keep of a damaged shard what is whole; the rest is to be done again."""
        store, path, whole = self._store, self._store.shard_path(shard), list[int]()
        try:
            for item, (start, size, digest) in store.read_sealed(shard).parts.items():
                with contextlib.suppress(AssetError):
                    whole += [int(item)] if digest_of(path, start, size) == digest else []
            store.reopen(shard, whole)
        except OstecError:
            whole = []
            store.sealed_path(shard).unlink(missing_ok=True)
        count = len(self.dataset.plan.read(shard))
        self.found.repaired.append(
            f"{path.name} was reopened: {len(whole)} of its {count} photos are whole, the others are done again by "
            "ostec dataset resume."
        )

    def results(self) -> None:
        """Manifest, checksums and what else is made of the lists."""
        folder, problems, before = self.dataset.folder, self.found.problems, len(self.found.problems)
        try:
            expected = self.dataset.checksums()
        except AssetError:
            return  # the list that is damaged was named above
        sums, manifest, timings = (folder / n for n in ("shards/SHA256SUMS", "manifest.parquet", "timings.parquet"))
        if not sums.is_file() or sums.stat().st_size != len(expected) or sums.read_bytes() != expected:
            problems.append(f"{sums} is missing or does not list the shards as they were made.")
        others = []
        with self._noted():
            rows = (row for table in self.dataset.tables() for row in table.to_pylist())
            if _differ(read_manifest(manifest), rows):
                problems.append(f"{manifest} differs from the shards.")
            others = [sentence for sentence in [mixed(self.dataset.rows())] if sentence]
        with self._noted():
            if _differ(read_timings(timings), self.dataset.timings()):
                problems.append(f"{timings} differs from what was noted in state/timings.")
        for name in ("README.md", LICENCES):
            problems += [] if (folder / name).exists() else [f"{folder / name} is missing."]
        new = len(problems) - before
        problems += others  # which writing files anew does not help
        if self._repair and (self.found.repaired or new):
            self.dataset.write_results()
            self.found.repaired += ["Manifest, timings, checksums and data card were written anew."] * max(new, 1)


def _differ(ones: Iterable[object], others: Iterable[object]) -> bool:
    return any(one != other for one, other in itertools.zip_longest(ones, others))


def _item_of(row: Row, path: str) -> Item:
    item = Item(row["item"], row["id"], row.get("sha256", ""), row["source"], Place(path), attributes=loaded(row))
    if row["status"] == "done" or row.get("stage") != "plan":
        return item
    return replace(item, status=row["status"], reason=row["reason"])
