"""From a video of one person to the few frames that show the face best, from all sides that the video shows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostec.core.device import threads
from ostec.core.errors import FaceError
from ostec.core.types import EYE_CORNERS, ByteArray, FaceLandmarks, FloatArray
from ostec.detect.faces import detect_faces, largest
from ostec.detect.landmarks import crop_around_landmarks, detect_landmarks, detect_landmarks_in
from ostec.detect.settings import DetectSettings, LandmarkSettings
from ostec.fit.dense import fit_dense
from ostec.io.video import Frame, Video
from ostec.pipeline.models import Models

STEP_S = 0.25
"""Seconds between frames that are looked at; a longer video is looked at about ``MOST_LOOKS`` times."""
MOST_LOOKS = 240
YAW_BIN_DEG = 6.0
"""Yaws this far apart count as different sides."""
FEWEST, MOST = 8, 16
"""Keyframes, if the video has as many looks at the face."""
SURE = 0.8
"""FaceMesh's probability below which a look counts for nothing, and the face is detected anew."""
OPEN_MOUTH = 0.08
"""Gap between the lips over the distance of the outer eye corners at which a look is worth half."""
ROOM = 0.8
"""What is kept round the face on every side, in sides of the landmarks' box."""
_LIPS = (13, 14)
_EYES_PX = 90.0
"""Distance of the outer eye corners at which sharpness is measured."""
_DETECT, _LOOK = DetectSettings(max_side=640), LandmarkSettings(looks=1)


@dataclass(frozen=True)
class Keyframe:
    """One frame of a video, cut to the face and what is round it."""

    image: ByteArray
    """[H, W, 3] RGB."""
    time_s: float
    yaw_deg: float
    score: float
    """Of sharpness, confidence and a closed mouth."""


@dataclass(frozen=True)
class Keyframes:
    """What was chosen from a video."""

    frames: tuple[Keyframe, ...]
    """In the order of time."""
    broken: bool
    """Whether the file broke off before its end."""


def choose_keyframes(path: Path, models: Models, on_progress: Callable[[float], None]) -> Keyframes:
    """Look through a video once; memory does not grow with its length.

    Args:
        path: of the video.
        models: detector, landmarks and topology.
        on_progress: called with the share of the video that has been looked through.

    Raises:
        ImageError: the video cannot be read.
        FaceError: no frame shows a face well.
    """
    video = Video(path)
    step = max(STEP_S, video.declared / video.fps / MOST_LOOKS)
    kept: dict[int, list[Keyframe]] = {}
    landmarks, due, count = None, 0.0, 0
    with threads(1):
        for frame in video:
            count += 1
            if frame.time_s < due:
                continue
            due = frame.time_s + step
            on_progress(min(count / max(video.declared, 1), 1.0))
            landmarks = _follow(frame.image, landmarks, models)
            if landmarks is not None:
                _keep(kept, _judged(frame, landmarks, models))
    frames = _chosen(kept)
    if not frames:
        raise FaceError(f"No frame of {path.name} shows a face well.")
    return Keyframes(frames, count < 0.9 * video.declared)


def _follow(image: ByteArray, before: FaceLandmarks | None, models: Models) -> FaceLandmarks | None:
    """The face where it was in the frame before, or else wherever the detector finds the largest."""
    if before is not None:
        cut, low = _cut(image, before.points)
        if min(cut.shape[:2]) > 1:
            roi = crop_around_landmarks(before.points[:, :2] - low)
            found = detect_landmarks_in(_floats(cut), roi, models.facemesh, _LOOK)
            if found.confidence >= SURE:
                return FaceLandmarks(found.points + np.array([*low, 0], np.float32), found.confidence)
    whole = _floats(image)
    box = largest(detect_faces(whole, models.mtcnn, _DETECT))
    if box is None:
        return None
    found = detect_landmarks(whole, box, models.facemesh, _LOOK)
    return found if found.confidence >= SURE else None


def _judged(frame: Frame, landmarks: FaceLandmarks, models: Models) -> Keyframe:
    points = landmarks.points
    eyes = float(np.linalg.norm(points[EYE_CORNERS[0]] - points[EYE_CORNERS[1]]))
    gap = float(np.linalg.norm(points[_LIPS[0]] - points[_LIPS[1]])) / max(eyes, 1e-6)
    score = landmarks.confidence * _sharpness(frame.image, points, eyes) / (1 + (gap / OPEN_MOUTH) ** 2)
    yaw = fit_dense(landmarks, models.topology).pose_deg[1]
    return Keyframe(np.ascontiguousarray(_cut(frame.image, points)[0]), frame.time_s, yaw, score)


def _sharpness(image: ByteArray, points: FloatArray, eyes: float) -> float:
    """Variance of the Laplacian over that of the picture, of the face at one scale: motion and focus blur lower it."""
    import cv2

    low, high = (np.clip(edge, 0, image.shape[1::-1]).astype(int) for edge in (points.min(0)[:2], points.max(0)[:2]))
    face = image[low[1] : high[1], low[0] : high[0]]
    if min(face.shape[:2]) < 2:
        return 0.0
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32)
    zoom = min(1.0, _EYES_PX / max(eyes, 1e-6))
    grey = cv2.resize(grey, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(grey, (0, 0), 0.8)  # noise is no sharpness
    return float(cv2.Laplacian(blurred, cv2.CV_32F).var() / max(float(grey.var()), 1.0)) * min(1.0, eyes / _EYES_PX)


def _keep(kept: dict[int, list[Keyframe]], one: Keyframe) -> None:
    """Keep the best looks from each side, a second apart, as many as could be needed if there was no other side."""
    side = kept.setdefault(round(one.yaw_deg / YAW_BIN_DEG), [])
    near = [other for other in side if abs(other.time_s - one.time_s) < 1.0]
    if any(other.score >= one.score for other in near):
        return
    side[:] = [other for other in side if other not in near]
    side.append(one)
    side.sort(key=lambda other: -other.score)
    del side[FEWEST // min(len(kept), FEWEST) + 1 :]


def _chosen(kept: dict[int, list[Keyframe]]) -> tuple[Keyframe, ...]:
    """The best look from each side; from few sides the second best looks as well."""
    sides = [side for side in kept.values() if side]
    found: list[Keyframe] = []
    for rank in range(FEWEST):
        if rank and len(found) >= FEWEST:
            break
        found += sorted((side[rank] for side in sides if len(side) > rank), key=lambda one: -one.score)
    return tuple(sorted(found[:MOST], key=lambda one: one.time_s))


def _cut(image: ByteArray, points: FloatArray) -> tuple[ByteArray, FloatArray]:
    """The face and what is round it, and where its top-left corner lies, (x, y)."""
    low, high = points.min(0)[:2], points.max(0)[:2]
    room = ROOM * float((high - low).max())
    size = np.array(image.shape[1::-1])
    first, last = (np.clip(edge, 0, size).astype(int) for edge in (low - room, high + room))
    return image[first[1] : last[1], first[0] : last[0]], first.astype(np.float32)


def _floats(image: ByteArray) -> FloatArray:
    return image.astype(np.float32) / np.float32(255)
