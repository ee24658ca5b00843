"""What the readers of morphable models share: where files are, arrays checked by shape, a cache of parsed meshes."""

import hashlib
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from ostec.core.assets import cache_folder, find_model, load_manifest, sha256_of
from ostec.core.errors import AssetError
from ostec.core.morphable import MorphableModel
from ostec.core.plain import open_plain
from ostec.core.types import FloatArray, IntArray
from ostec.io.matlab import read_matrices

Side = int | None
"""A side of an array's shape: its length, or None where any will do."""
_FREE = 64 << 20
_TIMES = 20
"""A MATLAB file may unpack to this many times its size, beyond the first bytes."""


class Arrays:
    """The named arrays of one file; every access states the shape that the reader relies on."""

    def __init__(self, path: Path, table: Mapping[str, Any]) -> None:
        self.path, self._table = path, table

    def __contains__(self, name: str) -> bool:
        return name in self._table

    @classmethod
    def by_name(cls, path: Path, table: Any) -> "Arrays":
        """The entries of what a pickle held. Raises AssetError unless it was a dictionary."""
        if not isinstance(table, dict):
            raise AssetError(f"{path} cannot be used: expected arrays by name, found a {type(table).__name__}.")
        return cls(path, {str(name): value for name, value in table.items()})

    def raw(self, name: str) -> Any:
        """What the file holds under that name, unchecked."""
        return self._table[name]

    def in_a_row(self, name: str) -> "Arrays":
        """That array alone, however its lists are nested, as one list."""
        return Arrays(self.path, {name: np.asarray(self._table[name]).reshape(-1)})

    def floats(self, name: str, *shape: Side) -> FloatArray:
        """A float32 array of that shape; a row or column vector counts as a list.

        Raises:
            AssetError: it is missing, holds no finite numbers, or has another shape; the sentence names both shapes.
        """
        with np.errstate(over="ignore"):  # what becomes infinite is refused
            values = self._numbers(name, shape).astype(np.float32)
        if not np.isfinite(values).all():
            raise AssetError(f"{self.path} cannot be used: {name} holds numbers that are not finite.")
        return values

    def points(self, name: str, count: int | None = None) -> FloatArray:
        """A row or column of x, y, z, x, ... as [V, 3]; V is ``count`` if given. Raises AssetError as above."""
        values = self.floats(name, None if count is None else 3 * count)
        if not len(values) or len(values) % 3:
            found = f"{name} should hold 3 numbers per vertex, not {len(values)}"
            raise AssetError(f"{self.path} cannot be used: {found}.")
        return values.reshape(-1, 3)

    def offsets(self, name: str, count: int) -> FloatArray:
        """A basis [3V, K] of V = ``count`` vertices as [V, 3, K]. Raises AssetError as above."""
        return basis(self.floats(name, 3 * count, None), count)

    def skin(self, triangles: IntArray, count: int) -> dict[str, IntArray]:
        """The part ``skin``: triangles whose vertices ``skinmask`` all counts as skin; empty where there is none."""
        if "skinmask" not in self._table:
            return {}
        skin = self.floats("skinmask", count) > 0
        return {"skin": np.flatnonzero(skin[triangles].all(axis=1)).astype(np.int32)}

    def landmarks(self, count: int) -> dict[str, IntArray]:
        """The set ``ibug68`` as ``keypoints`` numbers it, from 1; empty where there is none."""
        return {"ibug68": self.ids("keypoints", count, 68, base=1)} if "keypoints" in self._table else {}

    def ids(self, name: str, count: int, *shape: Side, base: int = 0) -> IntArray:
        """Ids in [base, base + count) as an int32 array that counts from 0.

        Raises AssetError if it is missing, has another shape, or names something that does not exist.
        """
        stored = self._numbers(name, shape)
        values = np.rint(stored) if stored.dtype.kind == "f" else stored
        if values.size and (not np.isfinite(stored).all() or np.abs(values - stored).max() > 0):
            raise AssetError(f"{self.path} cannot be used: {name} holds something else than whole numbers.")
        if values.size and (values.min() < base or values.max() >= base + count):
            found = f"{int(values.min())} to {int(values.max())}"
            raise AssetError(
                f"{self.path} cannot be used: {name} should name {base} to {base + count - 1}, not {found}."
            )
        ids: IntArray = (values.astype(np.int64) - base).astype(np.int32)
        return ids

    def _numbers(self, name: str, shape: tuple[Side, ...]) -> npt.NDArray[Any]:
        if name not in self._table:
            raise AssetError(f"{self.path} cannot be used: it has no array {name}.")
        values = np.asarray(self._table[name])
        if values.dtype.kind not in "fiub":
            raise AssetError(f"{self.path} cannot be used: {name} holds something else than numbers.")
        if len(shape) == 1 and values.ndim == 2 and 1 in values.shape:
            values = values.reshape(-1)
        if values.ndim != len(shape) or any(
            side not in (None, found) for side, found in zip(shape, values.shape, strict=True)
        ):
            raise AssetError(wrong_shape(self.path, name, shape, values.shape))
        return values


def wrong_shape(path: Path, name: str, expected: tuple[Side, ...], found: tuple[int, ...]) -> str:
    """The sentence about an array of the wrong shape; ``*`` stands for any length."""
    sides = " x ".join("*" if side is None else str(side) for side in expected)
    return f"{path} cannot be used: {name} should be {sides}, not {' x '.join(map(str, found)) or 'a number'}."


