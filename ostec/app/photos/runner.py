"""The run over many photos: each is done, skipped or recorded as failed, and none stops the others."""

import contextlib
import dataclasses
import errno
import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from ostec.app.console import Display, shown
from ostec.app.photos.journal import Clock, Journal
from ostec.app.photos.plan import Action, Step, decide, lacking
from ostec.app.photos.results import ALL_KINDS, HEAD_ENDINGS, face_name, pending, read_record, remove_files
from ostec.app.photos.sources import Photo
from ostec.core.errors import OstecError, OutputError
from ostec.pipeline.settings import CompleteSettings

logger = logging.getLogger(__name__)

# The place where results go is lost for the other photos too: full, over quota, read-only, broken, gone.
_LOST = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN))


class Face(Protocol):
    """What the run needs of a :class:`ostec.pipeline.CompletedFace`; a dataclass."""

    record: Any
    seconds: Any

    def save(self, directory: str | Path, name: str | None = None) -> Path:
        """Write the files of the result."""


class Completes(Protocol):
    """What the run needs of an :class:`ostec.pipeline.Completer`."""

    def complete_all(self, photo: Path, progress: Callable[[str, float], None] | None = None) -> Sequence[Any]:
        """Complete the faces of a photo."""

    def extend(self, directory: Path, name: str, photo: Path, frontalize: bool, turntable: bool) -> Path:
        """Add to a finished result."""


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end (SIGTERM)."""

    exit_code = 128 + signal.SIGTERM


@dataclass
class Ending:
    """What ended a run early."""

    exit_code: int = 128 + signal.SIGINT
    """Of one that was interrupted. Libraries that wait turn any exception of a handler into a KeyboardInterrupt."""


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[Ending]:
    """SIGTERM ends the run as Ctrl-C does, with the finished work kept; for the main thread."""
    ending = Ending()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is given
        ending.exit_code = Terminated.exit_code
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield ending
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass
class Outcome:
    """What a run came to, in photos."""

    done: int = 0
    extended: int = 0
    """Finished before, and now given the frontal portrait or turntable that they lacked."""
    skipped: int = 0
    other_settings: int = 0
    """Of those skipped or extended: made with other settings, and kept."""
    failed: int = 0
    untried: int = 0
    stopped: str = ""
    """Why the run ended early."""
    signal: int | None = None
    """The signal that ended it."""

    @property
    def exit_code(self) -> int:
        """0 all done or skipped, 1 some failed; 128 + the signal's number."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.failed or self.stopped else 0


