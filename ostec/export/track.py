"""What was tracked, as files that animators read: CSV, Live Link Face's CSV, NPZ; and as packets: Live Link, VMC.

Writers raise OutputError where a file cannot be written.
"""

import csv
import io
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ostec.core.types import DoubleArray, FloatArray
from ostec.heads.rig import ARKIT
from ostec.io.files import write_atomic
from ostec.render.geometry import pose_from_rotation

POSE_COLUMNS = ("pitch_deg", "yaw_deg", "roll_deg", "tx_mm", "ty_mm", "tz_mm")
EYE_COLUMNS = tuple(f"{side}_eye_{angle}_deg" for side in ("left", "right") for angle in ("pitch", "yaw"))
COLUMNS = ("frame", "time_s", "ok", *POSE_COLUMNS, *ARKIT, *EYE_COLUMNS)
"""Of ``NAME_track.csv``."""
LIVE_LINK_FPS = 60
"""Frames that a second of a Live Link Face time code is counted in."""
_SWAPPED = {"jawLeft": "jawRight", "jawRight": "jawLeft", "mouthLeft": "mouthRight", "mouthRight": "mouthLeft"}
"""Live Link Face's CSV has these the other way round than Apple's list; its packets do not."""


@dataclass(frozen=True)
class TrackRow:
    """One face in one frame."""

    index: int
    """Of the frame, from 0."""
    time_s: float
    seen: bool
    """Whether the face was there; else the values are those of before, fading to rest."""
    confidence: float
    """FaceMesh's, 0 to 1; 0 where not seen."""
    rotation: DoubleArray
    """[3, 3]: canonical to camera axes."""
    place: DoubleArray
    """[3] millimetres in camera axes (x right, y up, z towards the viewer) of the canonical origin, from the camera."""
    expression: FloatArray
    """[52] of :data:`ostec.heads.rig.ARKIT`, in [0, 1]."""
    eyes_deg: DoubleArray
    """[2, 2]: pitch and yaw of the head's left eye and of the right one, against the head; up and to the image's right
    are positive."""

    @property
    def pose_deg(self) -> tuple[float, float, float]:
        """Pitch, yaw, roll."""
        return pose_from_rotation(self.rotation)


def track_csv(rows: Sequence[TrackRow]) -> bytes:
    """``NAME_track.csv``: a row for each frame, :data:`COLUMNS`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in rows:
        table.writerow(
            [
                row.index,
                f"{row.time_s:.6f}",
                int(row.seen),
                *(f"{value:.4f}" for value in (*row.pose_deg, *row.place)),
                *(f"{value:.5f}" for value in row.expression),
                *(f"{value:.3f}" for value in row.eyes_deg.ravel()),
            ]
        )
    return text.getvalue().encode()


def write_track_npz(path: Path, rows: Sequence[TrackRow]) -> None:
    """``NAME_track.npz``: the same as arrays, with rotation matrices, and no pickles."""
    arrays = {
        "frame": np.array([row.index for row in rows], np.int32),
        "time_s": np.array([row.time_s for row in rows], np.float64),
        "ok": np.array([row.seen for row in rows], np.bool_),
        "confidence": np.array([row.confidence for row in rows], np.float32),
        "rotation": np.array([row.rotation for row in rows], np.float32).reshape(-1, 3, 3),
        "pose_deg": np.array([row.pose_deg for row in rows], np.float32).reshape(-1, 3),
        "translation_mm": np.array([row.place for row in rows], np.float32).reshape(-1, 3),
        "expression": np.array([row.expression for row in rows], np.float32).reshape(-1, len(ARKIT)),
        "eyes_deg": np.array([row.eyes_deg for row in rows], np.float32).reshape(-1, 2, 2),
        "expression_names": np.array(ARKIT),
    }
    write_atomic(path, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]


def _spelled(name: str) -> str:
    return name[0].upper() + name[1:]


def live_link_csv(rows: Sequence[TrackRow]) -> bytes:
    """``NAME_livelink.csv`` in the layout of Live Link Face's own recordings: 63 columns, angles in radians."""
    named = [_SWAPPED.get(name, name) for name in ARKIT]
    order = [ARKIT.index(name) for name in named]
    angles = [f"{part}{angle}" for part in ("Head", "LeftEye", "RightEye") for angle in ("Yaw", "Pitch", "Roll")]
    lines = [",".join(["Timecode", "BlendShapeCount", *map(_spelled, named), *angles])]
    for row in rows:
        values = [*row.expression[order], *_angles(row)]
        lines.append(",".join([_time_code(row.time_s), "61", *(f"{value:.10f}" for value in values)]))
    return ("\n".join(lines) + "\n").encode()


def _time_code(time_s: float) -> str:
    whole = int(time_s)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}:{(time_s - whole) * LIVE_LINK_FPS:06.3f}"


def _angles(row: TrackRow) -> list[float]:
    """Yaw, pitch and roll in radians of head, left eye and right eye, as ARKit signs them.

    There the head looks at the phone along +z: a positive yaw turns it to its left, a positive pitch down.
    """
    pitch, yaw, roll = np.radians(row.pose_deg)
    eyes = np.radians(row.eyes_deg)
    return [yaw, -pitch, roll, *(angle for eye in eyes for angle in (eye[1], -eye[0], 0.0))]


def live_link_packet(row: TrackRow, subject: str, device: uuid.UUID, fps: float) -> bytes:
    """A frame as Live Link Face sends it by UDP: version 6, names and numbers, 61 big-endian floats."""
    name = subject.encode()
    header = struct.pack("<I", 6) + b"$" + str(device).encode()
    frame = row.time_s * LIVE_LINK_FPS
    timing = struct.pack(">ifii", int(frame), frame - int(frame), max(1, round(fps)), 1)
    values = [*row.expression, *_angles(row)]
    return header + struct.pack(">i", len(name)) + name + timing + struct.pack(">B61f", 61, *values)


def vmc_messages(row: TrackRow) -> list[tuple[str, list[str | int | float]]]:
    """A frame for the VMC protocol (OSC): addresses and arguments, in Unity's left-handed axes."""
    eyes = {"LeftEye": row.eyes_deg[0], "RightEye": row.eyes_deg[1]}
    messages: list[tuple[str, list[str | int | float]]] = [("/VMC/Ext/OK", [1]), ("/VMC/Ext/T", [float(row.time_s)])]
    messages.append(("/VMC/Ext/Root/Pos", ["root", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    turns = {"Head": Rotation.from_matrix(row.rotation)}
    turns |= {name: Rotation.from_euler("yx", [eye[1], -eye[0]], degrees=True) for name, eye in eyes.items()}
    for bone, turn in turns.items():
        # Unity's head looks along +z with x to its own right: against ours, x is mirrored.
        x, y, z, w = turn.as_quat()
        messages.append(("/VMC/Ext/Bone/Pos", [bone, 0.0, 0.0, 0.0, float(x), float(-y), float(-z), float(w)]))
    for name, value in zip(ARKIT, row.expression, strict=True):
        messages.append(("/VMC/Ext/Blend/Val", [name, float(value)]))
    messages.append(("/VMC/Ext/Blend/Apply", []))
    return messages
