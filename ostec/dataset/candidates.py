"""What a source holds that may be a photo."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ostec.core.text import shown
from ostec.dataset.attributes import Beside, beside_file, inner_name
from ostec.dataset.records import Place

logger = logging.getLogger(__name__)

LeaveOut = Callable[[Path], Collection[str]]
"""Folder -> names of the files in it that are no sources."""


@dataclass(frozen=True)
class Candidate:
    """Something that may be a photo."""

    source: str
    place: Place
    data: bytes | None = None
    """Its bytes, where finding it meant reading it."""
    error: str = ""
    """Why it cannot be read, where that is known."""
    beside: Beside | None = None
    """What the source brings of it besides the picture, if that was asked for."""


@dataclass(frozen=True)
class Search:
    """How sources are searched."""

    leave_out: LeaveOut
    output: Path
    """The dataset's folder, which is never searched."""
    beside: bool
    """Take what lies beside the pictures."""
    quiet: bool = False
    """Warn of nothing."""

    def photo(self, path: Path, base: Path) -> Candidate:
        """A file."""
        beside = beside_file(path) if self.beside else None
        return Candidate(label_of(path, base), Place(str(path.absolute())), beside=beside)

    def damaged(self, path: Path, what: str) -> Candidate:
        """An archive that fails as if it were a photo, so that the manifest tells of it."""
        self.warn(f"{shown(path)} {what}.")
        return Candidate(shown(path.name), Place(str(path.absolute())), error=f"{shown(path.name)} {what}.")

    def warn(self, sentence: str) -> None:
        """Say it, unless this is only a look."""
        if not self.quiet:
            logger.warning("%s", sentence)


def label_of(path: Path, base: Path) -> str:
    """What a dataset calls a file: its path below the source."""
    try:
        inner = path.relative_to(base)
    except ValueError:
        inner = Path(path.name)
    return inner_name(inner.as_posix())
