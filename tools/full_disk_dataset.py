"""Fills the disk while a dataset is built, makes parts of it read-only, and compares what `resume` makes of it.

    sudo python tools/full_disk_dataset.py --work DIR

The disk runs full before each write, by its size and by its number of files. DIR/disk becomes a small disk of its own
(tmpfs), which must be allowed: to root, or below `unshare -rm`. The photos are fake; disk, commands and their exit
codes are real. In each case the build must end with one sentence and exit code 1, no photo may be blamed, and what
counts as done must be whole; with room again, `resume` must come to the bytes of an undisturbed build. Exits 1 if
anything differs.
"""

import argparse
import contextlib
import hashlib
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
from typing import Any

import ostec.app.cli
import ostec.app.photos.results  # what every build needs is imported once, before the processes fork
import ostec.dataset.build
from fake_photos import LoadFakeMaker, write_photos
from ostec.dataset import executors, worker
from ostec.dataset.executors import Job, RayWorker
from ostec.dataset.records import Finished, Group
from ostec.io import files

ROOMY = "64m"
PARTS = (
    *("", "shards", "shards/00000.tar", "shards/00001.tar", "shards/SHA256SUMS", "failures", "manifest.parquet"),
    *("state", "state/sealed", "state/staged", "state/timings/00000.jsonl", "state/plan", "config.json"),
)
"""Of a dataset, that become read-only; empty for the whole."""
PAGE = 4096


@dataclass(frozen=True)
class Level:
    """How the disk runs full."""

    name: str
    write: int = 0
    """Before this write, counted from 1, something else fills the disk; 0: the dataset does by itself."""
    left: int = 0
    """Bytes that it leaves."""
    options: str = f"size={ROOMY}"
    """Of the mount."""


@dataclass(frozen=True)
class Built:
    """What a command came to."""

    digests: dict[str, str]
    code: int
    said: str
    writes: int


