"""FaceMesh on the head model: where its 468 landmarks lie, and its chart laid over the head's face.

Lids and lips are held by the loops at which the mesh's skin ends and sockets and mouth begin; the other landmarks
follow from fits and closest points in turn. The face of the head gets the UV layout of ``topology/facemesh.npz``, so
that a finished texture is the head's as it is: each landmark's point has the landmark's place in the layout, and what
lies between is as smooth as the surface allows.
"""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.ndimage import distance_transform_edt
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

import make_correspondence as correspondences
from ostec.core.correspondence import Correspondence, landmark_trust
from ostec.core.morphable import MorphableModel
from ostec.core.types import BoolArray, DoubleArray, FloatArray, IntArray, Topology
from ostec.fit.morphable import HeadFitter
from ostec.fit.settings import MorphableFitSettings
from ostec.render.surface import border_edges, closest_points, cotangent_laplacian
from ostec.render.uv import bake_chart

LOOPS = {
    "eye_socket_left": (
        (33, 246, 161, 160, 159, 158, 157, 173, 133),
        (33, 7, 163, 144, 145, 153, 154, 155, 133),
    ),
    "eye_socket_right": (
        (263, 466, 388, 387, 386, 385, 384, 398, 362),
        (263, 249, 390, 373, 374, 380, 381, 382, 362),
    ),
    "mouth_socket": (
        (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
        (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308),
    ),
}
"""FaceMesh ids along the upper and the lower half of each loop, from the same corner to the other one."""
ROUNDS = 8
EAR_MM, BEHIND_MM, BELOW_MM = 42.0, 5.0, -132.0
"""Landmarks lie at least so far from the ears, so little behind them, and so little below the eyes."""
DEPTH = 0.035
"""How far inside the chart, in UV (1 is about 220 mm), a polygon of the face lies at least."""
SEEN = 0.25
"""Skin that faces the viewer so far, at least, is seen at the corners of eyes and mouth."""
CORNER = 0.1
"""Share of a loop's length at either end that goes its own way in the chart."""
NEAR_MM, FACING = 2.5, 0.6
"""Closest points up to this distance, on surfaces that face alike, say where in the layout a vertex is."""
HOLD, LOOSE = 30.0, 0.02
"""Weight of a landmark's place in the layout, and of a closest point's."""


def held_landmarks(model: MorphableModel, topology: Topology) -> correspondences.Found:
    """The landmarks on the loops, at equal shares of their length, and the tip of the nose as a start."""
    count = len(topology.mean_landmarks)
    vertices, weights, trust = (
        np.zeros((count, 3), np.int32),
        np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32),
    )
    weights[:, 0] = 1
    landmarks = topology.mean_landmarks.astype(np.float64)
    for part, halves in LOOPS.items():
        outer = -1.0 if landmarks[halves[0][0], 0] < 0 else 1.0
        for ids, path in zip(halves, _half_loops(model, part, outer), strict=True):
            for landmark, (pair, shares) in zip(ids, _along(model.mean, path, landmarks[list(ids)]), strict=True):
                vertices[landmark], weights[landmark], trust[landmark] = (*pair, pair[1]), (*shares, 0), 1
    skin = np.unique(model.triangles[model.parts["face"]])
    seen = skin[_normals(model.mean, model.triangles)[skin, 2] > SEEN]
    for landmark in {halves[0][k] for halves in LOOPS.values() for k in (0, -1)}:  # at corners loops lie in pockets
        corner = model.mean[vertices[landmark, 0]]
        vertices[landmark] = seen[np.argmin(np.linalg.norm(model.mean[seen] - corner, axis=1))]
        weights[landmark] = (1, 0, 0)
    middle = skin[np.abs(model.mean[skin, 0]) < 1e-3]
    vertices[1], trust[1] = middle[np.argmax(model.mean[middle, 2])], 0.3
    return correspondences.Found(vertices, weights, trust)


def _half_loops(model: MorphableModel, part: str, outer: float) -> tuple[IntArray, IntArray]:
    """The upper and the lower path [P] from the corner on the side ``outer`` to the other corner."""
    edges = [
        {
            tuple(sorted(edge))
            for t in model.triangles[model.parts[name]]
            for edge in zip(t, np.roll(t, -1), strict=True)
        }
        for name in ("face", part)
    ]
    beside: dict[int, list[int]] = {}
    for a, b in edges[0] & edges[1]:
        beside.setdefault(int(a), []).append(int(b))
        beside.setdefault(int(b), []).append(int(a))
    loop = [min(beside)]
    while len(loop) < len(beside):
        loop.append(next(v for v in beside[loop[-1]] if v not in loop[-2:]))
    side = model.mean[loop, 0] * outer
    ring = np.roll(loop, -int(np.argmax(side)))
    end = int(np.argmin(model.mean[ring, 0] * outer))
    paths = ring[: end + 1], np.r_[ring[end:], ring[0]][::-1]
    heights = [model.mean[path, 1].mean() for path in paths]
    return (paths[0], paths[1]) if heights[0] > heights[1] else (paths[1], paths[0])


