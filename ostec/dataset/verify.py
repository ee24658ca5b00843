"""Whether a dataset is what was written down when it was made; what ``state/`` still knows is made again."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, OstecError
from ostec.dataset.build import Dataset, require_idle
from ostec.dataset.manifest import read_manifest
from ostec.dataset.plan import LICENCES
from ostec.dataset.store import digest_of
from ostec.dataset.worker import mixed

_RESULTS = ("timings.parquet", "README.md", LICENCES)


@dataclass
class Found:
    """What a verification came to."""

    problems: list[str] = field(default_factory=list)  # a sentence each
    repaired: list[str] = field(default_factory=list)  # what was done about them
    faces: int = 0
    shards: int = 0


def verify(folder: Path, repair: bool) -> Found:
    """Compare shards, lists, manifest and checksums with each other, reading every byte.

    With ``repair``, damaged shards are reopened, and what is made of the lists is written anew. Raises UsageError if
    there is no dataset, or it is being built, AssetError if its ``config.json`` is damaged or ``state/`` does not know
    all shards, OutputError if a repair cannot be written.
    """
    dataset, found = Dataset.open(folder), Found()
    with dataset.locked() if repair else _idle(folder):
        for shard in range(dataset.plan.shards):
            _verify_shard(dataset, shard, repair, found)
        _verify_results(dataset, repair, found)
    return found


@contextlib.contextmanager
def _idle(folder: Path) -> Iterator[None]:
    """Nobody builds before and after; nothing is written, not even a lock. Raises UsageError."""
    require_idle(folder)
    yield
    require_idle(folder)


def _verify_shard(dataset: Dataset, shard: int, repair: bool, found: Found) -> None:
    store, path = dataset.store, dataset.store.shard_path(shard)
    try:
        dataset.plan.read(shard)
        if not store.is_sealed(shard):
            if path.exists() and not store.staged_folder(shard).exists():
                raise AssetError(f"The list of {path.name} is missing.")
            return  # not done yet
        found.shards += 1
        sealed = store.read_sealed(shard)
        store.rows(shard)
        found.faces += sealed.faces
        if sealed.sha256 and (not path.exists() or path.stat().st_size != sealed.size):
            raise AssetError(f"{path} is missing or has another size than {sealed.size} bytes.")
        if sealed.sha256 and sha256_of(path) != sealed.sha256:
            raise AssetError(f"{path} is damaged: its SHA-256 is another one.")
    except (OSError, AssetError) as error:
        found.problems.append(str(error))
        if repair:
            found.repaired += _reopen(dataset, shard)


def _reopen(dataset: Dataset, shard: int) -> list[str]:
    """Keep of a damaged shard what is whole; the rest is to be done again. What was done, as sentences."""
    store, path, whole = dataset.store, dataset.store.shard_path(shard), list[int]()
    try:
        count = len(dataset.plan.read(shard))
    except AssetError:
        return []  # nothing else knows the photos
    try:
        for item, (start, size, digest) in store.read_sealed(shard).parts.items():
            with contextlib.suppress(AssetError):
                whole += [int(item)] if digest_of(path, start, size) == digest else []
        store.reopen(shard, whole)
    except OstecError:
        whole = []
        store.sealed_path(shard).unlink(missing_ok=True)
    told = f"{len(whole)} of its {count} photos are whole, the others are done again by ostec dataset resume"
    return [f"{path.name} was reopened: {told}."]


def _verify_results(dataset: Dataset, repair: bool, found: Found) -> None:
    """Manifest, checksums and what else is made of the lists."""
    folder, before, others = dataset.folder, len(found.problems), list[str]()
    sums, manifest = folder / "shards/SHA256SUMS", folder / "manifest.parquet"
    try:
        expected = dataset.checksums()
        if not sums.is_file() or sums.stat().st_size != len(expected) or sums.read_bytes() != expected:
            found.problems.append(f"{sums} is missing or does not list the shards as they were made.")
        others = [sentence for sentence in [mixed(dataset.rows())] if sentence]  # which writing anew does not help
        rows = (row for table in dataset.tables() for row in table.to_pylist())
        if any(one != other for one, other in itertools.zip_longest(read_manifest(manifest), rows)):
            raise AssetError(f"{manifest} differs from the shards.")
    except AssetError as error:
        found.problems += [] if str(error) in found.problems else [str(error)]
    found.problems += [f"{folder / name} is missing." for name in _RESULTS if not (folder / name).exists()]
    new = len(found.problems) - before
    found.problems += others
    if repair and (found.repaired or new):
        dataset.write_results()
        found.repaired += ["Manifest, timings, checksums and data card were written anew."] * max(new, 1)
