"""Correspondence files to typed records."""

from pathlib import Path

import numpy as np

from ostec.core.assets import asset_path
from ostec.core.correspondence import (
    ENDING,
    Correspondence,
    at_vertices,
    correspondence_file,
    landmark_trust,
)
from ostec.core.errors import AssetError
from ostec.core.morphable import MorphableModel
from ostec.load.topology import check_arrays, read_arrays, read_topology

WEIGHT_TOLERANCE = 1e-4
OWN_LANDMARKS = "mediapipe478"
"""Name of a model's own landmarks that begin with FaceMesh's 468."""


def correspondence_of(model: MorphableModel) -> Correspondence:
    """Where FaceMesh's 468 landmarks lie on a model: where its own file says so, or else a file in ``topology/``.

    Raises AssetError if neither is there, or the file is damaged.
    """
    count = len(model.mean)
    if OWN_LANDMARKS in model.landmarks:
        mean = read_topology(asset_path("topology/facemesh.npz")).mean_landmarks
        ids = model.landmarks[OWN_LANDMARKS][: len(mean)]
        return at_vertices(model.name, count, ids, landmark_trust(mean), model.sha256)
    folder = asset_path("topology")
    path = folder / correspondence_file(model.name, count)
    if not path.is_file():
        counts = sorted(int(other.stem.split("_")[1]) for other in folder.glob(f"{model.name}_*{ENDING}"))
        known = f" for one of {' or '.join(map(str, counts))} only" if counts else " for no such model"
        raise AssetError(
            f"The model {model.name} found has {count} vertices; where the landmarks lie on it is known{known}."
        )
    return read_correspondence(path)


def read_correspondence(path: Path) -> Correspondence:
    """Read a file of ``tools/make_correspondence.py``; ``topology/README.md`` describes its arrays.

    Raises AssetError if the file is missing, damaged, or its arrays contradict each other.
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
    shapes = {"vertices": (count, 3), "weights": (count, 3), "trust": (count,)}
    check_arrays(found, shapes, {"vertices": found.vertex_count})
    if not np.abs(found.weights.sum(1) - 1).max() <= WEIGHT_TOLERANCE:
        raise ValueError("weights do not sum to one")
    if not (found.trust.min() >= 0 and found.trust.max() <= 1):
        raise ValueError("trust is not within 0 and 1")
