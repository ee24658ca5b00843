"""Correspondence files to typed records."""

from pathlib import Path

import numpy as np

from ostec.core.correspondence import Correspondence
from ostec.io.topology import read_arrays

WEIGHT_TOLERANCE = 1e-4


def read_correspondence(path: Path) -> Correspondence:
    """Read a file of ``tools/make_correspondence.py``; ``topology/README.md`` describes its arrays.

    Raises:
        AssetError: the file is missing, damaged, or its arrays contradict each other.
    """
    return read_arrays(path, "correspondence", lambda arrays, sha256: _build(path.stem, sha256, arrays))


def _build(stem: str, sha256: str, arrays: dict[str, np.ndarray]) -> Correspondence:
    """The record. Raises KeyError for a missing array, TypeError and ValueError for a contradiction."""
    found = Correspondence(
        name=stem.partition("_")[0],
        vertex_count=int(arrays["vertex_count"]),
        vertices=arrays["vertices"].astype(np.int32),
        weights=arrays["weights"].astype(np.float32),
        trust=arrays["trust"].astype(np.float32),
        sha256=sha256,
    )
    _check(found)
    return found


def _check(found: Correspondence) -> None:
    """Raise ValueError where arrays have another shape than their description, or name what does not exist."""
    count = len(found.vertices)
    for name, shape in (("vertices", (count, 3)), ("weights", (count, 3)), ("trust", (count,))):
        if getattr(found, name).shape != shape:
            raise ValueError(f"{name} should have the shape {shape}, not {getattr(found, name).shape}")
    if count == 0 or found.vertices.min() < 0 or found.vertices.max() >= found.vertex_count:
        raise ValueError("vertices names something that does not exist")
    if not np.abs(found.weights.sum(1) - 1).max() <= WEIGHT_TOLERANCE:
        raise ValueError("weights do not sum to one")
    if not (found.trust.min() >= 0 and found.trust.max() <= 1):
        raise ValueError("trust is not within 0 and 1")
