"""Where photos are: in files, folders and globs."""

import glob
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ostec.core.errors import UsageError
from ostec.core.text import shown
from ostec.io.images import is_image_file

logger = logging.getLogger(__name__)

_FOREIGN_SUFFIXES = frozenset((".heic", ".heif"))
"""Photos that cannot be read: taken, so that the run says so, instead of passing them over."""


def expand(source: str, called: str = "") -> list[Path]:
    """The files and folders that a source means: itself if it exists, else what matches it as a pattern, sorted.

    Sentences name it ``called``, if given. Raises UsageError if it has an empty name, does not exist, cannot be read or
    is neither file nor folder.
    """
    path, name = Path(source), shown(called or Path(source))
    if not source:
        raise UsageError("A source has an empty name.")
    try:
        if path.is_file() or path.is_dir():
            return [path]
        if os.path.lexists(path):
            what = "is a link to nothing" if path.is_symlink() and not path.exists() else "is neither file nor folder"
            raise UsageError(f"{name} {what}.")
        # pathlib's own glob takes no absolute patterns.
        matches = sorted(glob.glob(source, recursive=True)) if glob.has_magic(source) else []  # noqa: PTH207
    except (OSError, ValueError) as error:  # a folder above is unreadable, the name is too long or impossible
        raise UsageError(f"{name} cannot be read ({getattr(error, 'strerror', None) or error}).") from error
    if not matches:
        raise UsageError(f"There is no file or folder {name}.")
    return list(map(Path, matches))


def walk_photos(folder: Path, recursive: bool = True) -> Iterator[Path]:
    """The pictures in a folder and, if ``recursive``, below it; links are followed, each folder is entered once.

    Raises:
        UsageError: the folder cannot be read; one below it is left out with a warning.
    """
    entered: set[tuple[int, int]] = set()

    def refuse_or_warn(error: OSError) -> None:
        what = f"The folder {shown(error.filename)} cannot be read ({error.strerror})"
        if Path(error.filename) == folder:
            raise UsageError(f"{what}.") from error
        logger.warning("%s and is left out.", what)

    for parent, folders, files in os.walk(folder, followlinks=True, onerror=refuse_or_warn):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in entered:
            folders.clear()
            continue
        entered.add((status.st_dev, status.st_ino))
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if recursive else []
        yield from (p for p in (Path(parent, f) for f in sorted(files)) if is_photo(p))


def is_photo(path: Path) -> bool:
    """Tell whether a file found in a folder or by a pattern is meant as a photo; hidden ones are not."""
    if path.name.startswith(".") or (path.exists() and not path.is_file()):  # a pipe would be waited for
        return False
    if path.suffix.lower() in _FOREIGN_SUFFIXES:
        return True
    if is_image_file(path):
        return True
    try:
        path.stat()
    except FileNotFoundError:  # a link to a photo that is gone is reported with the photos that failed
        return path.is_symlink()
    except OSError:  # a link to itself
        return False
    return False
