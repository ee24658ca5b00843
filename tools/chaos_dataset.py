"""Kills workers, driver and Ray at random while a dataset is built, and compares it with an undisturbed build.

    python tools/chaos_dataset.py --photos 200 --kills 20 --work DIR

The photos are fake, all else is real; each face has in it who was done together with its photo, as the last digits of
a real one have. What is killed (kill -9): workers, the driver with another one after it, Ray's raylet and its control
service, in the shares of TARGETS. Prints a line a kill. Exits 1 if bytes of shards, manifest, card or failures differ,
if a photo is missing or there twice, or if the build was done before all kills had hit.
"""

import argparse
import hashlib
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fake_photos import FakeMaker, write_photos
from ostec.core.errors import OstecError
from ostec.dataset.build import Dataset
from ostec.dataset.executors import Job, RayExecutor, Resources
from ostec.dataset.manifest import read_manifest
from ostec.dataset.plan import DatasetConfig
from ostec.dataset.records import Counts, Face, Made, Photo
from ostec.dataset.verify import verify

TARGETS = {"worker": "ray::RayWorker", "raylet": "/raylet/raylet", "control service": "gcs_server", "driver": ""}
"""What is killed -> what its command line holds."""
SHARES = ("worker", "driver", "worker", "raylet", "driver", "worker", "control service")
"""In which the kills are dealt, before they are shuffled."""
SIGNS = ("A worker has died and is replaced.", "Ray has died")
"""What a driver says of kills that it has survived."""
SHARD_SIZE = 32
MARK = "OSTEC_CHAOS"
"""In the environment of what may be killed."""
MOST_DRIVERS = 4
"""That may end by themselves in a row before the tool gives up."""


