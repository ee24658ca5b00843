"""``ostec eval track``: clips drawn of people's heads, tracked and compared with what was drawn."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ostec.app.checks import need_file
from ostec.app.eval.options import RunOptions
from ostec.app.options import Flat, OutFolder, option


@dataclass(frozen=True)
class EvalTrack:
    """Draw a clip of each photo's head with known motion, track it, and compare.

    Each head is completed without the generator and carries out one script of eleven seconds: turns to 35 degrees,
    nods, speech, a smile, blinks, looks, a hand that passes, a second face. It is tracked as drawn, with noise
    and with blur.
    Writes table.txt and eval.json into DIR; what is done already is kept.
    """

    photos: Annotated[tuple[str, ...], Positional, option(metavar="PHOTO...", help_behavior_hint="(required)")]
    """Photos of faces, nearly frontal."""
    out: OutFolder
    """Folder of the results; made if it does not exist."""
    smooth: Annotated[float, option(metavar="0..1")] = 0.5
    """As of ostec track."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()

        from ostec.app.eval.run import carry_out, finish, need_other_folder, out_folder
        from ostec.app.photos.sources import assign_names
        from ostec.core.errors import UsageError
        from ostec.eval.track.run import KIND, TrackTask, track_study
        from ostec.pipeline.settings import TrackSettings

        if not self.photos:
            raise UsageError("Name a photo.")
        for name in self.photos:
            need_file(name, "The photo")
            need_other_folder(self.out, Path(name).resolve().parent)
        try:
            settings = TrackSettings(smooth=self.smooth)
        except ValueError as error:
            raise UsageError(f"--{error}") from error
        folder = out_folder(self.out, KIND)
        photos = {photo.name: photo.path for photo in assign_names([Path(name) for name in self.photos], ("",))}
        study = track_study(TrackTask(photos, settings), folder)
        return finish(folder, carry_out(study, self.running), study.by, self.running)