class BatchRun:
    """One run; call :meth:`run` once."""

    def __init__(
        self,
        save_dir: Path,
        settings: CompleteSettings,
        completer: Completes | None,
        display: Display,
        overwrite: bool = False,
    ) -> None:
        """``completer`` may be None where every step is to be skipped; ``save_dir`` exists."""
        self._save_dir = save_dir
        self._settings = settings
        self._completer = completer
        self._display = display
        self._overwrite = overwrite
        self._journal = Journal(save_dir, str(getattr(completer, "device", "none")))
        self._outcome = Outcome()
        self._stage = ""
        self._unwritten = 0
        """Photos in a row whose results could not be written."""

    def run(self, steps: Sequence[Step]) -> Outcome:
        """Carry out the steps; Ctrl-C and SIGTERM end the run, not the process."""
        outcome = self._outcome
        handled = 0
        try:
            self._journal.write()
            for step in steps:
                self._carry_out(step)
                handled += 1
                if outcome.stopped:
                    break
        except Terminated:
            outcome.signal = signal.SIGTERM
        except KeyboardInterrupt:
            outcome.signal = signal.SIGINT
        except OutputError as error:
            outcome.stopped = str(error)
        with contextlib.suppress(OutputError):  # has been reported with the photo
            self._journal.write()
        outcome.untried = len(steps) - handled
        return outcome

    def _carry_out(self, step: Step) -> None:
        photo = step.photo
        self._stage = "read"
        try:
            if step.action is Action.COMPLETE:
                # Again, because another run may have finished it in the meantime.
                step = decide(photo, self._save_dir, self._settings, self._overwrite)
            if step.other_settings:
                self._outcome.other_settings += 1
                logger.debug("%s was done before with other settings and is kept.", photo.label)
            if step.action is Action.COMPLETE:
                self._complete(photo, step.reason)
            elif step.action is Action.EXTEND:
                self._extend(step)
            elif step.action is Action.SKIP:
                self._outcome.skipped += 1
                logger.debug("%s is done: %s.", photo.label, ", ".join(step.names))
                self._display.end(photo.label, None)
            else:
                self._stage = "plan"
                self._fail(photo, f"{step.reason}; redo it with --overwrite, or choose another --save-dir.")
        except OutputError as error:
            self._fail(photo, str(error), error)
            self._unwritten += 1
            if self._is_lost(error):
                self._outcome.stopped = str(error)
        except Exception as error:  # noqa: BLE001 - a defect that one photo brings out must not cost the others
            self._fail(photo, reason_of(error), error)
        else:
            self._unwritten = 0

    def _complete(self, photo: Photo, reason: str) -> None:
        if reason:
            logger.info("%s is done again: %s.", photo.label, reason)
        self._display.begin(photo.label)
        clock = self._journal.start(photo)
        faces = self._built().complete_all(photo.path, self._on_progress)
        names = [photo.name]
        if self._settings.faces == "all":
            names = [face_name(photo.name, number) for number in range(1, len(faces) + 1)]
        self._stage = "export"
        with pending(self._save_dir, photo.name, names):
            for number, (face, name) in enumerate(zip(faces, names, strict=True), start=1):
                self._save(face, name, number, len(faces))
        seconds = clock.seconds()
        for face, name in zip(faces, names, strict=True):
            for sentence in face.record.get("warnings", ()):
                logger.warning("%s", sentence)
            self._note(clock, name, face.seconds)
        self._outcome.done += 1
        what = f"done in {seconds:.1f} s" if len(faces) == 1 else f"done in {seconds:.1f} s, {len(faces)} faces"
        self._display.end(photo.label, what)

    def _save(self, face: Any, name: str, number: int, count: int) -> None:
        if self._settings.faces == "all":
            # Tells a later run whether all faces of the photo are there.
            face = dataclasses.replace(face, record={**face.record, "faces": {"index": number, "count": count}})
        # An older NAME.json must not vouch for a mixture of old and new files, should the run be killed here.
        # Nor may a portrait of the older result be left beside a new one that has none.
        older = read_record(self._save_dir / f"{name}.json", ALL_KINDS)
        endings = ("_frontal.png", "_turntable.gif", "_target.png", "_trust.png", *HEAD_ENDINGS)
        optional = [f"{name}{e}" for e in endings]
        optional = [f for f in optional if older and f in older["files"]]
        remove_files(self._save_dir, (f"{name}.json", *optional))
        face.save(self._save_dir, name)

    def _extend(self, step: Step) -> None:
        photo = step.photo
        self._display.begin(photo.label)
        self._stage = "export"
        clock = self._journal.start(photo)
        with pending(self._save_dir, photo.name, step.names):
            for name in step.names:
                record = read_record(self._save_dir / f"{name}.json")
                if record is not None:
                    frontalize, turntable = lacking(name, record, self._settings)
                    self._built().extend(self._save_dir, name, photo.path, frontalize, turntable)
        seconds = clock.seconds()
        for name in step.names:
            self._note(clock, name, {"extend": seconds})
        self._outcome.extended += 1
        self._display.end(photo.label, f"added to in {seconds:.1f} s")

    def _note(self, clock: Clock, name: str, seconds: Mapping[str, float]) -> None:
        try:
            self._journal.done(clock, name, seconds)
        except OutputError as error:  # the result is there all the same
            logger.warning("%s", error)
            if self._is_lost(error):
                self._outcome.stopped = str(error)

    def _built(self) -> Completes:
        if self._completer is None:
            raise ValueError("A step needs a completer, and the run was given none.")
        return self._completer

    def _on_progress(self, stage: str, fraction: float) -> None:
        self._stage = stage
        self._display.stage(stage, fraction)

    def _fail(self, photo: Photo, reason: str, error: Exception | None = None) -> None:
        self._outcome.failed += 1
        reason = reason.replace("\n", " ")
        logger.error("%s failed (%s): %s", shown(photo.path), self._stage, reason)
        if error is not None and not isinstance(error, OstecError):
            logger.debug("Where it failed:", exc_info=error)
        self._display.end(photo.label, None)
        try:
            self._journal.failed(photo, self._stage, reason)
        except OutputError as failure:
            logger.warning("%s", failure)

    def _is_lost(self, error: OutputError) -> bool:
        return is_lost(error, self._save_dir) or self._unwritten > 1


def reason_of(error: Exception) -> str:
    """Why a photo could not be done, as a sentence."""
    if isinstance(error, OstecError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this photo."
    return f"Unexpected {type(error).__name__}: {error}"


def is_lost(error: OutputError, save_dir: Path) -> bool:
    """Whether the other photos' results could not be written either."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _LOST:
            return True
        cause = cause.__cause__ or cause.__context__
    return not save_dir.is_dir()


def tell_end(outcome: Outcome, made_with: str = "settings") -> None:
    """Log how a run ended, beside the counts; ``made_with`` is what those kept may differ in."""
    if outcome.other_settings:
        logger.info(
            "Made before with other %s and kept: %d; --overwrite redoes them.", made_with, outcome.other_settings
        )
    if outcome.stopped:
        logger.error("The run stops early: %s", outcome.stopped)
    if outcome.signal is not None:
        logger.warning("Interrupted: what is done is kept, and the same command goes on with the rest.")


def summary(outcome: Outcome, save_dir: Path) -> str:
    """The line at the end of a run."""
    parts = [f"{outcome.done} done"]
    parts += [f"{outcome.extended} added to"] if outcome.extended else []
    parts += [f"{outcome.skipped} skipped", f"{outcome.failed} failed"]
    parts += [f"{outcome.untried} not tried"] if outcome.untried else []
    where = f"open {shown(save_dir / 'index.html')}"
    if outcome.failed:
        where += f"; the reasons are in {shown(save_dir / 'failures.jsonl')}"
    return f"{', '.join(parts)}; {where}."
