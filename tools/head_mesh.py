"""The head model's mesh: MakeHuman's bust cut out of the body, one Catmull-Clark level, eyeballs, teeth and gums.

Everything is linear in the vertices of MakeHuman's base mesh, so targets carry over exactly: the coarse vertices are
``rows @ base``, those of the fine mesh ``operator @ coarse``. Coarse vertices are the bust's and, after them, anchors:
points that move as MakeHuman's helpers for eyes and teeth do at large, for ours to follow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import cKDTree

from head_teeth import BITE_MM, Arch, dentition
from makehuman import BODY, BaseMesh
from ostec.core.types import DoubleArray, FloatArray, IntArray
from ostec.heads.eyes import sphere

BUST_MM = (475.0, 55.0, 130.0)
"""The bust ends where y = 475 + 55 (x / 130)^4 on MakeHuman's mean body: at the chest, rising to the shoulders."""
EYES = {"eye_left": "helper-r-eye", "eye_right": "helper-l-eye"}
"""Ours are the image's sides, MakeHuman's the person's."""
TEETH = {"teeth_upper": "helper-upper-teeth", "teeth_lower": "helper-lower-teeth"}
ANCHORS = np.array([[0, 0, 0], [10, 0, 0], [-10, 0, 0], [0, 10, 0], [0, 0, 10]])
"""Millimetres from a helper's middle."""
MIRRORED_ANCHORS = (0, 2, 1, 3, 4)
EYE_SHARE = 0.8
"""Radius of an eyeball in that of MakeHuman's helper, which lies before the inner edge of the lids; 12 mm in life."""
MIRROR_MM = 0.02


@dataclass(frozen=True)
class CoarsePolygon:
    """A polygon of the bust."""

    part: str
    """``skin``, ``bust``, ``mouth_socket``, ``eye_socket_left``, ``eye_socket_right`` or ``tongue``."""
    vertices: list[int]
    uv: DoubleArray
    """[n, 2] in MakeHuman's layout."""


@dataclass(frozen=True)
class CoarseMesh:
    """The bust and the anchors, C vertices."""

    polygons: tuple[CoarsePolygon, ...]
    rows: sparse.csr_matrix
    """[C, N]: vertices = rows @ base mesh."""
    mirror: IntArray
    """[C]: the vertex on the other side."""
    own: int
    """Vertices of the bust."""
    helpers: Mapping[str, IntArray]
    """Ids of the anchors of each of :data:`EYES` and :data:`TEETH`."""
    shapes: Mapping[str, sparse.csr_matrix]
    """[H, C] by the same names: the helper's vertices as affine images of its anchors."""


def cut_bust(base: BaseMesh, mean: DoubleArray) -> CoarseMesh:
    """Cut head, neck and shoulders out of the body.

    Args:
        base: the mesh.
        mean: [N, 3] the mean body, symmetric.
    """
    height, curve, width = BUST_MM
    above = mean[:, 1] - height - curve * (mean[:, 0] / width) ** 4
    body = [polygon for polygon in base.polygons if polygon.group == "body"]
    island = _islands([polygon.uv for polygon in body], len(base.uv))
    made: dict[tuple[int, int], tuple[int, float]] = {}
    cut = [
        (island[polygon.uv[0]], *_clipped(polygon.vertices, base.uv[polygon.uv], above, made))
        for polygon in body
        if (above[polygon.vertices] > 0).any()
    ]
    piece = _islands([ids for _, ids, _ in cut], len(mean) + len(made))
    top = piece[int(np.argmax(mean[:BODY, 1]))]
    cut = [entry for entry in cut if piece[entry[1][0]] == top]
    names = _island_names(cut, mean)
    polygons = [CoarsePolygon(names[number], ids, uv) for number, ids, uv in cut]
    for polygon in base.polygons:
        if polygon.group == "helper-tongue":
            polygons.append(CoarsePolygon("tongue", polygon.vertices, base.uv[polygon.uv]))
    return _numbered(base, mean, polygons, made)


