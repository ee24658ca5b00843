"""Small files of exactly the layouts in which morphable models are published, made by rule.

Each function writes the files of one model below a folder of models, as its users have them, and returns what a reader
must find in them. The heads have some hundred vertices instead of tens of thousands; everything else (names, order,
types, where ids begin, axes, units) is the published file's. Keyword arguments replace single arrays.
"""

import json
import pickle
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from scipy import sparse
from scipy.io import savemat

COLUMNS, ROWS = 13, 11


@dataclass(frozen=True)
class Made:
    """A made face in our axes: x to the image's right, y up, z towards the viewer; as large as a head in decimetres."""

    vertices: np.ndarray
    """[V, 3] float64."""
    triangles: np.ndarray
    """[F, 3] int, counter-clockwise from outside."""
    landmarks: np.ndarray
    """[68] ids."""


def made_face() -> Made:
    """A bent sheet with a nose, wider above than below, so that no axis can be mistaken for another."""
    u, v = np.meshgrid(np.linspace(-1, 1, COLUMNS), np.linspace(-1, 1, ROWS))
    x, y = u * (0.7 + 0.1 * v), 0.9 * v
    z = 0.6 * (1 - 0.8 * u**2 - 0.3 * v**2) + 0.25 * np.exp(-20 * u**2 - 10 * v**2)
    vertices = np.stack([x, y, z], axis=2).reshape(-1, 3) + np.array((0.02, 0.1, 0.3))
    a = (np.arange(ROWS - 1)[:, None] * COLUMNS + np.arange(COLUMNS - 1)).reshape(-1)
    triangles = np.concatenate(
        [np.stack([a, a + 1, a + COLUMNS], axis=1), np.stack([a + 1, a + COLUMNS + 1, a + COLUMNS], axis=1)]
    )
    landmarks = np.arange(68) * 2
    spots = {0: (0, 6), 8: (6, 0), 16: (12, 6), 27: (6, 7), 30: (6, 5), 36: (3, 7), 45: (9, 7)}
    for number, (column, row) in spots.items():
        landmarks[number] = row * COLUMNS + column
    return Made(vertices, triangles, landmarks)


