"""``ostec dataset``: from many photos to a dataset of textures, on one machine or a cluster."""

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from ostec.app.checks import need_file, out_path
from ostec.app.console import begin, say
from ostec.app.options import DatasetFolder, Flag, Flat, NewDataset, Quiet, Verbose, option
from ostec.core.assets import MODELS_VARIABLE
from ostec.core.errors import AssetError, OstecError, OutputError, UsageError
from ostec.core.settings import NO_HEAD, Device, from_json, to_json
from ostec.core.text import counted, shown
from ostec.dataset.recipe import FILTER
from ostec.pipeline.settings import CompleteSettings

if TYPE_CHECKING:
    from ostec.app.photos.runner import Ending
    from ostec.dataset.build import Dataset
    from ostec.dataset.executors import Resources
    from ostec.dataset.plan import Added
    from ostec.dataset.records import Counts

logger = logging.getLogger(__name__)

SHIPPED_BATCH = 4
"""Photos projected at once with the generator that ships: a third less time on one core; more gain next to nothing."""
_LINE_S = 10.0  # between two lines about how far a build is


@dataclass(frozen=True)
class WorkerOptions:
    """What does the work."""

    workers: int = 0
    """Workers at once, each with the networks loaded; 0: one per GPU, else one per threads, as memory allows."""
    gpus_per_worker: float = -1.0
    """Share of a GPU that a worker takes, such as 0.5; -1: one GPU if there is any, none with --device cpu."""
    address: Annotated[str, option(metavar="HOST:PORT")] = ""
    """Of a running Ray cluster, as HOST:6379, or auto; without it Ray is started on this machine for this build."""
    time_limit: float = 3600.0
    """Seconds a photo after which a worker that has not answered is ended and another one tries; 0: never."""
    device: Device = "auto"
    """Where a worker computes; auto takes CUDA where it works, else the CPU."""
    retry_failed: Flag = False
    """Try again the photos that failed in an earlier run."""
    copy_failed: Flag = False
    """Put copies of photos that fail into DS/failures, named by id."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""
    verbose: Verbose = False
    """Say everything, and where unexpected errors come from."""


@dataclass(frozen=True)
class DatasetBuild:
    """Complete the faces of many photos into one dataset: shards, a manifest, a data card.

    It may be stopped at any time; the same command, or ostec dataset resume, goes on. Further sources can be added
    by further calls with the same settings.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Folders, photos, globs, lists of paths (.txt), tar or WebDataset archives, Parquet files with pictures."""
    out: NewDataset
    """Folder of the dataset; made if it does not exist."""
    licence: Annotated[str, option(metavar="TEXT")] = ""
    """Licence of the sources, for the data card."""
    attributes: Annotated[str, option(metavar="TABLE|sources")] = ""
    """Table of the photos' attributes, such as age (.csv, .json, .jsonl, .parquet), or sources: what these have of
    their own, as columns or as NAME.json. They can be personal data."""
    group: Annotated[str, option(metavar="COLUMN")] = ""
    """Attribute that says who is on a photo: photos of one person are fused to one face, as by ostec fuse."""
    recipe: Literal["complete", "ffhq-uv"] = "complete"
    """complete as ostec complete does; ffhq-uv: edit each face in the generator to even light, a neutral face and no
    turn, and make one texture of three views of that, its albedo, and the light and attributes that were measured."""
    edits: Annotated[str, option(metavar="default|FILE")] = "default"
    """Of the recipe ffhq-uv: default for the generator that ships, or a file of ostec train edits for another one."""
    shard_size: int = 500
    """Photos to a shard."""
    threads_per_worker: int = 1
    """CPU threads of a worker; results may differ in the last digit between numbers of threads."""
    batch: int = 0
    """Photos whose faces a worker projects at once; results may differ in the last digit between numbers. 0: 4 with
    the generator that ships, 1 with another one, whose larger pictures gain little and need much memory."""
    dry_run: Flag = False
    """Say what would be planned and done; write nothing."""
    settings: Flat[CompleteSettings] = field(default_factory=lambda: CompleteSettings(face_model=NO_HEAD))
    work: Flat[WorkerOptions] = field(default_factory=WorkerOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.attributes import Labels
        from ostec.dataset.build import Dataset
        from ostec.dataset.plan import DatasetConfig

        begin(self.work.quiet, self.work.verbose)
        if not self.source:
            raise UsageError("Name at least one folder, photo, list, archive or Parquet file.")
        out = out_path(self.out)
        if self.shard_size < 1 or self.threads_per_worker < 1:
            raise UsageError("--shard-size and --threads-per-worker must be 1 or more.")
        if self.batch < 0:
            raise UsageError("--batch must be 0 or more.")
        if self.group and (not self.attributes or self.settings.faces == "all"):
            raise UsageError("--group needs --attributes, and takes the largest face of each photo.")
        if self.attributes:
            Labels(self.attributes)  # so that a wrong table is refused before anything is written
        settings, edits = absolute(self.settings), self.edits
        if self.recipe == "ffhq-uv":
            settings, edits = recipe_settings(settings), absolute_edits(self.edits, settings.generator)
        _resources(self.work, self.threads_per_worker)
        need_here(settings, self.work.device, self.work.address)
        need_photos(self.source, out)
        batch = 1 if self.group else self.batch or batch_for(settings)
        numbers = self.threads_per_worker, self.shard_size, batch
        config = DatasetConfig(settings, *numbers, self.group, self.recipe, edits)
        if self.dry_run:
            return self._preview(Dataset.at(out, config))
        dataset = Dataset.create(out, config)
        return carry_out(dataset, self.work, lambda: dataset.note_sources(self.source, self.licence, self.attributes))

    def _preview(self, dataset: "Dataset") -> int:
        from ostec.app.photos.results import listed_files

        added = dataset.preview(self.source, self.attributes, listed_files, _Report(self.work.quiet).planned)
        shards = -(-(added.photos + added.copies) // self.shard_size)
        to_do = added.photos - added.unreadable + dataset.count().pending
        say(_planned(added))
        say(f"{counted(to_do, 'photo')} to do, {counted(shards, 'new shard')}; nothing was written.")
        return 0


@dataclass(frozen=True)
class DatasetResume:
    """Go on with a build that was interrupted, with the settings that it was begun with."""

    dataset: DatasetFolder
    """Folder of the dataset."""
    work: Flat[WorkerOptions] = field(default_factory=WorkerOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.build import Dataset

        begin(self.work.quiet, self.work.verbose)
        dataset = Dataset.open(Path(self.dataset).absolute())
        need_here(dataset.config.settings, self.work.device, self.work.address)
        return carry_out(dataset, self.work, lambda: None)


@dataclass(frozen=True)
class DatasetStatus:
    """Tell how far a build is; may be asked while it runs."""

    dataset: DatasetFolder
    """Folder of the dataset."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.build import Dataset, is_building

        begin(quiet=False, verbose=False)
        dataset = Dataset.open(Path(self.dataset).absolute())
        counts = dataset.count()
        sealed = sum(dataset.store.is_sealed(shard) for shard in range(dataset.plan.shards))
        say(_told(counts))
        say(f"{sealed} of {counted(dataset.plan.shards, 'shard is', 'shards are')} finished.")
        if dataset.has_noted_sources:
            say("The sources have not been planned to the end; ostec dataset resume does.")
        say("A build is running." if is_building(dataset.folder) else "No build is running.")
        return 0


