"""From sources and settings to a folder of results: checks, plan, run, index, and the line at the end."""

import contextlib
import logging
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ostec.app.checks import need_files, need_sources
from ostec.app.console import Display, say, shown
from ostec.app.photos.options import BatchOptions
from ostec.app.photos.plan import Action, Step, decide
from ostec.app.photos.results import face_name, remove_stale_marks
from ostec.app.photos.runner import BatchRun, Completes, summary, tell_end, terminate_like_interrupt
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.core.errors import AssetError, OstecError, OutputError
from ostec.io.files import make_folder, remove_leftovers, write_atomic
from ostec.pipeline.settings import CompleteSettings

logger = logging.getLogger(__name__)

_PROBE_BYTES = 1 << 20
"""A disk on which not even this fits is full."""


def complete_sources(
    sources: Sequence[str],
    save_dir: str,
    settings: CompleteSettings,
    options: BatchOptions,
    recursive: bool = True,
) -> int:
    """Complete all photos in ``sources`` into ``save_dir``.

    Returns:
        The exit code: 0 all done or skipped, 1 some failed, 130 Ctrl-C, 143 SIGTERM.

    Raises:
        OstecError: nothing could start: wrong use, no photo, something is missing, results cannot be written.
    """
    need_sources(sources, save_dir, "complete")
    need_files(generator=settings.generator, prior=settings.prior)
    folder = Path(save_dir)
    found = find_photos(sources, recursive)
    if found.results:
        logger.info("Left out as results of earlier runs: %d.", found.results)
    photos = assign_names(found.photos)
    refuse_replacing(photos, folder, settings.faces, options.overwrite)
    if options.dry_run:
        return _describe([_plan(photo, folder, settings, options.overwrite) for photo in photos], settings)
    with prepared(folder), terminate_like_interrupt():
        steps = [_plan(photo, folder, settings, options.overwrite) for photo in photos]
        return _run(steps, folder, settings, options)


@contextlib.contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """A folder of results for a run; one that was made for it is not left behind empty where nothing could start.

    Raises:
        OutputError: it cannot be made or written to.
    """
    there_before = folder.exists()
    try:
        _prepare(folder)
        yield
    except OstecError:  # nothing could start
        if not there_before:
            with contextlib.suppress(OSError):  # of a folder with anything in it
                folder.rmdir()
        raise


def _prepare(folder: Path) -> None:
    """Make the folder of results, see that something fits in, and clean up after a run that was killed."""
    make_folder(folder)
    remove_leftovers(folder)
    remove_stale_marks(folder)
    probe = folder / f".ostec-probe-{secrets.token_hex(4)}"
    try:
        write_atomic(probe, bytes(_PROBE_BYTES))
    except OutputError as error:
        reason = getattr(error.__cause__, "strerror", None) or error
        raise OutputError(f"The folder {folder} cannot be written to ({reason}).") from error
    finally:
        probe.unlink(missing_ok=True)


def _plan(photo: Photo, folder: Path, settings: CompleteSettings, overwrite: bool) -> Step:
    try:
        return decide(photo, folder, settings, overwrite)
    except AssetError:  # the run meets it again, and records it
        return Step(photo, Action.COMPLETE)


def _describe(steps: Sequence[Step], settings: CompleteSettings) -> int:
    """The lines of ``--dry-run``."""
    verbs = {
        Action.COMPLETE: "would be done",
        Action.EXTEND: "would be added to",
        Action.SKIP: "would be skipped",
        Action.REFUSE: "would fail",
    }
    for step in steps:
        name = step.photo.name if settings.faces == "largest" else face_name(step.photo.name, 1) + ", ..."
        reason = f" ({step.reason})" if step.reason else " (made with other settings)" if step.other_settings else ""
        say(f"{shown(step.photo.path)} -> {name} {verbs[step.action]}{reason}")
    counts = Counter(step.action for step in steps)
    say(", ".join(f"{counts[action]} {verb}" for action, verb in verbs.items() if counts[action]) + ".")
    return 0


def _run(steps: Sequence[Step], folder: Path, settings: CompleteSettings, options: BatchOptions) -> int:
    to_do = sum(step.action in (Action.COMPLETE, Action.EXTEND) for step in steps)
    completer = _load(settings, options.device) if to_do else None
    with Display(len(steps), to_do, options.quiet) as display:
        outcome = BatchRun(folder, settings, completer, display, options.overwrite).run(steps)
    _write_index(folder)
    tell_end(outcome)
    if not options.quiet:
        say(summary(outcome, folder))
    return outcome.exit_code


def _load(settings: CompleteSettings, device: str) -> Completes:
    from ostec.pipeline import Completer  # torch and the networks: not before there is work for them

    logger.debug("Loading the networks.")
    return Completer.from_pretrained(settings, device)


def _write_index(folder: Path) -> None:
    from ostec.export.page import write_index

    try:
        write_index(folder)
    except OstecError as error:
        logger.warning("%s", error)
