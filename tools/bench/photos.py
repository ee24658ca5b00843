"""Seconds per stage of one photo, photos per hour of many."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import torch

from bench.clock import Now, PeakMemory, settle
from ostec.core.errors import OstecError
from ostec.core.progress import STAGES

SAVE = "save"
"""What the table calls what comes after the stages: the files."""


class Completes(Protocol):
    """What is needed of a :class:`ostec.pipeline.Completer`."""

    device: torch.device

    def complete_all(self, photo: Path) -> Sequence[Any]:
        """Complete the faces of a photo, which have ``seconds`` by stage and ``save(directory, name)``."""


def measure_photos(
    completer: Completes,
    photos: Sequence[Path],
    folder: Path,
    repeats: int,
    tell: Callable[[str], None],
    now: Now = time.perf_counter,
) -> dict[str, Any]:
    """Complete every photo ``repeats`` times, round by round, after a first one that is not counted.

    Args:
        completer: holds the networks.
        photos: at least one; those that fail are named and left out.
        folder: for the results, each over the last.
        repeats: 1 or more.
        tell: is given a sentence about each round and each failure.
        now: the clock.

    Returns:
        Plain values: ``first_s``, the first photo with all that is compiled on first use; ``stages`` by name with
        ``median_s``, ``least_s``, ``most_s`` of all photos and rounds; ``s_per_photo`` and ``photos_per_hour`` with
        median and range over the rounds; ``photos``, ``failed``, ``peak_memory_mb``.

    Raises:
        OstecError: no photo could be done.
    """
    failed: list[dict[str, str]] = []

    def done(photo: Path) -> dict[str, float] | None:
        try:
            return _complete(completer, photo, folder, now)
        except OstecError as error:
            tell(f"{photo.name} is left out: {error}")
            failed.append({"file": photo.name, "reason": str(error)})
            return None

    work, first = [*photos], None
    while work and (first := done(work[0])) is None:
        del work[0]
    if first is None:
        raise OstecError(f"No photo could be completed: {failed[-1]['reason']}")
    memory = PeakMemory(completer.device)
    rounds: list[list[dict[str, float]]] = []
    for number in range(repeats):
        tell(f"Round {number + 1} of {repeats}: {len(work)} photos.")
        times = {photo: done(photo) for photo in work}
        work = [photo for photo in work if times[photo] is not None]
        rounds.append([found for found in times.values() if found is not None])
    if not any(rounds):
        raise OstecError(f"No photo could be completed again: {failed[-1]['reason']}")
    found = {"photos": len(work), "repeats": repeats, "failed": failed, "peak_memory_mb": memory.mb()}
    return {"first_s": sum(first.values()), **_figures(rounds), **found}


def _figures(rounds: Sequence[Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """Of photos' seconds by stage, round by round."""
    photos = [photo for done in rounds for photo in done]
    stages = {name: [photo[name] for photo in photos if name in photo] for name in (*STAGES, SAVE)}
    seconds = [sum(sum(photo.values()) for photo in done) / len(done) for done in rounds if done]
    return {
        "stages": {name: _spread(values) for name, values in stages.items() if values},
        "s_per_photo": _spread(seconds),
        "photos_per_hour": 3600 / median(seconds),
        "photos_per_hour_least": 3600 / max(seconds),
        "photos_per_hour_most": 3600 / min(seconds),
    }


def _complete(completer: Completes, photo: Path, folder: Path, now: Now) -> dict[str, float]:
    """Seconds of one photo by stage, and of its files; their sum is the wall time."""
    settle(completer.device)
    begun = now()
    faces = completer.complete_all(photo)
    for number, face in enumerate(faces):
        face.save(folder, f"photo{number}")
    settle(completer.device)
    total = now() - begun
    shared = STAGES[: STAGES.index("landmarks")]
    found: dict[str, float] = {}
    for number, face in enumerate(faces):
        for stage, seconds in face.seconds.items():
            if number == 0 or stage not in shared:
                found[stage] = found.get(stage, 0.0) + seconds
    return {**found, SAVE: max(0.0, total - sum(found.values()))}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median_s": median(values), "least_s": min(values), "most_s": max(values)}
