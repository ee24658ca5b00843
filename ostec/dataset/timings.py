"""The lists of seconds in ``state/timings``, and what ``timings.parquet`` still knows of those that were lost."""

import itertools
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError
from ostec.dataset.manifest import read_timings
from ostec.dataset.store import Store, write_lines

logger = logging.getLogger(__name__)


def restore_timings(store: Store, path: Path, shards: Collection[int]) -> None:
    """Write the lists that are missing from the file that was made from them.

    Args:
        store: of the dataset.
        path: of ``timings.parquet``; where it cannot be read, nothing is written.
        shards: those that are finished.

    Raises:
        OutputError: a list cannot be written.
    """
    missing = {shard for shard in shards if not store.timings_path(shard).exists()}
    if not missing or not path.exists():
        return
    try:
        for shard, lines in itertools.groupby(read_timings(path), lambda line: int(line["item"]) // store.shard_size):
            if shard in missing:
                write_lines(store.timings_path(shard), list(lines))
    except AssetError as error:
        logger.warning("%s The seconds of %d shards are lost.", error, len(missing))


def timings_differ(store: Store, path: Path, shards: Collection[int]) -> bool:
    """Whether ``timings.parquet`` says something else than the lists that are there.

    Args:
        store: of the dataset.
        path: of the file.
        shards: those that are finished, in order.

    Raises:
        AssetError: the file is missing or damaged.
    """
    listed = [shard for shard in shards if store.timings_path(shard).exists()]
    known = set(listed)

    def expected() -> Iterator[dict[str, Any]]:
        for shard in listed:
            yield from (line for line in store.timings(shard) if line["seconds"])

    stored = (line for line in read_timings(path) if int(line["item"]) // store.shard_size in known)
    return any(one != other for one, other in itertools.zip_longest(stored, expected()))
