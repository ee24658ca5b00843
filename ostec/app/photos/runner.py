"""The run over many items, such as photos: each is done, skipped or recorded as failed, and none stops the others."""

import abc
import contextlib
import errno
import itertools
import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Generic, TypeVar

from ostec.app.console import Display, say, shown
from ostec.app.photos.options import RunOptions
from ostec.app.photos.sources import Photo
from ostec.core.errors import AssetError, OstecError, OutputError, out_of_memory
from ostec.io.locks import Busy, only_one

logger = logging.getLogger(__name__)

# The place where results go is lost for the other items too: full, over quota, read-only, broken, gone.
_LOST = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENODEV, errno.ESTALE, errno.ENOTCONN))


TERMINATING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a run as Ctrl-C does: of ``kill``, and of a terminal that is closed."""


class Terminated(KeyboardInterrupt):
    """Somebody asked the process to end by one of :data:`TERMINATING`."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.exit_code = 128 + number


@dataclass
class Ending:
    """What ended a run early."""

    exit_code: int = 128 + signal.SIGINT
    """Of one that was interrupted. Libraries that wait turn any exception of a handler into a KeyboardInterrupt."""


@contextlib.contextmanager
def terminate_like_interrupt() -> Iterator[Ending]:
    """SIGTERM and SIGHUP end the run as Ctrl-C does, with the finished work kept."""
    ending = Ending()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is given
        ending.exit_code = 128 + number
        raise Terminated(number)

    with handling(TERMINATING, end):
        yield ending


@contextlib.contextmanager
def handling(signals: Sequence[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle those of some signals that are not ignored, as SIGHUP is below ``nohup``; other threads get none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, handler) for n in signals if signal.getsignal(n) is not signal.SIG_IGN}
    try:
        yield
    finally:
        for number, other in before.items():
            signal.signal(number, other)


T = TypeVar("T", bound=Photo)
R = TypeVar("R")


class Action(Enum):
    """What a run does with an item."""

    MAKE = "would be done"
    EXTEND = "would be added to"
    SKIP = "would be skipped"
    REFUSE = "would fail"


@dataclass(frozen=True)
class Step(Generic[T]):
    """An item and what is to be done with it."""

    item: T
    action: Action
    names: tuple[str, ...] = ()
    """The results that exist: to be extended, or skipped."""
    reason: str = ""
    """Why it is refused, or made again."""
    differs: str = ""
    """The settings that the results were made with, where these are kept and others are asked for."""


@dataclass
class Outcome:
    """What a run came to, in items."""

    done: int = 0
    extended: int = 0
    """Finished before, and now given the frontal portrait or turntable that they lacked."""
    skipped: int = 0
    failed: int = 0
    untried: int = 0
    kept: list[str] = field(default_factory=list)
    """``Step.differs`` of those skipped or extended that were made with other settings."""
    stopped: str = ""
    """Why the run ended early."""
    signal: int | None = None
    """The signal that ended it."""

    @property
    def exit_code(self) -> int:
        """0 all done or skipped, 1 some failed; 128 + the signal's number."""
        return int(bool(self.failed or self.stopped)) if self.signal is None else 128 + self.signal

    def __str__(self) -> str:
        added, untried = f"{self.extended} added to, " * bool(self.extended), f", {self.untried} not tried"
        return f"{self.done} done, {added}{self.skipped} skipped, {self.failed} failed{untried * bool(self.untried)}"


