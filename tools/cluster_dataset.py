"""Builds a dataset on two Ray nodes, both on this machine, with fake photos, and compares it with one built alone.

    python tools/cluster_dataset.py --work DIR

Head, node and driver share a token, as Ray's RAY_AUTH_MODE=token wants it; no dashboard; an own folder for temporary
files. Exits 1 if a node had no worker or the bytes differ.
"""

import argparse
import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chaos_dataset import MARK, digests, find
from fake_photos import write_photos

PORT = 6397


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.2, help="what a photo takes")
    parser.add_argument("--work", type=Path, required=True, help="empty folder for photos and datasets")
    options = parser.parse_args()
    write_photos(options.work / "photos", options.photos)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    if build(options, "alone", []).wait():
        return 1
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as temp:
        head = start("head", "--head", f"--port={PORT}", f"--temp-dir={temp}", "--include-dashboard=false")
        time.sleep(20)
        node = start("node", f"--address=127.0.0.1:{PORT}")
        time.sleep(15)
        driver = build(options, "cluster", ["--address", f"127.0.0.1:{PORT}"])
        workers = {"head": 0, "node": 0}
        while driver.poll() is None:
            for name in workers:
                workers[name] = max(workers[name], len(find(f"{MARK}={name}", "ray::RayWorker")))
            time.sleep(0.5)
        for process in (node, head):
            process.terminate()
            process.wait()
    same = digests(options.work / "alone") == digests(options.work / "cluster")
    print(f"workers on head and node: {list(workers.values())}; {'equal' if same else 'different'} bytes")
    return int(driver.returncode != 0 or not same or 0 in workers.values())


def start(name: str, *words: str) -> subprocess.Popen[bytes]:
    """One node of one CPU; its name is in the environment of its workers."""
    ray = Path(sys.executable).with_name("ray")
    command = [str(ray), "start", "--block", "--num-cpus=1", "--object-store-memory=80000000", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {MARK: name})


def build(options: argparse.Namespace, name: str, more: list[str]) -> subprocess.Popen[bytes]:
    """Build in a process of its own."""
    words = ["--seconds", str(options.seconds), "--work", str(options.work), "--drive", str(options.work / name), *more]
    return subprocess.Popen([sys.executable, str(Path(__file__).with_name("chaos_dataset.py")), *words])


if __name__ == "__main__":
    sys.exit(main())