def need(manifest: str, file: str) -> Path:
    """Where a file of a manifest is. Raises AssetError if nowhere; the sentence has the command that leads to it."""
    path = find_model(manifest, file)
    if path is None:
        entry = load_manifest(manifest).file(file)
        verb = "fetch" if entry.addresses else "show"
        raise AssetError(f"{entry.basename} is not on this machine; please run: ostec models {verb} {manifest}")
    return path


def digest(paths: Sequence[Path]) -> str:
    """One SHA-256 over the content of several files, in the order of their names."""
    whole = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        whole.update(bytes.fromhex(sha256_of(path)))
    return whole.hexdigest()


def read_mat(path: Path, names: tuple[str, ...]) -> Arrays:
    """Read those of the named arrays that a MATLAB file (version 4 to 7.2) holds.

    Raises AssetError if the file is missing, no such file, damaged, or unpacks to far more than it should.
    """
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    try:
        with open_plain(path) as stream:
            left = _FREE + _TIMES * path.stat().st_size
            begin = stream.read(10)
            stream.seek(0)
            if begin == b"MATLAB 7.3":
                raise AssetError(f"{path} cannot be read: it is a MATLAB file of version 7.3; save it with -v7.")
            if 0 not in begin[:4]:
                return Arrays(path, read_matrices(stream, names, left))
            needed = sum(8 * math.prod(shape) for name, shape, _ in whosmat(stream) if name in names)  # version 4
            if needed > left:
                raise ValueError(f"its arrays would take {needed} bytes")
            stream.seek(0)
            table = loadmat(stream, variable_names=list(names))
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zlib.error, MatReadError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AssetError(f"{path} cannot be read as a MATLAB file ({reason}).") from error
    return Arrays(path, {name: table[name] for name in names if name in table})


def basis(values: FloatArray, vertices: int) -> FloatArray:
    """[3V, K], x, y and z of one vertex after the other, to [V, 3, K]."""
    return np.ascontiguousarray(values.reshape(vertices, 3, values.shape[1]))


def _are_clockwise(vertices: FloatArray, triangles: IntArray) -> bool:
    """Whether most of the area faces the vertices' centre."""
    corners = vertices.astype(np.float64)[triangles] - vertices.mean(axis=0, dtype=np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return float((normals * corners.mean(axis=1)).sum()) < 0


def pieces(triangles: IntArray, vertices: int) -> list[IntArray]:
    """The triangles' ids of each connected piece of a mesh, the largest piece first."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]]])
    graph = sparse.coo_matrix((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(vertices, vertices))
    of_vertex = csgraph.connected_components(graph, directed=False)[1]
    of_triangle = of_vertex[triangles[:, 0]]
    found = [np.flatnonzero(of_triangle == piece).astype(np.int32) for piece in np.unique(of_triangle)]
    return sorted(found, key=len, reverse=True)


def cache_path(model: str, source: Path) -> Path | None:
    """Where what was made from the files of a folder may be kept: in the user's cache folder, never beside them."""
    cache = cache_folder()
    if cache is None:
        return None
    return cache.parent / "morphable" / f"{model}-{hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:16]}.npz"


def build(manifest: str, sources: Sequence[Path], **values: Any) -> MorphableModel:
    """The model that a manifest describes; triangles that are clockwise seen from outside are turned.

    Args:
        manifest: its name.
        sources: files that the model was read from; errors name the first.
        values: the other fields of :class:`MorphableModel`; ``sha256`` may be another than that of the sources.

    Raises AssetError if an array has another shape than the others demand, or names something that does not exist.
    """
    about = load_manifest(manifest)
    if _are_clockwise(values["mean"], values["triangles"]):
        for name in {"triangles", "triangles_uv"} & values.keys():
            values[name] = np.ascontiguousarray(values[name][:, ::-1])
        values["polygons"] = None  # they are no fans round a first corner now
        turned = "The triangles were clockwise seen from outside and have been turned."
        values["notes"] = (*values.get("notes", ()), turned)
    values = {"name": about.face_model, "licence": about.short_licence, "sha256": digest(sources), **values}
    return checked(MorphableModel(**values), sources[0])


def checked(model: MorphableModel, path: Path) -> MorphableModel:
    """The model, if its arrays fit each other; ``path`` is the file that errors name. Raises AssetError if not."""
    vertices, triangles = len(model.mean), len(model.triangles)
    with_uv = triangles if len(model.uv) else 0
    expected: dict[str, tuple[Side, ...]] = {
        "mean": (vertices, 3),
        "identity": (vertices, 3, None),
        "expression": (vertices, 3, len(model.expression_names) or None),
        "triangles": (triangles, 3),
        "uv": (None, 2),
        "triangles_uv": (with_uv, 3),
        "albedo_mean": (vertices, 3),
        "albedo": (vertices, 3, None),
        "polygons": (triangles,),
    }
    for field in fields(model):
        values, shape = getattr(model, field.name), expected.get(field.name)
        if shape is None or values is None:
            continue
        if values.ndim != len(shape) or any(a not in (None, b) for a, b in zip(shape, values.shape, strict=True)):
            raise AssetError(wrong_shape(path, field.name, shape, values.shape))
    for name, ids, count in (
        ("triangles", model.triangles, vertices),
        ("triangles_uv", model.triangles_uv, len(model.uv)),
        *((f"the landmarks {name}", ids, vertices) for name, ids in model.landmarks.items()),
        *((f"the part {name}", ids, triangles) for name, ids in model.parts.items()),
    ):
        if ids.size and (ids.min() < 0 or ids.max() >= count):
            raise AssetError(f"{path} cannot be used: {name} should name 0 to {count - 1}, not {ids.max()}.")
    if not triangles or not vertices:
        raise AssetError(f"{path} cannot be used: it has {vertices} vertices and {triangles} triangles.")
    return model
