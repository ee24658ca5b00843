"""Make ``models/tracking.safetensors``: how FaceMesh's landmarks answer to expressions and poses of a head.

    python tools/make_tracking.py heads --portraits DIR --work DIR [--count 24]
    python tools/make_tracking.py draw --work DIR [--frames 150]
    python tools/make_tracking.py fit --work DIR --out models/tracking.safetensors

Heads are made of portraits, drawn with random expressions at random poses through a perspective camera, and looked at
by FaceMesh. What it sees differs from what is drawn: it turns heads too little, hardly sees some expressions, and bends
faces as they turn. The file holds the mean answer to each expression, what poses alone do, and what is left as noise.
"""

import argparse
import logging
import pickle
import zlib
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from ostec.core.assets import asset_path
from ostec.core.errors import OstecError
from ostec.core.morphable import LandmarkResponse
from ostec.core.types import FaceLandmarks, Topology
from ostec.detect.landmarks import crop_around_landmarks
from ostec.fit.dense import fit_dense
from ostec.fit.settings import TrackFitSettings
from ostec.fit.symmetry import landmarks_by_symmetry
from ostec.fit.tracking import HeadTracker, View, in_head_frame, pose_features, rigid_pose
from ostec.heads.moving import MovingHead
from ostec.heads.rig import ARKIT
from ostec.load.topology import read_topology
from ostec.nets.facemesh import FrozenFaceMesh
from ostec.pipeline.completer import Completer
from ostec.pipeline.models import load_head_maker
from ostec.render.crops import warp_bytes
from ostec.render.geometry import camera_from_matrix, pose_from_rotation, rotation_from_pose

log = logging.getLogger("make_tracking")
SIDE, FOCAL = 420, 900.0
FLOOR_MM = 1.0
"""Deviation of every landmark besides that which was learnt."""
REST = 9
"""First frames of each head: at rest, nearly frontal."""


def make_heads(portraits: Path, work: Path, count: int) -> None:
    """Complete portraits and keep their heads."""
    completer = Completer.from_pretrained(iterations=0, uv_size=512, device="cpu")
    facts = np.load(portraits / "landmarks.npz", allow_pickle=False)
    names = [str(n) for n, side in zip(facts["names"], facts["native_side"], strict=True) if side >= 500]
    order = np.random.default_rng(0).permutation(len(names))
    done = 0
    for name in (names[k] for k in order):
        if zlib.crc32(Path(name).stem.encode()) % 20 == 0:
            continue
        target = work / f"head_{Path(name).stem}.pkl"
        if not target.exists():
            try:
                made = completer(next((portraits / "images").glob(f"{Path(name).stem}.*")))
            except OstecError as error:
                log.warning("%s: %s", name, error)
                continue
            target.write_bytes(pickle.dumps(made.head))
        done += 1
        log.info("%d %s", done, name)
        if done == count:
            return


def random_expression(rng: np.random.Generator, unseen: set[str]) -> np.ndarray:
    """[52]: a few shapes, mostly even on both sides."""
    values = dict.fromkeys(ARKIT, 0.0)
    pairs = sorted({name.replace("Left", "").replace("Right", "") for name in ARKIT} - {"jaw", "mouth"})
    pairs += ["jawLeft", "jawRight", "mouthLeft", "mouthRight"]
    for stem in rng.choice(pairs, rng.integers(0, 6), replace=False):
        strength = float(rng.beta(1.2, 1.2))
        for side in ("", "Left", "Right"):
            if stem + side in values:
                values[stem + side] = strength * float(rng.choice([1, 1, 1, 1, rng.random()]))
    if rng.random() < 0.35:
        values["jawOpen"] = float(rng.beta(1, 2))
    values["mouthClose"] = min(values["mouthClose"], values["jawOpen"])
    if rng.random() < 0.2:
        blink = float(rng.choice([1, rng.random()]))
        values["eyeBlinkLeft"] = values["eyeBlinkRight"] = blink
    return np.array([0.0 if name in unseen else values[name] for name in ARKIT], np.float32)


