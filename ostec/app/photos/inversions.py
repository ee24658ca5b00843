"""From sources and settings to a folder of inversions: checks, masks, what is done, the run over the photos."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ostec.app.checks import need_files, need_sources
from ostec.app.console import shown, told_if_it_takes_long
from ostec.app.photos.batch import prepared
from ostec.app.photos.options import DeviceOptions
from ostec.app.photos.plan import other_settings, whole_results
from ostec.app.photos.results import INVERSION_ENDINGS, pending, read_record, remove_files
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
    """Invert all photos in ``sources`` into ``save_dir``, with the masks of ``mask_dir``; return the exit code.

    It is 0 if all are done or skipped, 1 if some failed, 130 after Ctrl-C, 143 after SIGTERM. Raises OstecError where
    nothing could start.
    """
    need_sources(sources, save_dir, "invert")
    need_files(generator=settings.generator)
    folder = Path(save_dir)
    photos = _photos(sources, mask_dir, folder)
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


def _photos(sources: Sequence[str], mask_dir: str | None, save_dir: Path) -> list[MaskedPhoto]:
    masks = {} if mask_dir is None else find_masks(Path(mask_dir), save_dir)
    paths = find_photos(sources)
    if mask_dir is not None:
        place = os.path.realpath(mask_dir)
        paths = [path for path in paths if os.path.realpath(path.parent) != place]
    if not paths:
        raise UsageError("No photo was found apart from what lies in --mask-dir.")
    found = [(photo, masks.get(photo.path.stem)) for photo in assign_names(paths, INVERSION_ENDINGS)]
    return [MaskedPhoto(p.path, p.name, mask, mask_dir is not None and mask is None) for p, mask in found]


def find_masks(folder: Path, save_dir: Path) -> dict[str, Path]:
    """The masks in a folder by stem, PNG before other pictures. Raises UsageError: it cannot hold masks, or be read."""
    if not folder.is_dir():
        raise UsageError(f"--mask-dir must be a folder, and {shown(folder)!r} is none.")
    if os.path.realpath(folder) == os.path.realpath(save_dir):
        raise UsageError("--save-dir and --mask-dir must be two folders: the results are called like the masks.")
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    except OSError as error:
        raise UsageError(f"The folder {shown(folder)} cannot be read ({error.strerror}).") from error
    files.sort(key=lambda path: path.suffix.lower() != ".png")
    return {path.stem: path for path in reversed(files)}


class InvertRun(Run[MaskedPhoto]):
    """Projects photos into the generator."""

    def __init__(self, folder: Path, settings: InvertSettings, options: DeviceOptions) -> None:
        super().__init__(folder, options)
        self._settings, self._device = settings, options.device

    def decide(self, item: MaskedPhoto) -> Step[MaskedPhoto]:
        """What is to be done with a photo. Raises AssetError: it, or its mask, cannot be read."""
        if read_record(self.folder / f"{item.name}.json") is not None:
            reason = f"{item.name}.json belongs to a completed face; choose another --save-dir."
            return Step(item, Action.REFUSE, reason=reason)
        if self.redoes(self.folder / f"{item.name}.json"):
            return Step(item, Action.MAKE)
        whole = whole_results(item, self.folder, item.name, lambda _: [item.name], INVERSION)
        if isinstance(whole, Step):
            refused = whole.action is Action.REFUSE
            way_out = "; redo it with --overwrite, or choose another --save-dir."
            return replace(whole, reason=whole.reason + way_out) if refused else whole
        record = whole[item.name]
        same_mask = (record.get("mask") or {}).get("sha256") == (item.mask and sha256_of(item.mask))
        differs = other_settings(record, self._settings) if same_mask else "masks"
        return Step(item, Action.SKIP, (item.name,), differs=differs)

    def load(self) -> None:
        """Load the networks."""
        with told_if_it_takes_long("Loading models ..."):
            from ostec.pipeline import Inverter  # torch and the networks: not before there is work for them

            self._inverter = Inverter.from_pretrained(self._settings, self._device)

    def make(self, steps: Sequence[Step[MaskedPhoto]]) -> Sequence[Any]:
        """Invert one photo."""
        (step,) = steps
        self._begun = time.perf_counter()
        return [self._inverter(step.item.path, step.item.mask, self.on_progress)]

    def save(self, step: Step[MaskedPhoto], made: Any) -> str:
        """Write the result."""
        photo = step.item
        warnings = list(made.record["warnings"])
        if photo.lacks_mask:
            warnings.append(f"There is no mask for {photo.label}: all of its face is trusted.")
        with pending(self.folder, photo.name, [photo.name]):
            remove_files(self.folder, (f"{photo.name}.json",))
            replace(made, record={**made.record, "warnings": warnings}).save(self.folder, photo.name)
        for sentence in warnings:
            logger.warning("%s", sentence)
        return seconds_since(self._begun)

    def where(self) -> str:
        """The folder."""
        return f"the pictures are in {shown(self.folder)}"
