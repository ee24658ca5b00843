"""Time and memory of a piece of work, and where they were measured."""

import gc
import os
import platform
import re
from collections.abc import Callable
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