def bases(vertices: int, *counts: int, seed: int = 7) -> list[np.ndarray]:
    """[3V, K] each: offsets that differ in every entry, x, y and z of one vertex after the other."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(3 * vertices, count)).astype(np.float32) for count in counts]


def colours(vertices: int) -> np.ndarray:
    """[V, 3]: red rises, green falls, blue stays; 0 to 255."""
    rise = np.linspace(0, 255, vertices)
    return np.stack([rise, 255 - rise, np.full(vertices, 51.0)], axis=1)


def write_mat(path: Path, table: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {name: value for name, value in table.items() if value is not None}, do_compression=True)


# --- Basel Face Model 2009 ------------------------------------------------------------------------------------------


def write_bfm_front(models: Path, **changed: Any) -> dict[str, np.ndarray]:
    """BFM_model_front.mat as util/load_mats.py of Deep3DFaceRecon_pytorch saves it: decimetres, ids from 1."""
    face = made_face()
    count = len(face.vertices)
    identity, expression, colour = bases(count, 80, 64, 80)
    table: dict[str, Any] = {
        "meanshape": face.vertices.reshape(1, -1).astype(np.float32),
        "meantex": colours(count).reshape(1, -1),
        "idBase": identity,
        "exBase": expression,
        "texBase": colour,
        "tri": (face.triangles + 1).astype(np.float32),
        "point_buf": np.full((count, 8), len(face.triangles) + 1, np.float32),
        "tri_mask2": (face.triangles + 1).astype(np.float32),
        "keypoints": (face.landmarks + 1).astype(np.float32)[None],
        "frontmask2_idx": np.arange(1, count + 1, dtype=np.float32)[:, None],
        "skinmask": (np.arange(count) % COLUMNS < 6).astype(np.float32)[None],
    }
    table |= changed
    write_mat(models / "bfm2009" / "BFM_model_front.mat", table)
    return table


def write_bfm_original(models: Path, front: bool = True, **changed: Any) -> dict[str, np.ndarray]:
    """01_MorphableModel.mat and what belongs to it: micrometres, 199 and 79 components, three sets of vertices.

    The whole has three vertices before those of the expressions and two behind them; the front lacks the first row.
    """
    face, folder = made_face(), models / "bfm2009"
    trimmed = len(face.vertices)
    count = trimmed + 5
    trim = np.arange(trimmed) + 3  # of the whole
    chosen = np.arange(COLUMNS, trimmed)  # of the trimmed
    shape = np.concatenate([np.full((3, 3), 9.0), face.vertices, np.full((2, 3), -9.0)]) * 1e5
    shape_parts, colour_parts = bases(count, 199, 199)
    deviations = np.linspace(3e5, 1e5, 199)
    table: dict[str, Any] = {
        "shapePC": shape_parts,
        "shapeEV": deviations[:, None].astype(np.float32),
        "shapeMU": shape.reshape(-1, 1).astype(np.float32),
        "texPC": colour_parts,
        "texEV": (deviations / 1e5)[:, None].astype(np.float32),
        "texMU": colours(count).reshape(-1, 1).astype(np.float32),
        "tl": np.concatenate([face.triangles + 3, [[0, 1, 2], [0, 3, 4]]]) + 1.0,
    }
    table |= changed
    write_mat(folder / "01_MorphableModel.mat", table)
    (components,) = bases(trimmed, 79, seed=8)
    write_exp_pca(folder / "Exp_Pca.bin", components.T)
    scales = np.linspace(4e5, 1e4, 79)
    (folder / "std_exp.txt").write_text(" ".join(f"{value:.8g}" for value in scales), encoding="ascii")
    write_mat(folder / "BFM_exp_idx.mat", {"trimIndex": (trim + 1).astype(np.float64)[:, None]})
    if front:
        write_mat(folder / "BFM_front_idx.mat", {"idx": (chosen + 1).astype(np.float32)[:, None]})
        own = (face.triangles[(face.triangles >= COLUMNS).all(axis=1)] - COLUMNS + 1).astype(np.float32)
        points = np.maximum(face.landmarks - COLUMNS, 0) + 1
        info = {"tri": own, "keypoints": points[None].astype(np.float32), "skinmask": np.ones((1, len(chosen)))}
        write_mat(folder / "facemodel_info.mat", info)
    return table | {"trim": trim, "front": chosen, "components": components, "scales": scales}


def write_exp_pca(path: Path, components: np.ndarray) -> None:
    """A count (int32), a mean that nobody uses, then ``components`` [n, 3V] (float32)."""
    mean = np.full(components.shape[1], 1e9, np.float32)
    path.write_bytes(struct.pack("<i", len(components)) + mean.tobytes() + components.astype(np.float32).tobytes())


# --- HiFi3D++ -------------------------------------------------------------------------------------------------------


def write_hifi3d(models: Path, **changed: Any) -> dict[str, np.ndarray]:
    """hifi3dpp_model_info.mat: all lists of triangles and points count from 1, the UV tables as stored, v up."""
    face = made_face()
    count = len(face.vertices)
    identity, expression, colour = bases(count, 532, 45, 439)
    seam = 2  # more texture coordinates than vertices
    vt = np.concatenate([np.linspace(0, 1, 2 * count).reshape(count, 2), np.full((seam, 2), 0.5)])
    table: dict[str, Any] = {
        "meanshape": face.vertices.reshape(1, -1),
        "meantex": colours(count).reshape(1, -1),
        "idBase": identity,
        "exBase": expression,
        "texBase": colour,
        "uv_idx": np.zeros((9, 2)),
        "vtx_uv_idx": np.zeros((count, 1)),
        "vtx_vt": np.zeros((count, 2)),
        "vt_list": vt,
        "vt_vtx_idx": np.zeros((len(vt), 1)),
        "tri": (face.triangles[:100, [1, 2, 0]] + 1).astype(np.float64),
        "head_tri": (face.triangles + 1).astype(np.float64),
        "tri_vt": (face.triangles[:100] + 1 + seam).astype(np.float64),
        "head_tri_vt": (face.triangles + 1 + seam).astype(np.float64),
        "keypoints": (face.landmarks + 1).astype(np.float64)[None],
        "point_buf": np.ones((count, 8)),
        "skinmask": (np.arange(count) % COLUMNS < 6).astype(np.float64)[None],
    }
    table |= changed
    write_mat(models / "hifi3dpp" / "hifi3dpp_model_info.mat", table)
    return table


# --- FaceVerse 4 ----------------------------------------------------------------------------------------------------


def write_faceverse(models: Path, **changed: Any) -> dict[str, Any]:
    """faceverse_v4_2.npy: a dictionary pickled by NumPy; millimetres, y down and z away, ids from 0.

    Besides the face there are five tetrahedra: left eye, right eye, lower teeth, tongue, upper teeth; left is the
    head's, which is the image's right.
    """
    face = made_face()
    vertices, triangles, ver_inds, tri_inds = face.vertices, face.triangles, [len(face.vertices)], [len(face.triangles)]
    for centre in ((0.3, 0.3, 0.4), (-0.3, 0.3, 0.4), (0, -0.5, 0.4), (0, -0.45, 0.4), (0, -0.4, 0.4)):
        start = len(vertices)
        corners = np.array([(0.05, 0, 0), (-0.05, 0, 0.05), (0, 0.05, 0), (0, -0.05, 0.05)]) + centre
        vertices = np.concatenate([vertices, corners])
        triangles = np.concatenate([triangles, np.array([(0, 2, 1), (0, 3, 2), (0, 1, 3), (1, 2, 3)]) + start])
        ver_inds.append(len(vertices))
        tri_inds.append(len(triangles))
    count = len(vertices)
    identity, expression, colour = bases(count, 156, 177, 251)
    table: dict[str, Any] = {
        "meanshape": (vertices * 100 * (1, -1, -1)).astype(np.float32),
        "meantex": colours(count).astype(np.float32),
        "idBase": identity,
        "exBase": expression,
        "texBase": colour,
        "tri": triangles.astype(np.int32),
        "point_buf": np.zeros((count, 8), np.int64),
        "ver_inds": ver_inds,
        "tri_inds": tri_inds,
        "keypoints": np.arange(370) % count,
        "keypoints_mediapipe": np.arange(478)[:, None] % count,
        "keypoints_68": np.concatenate([face.landmarks, [1, 2]]),
        "keypoints_name_list": {"pupil_left_5": [0, 1, 2, 3, 4], "pupil_right_5": [5, 6, 7, 8, 9]},
        "face_mask": (np.arange(count) < 2 * COLUMNS).astype(np.float32),
        "parsing": {"skin": np.ones(count, np.float32)},
        "collision_points": [[1, 2], [3, 4]],
    }
    table |= changed
    path = models / "faceverse_v4" / "faceverse_v4_2.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, {name: value for name, value in table.items() if value is not None})  # type: ignore[arg-type]
    return table


# --- FLAME ----------------------------------------------------------------------------------------------------------


@contextmanager
def chumpy() -> Iterator[Any]:
    """chumpy's class for the time of writing; its instances keep their array in ``x``."""

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x, self._status = x, "new"

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module = ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    package = ModuleType("chumpy")
    sys.modules |= {"chumpy": package, "chumpy.ch": module}
    try:
        yield Ch
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]