@dataclass(frozen=True)
class DatasetVerify:
    """Compare shards, manifest, lists and seconds of a dataset with what was written down when they were made.

    Exit code 1 if something is wrong.
    """

    dataset: DatasetFolder
    """Folder of the dataset."""
    repair: Flag = False
    """Write anew what can be made from the rest; photos whose shard is damaged are done again by resume."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.verify import verify

        begin(quiet=False, verbose=False)
        found = verify(Path(self.dataset).absolute(), self.repair)
        for sentence in (*found.problems, *found.repaired):
            say(sentence)
        read = f"{counted(found.faces, 'face')} in {counted(found.shards, 'shard')}"
        say(f"Read: {read}; {counted(len(found.problems), 'problem was', 'problems were')} found.")
        return 1 if len(found.problems) > len(found.repaired) else 0


def carry_out(dataset: "Dataset", options: WorkerOptions, note: Callable[[], None]) -> int:
    """Plan and build under the lock; returns the exit code."""
    from ostec.app.photos.runner import terminate_like_interrupt

    report = _Report(options.quiet)
    try:
        with dataset.locked(), terminate_like_interrupt() as ending:
            code = _build(dataset, options, note, report, ending)
    except OutputError as error:
        logger.error("The build stops early: %s", error)
        code = 1
    counts = dataset.count()
    if code >= 128:
        logger.warning("Interrupted: what is done is kept, and ostec dataset resume goes on with the rest.")
    if counts.faces and dataset.config.recipe == "ffhq-uv":
        report.say(f"To leave out the worst tenth: ostec dataset filter {shown(dataset.folder)} --out DIR {FILTER}")
    where = f" The reasons are in {shown(dataset.folder / 'failures')}." if counts.failed else ""
    report.say(f"{_told(counts)}{where}")
    return code or int(counts.failed > 0)


def _build(
    dataset: "Dataset", options: WorkerOptions, note: Callable[[], None], report: "_Report", ending: "Ending"
) -> int:
    """Plan, build and write the results; returns the exit code. Raises UsageError, OutputError."""
    from ostec.app.photos.results import listed_files
    from ostec.dataset.executors import Job, RayExecutor
    from ostec.dataset.worker import LoadFaceMaker

    code = 0
    try:
        note()
        added = dataset.plan_noted(listed_files, report.planned)
        if added is not None:
            logger.info("%s", _planned(added))
        if options.retry_failed:
            logger.info("Tried again: %s that failed.", counted(dataset.retry_failed(), "photo"))
        models = os.environ.get(MODELS_VARIABLE, "")
        config = dataset.config
        made = config.recipe, config.edits
        make = LoadFaceMaker(config.settings, options.device, config.threads, models, bool(config.group), *made)
        job = Job(dataset.folder, config.shard_size, make, options.copy_failed)
        dataset.run(RayExecutor(job, _resources(options, config.threads)), report)
    except KeyboardInterrupt:
        code = ending.exit_code
    except UsageError:
        raise
    except OstecError as error:
        logger.error("The build stops early: %s", error)
        code = 1
    try:
        dataset.write_results()
    except OutputError as error:
        if code != 1:
            raise
        logger.debug("%s", error)  # the disk is full, as was said
    return code


def recipe_settings(settings: CompleteSettings) -> CompleteSettings:
    """Settings for FFHQ-UV's recipe, which takes the light out. Raises UsageError where nothing can be inverted."""
    if not settings.projects or settings.prior == "none":
        raise UsageError("--recipe ffhq-uv needs a generator, a prior and --iterations above 0.")
    return settings if settings.materials != "none" else replace(settings, materials="gltf")


