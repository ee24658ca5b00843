"""From sources and settings to a folder of completed faces: checks, and what the run does with a photo."""

import contextlib
import dataclasses
import logging
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ostec.app.checks import need_files, need_sources
from ostec.app.console import shown, told_if_it_takes_long
from ostec.app.photos import results
from ostec.app.photos.journal import Journal
from ostec.app.photos.options import BatchOptions
from ostec.app.photos.plan import decide, lacking
from ostec.app.photos.results import face_name, pending, read_record
from ostec.app.photos.runner import Action, Run, Step, terminate_like_interrupt
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.core.errors import OstecError, OutputError, UsageError
from ostec.core.record import RESULT_KINDS
from ostec.io.files import make_folder, remove_leftovers, write_atomic
from ostec.pipeline.settings import CompleteSettings

logger = logging.getLogger(__name__)

_PROBE_BYTES = 1 << 20
"""A disk on which not even this fits is full."""
_OPTIONAL_ENDINGS = (
    *("_frontal.png", "_turntable.webp", results.EARLIER_TURNTABLE, "_target.png", "_trust.png"),
    *results.HEAD_ENDINGS,
)


def complete_sources(
    sources: Sequence[str], save_dir: str, settings: CompleteSettings, options: BatchOptions, recursive: bool = True
) -> int:
    """Complete all photos in ``sources`` into ``save_dir``; return the exit code.

    It is 0 if all are done or skipped, 1 if some failed, 130 after Ctrl-C, 143 after SIGTERM. Raises OstecError where
    nothing could start.
    """
    need_sources(sources, save_dir, "complete")
    need_files(generator=settings.generator, prior=settings.prior)
    if options.batch < 1:
        raise UsageError(f"--batch must be 1 or more, got {options.batch}.")
    folder = Path(save_dir)
    photos = assign_names(find_photos(sources, recursive))
    refuse_replacing(photos, folder, settings.faces, options.overwrite)
    run = CompleteRun(folder, settings, options)
    if options.dry_run:
        return run.describe(photos)
    with prepared(folder), terminate_like_interrupt():
        return run.run(photos)


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """A folder of results for a run, cleaned up after one that was killed.

    One that was made for it is not left behind empty where nothing could start. Raises OutputError: it cannot be made
    or written to.
    """
    there_before = folder.exists()
    probe = folder / f".ostec-probe-{secrets.token_hex(4)}"
    try:
        remove_leftovers(make_folder(folder))
        results.remove_stale_marks(folder)
        try:
            write_atomic(probe, bytes(_PROBE_BYTES))
        except OutputError as error:
            reason = getattr(error.__cause__, "strerror", None) or error
            raise OutputError(f"The folder {folder} cannot be written to ({reason}).") from error
        finally:
            probe.unlink(missing_ok=True)
        yield
    except OstecError:  # nothing could start
        if not there_before:
            with contextlib.suppress(OSError):  # of a folder with anything in it
                folder.rmdir()
        raise


