"""``ostec eval holdout``: photos with a part of the face hidden on purpose."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from ostec.app.eval.options import CompletionOptions, RunOptions
from ostec.app.options import Flag, Flat, OutFolder, option
from ostec.core.errors import UsageError

if TYPE_CHECKING:
    from ostec.eval.photos.holdout import HoldoutPhoto


@dataclass(frozen=True)
class MaskedOptions(CompletionOptions):
    """What is judged."""

    mode: Annotated[Literal["soft", "hard"], option(aliases=["-m"])] = "soft"
    """soft keeps the photo's texels, hard lets the photo only guide."""


@dataclass(frozen=True)
class EvalHoldout:
    """Hide a part of the face in every photo of a folder, complete it, and measure the error of what was filled in.

    Aligned portraits that the face fills are photos too: where the detector finds no face, the whole picture is taken
    for it, and the table says so. Writes table.txt, eval.json, sheet.png and pictures into --out; what is done already
    is kept, so that the same command goes on after an interruption.
    """

    folder: Annotated[str, Positional, option(metavar="DIR")]
    """Folder of photos, one face each."""
    out: OutFolder
    """Folder of the results; made if it does not exist."""
    masks: Literal["half", "random", "profile"] = "half"
    """What is hidden: one side of the face by turns, irregular blobs over a third of it, or what a yaw of 60 degrees
    would hide."""
    count: int = 0
    """Photos at most, evenly chosen; 0 takes all."""
    held_out: Flag = False
    """Only photos that the models that ship have not been trained on: the CRC-32 of the name is 0 modulo 20."""
    exclude: Annotated[str | None, option(metavar="DIR")] = None
    """With --held-out: folder of photos whose people (same number in the name) were held out as well."""
    baselines: Flag = False
    """Also fill with the median colour, the mirrored other side and inpainting."""
    seed: int = 0
    """Seed of the random masks."""
    completion: Flat[MaskedOptions] = field(default_factory=MaskedOptions)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()
        self._check()

        from ostec.app.eval.run import carry_out, finish, out_folder
        from ostec.eval.photos.holdout import KIND, SIZE, HoldoutPlan, HoldoutTask, holdout_study

        plan = HoldoutPlan(self.masks, self.completion.settings(uv_size=SIZE), self.seed, self.baselines)
        photos = {photo.name: photo for photo in self._photos()}
        study = holdout_study(HoldoutTask(photos, plan, out_folder(self.out, KIND)))
        return finish(study.folder, carry_out(study, self.running), study.by, self.running)

    def _check(self) -> None:
        from ostec.app.console import shown
        from ostec.app.eval.run import need_other_folder

        for folder in (self.folder, self.exclude):
            if folder is not None and not Path(folder).is_dir():
                raise UsageError(f"{shown(folder)} is no folder of photos.")
        need_other_folder(self.out, Path(self.folder))
        for name, value in (("count", self.count), ("seed", self.seed)):
            if value < 0:
                raise UsageError(f"--{name} must be 0 or more, not {value}.")
        if self.exclude is not None and not self.held_out:
            raise UsageError("--exclude goes with --held-out.")

    def _photos(self) -> "list[HoldoutPhoto]":
        """The photos in their order, the hidden side by turns."""
        from ostec.app.console import shown
        from ostec.app.photos.sources import assign_names, find_photos
        from ostec.app.train.prior import excluded_numbers
        from ostec.eval.photos.holdout import HoldoutPhoto, evenly
        from ostec.train.portraits import is_held_out

        paths = find_photos((self.folder,), recursive=False)
        if self.held_out:
            excluded = excluded_numbers(None if self.exclude is None else Path(self.exclude))
            paths = [path for path in paths if is_held_out(path.stem, excluded)]
            if not paths:
                raise UsageError(f"{shown(self.folder)} has no photo that is held out.")
        named = assign_names(evenly(paths, self.count), ("",))
        return [HoldoutPhoto(p.name, p.path, "left" if number % 2 else "right") for number, p in enumerate(named)]
