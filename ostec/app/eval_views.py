"""``ostec eval views``: several photos of one person, each completed and compared with the others."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ostec.app.console import say, set_up_logging, shown
from ostec.core.errors import UsageError
from ostec.core.settings import CompleteSettings, Mode

if TYPE_CHECKING:
    from ostec.eval.views import ViewPhoto

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalViews:
    """Complete each of several photos of one person, and compare it with what the others show.

    Every completion is brought onto the other photos by dense landmarks and compared over the face, over what the input
    saw of it and over what it did not see; figures ending in _own are without the warp, those ending in _light after
    one gain and offset per colour channel. Writes table.txt, eval.json, sheet.png and pictures into DIR; what is done
    already is kept, so that the same command goes on after an interruption.
    """

    photos: tuple[str, ...]
    """Two photos or more, or one and --truth."""
    out: str
    """Folder of the results; made if it does not exist."""
    yaws: tuple[float, ...] = ()
    """Known yaws of the photos in degrees, one for each, positive where the nose points to the image's right; they are
    recorded, and a fit that is more than 15 degrees off is warned about."""
    truth: str | None = None
    """A true frontal photo; the frontal portraits are compared with it."""
    iterations: int = 50
    """Iterations per projected view at most."""
    iterations_frontalize: int = 300
    """Iterations of a frontal portrait's own projection, with --truth."""
    mode: Mode = "soft"
    """soft keeps the photo's texels, hard lets the photo only guide, auto decides by yaw and generator."""
    generator: str = "default"
    """default, none, or a file of ostec train generator."""
    prior: str = "default"
    """default, none, or a file of ostec train prior."""
    workers: int = 0
    """Processes; 0 takes one per core."""
    quiet: bool = False
    """Say nothing but warnings, errors and the table."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        set_up_logging(self.quiet, self.verbose)
        self._check()
        settings = self._settings()

        from ostec.app.evaluation import out_folder, run_shown
        from ostec.eval.loaded import drop_incomplete
        from ostec.eval.pictures import sheet
        from ostec.eval.report import write_report
        from ostec.eval.views import ViewsTask, doubtful_yaws, sheet_rows, views_evaluation, views_jobs
        from ostec.io.images import write_png

        folder = out_folder(self.out)
        photos = self._photos()
        truth = None if self.truth is None else _named((self.truth,))[0]
        task = ViewsTask({photo.name: photo for photo in photos}, truth, settings, folder)
        jobs = views_jobs(task)
        drop_incomplete(jobs)
        outcomes = run_shown(jobs, task, self.workers, self.quiet, "photos")
        for sentence in doubtful_yaws(task, outcomes):
            log.warning("%s", shown(sentence))
        evaluation = views_evaluation(task, outcomes)
        if evaluation.rows:
            write_png(folder / "sheet.png", sheet(sheet_rows(folder, evaluation), 256))
        say(write_report(folder, evaluation, ("input", "target")).rstrip("\n"))
        return 1 if evaluation.failures else 0

    def _check(self) -> None:
        if self.quiet and self.verbose:
            raise UsageError("--quiet and --verbose exclude each other.")
        if len(self.photos) < (1 if self.truth is not None else 2):
            raise UsageError("Name at least two photos of the person, or one and --truth.")
        if self.yaws and len(self.yaws) != len(self.photos):
            raise UsageError(f"--yaws must have one yaw per photo: {len(self.photos)}, not {len(self.yaws)}.")
        if any(not -90 <= yaw <= 90 for yaw in self.yaws):
            raise UsageError("--yaws must be -90 to 90 degrees.")
        files = (*self.photos, *([self.truth] if self.truth is not None else []))
        for name in files:
            if not Path(name).is_file():
                raise UsageError(f"The photo {shown(name)} does not exist.")
        if len({Path(name).resolve() for name in self.photos}) < len(self.photos):
            raise UsageError("A photo is named twice.")
        out = Path(self.out).resolve()
        if self.out and any(Path(name).resolve().parent in (out, out / "pictures") for name in files):
            raise UsageError("--out must be another folder than that of the photos.")

    def _settings(self) -> CompleteSettings:
        from ostec.eval.views import SIZE

        try:
            return CompleteSettings(
                mode=self.mode,
                iterations=self.iterations,
                frontalize=self.truth is not None,
                iterations_frontalize=self.iterations_frontalize if self.truth is not None else 0,
                generator=self.generator,
                prior=self.prior,
                uv_size=SIZE,
            )
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _photos(self) -> "list[ViewPhoto]":
        """The photos in their order."""
        yaws = self.yaws or (None,) * len(self.photos)
        return [replace(photo, yaw_deg=yaw) for photo, yaw in zip(_named(self.photos), yaws, strict=True)]


def _named(files: Sequence[str]) -> "list[ViewPhoto]":
    from ostec.app.sources import assign_names
    from ostec.eval.views import ViewPhoto

    return [ViewPhoto(photo.name, photo.path) for photo in assign_names([Path(file) for file in files], ("",))]