def draw(work: Path, frames: int) -> None:
    """Draw every head and let FaceMesh look."""
    torch.set_num_threads(1)
    completer = Completer.from_pretrained(iterations=0, face_model="none", device="cpu")
    network, unseen = FrozenFaceMesh(completer.models.facemesh), set(load_head_maker("head").model.unseen)
    for path in sorted(work.glob("head_*.pkl")):
        out = path.with_name(path.name.replace("head_", "drawn_")).with_suffix(".npz")
        if out.exists():
            continue
        head = MovingHead(pickle.loads(path.read_bytes()))
        rng = np.random.default_rng(zlib.crc32(path.stem.encode()))
        order = [ARKIT.index(name) for name in head.rig.targets]
        rows = []
        for k in range(frames):
            rest = k < REST
            values = np.zeros(52, np.float32) if rest or k % 8 == 0 else random_expression(rng, unseen)
            yaw, pitch, roll = rng.normal(0, 1, 3) * ((4, 3, 2) if rest else (20, 10, 7))
            pose = np.clip([pitch, yaw, roll], [-28, -48, -25], [28, 48, 25])
            place = np.array([rng.normal(0, 20), rng.normal(0, 20), -rng.uniform(500, 1100)])
            focal = FOCAL * -place[2] / 700  # the head stays as large
            rotation = rotation_from_pose(*pose)
            flip = np.diag([1.0, -1.0, -1.0])
            inner = np.array([[focal, 0, SIDE / 2], [0, focal, SIDE / 2], [0, 0, 1]])
            matrix = inner @ np.hstack([flip @ rotation, (flip @ place)[:, None]])
            camera = camera_from_matrix(matrix, rotation)
            points = head.shape(values[order])
            image, hit = head.draw(points, camera, (SIDE, SIDE))
            light = rng.uniform(0.6, 1.1) * rng.uniform(0.9, 1.1, 3)
            image = np.where(hit[..., None], image * light, rng.uniform(0, 1, 3))
            image = np.clip(image * 255 + rng.normal(0, rng.uniform(0, 5), image.shape), 0, 255).astype(np.uint8)
            truth, _ = camera.project(torch.from_numpy(points))
            low, high = truth.numpy().min(0), truth.numpy().max(0)
            found = look(network, image, (low, high))
            if found is not None:
                rows.append((k, values, pose, place, focal, found.points))
        if sum(row[0] < REST for row in rows) < 3:
            log.warning("%s is not seen", path.stem)
            continue
        names = ("frame", "values", "pose", "place", "focal", "landmarks")
        np.savez(out, allow_pickle=False, **{name: np.array([row[i] for row in rows]) for i, name in enumerate(names)})
        log.info("%s %d", path.stem, len(rows))


def look(network: FrozenFaceMesh, image: np.ndarray, box: tuple[np.ndarray, np.ndarray]) -> FaceLandmarks | None:
    """Landmarks as a follower finds them, from a rough region."""
    from ostec.render.crops import Crop

    low, high = box
    middle, side = (low + high) / 2 + [0, -0.12 * (high[1] - low[1])], 0.75 * float((high - low).max())
    crop = Crop((float(middle[0]), float(middle[1])), side, 0.0, 192)
    found = None
    for _ in range(3):
        seen = network(warp_bytes(image, crop))
        if float(seen.confidence) < 0.5:
            return None
        points = (seen.points[0].double().numpy() @ crop.axes.T + crop.offset).astype(np.float32)
        found, crop = FaceLandmarks(points, float(seen.confidence)), crop_around_landmarks(points)
    return found


def fit(work: Path, out: Path) -> None:
    """Learn the response from what was drawn; every fifth head is held out and judged."""
    topology = read_topology(asset_path("topology/facemesh.npz"))
    paths = sorted(work.glob("drawn_*.npz"))
    learnt = response_of([read(path, topology) for k, path in enumerate(paths) if k % 5], topology)
    judge(learnt, [read(path, topology) for path in paths[::5]], topology)
    whole = response_of([read(path, topology) for path in paths], topology)
    # Files are written from memory as it is.
    save_file({f.name: np.ascontiguousarray(getattr(whole, f.name), np.float32) for f in fields(whole)}, out)
    log.info("%s: %d heads, %d kB", out, len(paths), out.stat().st_size >> 10)


@dataclass(frozen=True)
class Drawn:
    """One head's frames in its own frame."""

    neutral: np.ndarray
    moved: np.ndarray
    """[T, 1404]"""
    found: np.ndarray
    """[T, 3] poses as found."""
    pose: np.ndarray
    """[T, 3] as drawn."""
    values: np.ndarray
    """[T, 52]"""
    landmarks: np.ndarray
    focal: np.ndarray
    place: np.ndarray


