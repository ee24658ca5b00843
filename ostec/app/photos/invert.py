"""``ostec invert``: photos projected into the face generator."""

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional

from ostec.app.options import Flat, OutFolder, option
from ostec.app.photos.options import DeviceOptions
from ostec.pipeline.settings import InvertSettings


@dataclass(frozen=True)
class Invert:
    """Project the largest face in each photo into the generator: its picture, its latents, their record.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, folders (with all that is below them) and globs."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    mask_dir: Annotated[str | None, option(metavar="DIR")] = None
    """Folder of masks named like the photos (STEM.png, or another picture): white is trusted, black is not."""
    settings: Flat[InvertSettings] = field(default_factory=InvertSettings)
    running: Flat[DeviceOptions] = field(default_factory=DeviceOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import begin
        from ostec.app.photos.inversions import invert_sources

        begin(self.running.quiet, self.running.verbose)
        return invert_sources(self.source, self.save_dir, self.mask_dir, self.settings, self.running)