class Run(abc.ABC, Generic[T]):
    """One run; a command says what is made of an item. Call :meth:`run` once."""

    noun: ClassVar[str] = "photos"
    way_out: ClassVar[str] = ""
    """What follows the reason why an item is refused."""
    group: int = 1
    """Items that are made at once."""
    stage: str = ""
    """That the current item has reached."""

    def __init__(self, folder: Path, options: RunOptions) -> None:
        """``folder`` is where the results go."""
        self.folder, self.options = folder, options
        self.outcome = Outcome()
        self.display = Display(0, 0, quiet=True)
        self._unwritten = 0  # items in a row whose results could not be written
        self._found: dict[Path, tuple[int, int] | None] = {}  # records as this run found them

    @abc.abstractmethod
    def decide(self, item: T) -> Step[T]:
        """What is to be done, from what lies in the folder of results. Raises AssetError: an item cannot be read."""

    @abc.abstractmethod
    def load(self) -> None:
        """Load what makes results; called once, where there is work. Raises OstecError."""

    @abc.abstractmethod
    def make(self, steps: Sequence[Step[T]]) -> Sequence[Any]:
        """What :meth:`save` needs for each of some items, at most ``group``."""

    @abc.abstractmethod
    def save(self, step: Step[T], made: Any) -> str:
        """Write the results of an item; returns what there is to say about it."""

    @abc.abstractmethod
    def where(self) -> str:
        """What the line at the end says of the place of the results."""

    def begin(self) -> None:
        """Before the first item. Raises OutputError."""

    def end(self) -> None:
        """After the last."""

    def note_failure(self, item: T, reason: str) -> None:
        """One more item failed."""

    def on_progress(self, stage: str, fraction: float) -> None:
        """The current items have reached a stage."""
        self.stage = stage
        self.display.stage(stage, fraction)

    def claim(self, item: T, wait: bool) -> contextlib.AbstractContextManager[None]:
        """Keep the processes that share the folder from an item; the system ends it with this process.

        Raises Busy: another one has claimed it and is not waited for, OutputError.
        """
        return only_one(self.folder / f"{item.name}.json", wait)

    def redoes(self, record: Path) -> bool:
        """Whether ``--overwrite`` applies to a result: not if another process has made it since this run looked first.

        Args:
            record: its NAME.json.
        """
        stamp = None
        with contextlib.suppress(OSError):  # there is none yet
            status = record.stat()
            stamp = status.st_ino, status.st_mtime_ns
        return self.options.overwrite and self._found.setdefault(record, stamp) == stamp

    def plan(self, item: T) -> Step[T]:
        """What is likely to be done; :meth:`decide` has the last word."""
        try:
            return self.decide(item)
        except AssetError:  # the run meets it again, and records it
            return Step(item, Action.MAKE)

    def describe(self, items: Sequence[T]) -> int:
        """The lines of ``--dry-run``; returns the exit code."""
        steps = [self.plan(item) for item in items]
        for step in steps:
            differs = f", made with other {step.differs}; --overwrite redoes it" if step.differs else ""
            reason = f" ({step.reason.rstrip('.')})" if step.reason else differs
            say(f"{shown(step.item.path)} -> {self.target(step.item)} {step.action.value}{reason}")
        counts = Counter(step.action for step in steps)
        say(", ".join(f"{counts[action]} {action.value}" for action in Action if counts[action]) + ".")
        return 0

    def target(self, item: T) -> str:
        """What the results of an item are called."""
        return item.name

    def run(self, items: Sequence[T]) -> int:
        """Return the exit code; Ctrl-C and the like end the run, not the process. Raises OstecError of :meth:`load`."""
        outcome, quiet = self.outcome, self.options.quiet
        steps = [self.plan(item) for item in items]
        to_do = sum(step.action in (Action.MAKE, Action.EXTEND) for step in steps)
        if to_do:
            self.load()
        with Display(len(steps), to_do, quiet, self.noun) as self.display:
            try:
                self.begin()
                for group in self._groups(steps):
                    self._carry_out(group)
                    if outcome.stopped:
                        break
            except KeyboardInterrupt as interrupt:
                outcome.signal = getattr(interrupt, "exit_code", 128 + signal.SIGINT) - 128
            except OutputError as error:
                outcome.stopped = str(error)
        outcome.untried = len(steps) - outcome.done - outcome.extended - outcome.skipped - outcome.failed
        self.end()
        there = self.folder.is_dir()
        if not there and not outcome.stopped:
            outcome.stopped = f"The folder {shown(self.folder)} has gone."
        self._tell_end()
        if not quiet:
            say(f"{outcome}{f'; {self.where()}' if there else ''}.")
        return outcome.exit_code

    def _groups(self, steps: Sequence[Step[T]]) -> Iterator[list[Step[T]]]:
        """What is to be made or extended, in groups, claimed until it is done; the others are dealt with on the way.

        What another process has claimed comes last: by then that has done it, or was killed.
        """
        waiting: list[Step[T]] = []
        elsewhere: list[Step[T]] = []
        with contextlib.ExitStack() as claims:
            for step, late in itertools.chain(((s, False) for s in steps), ((s, True) for s in elsewhere)):
                if late:  # who waits must hold nothing: two could wait for each other
                    if waiting:
                        yield waiting
                    waiting = []
                    claims.close()
                try:
                    found = self._attempt(step, lambda step=step, late=late: self._claimed(step, claims, late))  # type: ignore[misc]
                except Busy:
                    elsewhere.append(step)
                    continue
                if found is None:
                    self.display.end(step.item.label, None)
                elif found.action is Action.MAKE:
                    waiting.append(found)
                    if len(waiting) >= self.group:
                        yield waiting
                        waiting = []
                elif found.action is Action.EXTEND:
                    yield [found]
                else:
                    self._pass(found)
                if self.outcome.stopped:
                    return
                if not waiting:
                    claims.close()
            if waiting:
                yield waiting

    def _claimed(self, step: Step[T], claims: contextlib.ExitStack, wait: bool) -> Step[T]:
        """What is to be done with an item now that nobody else is at it. Raises Busy."""
        found, self.stage = step, "read"
        if step.action in (Action.MAKE, Action.EXTEND):
            claims.enter_context(self.claim(step.item, wait))
            found = self.decide(step.item)  # once more, because another run may have finished it in the meantime
        if found.differs:
            self.outcome.kept.append(found.differs)
            logger.debug("%s: made with other %s, kept; --overwrite redoes it.", found.item.label, found.differs)
        if found.action is Action.MAKE and found.reason:
            logger.info("%s is done again: %s.", found.item.label, found.reason)
        return found

    def _pass(self, step: Step[T]) -> None:
        self.stage = "plan"
        if step.action is Action.SKIP:
            self.outcome.skipped += 1
            self._unwritten = 0
            logger.debug("%s is done: %s.", step.item.label, ", ".join(step.names))
        else:
            self._fail(step.item, step.reason + self.way_out)
        self.display.end(step.item.label, None)

    def _carry_out(self, steps: Sequence[Step[T]]) -> None:
        self.display.begin(*(step.item.label for step in steps))
        self.stage = "read"
        try:
            made = self.make(steps)
        except Exception as error:  # noqa: BLE001 - a defect that one item brings out must not cost the others
            made = [error] * len(steps)
        for step, one in zip(steps, made, strict=True):
            said = self._attempt(step, lambda step=step, one=one: self._saved(step, one))  # type: ignore[misc]
            if said is not None:
                self._unwritten = 0
            self.display.end(step.item.label, said)

    def _saved(self, step: Step[T], made: Any) -> str:
        if isinstance(made, Exception):
            raise made
        self.stage = "export"
        said = self.save(step, made)
        extended = step.action is Action.EXTEND
        self.outcome.extended += extended
        self.outcome.done += not extended
        return said

    def _attempt(self, step: Step[T], call: Callable[[], R]) -> R | None:
        """What ``call`` returns; None if it failed, which is recorded."""
        try:
            return call()
        except Busy:
            raise
        except OutputError as error:
            self._fail(step.item, str(error), error)
            self._unwritten += 1
            self.stop_if_lost(error)
        except Exception as error:  # noqa: BLE001 - a defect that one item brings out must not cost the others
            self._fail(step.item, reason_of(error), error)
        return None

    def stop_if_lost(self, error: OutputError) -> None:
        """End the run where the results of the other items could not be written either."""
        if self._unwritten > 1 or is_lost(error, self.folder):
            self.outcome.stopped = str(error)

    def _fail(self, item: T, reason: str, error: Exception | None = None) -> None:
        self.outcome.failed += 1
        reason = reason.replace("\n", " ")
        self.stage = getattr(error, "stage", "") or self.stage
        logger.error("%s failed (%s): %s", shown(item.path), self.stage, reason)
        if error is not None and not isinstance(error, OstecError):
            logger.debug("Where it failed:", exc_info=error)
        self.note_failure(item, reason)

    def _tell_end(self) -> None:
        outcome = self.outcome
        if outcome.kept:
            differs = " or ".join(sorted(set(outcome.kept))[:3])
            logger.info("Made before with other %s and kept: %d; --overwrite redoes them.", differs, len(outcome.kept))
        if outcome.stopped:
            logger.error("The run stops early: %s", outcome.stopped)
        if outcome.signal is not None:
            logger.warning("Interrupted: what is done is kept, and the same command goes on with the rest.")


def seconds_since(begin: float) -> str:
    """``done in 3.1 s``, of work that began at that ``time.perf_counter()``."""
    return f"done in {time.perf_counter() - begin:.1f} s"


def reason_of(error: Exception) -> str:
    """Why an item could not be done, as a sentence."""
    if isinstance(error, OstecError):
        return str(error)
    if lacking := out_of_memory(error, "this photo"):
        return f"There is {lacking}."
    return f"Unexpected {type(error).__name__}: {error}"


def is_lost(error: OutputError, folder: Path) -> bool:
    """Whether other results could not be written into the folder either."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _LOST:
            return True
        cause = cause.__cause__ or cause.__context__
    return not folder.is_dir()