def write_flame(models: Path, old: bool = False, protocol: int = 2, **changed: Any) -> dict[str, Any]:
    """generic_model.pkl: metres, y up, ids from 0; a face and two eyeballs (the head's left one first).

    ``old``: the arrays that FLAME 2020 wraps in objects of chumpy.
    """
    face = made_face()
    ball = np.array([(0.05, 0, 0), (-0.05, 0, 0), (0, 0.05, 0), (0, 0, 0.05)])
    shell = np.array([(0, 2, 3), (2, 1, 3), (1, 0, 3), (0, 1, 2)])
    count = len(face.vertices)
    vertices = np.concatenate([face.vertices, ball + np.array((0.3, 0.3, 0.5)), ball + np.array((-0.3, 0.3, 0.5))]) / 10
    triangles = np.concatenate([face.triangles, shell + count, shell + count + 4])
    count = len(vertices)
    generator = np.random.default_rng(3)
    regressor = np.zeros((5, count))
    for joint in range(5):
        regressor[joint, joint * 7 : joint * 7 + 2] = 0.25, 0.75
    weights = generator.uniform(size=(count, 5))
    table: dict[str, Any] = {
        "f": triangles.astype(np.uint32),
        "v_template": vertices,
        "shapedirs": generator.normal(size=(count, 3, 400)),
        "posedirs": generator.normal(size=(count, 3, 36)),
        "J_regressor": sparse.csc_matrix(regressor),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32),
        "weights": weights / weights.sum(axis=1, keepdims=True),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    table |= changed
    path = models / "flame" / "generic_model.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with chumpy() as wrap, path.open("wb") as stream:
        wrapped = ("v_template", "shapedirs", "posedirs", "weights") if old else ()
        stored = {name: wrap(value) if name in wrapped else value for name, value in table.items() if value is not None}
        pickle.dump(stored, stream, protocol=protocol)
    return table | {"regressor": regressor}


