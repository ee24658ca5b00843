"""Kills workers, driver and Ray at random while a dataset is built, and compares it with an undisturbed build.

    python tools/chaos_dataset.py --photos 200 --kills 20 --work DIR

The photos are fake, all else is real. What is killed (kill -9): a worker, the driver with `resume` after it, Ray's
raylet or its control service. Prints a line a kill; exits 1 if the bytes of shards or manifest differ.
"""

import argparse
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from fake_photos import LoadFakeMaker, write_photos

from ostec.core.errors import OstecError
from ostec.dataset.build import Counts, Dataset, DatasetConfig
from ostec.dataset.executors import Job, RayExecutor, Resources

TARGETS = {"worker": "ray::", "raylet": "/raylet/raylet", "control service": "gcs_server"}
"""What is killed -> what its command line holds."""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.3, help="what a photo takes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--targets", nargs="+", choices=["driver", *TARGETS], default=["driver", "worker", *TARGETS])
    parser.add_argument("--work", type=Path, required=True, help="empty folder for photos and datasets")
    parser.add_argument("--address", default="", help="used with --drive: of a running cluster")
    parser.add_argument("--drive", type=Path, help="used by the program itself: build this dataset")
    options = parser.parse_args()
    if options.drive:
        return drive(options)
    photos = options.work / "photos"
    write_photos(photos, options.photos)
    calm = run(options, options.work / "calm")
    if calm.wait() != 0:
        print("the undisturbed build failed")
        return 1
    kills = disturb(options, options.work / "chaos")
    one, other = digests(options.work / "calm"), digests(options.work / "chaos")
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"{kills} kills; {len(one)} files compared; {'differ: ' + ', '.join(differ) if differ else 'all equal'}")
    return 1 if differ or not one else 0


def drive(options: argparse.Namespace) -> int:
    """Build, or go on with, one dataset; what a killed process runs."""
    logging.basicConfig(level=logging.WARNING, format="  %(message)s")
    dataset = Dataset.create(options.drive, DatasetConfig(shard_size=32))
    with dataset.locked():
        if not dataset.plan.shards:
            dataset.note_sources([str(options.work / "photos")], "none")
        dataset.plan_noted(lambda _: (), lambda _: None)
        job = Job(dataset.folder.absolute(), 32, LoadFakeMaker(options.seconds))
        try:
            dataset.run(RayExecutor(job, Resources(options.workers, 1, 0.0, options.address)), report)
        except OstecError as error:
            print(f"  {error}")
            return 1
        dataset.write_results()
    return 0


def report(counts: Counts, made: int) -> None:
    """Nothing to tell."""


def run(options: argparse.Namespace, folder: Path) -> subprocess.Popen[bytes]:
    """Start a build in a process of its own."""
    words = ["--photos", "0", "--seconds", str(options.seconds), "--workers", str(options.workers)]
    words += ["--work", str(options.work), "--drive", str(folder)]
    return subprocess.Popen([sys.executable, __file__, *words])


def disturb(options: argparse.Namespace, folder: Path) -> int:
    """Build with kills; returns how many there were."""
    draw = random.Random(options.seed)
    driver, kills, started = run(options, folder), 0, time.monotonic()
    while True:
        try:
            if draw.random() < 0.8:  # most kills meet work, some what goes before it
                wait_for_progress(driver, folder)
            code = driver.wait(draw.uniform(0.0, 1.5) if kills < options.kills else None)
        except subprocess.TimeoutExpired:
            what = draw.choice(options.targets)
            victims = [driver.pid] if what == "driver" else find(driver.pid, TARGETS[what])
            if victims:
                os.kill(draw.choice(victims), signal.SIGKILL)
                kills += 1
                done = len(list((folder / "state/staged").glob("*/*")))
                print(f"{time.monotonic() - started:6.1f} s: {what} killed, {done} staged", flush=True)
            continue
        if code == 0:
            return kills
        print(f"{time.monotonic() - started:6.1f} s: the driver ended with {code}, another one goes on", flush=True)
        driver = run(options, folder)


def wait_for_progress(driver: subprocess.Popen[bytes], folder: Path) -> None:
    """Until this driver has had something staged, or has ended."""
    before = set((folder / "state").glob("*/*/*"))
    while driver.poll() is None and set((folder / "state").glob("*/*/*")) <= before:
        time.sleep(0.05)


def find(ancestor: int, words: str) -> list[int]:
    """Processes below another one whose command line holds some words."""
    parents, commands = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(place.name)] = (place / "cmdline").read_bytes().decode("utf-8", "replace")
        except OSError:
            continue
    below = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sorted(pid for pid in below - {ancestor} if words in commands[pid])


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what must not depend on the kills."""
    files = [folder / "manifest.parquet", folder / "README.md", *(folder / "shards").iterdir()]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(files)}


if __name__ == "__main__":
    sys.exit(main())
