"""A full disk and read-only folders stop a build with one sentence, and `resume` comes to the same bytes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools/full_disk_dataset.py"
NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def refusal(folder: Path) -> str:
    """Why no disk can be mounted here, empty if one can."""
    if not shutil.which("unshare"):
        return "there is no unshare on this machine"
    words = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    run = subprocess.run(words, capture_output=True, text=True, check=False)
    return f"no disk can be mounted: {run.stderr.strip()}" if run.returncode else ""


@pytest.mark.slow
def test_a_build_survives_full_disks_and_read_only_folders(tmp_path: Path) -> None:
    if reason := refusal(tmp_path):
        pytest.skip(reason)
    words = ["--photos", "10", "--sizes", "4", "--every", "7", "--work", str(tmp_path)]
    run = subprocess.run(
        [*NAMESPACE, sys.executable, str(TOOL), *words], capture_output=True, text=True, check=False, timeout=300
    )
    lines = run.stdout.splitlines()
    assert (run.returncode, lines[-1]) == (0, "0 things are wrong"), run.stdout + run.stderr
    for part in ("state/plan/", "state/staged/", "shards/N.tar"):
        assert any(f"DISK/ds/{part}" in line and "No space left on device" in line for line in lines), part
    assert (
        "  ostec: error: The build stops early: The folder DISK/ds/shards cannot be written to (Read-only" in run.stdout
    )
