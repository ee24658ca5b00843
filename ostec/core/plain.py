"""Files that may be somebody else's: plain ones alone are opened, and only as much of them is read as is expected."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MAX_JSON_BYTES = 16 << 20
"""Values take twenty times as much memory as their text."""


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading that must be one: neither a pipe, which would be waited for, nor an endless device.

    Raises OSError if it is none, is missing or cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL, "it is no plain file")
    return path.open("rb")


def read_plain(path: Path, limit: int) -> bytes:
    """The bytes of a plain file. Raises OSError as :func:`open_plain`, and where there are more than ``limit``."""
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise OSError(errno.EFBIG, f"it has {size} bytes, more than {limit}")
        return stream.read(size)


def read_json(path: Path, limit: int = MAX_JSON_BYTES) -> Any:
    """The values of a JSON file. Raises OSError as :func:`read_plain`, ValueError where it is none."""
    try:
        return json.loads(read_plain(path, limit))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
