"""No command asks the network for anything unless it is told to."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PHOTO, HOPPER = ROOT / "examples/astronaut.png", ROOT / "examples/grace_hopper.jpg"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("command", ["complete", "invert", "fuse", "track", "frontalize"])
def test_nobody_is_called(tmp_path: Path, command: str) -> None:
    """The system's calls, of all threads and processes: none to an address of the internet."""
    photos = [str(PHOTO), *([str(HOPPER)] if command == "fuse" else [])]
    options = {"fuse": ["--name", "a", "-i", "1"], "track": [], "frontalize": []}.get(command, ["-i", "1"])
    ostec = [sys.executable, "-m", "ostec", command, *photos, "--save-dir", str(tmp_path / "out"), *options]
    words = ["strace", "-f", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg", "-o", str(tmp_path / "calls")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([*words, *ostec], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    calls = (tmp_path / "calls").read_text()
    assert "exited with 0" in calls
    assert "AF_INET" not in calls
