"""What the tabs ask for, carried out by the same classes as the command line's; nothing here knows Gradio."""

import logging
import shutil
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ostec.app.photos.batch import CompleteRun, prepared
from ostec.app.photos.options import BatchOptions, DeviceOptions
from ostec.app.photos.runner import Ending, Step
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.app.track.options import TrackOptions
from ostec.app.track.run import Source, TrackRun
from ostec.app.web.jobs import Cancelled, Job
from ostec.app.web.live import LONGEST_S, Live
from ostec.app.web.sessions import Result, Session
from ostec.core.errors import FaceError, OstecWarning, UsageError
from ostec.core.progress import PhotoRun
from ostec.core.settings import Device
from ostec.core.text import counted, shown
from ostec.export.page import THUMBNAIL
from ostec.io.files import write_atomic
from ostec.io.images import as_picture, at_most, encode_jpeg
from ostec.pipeline.settings import CompleteSettings

if TYPE_CHECKING:
    from ostec.pipeline import Completer
    from ostec.pipeline.tracking import Tracker

logger = logging.getLogger(__name__)

KEPT_COMPLETERS = 3
"""Sets of settings whose networks stay loaded."""
SHEET_FACES = 36
"""Of a dataset, in its picture."""
ANY_YAW_DEG = 90.0
"""No limit to the yaw."""
PREVIEW_SIDE = 720
"""Pixels of the picture of a dropped photo."""


@dataclass(frozen=True)
class Looked:
    """A dropped photo, and where its faces are."""

    name: str
    preview: str
    """Address of a small picture of it."""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    """Of each face, largest first: left, top, width, height in per cent of the picture."""
    problem: str = ""
    """Why it cannot be used."""


class Loaded:
    """The networks, loaded once for each set of settings; used by the worker's thread alone."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._completers: OrderedDict[str, Completer] = OrderedDict()

    def completer(self, settings: CompleteSettings) -> "Completer":
        """One with these settings."""
        from ostec.pipeline import Completer

        key = repr(settings)
        made = self._completers.pop(key, None) or Completer.from_pretrained(settings, self.device)
        self._completers[key] = made
        while len(self._completers) > KEPT_COMPLETERS:
            self._completers.popitem(last=False)
        return made

    def any(self) -> "Completer":
        """The one that was used last, for what does not depend on settings."""
        return next(reversed(self._completers.values()), None) or self.completer(CompleteSettings(iterations=0))


def look(loaded: Loaded, session: Session, tab: str, job: Job) -> list[Looked]:
    """Read the photos that were dropped on a tab, and find their faces."""
    found, completer = [], loaded.any()
    paths = list(session.photos.get(tab, ()))
    for number, path in enumerate(paths):
        job.progress("look", number / len(paths))
        found.append(_look(completer, session, path, f"{tab}{number}"))
    return found


def _look(completer: "Completer", session: Session, path: Path, stem: str) -> Looked:
    from ostec.core.errors import OstecError
    from ostec.pipeline.observe import read_photo

    try:
        image = read_photo(path).image
        place, address = session.preview(f"{stem}-{len(list((session.folder / 'previews').glob('*')))}.jpg")
        write_atomic(place, encode_jpeg(at_most(image, PREVIEW_SIDE)))
    except OstecError as error:
        return Looked(path.name, "", problem=str(error).replace(str(path), path.name))
    try:
        boxes = completer.observer.open(path, PhotoRun(None))[1]
    except FaceError as error:
        return Looked(path.name, address, problem=str(error))
    size = np.array([image.shape[1], image.shape[0]] * 2)
    shares = [100 * np.clip(box.box, 0, size) / size for box in boxes]
    rounded = [(float(x0), float(y0), float(x1 - x0), float(y1 - y0)) for x0, y0, x1, y1 in shares]
    return Looked(path.name, address, tuple(rounded))


def complete(
    loaded: Loaded, session: Session, paths: Sequence[Path], settings: CompleteSettings, face: int, job: Job
) -> Result:
    """Complete the face of one photo, or of several of one person."""
    job.progress("load", 0.0)
    completer = loaded.completer(settings)
    job.progress("read", 0.01)
    name = paths[0].stem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OstecWarning)  # the page shows those of the record
        made = completer(paths[0], job.progress, face) if len(paths) == 1 else completer.fuse(paths, job.progress)

    def fill(folder: Path) -> None:
        from ostec.export.page import write_index

        made.save(folder, name)
        job.progress("export", 1.0)
        write_index(folder)

    return session.make(name, fill)


class FolderRun(CompleteRun):
    """Completes a folder, as ``ostec complete`` does, and tells a job how far it is."""

    def __init__(self, folder: Path, settings: CompleteSettings, loaded: Loaded, session: Session, job: Job) -> None:
        super().__init__(folder, settings, BatchOptions(quiet=True, device=loaded.device))
        self._loaded, self._session, self._job = loaded, session, job
        self.count = 0

    def load(self) -> None:
        """Take the networks that are loaded."""
        from ostec.app.photos.journal import Journal

        self._job.progress("load", 0.0)
        self._completer = self._loaded.completer(self._settings)
        self._journal = Journal(self.folder, str(self._completer.device))

    def on_progress(self, stage: str, fraction: float) -> None:
        """The current photo has reached a stage. Raises Cancelled."""
        self.stage = stage
        self._job.progress(stage, (self.ended + fraction) / max(self.count, 1))

    @property
    def ended(self) -> int:
        """Photos that are dealt with."""
        return self.outcome.done + self.outcome.extended + self.outcome.skipped + self.outcome.failed

    def make(self, steps: Sequence[Step[Photo]]) -> Sequence[Any]:
        """Complete the next."""
        self._job.what = f"{self.ended + 1} of {self.count}: {steps[0].item.label}"
        self.on_progress("read", 0.0)
        return super().make(steps)

    def save(self, step: Step[Photo], made: Any) -> str:
        """Write a result and show it."""
        with self._job.whole():
            said = super().save(step, made)
        picture = self.folder / f"{step.item.name}{THUMBNAIL}"
        if picture.is_file():
            place, address = self._session.preview(picture.name)
            shutil.copyfile(picture, place)
            self._job.tiles = [*self._job.tiles, address]
        return said

    def note_failure(self, item: Photo, reason: str) -> None:
        """Say it, and note it in ``failures.jsonl``."""
        self._job.say(f"{item.label} failed ({self.stage}): {reason.replace(str(item.path), item.label)}")
        super().note_failure(item, reason)


@dataclass(frozen=True)
class FolderDone:
    """What came of a folder."""

    sentence: str
    result: Result | None = None
    """The files, where they are this page's."""


