"""ICT-FaceKit Light: a full head of meshes (FaceXModel/*.obj) or of one archive of their differences."""

import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.assets import find_model, load_manifest
from ostec.core.errors import AssetError, OutputError
from ostec.core.morphable import MorphableModel
from ostec.core.plain import read_json
from ostec.core.types import FloatArray, IntArray
from ostec.io.arrays import read_npz, read_texts
from ostec.io.cache import read_cache, why_stale, write_cache
from ostec.io.files import make_folder
from ostec.io.obj import ObjMesh, read_obj, read_vertices
from ostec.load.morphable.files import Arrays, build, cache_path, digest, need, wrong_shape

MANIFEST = "ict_facekit"
_NEUTRAL = "generic_neutral_mesh.obj"
_INDICES = "vertex_indices.json"
_MODES = "modes_f16.npz"
_MM_PER_UNIT = 10.0
"""The neutral outer eye corners are 8.9 units apart, the head is 22 wide."""
_POLYGONS = 26384
_PARTS = {
    "face": (0, 9229),
    "head": (9230, 11143),
    "mouth_socket": (11144, 13225),
    "eye_socket_right": (13226, 13629),
    "eye_socket_left": (13630, 14033),
    "gums": (14034, 17005),
    "teeth_upper": (17006, 19249),
    "teeth_lower": (19250, 21495),
    "eye_right": (21496, 23093),
    "eye_left": (23094, 24691),
    "lacrimal_right": (24692, 24854),
    "lacrimal_left": (24855, 25017),
    "eye_blend_right": (25018, 25032),
    "eye_blend_left": (25033, 25047),
    "eye_occlusion_right": (25048, 25175),
    "eye_occlusion_left": (25176, 25303),
    "eyelashes_right": (25304, 25843),
    "eyelashes_left": (25844, 26383),
    "face_narrow": (0, 6559),
    "iris_right": (22296, 23093),
    "iris_left": (23894, 24691),
}
"""First and last polygon as the tables of the model's README have them; its left is the head's, ours the image's. The
last three lie within parts before them; ``head`` is the back of the head and the neck, ``gums`` has the tongue too."""
_MATERIALS = {
    "M_Face": "face",
    "M_BackHead": "head",
    "M_GumsTongue": "gums",
    "M_Teeth": "teeth",
    "M_ScleraLeft": "eye_right",
    "M_ScleraRight": "eye_left",
    "M_IrisLeft": "iris_right",
    "M_IrisRight": "iris_left",
    "M_LacrimalFluid": "lacrimal",
    "M_EyeBlend": "eye_blend",
    "M_EyeOcclusion": "eye_occlusion",
    "M_EyeLashes": "eyelashes",
}
_SETS = {"idx_to_landmark_verts": "ibug68", "idx_to_rigid_verts": "rigid", "idx_to_fitting_verts": "fitting"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Modes:
    """Offsets from the neutral mesh."""

    identity: FloatArray
    """[V, 3, K]."""
    expression: FloatArray
    """[V, 3, E]."""
    expression_names: tuple[str, ...]
    sources: str
    """SHA-256 of the files' content."""
    notes: tuple[str, ...]


def read_ict() -> MorphableModel:
    """Read ICT-FaceKit Light from the user's folders of models.

    The meshes are used as published, ``ict_facekit/FaceXModel/*.obj``; where some are missing, the archive
    ``ict_facekit/modes_f16.npz`` beside the neutral mesh, or else those meshes that are there. Axes are already ours: x
    to the head's left, y up, z forward; the unit is the centimetre; identities' coefficients are normally distributed.
    Raises AssetError if the neutral mesh is missing, or a file is damaged or does not fit the others.
    """
    neutral = need(MANIFEST, _NEUTRAL)
    mesh = read_obj(neutral)
    triangles, triangles_uv, polygon = mesh.triangulate()
    parts, part_notes = _parts(mesh, polygon)
    landmarks, landmark_notes = _landmarks(neutral.with_name(_INDICES), len(mesh.vertices))
    modes = _modes(neutral, mesh.vertices)
    chart: dict[str, Any] = {"uv": mesh.uv, "triangles_uv": triangles_uv} if len(triangles_uv) else {}
    return build(
        MANIFEST,
        [neutral],
        mm_per_unit=_MM_PER_UNIT,
        mean=mesh.vertices,
        identity=modes.identity,
        expression=modes.expression,
        expression_range=(0.0, 1.0),
        expression_names=modes.expression_names,
        triangles=triangles,
        landmarks=landmarks,
        parts=parts,
        sha256=hashlib.sha256((digest([neutral]) + modes.sources).encode()).hexdigest(),
        notes=(*modes.notes, *part_notes, *landmark_notes),
        polygons=polygon,
        **chart,
    )


def _parts(mesh: ObjMesh, polygon: IntArray) -> tuple[dict[str, IntArray], tuple[str, ...]]:
    """Triangles by name, and what to say of them; ``polygon`` [F] is each triangle's polygon."""
    if len(mesh.sides) == _POLYGONS:
        found = {name: np.flatnonzero((polygon >= first) & (polygon <= last)) for name, (first, last) in _PARTS.items()}
        return {name: ids.astype(np.int32) for name, ids in found.items()}, ()
    material = mesh.material[polygon]
    found = {_MATERIALS.get(name, name): np.flatnonzero(material == k) for k, name in enumerate(mesh.materials) if name}
    note = (
        f"The neutral mesh has {len(mesh.sides)} polygons, not the {_POLYGONS} published: its parts are its materials."
    )
    return {name: ids.astype(np.int32) for name, ids in found.items()}, (note,)


def _landmarks(path: Path, vertices: int) -> tuple[dict[str, IntArray], tuple[str, ...]]:
    try:
        table = read_json(path)
    except FileNotFoundError:
        return {}, (f"{_INDICES} is missing: there are no named landmarks.",)
    except OSError as error:
        raise AssetError(f"{path} cannot be read ({error.strerror or error}).") from error
    except ValueError as error:
        raise AssetError(f"{path} is no JSON file ({error}).") from error
    if not isinstance(table, dict):
        raise AssetError(f"{path} cannot be used: expected lists of vertices by name, found a {type(table).__name__}.")
    lists = {name: ids for name, ids in table.items() if name in _SETS and isinstance(ids, list)}
    if any(type(one) is not int for ids in lists.values() for one in ids):
        raise AssetError(f"{path} cannot be used: its lists should hold whole numbers alone.")
    arrays = Arrays(path, {name: np.array(ids, dtype=np.int64) for name, ids in lists.items()})
    return {_SETS[name]: arrays.ids(name, vertices, None) for name in lists}, ()


def _modes(neutral: Path, vertices: FloatArray) -> _Modes:
    """The meshes' offsets, or the archive's where a mesh is missing."""
    manifest = load_manifest(MANIFEST)
    names = sorted(entry.basename for entry in manifest.files if entry.basename.endswith(".obj"))
    names.remove(_NEUTRAL)
    present = [name for name in names if neutral.with_name(name).is_file()]
    archive = find_model(MANIFEST, _MODES)
    if len(present) < len(names) and archive is not None:
        return _read_archive(archive, vertices, neutral)
    notes = []
    for what, every in _by_kind(names).items():
        missing = [name.removesuffix(".obj") for name in every if name not in present]
        if missing:
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            notes.append(f"{len(missing)} of {len(every)} {what} modes are missing ({some}).")
    return _read_meshes(neutral, present, vertices, tuple(notes))


def _by_kind(names: list[str]) -> dict[str, list[str]]:
    identity = [name for name in names if name.startswith("identity")]
    return {"identity": identity, "expression": [name for name in names if name not in identity]}


def _read_archive(path: Path, vertices: FloatArray, neutral: Path) -> _Modes:
    arrays = Arrays(path, read_npz(path, ("neutral", "identity", "expression")))
    own = arrays.floats("neutral", len(vertices), 3)
    if np.abs(own - vertices).max() > 1e-3:
        raise AssetError(f"{path} cannot be used: its neutral mesh is another than {neutral}.")
    identity = arrays.floats("identity", None, len(vertices), 3)
    expression = arrays.floats("expression", None, len(vertices), 3)
    names = read_texts(path, "expression_names")
    if len(names) != len(expression):
        raise AssetError(wrong_shape(path, "expression_names", (len(expression),), (len(names),)))
    return _Modes(
        np.ascontiguousarray(np.moveaxis(identity, 0, 2)),
        np.ascontiguousarray(np.moveaxis(expression, 0, 2)),
        names,
        digest([path]),
        (f"Not all meshes are there: the modes are those of {_MODES}, rounded to 16 bits.",),
    )


def _read_meshes(neutral: Path, names: list[str], vertices: FloatArray, notes: tuple[str, ...]) -> _Modes:
    """Each mesh minus the neutral one; kept in the cache, for a hundred meshes take a quarter of a minute to parse."""
    kinds = _by_kind(names)
    paths = [neutral.with_name(name) for name in names]
    key = {"meshes": json.dumps([(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in (neutral, *paths)])}
    cache = cache_path("ict", neutral.parent)
    expressions = tuple(name.removesuffix(".obj") for name in kinds["expression"])
    if cache is not None and why_stale(cache, key) is None:
        with contextlib.suppress(AssetError):  # damaged: made again
            kept = read_cache(cache)
            return _Modes(kept["identity"], kept["expression"], expressions, str(kept["sources"]), notes)
    _log.info("reading %d meshes of ICT-FaceKit", len(paths))
    offsets = {kind: np.zeros((len(vertices), 3, len(of_kind)), np.float32) for kind, of_kind in kinds.items()}
    for kind, of_kind in kinds.items():
        for k, name in enumerate(of_kind):
            moved = read_vertices(neutral.with_name(name))
            if moved.shape != vertices.shape:
                raise AssetError(wrong_shape(neutral.with_name(name), "vertices", vertices.shape, moved.shape))
            offsets[kind][:, :, k] = moved - vertices
    sources = digest(paths)
    if cache is not None:
        try:
            make_folder(cache.parent)
            write_cache(cache, key, {"sources": np.array(sources), **offsets})
        except OutputError as error:
            _log.info("the meshes are not kept for next time: %s", error)
    return _Modes(offsets["identity"], offsets["expression"], expressions, sources, notes)
