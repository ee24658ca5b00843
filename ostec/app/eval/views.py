"""``ostec eval views``: several photos of one person, each completed and compared with the others."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ostec.app.checks import need_file
from ostec.app.eval.options import CompletionOptions, RunOptions
from ostec.app.options import Flag, Flat, OutFolder, option
from ostec.core.errors import UsageError


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
    fuse: Flag = False
    """Leave one out: compare each photo with what all others give together, fused as by ostec fuse."""
    iterations_frontalize: int = 300
    """Iterations of a frontal portrait's own projection, with --truth."""
    completion: Flat[CompletionOptions] = field(default_factory=CompletionOptions)
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()
        self._check()

        from ostec.app.eval.run import carry_out, finish, out_folder
        from ostec.app.photos.sources import assign_names
        from ostec.eval.photos.views import KIND, SIZE, ViewPhoto, ViewsTask, views_study

        front = self.truth is not None
        iterations = self.iterations_frontalize if front else 0
        settings = self.completion.settings(frontalize=front, iterations_frontalize=iterations, uv_size=SIZE)
        folder = out_folder(self.out, KIND)
        named = assign_names([Path(file) for file in self.photos], ("",))
        yaws = self.yaws or (None,) * len(named)
        photos = {p.name: ViewPhoto(p.name, p.path, yaw) for p, yaw in zip(named, yaws, strict=True)}
        truths = assign_names([Path(self.truth)] if self.truth is not None else [], ("",))
        truth = next((ViewPhoto(photo.name, photo.path) for photo in truths), None)
        study = views_study(ViewsTask(photos, truth, settings, folder, self.fuse))
        return finish(folder, carry_out(study, self.running), study.by, self.running)

    def _check(self) -> None:
        from ostec.app.eval.run import need_other_folder

        if len(self.photos) < (1 if self.truth is not None else 2):
            raise UsageError("Name at least two photos of the person, or one and --truth.")
        if self.fuse and self.truth is not None:
            raise UsageError("--fuse compares photos with each other, so it does not go with --truth.")
        if self.yaws and len(self.yaws) != len(self.photos):
            raise UsageError(f"--yaws must have one yaw per photo: {len(self.photos)}, not {len(self.yaws)}.")
        if any(not -90 <= yaw <= 90 for yaw in self.yaws):
            raise UsageError("--yaws must be -90 to 90 degrees.")
        files = (*self.photos, *([self.truth] if self.truth is not None else []))
        for name in files:
            need_file(name, "The photo")
        if len({Path(name).resolve() for name in self.photos}) < len(self.photos):
            raise UsageError("A photo is named twice.")
        for name in files:
            need_other_folder(self.out, Path(name).resolve().parent)
