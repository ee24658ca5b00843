"""What the commands say: logging, plain lines, and the progress bar.

Results go to standard output, a line each; warnings, errors and the progress bar to standard error. The bar is drawn on
a terminal only; it takes the place of the lines where both would end up on the same screen.
"""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import Console

from ostec.core.errors import UsageError
from ostec.core.text import shown

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PROGRAM = "ostec"

_errors = Console(stderr=True, soft_wrap=True, markup=False, highlight=False, emoji=False)
"""The only way to the terminal while a bar is drawn: what it prints appears above the bar."""


class _Handler(logging.Handler):
    """Log records as ``ostec: warning: sentence``; a warning that was given before is not repeated."""

    def __init__(self) -> None:
        super().__init__()
        self._given: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.levelno == logging.WARNING:
                if text in self._given:
                    return
                self._given.add(text)
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
            _errors.print(f"{PROGRAM}: {level}{shown(text, keep=chr(10))}")
        except OSError:  # standard error is gone; the work goes on
            return
        except Exception:  # noqa: BLE001 - as every logging handler does
            self.handleError(record)


def set_up_logging(quiet: bool = False, verbose: bool = False) -> None:
    """Show warnings and errors of all libraries, the commands' own remarks unless ``quiet``, all if ``verbose``."""
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h, _Handler)]:
        root.removeHandler(handler)
    root.addHandler(_Handler())
    logging.getLogger(PROGRAM).setLevel(logging.DEBUG if verbose else logging.WARNING)
    level = logging.NOTSET if verbose else logging.WARNING if quiet else logging.INFO
    for name in (f"{PROGRAM}.app", f"{PROGRAM}.licences"):
        logging.getLogger(name).setLevel(level)
    # Python's own warnings are for developers.
    logging.captureWarnings(True)
    logging.getLogger("py.warnings").setLevel(logging.WARNING if verbose else logging.ERROR)


def begin(quiet: bool, verbose: bool) -> None:
    """What every command does first: set up logging. Raises UsageError where both are asked for."""
    set_up_logging(quiet, verbose)
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other.")


def say(text: str) -> None:
    """A line on standard output; where nobody listens any more (``| head``) the work goes on in silence."""
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        silence_stdout()


@contextlib.contextmanager
def told_if_it_takes_long(sentence: str, seconds: float = 1.0) -> Iterator[None]:
    """A remark about what goes on, unless it is over within a moment."""
    timer = threading.Timer(seconds, logging.getLogger(__name__).info, (sentence,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def silence_stdout() -> None:
    """Send standard output nowhere, so that the interpreter does not stumble over it at its end either."""
    with contextlib.suppress(OSError, ValueError):
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, sys.stdout.fileno())
        os.close(target)


class Display:
    """Progress of a batch, as a bar or as lines; use it in a ``with`` statement."""

    def __init__(self, total: int, to_do: int, quiet: bool = False, noun: str = "photos") -> None:
        """``total`` photos (or ``noun``), of which ``to_do`` need work; the time left is that of the latter."""
        drawn = _errors.is_terminal and not _errors.is_dumb_terminal and not quiet
        self._progress = _make_progress(drawn)
        self._lines = not quiet and not (drawn and sys.stdout.isatty())
        self._total, self._noun = total, noun
        self._overall = self._progress.add_task("", total=to_do, visible=to_do > 1, what=f"{to_do} {noun}", stage="")
        self._current: TaskID | None = None
        self._ended = self._worked = self._at_once = 0
        self._fraction = 0.0

    def __enter__(self) -> "Display":
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._progress.stop()

    def begin(self, *labels: str) -> None:
        """Work on some photos, at once, begins."""
        self._at_once, self._fraction = len(labels), 0.0
        more = f"-{self._ended + len(labels)}" if len(labels) > 1 else ""
        what = f"{self._ended + 1}{more}/{self._total} {', '.join(labels[:3])}{', ...' if len(labels) > 3 else ''}"
        self._current = self._progress.add_task("", total=1.0, what=what, stage="")

    def stage(self, stage: str, fraction: float) -> None:
        """A stage of the current photos begins, with ``fraction`` of their work done."""
        self._fraction = max(self._fraction, min(fraction, 1.0))
        if self._current is not None:
            self._progress.update(self._current, completed=self._fraction, stage=stage)
            self._progress.update(self._overall, completed=self._worked + self._fraction * self._at_once)

    def end(self, label: str, outcome: str | None) -> None:
        """A photo is dealt with; ``outcome`` completes the line about it, None says nothing."""
        self._ended += 1
        if self._at_once:
            self._worked += 1
            self._at_once -= 1
        if not self._at_once and self._current is not None:
            self._progress.remove_task(self._current)
            self._current = None
            self._progress.update(self._overall, completed=self._worked)
        if self._lines and outcome is not None:
            say(f"{self._ended}/{self._total} {label} {outcome}")


def _make_progress(drawn: bool) -> "Progress":
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.fields[what]}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TextColumn("{task.fields[stage]:<10}", markup=False),
        TimeRemainingColumn(),
        console=_errors,
        transient=True,
        refresh_per_second=5,
        # A projection takes minutes: the speed is that of the last half hour, not of the last half minute.
        speed_estimate_period=1800.0,
        # Lines for a file or pipe must not be drawn into the terminal's picture.
        redirect_stdout=sys.stdout.isatty(),
        disable=not drawn,
    )
