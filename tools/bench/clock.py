"""Time and memory of a piece of work, without those of whoever watches it, and where they were measured."""

import contextlib
import gc
import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from ostec.export.record import versions

Now = Callable[[], float]
"""Seconds since some moment."""


def settle(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Clock:
    """A stopwatch for work in steps; it stands still while the bench looks at the results."""

    def __init__(self, device: torch.device, now: Now = time.perf_counter) -> None:
        """It does not run yet; ``device`` has to finish its work before the time is read."""
        self._device, self._now = device, now
        self._since: float | None = None
        self._total = self._marked = 0.0
        self.laps: list[float] = []
        """Seconds of each step."""

    @property
    def seconds(self) -> float:
        """Time of the work so far."""
        if self._since is None:
            return self._total
        settle(self._device)
        return self._total + self._now() - self._since

    def start(self) -> None:
        """The work begins or goes on. Raises ValueError if the clock runs already."""
        if self._since is not None:
            raise ValueError("expected a clock that stands still, got one that runs")
        settle(self._device)
        self._since = self._now()

    def stop(self) -> float:
        """The work pauses or ends; returns its seconds so far. Raises ValueError if the clock does not run."""
        if self._since is None:
            raise ValueError("expected a clock that runs, got one that stands still")
        self._total, self._since = self.seconds, None
        return self._total

    def mark(self) -> None:
        """A step begins."""
        self._marked = self.seconds

    def lap(self) -> None:
        """A step has ended, and the next one begins; for a clock that stands still too."""
        seconds = self.seconds
        self.laps.append(seconds - self._marked)
        self._marked = seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The clock stands still inside."""
        self.stop()
        try:
            yield
        finally:
            self.start()


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The most memory that a piece of work holds: the GPU's tensors, or on the CPU the process's resident pages."""

    def __init__(self, device: torch.device) -> None:
        """Counting begins."""
        self._device = device
        gc.collect()
        self._known = True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            _CLEAR.write_text("5")  # Linux: the high-water mark begins anew
        except OSError:
            self._known = False

    def mb(self) -> float | None:
        """MiB since counting began; None where the system does not tell."""
        if self._device.type == "cuda":
            return round(torch.cuda.max_memory_allocated(self._device) / 2**20, 1)
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if self._known else None
        return round(int(found[1]) / 1024, 1) if found else None


def described(device: torch.device) -> dict[str, Any]:
    """The machine: what another measurement must share to be compared, and how busy it is, as plain values."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "device_name": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
    if device.type == "cuda":
        found["device_name"] = torch.cuda.get_device_name(device)
        found["cuda"] = torch.version.cuda
        found["cudnn"] = torch.backends.cudnn.version()
        found["tf32"] = {
            "convolutions": torch.backends.cudnn.allow_tf32,
            "products": torch.backends.cuda.matmul.allow_tf32,
        }
    return found


def _processor() -> str:
    try:
        name = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        name = None
    return name[1].strip() if name else platform.processor() or platform.machine()
