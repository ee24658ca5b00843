"""Folders that appear whole or not at all: filled aside, then renamed."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from ostec.core.errors import OutputError, UsageError
from ostec.io.files import make_folder
from ostec.io.locks import Busy, only_one


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder ``.NAME.part`` beside ``path``, which takes its name if all goes well, and goes if not.

    Raises:
        UsageError: ``path`` is there and not an empty folder, or another process makes it at this moment.
        OutputError: it cannot be made.
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
