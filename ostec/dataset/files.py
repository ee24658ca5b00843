"""JSON files of a dataset, which may be somebody else's: plain files alone are read, and damage has a sentence."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, OutputError
from ostec.core.plain import open_plain
from ostec.io.files import write_atomic

MAX_BYTES = 64 << 20  # of a line of a list
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@contextlib.contextmanager
def told_if_damaged(path: Path, sentence: str = "{path} is damaged ({error}).") -> Iterator[None]:
    """Raise AssetError for what the content of a file brings out; its sentence has ``path``, ``error`` and ``kind``."""
    try:
        yield
    except _DAMAGE as error:
        raise AssetError(sentence.format(path=path, error=error, kind=type(error).__name__)) from error


def write_json(path: Path, value: Any, synced: bool = False, **form: Any) -> None:
    """Write a value to a JSON file: equal ones give equal bytes; ``form`` as of json.dumps. Raises OutputError."""
    write_atomic(path, (json.dumps(value, **form) + "\n").encode("ascii"), synced)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a list, one a line; none where there is no file. Raises AssetError if it is damaged."""
    with told_if_damaged(path), contextlib.suppress(FileNotFoundError), open_plain(path) as stream:
        while line := stream.readline(MAX_BYTES):
            values = json.loads(line.decode("ascii"))
            if not isinstance(values, dict):
                raise ValueError("expected an object a line")
            yield values


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write a list of JSON objects; without any, see that there is no file. Raises OutputError."""
    if lines:
        write_atomic(path, b"".join(map(as_line, lines)), synced=True)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be removed ({error.strerror or error}).") from error


def as_line(values: Mapping[str, Any]) -> bytes:
    """A JSON object as a line of a list: equal ones give equal bytes."""
    return (json.dumps(values, separators=(",", ":"), sort_keys=True) + "\n").encode("ascii")
