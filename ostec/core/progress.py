"""Stages of one photo: how long each took, how far the work is, what the user should know."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ostec.core.errors import OstecError

Progress = Callable[[str, float], None]
"""Called with the stage that begins and the fraction of the photo's work that is done, 0 to 1; it never falls."""

STAGES = ("read", "detect", "landmarks", "fit", "unwrap", "mask", "prior", "project", "stitch", "export")
"""In order; ``project`` only where views are projected."""
_PER_FACE = STAGES.index("landmarks")
"""The first stage that every face of a photo passes on its own."""


def never_falling(progress: Progress | None) -> Progress | None:
    """A callback that passes on the furthest fraction so far: a detection that proves no face is started over."""
    if progress is None:
        return None
    furthest = 0.0

    def report(stage: str, done: float) -> None:
        nonlocal furthest
        furthest = max(furthest, done)
        progress(stage, furthest)

    return report


@dataclass
class PhotoRun:
    """Times, warnings and progress of one photo, or of one of its faces."""

    progress: Progress | None
    weights: dict[str, float] = field(default_factory=dict)
    """How long a stage takes, where that is not 1, in units of the others."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By stage."""
    warnings: list[str] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)
    """What else the record shall hold."""
    face: int = 0
    """Which face this is, from 0; the faces share what is left after detection."""
    faces: int = 1
    stage: str = ""
    """That was entered last and has not ended."""
    _start: float = 0.0
    _beside: int = 1

    def enter(self, stage: str, beside: int = 1) -> None:
        """A stage begins, and the one before it ends; an empty name only ends it.

        Args:
            stage: one of :data:`STAGES`, or a name of somebody's own completer, which counts as ``project``; or empty.
            beside: how many faces pass it together, each answering for its share of the time.
        """
        now = time.perf_counter()
        if self.stage:
            share = (now - self._start) / self._beside
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + share
        self.stage, self._start, self._beside = stage, now, beside
        if stage:
            self.advance(0.0)

    def advance(self, share: float) -> None:
        """The stage that was entered is done by ``share``, 0 to 1."""
        if self.progress is None:
            return
        number = STAGES.index(self.stage if self.stage in STAGES else "project")
        costs = [self.weights.get(stage, 1.0) for stage in STAGES]
        shared, own = sum(costs[:_PER_FACE]), sum(costs[_PER_FACE:])
        done = sum(costs[:number]) + share * costs[number]
        if number >= _PER_FACE:
            done = shared + (done - shared + self.face * own) / self.faces
        self.progress(self.stage, done / (shared + own))

    @contextlib.contextmanager
    def named_in_errors(self) -> Iterator[None]:
        """Errors that leave it carry the stage in which they arose."""
        try:
            yield
        except OstecError as error:
            error.stage = error.stage or self.stage
            raise

    def of_face(self, number: int, count: int) -> "PhotoRun":
        """A fresh clock for one of ``count`` faces that starts from the photo's shared times, warnings and notes."""
        self.enter("")
        own = dict(self.seconds), list(self.warnings), dict(self.notes)
        return PhotoRun(self.progress, self.weights, *own, number, count)

    def finish(self) -> None:
        """All faces of the photo are done."""
        self.enter("")
        if self.progress is not None:
            self.progress(STAGES[-1], 1.0)
