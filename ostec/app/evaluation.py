"""What the ``ostec eval`` commands share: their folder, and jobs with progress on the screen."""

import logging
from pathlib import Path
from typing import Any

from ostec.app.console import Display, shown
from ostec.app.runner import terminate_like_interrupt
from ostec.core.errors import UsageError
from ostec.eval.jobs import Jobs, Task, run_jobs, workers_here
from ostec.io.files import make_folder, remove_leftovers

logger = logging.getLogger(__name__)


def out_folder(text: str) -> Path:
    """The folder of the results, made if it does not exist.

    Raises:
        UsageError: the name is empty.
        OutputError: it cannot be made or written to.
    """
    if not text:
        raise UsageError("--out must name a folder.")
    folder = make_folder(Path(text))
    remove_leftovers(folder)
    return folder


def check_voice(quiet: bool, verbose: bool) -> None:
    """Raises UsageError for both."""
    if quiet and verbose:
        raise UsageError("--quiet and --verbose exclude each other.")


def check_workers(workers: int) -> None:
    """Raises UsageError for a negative number of processes."""
    if workers < 0:
        raise UsageError(f"--workers must be 0 (one per core) or more, not {workers}.")


def run_shown(jobs: Jobs, task: Task, workers: int, quiet: bool, what: str) -> dict[str, dict[str, Any]]:
    """Do the jobs, with a bar and the time left on a terminal, a line for each else; failures are warnings.

    Args:
        jobs: what to do and where the outcomes are kept.
        task: does one.
        workers: processes; 0 takes one per core.
        quiet: no bar and no lines.
        what: what the jobs are, in the plural, as it is shown (``renders``).

    Returns:
        Key -> outcome, in the order of ``jobs.keys``; one that failed is ``{"error": sentence}``.

    Raises:
        UsageError: the number of processes is negative.
        OstecError: an outcome cannot be written, or a process has died.
        KeyboardInterrupt: on Ctrl-C and SIGTERM; what is done is kept.
    """
    check_workers(workers)
    before = sum(jobs.found(key) is not None for key in jobs.keys)
    if before:
        logger.info("Done before and kept: %d of %d %s.", before, len(jobs.keys), what)
    with Display(len(jobs.keys), len(jobs.keys) - before, quiet, what) as display, terminate_like_interrupt():

        def done(key: str, outcome: dict[str, Any], found: bool) -> None:
            failed = "error" in outcome
            if failed:
                logger.warning("%s failed: %s", shown(key), shown(str(outcome["error"])))
            if not found:
                display.begin(key)
            display.end(key, None if found or failed else "done")

        return run_jobs(jobs, task, workers or workers_here(), done)
