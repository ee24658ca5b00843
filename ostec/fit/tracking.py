"""Pose and expression of a known head, frame by frame: the identity is fixed, so only what moves is fitted.

Per frame a similarity and the expressions' coefficients in turn: bounded least squares with a term that holds on to the
frame before. The right-hand side is a product with a fixed matrix, the rest a problem of 52 unknowns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from ostec.core.types import DoubleArray, FloatArray
from ostec.fit.dense import weighted_similarity
from ostec.fit.settings import TrackFitSettings
from ostec.render.zbuffer import compiled


@dataclass(frozen=True)
class TrackedHead:
    """What a frame shows."""

    rotation: DoubleArray
    """[3, 3]: canonical to camera axes."""
    offset: DoubleArray
    """[2] pixels, y down: where the canonical origin is seen."""
    scale: float
    """Pixels per canonical millimetre."""
    expression: FloatArray
    """[K] in [0, 1]."""
    residual_mm: float
    """Mean distance of the landmarks from the moved head."""


class HeadTracker:
    """Fits one head to the landmarks of frame after frame."""

    def __init__(
        self, offsets: FloatArray, neutral: FloatArray, rigid_weight: FloatArray, settings: TrackFitSettings
    ) -> None:
        """Prepare.

        Args:
            offsets: [N, 3, K] canonical millimetres that each expression moves the landmarks by.
            neutral: [N, 3] the landmarks of the face at rest.
            rigid_weight: [N] how much each counts for the pose.
            settings: of the fit.
        """
        self.neutral, self._settings = neutral.astype(np.float64), settings
        self._offsets = offsets.astype(np.float64)
        self._rigid = rigid_weight.astype(np.float64)
        axes = np.array([1, 1, 1 / settings.depth_noise]) / settings.noise_mm
        flat = (self._offsets * axes[:, None]).reshape(-1, offsets.shape[2])  # [3 N, K]
        self._project = flat.T * np.tile(axes, len(neutral))  # [K, 3 N]
        self._gram = flat.T @ flat + np.eye(offsets.shape[2]) / settings.deviation**2
        self._last: TrackedHead | None = None
        self._time = 0.0

    def forget(self) -> None:
        """The next frame has nothing to do with the last: a cut, or another place."""
        self._last = None

    def __call__(self, landmarks: FloatArray, time_s: float) -> TrackedHead:
        """Fit one frame, later than the one before.

        Args:
            landmarks: [N, 3] in the photo frame.
            time_s: of the frame.
        """
        seen = landmarks.astype(np.float64) * [1, -1, -1]
        count = self._offsets.shape[2]
        start = self._last.expression.astype(np.float64) if self._last is not None else np.zeros(count)
        hold = 0.0
        if self._last is not None:
            hold = self._settings.hold * min(1.0, self._settings.hold_s / max(time_s - self._time, 1e-3))
        gram = self._gram + hold * np.eye(count)
        values, weight = start.copy(), self._rigid
        for _ in range(self._settings.iterations):
            points = self.neutral + self._offsets @ values
            scale, rotation, offset = weighted_similarity(points, seen, weight)
            local = (seen - offset) @ rotation / scale
            apart = np.linalg.norm(points - local, axis=1)
            weight = self._rigid / (1 + (apart / self._settings.robust_mm) ** 2)
            right = self._project @ (local - self.neutral).ravel() + hold * start - self._settings.sparsity
            _descend(gram, right, values, self._settings.sweeps)
        self._last = TrackedHead(
            rotation,
            np.array([offset[0], -offset[1]]),
            scale,
            values.astype(np.float32),
            float(np.linalg.norm(self.neutral + self._offsets @ values - local, axis=1).mean()),
        )
        self._time = time_s
        return self._last


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
