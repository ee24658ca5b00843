"""The part of the Basel Face Model without neck that 3DDFA_V2 fits (bfm/bfm.py and utils/uv.py of its repository)."""

from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.assets import find_model
from ostec.core.errors import AssetError
from ostec.core.morphable import MorphableModel
from ostec.core.types import FloatArray
from ostec.io.arrays import read_npy
from ostec.io.pickles import read_objects
from ostec.load.morphable.files import Arrays, basis, build, need, read_mat

MANIFEST = "3ddfa_v2"
_FILE = "bfm_noneck_v3.pkl"
_DEVIATIONS = "param_mean_std_62d_120x120.pkl"
_TRIANGLES = "tri.pkl"
_UV, _INDICES = "BFM_UV.mat", "indices.npy"
_MM_PER_UNIT = 0.001
"""Lengths are the Basel Face Model's, micrometres."""
_POSE, _IDENTITIES, _EXPRESSIONS = 12, 40, 10
"""The 62 parameters: a 3 x 4 matrix, then coefficients."""


def read_3ddfa() -> MorphableModel:
    """Read 3DDFA_V2's face model from the user's folders of models.

    Of the pickles nothing is executed. The bases are components as stored; what their coefficients' deviations are says
    ``param_mean_std_62d_120x120.pkl``. The triangles are those of ``tri.pkl``, one in each column, ids from 0; the
    landmarks number the coordinates x, y, z of all vertices in a row. Axes are already ours; the published code does
    not recentre, here the mean is moved to its mean vertex. ``indices.npy`` picks the vertices' rows in ``BFM_UV.mat``.
    Raises AssetError if a file is missing, damaged, or one array does not fit the others.
    """
    path, deviations_path, triangles_path = (need(MANIFEST, name) for name in (_FILE, _DEVIATIONS, _TRIANGLES))
    arrays = Arrays.by_name(path, read_objects(path))
    shape = arrays.points("u")
    count = len(shape)
    spread = Arrays.by_name(deviations_path, read_objects(deviations_path))
    deviations = spread.floats("std", _POSE + _IDENTITIES + _EXPRESSIONS)[_POSE:]
    columns = Arrays(triangles_path, {"the triangles": read_objects(triangles_path)})
    triangles = np.ascontiguousarray(columns.ids("the triangles", count, 3, None).T)
    uv, sources, notes = _uv(count)
    values: dict[str, Any] = {} if uv is None else {"uv": uv, "triangles_uv": triangles}
    return build(
        MANIFEST,
        [path, deviations_path, triangles_path, *sources],
        mm_per_unit=_MM_PER_UNIT,
        mean=shape - shape.mean(axis=0),
        identity=_scaled(arrays, "w_shp", deviations[:_IDENTITIES], count),
        expression=_scaled(arrays, "w_exp", deviations[_IDENTITIES:], count),
        expression_range=(-3.0, 3.0),
        triangles=triangles,
        landmarks={"ibug68": arrays.ids("keypoints", 3 * count, 204)[::3] // 3} if "keypoints" in arrays else {},
        parts={"face": np.arange(len(triangles), dtype=np.int32)},
        notes=notes,
        **values,
    )


def _scaled(arrays: Arrays, name: str, deviations: FloatArray, count: int) -> FloatArray:
    """As many components [V, 3, K] as there are deviations, each times its own."""
    stored = arrays.floats(name, 3 * count, None)
    if stored.shape[1] < len(deviations):
        found = f"at least {len(deviations)} components, not {stored.shape[1]}"
        raise AssetError(f"{arrays.path} cannot be used: {name} should have {found}.")
    return basis(stored[:, : len(deviations)] * deviations, count)


def _uv(count: int) -> tuple[FloatArray | None, list[Path], tuple[str, ...]]:
    """[V, 2], v up, the files that it came from, and what to say."""
    paths = [find_model(MANIFEST, name) for name in (_UV, _INDICES)]
    missing = [name for name, path in zip((_UV, _INDICES), paths, strict=True) if path is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        return None, [], (f"{' and '.join(missing)} {verb} missing: there are no texture coordinates.",)
    found = [path for path in paths if path is not None]
    uv = read_mat(found[0], ("UV",)).floats("UV", None, 2)
    rows = Arrays(found[1], {"its array": read_npy(found[1])}).ids("its array", len(uv), count)
    return uv[rows], found, ()
