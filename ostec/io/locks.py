"""One process at a time: a lock that the operating system takes back when its holder ends, however that happens."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ostec.core.errors import OutputError


class Busy(Exception):
    """Somebody else holds the lock."""


@contextlib.contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock of a file, ``.FILE.lock`` beside it, or do not wait for it.

    Args:
        path: the file; it need not exist, its folder must.

    Raises:
        Busy: another process, or another thread of this one, holds it.
        OutputError: the lock cannot be written.
    """
    lock = _lock_of(path)
    stream = _held(lock)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # on Windows an open file stays
            lock.unlink()
        stream.close()


def is_held(path: Path) -> bool:
    """Tell whether somebody holds the lock of a file; nothing is written. Raises OutputError if it cannot be told."""
    lock = _lock_of(path)
    try:
        with lock.open("r+b" if sys.platform == "win32" else "rb") as stream:
            try:
                _lock(stream)
            except OSError:
                return True
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"{lock} cannot be read ({error.strerror or error}).") from error
    return False


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _held(lock: Path) -> BinaryIO:
    while True:
        try:
            stream = lock.open("ab")
        except OSError as error:
            raise OutputError(f"{lock} cannot be written ({error.strerror or error}).") from error
        try:
            _lock(stream)
            if os.path.samestat(os.fstat(stream.fileno()), lock.stat()):
                return stream
        except FileNotFoundError:
            pass  # whoever held it has removed it in this moment
        except OSError as error:
            stream.close()
            raise Busy from error
        stream.close()


if sys.platform == "win32":  # pragma: no cover

    def _lock(stream: BinaryIO) -> None:
        import msvcrt

        msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
else:

    def _lock(stream: BinaryIO) -> None:
        import fcntl

        fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
