"""HiFi3D++ as FFHQ-UV uses it (RGB_Fitting/model/hifi3dpp.py)."""

import numpy as np

from ostec.core.morphable import MorphableModel
from ostec.core.types import IntArray
from ostec.load.morphable.files import Arrays, build, need, read_mat

MANIFEST = "hifi3dpp"
_FILE = "hifi3dpp_model_info.mat"
_MM_PER_UNIT = 100.0
"""The published camera is Deep3DFaceRecon's, for decimetres."""
_NAMES = (
    *("meanshape", "meantex", "idBase", "exBase", "texBase", "vt_list"),
    *("tri", "head_tri", "tri_vt", "head_tri_vt", "keypoints", "skinmask"),
)


def read_hifi3d() -> MorphableModel:
    """Read HiFi3D++ from the user's folders of models.

    Ids in the file count from 1, colours go to 255; axes are already ours, the unit is the decimetre. As published, the
    mean is recentred on its mean vertex. Expressions are components that are never negative, for the published network
    ends them in a ReLU. The published eyeballs are meshes of their own, which are not read. Raises AssetError if the
    file is missing, damaged, or one array does not fit the others.
    """
    path = need(MANIFEST, _FILE)
    arrays = read_mat(path, _NAMES)
    shape = arrays.points("meanshape")
    count = len(shape)
    uv = arrays.floats("vt_list", None, 2)
    triangles = arrays.ids("head_tri", count, None, 3, base=1)
    parts, notes = _parts(arrays, triangles, count)
    return build(
        MANIFEST,
        [path],
        mm_per_unit=_MM_PER_UNIT,
        mean=shape - shape.mean(axis=0),
        identity=arrays.offsets("idBase", count),
        expression=arrays.offsets("exBase", count),
        expression_range=(0.0, 3.0),
        triangles=triangles,
        uv=uv,
        triangles_uv=arrays.ids("head_tri_vt", len(uv), len(triangles), 3, base=1),
        albedo_mean=arrays.points("meantex", count) / np.float32(255),
        albedo=arrays.offsets("texBase", count) / np.float32(255),
        landmarks=arrays.landmarks(count),
        parts=parts,
        notes=notes,
        hollow_eyes=True,
    )


def _parts(arrays: Arrays, head: IntArray, count: int) -> tuple[dict[str, IntArray], tuple[str, ...]]:
    """The head, those of its triangles that the list of the face has, and those of skin alone."""
    parts = {"head": np.arange(len(head), dtype=np.int32), **arrays.skin(head, count)}
    notes: tuple[str, ...] = ()
    if "tri" in arrays:
        face = {tuple(row) for row in np.sort(arrays.ids("tri", count, None, 3, base=1), axis=1).tolist()}
        own = [k for k, row in enumerate(np.sort(head, axis=1).tolist()) if tuple(row) in face]
        parts["face"] = np.array(own, dtype=np.int32)
        if len(own) != len(face):
            notes = (f"{len(face) - len(own)} triangles of the face are none of the head's.",)
    return parts, notes
