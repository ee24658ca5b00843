"""FLAME 2020 and 2023: generic_model.pkl, of which nothing is executed."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ostec.core.errors import AssetError
from ostec.core.morphable import Joints, MorphableModel
from ostec.core.types import FloatArray, IntArray
from ostec.io.arrays import read_npz
from ostec.io.obj import read_obj
from ostec.io.pickles import Stub, read_npy_object, read_objects
from ostec.load.morphable.files import Arrays, build, need, pieces, wrong_shape

MANIFEST = "flame"
_FILE = "generic_model.pkl"
_FOLDERS = ("flame/FLAME2023", "flame/FLAME2020", "FLAME2023", "FLAME2020")
_MESH = "head_template.obj"
_TEXTURE = "FLAME_texture.npz"
_EMBEDDING = "landmark_embedding.npy"
_MM_PER_UNIT = 1000.0
_IDENTITIES = 300
"""The first components are of identity, the others of expression."""
_RIG = ("Neck", "Head", "Jaw", "LeftEye", "RightEye")
"""The file's joints (root, neck, jaw, eyes): what turns at the root is the neck, and the head at the neck's end."""


def read_flame() -> MorphableModel:
    """Read FLAME from the user's folders of models.

    Arrays of old files are wrapped in objects of chumpy, and the joints are a matrix of scipy: both are unwrapped
    without being built. Axes are already ours, the unit is the metre. Texture coordinates come from
    ``head_template.obj`` or ``FLAME_texture.npz``, landmarks from ``landmark_embedding.npy``, if they lie beside it.
    Raises AssetError if the file is missing, damaged, would call something, or one array does not fit the others.
    """
    path = need(MANIFEST, _FILE)
    held = read_objects(path)
    table = Arrays.by_name(path, held.state if isinstance(held, Stub) and isinstance(held.state, dict) else held)
    wanted = ("f", "v_template", "shapedirs", "J_regressor", "kintree_table", "weights")
    arrays = Arrays(path, {name: _unwrapped(table.raw(name), path, name) for name in wanted if name in table})
    shape = arrays.floats("v_template", None, 3)
    count = len(shape)
    directions = arrays.floats("shapedirs", count, 3, None)
    if directions.shape[2] <= _IDENTITIES:
        found = f"more than {_IDENTITIES} components, not {directions.shape[2]}"
        raise AssetError(f"{path} cannot be used: shapedirs should have {found}.")
    triangles = arrays.ids("f", count, None, 3)
    chart, uv_sources, uv_notes = _uv(path, triangles)
    landmarks, landmark_sources, landmark_notes = _landmarks(path, triangles)
    joints, parents, weights = _tree(path, arrays, count)
    names = _RIG if len(joints) == len(_RIG) else tuple(f"Joint{k}" for k in range(len(joints)))
    return build(
        MANIFEST,
        [path, *uv_sources, *landmark_sources],
        mm_per_unit=_MM_PER_UNIT,
        mean=shape,
        identity=np.ascontiguousarray(directions[:, :, :_IDENTITIES]),
        expression=np.ascontiguousarray(directions[:, :, _IDENTITIES:]),
        expression_range=(-3.0, 3.0),
        triangles=triangles,
        landmarks=landmarks,
        parts=_parts(shape, triangles),
        notes=(*uv_notes, *landmark_notes),
        joints=Joints(names, joints @ shape, parents, weights),
        **chart,
    )


def _tree(path: Path, arrays: Arrays, count: int) -> tuple[FloatArray, IntArray, FloatArray]:
    """The joints as they follow from ``count`` vertices, what they hang on, and the vertices' weights."""
    joints = arrays.floats("J_regressor", None, count)
    number = len(joints)
    tree = np.asarray(arrays.raw("kintree_table") if "kintree_table" in arrays else ())
    if tree.shape != (2, number) or tree.dtype.kind not in "iu":
        raise AssetError(wrong_shape(path, "kintree_table", (2, number), tree.shape))
    parents = tree[0].astype(np.int64)
    parents[0] = -1  # stored as the largest unsigned number
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, number)).any():
        raise AssetError(f"{path} cannot be used: a joint in kintree_table hangs on none before it.")
    return joints, parents.astype(np.int32), arrays.floats("weights", count, number)


def _unwrapped(value: Any, path: Path, name: str) -> Any:
    """The array within an object of chumpy (state ``x``), or the dense matrix of one of scipy's sparse ones."""
    if not isinstance(value, Stub):
        return value
    state = value.state if isinstance(value.state, dict) else {}
    if value.module.startswith("chumpy") and isinstance(state.get("x"), np.ndarray):
        return state["x"]
    if value.module.startswith("scipy.sparse"):
        return _dense(value.name, state, path, name)
    raise AssetError(f"{path} cannot be used: {name} is an object of {value.module[:40]}.{value.name[:40]}.")


