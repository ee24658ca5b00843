"""``ostec dataset``: from many photos to a dataset of textures, on one machine or a cluster."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ostec.app.console import begin, say
from ostec.core.assets import MODELS_VARIABLE
from ostec.core.errors import OstecError, UsageError
from ostec.core.settings import CompleteSettings, Device, from_json, to_json
from ostec.core.text import shown

if TYPE_CHECKING:
    from ostec.dataset.build import Counts, Dataset
    from ostec.dataset.executors import Resources
    from ostec.dataset.plan import Added

logger = logging.getLogger(__name__)

SHIPPED_BATCH = 4
"""Photos projected at once with the generator that ships: a third less time on one core than one by one; more of them
gain next to nothing there."""
_LINE_S = 10.0
"""Between two lines about how far a build is."""


@dataclass(frozen=True)
class WorkerOptions:
    """What does the work."""

    workers: int = 0
    """Workers at once, each with the networks loaded; 0: one per GPU, else one per threads, as memory allows."""
    gpus_per_worker: float = -1.0
    """Share of a GPU that a worker takes, such as 0.5; -1: one GPU if there is any, none with --device cpu."""
    address: str = ""
    """Of a running Ray cluster, as HOST:6379, or auto; without it Ray is started on this machine for this build."""
    time_limit: float = 3600.0
    """Seconds a photo after which a worker that has not answered is ended and another one tries; 0: never."""
    device: Device = "auto"
    """Where a worker computes; auto takes CUDA where it works, else the CPU."""
    retry_failed: bool = False
    """Try again the photos that failed in an earlier run."""
    copy_failed: bool = False
    """Put copies of photos that fail into DS/failures, named by id."""
    quiet: bool = False
    """Say nothing but warnings and errors."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""


