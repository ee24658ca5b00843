"""Make topology/facemesh.npz: triangles, subdivision operator, mirror map, mean face and UV layout of the default mesh.

Inputs: the mediapipe 0.10.21 wheel (Apache-2.0; the list FACEMESH_TESSELATION names every triangle's three edges in
order) and dense landmarks of portraits (an .npz with ``landmarks`` [N, 468 or more, 3] in crop pixels).

    python tools/make_topology.py --wheel mediapipe-0.10.21-...whl --landmarks landmarks.npz --out topology/facemesh.npz

Steps: triangles from the edge list, made mirror-symmetric where they are not; a fan over each eye and the mouth; the
mean face by generalised Procrustes; two levels of modified butterfly subdivision (``butterfly.py``), which is linear
and passes through the landmarks; a UV chart that minimises the symmetric Dirichlet energy (Smith and Schaefer 2015)
against the mean face, enlarged where the face has detail, one half optimised and the other mirrored.
"""

import argparse
import ast
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from scipy.spatial import ConvexHull, cKDTree
from scipy.spatial.distance import cdist

from butterfly import butterfly_level
from ostec.fit.dense import weighted_similarity

LANDMARKS = 468
LEVELS = 2
GRID = 2**16  # UV coordinates are multiples of 1 / GRID, so that 1 - u is exact in float32
CONNECTIONS = "mediapipe/python/solutions/face_mesh_connections.py"


def read_connections(wheel: Path) -> dict[str, list[tuple[int, int]]]:
    """The literal edge lists of MediaPipe's module, in source order; nothing of it is executed."""
    tree = ast.parse(zipfile.ZipFile(wheel).read(CONNECTIONS).decode())
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call) or not node.value.args:
            continue
        target = node.targets[0]
        if isinstance(target, ast.Name):
            try:
                found[target.id] = list(ast.literal_eval(node.value.args[0]))
            except ValueError:
                continue
    return found


def triangles_from_edges(edges: list[tuple[int, int]]) -> np.ndarray:
    """Every three consecutive edges (a, b), (b, c), (c, a) are one triangle."""
    triangles = []
    for i in range(0, len(edges), 3):
        (a, b), (b2, c), (c2, a2) = edges[i : i + 3]
        if (a, b, c) != (a2, b2, c2):
            raise ValueError(f"edges {i} to {i + 2} are no triangle")
        triangles.append((a, b, c))
    return np.array(triangles)


def boundary_loops(triangles: np.ndarray) -> list[list[int]]:
    """Closed loops of boundary edges, each in the direction of its triangles."""
    directed = {(t[i], t[(i + 1) % 3]) for t in triangles.tolist() for i in range(3)}
    after = {a: b for a, b in directed if (b, a) not in directed}
    loops = []
    while after:
        start = min(after)
        loop = [start]
        nxt = after.pop(start)
        while nxt != start:
            loop.append(nxt)
            nxt = after.pop(nxt)
        loops.append(loop)
    return sorted(loops, key=len, reverse=True)


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``source`` [N, 3] moved onto ``target`` by the least-squares similarity (Umeyama 1991)."""
    scale, rotation, offset = weighted_similarity(source, target, np.ones(len(source)))
    return scale * source @ rotation.T + offset


def mean_face(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mirror-symmetric mean [468, 3] in the canonical frame, and the mirror id of every landmark."""
    points = landmarks[:, :LANDMARKS].astype(np.float64) * [1, -1, -1]
    mean = points[0]
    for _ in range(8):
        mean = np.median([similarity(p, mean) for p in points], axis=0)
        mean = canonical(mean)
    flipped = mean * [-1, 1, 1]
    for _ in range(5):
        _, mirror = linear_sum_assignment(cdist(flipped, mean) ** 2)
        flipped = similarity(flipped, mean[mirror])
    if not np.array_equal(mirror[mirror], np.arange(LANDMARKS)):
        raise ValueError("the mirror map is no involution")
    mean = canonical((mean + (mean[mirror] * [-1, 1, 1])) / 2)
    mean = (mean + mean[mirror] * [-1, 1, 1]) / 2
    return mean, mirror


def canonical(points: np.ndarray) -> np.ndarray:
    """Turn, scale and move to the canonical frame: eyes level, forehead-to-chin line vertical, corners 90 mm apart."""
    ex = points[263] - points[33]
    scale = 90 / np.linalg.norm(ex)
    ex = ex * scale / 90
    up = points[10] - points[152]
    up = up - (up @ ex) * ex
    up /= np.linalg.norm(up)
    axes = np.stack([ex, up, np.cross(ex, up)])
    centred = scale * (points - (points[33] + points[263]) / 2) @ axes.T
    return centred + np.array([0, 0, 60])