def _dense(kind: str, state: dict[str, Any], path: Path, name: str) -> npt.NDArray[np.float64]:
    """A matrix from the state of scipy's object; the ids in it are checked before scipy sees them."""
    shape = state.get("_shape", state.get("shape"))
    lists = [state.get(key) for key in ("data", "indices", "indptr")]
    by_column = kind.startswith("csc")
    if not (by_column or kind.startswith("csr")) or not all(isinstance(one, np.ndarray) for one in lists):
        raise AssetError(f"{path} cannot be used: {name} is a sparse matrix of an unknown kind ({kind[:40]}).")
    sides = shape if isinstance(shape, tuple) and len(shape) == 2 else (0, 0)
    stored = path.stat().st_size
    if not all(type(side) is int and side > 0 for side in sides) or sides[0] * sides[1] > stored:
        raise AssetError(f"{path} cannot be used: {name} claims the shape {shape}.")
    try:
        made = (sparse.csc_matrix if by_column else sparse.csr_matrix)(tuple(lists), shape=sides)
        made.check_format(full_check=True)
        dense: npt.NDArray[np.float64] = made.toarray()
        return dense
    except (ValueError, TypeError, IndexError) as error:
        raise AssetError(f"{path} cannot be used: {name} is no sparse matrix ({error}).") from error


def _parts(shape: FloatArray, triangles: IntArray) -> dict[str, IntArray]:
    """The head with face and neck, and the two balls beside it, if there are two."""
    found = pieces(triangles, len(shape))
    if len(found) != 3:
        return {"head": np.arange(len(triangles), dtype=np.int32)}
    eyes = sorted(found[1:], key=lambda ids: float(shape[triangles[ids].ravel(), 0].mean()))
    return {"head": found[0], "eye_left": eyes[0], "eye_right": eyes[1]}


def _uv(beside: Path, triangles: IntArray) -> tuple[dict[str, Any], list[Path], tuple[str, ...]]:
    """The model's fields for the texture, the files that they came from, and what to say."""
    mesh_path, texture_path = beside.with_name(_MESH), beside.with_name(_TEXTURE)
    if mesh_path.is_file():
        mesh = read_obj(mesh_path)
        found, found_uv, _ = mesh.triangulate()
        if len(found) != len(triangles) or len(found_uv) != len(triangles):
            raise AssetError(wrong_shape(mesh_path, "its polygons", (len(triangles), 3), found_uv.shape))
        order = _same(found, triangles)
        if order is None:
            raise AssetError(f"{mesh_path} cannot be used: its triangles are not those of {beside.name}.")
        return {"uv": mesh.uv, "triangles_uv": np.take_along_axis(found_uv, order, axis=1)}, [mesh_path], ()
    if texture_path.is_file():
        arrays = Arrays(texture_path, read_npz(texture_path, ("vt", "ft")))
        uv = arrays.floats("vt", None, 2)
        return {"uv": uv, "triangles_uv": arrays.ids("ft", len(uv), len(triangles), 3)}, [texture_path], ()
    return {}, [], (f"Neither {_MESH} nor {_TEXTURE} is there: there are no texture coordinates.",)


def _same(found: IntArray, triangles: IntArray) -> IntArray | None:
    """[F, 3]: which corner of each found triangle is which of ours, or None where they are others."""
    order = np.argmax(found[:, None, :] == triangles[:, :, None], axis=2).astype(np.int32)
    return order if (np.take_along_axis(found, order, axis=1) == triangles).all() else None


def _landmarks(beside: Path, triangles: IntArray) -> tuple[dict[str, IntArray], list[Path], tuple[str, ...]]:
    """Of each of the 68 points within triangles, the nearest corner."""
    path = beside.with_name(_EMBEDDING)
    if not path.is_file():
        return {}, [], (f"{_EMBEDDING} is missing: there are no named landmarks.",)
    table = Arrays.by_name(path, read_npy_object(path))
    names = [name for name in ("full_lmk_faces_idx", "full_lmk_bary_coords") if name in table]
    flat = {name: np.asarray(table.raw(name)) for name in names if not isinstance(table.raw(name), Stub | list)}
    arrays = Arrays(path, {name: each[0] if each.shape[:1] == (1,) else each for name, each in flat.items()})
    faces = arrays.ids("full_lmk_faces_idx", len(triangles), 68)
    weights = arrays.floats("full_lmk_bary_coords", 68, 3)
    return {"ibug68": triangles[faces, weights.argmax(axis=1)]}, [path], ()