def absolute_edits(edits: str, generator: str) -> str:
    """A file of edits that is found from any folder. Raises UsageError where it is missing, or of another generator."""
    if edits == "default":
        if generator != "default":
            raise UsageError("The edits that ship are of the generator that ships: ostec train edits makes others.")
        return edits
    need_file(edits, "The file of edits")
    return str(Path(edits).absolute())


def absolute(settings: CompleteSettings) -> CompleteSettings:
    """Settings whose files are found from any folder. Raises UsageError where one is missing."""
    for name in ("generator", "prior"):
        if (value := getattr(settings, name)) not in ("default", "none"):
            if not Path(value).is_file():
                raise UsageError(f"--{name} {value} does not exist.")
            settings = from_json(CompleteSettings, {**to_json(settings), name: str(Path(value).absolute())})
    return settings


def need_here(settings: CompleteSettings, device: Device, address: str) -> None:
    """See that the workers can load on this machine, if that is where they run: with no cluster's address.

    Loads no network. Raises AssetError if a file of a model is missing or damaged; the sentence says how to get it,
    BackendError if there is no GPU, and one was asked for.
    """
    from ostec.core.assets import find_model, load_manifest
    from ostec.load.morphable.read import READERS, read_morphable

    if address:
        return
    beside = Path(settings.prior).with_suffix(".json")
    if settings.prior not in ("default", "none") and not beside.is_file():
        raise AssetError(f"{beside}, which belongs to the prior, is missing.")
    if settings.face_model in READERS:
        name = READERS[settings.face_model][0]
        if any(find_model(name, entry.name) is None for entry in load_manifest(name).files):
            read_morphable(settings.face_model)  # knows which of them it can do without
    if device == "cuda":  # else PyTorch need not be imported
        from ostec.core.device import pick_device

        pick_device(device)


