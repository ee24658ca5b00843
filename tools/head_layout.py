"""The head model's parts, polygons and UV layout."""

from collections.abc import Sequence

import numpy as np

import head_face
from head_mesh import CoarseMesh, FineMesh, joined_uv
from ostec.core.correspondence import Correspondence
from ostec.core.morphable import MorphableModel
from ostec.core.types import BoolArray, DoubleArray, FloatArray, IntArray, Topology
from ostec.load.morphable.head import Layout

TILES = (
    *("face", "head", "mouth_socket", "eye_socket_left", "eye_socket_right", "tongue", "gums"),
    *("teeth_upper", "teeth_lower", "eye_left", "eye_right"),
)
"""Parts by the column of their tile; the bust lies in the head's."""
BOXES = {"skin": (0.01, 0.01, 0.99, 0.99), "bust": (0.39, 0.215, 0.61, 0.465)}
"""Where in the head's tile skull with neck and bust lie: left, bottom, right, top. The bust, of which a photo shows no
skin, lies in the hole that the face leaves."""
TURNED = ("skin", "mouth_socket")
"""Lie on their side in MakeHuman's layout."""
PLAIN_BOX = (0.02, 0.02, 0.98, 0.98)


def first_layout(fine: FineMesh, expressions: Sequence[str], joints: Sequence[str], parents: Sequence[int]) -> Layout:
    """All skin is the face, and places are MakeHuman's: what landmarks are found on."""
    part = np.array([{"skin": "face", "bust": "head"}.get(name, name) for name in fine.part])
    return _layout(fine, part, fine.uv, expressions, joints, np.array(parents, np.int32))


def _layout(
    fine: FineMesh,
    part: np.ndarray,
    places: DoubleArray,
    expressions: Sequence[str],
    joints: Sequence[str],
    parents: IntArray,
) -> Layout:
    uv, corners = joined_uv(places)
    four = fine.faces[:, 2] != fine.faces[:, 3]
    first = np.arange(len(part))
    order = np.argsort(np.r_[2 * first, 2 * first[four] + 1])
    triangles, triangles_uv = (
        np.concatenate([table[:, [0, 1, 2]], table[four][:, [0, 2, 3]]])[order] for table in (fine.faces, corners)
    )
    polygon = np.r_[first, first[four]][order]
    return Layout(
        operator=fine.operator,
        triangles=triangles.astype(np.int32),
        uv=uv,
        triangles_uv=triangles_uv.astype(np.int32),
        polygons=polygon.astype(np.int32),
        parts={name: np.flatnonzero(part[polygon] == name).astype(np.int32) for name in TILES},
        expression_names=tuple(expressions),
        joint_names=tuple(joints),
        joint_parents=parents,
    )


def with_face(
    layout: Layout,
    fine: FineMesh,
    mesh: CoarseMesh,
    model: MorphableModel,
    found: Correspondence,
    topology: Topology,
) -> Layout:
    """The final layout: FaceMesh's chart on the face, skull, neck and bust in the second tile."""
    chart, inside = head_face.face_chart(model, found, topology)
    skin = [k for k, polygon in enumerate(mesh.polygons) if polygon.part == "skin"]
    chosen = np.isin(fine.coarse, head_face.face_polygons(inside, fine.faces, fine.coarse, skin))
    chosen = _without_islands(chosen, fine)
    part = np.array(fine.part)
    face = fine.faces[chosen]
    corners = np.concatenate([face[:, [0, 1, 2]], face[:, [0, 2, 3]]])
    chart = np.nan_to_num(chart)
    flipped = head_face.flipped(chart, corners)
    print(f"face: {chosen.sum()} faces, {flipped.sum()} triangles of {len(corners)} flipped in its chart")
    places = fine.uv.copy()
    part[chosen] = "face"
    for name in np.unique(part):
        of = part == name
        if name == "face":
            places[of] = chart[fine.faces[of]]
        else:
            box = BOXES.get(name, PLAIN_BOX)
            tile = TILES.index({"skin": "head", "bust": "head"}.get(name, name))
            places[of] = _boxed(places[of], box, name in TURNED, name in BOXES)
            places[of] += np.array([tile, 0])
    part = np.where(np.isin(part, ("skin", "bust")), "head", part)
    made = _layout(fine, part, places, layout.expression_names, layout.joint_names, layout.joint_parents)
    for name in ("face", "head"):
        print(name, "texel at 1024 in mm: quarter, median, nine tenths", texel_mm(model.mean, made, name))
    return made


def _boxed(places: DoubleArray, box: tuple[float, float, float, float], turned: bool, stretched: bool) -> DoubleArray:
    """Places [Q, 4, 2] fitted into a box."""
    own = places @ np.array([[0, -1], [1, 0]]) if turned else places
    low, high = own.min((0, 1)), own.max((0, 1))
    size = np.array([box[2] - box[0], box[3] - box[1]])
    scale = size / (high - low)
    if not stretched:
        scale = np.full(2, scale.min())
    return (own - (low + high) / 2) * scale + [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]


def _without_islands(chosen: BoolArray, fine: FineMesh) -> BoolArray:
    """The largest connected piece of the chosen faces, with the skin that it encloses."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    def pieces(ids: IntArray) -> IntArray:
        corners = fine.faces[ids]
        table = sparse.csr_matrix(
            (np.ones(corners.size), (np.repeat(np.arange(len(ids)), 4), corners.ravel())),
            shape=(len(ids), fine.operator.shape[0]),
        )
        return np.asarray(connected_components(table @ table.T, directed=False)[1])

    skin = np.isin(np.array(fine.part), ("skin", "bust"))
    kept = chosen
    for value in (True, False):  # first the largest piece of the face, then of what surrounds it
        ids = np.flatnonzero(skin & (kept == value)).astype(np.int32)
        label = pieces(ids)
        largest = np.zeros(len(kept), bool)
        largest[ids[label == np.bincount(label).argmax()]] = True
        kept = largest if value else skin & ~largest
    return kept


def texel_mm(mean: FloatArray, layout: Layout, name: str, size: int = 1024) -> DoubleArray:
    """Quartile, median and nine tenths of the surface of the sides of a part's texels."""
    ids = layout.parts[name]
    a, b, c = (mean[layout.triangles[ids, k]].astype(float) for k in range(3))
    surface = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    u, v, w = (layout.uv[layout.triangles_uv[ids, k]].astype(float) * size for k in range(3))
    flat = np.abs((v - u)[:, 0] * (w - u)[:, 1] - (v - u)[:, 1] * (w - u)[:, 0]) / 2
    side = np.sqrt(surface / np.maximum(flat, 1e-9))
    order = np.argsort(side)
    share = np.cumsum(surface[order]) / surface.sum()
    return np.round(side[order][np.searchsorted(share, [0.25, 0.5, 0.9])], 2)
