"""Files and folders that appear whole or not at all: written aside in the same folder, then renamed."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from ostec.core.errors import OutputError, UsageError
from ostec.io.locks import Busy, only_one

_HOST = sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:8]
_SHORT_TEMP = Path("/tmp")
_MAX_TEMP_BYTES = 20
_LEAST_ROOM_BYTES = 16 << 20
_PART = re.compile(r"\.ostec-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], object], synced: bool = False) -> None:
    """Write a file aside in its own folder, which must exist, then rename it into place; an older file is replaced.

    Args:
        content: the bytes, or a function that writes them to the stream it is given.
        synced: wait until they are on the disk before the name changes: for what must outlive a power cut.

    Raises OutputError if the folder is missing or unwritable, or the disk is full; nothing is left behind.
    """
    part = part_of(path.parent)
    try:
        try:
            with part.open("xb") as stream:
                if callable(content):
                    content(stream)
                else:
                    stream.write(content)
                if synced:
                    stream.flush()
                    os.fsync(stream.fileno())
            part.replace(path)
        except BaseException:  # Ctrl-C too must leave nothing behind
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).") from error


def part_of(folder: Path, number: int | None = None) -> Path:
    """A path in a folder for what is on its way there; :func:`remove_leftovers` knows it by machine and process.

    Args:
        folder: where it is to be.
        number: the same gives the same path in the same process; below 2^32. None gives another path each time.
    """
    token = secrets.token_hex(4) if number is None else f"{number:08x}"
    return folder / f".ostec-{_HOST}-{os.getpid()}-{token}.part"


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, and check that a file can be written in it.

    Raises OutputError if it cannot be made, is a file, or cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path} is a file, not a folder.") from error
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made ({error.strerror or error}).") from error
    probe = part_of(path)
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be written to ({error.strerror or error}).") from error
    return path


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder ``.NAME.part`` beside ``path``, which takes its name if all goes well, and goes if not.

    Raises UsageError if ``path`` is there and not an empty folder, or another process makes it at this moment,
    OutputError if it cannot be made.
    """
    path = path.absolute()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UsageError(f"{path} is there already and not an empty folder; please name another one.")
    part = make_folder(path.parent) / f".{path.name}.part"
    try:
        with only_one(part):
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
            try:
                yield make_folder(part)
                if path.exists():
                    path.rmdir()
                part.rename(path)
            except OSError as error:
                raise OutputError(f"{path} cannot be made ({error.strerror or error}).") from error
            finally:
                shutil.rmtree(part, ignore_errors=True)
    except Busy as error:
        raise UsageError(f"Another process makes {path} at this moment.") from error


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files and folders of processes of this machine that were killed; of running ones, none.

    Raises OutputError if one cannot be removed.
    """
    for part in folder.glob(".ostec-*.part"):
        match = _PART.fullmatch(part.name)
        if not match or match[1] != _HOST or _is_running(int(match[2])):
            continue
        if part.is_dir() and not part.is_symlink():
            shutil.rmtree(part, ignore_errors=True)
            continue
        try:
            part.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{part} cannot be removed ({error.strerror or error}).") from error


def make_short_temp(prefix: str) -> Path:
    """Make a folder for files on their way, whose path leaves room for the 107 bytes of a socket's.

    Those of the same prefix whose processes were killed are removed. Raises OutputError if it cannot be made, or there
    is hardly any room in it, for which its users would wait in vain.
    """
    try:
        base = Path(tempfile.gettempdir())
    except OSError as error:  # Python has tried to write in each
        raise OutputError(f"There is no room for temporary files ({error.strerror or error}).") from error
    if len(os.fsencode(base)) > _MAX_TEMP_BYTES and _SHORT_TEMP.is_dir():
        base = _SHORT_TEMP
    for old in base.glob(f"{prefix}*"):
        pid = old.name.removeprefix(prefix).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    try:
        if shutil.disk_usage(base).free < _LEAST_ROOM_BYTES:
            raise OSError(errno.ENOSPC, f"{_LEAST_ROOM_BYTES >> 20} MB should be free; TMPDIR may name another")
        return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=base))
    except OSError as error:
        raise OutputError(f"A folder in {base} cannot be made ({error.strerror or error}).") from error


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # there, signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True