class CompleteRun(Run[Photo]):
    """Completes the faces of photos, and adds to results what they lack."""

    way_out: ClassVar[str] = "; redo it with --overwrite, or choose another --save-dir."

    def __init__(self, folder: Path, settings: CompleteSettings, options: BatchOptions) -> None:
        super().__init__(folder, options)
        self.group = options.batch
        self._settings, self._device = settings, options.device
        self._journal = Journal(folder, "none")
        self._started = self._journal.start()

    def target(self, item: Photo) -> str:
        """What the results of a photo are called."""
        return item.name if self._settings.faces == "largest" else face_name(item.name, 1) + ", ..."

    def decide(self, item: Photo) -> Step[Photo]:
        """What is to be done with a photo. Raises AssetError: it cannot be read."""
        first = item.name if self._settings.faces == "largest" else face_name(item.name, 1)
        return decide(item, self.folder, self._settings, self.redoes(self.folder / f"{first}.json"))

    def load(self) -> None:
        """Load the networks."""
        with told_if_it_takes_long("Loading models ..."):
            from ostec.pipeline import Completer  # torch and the networks: not before there is work for them

            self._completer = Completer.from_pretrained(self._settings, self._device)
        self._journal = Journal(self.folder, str(self._completer.device))

    def begin(self) -> None:
        """Empty the list of failures."""
        self._journal.write()

    def end(self) -> None:
        """Write the list of failures and the index."""
        from ostec.export.page import write_index

        with contextlib.suppress(OutputError):  # has been reported with the photo
            self._journal.write()
        try:
            write_index(self.folder)
        except OstecError as error:
            logger.warning("%s", error)

    def where(self) -> str:
        """The page, and the list of failures if there is any."""
        reasons = f"; the reasons are in {shown(self.folder / 'failures.jsonl')}" * bool(self.outcome.failed)
        return f"open {shown(self.folder / 'index.html')}{reasons}"

    def note_failure(self, item: Photo, reason: str) -> None:
        """Note it in ``failures.jsonl``."""
        try:
            self._journal.failed(item, self.stage, reason)
        except OutputError as failure:
            logger.warning("%s", failure)

    def make(self, steps: Sequence[Step[Photo]]) -> Sequence[Any]:
        """Complete photos side by side; what is to be extended needs nothing."""
        self._started = self._journal.start()
        if steps[0].action is Action.EXTEND:
            return [None]
        return self._completer.complete_many([step.item.path for step in steps], self.on_progress)

    def save(self, step: Step[Photo], made: Any) -> str:
        """Write the faces of a photo, or add to them."""
        begin = time.perf_counter()
        if step.action is Action.EXTEND:
            self._extend(step)
            return f"added to in {time.perf_counter() - begin:.1f} s"
        if made.error is not None:
            self.stage = made.stage
            raise made.error
        photo, faces = step.item, made.faces
        names = [photo.name]
        if self._settings.faces == "all":
            names = [face_name(photo.name, number) for number in range(1, len(faces) + 1)]
        with pending(self.folder, photo.name, names):
            for number, (face, name) in enumerate(zip(faces, names, strict=True), start=1):
                self._save_face(face, name, number, len(faces))
        seconds = made.seconds + time.perf_counter() - begin
        for face, name in zip(faces, names, strict=True):
            for sentence in face.record.get("warnings", ()):
                logger.warning("%s", sentence)
            self._note(photo, name, face.seconds, seconds)
        return f"done in {seconds:.1f} s" + (f", {len(faces)} faces" if len(faces) > 1 else "")

    def _save_face(self, face: Any, name: str, number: int, count: int) -> None:
        if self._settings.faces == "all":
            # Tells a later run whether all faces of the photo are there.
            face = dataclasses.replace(face, record={**face.record, "faces": {"index": number, "count": count}})
        # No portrait of the older result may be left beside a new one that has none.
        older = read_record(self.folder / f"{name}.json", RESULT_KINDS)
        optional = [name + ending for ending in _OPTIONAL_ENDINGS if older and name + ending in older["files"]]
        results.remove_files(self.folder, (f"{name}.json", *optional))
        face.save(self.folder, name)

    def _extend(self, step: Step[Photo]) -> None:
        begin, photo = time.perf_counter(), step.item
        with pending(self.folder, photo.name, step.names):
            for name in step.names:
                record = read_record(self.folder / f"{name}.json")
                if record is not None:
                    frontalize, turntable = lacking(name, record, self._settings)
                    self._completer.extend(self.folder, name, photo.path, frontalize, turntable)
        seconds = time.perf_counter() - begin
        for name in step.names:
            self._note(photo, name, {"extend": seconds}, seconds)

    def _note(self, photo: Photo, name: str, stages: Mapping[str, float], seconds: float) -> None:
        try:
            self._journal.done(self._started, photo, name, stages, seconds)
        except OutputError as error:  # the result is there all the same
            logger.warning("%s", error)
            self.stop_if_lost(error)
