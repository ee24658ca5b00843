"""Photos of a dataset by what came of them."""

from collections.abc import Callable
from dataclasses import dataclass

from ostec.dataset.store import Store


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


def tally(counts: Counts, status: str, faces: int = 0) -> None:
    """Count a photo with its faces."""
    setattr(counts, status, getattr(counts, status) + 1)
    counts.faces += faces


def add_sealed(counts: Counts, store: Store, shard: int) -> None:
    """Count the photos of a finished shard. Raises AssetError."""
    sealed = store.read_sealed(shard)
    for name in ("done", "failed", "skipped", "faces"):
        setattr(counts, name, getattr(counts, name) + getattr(sealed, name))
