"""``ostec complete``, ``invert``, ``transfer`` and ``relight``, and the command line of the OSTeC paper's code."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional

from ostec.app.options import Flat, Folder, OutFolder, option
from ostec.app.photos.options import BatchOptions, DeviceOptions, RunOptions
from ostec.core.errors import UsageError
from ostec.core.settings import FACE_MODELS, NO_HEAD
from ostec.pipeline.settings import CompleteSettings, InvertSettings

if TYPE_CHECKING:
    Target = str
else:  # the command line offers what the manifests name
    Target = Literal[FACE_MODELS[1:]]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Photos:
    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, folders (with all that is below them) and globs."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""


@dataclass(frozen=True)
class Complete(_Photos):
    """Complete the face in each photo: UV texture, textured mesh, record, and frontal portrait if asked for.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    settings: Flat[CompleteSettings] = field(default_factory=CompleteSettings)
    batch: Flat[BatchOptions] = field(default_factory=BatchOptions)

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.photos.batch import complete_sources

        self.batch.begin()
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
    settings: Flat[CompleteSettings] = field(default_factory=lambda: CompleteSettings(mode="hard", face_model=NO_HEAD))
    batch: Flat[BatchOptions] = field(default_factory=BatchOptions)

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.photos.batch import complete_sources

        self.batch.begin()
        if not Path(self.source_dir).is_dir():
            raise UsageError(f"--source_dir must be a folder, and {self.source_dir!r} is none.")
        settings = replace(self.settings, save_views=self.settings.save_views or self.pickle)
        if settings.save_views and not settings.projects:
            logger.warning("-p saves nothing: no view is projected without iterations or without a generator.")
        return complete_sources((self.source_dir,), self.save_dir, settings, self.batch, recursive=False)


@dataclass(frozen=True)
class Invert(_Photos):
    """Project the largest face in each photo into the generator: its picture, its latents, their record.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    mask_dir: Annotated[str | None, option(metavar="DIR")] = None
    """Folder of masks named like the photos (STEM.png, or another picture): white is trusted, black is not."""
    settings: Flat[InvertSettings] = field(default_factory=InvertSettings)
    running: Flat[DeviceOptions] = field(default_factory=DeviceOptions)

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.photos.inversions import invert_sources

        self.running.begin()
        return invert_sources(self.source, self.save_dir, self.mask_dir, self.settings, self.running)


@dataclass(frozen=True)
class Transfer:
    """Bring the textures of finished faces into another model's UV layout, and fit that model to each face.

    What is done already is skipped, so that the same command goes on after an interruption.
    """

    results: Annotated[tuple[str, ...], Positional, option(metavar="RESULT...", help_behavior_hint="(required)")]
    """Results of ostec complete: NAME.json, NAME.npz, or a folder with all that are in it."""
    to: Target
    """The model; ostec models show says where its files are looked for."""
    out: Annotated[str | None, option(aliases=["-o"], metavar="DIR")] = None
    """Folder to write into, made if it does not exist; beside each result if not given."""
    size: Annotated[int | None, option(metavar="256..4096")] = None
    """Side of the textures in texels; that of the result's texture if not given."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.photos.transfers import transfer_results

        self.running.begin()
        return transfer_results(self.results, self.to, self.out, self.size, self.running)


@dataclass(frozen=True)
class Relight:
    """Draw finished faces under another light: NAME_relit.png, a frontal portrait of the face's mesh.

    The results need materials (ostec complete --materials gltf).
    """

    results: Annotated[tuple[str, ...], Positional, option(metavar="RESULT...", help_behavior_hint="(required)")]
    """Results of ostec complete: NAME.json, NAME.npz, or a folder with all that are in it."""
    light: Annotated[str, option(metavar="YAW,PITCH,COLOUR|SH.json|ENV.hdr")]
    """A lamp to the image's right and up, in degrees, with a colour as white or #ffd0a0; a JSON with harmonics as
    NAME.json has them under light; or a panorama, its middle before the face."""
    save_dir: OutFolder
    """Folder of the pictures; made if it does not exist."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Return the exit code."""
        from ostec.app.photos.relights import relight_results

        self.running.begin()
        return relight_results(self.results, self.light, self.save_dir, self.running)
