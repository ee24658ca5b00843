"""Files that appear whole or not at all: written aside in the same folder, then renamed."""

import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from ostec.core.errors import OutputError

_HOST = sha256(socket.gethostname().encode("utf-8", "surrogateescape")).hexdigest()[:8]
_SHORT_TEMP = Path("/tmp")
_MAX_TEMP_BYTES = 20
_PART = re.compile(r"\.ostec-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part")


def write_atomic(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file aside in its own folder, then rename it into place; an older file is replaced.

    Args:
        path: the file; its folder must exist.
        content: the bytes, or a function that writes them to the stream it is given.

    Raises:
        OutputError: the folder is missing or unwritable, or the disk is full; nothing is left behind.
    """
    part = path.with_name(f".ostec-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        try:
            with part.open("xb") as stream:
                if callable(content):
                    content(stream)
                else:
                    stream.write(content)
            part.replace(path)
        except BaseException:  # Ctrl-C too must leave nothing behind
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).") from error


def make_folder(path: Path) -> Path:
    """Make a folder and its parents, and check that a file can be written in it.

    Raises:
        OutputError: it cannot be made, is a file, or cannot be written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(f"{path} is a file, not a folder.") from error
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be made ({error.strerror or error}).") from error
    probe = path / f".ostec-{_HOST}-{os.getpid()}-{secrets.token_hex(4)}.part"
    try:
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise OutputError(f"The folder {path} cannot be written to ({error.strerror or error}).") from error
    return path


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of processes of this machine that were killed; those of running ones stay."""
    for part in folder.glob(".ostec-*.part"):
        match = _PART.fullmatch(part.name)
        if match and match[1] == _HOST and not _is_running(int(match[2])):
            part.unlink(missing_ok=True)


def make_short_temp(prefix: str) -> Path:
    """Make a folder for files on their way, whose path leaves room for the 107 bytes of a socket's.

    Those of the same prefix whose processes were killed are removed.
    """
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base)) > _MAX_TEMP_BYTES and _SHORT_TEMP.is_dir():
        base = _SHORT_TEMP
    for old in base.glob(f"{prefix}*"):
        pid = old.name.removeprefix(prefix).partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=base))


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
