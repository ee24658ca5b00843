"""Pose and expression of a known head, frame by frame: the identity is fixed, so only what moves is fitted.

Per frame the pose that brings the face at rest onto the landmarks, in a perspective camera; then the expressions, by
bounded least squares against how landmarks answer to them (:class:`LandmarkResponse`), with a term that holds on to the
frame before.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ostec.core.morphable import LandmarkResponse
from ostec.core.types import DoubleArray, FloatArray
from ostec.fit.dense import weighted_similarity
from ostec.fit.settings import TrackFitSettings
from ostec.render.geometry import pose_from_rotation, rotation_from_pose
from ostec.render.zbuffer import compiled


@dataclass(frozen=True)
class View:
    """The camera: its axes are x right, y up, z towards the viewer, and it looks along -z."""

    focal: float
    """Pixels."""
    middle: tuple[float, float]
    """x, y in pixels of the principal point."""


@dataclass(frozen=True)
class TrackedHead:
    """What a frame shows."""

    rotation: DoubleArray
    """[3, 3]: canonical to camera axes."""
    place: DoubleArray
    """[3] millimetres: the canonical origin in camera axes."""
    expression: DoubleArray
    """[K] in [0, 1]."""


def first_pose(
    neutral: DoubleArray, seen: DoubleArray, rigid: DoubleArray, view: View
) -> tuple[DoubleArray, DoubleArray]:
    """A pose to begin with, from a camera without perspective."""
    scale, rotation, offset = weighted_similarity(neutral, seen * [1, -1, -1], rigid)
    x, y = (offset[:2] - np.array(view.middle) * [1, -1]) / scale
    return rotation, np.array([x, y, -view.focal / scale])


def _in_space(seen: DoubleArray, points: DoubleArray, rigid: DoubleArray, view: View) -> DoubleArray:
    """Landmarks [N, 3] in camera axes: on their rays at the depth of ``points``, with the depths that they claim."""
    depth = -points[:, 2:]
    flat = (seen[:, :2] - np.array(view.middle)) * [1, -1] * depth / view.focal
    claimed = -seen[:, 2] * depth.mean() / view.focal
    return np.column_stack([flat, claimed + rigid @ (points[:, 2] - claimed) / rigid.sum()])


def in_head_frame(
    neutral: DoubleArray, seen: DoubleArray, pose: tuple[DoubleArray, DoubleArray], rigid: DoubleArray, view: View
) -> DoubleArray:
    """Landmarks [N, 3] in canonical millimetres, as a head at ``pose`` has them."""
    rotation, place = pose
    return (_in_space(seen, neutral @ rotation.T + place, rigid, view) - place) @ rotation


def rigid_pose(
    neutral: DoubleArray,
    seen: DoubleArray,
    rigid: DoubleArray,
    view: View,
    settings: TrackFitSettings,
    start: tuple[DoubleArray, DoubleArray] | None = None,
) -> tuple[DoubleArray, DoubleArray]:
    """Rotation [3, 3] and place [3] that bring a face at rest onto landmarks: Gauss-Newton with Cauchy weights.

    Args:
        neutral: [N, 3] canonical millimetres.
        seen: [N, 3] in the photo frame.
        rigid: [N] weights.
        view: the camera.
        settings: of the fit.
        start: the pose of the frame before.
    """
    rotation, place = start or first_pose(neutral, seen, rigid, view)
    for _ in range(settings.pose_steps if start else 3 * settings.pose_steps):
        turned = neutral @ rotation.T
        there = turned + place
        depth = -there[:, 2]
        off = _in_space(seen, there, rigid, view) - there
        off[:, 2] /= settings.pose_depth_noise
        weight = rigid / (1 + (off**2).sum(1) / settings.robust_mm**2)
        # d there / d (turn, shift); the picture also moves with depth.
        jacobian = np.zeros((len(neutral), 3, 6))
        jacobian[:, 0, 1], jacobian[:, 0, 2] = turned[:, 2], -turned[:, 1]
        jacobian[:, 1, 0], jacobian[:, 1, 2] = -turned[:, 2], turned[:, 0]
        jacobian[:, 2, 0], jacobian[:, 2, 1] = turned[:, 1], -turned[:, 0]
        jacobian[:, [0, 1, 2], [3, 4, 5]] = 1
        jacobian[:, :2] += (there[:, :2] / depth[:, None])[..., None] * jacobian[:, 2:]
        jacobian[:, 2] /= settings.pose_depth_noise
        jacobian[:, 2, 3:] = 0  # claimed depths say nothing of the distance
        flat = jacobian.reshape(-1, 6)
        weighted = flat * np.repeat(weight, 3)[:, None]
        step = np.linalg.solve(weighted.T @ flat + 1e-9 * np.eye(6), weighted.T @ off.ravel())
        rotation = Rotation.from_rotvec(step[:3]).as_matrix() @ rotation
        place = place + step[3:]
        place[2] = min(place[2], -1.0)
    return rotation, place


class HeadTracker:
    """Fits one head to the landmarks of frame after frame."""

    def __init__(
        self,
        neutral: FloatArray,
        rigid: FloatArray,
        response: LandmarkResponse,
        settings: TrackFitSettings,
    ) -> None:
        """Track a face that is at rest, and nowhere yet.

        Args:
            neutral: [N, 3] its landmarks at rest, canonical millimetres.
            rigid: [N] how much each counts for the pose.
            response: how landmarks answer to expressions and poses.
            settings: of the fit.
        """
        self._neutral, self._rigid = neutral.astype(np.float64), rigid.astype(np.float64)
        self._response, self._settings = response, settings
        self._prior = np.eye(len(response.gram)) / settings.deviation**2
        self._last: TrackedHead | None = None
        self._pose: tuple[DoubleArray, DoubleArray] | None = None
        self._time = 0.0

    def forget(self) -> None:
        """The next frame has nothing to do with the last: a cut, or another place."""
        self._last = self._pose = None

    def __call__(self, landmarks: FloatArray, view: View, time_s: float) -> TrackedHead:
        """Fit one frame, later than the one before.

        Args:
            landmarks: [N, 3] in the photo frame.
            view: the camera.
            time_s: of the frame.
        """
        settings, response, seen = self._settings, self._response, landmarks.astype(np.float64)
        self._pose = rotation, place = rigid_pose(self._neutral, seen, self._rigid, view, settings, self._pose)
        moved = in_head_frame(self._neutral, seen, self._pose, self._rigid, view) - self._neutral
        turned = pose_features(pose_from_rotation(rotation))
        right = response.project @ moved.ravel() - response.pose @ turned - settings.sparsity
        gram = response.gram + self._prior
        values = np.zeros(len(gram))
        if self._last is not None:
            hold = settings.hold * min(1.0, settings.hold_s / max(time_s - self._time, 1e-3))
            values = self._last.expression.copy()
            gram, right = gram + hold * np.eye(len(gram)), right + hold * values
        _descend(gram, right, values, settings.sweeps)
        pitch, yaw, roll = np.array(pose_from_rotation(rotation)) + response.correction @ turned
        self._last, self._time = TrackedHead(rotation_from_pose(pitch, yaw, roll), place, values), time_s
        return self._last


def pose_features(pose_deg: tuple[float, float, float]) -> DoubleArray:
    """[9] what a pose bends landmarks by: odd or even in yaw and roll as a mirror image has it."""
    pitch, yaw, roll = np.array(pose_deg) / 20
    return np.array([1, pitch, pitch**2, yaw**2, yaw, roll, yaw * pitch, roll * pitch, yaw * roll])


@compiled
def _descend(gram, right, values, sweeps):  # type: ignore[no-untyped-def]
    """Coordinate descent for min v'Gv/2 - r'v with v in [0, 1], from the ``values`` that are there."""
    for _ in range(sweeps):
        moved = 0.0
        for k in range(len(values)):
            value = values[k] + (right[k] - gram[k] @ values) / gram[k, k]
            value = min(max(value, 0.0), 1.0)
            moved = max(moved, abs(value - values[k]))
            values[k] = value
        if moved < 1e-4:
            break


class OneEuro:
    """The One Euro filter (Casiez, Roussel and Vogel 2012) of vectors with time stamps of any rate.

    It follows fast movement at once and holds still what hardly moves: its cut-off frequency grows with the speed.
    """

    def __init__(self, min_cutoff: float | FloatArray, beta: float | FloatArray, speed_cutoff: float = 1.0) -> None:
        """Cut-offs in Hz (at rest; of the speed) and ``beta``, by which the first grows per unit a second."""
        self._min_cutoff, self._beta, self._speed_cutoff = min_cutoff, beta, speed_cutoff
        self.forget()

    def forget(self) -> None:
        """Begin anew with the next value."""
        self._value: Any = None
        self._speed: Any = 0.0
        self._time = 0.0

    def __call__(self, value: DoubleArray, time_s: float) -> DoubleArray:
        """The filtered value [K] at a time later than the last."""
        if self._value is None:
            self._value, self._time = value.copy(), time_s
            return self._value
        step = max(time_s - self._time, 1e-4)
        speed = (value - self._value) / step
        self._speed = self._speed + _share(self._speed_cutoff, step) * (speed - self._speed)
        cutoff = self._min_cutoff + self._beta * self._size(self._speed)
        self._value = self._value + _share(cutoff, step) * (value - self._value)
        self._time = time_s
        return self._value

    def _size(self, speed: DoubleArray) -> Any:
        return np.abs(speed)


class OneEuroRotation(OneEuro):
    """The same of rotations [3, 3]: differences are rotation vectors, in degrees, from the last value."""

    def __call__(self, value: DoubleArray, time_s: float) -> DoubleArray:
        """The filtered rotation at a time later than the last."""
        if self._value is None:
            self._value, self._time = value.copy(), time_s
            return self._value
        step = max(time_s - self._time, 1e-4)
        away = Rotation.from_matrix(value @ self._value.T).as_rotvec(degrees=True)
        self._speed = self._speed + _share(self._speed_cutoff, step) * (away / step - self._speed)
        cutoff = self._min_cutoff + self._beta * np.linalg.norm(self._speed)
        turn = Rotation.from_rotvec(_share(cutoff, step) * away, degrees=True)
        self._value = turn.as_matrix() @ self._value
        self._time = time_s
        return np.asarray(self._value)


def _share(cutoff: Any, step: float) -> Any:
    """How far a first-order low-pass of this cut-off (Hz) goes towards a value in ``step`` seconds."""
    return 1 / (1 + 1 / (2 * np.pi * np.maximum(cutoff, 1e-6) * step))


def both_ways(filtered: OneEuro, values: DoubleArray, times_s: DoubleArray) -> DoubleArray:
    """A whole recording [T, ...] filtered forwards and then backwards: without lag."""
    for order in (slice(None), slice(None, None, -1)):
        filtered.forget()
        times = np.abs(times_s[order] - times_s[order][0])
        passed = [filtered(value, time) for value, time in zip(values[order], times, strict=True)]
        values = np.array(passed)[order]
    return values