def write_flame_extras(models: Path, triangles: np.ndarray) -> np.ndarray:
    """head_template.obj (a texture coordinate per corner) and landmark_embedding.npy; returns the 68 vertices."""
    folder = models / "flame"
    faces = np.arange(68)
    weights = np.full((68, 3), 0.2)
    weights[np.arange(68), np.arange(68) % 3] = 0.6
    table = {
        "full_lmk_faces_idx": faces[None],
        "full_lmk_bary_coords": weights[None],
        "static_lmk_faces_idx": faces[:51],
    }
    np.save(folder / "landmark_embedding.npy", table)  # type: ignore[arg-type]
    lines = ["v 0 0 0"] * (int(triangles.max()) + 1)
    lines += [f"vt {k / 1000} {1 - k / 1000}" for k in range(3 * len(triangles))]
    for k, (a, b, c) in enumerate(triangles + 1):  # begins with the second corner: not the pickle's order
        lines.append(f"f {b}/{3 * k + 2} {c}/{3 * k + 3} {a}/{3 * k + 1}")
    (folder / "head_template.obj").write_text("\n".join(lines), encoding="ascii")
    return triangles[faces, np.arange(68) % 3]


# --- ICT-FaceKit ----------------------------------------------------------------------------------------------------

ICT_NEUTRAL = np.array(
    [(-1, 0, 0), (1, 0, 0.1), (1, 2, 0.2), (-1, 2, 0.3), (0, 3, 0.4), (-0.5, 1, -1), (0.5, 1, -1), (0, 1.5, -1)]
)
ICT_POLYGONS = {"M_Face": ["1/1 2/2 3/3 4/4", "4/4 3/3 5/5"], "M_Teeth": ["6/6 7/7 8/8"]}


def write_ict(models: Path, names: list[str], folder: str = "ict_facekit/FaceXModel") -> dict[str, np.ndarray]:
    """Meshes of one order with quads, triangles and a material per part; centimetres. Returns each mesh's offsets."""
    place = models / folder
    place.mkdir(parents=True, exist_ok=True)
    _write_ict_mesh(place / "generic_neutral_mesh.obj", ICT_NEUTRAL)
    generator = np.random.default_rng(5)
    offsets = {name: generator.integers(-9, 9, ICT_NEUTRAL.shape) / 8 for name in names}
    for name, offset in offsets.items():
        _write_ict_mesh(place / f"{name}.obj", ICT_NEUTRAL + offset)
    indices = {"expressions": ["jawOpen"], "idx_to_landmark_verts": [0, 3, 4], "idx_to_rigid_verts": [1]}
    (place / "vertex_indices.json").write_text(json.dumps(indices), encoding="ascii")
    return offsets


def _write_ict_mesh(path: Path, vertices: np.ndarray) -> None:
    lines = ["# ICT FaceKit", "", "mtllib ICTFaceModelMaterial.mtl"]
    lines += ["v " + " ".join(f"{value:.6f}" for value in vertex) for vertex in vertices]
    lines += [f"vt {k / 10} {k / 20}" for k in range(8)]
    for material, polygons in ICT_POLYGONS.items():
        lines += [f"usemtl {material}", *(f"f {polygon}" for polygon in polygons)]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def write_ict_modes(path: Path, **changed: Any) -> dict[str, np.ndarray]:
    """modes_f16.npz: the neutral mesh (float32) and the differences of all others (float16), with names."""
    count = len(ICT_NEUTRAL)
    generator = np.random.default_rng(6)
    table: dict[str, Any] = {
        "neutral": ICT_NEUTRAL.astype(np.float32),
        "identity": generator.normal(size=(100, count, 3)).astype(np.float16),
        "expression": generator.normal(size=(2, count, 3)).astype(np.float16),
        "identity_names": np.array([f"identity{k:03d}" for k in range(100)]),
        "expression_names": np.array(["jawOpen", "mouthSmile_L"]),
    }
    table |= changed
    np.savez(path, **table)
    return table
