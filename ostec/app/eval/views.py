"""``ostec eval views``: several photos of one person, each completed and compared with the others."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from ostec.app.checks import need_file
from ostec.app.eval.options import CompletionOptions, RunOptions
from ostec.app.options import Flat, OutFolder, option
from ostec.core.errors import UsageError
from ostec.pipeline.settings import CompleteSettings

if TYPE_CHECKING:
    from ostec.eval.photos.views import ViewPhoto

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalViews:
    """Complete each of several photos of one person, and compare it with what the others show.

    Every completion is brought onto the other photos by dense landmarks and compared over the face, over what the input
    saw of it and over what it did not see; figures ending in _own are without the warp, those ending in _light after
    one gain and offset per colour channel. Writes table.txt, eval.json, sheet.png and pictures into DIR; what is done
    already is kept, so that the same command goes on after an interruption.
    """

    photos: Annotated[tuple[str, ...], Positional, option(metavar="PHOTO...", help_behavior_hint="(required)")]
    """Two photos or more, or one and --truth."""
    out: OutFolder
    """Folder of the results; made if it does not exist."""
    yaws: Annotated[tuple[float, ...], option(metavar="DEGREES...")] = ()
    """Known yaws of the photos in degrees, one for each, positive where the nose points to the image's right; they are
    recorded, and a fit that is more than 15 degrees off is warned about."""
    truth: Annotated[str | None, option(metavar="PHOTO")] = None
    """A true frontal photo; the frontal portraits are compared with it."""
    iterations_frontalize: int = 300
    """Iterations of a frontal portrait's own projection, with --truth."""
    completion: Flat[CompletionOptions] = field(default_factory=CompletionOptions)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()
        self._check()
        settings = self._settings()

        from ostec.app.console import shown
        from ostec.app.eval.run import finish, out_folder, run_shown
        from ostec.eval.photos.views import KIND, ViewsTask, doubtful_yaws, sheet_rows, views_evaluation, views_jobs
        from ostec.eval.report.pictures import SHEET, sheet
        from ostec.io.images import write_png

        folder = out_folder(self.out, KIND)
        photos = self._photos()
        truth = None if self.truth is None else _named((self.truth,))[0]
        task = ViewsTask({photo.name: photo for photo in photos}, truth, settings, folder)
        outcomes = run_shown(views_jobs(task), task, self.running, "photos")
        for sentence in doubtful_yaws(task, outcomes):
            log.warning("%s", shown(sentence))
        evaluation = views_evaluation(task, outcomes)
        if evaluation.rows:
            write_png(folder / SHEET, sheet(sheet_rows(folder, evaluation), 256))
        return finish(folder, evaluation, ("input", "target"), self.running)

    def _check(self) -> None:
        if len(self.photos) < (1 if self.truth is not None else 2):
            raise UsageError("Name at least two photos of the person, or one and --truth.")
        if self.yaws and len(self.yaws) != len(self.photos):
            raise UsageError(f"--yaws must have one yaw per photo: {len(self.photos)}, not {len(self.yaws)}.")
        if any(not -90 <= yaw <= 90 for yaw in self.yaws):
            raise UsageError("--yaws must be -90 to 90 degrees.")
        files = (*self.photos, *([self.truth] if self.truth is not None else []))
        for name in files:
            need_file(name, "The photo")
        if len({Path(name).resolve() for name in self.photos}) < len(self.photos):
            raise UsageError("A photo is named twice.")
        out = Path(self.out).resolve()
        if self.out and any(Path(name).resolve().parent in (out, out / "pictures") for name in files):
            raise UsageError("--out must be another folder than that of the photos.")

    def _settings(self) -> CompleteSettings:
        from ostec.eval.photos.views import SIZE

        front = self.truth is not None
        iterations = self.iterations_frontalize if front else 0
        return self.completion.settings(frontalize=front, iterations_frontalize=iterations, uv_size=SIZE)

    def _photos(self) -> "list[ViewPhoto]":
        """The photos in their order."""
        yaws = self.yaws or (None,) * len(self.photos)
        return [replace(photo, yaw_deg=yaw) for photo, yaw in zip(_named(self.photos), yaws, strict=True)]


def _named(files: Sequence[str]) -> "list[ViewPhoto]":
    from ostec.app.photos.sources import assign_names
    from ostec.eval.photos.views import ViewPhoto

    return [ViewPhoto(photo.name, photo.path) for photo in assign_names([Path(file) for file in files], ("",))]