def _clipped(
    ids: Sequence[int], uv: DoubleArray, above: DoubleArray, made: dict[tuple[int, int], tuple[int, float]]
) -> tuple[list[int], DoubleArray]:
    """A polygon's part above the cut; new vertices, numbered after the others, are added to ``made`` by edge."""
    corners, places = [], []
    for k, one in enumerate(ids):
        other, after = ids[(k + 1) % len(ids)], (k + 1) % len(ids)
        if above[one] > 0:
            corners.append(one)
            places.append(uv[k])
        if (above[one] > 0) != (above[other] > 0):
            low, high = min(one, other), max(one, other)
            share = above[low] / (above[low] - above[high])
            number, _ = made.setdefault((low, high), (len(above) + len(made), share))
            t = share if one == low else 1 - share
            corners.append(number)
            places.append((1 - t) * uv[k] + t * uv[after])
    return corners, np.array(places)


def _islands(polygons: Sequence[Sequence[int]], count: int) -> IntArray:
    """[count]: which connected piece each vertex belongs to."""
    edges = np.array([(a, b) for ids in polygons for a, b in zip(ids, [*ids[1:], ids[0]], strict=True)])
    graph = sparse.coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1])


def _island_names(cut: Sequence[tuple[int, list[int], DoubleArray]], mean: DoubleArray) -> dict[int, str]:
    """Names of the islands of MakeHuman's layout: the largest is the head's skin, the lowest the bust's."""
    known = {}
    for number in {entry[0] for entry in cut}:
        ids = np.unique([v for island, vertices, _ in cut if island == number for v in vertices if v < len(mean)])
        known[number] = (len(ids), mean[ids].mean(0))
    skin = max(known, key=lambda number: known[number][0])
    bust = min(known, key=lambda number: known[number][1][1])
    names = {skin: "skin", bust: "bust"}
    for number, (_, middle) in known.items():
        side = "mouth_socket" if abs(middle[0]) < 5 else f"eye_socket_{'left' if middle[0] < 0 else 'right'}"
        names.setdefault(number, side)
    return names


def _numbered(
    base: BaseMesh,
    mean: DoubleArray,
    polygons: Sequence[CoarsePolygon],
    made: Mapping[tuple[int, int], tuple[int, float]],
) -> CoarseMesh:
    """The mesh of these polygons alone, with the helpers' vertices after its own."""
    used = np.unique([v for polygon in polygons for v in polygon.vertices])
    edge_of = {number: (edge, share) for edge, (number, share) in made.items()}
    rows, columns, shares = [], [], []
    for row, vertex in enumerate(used):
        (low, high), share = edge_of.get(int(vertex), ((int(vertex), 0), 0.0))
        rows += [row, row]
        columns += [low, high]
        shares += [1 - share, share]
    bust = sparse.csr_matrix((shares, (rows, columns)), shape=(len(used), len(mean)))
    blocks, helpers, bodies = [bust], dict[str, IntArray](), dict[str, DoubleArray]()
    for k, (name, group) in enumerate((EYES | TEETH).items()):
        ids = np.unique([v for polygon in base.polygons if polygon.group == group for v in polygon.vertices])
        known = np.c_[mean[ids] - mean[ids].mean(0), np.ones(len(ids))]
        anchors = np.c_[ANCHORS, np.ones(len(ANCHORS))] @ np.linalg.pinv(known)  # [5, H]
        place = (np.repeat(np.arange(len(ANCHORS)), len(ids)), np.tile(ids, len(ANCHORS)))
        blocks.append(sparse.csr_matrix((anchors.ravel(), place), shape=(len(ANCHORS), len(mean))))
        helpers[name] = (len(used) + len(ANCHORS) * k + np.arange(len(ANCHORS))).astype(np.int32)
        bodies[name] = mean[ids]
    matrix = sparse.vstack(blocks).tocsr()
    matrix.eliminate_zeros()
    number = {int(vertex): row for row, vertex in enumerate(used)}
    renumbered = tuple(CoarsePolygon(p.part, [number[v] for v in p.vertices], p.uv) for p in polygons)
    here = matrix @ mean
    opposite = {
        name: name.replace("left", "right") if "left" in name else name.replace("right", "left") for name in helpers
    }
    mirror = [mirror_of(here[: len(used)]), *(helpers[opposite[name]][list(MIRRORED_ANCHORS)] for name in helpers)]
    shapes = {name: bind(bodies[name], ids, here) for name, ids in helpers.items()}
    return CoarseMesh(renumbered, matrix, np.concatenate(mirror).astype(np.int32), len(used), helpers, shapes)


