"""From sources and settings to a folder of inversions: checks, masks, what is done, the run over the photos."""

import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.app.checks import need_files, need_sources
from ostec.app.console import Display, say, shown
from ostec.app.photos.batch import prepared
from ostec.app.photos.invert import Invert
from ostec.app.photos.plan import Action, Step
from ostec.app.photos.results import (
    INVERSION_ENDINGS,
    is_foreign,
    is_whole,
    pending,
    read_record,
    remove_files,
    source_sha256,
)
from ostec.app.photos.runner import Outcome, Terminated, is_lost, reason_of, tell_end, terminate_like_interrupt
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, OstecError, OutputError, UsageError
from ostec.core.settings import to_json
from ostec.export.record import INVERSION
from ostec.io.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from ostec.pipeline import Inverter

logger = logging.getLogger(__name__)


def invert_sources(asked: Invert) -> int:
    """Invert all photos that ``asked`` names.

    Returns:
        The exit code: 0 all done or skipped, 1 some failed, 130 Ctrl-C, 143 SIGTERM.

    Raises:
        OstecError: nothing could start: wrong use, no photo, something is missing, results cannot be written.
    """
    _check(asked)
    folder = Path(asked.save_dir)
    masks = None if asked.mask_dir is None else find_masks(Path(asked.mask_dir))
    photos = _photos(asked)
    refuse_replacing(photos, folder, "largest", asked.overwrite, INVERSION_ENDINGS)
    with prepared(folder), terminate_like_interrupt():
        return InversionRun(asked, folder, masks).run(photos)


def _check(asked: Invert) -> None:
    need_sources(asked.source, asked.save_dir, "invert")
    need_files(generator=asked.settings.generator)
    if asked.mask_dir is not None and not Path(asked.mask_dir).is_dir():
        raise UsageError(f"--mask-dir must be a folder, and {shown(asked.mask_dir)!r} is none.")
    if asked.mask_dir is not None and os.path.realpath(asked.mask_dir) == os.path.realpath(asked.save_dir):
        raise UsageError("--save-dir and --mask-dir must be two folders: the results are called like the masks.")


def _photos(asked: Invert) -> list[Photo]:
    found = find_photos(asked.source)
    if found.results:
        logger.info("Left out as results of earlier runs: %d.", found.results)
    paths = found.photos
    if asked.mask_dir is not None:
        masks = os.path.realpath(asked.mask_dir)
        paths = [path for path in paths if os.path.realpath(path.parent) != masks]
    if not paths:
        raise UsageError("No photo was found apart from what lies in --mask-dir.")
    return assign_names(paths, INVERSION_ENDINGS)


def find_masks(folder: Path) -> dict[str, Path]:
    """The masks in a folder by stem; PNG files come first, then the others sorted by name.

    Raises:
        UsageError: the folder cannot be read.
    """
    try:
        files = sorted((p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES), key=_png_first)
    except OSError as error:
        raise UsageError(f"The folder {shown(folder)} cannot be read ({error.strerror}).") from error
    found: dict[str, Path] = {}
    for path in files:
        found.setdefault(path.stem, path)
    return found


def _png_first(path: Path) -> tuple[bool, str]:
    return path.suffix.lower() != ".png", path.name


@dataclass(frozen=True)
class _Source:
    """A photo, and the mask that belongs to it."""

    photo: Photo
    mask: Path | None