def complete_folder(
    loaded: Loaded, session: Session, sources: Sequence[str], folder: Path, settings: CompleteSettings, job: Job
) -> FolderDone:
    """Complete all photos of a folder of this machine that its results do not have yet; cancelling keeps what is done.

    Raises UsageError, OutputError: it cannot begin, or its results cannot be written.
    """
    photos = assign_names(find_photos(sources))
    refuse_replacing(photos, folder, settings.faces, overwrite=False)
    with prepared(folder):
        run = FolderRun(folder, settings, loaded, session, job)
        run.count = len(photos)
        try:
            run.run(photos)
        except Cancelled:
            run.outcome.untried = run.count - run.ended
            with job.whole():
                run.end()
    if run.outcome.stopped:
        raise UsageError(f"The run stops early: {run.outcome.stopped}")
    return FolderDone(f"{run.outcome}. The results are in {folder}; its index.html shows them.")


def complete_dropped(
    loaded: Loaded, session: Session, sources: Sequence[str], settings: CompleteSettings, job: Job
) -> FolderDone:
    """Complete all photos that were dropped; cancelling keeps what is done."""
    said: list[str] = []

    def fill(folder: Path) -> None:
        done = complete_folder(loaded, session, sources, folder, settings, job)
        said.append(f"{done.sentence.partition('.')[0]}.")

    found = session.make("faces", fill)
    return FolderDone(said[0], found)


class _WebTrackRun(TrackRun):
    """Tracks a recording, as ``ostec track`` does, and tells a job how far it is."""

    def __init__(self, asked: TrackOptions, job: Job) -> None:
        super().__init__(asked)
        self._job = job

    def on_progress(self, stage: str, fraction: float) -> None:
        """A stage has been reached. Raises Cancelled."""
        self._job.progress(stage, fraction)


def track(loaded: Loaded, session: Session, path: Path, every_face: bool, job: Job) -> Result:
    """Follow the faces of a video; writes all that ``ostec track --preview`` writes."""
    from ostec.pipeline.settings import TrackSettings

    job.progress("load", 0.0)
    settings = TrackSettings(faces="all" if every_face else "largest")

    def fill(folder: Path) -> None:
        running = DeviceOptions(quiet=True, device=loaded.device)
        asked = TrackOptions(str(path), str(folder), preview=True, settings=settings, running=running)
        _WebTrackRun(asked, job).track(Ending())

    return session.make(path.stem, fill)