def level(mean: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Turn the mean face so that the median portrait has a pitch of zero: photographers' frontal is ours."""
    points = landmarks[:, :LANDMARKS].astype(np.float64) * [1, -1, -1]
    pitch = []
    for seen in points:
        u, _, vt = np.linalg.svd((seen - seen.mean(0)).T @ (mean - mean.mean(0)))
        rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
        pitch.append(np.arctan2(-rotation[2, 1], rotation[2, 2]))
    p = np.median(pitch)
    print(f"the median portrait's pitch against the forehead-to-chin line is {np.degrees(p):.2f} degrees")
    turned = mean @ np.array([[1, 0, 0], [0, np.cos(p), np.sin(p)], [0, -np.sin(p), np.cos(p)]]).T
    turned += [0, 0, 60] - (turned[33] + turned[263]) / 2
    return turned


def symmetric_triangles(triangles: np.ndarray, mean: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Replace triangles on the image's right that have no mirror image by mirror images of those on the left."""
    keys = {tuple(sorted(t)) for t in triangles.tolist()}
    alone = np.array([tuple(sorted(mirror[t].tolist())) not in keys for t in triangles])
    left = mean[triangles].mean(1)[:, 0] < 0
    kept = triangles[~alone | left]
    out = np.concatenate([kept, mirror[triangles[alone & left]][:, ::-1]])
    if len(out) != len(triangles):
        raise ValueError("the triangulation cannot be made symmetric by flipping edges")
    return out


def add_fans(triangles: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix, list[list[int]]]:
    """Close each inner loop with a fan round a new vertex, the mean of the loop."""
    loops = boundary_loops(triangles)
    holes = loops[1:]
    rows = [sparse.identity(LANDMARKS, format="csr")]
    faces = [triangles]
    for k, loop in enumerate(holes):
        centre = LANDMARKS + k
        row = sparse.csr_matrix((np.full(len(loop), 1 / len(loop)), (np.zeros(len(loop), int), loop)), (1, LANDMARKS))
        rows.append(row)
        faces.append(np.array([(b, a, centre) for a, b in zip(loop, loop[1:] + loop[:1], strict=True)]))
    return np.concatenate(faces), sparse.vstack(rows).tocsr(), holes


def detail_scale(mean: np.ndarray) -> np.ndarray:
    """[V] linear enlargement in UV: eyes, nose and mouth want more texels than cheeks, the far sides fewer."""
    scale = np.ones(len(mean))
    for centre, radius, gain in (
        ((-31, 2, 42), 24, 0.9),
        ((31, 2, 42), 24, 0.9),
        ((0, -32, 75), 26, 0.35),
        ((0, -66, 65), 30, 0.45),
    ):
        d2 = ((mean - centre) ** 2).sum(1) / radius**2
        scale += gain * np.exp(-d2)
    sides = np.clip((np.abs(mean[:, 0]) - 45) / 30, 0, 1)
    return scale * (1 - 0.15 * sides)


def tutte(triangles: np.ndarray, loop: list[int], mean: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Injective start: border on a rounded square by angle, inner vertices at their neighbours' mean."""
    count = len(mean)
    p = mean[loop][:, :2] - [0, mean[loop][:, 1].mean()]
    angle = np.arctan2(p[:, 1], p[:, 0])
    r = (np.abs(np.cos(angle)) ** 4 + np.abs(np.sin(angle)) ** 4) ** -0.25
    border = np.stack([r * np.cos(angle), r * np.sin(angle)], 1)
    adjacency = sparse.coo_matrix(
        (np.ones(triangles.size), (triangles.ravel(), np.roll(triangles, -1, 1).ravel())), (count, count)
    )
    adjacency = ((adjacency + adjacency.T) > 0).astype(float)
    laplace = (sparse.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()
    inner = np.setdiff1d(np.arange(count), loop)
    uv = np.zeros((count, 2))
    uv[loop] = border
    uv[inner] = sparse.linalg.spsolve(laplace[inner][:, inner].tocsc(), -laplace[inner][:, loop] @ border)
    return (uv + uv[mirror] * [-1, 1]) / 2


def optimise_uv(triangles: np.ndarray, mean: np.ndarray, mirror: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Symmetric Dirichlet energy with a free border inside a box; a line search never lets a triangle flip."""
    scale = detail_scale(mean)[triangles].mean(1)
    a, b, c = (torch.tensor(mean[triangles[:, k]]) for k in range(3))
    e1, e2 = b - a, c - a
    x = e1.norm(dim=1)
    ex = e1 / x[:, None]
    y1 = (e2 * ex).sum(1)
    y2 = (e2 - y1[:, None] * ex).norm(dim=1)
    rest = torch.stack([torch.stack([x, y1], 1), torch.stack([torch.zeros_like(x), y2], 1)], 1)  # [F, 2, 2] columns
    rest = rest * torch.tensor(scale)[:, None, None] / 100
    inverse, area = torch.linalg.inv(rest), torch.linalg.det(rest) / 2
    faces, flip = torch.tensor(triangles), torch.tensor([-1.0, 1.0], dtype=torch.float64)
    uv = torch.tensor(start)
    signed = torch.linalg.det(edges(uv, faces))
    if (signed <= 0).any():
        raise ValueError(f"{int((signed <= 0).sum())} triangles of the start are flipped")

    def energy(v: torch.Tensor) -> torch.Tensor:
        j = edges(v, faces) @ inverse
        det = torch.linalg.det(j)
        if (det <= 0).any():
            return torch.tensor(torch.inf, dtype=v.dtype)
        norm = (j**2).sum((1, 2))
        outside = (v.abs() - 1).clamp(min=0)
        return (area * (norm + norm / det**2)).sum() + 30 * (outside**2).sum()

    return descend(energy, uv, torch.tensor(mirror), flip).numpy()


def edges(uv: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
    """[F, 2, 2]: the two edge vectors of every triangle as columns."""
    a, b, c = (uv[faces[:, k]] for k in range(3))
    return torch.stack([b - a, c - a], dim=2)


def descend(
    energy: Callable[[torch.Tensor], torch.Tensor], uv: torch.Tensor, mirror: torch.Tensor, flip: torch.Tensor
) -> torch.Tensor:
    """L-BFGS directions from two-loop recursion, backtracking, every iterate made symmetric."""
    history: list[tuple[torch.Tensor, torch.Tensor]] = []

    def symmetric(v: torch.Tensor) -> torch.Tensor:
        return (v + v[mirror] * flip) / 2

    def gradient(v: torch.Tensor) -> tuple[float, torch.Tensor]:
        v = v.clone().requires_grad_()
        e = energy(v)
        (g,) = torch.autograd.grad(e, v)
        return float(e.detach()), symmetric(g)

    uv = symmetric(uv)
    value, grad = gradient(uv)
    for step in range(6000):
        q, alphas = grad.clone(), []
        for s, y in reversed(history):
            alpha = (s * q).sum() / (s * y).sum()
            alphas.append(alpha)
            q = q - alpha * y
        if history:
            s, y = history[-1]
            q = q * (s * y).sum() / (y * y).sum()
        for (s, y), alpha in zip(history, reversed(alphas), strict=True):
            q = q + s * (alpha - (y * q).sum() / (s * y).sum())
        rate = 1.0 if history else 0.01 / float(q.abs().max())
        while rate > 1e-12 and not float(energy(uv - rate * q)) < value - 1e-4 * rate * float((grad * q).sum()):
            rate /= 2
        if rate <= 1e-12:
            if not history:
                break
            history.clear()
            continue
        nxt = symmetric(uv - rate * q)
        new_value, new_grad = gradient(nxt)
        if ((nxt - uv) * (new_grad - grad)).sum() > 0:
            history = [*history[-19:], (nxt - uv, new_grad - grad)]
        done = value - new_value < 1e-10 * value and step > 200
        uv, value, grad = nxt, new_value, new_grad
        if done:
            break
    print(f"symmetric Dirichlet energy {value:.4f} after {step + 1} steps")
    return uv


def to_grid(uv: np.ndarray, mirror: np.ndarray, margin: float) -> np.ndarray:
    """Fill the unit square up to ``margin``, the same scale both ways, on the exact grid."""
    low, high = uv.min(0), uv.max(0)
    size = (high - low).max()
    uv = (uv - (low + high) / 2) / size * (1 - 2 * margin) + 0.5
    uv = np.round(uv * GRID) / GRID
    left = np.where(uv[:, 0] <= uv[mirror, 0], np.arange(len(uv)), mirror)
    out = uv[left]
    right = left != np.arange(len(uv))
    out[right, 0] = 1 - out[right, 0]
    out[mirror == np.arange(len(uv)), 0] = 0.5
    return out


def full_mirror(points: np.ndarray) -> np.ndarray:
    """Mirror ids by position of an exactly symmetric set [V, 2 or 3]."""
    flipped = points * np.array([-1] + [1] * (points.shape[1] - 1))
    distance, index = cKDTree(points).query(flipped)
    if distance.max() > 1e-6 or not np.array_equal(index[index], np.arange(len(points))):
        raise ValueError("the mesh is not symmetric")
    return index


def stability(mean: np.ndarray, mirror: np.ndarray, connections: dict[str, list[tuple[int, int]]]) -> np.ndarray:
    """[468] weight in the rigid alignment: forehead, nose, eye corners high; mouth, jaw, lids, brows and rim low."""
    weight = np.ones(LANDMARKS)
    weight[mean[:, 1] < -38] = 0.15
    weight[mean[:, 1] < -80] = 0.05
    for name in ("LEFT_EYE", "RIGHT_EYE", "LEFT_EYEBROW", "RIGHT_EYEBROW"):
        weight[np.unique(connections[f"FACEMESH_{name}"])] = 0.4
    weight[np.unique(connections["FACEMESH_FACE_OVAL"])] *= 0.3
    weight[[33, 133, 263, 362]] = 1.5
    return (weight + weight[mirror]) / 2


def loop_uv(edge_list: list[tuple[int, int]], uv: np.ndarray) -> np.ndarray:
    """UV polygon [K, 2] of a region given by edges: the convex hull of its points."""
    points = uv[np.unique(edge_list)]
    return points[ConvexHull(points).vertices]


def main() -> None:
    """Build the file and print what can be checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--landmarks", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("topology/facemesh.npz"))
    args = parser.parse_args()
    connections = read_connections(args.wheel)
    landmarks = np.load(args.landmarks)["landmarks"]
    mean, mirror = mean_face(landmarks)
    base = symmetric_triangles(triangles_from_edges(connections["FACEMESH_TESSELATION"]), mean, mirror)
    normal = np.cross(mean[base[:, 1]] - mean[base[:, 0]], mean[base[:, 2]] - mean[base[:, 0]])
    if (normal[:, 2] > 0).mean() < 0.5:
        base = base[:, ::-1]
    faces, operator, holes = add_fans(base)
    vertices = operator @ mean
    side = full_mirror(vertices)
    loop = boundary_loops(faces)[0]
    uv = to_grid(optimise_uv(faces, vertices, side, tutte(faces, loop, vertices, side)), side, margin=0.02)
    regions = {
        name: loop_uv(connections[f"FACEMESH_{key}"], uv)
        for name, key in (("eye_left", "RIGHT_EYE"), ("eye_right", "LEFT_EYE"), ("lips", "LIPS"))
    }
    regions["brow_left"] = loop_uv(connections["FACEMESH_RIGHT_EYEBROW"], uv)
    regions["brow_right"] = loop_uv(connections["FACEMESH_LEFT_EYEBROW"], uv)
    mouth = max(holes, key=lambda h: -mean[h][:, 1].mean())
    regions["mouth"] = uv[mouth]
    linear = sparse.identity(len(vertices), format="csr")
    for _ in range(LEVELS):
        faces, smooth, middle = butterfly_level(faces, operator.shape[0])
        operator, linear = (smooth @ operator).tocsr(), (middle @ linear).tocsr()
    rigid = stability(mean, mirror, connections)
    save(args.out, faces, linear @ uv, operator, level(mean, landmarks), mirror, rigid, regions)


def save(
    out: Path,
    faces: np.ndarray,
    uv: np.ndarray,
    operator: sparse.csr_matrix,
    mean: np.ndarray,
    mirror: np.ndarray,
    rigid: np.ndarray,
    regions: dict[str, np.ndarray],
) -> None:
    """Write the arrays, without time stamps, and print the figures."""
    operator = operator.tocsr()
    operator.sort_indices()
    arrays = {
        "triangles": faces.astype(np.int32),
        "uv": uv.astype(np.float32),
        "operator_data": operator.data.astype(np.float32),
        "operator_indices": operator.indices.astype(np.int32),
        "operator_indptr": operator.indptr.astype(np.int32),
        "mirror": full_mirror(operator @ mean).astype(np.int32),
        "mirror_landmarks": mirror.astype(np.int32),
        "mean_landmarks": mean.astype(np.float32),
        "rigid_weight": rigid.astype(np.float32),
        **{f"region_{k}": v.astype(np.float32) for k, v in regions.items()},
    }
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), "w") as handle:
                np.lib.format.write_array(handle, np.ascontiguousarray(array), allow_pickle=False)
    t = arrays["uv"].astype(np.float64)[faces]
    e1, e2 = t[:, 1] - t[:, 0], t[:, 2] - t[:, 0]
    area = (e1[:, 0] * e2[:, 1] - e1[:, 1] * e2[:, 0]) / 2
    print(f"{len(uv)} vertices, {len(faces)} triangles, flipped {int((area <= 0).sum())}, covers {area.sum():.3f}")
    print(f"rows of the operator sum to one within {np.abs(operator.sum(1) - 1).max():.1e}, nnz {operator.nnz}")


if __name__ == "__main__":
    main()