@dataclass(frozen=True)
class TogetherMaker:
    """Makes fake faces that tell who was done together."""

    seconds: float

    @property
    def weights(self) -> dict[str, str]:
        """As in the records."""
        return FakeMaker(self.seconds).weights

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Make them."""
        digest = hashlib.sha256(b"".join(photo.data for photo in photos)).digest()
        made = FakeMaker(self.seconds)(photos)
        return [
            replace(one, faces=[Face(face.record, {**face.files, "together.bin": digest}) for face in one.faces])
            for one in made
        ]


@dataclass(frozen=True)
class LoadTogetherMaker:
    """Travels to the workers."""

    seconds: float

    def __call__(self) -> TogetherMaker:
        """Load."""
        return TogetherMaker(self.seconds)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.5, help="what a photo takes")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch", type=int, default=3, help="photos that are done together")
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=SHARES)
    parser.add_argument("--work", type=Path, required=True, help="empty folder for photos and datasets")
    parser.add_argument("--address", default="", help="used with --drive: of a running cluster")
    parser.add_argument("--drive", type=Path, help="used by the program itself: build this dataset")
    options = parser.parse_args()
    if options.drive:
        return drive(options)
    photos = options.work / "photos"
    write_photos(photos, options.photos)
    calm, chaos = options.work / "calm", options.work / "chaos"
    if run(options, calm).wait() != 0:
        print("the undisturbed build failed")
        return 1
    kills = disturb(options, chaos)
    one, other = digests(calm), digests(chaos)
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"{sum(kills.values())} kills: {', '.join(f'{count} {what}' for what, count in sorted(kills.items()))}")
    said = (chaos.parent / "chaos.log").read_text()
    print(", ".join(f"{said.count(sign)} times {sign!r}" for sign in SIGNS))
    print(f"{len(one)} files compared; {'differ: ' + ', '.join(differ) if differ else 'all equal'}")
    wrong = amiss(chaos, options.photos)
    wrong += [f"{options.kills} kills were asked for"] if sum(kills.values()) < options.kills else []
    print("\n".join(wrong or ["nothing lost, nothing twice"]))
    return 1 if differ or not one or wrong else 0


def amiss(folder: Path, photos: int) -> list[str]:
    """What is lost, there twice, damaged or left over, in words."""
    wrong = list(verify(folder, repair=False).problems)
    faces: dict[int, list[int]] = {}
    for row in read_manifest(folder / "manifest.parquet"):
        faces.setdefault(row["item"], []).append(row["face"])
        if row["status"] == "done" and faces[row["item"]][-1] != len(faces[row["item"]]):
            wrong.append(f"face {row['face']} of photo {row['item']} is out of place")
    wrong += [] if list(faces) == list(range(photos)) else [f"expected {photos} photos in order, found {len(faces)}"]
    return wrong + [f"{path} is left over" for path in (folder / "state/staged").iterdir()]


def drive(options: argparse.Namespace) -> int:
    """Build, or go on with, one dataset; what a killed process runs."""
    logging.basicConfig(level=logging.WARNING, format="  %(message)s")
    dataset = Dataset.create(options.drive.absolute(), DatasetConfig(shard_size=SHARD_SIZE, batch=options.batch))
    with dataset.locked():
        if not dataset.plan.shards:
            dataset.note_sources([str(options.work / "photos")], "none")
        dataset.plan_noted(lambda _: (), lambda _: None)
        job = Job(dataset.folder, SHARD_SIZE, LoadTogetherMaker(options.seconds))
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
    """Start a build in a process of its own; what it says is added to a file."""
    words = ["--photos", "0", "--seconds", str(options.seconds), "--workers", str(options.workers)]
    words += ["--batch", str(options.batch), "--work", str(options.work), "--drive", str(folder)]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        environment = os.environ | {MARK: str(folder)}
        return subprocess.Popen([sys.executable, __file__, *words], stdout=log, stderr=log, env=environment)


def disturb(options: argparse.Namespace, folder: Path) -> Counter[str]:
    """Build with kills; returns how many of each kind there were."""
    draw = random.Random(options.seed)
    deck = list(itertools.islice(itertools.cycle(options.targets), options.kills))
    draw.shuffle(deck)
    driver, kills, started, alone = run(options, folder), Counter[str](), time.monotonic(), 0
    while True:
        try:
            if draw.random() < 0.8:  # most kills meet work, some what goes before it
                wait_for_progress(driver, folder)
            code = driver.wait(draw.uniform(0.0, 1.5) if deck else None)
        except subprocess.TimeoutExpired:
            victims = [driver.pid] if deck[-1] == "driver" else find(f"{MARK}={folder}", TARGETS[deck[-1]])
            if victims:  # Ray may not have been started yet
                os.kill(draw.choice(victims), signal.SIGKILL)
                done = len(list((folder / "state/staged").glob("*/[0-9]*")))
                print(f"{time.monotonic() - started:6.1f} s: {deck[-1]} killed, {done} staged", flush=True)
                kills[deck.pop()] += 1
                alone = 0
            continue
        alone += code != -signal.SIGKILL
        if code == 0 or alone > MOST_DRIVERS:
            return kills
        print(f"{time.monotonic() - started:6.1f} s: the driver ended with {code}, another one goes on", flush=True)
        driver = run(options, folder)


def wait_for_progress(driver: subprocess.Popen[bytes], folder: Path) -> None:
    """Until this driver has had something staged, or has ended."""
    before = set((folder / "state").glob("*/*/*"))
    while driver.poll() is None and set((folder / "state").glob("*/*/*")) <= before:
        time.sleep(0.05)


def find(mark: str, words: str) -> list[int]:
    """Processes with a mark in their environment, orphans too, whose command line holds some words."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (place / "environ").read_bytes() and words.encode() in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return sorted(found)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what must not depend on the kills."""
    names = [folder / "manifest.parquet", folder / "README.md"]
    names += [path for part in ("shards", "failures") for path in (folder / part).glob("*")]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(names)
        if path.is_file()
    }


if __name__ == "__main__":
    sys.exit(main())