@dataclass
class Totals:
    """What the levels came to."""

    levels: int = 0
    refused: int = 0
    """Where nothing could start: exit code 2."""
    fitted: int = 0
    sentences: set[str] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)


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
    parser.add_argument(
        "--ray", action="store_true", help="with Ray instead of a loop: 15 seconds a size, nothing else"
    )
    parser.add_argument("--work", type=Path, required=True, help="empty folder for photos, disk and datasets")
    options = parser.parse_args()
    photos, disk = options.work.absolute() / "photos", options.work.absolute() / "disk"
    write_photos(photos, options.photos)
    disk.mkdir()
    worker.LoadFaceMaker = lambda *_, **__: LoadFakeMaker()  # type: ignore[assignment,misc]
    if not options.ray:
        executors.RayExecutor = Loop  # type: ignore[assignment,misc]
    with mounted(disk, f"size={ROOMY}"):
        calm = build(photos, disk, Level("calm"), "build")
        used = os.statvfs(disk)
        pages, inodes = used.f_blocks - used.f_bfree, used.f_files - used.f_ffree
    print(f"undisturbed: exit code {calm.code}, {calm.writes} writes, {pages} pages, {inodes} files", flush=True)
    totals = Totals()
    writes = 0 if options.ray else calm.writes  # those of Ray's workers are not counted
    for level in levels(writes, pages, inodes, options.every, options.sizes):
        with mounted(disk, level.options):
            check(photos, disk, level, calm, totals)
    print(f"{totals.levels} full disks: {totals.fitted} had room enough, at {totals.refused} nothing could start")
    print_all(totals.sentences)
    wrong = totals.wrong
    totals = Totals()
    for write in range(writes // 2, writes, 2 * options.every):
        with mounted(disk, f"size={ROOMY}"):
            check_read_only(photos, disk, Level(f"stopped at write {write}", write), calm, totals)
    print(f"{totals.levels} read-only parts: {totals.fitted} were not to be written")
    print_all(totals.sentences)
    wrong += totals.wrong
    print_all(wrong, "WRONG")
    print(f"{len(wrong)} things are wrong")
    return 1 if wrong else 0


def print_all(sentences: Iterable[str], what: str = " ") -> None:
    """A line each."""
    for sentence in sorted(sentences):
        print(f"{what} {sentence}")


def levels(writes: int, pages: int, inodes: int, every: int, sizes: int) -> Iterator[Level]:
    """Fill the disk at writes, with no byte and with a page left; then disks that are too small, or hold few files."""
    for write in range(1, writes + 1, every):
        yield Level(f"write {write}", write)
        yield Level(f"write {write}, a page left", write, PAGE)
    for part in range(1, sizes + 1):
        size = max(2, pages * part // sizes)
        yield Level(f"{size} pages", options=f"size={size * PAGE}")
        count = max(2, inodes * part // sizes)
        yield Level(f"{count} files", options=f"size={ROOMY},nr_inodes={count}")


def check(photos: Path, disk: Path, level: Level, calm: Built, totals: Totals) -> None:
    """One level, and what follows when there is room again."""
    full = build(photos, disk, level, "build")
    totals.levels += 1
    errors = [line for line in full.said.splitlines() if "error:" in line]
    totals.sentences |= {shown(line, disk) for line in errors}
    wrong = []
    if not errors:
        totals.fitted += 1
        wrong += ["it did not fit and nobody said so"] if (full.code, full.digests) != (calm.code, calm.digests) else []
    elif len(errors) > 1 or "Traceback" in full.said or "Unexpected" in full.said:
        wrong.append(f"expected one sentence, got {full.said!r}")
    elif full.code != 1:
        begun = (disk / "ds/config.json").exists()
        totals.refused += 1
        wrong += [f"exit code {full.code}: {errors[0]}"] if begun or full.code != 2 else []
    wrong += half_written(disk / "ds", calm.digests)
    (disk / "filler").unlink(missing_ok=True)
    mount("-o", f"remount,size={ROOMY},nr_inodes=100000", str(disk))
    begun = (disk / "ds/config.json").exists()
    planned = (disk / "ds/state/plan/index.json").exists() or (disk / "ds/state/sources.json").exists()
    again = build(photos, disk, Level("again"), "resume" if begun and planned else "build")
    if (again.code, again.digests) != (calm.code, calm.digests) or "error:" in again.said:
        differ = sorted(dict(again.digests.items() ^ calm.digests.items()))
        wrong.append(f"then: exit code {again.code}, differ: {', '.join(differ)}; {again.said.strip()!r}")
    totals.wrong += [f"{level.name}: {what}" for what in wrong]


def shown(line: str, disk: Path) -> str:
    """A sentence without what differs between photos and shards."""
    return re.sub(r"\d+", "N", line.replace(str(disk), "DISK"))


def check_read_only(photos: Path, disk: Path, level: Level, calm: Built, totals: Totals) -> None:
    """A build is stopped; each part of what it has left becomes read-only, then writable again."""
    folder, stopped = disk / "ds", disk / "stopped"
    build(photos, disk, level, "build")
    (disk / "filler").unlink(missing_ok=True)
    folder.rename(stopped)
    for part in PARTS:
        if not (stopped / part).exists():
            continue
        shutil.copytree(stopped, folder)
        mount("--bind", str(folder / part), str(folder / part))
        mount("-o", "remount,ro,bind", str(folder / part))
        totals.levels += 1
        refused = build(photos, disk, Level("read-only"), "resume")
        errors = [line for line in refused.said.splitlines() if "error:" in line]
        totals.sentences |= {shown(line, disk) for line in errors}
        name = f"{level.name}, {part or 'all'} read-only"
        if not errors:
            totals.fitted += 1
        elif len(errors) > 1 or "Unexpected" in refused.said or refused.code != 1:
            totals.wrong.append(f"{name}: exit code {refused.code}, {refused.said!r}")
        totals.wrong += [f"{name}: {what}" for what in half_written(folder, calm.digests)]
        subprocess.run(["umount", str(folder / part)], check=True)
        again = build(photos, disk, Level("again"), "resume")
        if (again.code, again.digests) != (calm.code, calm.digests) or "error:" in again.said:
            totals.wrong.append(f"{name}, then: exit code {again.code}, {again.said!r}")
        shutil.rmtree(folder)


def half_written(folder: Path, calm: dict[str, str]) -> list[str]:
    """What a build that was stopped must not have left, in words."""
    wrong = [f"{path} was left" for path in folder.rglob(".ostec-*")]
    found = digests(folder)
    shards = [name for name in found if name.endswith(".tar")]
    wrong += [f"{name} is another one" for name in shards if found[name] != calm[name]]
    for path in (folder / "state/sealed").glob("*.jsonl"):
        head = json.loads(path.read_text().splitlines()[0])
        if head["sha256"] and found.get(f"shards/{path.stem}.tar") != head["sha256"]:
            wrong.append(f"{path.stem} counts as done and is not")
        wrong += blamed(map(json.loads, path.read_text().splitlines()[1:]))
    for path in (folder / "state/staged").glob("*/[0-9]*"):
        outcome = json.loads(path.read_bytes().split(b"\n")[0])
        wrong += blamed([outcome])
    return wrong


def blamed(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Photos that are said to have failed for another reason than their own."""
    own = ("is damaged and cannot be read.", "No face was found in the photo.")
    failed = [str(row.get("reason")) for row in rows if row["status"] == "failed"]
    return [f"a photo was blamed: {reason}" for reason in failed if not reason.endswith(own)]


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
        text = said.read().decode("utf-8", "replace")
        return Built(digests(disk / "ds"), code, text, int(count.read() or b"0"))


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
        with contextlib.suppress(OSError):
            while stream.write(bytes(1 << 20)):
                pass
        with contextlib.suppress(OSError):
            while stream.write(bytes(PAGE)):
                pass
        stream.truncate(stream.tell() - left)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of what must not depend on the disk."""
    names = [folder / "manifest.parquet", folder / "README.md"]
    names += [path for part in ("shards", "failures") for path in (folder / part).glob("*")]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(names)
        if path.is_file()
    }


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
