"""Tracking against clips drawn of a person's own head: pose, expressions, gaze, jitter and what happens in between.

The head of each photo, completed without the generator, carries out one script; the tracker sees frames alone and
learns a head of its own from them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import FaceError
from ostec.core.settings import NO_HEAD, to_json
from ostec.core.types import BoolArray
from ostec.eval.jobs import Outcome
from ostec.eval.report.record import OSTEC, Evaluation, Row
from ostec.eval.study import Study, content_of, load
from ostec.eval.track.clip import STILL, Disturbance, DrawnClip, Script, script
from ostec.export.track import TrackRow
from ostec.heads.rig import ARKIT
from ostec.io.images import read_image
from ostec.pipeline.models import load_head_maker
from ostec.pipeline.settings import CompleteSettings, TrackSettings
from ostec.pipeline.tracking import Tracker
from ostec.render.geometry import rotation_from_pose

KIND = "track"
CONDITIONS = {"clear": Disturbance(), "noise": Disturbance(noise=6.0), "blur": Disturbance(blur_px=1.5)}
COMPLETE = CompleteSettings(iterations=0, face_model=NO_HEAD, uv_size=512)
CLOSED = 0.5
"""Value of a blink from which the eye is shut."""


def frames_scored(plan: Script) -> BoolArray:
    """[T]: frames in which the face is there; three more after a hand has passed."""
    return np.asarray(~(plan.covered | np.roll(plan.covered, 3)))


def score(rows: list[TrackRow], plan: Script, unseen: frozenset[str]) -> dict[str, float]:
    """Figures of a track: degrees, and shares of an expression.

    ``unseen`` are expressions that landmarks do not show; where the eyes look is scored as ``gaze``.
    """
    count = len(plan.pose_deg)
    if len(rows) != count:
        raise ValueError(f"expected {count} rows, got {len(rows)}")
    fair = frames_scored(plan)
    turned = np.array(
        [_angle(row.rotation, rotation_from_pose(*pose)) for row, pose in zip(rows, plan.pose_deg, strict=True)]
    )
    shown = np.array([row.expression for row in rows], np.float64)
    judged = [k for k, name in enumerate(ARKIT) if name not in unseen]
    eyes = np.array([row.eyes_deg for row in rows]).mean(1)
    still = slice(5, STILL)
    poses = np.array([row.pose_deg for row in rows])
    blinks = [ARKIT.index("eyeBlinkLeft"), ARKIT.index("eyeBlinkRight")]
    shut = fair & (plan.expression[:, blinks[0]] > 0.9)
    moving = np.abs(plan.expression[:, judged]) > 0.3
    error = np.abs(shown - plan.expression)[:, judged]
    return {
        "pose_error": float(turned[fair].mean()),
        "expression_error": float(error[fair].mean()),
        "expression_active": float(error[fair][moving[fair]].mean()),
        "gaze_error": float(np.linalg.norm(eyes - plan.gaze_deg, axis=1)[fair & (plan.gaze_deg.any(1))].mean()),
        "jitter_pose": float(poses[still].std(0).max()),
        "jitter_expression": float(shown[still].std(0).max()),
        "blinks": float((shown[shut][:, blinks].min(1) > CLOSED).mean()),
        "lost": float(1 - np.mean([row.seen for row, there in zip(rows, fair, strict=True) if there])),
    }


def _angle(first: np.ndarray, second: np.ndarray) -> float:
    """Degrees between two rotations."""
    return float(np.degrees(np.arccos(np.clip((np.trace(first.T @ second) - 1) / 2, -1, 1))))


@dataclass(frozen=True)
class TrackTask:
    """Draws and tracks the head of one photo; the key is its name."""

    photos: Mapping[str, Path]
    settings: TrackSettings

    def __call__(self, key: str) -> Outcome:
        """``rows``. Raises ImageError, FaceError."""
        completer, maker = load(COMPLETE).completer, load_head_maker(self.settings.face_model)
        plan = script()
        clip = DrawnClip(maker(completer(read_image(self.photos[key])).textured), plan)
        unseen = frozenset(maker.model.unseen)
        rows = []
        for name, disturbance in CONDITIONS.items():
            tracker = Tracker(completer, maker, self.settings)
            for frame in clip.frames(disturbance):
                tracker.feed(frame)
            tracker.finish()
            found = tracker.smoothed(tracker.people[0]) if tracker.people else []
            if len(found) != len(plan.pose_deg):
                raise FaceError(f"The face was found in too few frames ({name}).")
            figures = score(found, plan, unseen)
            rows.append(asdict(Row(f"{key} {name}", OSTEC, figures, {"photo": key, "condition": name})))
        return {"rows": rows}


def track_study(task: TrackTask, folder: Path) -> Study:
    """The evaluation. Raises AssetError where a file of the program is missing."""

    def no_sheet(_: Evaluation) -> list:
        return []

    return Study(
        kind=KIND,
        folder=folder,
        task=task,
        items={name: f"{name} *" for name in task.photos},
        by=("condition",),
        loaded=load(COMPLETE),
        decisive=(to_json(task.settings), {name: content_of(path) for name, path in task.photos.items()}),
        settings={**to_json(task.settings), "photos": len(task.photos), "threads": torch.get_num_threads()},
        sheet=no_sheet,
    )
