"""What a run writes down about itself: ``run.jsonl`` and ``failures.jsonl``."""

import datetime
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from ostec.app.photos.sources import Photo
from ostec.export.record import Failure, append_run, write_failures

_MIN_INTERVAL_S = 2.0
"""Between two rewritings of failures.jsonl, which would otherwise cost a square of the number of failures."""


class Journal:
    """The two files of one run; the methods raise OutputError where one cannot be written."""

    def __init__(self, save_dir: Path, device: str) -> None:
        """``device``: where the networks are."""
        self._save_dir, self._device = save_dir, device
        self._failures: list[Failure] = []
        self._written = float("-inf")

    def start(self) -> datetime.datetime:
        """The time, at which work on some photos begins; the peak of the GPU's memory is counted from now."""
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats()
        return datetime.datetime.now(datetime.timezone.utc)

    def done(
        self, started: datetime.datetime, photo: Photo, name: str, stages: Mapping[str, float], seconds: float
    ) -> None:
        """Append a finished result to ``run.jsonl``: what :meth:`start` gave, seconds by stage and of the photo."""
        entry = {
            "name": name,
            "file": photo.path,
            "started": started.isoformat(timespec="milliseconds"),
            "host": platform.node(),
            "pid": os.getpid(),
            "device": self._device,
            "seconds": {stage: round(value, 4) for stage, value in stages.items()},
            "total_s": round(seconds, 3),
            "peak_memory_mb": _peak_memory_mb(),
        }
        if self._device.startswith("cuda"):
            import torch

            entry["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
        append_run(self._save_dir, entry)

    def failed(self, photo: Photo, stage: str, reason: str) -> None:
        """Note a failure; ``failures.jsonl`` has it within seconds, and at the latest after :meth:`write`."""
        self._failures.append(Failure(str(photo.path), stage, reason))
        if time.monotonic() - self._written > _MIN_INTERVAL_S:
            self.write()

    def write(self) -> None:
        """Rewrite ``failures.jsonl`` from this run's failures; empty if there is none."""
        write_failures(self._save_dir, self._failures)
        self._written = time.monotonic()


def _peak_memory_mb() -> float | None:
    """The largest resident size that the process has had so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
