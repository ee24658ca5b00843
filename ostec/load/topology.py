"""Topology files to typed records."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy import sparse

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError
from ostec.core.types import Topology
from ostec.io.arrays import NUMBERS, TEXTS, read_npz

_T = TypeVar("_T")


def read_topology(path: Path) -> Topology:
    """Read a face topology as written by ``tools/make_topology.py``; ``topology/README.md`` describes its arrays.

    Raises AssetError if the file is missing, damaged, or its arrays contradict each other.
    """
    return read_arrays(path, "topology", lambda arrays, sha256: _build(path.stem, sha256, arrays))


def read_arrays(path: Path, kind: str, build: Callable[[dict[str, np.ndarray], str], _T]) -> _T:
    """Turn an archive of arrays, without pickles, into a record; messages call it a ``kind`` file.

    Args:
        build: makes the record from the arrays and the file's SHA-256; KeyError, TypeError, ValueError: it cannot.

    Raises AssetError if the file is missing or damaged, or there is no record in it.
    """
    try:
        return build(read_npz(path, kinds=NUMBERS + TEXTS), sha256_of(path))
    except AssetError as error:
        raise AssetError(f"{path} is no {kind} file ({error.__cause__ or error}).") from error
    except KeyError as error:
        raise AssetError(f"{path} is no {kind} file (it has no array {error}).") from error
    except (TypeError, ValueError) as error:
        raise AssetError(f"{path} is no {kind} file ({error}).") from error


def _build(name: str, sha256: str, arrays: dict[str, np.ndarray]) -> Topology:
    """The record. Raises KeyError for a missing array and ValueError for arrays that contradict each other."""
    operator = sparse.csr_matrix(
        (arrays["operator_data"], arrays["operator_indices"], arrays["operator_indptr"]),
        shape=(len(arrays["uv"]), len(arrays["mean_landmarks"])),
    )
    operator.check_format(full_check=True)
    topology = Topology(
        name=name,
        sha256=sha256,
        triangles=arrays["triangles"],
        uv=arrays["uv"],
        operator=operator,
        mirror=arrays["mirror"],
        mirror_landmarks=arrays["mirror_landmarks"],
        mean_landmarks=arrays["mean_landmarks"],
        rigid_weight=arrays["rigid_weight"],
        regions={k.removeprefix("region_"): v for k, v in arrays.items() if k.startswith("region_")},
    )
    _check(topology)
    return topology


def _check(topology: Topology) -> None:
    """Raise ValueError where arrays have another shape than their description, or name what does not exist."""
    vertices, landmarks = topology.operator.shape
    expected = {
        "uv": (vertices, 2),
        "triangles": (len(topology.triangles), 3),
        "mirror": (vertices,),
        "mirror_landmarks": (landmarks,),
        "mean_landmarks": (landmarks, 3),
        "rigid_weight": (landmarks,),
    }
    check_arrays(topology, expected, {"triangles": vertices, "mirror": vertices, "mirror_landmarks": landmarks})


def check_arrays(record: object, shapes: Mapping[str, tuple[int, ...]], counts: Mapping[str, int]) -> None:
    """Raise ValueError unless fields have these shapes, and ids in those of ``counts`` are below the count."""
    for name, shape in shapes.items():
        if getattr(record, name).shape != shape:
            raise ValueError(f"{name} should have the shape {shape}, not {getattr(record, name).shape}")
    for name, count in counts.items():
        ids = getattr(record, name)
        if ids.size == 0 or ids.min() < 0 or ids.max() >= count:
            raise ValueError(f"{name} names something that does not exist")
