"""Where a measurement was made: what another one must share to be compared with it."""

import os
import platform
import re
from pathlib import Path
from typing import Any

import torch

from ostec.export.record import versions


def described(device: torch.device) -> dict[str, Any]:
    """Processor, device, threads, versions, and how busy the machine is, as plain values."""
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
