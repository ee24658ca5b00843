"""Fills the disk while a dataset is built, makes parts of it read-only, and compares what `resume` makes of it.

    sudo python tools/full_disk_dataset.py --work DIR

The disk runs full before each write, by its size and by its number of files. DIR/disk becomes a small disk of its own
(tmpfs), which must be allowed: to root, or below `unshare -rm`. The photos are fake, a loop stands in for Ray; disk,
commands and their exit codes are real. In each case the build must end with one sentence and exit code 1, no photo may
be blamed, and what counts as done must be whole; with room again, `resume` must come to the bytes of an undisturbed
build. Exits 1 if anything differs.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import ostec.app.cli
import ostec.app.photos.results  # what every build needs is imported once, before the processes fork
import ostec.dataset.build
from chaos_dataset import digests
from fake_photos import LoadFakeMaker, write_photos
from ostec.dataset import executors, worker
from ostec.dataset.executors import Job, RayWorker
from ostec.dataset.records import Finished, Group
from ostec.io import files

ROOMY = "size=64m,nr_inodes=100000"
PAGE = 4096
PARTS = (
    *("", "shards", "shards/00000.tar", "shards/00001.tar", "shards/SHA256SUMS", "failures", "manifest.parquet"),
    *("state", "state/sealed", "state/staged", "state/plan", "config.json"),
)
"""Of a dataset, that become read-only; empty for the whole."""
OWN = ("is damaged and cannot be read.", "No face was found in the photo.")
"""Reasons of photos that fail by themselves."""


@dataclass(frozen=True)
class Level:
    """How the disk runs full."""

    name: str
    write: int = 0
    """Before this write, counted from 1, something else fills the disk; 0: the dataset does by itself."""
    left: int = 0
    """Bytes that it leaves."""
    options: str = ROOMY
    """Of the mount."""


@dataclass(frozen=True)
class Built:
    """What a command came to."""

    digests: dict[str, str]
    code: int
    said: str
    writes: int

    @property
    def errors(self) -> list[str]:
        """What it said was wrong."""
        return [line for line in self.said.splitlines() if "error:" in line]


@dataclass
class Totals:
    """What the levels came to."""

    levels: int = 0
    fitted: int = 0
    """Where nothing was said: there was room enough, or nothing was written there."""
    sentences: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, full: Built, disk: Path, calm: Built, begun: bool) -> None:
        """A build with a full disk, or a part that is read-only."""
        self.levels += 1
        self.fitted += not full.errors
        self.sentences |= {re.sub(r"\d+", "N", line.replace(str(disk), "DISK")) for line in full.errors}
        wrong = half_written(disk / "ds", calm.digests)
        if len(full.errors) > 1 or "Traceback" in full.said or "Unexpected" in full.said:
            wrong.append(f"expected one sentence, got {full.said!r}")
        elif full.errors and full.code != 1 and (begun or full.code != 2):
            wrong.append(f"exit code {full.code}: {full.errors[0]}")
        elif not full.errors and begun and (full.code, full.digests) != (calm.code, calm.digests):
            wrong.append("it did not fit and nobody said so")
        self.wrong += [f"{name}: {what}" for what in wrong]

    def compare(self, name: str, again: Built, calm: Built) -> None:
        """What follows when there is room again."""
        if (again.code, again.digests) != (calm.code, calm.digests) or again.errors:
            differ = sorted(dict(again.digests.items() ^ calm.digests.items()))
            self.wrong.append(f"{name}, then: exit code {again.code}, differ: {differ}; {again.said.strip()!r}")

    def told(self, what: str) -> None:
        """Print it."""
        print(f"{self.levels} {what}")
        print("\n".join(f"  {sentence}" for sentence in sorted(self.sentences)), flush=True)


class Loop:
    """Stands in for Ray: one worker in this process."""

    def __init__(self, job: Job, resources: object) -> None:  # noqa: ARG002 - as RayExecutor's
        self._worker = RayWorker(job)

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        """As :meth:`ostec.dataset.executors.RayExecutor.run`."""
        for group in groups:
            yield from self._worker.work([group])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=24)
    parser.add_argument("--every", type=int, default=1, help="fill the disk before every so manieth write only")
    parser.add_argument("--sizes", type=int, default=40, help="disks of so many sizes, too small for the dataset")
    parser.add_argument("--work", type=Path, required=True, help="empty folder for photos, disk and datasets")
    options = parser.parse_args()
    photos, disk = options.work.absolute() / "photos", options.work.absolute() / "disk"
    write_photos(photos, options.photos)
    disk.mkdir()
    worker.LoadFaceMaker = lambda *_, **__: LoadFakeMaker()  # type: ignore[assignment,misc]
    executors.RayExecutor = Loop  # type: ignore[assignment,misc]
    with mounted(disk, ROOMY):
        calm = build(photos, disk, Level("calm"), "build")
        used = os.statvfs(disk)
        pages, inodes = used.f_blocks - used.f_bfree, used.f_files - used.f_ffree
    print(f"undisturbed: exit code {calm.code}, {calm.writes} writes, {pages} pages, {inodes} files", flush=True)
    full, closed = Totals(), Totals()
    for level in levels(calm.writes, pages, inodes, options.every, options.sizes):
        with mounted(disk, level.options):
            check_full(photos, disk, level, calm, full)
    full.told(f"full disks: {full.fitted} had room enough")
    for write in range(calm.writes // 2, calm.writes, 2 * options.every):
        with mounted(disk, ROOMY):
            check_read_only(photos, disk, Level(f"stopped at write {write}", write), calm, closed)
    closed.told(f"read-only parts: {closed.fitted} were not to be written")
    wrong = [*full.wrong, *closed.wrong]
    print("\n".join([*(f"WRONG {what}" for what in wrong), f"{len(wrong)} things are wrong"]))
    return 1 if wrong else 0


def levels(writes: int, pages: int, inodes: int, every: int, sizes: int) -> Iterator[Level]:
    """Fill the disk at writes, with no byte and with a page left; then disks that are too small, or hold few files."""
    for write in range(1, writes + 1, every):
        yield Level(f"write {write}", write)
        yield Level(f"write {write}, a page left", write, PAGE)
    for part in range(1, sizes + 1):
        size, count = max(2, pages * part // sizes), max(2, inodes * part // sizes)
        yield Level(f"{size} pages", options=f"size={size * PAGE}")
        yield Level(f"{count} files", options=f"size=64m,nr_inodes={count}")


def check_full(photos: Path, disk: Path, level: Level, calm: Built, totals: Totals) -> None:
    """One level, and what follows when there is room again."""
    full = build(photos, disk, level, "build")
    begun = (disk / "ds/config.json").exists()
    totals.add(level.name, full, disk, calm, begun)
    (disk / "filler").unlink(missing_ok=True)
    mount("-o", f"remount,{ROOMY}", str(disk))
    planned = (disk / "ds/licences.json").exists() or (disk / "ds/state/sources.json").exists()
    totals.compare(level.name, build(photos, disk, Level("again"), "resume" if begun and planned else "build"), calm)


def check_read_only(photos: Path, disk: Path, level: Level, calm: Built, totals: Totals) -> None:
    """A build is stopped; each part of what it has left becomes read-only, then writable again."""
    folder, stopped = disk / "ds", disk / "stopped"
    build(photos, disk, level, "build")
    (disk / "filler").unlink(missing_ok=True)
    folder.rename(stopped)
    for part in PARTS:
        if not (stopped / part).exists():
            continue
        name, path = f"{level.name}, {part or 'all'} read-only", str(folder / part)
        shutil.copytree(stopped, folder)
        mount("--bind", path, path)
        mount("-o", "remount,ro,bind", path)
        totals.add(name, build(photos, disk, Level("read-only"), "resume"), disk, calm, begun=True)
        subprocess.run(["umount", path], check=True)
        totals.compare(name, build(photos, disk, Level("again"), "resume"), calm)
        shutil.rmtree(folder)


def half_written(folder: Path, calm: dict[str, str]) -> list[str]:
    """What a build that was stopped must not have left, in words."""
    wrong = [f"{path} was left" for path in folder.rglob(".ostec-*")]
    found = digests(folder)
    wrong += [f"{name} is another one" for name in found if name.endswith(".tar") and found[name] != calm[name]]
    lines = []
    for path in (folder / "state/sealed").glob("*.jsonl"):
        head, *rows = map(json.loads, path.read_text().splitlines())
        if head["sha256"] and found.get(f"shards/{path.stem}.tar") != head["sha256"]:
            wrong.append(f"{path.stem} counts as done and is not")
        lines += rows
    staged = (folder / "state/staged").glob("*/[0-9]*")
    lines += [json.loads(path.read_bytes().split(b"\n")[0]) for path in staged]
    failed = [str(line.get("reason")) for line in lines if line["status"] == "failed"]
    return wrong + [f"a photo was blamed: {reason}" for reason in failed if not reason.endswith(OWN)]


def build(photos: Path, disk: Path, level: Level, command: str) -> Built:
    """Run a command in a process of its own."""
    words = ["dataset", command, *([str(photos), "--out"] if command == "build" else []), str(disk / "ds")]
    words += [*(["--shard-size", "8", "--licence", "none"] if command == "build" else []), "--workers", "2"]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as count:
        child = os.fork()
        if not child:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            code = 99
            with contextlib.suppress(BaseException):
                code = run(words, disk / "filler", level, count.fileno())
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        count.seek(0)
        return Built(digests(disk / "ds"), code, said.read().decode("utf-8", "replace"), int(count.read() or b"0"))


def run(words: list[str], filler: Path, level: Level, count: int) -> int:
    """What the process does."""
    writes = 0
    original = files.part_of

    def part_of(folder: Path, number: int | None = None) -> Path:
        nonlocal writes
        writes += 1
        os.pwrite(count, str(writes).encode(), 0)
        if writes == level.write:
            fill(filler, level.left)
        return original(folder, number)

    files.part_of = part_of
    return ostec.app.cli.main(words)


def fill(path: Path, left: int) -> None:
    """Take all room of a disk but for so many bytes."""
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 20, PAGE):
            with contextlib.suppress(OSError):
                while stream.write(bytes(size)):
                    pass
        stream.truncate(stream.tell() - left)


@contextlib.contextmanager
def mounted(disk: Path, options: str) -> Iterator[None]:
    """A disk of its own, while it is needed."""
    mount("-t", "tmpfs", "-o", options, "tmpfs", str(disk))
    try:
        yield
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def mount(*words: str) -> None:
    """Call mount."""
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    sys.exit(main())
