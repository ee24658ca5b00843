"""What the engine of `ostec dataset` costs: photos per second and memory over a long list, and over a plain loop.

    python tools/bench_dataset.py --photos 100000 --work DIR             # fake photos, everything else real
    python tools/bench_dataset.py --real PHOTOS --work DIR --repeats 3   # overhead on real photos, seconds per stage

With fake photos it also runs a part of them in a plain loop, without Ray. With real ones it takes turns: a plain loop
over `ostec.dataset.worker`, the engine with one worker; both from the first photo to the last, networks loaded.
"""

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fake_photos import LoadFakeMaker, write_photos
from ostec.dataset.build import Dataset
from ostec.dataset.executors import Job, RayExecutor, Resources
from ostec.dataset.plan import DatasetConfig
from ostec.dataset.records import Counts, Finished, Group, MakeMaker
from ostec.dataset.worker import LoadFaceMaker, Worker
from ostec.pipeline.settings import CompleteSettings

POINTS = 20
"""Of the curve of memory."""


@dataclass
class Watched:
    """An executor, with the time at which work began and ended, and the memory on the way."""

    executor: RayExecutor | None
    dataset: Dataset
    make: MakeMaker
    every: int
    start: float = 0.0
    end: float = 0.0
    busy: float = 0.0
    cpu: float = 0.0
    count: int = 0
    curve: list[str] = field(default_factory=list)

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        """As the executor does; without one, in a loop."""
        for finished in self._loop(groups) if self.executor is None else self.executor.run(groups):
            now = time.perf_counter()
            self.end, self.count, self.busy = now, self.count + 1, self.busy + finished.seconds
            if self.count <= self.dataset.config.batch:  # the first group was begun when its photos were
                self.start, self.cpu = now - self.busy, cpu_seconds(os.getpid())
            if self.count % self.every == 0:
                rate = self.count / (now - self.start)
                memory = memory_mb(os.getpid())
                seconds = cpu_seconds(os.getpid()) - self.cpu
                self.curve.append(f"{self.count:8d} {rate:8.1f}/s  CPU {seconds:7.1f} s  driver {memory:6.0f} MB")
                print(self.curve[-1], flush=True)
            yield finished

    def _loop(self, groups: Iterable[Group]) -> Iterator[Finished]:
        worker = Worker(self.dataset.store, self.make())
        yield from itertools.chain.from_iterable(map(worker, groups))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=10000)
    parser.add_argument("--loop-photos", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard-size", type=int, default=500)
    parser.add_argument("--real", type=Path, help="folder of photos to complete instead")
    parser.add_argument("--iterations", "-i", type=int, default=0, help="of real photos' views")
    parser.add_argument("--batch", type=int, default=1, help="real photos that are projected at once")
    parser.add_argument("--repeats", type=int, default=1, help="of loop and engine, with real photos")
    parser.add_argument("--work", type=Path, required=True, help="empty folder for photos and datasets")
    options = parser.parse_args()
    if options.real:
        return compare(options)
    photos, fewer = options.work / "photos", options.work / "fewer"
    write_photos(photos, options.photos)
    write_photos(fewer, options.loop_photos)
    measure(options, "loop", fewer, LoadFakeMaker(), False)
    measure(options, "ray", photos, LoadFakeMaker(), True)
    return 0


def compare(options: argparse.Namespace) -> int:
    """Loop and engine with one worker on the same photos, by turns."""
    settings = CompleteSettings(mode="soft", iterations=options.iterations)
    make = LoadFaceMaker(settings, "cpu", 1)
    options.workers = 1
    ratios = []
    for turn in range(options.repeats):
        loop = measure(options, f"loop{turn}", options.real, make, False)
        engine = measure(options, f"ray{turn}", options.real, make, True)
        ratios.append(engine / loop)
        print(f"turn {turn}: the engine takes {100 * (ratios[-1] - 1):+.2f} % more than the loop", flush=True)
    print(f"median of {len(ratios)}: {100 * (statistics.median(ratios) - 1):+.2f} %")
    print_stages(options.work / "ray0")
    return 0


def print_stages(folder: Path) -> None:
    """Mean seconds of a photo by stage."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / "timings.parquet").to_pylist()
    photos = {row["item"] for row in rows}
    for stage in dict.fromkeys(row["stage"] for row in rows):
        seconds = sum(row["seconds"] for row in rows if row["stage"] == stage)
        print(f"  {stage:10s} {seconds / len(photos):7.3f} s a photo")


def measure(options: argparse.Namespace, name: str, photos: Path, make: MakeMaker, on_ray: bool) -> float:
    """Build a dataset and print what it took; returns the seconds from the first photo to the end of the last."""
    config = DatasetConfig(shard_size=options.shard_size, batch=options.batch if options.real else 1)
    dataset = Dataset.create((options.work / name).absolute(), config)
    with dataset.locked():
        times = [time.perf_counter()]
        dataset.note_sources([str(photos)], "none")
        added = dataset.plan_noted(lambda _: (), lambda _: None)
        times.append(time.perf_counter())
        count = added.photos if added else 0
        job = Job(dataset.folder, options.shard_size, make)
        executor = RayExecutor(job, Resources(options.workers, gpus_per_worker=0.0)) if on_ray else None
        watched = Watched(executor, dataset, make, max(1, count // POINTS))
        counts = dataset.run(watched, report)
        times.append(time.perf_counter())
        dataset.write_results()
        times.append(time.perf_counter())
    plan, work, finish = (after - before for before, after in itertools.pairwise(times))
    working = watched.end - watched.start
    workers = options.workers if on_ray else 1
    print(f"{name}: {counts.done} done, {counts.failed} failed, {counts.faces} faces")
    print(f"  plan {plan:.1f} s, work {work:.1f} s ({work - working:.1f} s around it), end {finish:.1f} s")
    print(f"  {watched.count / working:.3f} photos/s; workers busy {100 * watched.busy / working / workers:.1f} %")
    return working


def report(counts: Counts, made: int) -> None:
    """Nothing to tell."""


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(ancestor: int) -> float:
    """CPU time so far of a process and those below it, as long as they run."""
    parents, ticks = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(place.name)], ticks[int(place.name)] = int(words[1]), int(words[11]) + int(words[12])
    below = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(ticks[pid] for pid in below) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
