"""What takes long to compute and depends on little, kept as arrays with what it was computed from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ostec.core.errors import AssetError
from ostec.io.arrays import NUMBERS, TEXTS, read_npz
from ostec.io.files import write_atomic

Arrays = dict[str, npt.NDArray[Any]]
_KEY = "made_with"


def why_stale(path: Path, key: Mapping[str, str]) -> str | None:
    """Why ``path`` cannot stand for what would be computed from ``key``, as the rest of a sentence; None if it can.

    Args:
        key: what the arrays depend on, name -> value.
    """
    if not path.exists():
        return "is not there yet"
    try:
        before = json.loads(str(read_npz(path, (_KEY,), TEXTS)[_KEY]))
    except (AssetError, KeyError, ValueError, RecursionError):
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
        return {name: values for name, values in read_npz(path, kinds=NUMBERS + TEXTS).items() if name != _KEY}
    except AssetError as error:
        raise AssetError(f"{path} is damaged ({error.__cause__ or error}); please remove it.") from error
