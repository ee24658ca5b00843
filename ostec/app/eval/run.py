"""What the ``ostec eval`` commands share: their folder, jobs with progress on the screen, and how they end."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ostec.app.console import Display, say, shown
from ostec.app.eval.options import RunOptions
from ostec.app.photos.runner import terminate_like_interrupt
from ostec.core.errors import UsageError
from ostec.eval.jobs import Jobs, Outcome, Task, run_jobs, workers_here
from ostec.eval.report.pictures import PICTURES, SHEET, sheet
from ostec.eval.report.record import FILE, Evaluation, read_evaluation, write_report
from ostec.eval.study import Study
from ostec.io.files import make_folder, remove_leftovers
from ostec.io.images import write_png

logger = logging.getLogger(__name__)


def out_folder(text: str, kind: str | None = None) -> Path:
    """The folder of the results, made if it does not exist. Raises UsageError, OutputError.

    It may not hold an evaluation of another ``kind``, if one is given.
    """
    if not text:
        raise UsageError("--out must name a folder.")
    path = Path(text)
    try:
        before = read_evaluation(path).kind
    except UsageError:  # none, or a damaged one, which is written anew
        before = None
    if kind is not None and before not in (None, kind):
        raise UsageError(f"{shown(path)} holds an evaluation of the kind {before!r}; name another folder.")
    folder = make_folder(path)
    for written in (folder, folder / PICTURES):
        remove_leftovers(written)
    return folder


def need_other_folder(out: str, photos: Path) -> None:
    """Raise UsageError where the results would lie among the photos of a folder."""
    results = Path(out).resolve()
    if out and photos.resolve() in (results, results / PICTURES):
        raise UsageError("--out must be another folder than that of the photos.")


def run_shown(
    jobs: Jobs, task: Task, running: RunOptions, what: str, names: Mapping[str, str] | None = None
) -> dict[str, Outcome]:
    """Do the jobs, with a bar and the time left on a terminal, a line for each else; failures are warnings.

    As :func:`ostec.eval.jobs.run_jobs`. Shown are ``what`` the jobs are in the plural (``renders``), and their
    ``names`` in place of the keys. An eval.json of before is removed if there is anything to do: it means done.
    """
    to_do, most, asked = sum(jobs.found(key) is None for key in jobs.keys), workers_here(), running.workers
    if to_do < len(jobs.keys):
        logger.info("Done before and kept: %d of %d %s.", len(jobs.keys) - to_do, len(jobs.keys), what)
    if to_do:
        (jobs.folder / FILE).unlink(missing_ok=True)
    if asked > most:
        logger.warning("--workers %d is more than the %d cores that may be used here; each runs one.", asked, most)
    with Display(len(jobs.keys), to_do, running.quiet, what) as display, terminate_like_interrupt():

        def done(key: str, outcome: Outcome, found: bool) -> None:
            name = shown(names[key] if names else key)
            if "error" in outcome:
                logger.warning("%s failed: %s", name, shown(str(outcome["error"])))
            if not found:
                display.begin(name)
            display.end(name, None if found or "error" in outcome else "done")

        return run_jobs(jobs, task, min(asked, most) or most, done)


def carry_out(study: Study, running: RunOptions) -> Evaluation:
    """Do the jobs of an evaluation, and draw its sheet. Raises as :func:`run_shown`."""
    outcomes = run_shown(study.jobs(), study.task, running, "photos")
    for sentence in study.doubts(outcomes):
        logger.warning("%s", shown(sentence))
    evaluation = study.evaluation(outcomes)
    if rows := study.sheet(evaluation):
        write_png(study.folder / SHEET, sheet(rows, study.cell_px))
    return evaluation


def finish(folder: Path, evaluation: Evaluation, by: tuple[str, ...], running: RunOptions) -> int:
    """Write the table and, last, eval.json, and say the table; returns the exit code, 1 if something failed.

    Raises OutputError.
    """
    text = write_report(folder, evaluation, by)
    if not running.quiet:
        say(shown(text, keep="\n").rstrip("\n"))
    return int(bool(evaluation.failures))
