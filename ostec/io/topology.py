"""Topology files to typed records."""

import hashlib
import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
from scipy import sparse

from ostec.core.errors import AssetError
from ostec.core.types import Topology


def read_topology(path: Path) -> Topology:
    """Read a face topology as written by ``tools/make_topology.py``; ``topology/README.md`` describes its arrays.

    Raises:
        AssetError: the file is missing, damaged, or its arrays contradict each other.
    """
    try:
        content = path.read_bytes()
        archive = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("not an archive of arrays")
        arrays = {name: archive[name] for name in archive.files}
        topology = _build(path.stem, hashlib.sha256(content).hexdigest(), arrays)
        _check(topology)
    except KeyError as error:
        raise AssetError(f"{path} is no topology file (it has no array {error}).") from error
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise AssetError(f"{path} is no topology file ({error}).") from error
    return topology


def _build(name: str, sha256: str, arrays: dict[str, np.ndarray]) -> Topology:
    """The record. Raises KeyError for a missing array and ValueError for an operator that is no sparse matrix."""
    operator = sparse.csr_matrix(
        (arrays["operator_data"], arrays["operator_indices"], arrays["operator_indptr"]),
        shape=(len(arrays["uv"]), len(arrays["mean_landmarks"])),
    )
    operator.check_format(full_check=True)
    return Topology(
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
    for name, shape in expected.items():
        if getattr(topology, name).shape != shape:
            raise ValueError(f"{name} should have the shape {shape}, not {getattr(topology, name).shape}")
    for name, count in (("triangles", vertices), ("mirror", vertices), ("mirror_landmarks", landmarks)):
        ids = getattr(topology, name)
        if ids.size == 0 or ids.min() < 0 or ids.max() >= count:
            raise ValueError(f"{name} names something that does not exist")