def _along(mean: FloatArray, path: IntArray, points: DoubleArray) -> list[tuple[tuple[int, int], tuple[float, float]]]:
    """For each of the points the vertices and shares at its share of the path's length."""
    own, wanted = (_shares(p.astype(np.float64)) for p in (mean[path], points))
    found = []
    for share in wanted:
        k = min(int(np.searchsorted(own, share, "right")) - 1, len(path) - 2)
        t = float(np.clip((share - own[k]) / (own[k + 1] - own[k]), 0, 1))
        found.append(((int(path[k]), int(path[k + 1])), (1 - t, t)))
    return found


def _shares(points: DoubleArray) -> DoubleArray:
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))]
    return np.asarray(length / length[-1])


def find_landmarks(model: MorphableModel, topology: Topology) -> Correspondence:
    """Where FaceMesh's landmarks lie on the model, whose part ``face`` is all of its skin."""
    held = held_landmarks(model, topology)
    fixed = np.flatnonzero(held.trust == 1)
    triangles = _where_landmarks_lie(model)
    mirror = correspondences.mirror_of(
        model, model.triangles[np.concatenate([model.parts[p] for p in ("face", *LOOPS)])]
    )
    trust, target = landmark_trust(topology.mean_landmarks), topology.mean_landmarks.astype(np.float64)
    found = held
    for _ in range(ROUNDS):
        head = _registered(model, found, topology)
        near = closest_points(head, triangles, target)
        found = correspondences.Found(near.vertices.copy(), near.weights.copy(), trust)
        if mirror is not None:
            found = correspondences.symmetric(found, topology, mirror)
        found.vertices[fixed], found.weights[fixed] = held.vertices[fixed], held.weights[fixed]
        away = np.linalg.norm((head[found.vertices] * found.weights[..., None]).sum(1) - target, axis=1)
        print(
            f"landmarks from the surface {near.distance.mean():.2f} mm, at most {near.distance.max():.2f} mm; "
            f"from their points {away.mean():.2f} mm, at most {away.max():.2f} mm"
        )
    return Correspondence(model.name, len(model.mean), found.vertices, found.weights, found.trust, "")


def _registered(
    model: MorphableModel, found: correspondences.Found, topology: Topology, follow: float = 30
) -> FloatArray:
    """[V, 3]: the model drawn onto FaceMesh's mean face."""
    settings = MorphableFitSettings(noise_mm=3.0, robust_mm=30.0, residual_limit_mm=40.0, residual_follow=follow)
    record = Correspondence(model.name, len(model.mean), found.vertices, found.weights, found.trust, "")
    return HeadFitter(model, record, settings).fit(topology.mean_landmarks).vertices


def _where_landmarks_lie(model: MorphableModel) -> IntArray:
    """[F, 3]: triangles of the skin without ears, neck and the back of the head."""
    middle = model.mean[model.triangles[model.parts["face"]]].mean(1)
    eyes = model.mean[np.unique(model.triangles[model.parts["eye_left"]])].mean(0)
    level = np.abs(middle[:, 1] - eyes[1] + 25) < 30
    ears = [middle[level][pick(middle[level, 0])] for pick in (np.argmin, np.argmax)]
    far = np.all([np.linalg.norm(middle - ear, axis=1) > EAR_MM for ear in ears], axis=0)
    before = middle[:, 2] > min(ear[2] for ear in ears) - BEHIND_MM
    return model.triangles[model.parts["face"]][far & before & (middle[:, 1] > eyes[1] + BELOW_MM)]


def face_chart(model: MorphableModel, found: Correspondence, topology: Topology) -> tuple[FloatArray, BoolArray]:
    """FaceMesh's layout over the model's skin: [V, 2], and [V] where it is inside the chart, away from its rim."""
    head = _registered(model, correspondences.Found(found.vertices, found.weights, found.trust), topology, follow=300)
    face = (topology.operator @ topology.mean_landmarks).astype(np.float32)
    normals = _normals(head, model.triangles)
    near = closest_points(face, topology.triangles, head, normals, least_cosine=0.2)
    place = (topology.uv[near.vertices] * near.weights[..., None]).sum(1)
    corners = face[near.vertices]
    outwards = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    alike = (outwards * normals).sum(1) / np.maximum(np.linalg.norm(outwards, axis=1), 1e-9)
    rim = cKDTree(face[np.unique(border_edges(topology.triangles))])
    off_rim = rim.query((corners * near.weights[..., None]).sum(1))[0] > 1.0
    skin = _where_landmarks_lie(model)
    ids = np.unique(skin)
    surface = (near.distance < NEAR_MM) & (alike > FACING) & off_rim
    chart = np.full((len(head), 2), np.nan, np.float32)
    loops = _loop_places(model, topology)
    chart[ids] = _smooth(head, skin, ids, (place, surface), found, loops, topology)
    chart = _symmetric_chart(chart, model)
    inside = _depth_in_chart(chart, topology) > DEPTH
    return chart, inside & (rim.query(head)[0] > 4.0)