def need_photos(sources: Sequence[str], output: Path) -> None:
    """See that there is anything that may be a photo, before ``output`` is begun; a source without any is named.

    Raises UsageError if none of the sources has one, or one cannot be read.
    """
    from ostec.app.photos.results import listed_files
    from ostec.dataset.sources import Search

    empty = Search(listed_files, output).empty(sources)
    sentence = f"There is no photo in {', '.join(map(shown, empty))}."
    if len(empty) == len(sources):
        raise UsageError(sentence)
    if empty:
        logger.warning("%s", sentence)


def batch_for(settings: CompleteSettings) -> int:
    """Photos whose faces are projected at once, where nobody says."""
    return SHIPPED_BATCH if settings.projects and settings.generator == "default" else 1


def _resources(options: WorkerOptions, threads: int) -> "Resources":
    from ostec.dataset.executors import Resources

    gpus = options.gpus_per_worker
    if options.workers < 0:
        raise UsageError("--workers must be 0 or more.")
    if gpus != -1 and not 0 <= gpus < math.inf:
        raise UsageError("--gpus-per-worker must be 0 or more, or -1.")
    if gpus > 1 and gpus % 1:
        raise UsageError("--gpus-per-worker must be 1 or less, or a whole number.")
    if not options.time_limit >= 0:
        raise UsageError("--time-limit must be 0 or more.")
    gpus = 0.0 if options.device == "cpu" else gpus
    return Resources(options.workers, threads, gpus, options.address, options.time_limit)


class _Report:
    """Lines about how far a build is."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._start = self._last = time.monotonic()

    def planned(self, number: int) -> None:
        """So many sources have been looked at."""
        self._now_and_then(lambda _: f"{counted(number, 'photo')} looked at")

    def __call__(self, counts: "Counts", made: int) -> None:
        """The build is so far, and this run has made so many."""

        def line(seconds: float) -> str:
            rate = made / max(seconds, 1e-9)
            left = f", about {_duration(counts.pending / rate)} left" if made and counts.pending else ""
            return f"{_told(counts)} {rate:.2f} photos/s{left}."

        self._now_and_then(line)

    def _now_and_then(self, line: Callable[[float], str]) -> None:
        now = time.monotonic()
        if now - self._last >= _LINE_S:
            self._last = now
            self.say(line(now - self._start))

    def say(self, text: str) -> None:
        """A line, unless --quiet."""
        if not self._quiet:
            say(text)


def _planned(added: "Added") -> str:
    unreadable = f" ({added.unreadable} of them cannot be read)" if added.unreadable else ""
    parts = [f"{counted(added.photos, 'new photo')}{unreadable}"]
    parts += [f"{counted(added.copies, 'copy', 'copies')} of them"] if added.copies else []
    parts += [f"{added.labelled} with attributes"] if added.labelled else []
    parts += [f"{added.known} known from before"] if added.known else []
    return f"Planned: {', '.join(parts)}."


def _told(counts: "Counts") -> str:
    parts = [f"{counted(counts.done, 'photo')} done with {counted(counts.faces, 'face')}", f"{counts.failed} failed"]
    parts += [f"{counted(counts.skipped, 'copy', 'copies')} skipped"] if counts.skipped else []
    parts += [f"{counts.pending} to do"] if counts.pending else []
    return f"{', '.join(parts)}."


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" if minutes else "1 min"
