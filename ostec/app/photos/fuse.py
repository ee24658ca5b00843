"""``ostec fuse``: several photos, or a video, of one person to one face."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from ostec.app.checks import need_files, need_sources
from ostec.app.options import Flat, OutFolder, option
from ostec.app.photos.batch import CompleteRun, prepared
from ostec.app.photos.options import BatchOptions, DeviceOptions
from ostec.app.photos.runner import Action, Step, terminate_like_interrupt
from ostec.app.photos.sources import Photo, clean_name, find_photos, refuse_replacing
from ostec.core.assets import sha256_of, sha256_of_all
from ostec.core.errors import UsageError
from ostec.core.text import shown
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class Fuse:
    """Complete one person's face from several photos, or from a video: one texture, one head.

    Each photo adds what it shows best, brought to the light of the reference. Photos without a usable face, or of
    somebody else, are left out with a line. The order does not matter.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, folders (with all photos below them), globs; videos by their names."""
    save_dir: OutFolder
    """Folder of the result; made if it does not exist."""
    name: Annotated[str, option(metavar="NAME")]
    """Stem of the result's files."""
    reference: Annotated[str | None, option(metavar="PHOTO")] = None
    """The photo whose light, pose and expression the result has; the best frontal one if not given."""
    settings: Flat[CompleteSettings] = field(default_factory=CompleteSettings)
    running: Flat[DeviceOptions] = field(default_factory=DeviceOptions)

    def run(self) -> int:
        """Return the exit code."""
        self.running.begin()
        need_sources(self.source, self.save_dir, "fuse")
        need_files(generator=self.settings.generator, prior=self.settings.prior)
        if self.settings.faces == "all":
            raise UsageError("ostec fuse takes the largest face of each photo, so --faces all means nothing.")
        if self.name in ("", "..") or clean_name(self.name) != self.name or Path(self.name).name != self.name:
            raise UsageError(f"--name must be a file's name without its ending, not {shown(self.name)!r}.")
        paths, folder = find_photos(self.source), Path(self.save_dir)
        refuse_replacing([Photo(path, self.name) for path in paths], folder, "largest", self.running.overwrite)
        person = PersonPhotos(paths[0], self.name, tuple(paths), self.reference)
        run = FuseRun(folder, self.settings, BatchOptions(**asdict(self.running)))
        if self.running.dry_run:
            return run.describe([person])
        with prepared(folder), terminate_like_interrupt():
            return run.run([person])


@dataclass(frozen=True)
class PersonPhotos(Photo):
    """All photos of one person."""

    paths: tuple[Path, ...] = ()
    reference: str | None = None

    @property
    def label(self) -> str:
        """The result's name."""
        return shown(self.name)

    @property
    def sha256(self) -> str:
        """One for all photos. Raises AssetError: one cannot be read."""
        return sha256_of_all(map(sha256_of, self.paths))


@dataclass(frozen=True)
class _Fused:
    """What :meth:`CompleteRun.save` needs."""

    faces: tuple[Any, ...]
    seconds: float
    error: None = None


class FuseRun(CompleteRun):
    """Completes the face of one person."""

    def decide(self, item: Photo) -> Step[Photo]:
        """What is to be done. Raises AssetError: a photo cannot be read."""
        step = super().decide(item)
        return replace(step, action=Action.MAKE, names=()) if step.action is Action.EXTEND else step

    def make(self, steps: Sequence[Step[Photo]]) -> Sequence[Any]:
        """Fuse and complete."""
        begin = time.perf_counter()
        (step,) = steps
        assert isinstance(step.item, PersonPhotos)
        self._started = self._journal.start()
        made = self._completer.fuse(step.item.paths, self.on_progress, step.item.reference)
        return [_Fused((made,), time.perf_counter() - begin)]
