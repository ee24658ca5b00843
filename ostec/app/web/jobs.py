"""Work that a page asks for: one job at a time, in the order of asking, each with its progress and a way to stop it."""

import contextlib
import ctypes
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ostec.app.photos.runner import reason_of
from ostec.core.errors import OstecError

logger = logging.getLogger(__name__)

LAST_LINES = 40
"""Lines of a job that are shown."""


class Cancelled(BaseException):
    """The user has cancelled the job. No error: nothing that handles errors is to take it for one."""


@dataclass
class Job:
    """One piece of work, and how far it is; other threads read it while it runs."""

    work: Callable[["Job"], Any]
    """Carries it out; called with the job."""
    stage: str = ""
    fraction: float = 0.0
    """Of the work that is done, 0 to 1; it never falls."""
    what: str = ""
    """What is worked on, of several things."""
    lines: list[str] = field(default_factory=list)
    """What there is to say so far, a sentence each."""
    tiles: list[str] = field(default_factory=list)
    """Pictures that are there so far, by the name of their file."""
    result: Any = None
    """What ``work`` returned."""
    error: str = ""
    """Why it failed, as a sentence."""
    ended: threading.Event = field(default_factory=threading.Event)
    _begun: float | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _thread: int | None = None
    """That carries it out, while it may be stopped."""

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled it; it may still run for a moment."""
        return self._cancelled.is_set()

    @property
    def running(self) -> bool:
        """Whether it has begun and not ended."""
        return self._begun is not None and not self.ended.is_set()

    @property
    def seconds(self) -> float:
        """Since it has begun."""
        return 0.0 if self._begun is None else time.monotonic() - self._begun

    @property
    def seconds_left(self) -> float | None:
        """As far as can be told from what is done."""
        if self.fraction < 0.03 or self.seconds < 1:
            return None
        return self.seconds * (1 - self.fraction) / self.fraction

    def progress(self, stage: str, fraction: float) -> None:
        """A stage has been reached. Raises Cancelled."""
        if self.cancelled:
            raise Cancelled
        self.stage, self.fraction = stage, max(self.fraction, min(fraction, 1.0))

    def say(self, sentence: str) -> None:
        """One more line."""
        self.lines = [*self.lines, sentence][-LAST_LINES:]

    def cancel(self) -> None:
        """Stop it: before it begins, or wherever its thread is; one operation of PyTorch or NumPy is waited for."""
        with self._lock:
            if not self.cancelled and self._thread is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(Cancelled))
            self._cancelled.set()

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What is done inside is finished even when the job is cancelled; the next word on progress ends it then."""
        thread = self._thread
        with self._lock:
            self._thread = None
        try:
            yield
        finally:
            with self._lock:
                self._thread = thread

    def run(self) -> None:
        """Carry it out, in a thread of its own: an exception of :meth:`cancel` may reach it late."""
        self._begun = time.monotonic()
        try:
            with self._lock:
                self._thread = threading.get_ident()
            if not self.cancelled:
                self.result = self.work(self)
        except Cancelled:
            pass
        except Exception as error:
            self.error = reason_of(error)
            if not isinstance(error, OstecError):
                logger.warning("A job failed: %s", self.error, exc_info=logger.isEnabledFor(logging.DEBUG))
        finally:
            with contextlib.suppress(Cancelled):
                with self._lock:
                    self._thread = None
                time.sleep(0)  # what was on its way arrives here
            self.ended.set()


class Worker:
    """Carries out jobs in the order in which they came, one after the other: the machine is busy with one."""

    def __init__(self) -> None:
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._current: Job | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="ostec-worker", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Job], Any]) -> Job:
        """Queue some work."""
        job = Job(work)
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        return job

    def ahead(self, job: Job) -> int:
        """How many jobs are done before a waiting one."""
        with self._changed:
            if job not in self._waiting:
                return 0
            before = list(self._waiting)[: self._waiting.index(job)]
            return sum(not one.cancelled for one in before) + (self._current is not None)

    def close(self, seconds: float = 5.0) -> None:
        """Cancel everything, and wait until the thread has ended, at most so long."""
        with self._changed:
            self._closed = True
            for job in (*self._waiting, *self._running()):
                job.cancel()
            self._changed.notify()
        self._thread.join(seconds)

    def _running(self) -> Sequence[Job]:
        return () if self._current is None else (self._current,)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._current = None
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                self._current = self._waiting.popleft()
            thread = threading.Thread(target=self._current.run, name="ostec-job", daemon=True)
            thread.start()
            thread.join()
