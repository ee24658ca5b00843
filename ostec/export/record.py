"""The records of a run: ``NAME.json`` beside each result, ``run.jsonl`` and ``failures.jsonl`` beside all.

``NAME.json`` is what decides whether a photo is done, so it is written last. Nothing in it may differ between two equal
runs. Keys that other parts rely on: ``source`` (the photo's name), ``files`` (names of the result's files),
``settings``, ``pose_deg``, ``mode``, ``mode_reason``, ``warnings``, ``versions``, ``weights``; more may be added.

Writers raise OutputError where a file cannot be written.
"""

import importlib.metadata
import json
import os
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ostec import __version__
from ostec.core.errors import OutputError
from ostec.core.plain import read_json, read_plain
from ostec.core.record import RESULT, RunRecord, checked_record
from ostec.io.files import write_atomic

_MAX_FAILURES_BYTES = 256 << 20
_LIBRARIES = ("torch", "numpy", "scipy", "numba", "Pillow", "opencv-python-headless", "trimesh")


@dataclass(frozen=True)
class Failure:
    """A photo that could not be done."""

    file: str
    """Its path as it was given."""
    stage: str
    """The stage that failed."""
    reason: str
    """One sentence."""


def versions() -> dict[str, str]:
    """Return the versions that a result can depend on: ostec, Python (major.minor) and the libraries installed."""
    found = {"ostec": __version__, "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:  # not needed for this result, or from another distribution
            continue
    return found


def write_record(directory: Path, name: str, record: Mapping[str, Any], kind: str = RESULT) -> Path:
    """Write ``NAME.json``: sorted, indented, the same bytes for the same record.

    Raises ValueError if a number is NaN or infinite, or a value is none that JSON, NumPy or pathlib knows.
    """
    path = directory / f"{name}.json"
    write_atomic(path, (to_text({**record, "kind": kind}, indent=2) + "\n").encode("utf-8"))
    return path


def read_record(path: Path, kinds: Collection[str] = (RESULT,)) -> RunRecord | None:
    """Read a ``NAME.json``; None if there is none, it is damaged, too large, or no record of such a kind.

    See :func:`ostec.core.record.checked_record` for what a record is.
    """
    try:
        return checked_record(read_json(path), path.stem, kinds)
    except (OSError, ValueError):
        return None


def read_records(directory: Path) -> dict[str, RunRecord]:
    """Return every finished result of a folder by name, in order of name."""
    records = {path.stem: read_record(path) for path in sorted(directory.glob("*.json"))}
    return {name: record for name, record in records.items() if record is not None}


def append_run(directory: Path, entry: Mapping[str, Any]) -> None:
    """Append one line to ``run.jsonl``: what may differ between equal runs (time, place, seconds, memory)."""
    path = directory / "run.jsonl"
    line = (to_text(entry) + "\n").encode("utf-8")
    try:
        # One write to a file opened for appending: lines of processes that share the folder do not mix.
        with path.open("ab+", buffering=0) as stream:
            if stream.seek(0, os.SEEK_END) and not _ends_with_newline(stream):
                line = b"\n" + line  # an earlier run was killed in the middle of its line
            stream.write(line)
    except OSError as error:
        raise OutputError(f"{path} cannot be written ({error.strerror or error}).") from error


def _ends_with_newline(stream: BinaryIO) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"


def write_failures(directory: Path, failures: Iterable[Failure]) -> Path:
    """Rewrite ``failures.jsonl``, one line per photo; empty if every photo was done."""
    path = directory / "failures.jsonl"
    write_atomic(path, "".join(to_text(asdict(failure)) + "\n" for failure in failures).encode("utf-8"))
    return path


def read_failures(directory: Path) -> list[Failure]:
    """Return the last run's failures; lines that are none are left out."""
    try:
        text = read_plain(directory / "failures.jsonl", _MAX_FAILURES_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    failures = []
    for line in text.split("\n"):  # other ends of lines, as U+2028, may be in a name
        try:
            fields = json.loads(line)
            failures.append(Failure(str(fields["file"]), str(fields["stage"]), str(fields["reason"])))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return failures


def to_text(values: Mapping[str, Any], indent: int | None = None) -> str:
    """A record as JSON: the same text for the same record. Raises ValueError if a value has no JSON form, as NaN."""
    try:
        return (
            json.dumps(values, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
            .encode("utf-8", "backslashreplace")
            .decode("utf-8")
        )  # file names may hold bytes that are no text
    except TypeError as error:
        raise ValueError(f"expected plain values in a record: {error}") from error


def _plain(value: Any) -> Any:
    """Turn what the stages hand over into what JSON knows."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"{type(value).__name__} has no JSON form")
