"""What several commands ask of their options, in the same words."""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ostec.core.assets import generator_names
from ostec.core.errors import UsageError
from ostec.core.plain import read_plain
from ostec.core.text import shown

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover
    import tomli as tomllib

_MAX_TOML_BYTES = 1 << 20


def need_file(path: str | Path, what: str) -> None:
    """Raise UsageError unless there is such a file; ``what`` it is begins the sentence (``The photo``)."""
    given = Path(path)
    if not str(path) or not given.exists():
        raise UsageError(f"{what} {shown(path)} does not exist.")
    if not given.is_file():
        raise UsageError(f"{what} {shown(path)} is {'a folder, not a file' if given.is_dir() else 'no file'}.")


def need_files(**asked: str) -> None:
    """Raise UsageError where a ``generator`` or ``prior`` is neither ``default`` nor ``none`` nor a file.

    A generator can also be one of the catalogue.
    """
    for name, file in asked.items():
        if file not in ("default", "none") and not (name == "generator" and file in generator_names()):
            need_file(file, f"The {name}'s file")


def out_path(out: str) -> Path:
    """The folder or file of the results, absolute. Raises UsageError where its name is empty."""
    if not out:
        raise UsageError("--out is empty.")
    return Path(out).absolute()


def need_sources(sources: Sequence[str], save_dir: str, verb: str) -> None:
    """Raise UsageError where there is nothing to ``verb``, or nowhere to put it."""
    if not sources:
        raise UsageError(f"Name at least one photo, folder or glob to {verb}.")
    if not save_dir:
        raise UsageError("--save-dir is empty.")


def refusal(error: ValueError, options: Iterable[str]) -> UsageError:
    """What a record of settings refuses, as a sentence for users: one that begins with an option's name has dashes."""
    sentence = str(error)
    first = re.match(r"\w*", sentence)[0]  # type: ignore[index]
    if first in options:
        return UsageError(f"--{first.replace('_', '-')}{sentence[len(first) :]}")
    return UsageError(sentence[:1].upper() + sentence[1:])


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The values of a TOML file; ``what`` it is begins the sentence. Raises UsageError where it is none."""
    need_file(path, f"The file of {what}")
    try:
        return tomllib.loads(read_plain(path, _MAX_TOML_BYTES).decode())
    except (OSError, ValueError, RecursionError) as error:  # of text, of TOML, of a number of 5,000 digits
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise UsageError(f"{shown(path)} is no TOML file ({reason}).") from error
