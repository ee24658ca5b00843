"""HiFi3D++ as FFHQ-UV uses it (RGB_Fitting/model/hifi3dpp.py)."""

import numpy as np

from ostec.core.assets import load_manifest
from ostec.core.errors import AssetError
from ostec.core.morphable import MorphableModel
from ostec.core.types import IntArray
from ostec.load.morphable.files import Arrays, basis, checked, digest, not_there, outward, places_of, read_mat

MANIFEST = "hifi3dpp"
_FILE = "hifi3dpp_model_info.mat"
_FOLDERS = ("topo_assets", "hifi3dpp/topo_assets")
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
    ends them in a ReLU. The published eyeballs are meshes of their own, which are not read.

    Raises:
        AssetError: the file is missing, damaged, or one array does not fit the others.
    """
    path = places_of(MANIFEST, _FILE, *_FOLDERS)
    if path is None:
        raise not_there(MANIFEST, _FILE)
    arrays = read_mat(path, _NAMES)
    flat = arrays.floats("meanshape", None)
    if not len(flat) or len(flat) % 3:
        raise AssetError(f"{path} cannot be used: meanshape should hold 3 numbers per vertex, not {len(flat)}.")
    shape = flat.reshape(-1, 3)
    count = len(shape)
    uv = arrays.floats("vt_list", None, 2)
    head = arrays.ids("head_tri", count, None, 3, base=1)
    head_uv = arrays.ids("head_tri_vt", len(uv), len(head), 3, base=1)
    parts, notes = _parts(arrays, head, count)
    (triangles, triangles_uv), turned = outward(shape, head, head_uv)
    model = MorphableModel(
        name="hifi3d",
        licence=load_manifest(MANIFEST).short_licence,
        mm_per_unit=_MM_PER_UNIT,
        mean=shape - shape.mean(axis=0),
        identity=basis(arrays.floats("idBase", 3 * count, None), count),
        expression=basis(arrays.floats("exBase", 3 * count, None), count),
        expression_range=(0.0, 3.0),
        expression_names=(),
        triangles=triangles,
        uv=uv,
        triangles_uv=triangles_uv,
        albedo_mean=arrays.floats("meantex", 3 * count).reshape(-1, 3) / np.float32(255),
        albedo=basis(arrays.floats("texBase", 3 * count, None), count) / np.float32(255),
        landmarks={"ibug68": arrays.ids("keypoints", count, 68, base=1)} if "keypoints" in arrays else {},
        parts=parts,
        sha256=digest([path]),
        notes=(*notes, *turned),
        hollow_eyes=True,
    )
    return checked(model, path)


def _parts(arrays: Arrays, head: IntArray, count: int) -> tuple[dict[str, IntArray], tuple[str, ...]]:
    """The head, those of its triangles that the list of the face has, and those of skin alone."""
    parts = {"head": np.arange(len(head), dtype=np.int32)}
    notes: tuple[str, ...] = ()
    if "skinmask" in arrays:
        skin = arrays.floats("skinmask", count) > 0
        parts["skin"] = np.flatnonzero(skin[head].all(axis=1)).astype(np.int32)
    if "tri" in arrays:
        face = {tuple(row) for row in np.sort(arrays.ids("tri", count, None, 3, base=1), axis=1).tolist()}
        own = [k for k, row in enumerate(np.sort(head, axis=1).tolist()) if tuple(row) in face]
        parts["face"] = np.array(own, dtype=np.int32)
        if len(own) != len(face):
            notes = (f"{len(face) - len(own)} triangles of the face are none of the head's.",)
    return parts, notes
