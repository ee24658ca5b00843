"""What takes long to compute and depends on little, kept as arrays with what it was computed from."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ostec.core.errors import AssetError
from ostec.io.files import write_atomic

Arrays = dict[str, npt.NDArray[Any]]
_KEY = "made_with"
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RecursionError)
"""What NumPy and zip raise for files that are none of theirs, or cut."""


def why_stale(path: Path, key: Mapping[str, str]) -> str | None:
    """Why ``path`` cannot stand for what would be computed from ``key``, as the rest of a sentence; None if it can.

    Args:
        key: what the arrays depend on, name -> value.
    """
    if not path.exists():
        return "is not there yet"
    try:
        # Opened here: where it is no archive, numpy would leave it open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            before = json.loads(str(archive[_KEY]))
    except _DAMAGE:
        return "is damaged"
    names = [name for name in key if not isinstance(before, dict) or before.get(name) != key[name]]
    return f"was made with other {' and '.join(names)}" if names else None


def write_cache(path: Path, key: Mapping[str, str], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays by name, and what they depend on.

    Raises:
        OutputError: the file cannot be written; nothing is left behind.
    """
    content: dict[str, Any] = {_KEY: np.array(json.dumps(dict(key))), **arrays}
    write_atomic(path, lambda stream: np.savez(stream, **content))


def read_cache(path: Path) -> Arrays:
    """Read all arrays of a file that :func:`why_stale` approved. Raises AssetError if it is damaged further on."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name != _KEY}
    except _DAMAGE as error:
        raise AssetError(f"{path} is damaged ({error}); please remove it.") from error