def read(path: Path, topology: Topology) -> Drawn:
    """Read what was drawn of one head and find its rest and poses as a tracker does."""
    rows = np.load(path, allow_pickle=False)
    rest = np.flatnonzero(rows["frame"] < REST)
    faces = [fit_dense(FaceLandmarks(rows["landmarks"][k], 1.0), topology) for k in rest]
    neutral = np.mean([landmarks_by_symmetry(face, topology) for face in faces], axis=0).astype(np.float64)
    rigid, settings = topology.rigid_weight.astype(np.float64), TrackFitSettings()
    moved, found = [], []
    for seen, focal in zip(rows["landmarks"].astype(np.float64), rows["focal"], strict=True):
        view = View(float(focal), (SIDE / 2, SIDE / 2))
        pose = rigid_pose(neutral, seen, rigid, view, settings)
        found.append(pose_from_rotation(pose[0]))
        moved.append((in_head_frame(neutral, seen, pose, rigid, view) - neutral).ravel())
    return Drawn(
        neutral,
        np.array(moved),
        np.array(found),
        rows["pose"],
        rows["values"].astype(np.float64),
        rows["landmarks"],
        rows["focal"],
        rows["place"],
    )


def mirrored(drawn: Drawn, topology: Topology) -> Drawn:
    """The mirror image."""
    flip = np.array([1, -1, -1])
    moved = drawn.moved.reshape(len(drawn.moved), -1, 3)[:, topology.mirror_landmarks] * [-1, 1, 1]
    swap = [ARKIT.index(_twin(name)) for name in ARKIT]
    return replace(
        drawn,
        moved=moved.reshape(len(moved), -1),
        found=drawn.found * flip,
        pose=drawn.pose * flip,
        values=drawn.values[:, swap],
    )


def _twin(name: str) -> str:
    for one, other in (("Left", "Right"), ("Right", "Left")):
        if name.endswith(one):
            return name.removesuffix(one) + other
    return name


def response_of(heads: list[Drawn], topology: Topology) -> LandmarkResponse:
    """Least squares for the answers, and the covariance of what they leave."""
    both = [one for head in heads for one in (head, mirrored(head, topology))]
    values = np.concatenate([head.values for head in both])
    found = np.concatenate([head.found for head in both])
    true = np.concatenate([head.pose for head in both])
    moved = np.concatenate([head.moved for head in both])
    features = np.array([pose_features(tuple(pose)) for pose in found])
    known = np.hstack([values, features])
    ridge = np.diag(np.r_[np.full(52, 3.0), np.full(features.shape[1], 1e-3)])
    answers = np.linalg.solve(known.T @ known + ridge, known.T @ moved)  # [52 + F, 1404]
    left = moved - known @ answers
    covariance = left.T @ left / len(left) + FLOOR_MM**2 * np.eye(moved.shape[1])
    expression, bend = answers[:52], answers[52:]
    project = np.linalg.solve(covariance, expression.T).T  # [52, 1404]
    correction = np.linalg.lstsq(features, true - found, rcond=None)[0].T
    log.info(
        "left at the landmarks: %.2f mm; poses found within %.2f, corrected %.2f degrees",
        np.sqrt((left**2).sum(1).mean() / 468),
        np.abs(true - found).mean(),
        np.abs(true - found - features @ correction.T).mean(),
    )
    return LandmarkResponse(project, project @ expression.T, project @ bend.T, correction)


def judge(response: LandmarkResponse, heads: list[Drawn], topology: Topology) -> None:
    """What a tracker makes of frames that it did not learn from, each without the one before."""
    errors, wrong = [], []
    for head in heads:
        for k in range(len(head.values)):
            view = View(float(head.focal[k]), (SIDE / 2, SIDE / 2))
            tracker = HeadTracker(head.neutral, topology.rigid_weight, response, TrackFitSettings())
            tracked = tracker(head.landmarks[k], view, 0.0)
            errors.append(np.abs(tracked.expression - head.values[k]))
            wrong.append(np.abs(np.array(pose_from_rotation(tracked.rotation)) - head.pose[k]))
    shown = np.concatenate([head.values for head in heads]) > 0
    error, away = np.array(errors), np.array(wrong)
    frontal = np.abs(np.concatenate([head.pose for head in heads])[:, 1]) <= 35
    log.info(
        "held out: expressions %.3f (shown %.3f, others %.3f); pitch, yaw, roll up to a yaw of 35: %s, at most %s",
        error.mean(),
        error[shown].mean(),
        error[~shown].mean(),
        away[frontal].mean(0).round(2),
        away[frontal].max(0).round(1),
    )
    for k in np.argsort(-error.mean(0)):
        if shown[:, k].any():
            log.info("  %-20s %.3f, where shown %.3f", ARKIT[k], error[:, k].mean(), error[shown[:, k], k].mean())


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("heads", "draw", "fit"))
    parser.add_argument("--portraits", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("models/tracking.safetensors"))
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--frames", type=int, default=150)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if asked.step == "heads":
        make_heads(asked.portraits, asked.work, asked.count)
    elif asked.step == "draw":
        draw(asked.work, asked.frames)
    else:
        fit(asked.work, asked.out)


if __name__ == "__main__":
    main()