@dataclass(frozen=True)
class DatasetBuild:
    """Complete the faces of many photos into one dataset: shards, a manifest, a data card.

    It may be stopped at any time; the same command, or ostec dataset resume, goes on. Further sources can be added
    by further calls with the same settings.
    """

    source: tuple[str, ...]
    """Folders, photos, globs, lists of paths (.txt), tar or WebDataset archives, Parquet files with pictures."""
    out: str
    """Folder of the dataset; made if it does not exist."""
    licence: str = ""
    """Licence of the sources, for the data card."""
    attributes: str = ""
    """Table of the photos' attributes, such as age (.csv, .json, .jsonl, .parquet), or sources: what these have of
    their own, as columns or as NAME.json. They can be personal data."""
    shard_size: int = 500
    """Photos to a shard."""
    threads_per_worker: int = 1
    """CPU threads of a worker; results may differ in the last digit between numbers of threads."""
    batch: int = 0
    """Photos whose faces a worker projects at once; results may differ in the last digit between numbers. 0: 4 with
    the generator that ships, 1 with another one, whose larger pictures gain little and need much memory."""
    settings: CompleteSettings = field(default_factory=CompleteSettings)
    work: WorkerOptions = field(default_factory=WorkerOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.build import Dataset, DatasetConfig
        from ostec.dataset.labels import labels_of
        from ostec.dataset.sources import check_sources

        begin(self.work.quiet, self.work.verbose)
        if not self.source:
            raise UsageError("Name at least one folder, photo, list, archive or Parquet file.")
        if not self.out:
            raise UsageError("--out is empty.")
        if self.shard_size < 1 or self.threads_per_worker < 1:
            raise UsageError("--shard-size and --threads-per-worker must be 1 or more.")
        if self.batch < 0:
            raise UsageError("--batch must be 0 or more.")
        check_sources(self.source)
        if self.attributes:
            labels_of(self.attributes)  # so that a wrong table is refused before anything is written
        _resources(self.work, self.threads_per_worker)
        batch = self.batch or batch_for(self.settings)
        config = DatasetConfig(_absolute(self.settings), self.threads_per_worker, self.shard_size, batch)
        dataset = Dataset.create(Path(self.out).absolute(), config)
        return carry_out(dataset, self.work, lambda: dataset.note_sources(self.source, self.licence, self.attributes))


@dataclass(frozen=True)
class DatasetResume:
    """Go on with a build that was interrupted, with the settings that it was begun with."""

    dataset: str
    """Folder of the dataset."""
    work: WorkerOptions = field(default_factory=WorkerOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.build import Dataset

        begin(self.work.quiet, self.work.verbose)
        return carry_out(Dataset.open(Path(self.dataset).absolute()), self.work, lambda: None)


@dataclass(frozen=True)
class DatasetStatus:
    """Tell how far a build is; may be asked while it runs."""

    dataset: str
    """Folder of the dataset."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.build import Dataset

        begin(quiet=False, verbose=False)
        dataset = Dataset.open(Path(self.dataset).absolute())
        counts = dataset.count()
        sealed = sum(dataset.store.is_sealed(shard) for shard in range(dataset.plan.shards))
        say(_told(counts))
        say(f"{sealed} of {dataset.plan.shards} shards are finished.")
        if dataset.has_noted_sources:
            say("The sources have not been planned to the end; ostec dataset resume does.")
        say("A build is running." if dataset.is_locked() else "No build is running.")
        return 0


@dataclass(frozen=True)
class DatasetVerify:
    """Compare every byte of a dataset with what was written down when it was made.

    Exit code 1 if something is wrong.
    """

    dataset: str
    """Folder of the dataset."""
    repair: bool = False
    """Write anew what can be made from the rest; photos whose shard is damaged are done again by resume."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.verify import verify

        begin(quiet=False, verbose=False)
        found = verify(Path(self.dataset).absolute(), self.repair)
        for sentence in found.problems:
            say(sentence)
        for sentence in found.repaired:
            say(sentence)
        say(f"{found.faces} faces in {found.shards} shards were read; {len(found.problems)} problems were found.")
        return 1 if len(found.problems) > len(found.repaired) else 0


def carry_out(dataset: "Dataset", options: WorkerOptions, note: Callable[[], None]) -> int:
    """Plan and build under the lock; returns the exit code."""
    from ostec.app.results import listed_files
    from ostec.app.runner import Terminated, terminate_like_interrupt
    from ostec.dataset.executors import Job, RayExecutor
    from ostec.dataset.loading import LoadFaceMaker

    report = _Report(options.quiet)
    code = 0
    with dataset.locked(), terminate_like_interrupt():
        note()
        try:
            added = dataset.plan_noted(listed_files, report.planned)
            if added is not None:
                logger.info("%s", report.added(added))
            if options.retry_failed:
                logger.info("Tried again: %d photos that failed.", dataset.retry_failed())
            models = os.environ.get(MODELS_VARIABLE, "")
            make = LoadFaceMaker(dataset.config.settings, options.device, dataset.config.threads, models)
            job = Job(dataset.folder, dataset.config.shard_size, make, options.copy_failed)
            dataset.run(RayExecutor(job, _resources(options, dataset.config.threads)), report)
        except Terminated as error:
            code = error.exit_code
        except KeyboardInterrupt:
            code = 130
        except UsageError:
            raise
        except OstecError as error:
            logger.error("The build stops early: %s", error)
            code = 1
        dataset.write_results()
    counts = dataset.count()
    if code >= 128:
        logger.warning("Interrupted: what is done is kept, and ostec dataset resume goes on with the rest.")
    report.end(counts, dataset.folder)
    return code or int(counts.failed > 0)


def batch_for(settings: CompleteSettings) -> int:
    """Photos whose faces are projected at once, where nobody says."""
    return SHIPPED_BATCH if settings.projects and settings.generator == "default" else 1


def _resources(options: WorkerOptions, threads: int) -> "Resources":
    from ostec.dataset.executors import Resources

    if options.workers < 0:
        raise UsageError("--workers must be 0 or more.")
    if not options.time_limit >= 0:
        raise UsageError("--time-limit must be 0 or more.")
    gpus = options.gpus_per_worker
    gpus = 0.0 if options.device == "cpu" else gpus
    return Resources(options.workers, threads, gpus, options.address, options.time_limit)


def _absolute(settings: CompleteSettings) -> CompleteSettings:
    """Settings whose files are found from any folder."""
    for name in ("generator", "prior"):
        value = getattr(settings, name)
        if value in ("default", "none"):
            continue
        if not Path(value).is_file():
            raise UsageError(f"--{name} {value} does not exist.")
        settings = from_json(CompleteSettings, {**to_json(settings), name: str(Path(value).absolute())})
    return settings


class _Report:
    """Lines about how far a build is."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._start = self._last = time.monotonic()

    def planned(self, number: int) -> None:
        """So many sources have been looked at."""
        if self._is_due():
            self._say(f"{number} photos looked at")

    def __call__(self, counts: "Counts", made: int) -> None:
        """The build is so far, and this run has made so many."""
        if self._is_due():
            rate = made / max(time.monotonic() - self._start, 1e-9)
            left = f", about {_duration(counts.pending / rate)} left" if made and counts.pending else ""
            self._say(f"{_told(counts)} {rate:.2f} photos/s{left}.")

    def added(self, added: "Added") -> str:
        """What the sources have added to the plan, as a sentence."""
        parts = [f"{added.photos} new photos"]
        parts += [f"{added.copies} copies of them"] if added.copies else []
        parts += [f"{added.labelled} with attributes"] if added.labelled else []
        parts += [f"{added.known} known from before"] if added.known else []
        parts += [f"{added.unreadable} that cannot be read"] if added.unreadable else []
        return f"Planned: {', '.join(parts)}."

    def end(self, counts: "Counts", folder: Path) -> None:
        """The line at the end."""
        where = f" The reasons are in {shown(folder / 'failures')}." if counts.failed else ""
        self._say(f"{_told(counts)}{where}")

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last < _LINE_S:
            return False
        self._last = now
        return True

    def _say(self, text: str) -> None:
        if not self._quiet:
            say(text)


def _told(counts: "Counts") -> str:
    parts = [f"{counts.done} photos done with {counts.faces} faces", f"{counts.failed} failed"]
    parts += [f"{counts.skipped} copies skipped"] if counts.skipped else []
    parts += [f"{counts.pending} to do"] if counts.pending else []
    return f"{', '.join(parts)}."


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min"