def mirror_of(points: DoubleArray) -> IntArray:
    """[C]: the vertex at the mirrored place of each one. Raises ValueError if there is none."""
    distance, mirror = cKDTree(points).query(points * [-1, 1, 1])
    if distance.max() > MIRROR_MM or (mirror[mirror] != np.arange(len(points))).any():
        raise ValueError(f"the mesh is not its own mirror image ({distance.max():.3f} mm)")
    return np.asarray(mirror, np.int32)


def sphere_in(points: DoubleArray) -> tuple[DoubleArray, float]:
    """Middle and radius of the sphere nearest to points [N, 3]."""
    found = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
    return found[:3], float(np.sqrt(found[3] + (found[:3] ** 2).sum()))


@dataclass(frozen=True)
class FineMesh:
    """The mesh as it is used: V vertices, Q quads and triangles."""

    operator: sparse.csr_matrix
    """[V, C]: vertices = operator @ coarse."""
    faces: IntArray
    """[Q, 4], counter-clockwise from outside; a triangle repeats its last corner."""
    part: list[str]
    """Q names."""
    uv: DoubleArray
    """[Q, 4, 2]: of the bust in MakeHuman's layout, of the others within [0, 1]."""
    coarse: IntArray
    """[Q]: which polygon of the coarse mesh a face comes from; -1 for eyes, teeth and gums."""


def subdivide(polygons: Sequence[CoarsePolygon], count: int, columns: int) -> FineMesh:
    """One Catmull-Clark level (Catmull and Clark 1978); a border is smoothed along itself.

    Args:
        polygons: of ``count`` vertices.
        count: vertices of the polygons.
        columns: of the operator.
    """
    corner = np.concatenate([p.vertices for p in polygons])
    sides = np.array([len(p.vertices) for p in polygons])
    face = np.repeat(np.arange(len(polygons)), sides)
    edges: dict[tuple[int, int], list[int]] = {}
    for k, polygon in enumerate(polygons):
        for a, b in zip(polygon.vertices, [*polygon.vertices[1:], polygon.vertices[0]], strict=True):
            edges.setdefault((min(a, b), max(a, b)), []).append(k)
    ends, shared = np.array(list(edges)), np.array([len(faces) for faces in edges.values()])
    lines = np.arange(len(ends))
    to_face = sparse.csr_matrix((1 / sides[face], (face, corner)), shape=(len(polygons), count))
    to_middle = sparse.csr_matrix(
        (np.full(2 * len(ends), 0.5), (np.repeat(lines, 2), ends.ravel())), (len(ends), count)
    )
    beside = np.concatenate(list(edges.values()))
    between = sparse.csr_matrix(
        (np.repeat(1 / shared, shared), (np.repeat(lines, shared), beside)), (len(ends), len(sides))
    )
    inner = sparse.diags((shared == 2).astype(float))
    edge_points = to_middle - 0.5 * inner @ to_middle + 0.5 * inner @ between @ to_face
    at_vertex = 2 * to_middle.T
    valence = np.asarray(at_vertex.sum(1)).ravel()
    faces_at = (to_face != 0).T.astype(float)
    around = sparse.diags(1 / np.asarray(faces_at.sum(1)).ravel()) @ faces_at @ to_face
    own = sparse.eye(count)
    inside = sparse.diags(1 / valence) @ (
        around + 2 * sparse.diags(1 / valence) @ at_vertex @ to_middle + sparse.diags(valence - 3) @ own
    )
    rim = sparse.diags((shared == 1).astype(float))
    along = 0.75 * own + 0.125 * (at_vertex @ rim @ (2 * to_middle) - 2 * own)
    on_rim = np.isin(np.arange(count), ends[shared == 1]).astype(float)
    vertex_points = sparse.diags(1 - on_rim) @ inside + sparse.diags(on_rim) @ along
    operator = sparse.vstack([vertex_points, edge_points, to_face]).tocsr()
    operator.resize((operator.shape[0], columns))
    return _quads(polygons, operator, {edge: count + k for k, edge in enumerate(edges)}, count + len(edges))


