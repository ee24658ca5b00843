"""``ostec fit``: photos to faces whose shape, texture, pose and light are fitted to the photo's colours."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ostec.app.checks import need_file, need_files, need_sources
from ostec.app.console import told_if_it_takes_long
from ostec.app.options import Flag, Flat, OutFolder, option
from ostec.app.photos.batch import CompleteRun, prepared
from ostec.app.photos.journal import Journal
from ostec.app.photos.options import BatchOptions, RunOptions
from ostec.app.photos.results import read_record
from ostec.app.photos.runner import Action, Step, terminate_like_interrupt
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.core.settings import Expression, FaceModel, Faces, Hair
from ostec.core.settings import Fit as Reader
from ostec.fit.settings import RgbFitSettings
from ostec.pipeline.settings import FitSettings


@dataclass(frozen=True)
class FitOptions:
    """What decides the content of a fit."""

    face_model: FaceModel = "head"
    """Model whose shape is fitted: head ships, the others' files must be there."""
    fit: Reader = "landmarks"
    """What the first stage begins with: landmarks, or a published network that reads the coefficients from the photo
    (deep3d for bfm, faceverse for faceverse)."""
    decoder: Annotated[str, option(metavar="default|linear|FILE")] = "default"
    """What makes the evenly lit texture: the linear decoder, which is the default, or a file of ostec train decoder."""
    published: Flag = False
    """Compare at 224 pixels and take the nearest texel, as FFHQ-UV's code does; else at the photo's own resolution,
    with interpolation."""
    faces: Faces = "largest"
    """Which faces of a photo are fitted."""
    expression: Expression = "photo"
    """What the head shows: the photo's expression, or none. Its GLB has all expressions either way."""
    hair: Hair = "painted"
    """Hair on the head's scalp: painted as the photo shows it, or none."""
    uv_size: Annotated[int, option(metavar="256..4096")] = 1024
    """Side of the UV texture in texels, 256 to 4096."""
    skin_tone: Annotated[str, option(metavar="keep|ITA")] = "keep"
    """How bright the albedo's skin is: as in the photo, or an ITA in degrees."""
    frontalize: Annotated[bool, option(aliases=["-f"])] = False
    """Also write the frontal portrait."""
    turntable: Flag = False
    """Also write an animation of the head turning."""
    rgb: RgbFitSettings = field(default_factory=RgbFitSettings)

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> FitSettings:
        """As the pipeline takes them. Raises ValueError for a value out of range."""
        return FitSettings(**{one.name: getattr(self, one.name) for one in fields(self)})


@dataclass(frozen=True)
class Fit:
    """Fit a face model to each photo by its colours: landmarks, texture and light, then all together.

    Leaves what ostec complete --materials gltf leaves, on the fitted shape, and each stage's render, map, meshes and
    coefficients. What is done already is skipped, so that the same command goes on after an interruption.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, folders (with all that is below them) and globs."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    options: Flat[FitOptions] = field(default_factory=FitOptions)
    config: Annotated[str | None, option(metavar="FILE")] = None
    """TOML file of settings, such as uv_size = 512 and [rgb] steps = 100; options of the command count more."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Return the exit code."""
        self.running.begin()
        need_sources(self.source, self.save_dir, "fit")
        settings, folder = self.options.settings(), Path(self.save_dir)
        need_files(prior=settings.prior)
        if settings.decoder not in ("default", "linear"):
            need_file(settings.decoder, "The decoder")
        photos = assign_names(find_photos(self.source))
        refuse_replacing(photos, folder, settings.faces, self.running.overwrite)
        run = FitRun(folder, settings, BatchOptions(**asdict(self.running)))
        if self.running.dry_run:
            return run.describe(photos)
        with prepared(folder), terminate_like_interrupt():
            return run.run(photos)


class FitRun(CompleteRun):
    """Fits the faces of photos, and adds to results what they lack."""

    def decide(self, item: Photo) -> Step[Photo]:
        """What is to be done with a photo. Raises AssetError: it cannot be read."""
        step = super().decide(item)
        if step.action in (Action.SKIP, Action.EXTEND):
            record = read_record(self.folder / f"{step.names[0]}.json")
            if record is not None and "fit" not in record:
                reason = f"{step.names[0]}.json belongs to a completed face"
                return Step(item, Action.REFUSE, reason=reason)
        return step

    def load(self) -> None:
        """Load the networks."""
        with told_if_it_takes_long("Loading models ..."):
            from ostec.pipeline import FaceFitter  # torch and the networks: not before there is work for them

            self._completer = FaceFitter.from_pretrained(self._settings, "cpu")
        self._journal = Journal(self.folder, str(self._completer.device))
