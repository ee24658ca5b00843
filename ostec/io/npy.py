"""What ``numpy.save`` wrote of a Python object (.npy with a pickle inside), to plain data; nothing is executed."""

import mmap
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import WeightsError
from ostec.io.arrays import read_npy_header
from ostec.io.opcodes import Malformed
from ostec.io.pickles import load_pickle


def read_npy_object(path: Path) -> Any:
    """Read the one object of a .npy file, as ``numpy.load(path, allow_pickle=True).item()`` would.

    Returns:
        What :func:`ostec.io.pickles.read_objects` would return for it.

    Raises:
        WeightsError: the file is missing, damaged, no such file, claims more than it holds, or would call something;
            nothing has been executed.
    """
    try:
        with path.open("rb") as file:
            start = _pickle_start(file)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                content.seek(start)
                held = load_pickle(content, len(content))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}).") from error
    except (ValueError, Malformed) as error:
        raise WeightsError(f"{path} cannot be used: expected an object saved by NumPy, found {error}.") from error
    if not isinstance(held, np.ndarray) or held.shape != ():
        raise WeightsError(f"{path} cannot be used: expected one object saved by NumPy, found several.")
    return held.item()


def _pickle_start(file: Any) -> int:
    """Where the pickle begins. Raises ValueError for anything else than an array of objects."""
    try:
        head = read_npy_header(file, "the object")
    except ValueError as error:
        raise ValueError("no header of a .npy file") from error
    if not head.dtype.hasobject:
        raise ValueError("an array of numbers")
    return int(file.tell())