def _quads(
    polygons: Sequence[CoarsePolygon], operator: sparse.csr_matrix, edge_id: Mapping[tuple[int, int], int], first: int
) -> FineMesh:
    faces, part, uv, coarse = [], [], [], []
    for k, polygon in enumerate(polygons):
        ids, places, middle = polygon.vertices, polygon.uv, polygon.uv.mean(0)
        for j, vertex in enumerate(ids):
            after, before = (j + 1) % len(ids), j - 1
            nearby = [edge_id[min(vertex, ids[i]), max(vertex, ids[i])] for i in (after, before)]
            faces.append([vertex, nearby[0], first + k, nearby[1]])
            uv.append([places[j], (places[j] + places[after]) / 2, middle, (places[j] + places[before]) / 2])
            part.append(polygon.part)
            coarse.append(k)
    return FineMesh(operator, np.array(faces), part, np.array(uv), np.array(coarse))


def with_eyes_and_teeth(mesh: FineMesh, coarse: CoarseMesh, mean: DoubleArray) -> FineMesh:
    """Add eyeballs, teeth and gums, each an affine image of its anchors; ``mean`` [C, 3] are the coarse vertices."""
    blocks, faces, part, uv = [mesh.operator], [mesh.faces], list(mesh.part), [mesh.uv]
    for name, points, triangles, places in (*_eyeballs(coarse, mean), *_dentition(coarse, mean)):
        first = sum(block.shape[0] for block in blocks)
        helper = "teeth_" + name.rpartition("_")[2] if name.startswith("gums") else name
        blocks.append(bind(points, coarse.helpers[helper], mean))
        corners = np.concatenate([triangles, triangles[:, 2:]], axis=1) if triangles.shape[1] == 3 else triangles
        faces.append(corners + first)
        uv.append(places)
        part += ["gums" if name.startswith("gums") else name] * len(corners)
    whole = np.concatenate(faces)
    made = np.full(len(whole) - len(mesh.faces), -1)
    operator = sparse.vstack(blocks).tocsr()
    return FineMesh(operator, whole, part, np.concatenate(uv), np.concatenate([mesh.coarse, made]))


def bind(points: DoubleArray, ids: IntArray, mean: DoubleArray) -> sparse.csr_matrix:
    """[P, C] affine weights of coarse vertices ``ids``: exact wherever those move by an affine map."""
    middle = mean[ids].mean(0)
    known = np.c_[mean[ids] - middle, np.ones(len(ids))]
    weights = np.c_[points - middle, np.ones(len(points))] @ np.linalg.pinv(known)
    rows = np.repeat(np.arange(len(points)), len(ids))
    return sparse.csr_matrix((weights.ravel(), (rows, np.tile(ids, len(points)))), shape=(len(points), len(mean)))


def _eyeballs(coarse: CoarseMesh, mean: DoubleArray) -> list[tuple[str, DoubleArray, IntArray, DoubleArray]]:
    ball, made = sphere(), []
    for name in EYES:
        middle, radius = sphere_in(coarse.shapes[name] @ mean)
        corners = ball.uv[np.concatenate([ball.triangles_uv, ball.triangles_uv[:, 2:]], axis=1)]
        made.append((name, middle + EYE_SHARE * radius * ball.points, ball.triangles, corners.astype(float)))
    return made


def _dentition(coarse: CoarseMesh, mean: DoubleArray) -> list[tuple[str, DoubleArray, IntArray, DoubleArray]]:
    """Teeth and gums of both jaws along the front of their helpers."""
    made = []
    for name in TEETH:
        band = coarse.shapes[name] @ mean
        which = name.removeprefix("teeth_")
        bite = band[:, 1].min() + BITE_MM[which] if which == "upper" else band[:, 1].max() + BITE_MM[which]
        for kind, piece in zip((name, f"gums_{which}"), dentition(Arch(band, which), which, bite), strict=True):
            lo, span = piece.vertices.min(0), np.ptp(piece.vertices, axis=0)
            flat = 0.02 + 0.96 * (piece.vertices - lo)[:, :2] / span[:2]
            if kind != name:  # both jaws' gums share a tile
                flat = flat * [1, 0.48] + [0, 0.51 if which == "upper" else 0.01]
            made.append((kind, piece.vertices, piece.faces, flat[piece.faces]))
    return made


def joined_uv(places: FloatArray | DoubleArray) -> tuple[FloatArray, IntArray]:
    """Corners' places [Q, 4, 2] as the distinct ones [T, 2], and [Q, 4] which of them each corner has."""
    flat, inverse = np.unique(np.round(places.reshape(-1, 2), 6), axis=0, return_inverse=True)
    return flat.astype(np.float32), inverse.reshape(-1, 4).astype(np.int32)