class InversionRun:
    """One run; call :meth:`run` once."""

    def __init__(self, asked: Invert, save_dir: Path, masks: Mapping[str, Path] | None) -> None:
        """``masks`` by stem; None where none were asked for. ``save_dir`` exists."""
        self._asked, self._save_dir, self._masks = asked, save_dir, masks
        self._outcome = Outcome()
        self._inverter: Inverter | None = None

    def run(self, photos: Sequence[Photo]) -> int:
        """Invert the photos; returns the exit code. Raises OstecError where the networks cannot be loaded."""
        outcome, asked = self._outcome, self._asked
        sources = [_Source(photo, (self._masks or {}).get(photo.path.stem)) for photo in photos]
        to_do = sum(self._decide(source).action is Action.COMPLETE for source in sources)
        if to_do:
            from ostec.pipeline import Inverter  # torch and the networks: not before there is work for them

            self._inverter = Inverter.from_pretrained(asked.settings, asked.device)
        handled = 0
        with Display(len(sources), to_do, asked.quiet) as display:
            try:
                for source in sources:
                    self._carry_out(source, display)
                    handled += 1
                    if outcome.stopped:
                        break
            except KeyboardInterrupt as interrupt:
                outcome.signal = signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT
        outcome.untried = len(sources) - handled
        self._conclude()
        return outcome.exit_code

    def _decide(self, source: _Source) -> Step:
        try:
            return decide_inversion(source.photo, source.mask, self._asked)
        except AssetError:  # the run meets it again, and reports it
            return Step(source.photo, Action.COMPLETE)

    def _carry_out(self, source: _Source, display: Display) -> None:
        photo = source.photo
        outcome = None
        try:
            step = self._decide(source)
            if step.action is Action.SKIP:
                self._outcome.skipped += 1
                self._outcome.other_settings += step.other_settings
                logger.debug("%s is done: %s.", photo.label, photo.name)
            elif step.action is Action.REFUSE:
                self._fail(photo, step.reason)
            else:
                if step.reason:
                    logger.info("%s is done again: %s.", photo.label, step.reason)
                outcome = self._invert(source, display)
        except OutputError as error:
            self._fail(photo, str(error), error)
            if is_lost(error, self._save_dir):
                self._outcome.stopped = str(error)
        except Exception as error:  # noqa: BLE001 - a defect that one photo brings out must not cost the others
            self._fail(photo, reason_of(error), error)
        display.end(photo.label, outcome)

    def _invert(self, source: _Source, display: Display) -> str:
        """Do one photo; returns what there is to say about it."""
        photo = source.photo
        if self._inverter is None:
            raise ValueError("A photo is to be inverted, and nothing was loaded.")
        display.begin(photo.label)
        begin = time.perf_counter()
        face = self._inverter(photo.path, source.mask, display.stage)
        if self._masks is not None and source.mask is None:
            warning = f"There is no mask for {photo.label}: all of its face is trusted."
            face = replace(face, record={**face.record, "warnings": [*face.record["warnings"], warning]})
        with pending(self._save_dir, photo.name, [photo.name]):
            # An older record must not vouch for a mixture of old and new files, should the run be killed here.
            remove_files(self._save_dir, (f"{photo.name}.json",))
            face.save(self._save_dir, photo.name)
        for sentence in face.record["warnings"]:
            logger.warning("%s", sentence)
        self._outcome.done += 1
        return f"done in {time.perf_counter() - begin:.1f} s"

    def _fail(self, photo: Photo, reason: str, error: Exception | None = None) -> None:
        self._outcome.failed += 1
        logger.error("%s failed: %s", shown(photo.path), reason.replace("\n", " "))
        if error is not None and not isinstance(error, OstecError):
            logger.debug("Where it failed:", exc_info=error)

    def _conclude(self) -> None:
        outcome = self._outcome
        tell_end(outcome, "settings or masks")
        if not self._asked.quiet:
            untried = f", {outcome.untried} not tried" if outcome.untried else ""
            counts = f"{outcome.done} done, {outcome.skipped} skipped, {outcome.failed} failed{untried}"
            say(f"{counts}; the pictures are in {shown(self._save_dir)}.")


def decide_inversion(photo: Photo, mask: Path | None, asked: Invert) -> Step:
    """What is to be done with a photo, from what lies in the folder of results; REFUSE has the whole sentence.

    Raises:
        AssetError: a result exists, and the photo or its mask cannot be read to compare it.
    """
    folder = Path(asked.save_dir)
    path = folder / f"{photo.name}.json"
    if read_record(path) is not None:
        reason = f"{path.name} belongs to a completed face; choose another --save-dir."
        return Step(photo, Action.REFUSE, reason=reason)
    if asked.overwrite or not path.exists():
        return Step(photo, Action.COMPLETE)
    way_out = "redo it with --overwrite, or choose another --save-dir."
    if is_foreign(path, (INVERSION,)):
        reason = f"{path.name} is in the way, which no earlier run has made; {way_out}"
        return Step(photo, Action.REFUSE, reason=reason)
    record = read_record(path, (INVERSION,))
    if record is None:
        return Step(photo, Action.COMPLETE, reason=f"{path.name} is damaged")
    if source_sha256(record) != sha256_of(photo.path):
        reason = f"{path.name} belongs to another photo, or this one has been edited since; {way_out}"
        return Step(photo, Action.REFUSE, reason=reason)
    if not is_whole(folder, record):
        return Step(photo, Action.COMPLETE, reason="files of its result are missing")
    same = record.get("settings") == to_json(asked.settings) and _mask_sha256(record) == (mask and sha256_of(mask))
    return Step(photo, Action.SKIP, (photo.name,), other_settings=not same)


def _mask_sha256(record: Mapping[str, Any]) -> str | None:
    mask = record.get("mask")
    return str(mask.get("sha256")) if isinstance(mask, dict) else None
