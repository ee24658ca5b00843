"""``ostec complete`` and the command line of the OSTeC paper's code: photos to textured faces."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ostec.app.options import Flat, Folder, OutFolder, option
from ostec.app.photos.options import BatchOptions
from ostec.core.errors import UsageError
from ostec.pipeline.settings import CompleteSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Complete:
    """Complete the face in each photo: UV texture, textured mesh, record, and frontal portrait if asked for.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, folders (with all that is below them) and globs."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    settings: Flat[CompleteSettings] = field(default_factory=CompleteSettings)
    batch: Flat[BatchOptions] = field(default_factory=BatchOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import begin
        from ostec.app.photos.batch import complete_sources

        begin(self.batch.quiet, self.batch.verbose)
        return complete_sources(self.source, self.save_dir, self.settings, self.batch)


@dataclass(frozen=True)
class RunOstec:
    """Complete the face in each photo of a folder, with the options and defaults of the OSTeC paper's code."""

    source_dir: Folder
    """Folder of the photos; folders in it are not searched."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    pickle: Annotated[bool, option(aliases=["-p"])] = False
    """Also save every projected view: render, what of it was trusted, generated picture, latent."""
    settings: Flat[CompleteSettings] = field(default_factory=lambda: CompleteSettings(mode="hard"))
    batch: Flat[BatchOptions] = field(default_factory=BatchOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import begin
        from ostec.app.photos.batch import complete_sources

        begin(self.batch.quiet, self.batch.verbose)
        if not Path(self.source_dir).is_dir():
            raise UsageError(f"--source_dir must be a folder, and {self.source_dir!r} is none.")
        settings = replace(self.settings, save_views=self.settings.save_views or self.pickle)
        if settings.save_views and not settings.projects:
            logger.warning("-p saves nothing: no view is projected without iterations or without a generator.")
        return complete_sources((self.source_dir,), self.save_dir, settings, self.batch, recursive=False)