class _LiveRun(_WebTrackRun):
    """Tracks a recording of the browser's camera, as ``ostec track camera:0`` does with this machine's."""

    def __init__(self, asked: TrackOptions, job: Job, live: Live) -> None:
        super().__init__(asked, job)
        self._source, self._live = Source("camera", "the camera", camera=0), live

    def record(self) -> None:
        """Track until it ends, showing the head as it moves, and write all files. Raises FaceError, Cancelled."""
        from ostec.fit.tracking import View
        from ostec.heads.moving import MovingHead
        from ostec.pipeline.motion import over
        from ostec.pipeline.tracking import FOCAL, Tracker

        tracker = Tracker.from_pretrained(self._asked.settings, self._asked.running.device)
        moving: MovingHead | None = None
        for frame in self._live.frames(partial(self._look, tracker)):
            row = next(iter(tracker.feed(frame, live=True)), None)
            head = tracker.people[0].head if row is not None else None
            if row is None or head is None:
                continue
            moving, image = moving or MovingHead(head), frame.image
            if row.seen:
                view = View(FOCAL * max(image.shape[:2]), (image.shape[1] / 2, image.shape[0] / 2))
                image = over(image, moving, row, view)
            self._live.show(encode_jpeg(as_picture(image)))
            self._job.what = f"{row.index + 1} frames, {(row.index + 1) / max(frame.time_s, 0.1):.0f} a second"
        tracker.finish()
        if not any(person.rows for person in tracker.people):
            raise FaceError("The camera did not show a face long enough: look at it for some seconds.")
        self._job.progress("export", 1.0)
        self._write(tracker, tracker.people[0])

    def _look(self, tracker: "Tracker", seconds: float) -> None:
        known = any(person.head is not None for person in tracker.people)
        self._job.progress("live" if known else "learn", seconds / LONGEST_S)


def track_live(loaded: Loaded, session: Session, live: Live, job: Job) -> Result:
    """Follow the face before a browser's camera until it ends; writes what ``ostec track camera:0`` writes."""
    from ostec.pipeline.settings import TrackSettings

    try:
        job.progress("load", 0.0)

        def fill(folder: Path) -> None:
            running = DeviceOptions(quiet=True, device=loaded.device)
            asked = TrackOptions("camera:0", str(folder), settings=TrackSettings(), running=running)
            _LiveRun(asked, job, live).record()

        return session.make("camera", fill)
    finally:
        live.end()


def faces_of(session: Session) -> dict[int, Result]:
    """The results that are one face with a page, by number."""
    return {
        number: found
        for number, found in session.results.items()
        if f"{found.title}.html" in found.files() and f"{found.title}.npz" in found.files()
    }


def own_folder(given: str) -> Path:
    """A folder of this machine by its whole path. Raises UsageError: it is none."""
    if not given.strip():
        raise UsageError("Name a folder.")
    path = Path(given.strip()).expanduser()
    if not path.is_absolute():
        raise UsageError(f"{shown(given.strip())[:200]} is no whole path; it should begin at the root, or with ~.")
    return path


@dataclass(frozen=True)
class DatasetShown:
    """What is shown of a dataset."""

    result: Result
    table: str


def describe_dataset(session: Session, folder: str, job: Job) -> DatasetShown:
    """Statistics and pictures of a dataset, as ``ostec dataset stats`` and ``sheet`` make them."""
    from ostec.app.dataset.look import DatasetSheet, DatasetStats

    job.progress("read", 0.0)

    def fill(out: Path) -> None:
        DatasetStats(folder, str(out), quiet=True).run()
        job.progress("export", 0.4)
        DatasetSheet(folder, str(out / "sheet.png"), count=SHEET_FACES).run()

    found = session.make(Path(folder).name, fill)
    return DatasetShown(found, (found.folder / "stats.txt").read_text(encoding="utf-8"))


def filter_dataset(folder: str, out: str, max_yaw: float, flags: Sequence[str], where: Sequence[str], job: Job) -> str:
    """Write the good faces of a dataset as another one, as ``ostec dataset filter`` does; says how many."""
    from ostec.app.dataset.select import DatasetFilter, PhotoLimits
    from ostec.app.eval.options import RunOptions
    from ostec.dataset.finished import FinishedDataset

    job.progress("read", 0.0)
    chosen = {flag.replace(" ", "_"): True for flag in flags}
    limits = PhotoLimits(max_yaw=max_yaw if max_yaw < ANY_YAW_DEG else None, **chosen)
    DatasetFilter(folder, out, tuple(where), limits, running=RunOptions(quiet=True)).run()
    count = len(FinishedDataset(Path(out)).faces_table())
    return f"{counted(count, 'face is', 'faces are')} in {out}; left_out.jsonl there says why the others are not."


def fetch_model(name: str, job: Job) -> str:
    """Download a model and check it, as ``ostec models fetch`` does; says where it is."""
    from ostec.app.models.models import fetch_file, to_fetch

    said = []
    for manifest, file in to_fetch(name):
        if file.path is None and file.entry.addresses:
            job.what = file.entry.name
            said.append(fetch_file(manifest, file.entry, partial(_of_bytes, job)))
    return " ".join(said) or f"{name} is there."


def _of_bytes(job: Job, done: int, total: int) -> None:
    job.progress("fetch", done / max(total, 1))
