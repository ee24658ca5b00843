"""One process at a time builds a dataset."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ostec.core.errors import UsageError
from ostec.io.locks import Busy, is_held, only_one


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a dataset's folder, which must exist.

    Raises:
        UsageError: somebody else does.
        OutputError: the folder cannot be written to.
    """
    try:
        with only_one(_lock_of(folder)):
            yield
    except Busy as error:
        raise _refusal(folder) from error


def is_building(folder: Path) -> bool:
    """Tell whether somebody holds the lock of a dataset's folder; nothing is written."""
    return is_held(_lock_of(folder))


def require_idle(folder: Path) -> None:
    """See that nobody holds it; nothing is written. Raises UsageError."""
    if is_building(folder):
        raise _refusal(folder)


def _lock_of(folder: Path) -> Path:
    return folder / "build"


def _refusal(folder: Path) -> UsageError:
    return UsageError(f"{folder} is being built by another process; please wait until it ends.")
