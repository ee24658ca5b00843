"""From sources and settings to a folder of inversions: checks, masks, what is done, the run over the photos."""

import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ostec.app.checks import need_files, need_sources
from ostec.app.console import shown, told_if_it_takes_long
from ostec.app.photos.batch import prepared
from ostec.app.photos.options import DeviceOptions
from ostec.app.photos.plan import other_settings
from ostec.app.photos.results import (
    INVERSION_ENDINGS,
    Record,
    is_foreign,
    is_whole,
    pending,
    read_record,
    remove_files,
    source_sha256,
)
from ostec.app.photos.runner import Action, Run, Step, seconds_since, terminate_like_interrupt
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.core.assets import sha256_of
from ostec.core.errors import UsageError
from ostec.core.record import INVERSION
from ostec.io.images import IMAGE_SUFFIXES
from ostec.pipeline.settings import InvertSettings

logger = logging.getLogger(__name__)


def invert_sources(
    sources: Sequence[str], save_dir: str, mask_dir: str | None, settings: InvertSettings, options: DeviceOptions
) -> int:
    """Invert all photos in ``sources`` into ``save_dir``, with the masks of ``mask_dir``.

    Returns:
        The exit code: 0 all done or skipped, 1 some failed, 130 Ctrl-C, 143 SIGTERM.

    Raises:
        OstecError: nothing could start: wrong use, no photo, something is missing, results cannot be written.
    """
    need_sources(sources, save_dir, "invert")
    need_files(generator=settings.generator)
    folder = Path(save_dir)
    masks = None if mask_dir is None else find_masks(Path(mask_dir), folder)
    photos = _photos(sources, masks, mask_dir)
    refuse_replacing(photos, folder, "largest", options.overwrite, INVERSION_ENDINGS)
    run = InvertRun(folder, settings, options)
    if options.dry_run:
        return run.describe(photos)
    with prepared(folder), terminate_like_interrupt():
        return run.run(photos)


@dataclass(frozen=True)
class MaskedPhoto(Photo):
    """A photo, and the mask that belongs to it."""

    mask: Path | None = None
    lacks_mask: bool = False
    """Masks were asked for, and there is none for this photo."""


def _photos(sources: Sequence[str], masks: Mapping[str, Path] | None, mask_dir: str | None) -> list[MaskedPhoto]:
    found = find_photos(sources)
    if found.results:
        logger.info("Left out as results of earlier runs: %d.", found.results)
    paths = found.photos
    if mask_dir is not None:
        place = os.path.realpath(mask_dir)
        paths = [path for path in paths if os.path.realpath(path.parent) != place]
    if not paths:
        raise UsageError("No photo was found apart from what lies in --mask-dir.")
    named = assign_names(paths, INVERSION_ENDINGS)
    if masks is None:
        return [MaskedPhoto(photo.path, photo.name) for photo in named]
    belonging = [masks.get(photo.path.stem) for photo in named]
    return [
        MaskedPhoto(photo.path, photo.name, mask, mask is None) for photo, mask in zip(named, belonging, strict=True)
    ]


def find_masks(folder: Path, save_dir: Path) -> dict[str, Path]:
    """The masks in a folder by stem; PNG files come first, then the others sorted by name.

    Raises:
        UsageError: the folder cannot be read, or is that of the results.
    """
    if not folder.is_dir():
        raise UsageError(f"--mask-dir must be a folder, and {shown(folder)!r} is none.")
    if os.path.realpath(folder) == os.path.realpath(save_dir):
        raise UsageError("--save-dir and --mask-dir must be two folders: the results are called like the masks.")
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


class InvertRun(Run[MaskedPhoto]):
    """Projects photos into the generator."""

    def __init__(self, folder: Path, settings: InvertSettings, options: DeviceOptions) -> None:
        super().__init__(folder, options)
        self._settings, self._device = settings, options.device

    def decide(self, item: MaskedPhoto) -> Step[MaskedPhoto]:
        """What is to be done with a photo. Raises AssetError: it, or its mask, cannot be read."""
        path = self.folder / f"{item.name}.json"
        if read_record(path) is not None:
            reason = f"{path.name} belongs to a completed face; choose another --save-dir."
            return Step(item, Action.REFUSE, reason=reason)
        if self.options.overwrite or not path.exists():
            return Step(item, Action.MAKE)
        way_out = "redo it with --overwrite, or choose another --save-dir."
        if is_foreign(path, (INVERSION,)):
            reason = f"{path.name} is in the way, which no earlier run has made; {way_out}"
            return Step(item, Action.REFUSE, reason=reason)
        record = read_record(path, (INVERSION,))
        if record is None:
            return Step(item, Action.MAKE, reason=f"{path.name} is damaged")
        if source_sha256(record) != sha256_of(item.path):
            reason = f"{path.name} belongs to another photo, or this one has been edited since; {way_out}"
            return Step(item, Action.REFUSE, reason=reason)
        if not is_whole(self.folder, record):
            return Step(item, Action.MAKE, reason="files of its result are missing")
        return Step(item, Action.SKIP, (item.name,), differs=self._differs(record, item))

    def _differs(self, record: Record, item: MaskedPhoto) -> str:
        if _mask_sha256(record) != (item.mask and sha256_of(item.mask)):
            return "masks"
        return other_settings(record, self._settings)

    def load(self) -> None:
        """Load the networks."""
        with told_if_it_takes_long("Loading models ..."):
            from ostec.pipeline import Inverter  # torch and the networks: not before there is work for them

            self._inverter = Inverter.from_pretrained(self._settings, self._device)

    def make(self, steps: Sequence[Step[MaskedPhoto]]) -> Sequence[Any]:
        """Invert one photo."""
        (step,) = steps
        self._begun = time.perf_counter()
        return [self._inverter(step.item.path, step.item.mask, self.display.stage)]

    def save(self, step: Step[MaskedPhoto], made: Any) -> str:
        """Write the result."""
        photo = step.item
        warnings = list(made.record["warnings"])
        if photo.lacks_mask:
            warnings.append(f"There is no mask for {photo.label}: all of its face is trusted.")
        with pending(self.folder, photo.name, [photo.name]):
            # An older record must not vouch for a mixture of old and new files, should the run be killed here.
            remove_files(self.folder, (f"{photo.name}.json",))
            replace(made, record={**made.record, "warnings": warnings}).save(self.folder, photo.name)
        for sentence in warnings:
            logger.warning("%s", sentence)
        return seconds_since(self._begun)

    def where(self) -> str:
        """The folder."""
        return f"the pictures are in {shown(self.folder)}"


def _mask_sha256(record: Mapping[str, Any]) -> str | None:
    mask = record.get("mask")
    return str(mask.get("sha256")) if isinstance(mask, dict) else None
