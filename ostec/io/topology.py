"""Topology files to typed records."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
from scipy import sparse

from ostec.core.errors import AssetError
from ostec.core.types import Topology


def read_topology(path: Path) -> Topology:
    """Read a face topology as written by ``tools/make_topology.py``.

    Raises:
        AssetError: the file is missing, damaged, or its arrays contradict each other.
    """
    try:
        content = path.read_bytes()
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        count = len(arrays["uv"])
        operator = sparse.csr_matrix(
            (arrays["operator_data"], arrays["operator_indices"], arrays["operator_indptr"]),
            shape=(count, len(arrays["mean_landmarks"])),
        )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise AssetError(f"{path} is no topology file ({error}).") from error
    if arrays["triangles"].max() >= count or arrays["triangles"].min() < 0:
        raise AssetError(f"{path} is no topology file (a triangle names a vertex that does not exist).")
    return Topology(
        name=path.stem,
        sha256=hashlib.sha256(content).hexdigest(),
        triangles=arrays["triangles"],
        uv=arrays["uv"],
        operator=operator,
        mirror=arrays["mirror"],
        mirror_landmarks=arrays["mirror_landmarks"],
        mean_landmarks=arrays["mean_landmarks"],
        rigid_weight=arrays["rigid_weight"],
        regions={k.removeprefix("region_"): v for k, v in arrays.items() if k.startswith("region_")},
    )
