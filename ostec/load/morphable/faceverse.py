"""FaceVerse 4 (faceversev4/FaceVerseModel_torch.py of its repository)."""

from typing import Any

import numpy as np

from ostec.core.errors import AssetError
from ostec.core.morphable import MorphableModel
from ostec.core.types import FloatArray, IntArray
from ostec.io.pickles import read_npy_object
from ostec.load.morphable.files import Arrays, build, need

MANIFEST = "faceverse_v4"
_FILE = "faceverse_v4_2.npy"
_MM_PER_UNIT = 1.0
"""The published code divides the file's lengths by 100 before a camera made for decimetres."""
_CUTS = ("head", "eye_right", "eye_left", "teeth_lower", "tongue", "teeth_upper")
"""What lies before each cut; the file's left eye is the head's, ours the image's."""
_OPENCV = (1.0, -1.0, -1.0)
"""The file's axes are a camera's: y down, z away from the viewer. Two signs change, so the winding stays."""


def read_faceverse() -> MorphableModel:
    """Read FaceVerse 4 from the user's folders of models.

    The file is a dictionary pickled by NumPy, of which nothing is executed. Ids count from 0; lengths are millimetres;
    colours go to 255; y points down and z away from the viewer, which is turned here (and seen from the 68 landmarks: a
    file whose y points up is left as it is). Raises AssetError if the file is missing, damaged, or one array does not
    fit the others.
    """
    path = need(MANIFEST, _FILE)
    arrays = Arrays.by_name(path, read_npy_object(path))
    shape = _points(arrays, "meanshape")
    count = len(shape)
    triangles = arrays.ids("tri" if "tri" in arrays else "tris", count, None, 3)
    landmarks = _landmarks(arrays, count)
    signs, notes = _signs(shape, landmarks)
    return build(
        MANIFEST,
        [path],
        mm_per_unit=_MM_PER_UNIT,
        mean=shape * signs,
        identity=arrays.offsets("idBase", count) * signs[:, None],
        expression=arrays.offsets("exBase", count) * signs[:, None],
        expression_range=(-1.0, 1.0),
        triangles=triangles,
        albedo_mean=_points(arrays, "meantex", count) / np.float32(255),
        albedo=arrays.offsets("texBase", count) / np.float32(255),
        landmarks=landmarks,
        parts=_parts(arrays, triangles, count),
        notes=("FaceVerse has no texture coordinates.", *notes),
    )


def _points(arrays: Arrays, name: str, count: int | None = None) -> FloatArray:
    """[V, 3], or the same numbers in a row."""
    try:
        return arrays.floats(name, count, 3)
    except AssetError as error:
        try:
            return arrays.points(name, count)
        except AssetError:
            raise error from None


def _landmarks(arrays: Arrays, count: int) -> dict[str, IntArray]:
    """Lists of any nesting, flattened as the published code does; two irises follow the 68."""
    found = {}
    for name, ours in (("keypoints", "faceverse"), ("keypoints_mediapipe", "mediapipe478"), ("keypoints_68", "ibug68")):
        if name in arrays:
            found[ours] = arrays.in_a_row(name).ids(name, count, None)
    for ours, length in (("mediapipe478", 478), ("ibug68", 68)):
        if ours in found and len(found[ours]) < length:
            what = "keypoints_68" if ours == "ibug68" else "keypoints_mediapipe"
            raise AssetError(f"{arrays.path} cannot be used: {what} should name {length}, not {len(found[ours])}.")
    if "ibug68" in found:
        found["ibug68"] = found["ibug68"][:68]
    return found


def _signs(shape: FloatArray, landmarks: dict[str, IntArray]) -> tuple[FloatArray, tuple[str, ...]]:
    """[3]: what the file's axes are multiplied with; seen from chin, nose and eyes where there are landmarks."""
    ids = landmarks.get("ibug68")
    if ids is None:
        return np.array(_OPENCV, np.float32), ("There are no 68 landmarks: y is taken to point down, as published.",)
    points = shape[ids]
    seen = (points[45, 0] - points[36, 0], points[27, 1] - points[8, 1], points[30, 2] - points[[0, 16], 2].mean())
    signs = np.array([1.0 if value > 0 else -1.0 for value in seen], np.float32)
    if tuple(signs) == _OPENCV:
        return signs, ()
    return signs, (f"The axes are not those published: they have been multiplied with {signs.astype(int).tolist()}.",)


def _parts(arrays: Arrays, triangles: IntArray, count: int) -> dict[str, IntArray]:
    cuts: Any = arrays.ids("tri_inds", len(triangles) + 1, len(_CUTS))
    if (np.diff(cuts) < 0).any() or cuts[-1] != len(triangles):
        expected = f"rise to {len(triangles)}, the number of triangles"
        raise AssetError(f"{arrays.path} cannot be used: tri_inds should {expected}, not {cuts.tolist()}.")
    starts = [0, *cuts[:-1].tolist()]
    parts = {name: np.arange(a, b, dtype=np.int32) for name, a, b in zip(_CUTS, starts, cuts.tolist(), strict=True)}
    if "face_mask" in arrays:
        face = arrays.in_a_row("face_mask").floats("face_mask", count) > 0
        parts["face"] = np.flatnonzero(face[triangles].all(axis=1)).astype(np.int32)
    return parts
