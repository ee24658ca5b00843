"""One process at a time: a lock that the operating system takes back when its holder ends, however that happens."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor

from ostec.core.errors import OutputError


class Busy(Exception):
    """Somebody else holds the lock."""


@contextlib.contextmanager
def only_one(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a file, ``.FILE.lock`` beside it; the file need not exist.

    Args:
        wait: until another process or thread gives it back.

    Raises Busy if another one holds it and is not waited for, OutputError if the lock cannot be written.
    """
    file = _lock_of(path)
    lock = FileLock(file)
    try:
        if not file.parent.is_dir():  # which the library would make
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        lock.acquire(timeout=-1 if wait else 0, poll_interval=0.2)
    except Timeout as error:
        raise Busy from error
    except OSError as error:
        raise OutputError(f"{file} cannot be written ({error.strerror or error}).") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # on Windows an open file stays
            file.unlink()
        lock.release()


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file; nothing is written. Raises OutputError if it cannot be told."""
    file = _lock_of(path)
    try:
        with file.open("rb") as stream:
            return not lock_descriptor(stream.fileno(), blocking=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise OutputError(f"{file} cannot be read ({error.strerror or error}).") from error


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")