def _normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    import torch

    from ostec.render.geometry import vertex_normals

    return vertex_normals(torch.as_tensor(vertices), torch.as_tensor(triangles)).numpy()


def _loop_places(model: MorphableModel, topology: Topology) -> tuple[IntArray, DoubleArray]:
    """The vertices of lids and lips, and their places [L, 2] between those of the landmarks along them."""
    places: dict[int, DoubleArray] = {}
    for part, halves in LOOPS.items():
        outer = -1.0 if topology.mean_landmarks[halves[0][0], 0] < 0 else 1.0
        for ids, path in zip(halves, _half_loops(model, part, outer), strict=True):
            known = topology.uv[list(ids)].astype(float)
            at = _shares(topology.mean_landmarks[list(ids)].astype(float))
            for vertex, share in zip(path, _shares(model.mean[path].astype(float)), strict=True):
                if CORNER < share < 1 - CORNER:
                    places[int(vertex)] = np.array([np.interp(share, at, known[:, k]) for k in range(2)])
    return np.array(list(places)), np.array(list(places.values()))


def _smooth(
    head: FloatArray,
    skin: IntArray,
    ids: IntArray,
    closest: tuple[FloatArray, BoolArray],
    found: Correspondence,
    loops: tuple[IntArray, DoubleArray],
    topology: Topology,
) -> DoubleArray:
    """[I, 2]: places of the vertices ``ids``, smooth over the surface, held by landmarks, loops and closest points."""
    place, surface = closest
    number = np.full(len(head), -1)
    number[ids] = np.arange(len(ids))
    stiffness, area = cotangent_laplacian(head[ids].astype(np.float64), number[skin])
    rows = number[found.vertices]
    known = np.flatnonzero((rows >= 0).all(1))
    pick = sparse.csr_matrix(
        (found.weights[known].ravel(), (np.repeat(np.arange(len(known)), 3), rows[known].ravel())),
        shape=(len(known), len(ids)),
    )
    bending = stiffness @ sparse.diags(1 / area) @ stiffness
    held = sparse.diags(HOLD * (0.2 + found.trust[known]))
    loose = sparse.diags(LOOSE * area * surface[ids])
    right = pick.T @ held @ topology.uv[known] + loose @ place[ids]
    system = (bending + pick.T @ held @ pick + loose + 1e-9 * sparse.eye(len(ids))).tocsr()
    fixed = number[loops[0]]
    free = np.setdiff1d(np.arange(len(ids)), fixed)
    found_places = np.zeros((len(ids), 2))
    found_places[fixed] = loops[1]
    right = right[free] - system[free][:, fixed] @ loops[1]
    found_places[free] = splu(system[free][:, free].tocsc()).solve(right.astype(np.float64))
    return found_places


def _symmetric_chart(chart: FloatArray, model: MorphableModel) -> FloatArray:
    mirror = cKDTree(model.mean).query(model.mean * [-1, 1, 1])[1]
    other = chart[mirror] * [-1, 1] + [1, 0]
    both = (chart + other) / 2
    return np.where(np.isfinite(both), both, np.nan).astype(np.float32)


def _depth_in_chart(chart: FloatArray, topology: Topology, size: int = 1024) -> DoubleArray:
    """[V]: distance in UV from the border of FaceMesh's chart; negative outside, or where there is no place."""
    inside = bake_chart(topology.uv, topology.triangles, size).inside.numpy()
    depth = (distance_transform_edt(inside) - distance_transform_edt(~inside)) / size
    at = np.nan_to_num(chart, nan=-1.0)
    column = np.clip((at[:, 0] * size).astype(int), 0, size - 1)
    row = np.clip(((1 - at[:, 1]) * size).astype(int), 0, size - 1)
    outside = (at < 0).any(1) | (at > 1).any(1)
    return np.where(outside, -1.0, depth[row, column])


def flipped(uv: FloatArray, triangles: IntArray) -> BoolArray:
    """[F]: triangles that are clockwise in the chart, or have no area."""
    return np.asarray(_area(uv.astype(np.float64), triangles) <= 0)


def _area(uv: DoubleArray, triangles: IntArray) -> DoubleArray:
    a, b, c = (uv[triangles[:, k]] for k in range(3))
    return np.asarray((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1]))


def face_polygons(inside: BoolArray, faces: IntArray, coarse: IntArray, skin: Sequence[int]) -> IntArray:
    """Ids of the coarse polygons that are the face: all of their vertices are inside, and no hole is left among them.

    Args:
        inside: [V] from :func:`face_chart`.
        faces: [Q, 4] of the fine mesh.
        coarse: [Q] polygon of each face.
        skin: polygons that may be chosen.
    """
    whole = np.zeros(coarse.max() + 1, bool)
    whole[list(skin)] = True
    outside = np.unique(coarse[~inside[faces].all(1) & (coarse >= 0)])
    whole[outside] = False
    return np.flatnonzero(whole).astype(np.int32)
