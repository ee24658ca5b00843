"""``ostec edit``: latents of a generator, or of photos, edited in pose, expression and light."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional

from ostec.app.checks import need_file, need_files, need_sources
from ostec.app.console import Display, say, shown, told_if_it_takes_long
from ostec.app.options import Flag, Flat, OutFolder, option
from ostec.app.photos.options import RunOptions
from ostec.app.photos.results import is_foreign, read_record
from ostec.app.photos.sources import Photo, assign_names, find_photos, refuse_replacing
from ostec.core.errors import OstecError, OutputError, UsageError
from ostec.core.record import EDIT

if TYPE_CHECKING:
    from ostec.core.types import FloatArray
    from ostec.pipeline.editing import EditedFace, LatentEditor

logger = logging.getLogger(__name__)

LATENTS = (".npz", ".pt")


@dataclass(frozen=True)
class _Item:
    """What is edited."""

    name: str
    path: Path
    index: int | None
    """Which latent of the file; None for a photo."""


@dataclass(frozen=True)
class Edit:
    """Edit faces in a generator's latents: turn them, make them neutral, light them evenly.

    Directions are fitted to the generator's own samples (ostec train edits). After each step the picture is measured
    and the step corrected. Leaves NAME.png, NAME_VIEW.png, NAME.npz with the latents and NAME.json with the measures.
    """

    source: Annotated[tuple[str, ...], Positional, option(metavar="SOURCE...", help_behavior_hint="(required)")]
    """Photos, which are inverted first; or latents: .npz of ostec invert or generate, .pt of FFHQ-UV."""
    save_dir: OutFolder
    """Folder of the results; made if it does not exist."""
    yaw: Annotated[float | None, option(metavar="DEGREES")] = None
    """Yaw of the edited face; positive turns the nose to the image's right. As it is if not given."""
    pitch: Annotated[float | None, option(metavar="DEGREES")] = None
    """Pitch; positive is up."""
    expression: Literal["keep", "neutral"] = "keep"
    """neutral closes the mouth and takes the smile away."""
    light: Literal["keep", "even"] = "keep"
    """even takes out what of the light changes over the face."""
    glasses: Literal["keep", "off"] = "keep"
    """off takes glasses away, with StyleFlow's flow and a StyleGAN2 of FFHQ; the generator that ships draws none."""
    bald: Flag = False
    """Take the hair away, with the same; the generator that ships draws none."""
    views: Annotated[str | None, option(metavar="front,left,right,up,down")] = None
    """Further pictures of the edited face, named after the side that they reveal."""
    generator: Annotated[str, option(metavar="default|NAME|FILE")] = "default"
    """default, a name of ostec models list, or a generator's file."""
    edits: Annotated[str, option(metavar="default|FILE")] = "default"
    """default for the generator that ships, a file of ostec train edits, or StyleFlow's modellarge10k.pt for a
    StyleGAN2 of FFHQ."""
    iterations: Annotated[int, option(aliases=["-i"])] = 200
    """Of the inversion of photos."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Return the exit code: 1 if some could not be edited."""
        self.running.begin()
        self._check()
        items, folder = list(self._items()), Path(self.save_dir)
        to_do = [item for item in items if self.running.overwrite or not _is_done(folder / f"{item.name}.json")]
        self._refuse_replacing(items, to_do, folder)
        if self.running.dry_run:
            say(f"{len(to_do)} of {len(items)} would be edited into {shown(folder)}.")
            return 0
        return self._carry_out(to_do, len(items) - len(to_do), folder)

    def _refuse_replacing(self, items: "list[_Item]", to_do: "list[_Item]", folder: Path) -> None:
        """Raise UsageError if a file would replace a source, or a picture that no run has made."""
        endings = (".npz", ".json", ".png", *(f"_{view}.png" for view in self.asked_views))
        refuse_replacing([Photo(item.path, item.name) for item in items], folder, "largest", True, endings)
        sources = [Photo(item.path, item.name) for item in to_do]
        refuse_replacing(sources, folder, "largest", self.running.overwrite, (".png",))

    def _carry_out(self, items: "list[_Item]", skipped: int, folder: Path) -> int:
        failed = 0
        if items:
            with told_if_it_takes_long("Loading models ..."):
                bench = _Bench(self)
        with Display(len(items), len(items), self.running.quiet, "faces") as display:
            for item in items:
                display.begin(item.name)
                try:
                    bench.edit(item, folder)
                    display.end(item.name, "edited")
                except OstecError as error:
                    failed += 1
                    logger.error("%s: %s", item.name, error)
                    display.end(item.name, None)
        if not self.running.quiet:
            say(f"{len(items) - failed} edited, {skipped} skipped, {failed} failed, in {shown(folder)}.")
        return 1 if failed else 0

    def _check(self) -> None:
        from ostec.pipeline.editing import VIEWS_DEG

        need_sources(self.source, self.save_dir, "edit")
        need_files(generator=self.generator)
        if self.edits != "default":
            need_file(self.edits, "The file of edits")
        if self.edits == "default" and self.generator != "default":
            raise UsageError("The edits that ship are of the generator that ships: ostec train edits makes others.")
        unknown = [view for view in self.asked_views if view not in VIEWS_DEG]
        if unknown:
            raise UsageError(f"--views must be of {','.join(VIEWS_DEG)}, got {unknown[0]!r}.")
        if self.unmeasured and self.generator == "default":
            raise UsageError("The generator that ships draws faces without glasses and hair: nothing is to be edited.")
        if not self.asked and not self.asked_views and not self.unmeasured:
            raise UsageError(
                "Ask for an edit: --yaw, --pitch, --expression neutral, --light even, --glasses off, --bald or --views."
            )

    @property
    def asked_views(self) -> tuple[str, ...]:
        """Names of the views."""
        return tuple(part.strip() for part in self.views.split(",")) if self.views else ()

    @property
    def asked(self) -> dict[str, float]:
        """Attributes that are asked for."""
        from ostec.pipeline.editing import EVEN, NEUTRAL

        pose = {"yaw_deg": self.yaw, "pitch_deg": self.pitch}
        found = {name: value for name, value in pose.items() if value is not None}
        found |= NEUTRAL if self.expression == "neutral" else {}
        return found | (EVEN if self.light == "even" else {})

    @property
    def unmeasured(self) -> dict[str, float]:
        """Attributes that are asked for and that nothing measures."""
        return ({"glasses": 0.0} if self.glasses == "off" else {}) | ({"baldness": 1.0} if self.bald else {})

    def _items(self) -> "Iterator[_Item]":
        from ostec.pipeline.generation import read_latents

        files = [Path(source) for source in self.source if Path(source).suffix.lower() in LATENTS]
        for path in files:
            need_file(path, "The file of latents")
        for file in assign_names(files, [""]):
            for index in range(len(read_latents(file.path).values)):
                yield _Item(f"{file.name}_{index:04d}", file.path, index)
        photos = [source for source in self.source if Path(source).suffix.lower() not in LATENTS]
        for photo in assign_names(find_photos(photos)) if photos else ():
            yield _Item(photo.name, photo.path, None)


def _is_done(record: Path) -> bool:
    """Raises OutputError where another command has written the file."""
    if is_foreign(record, (EDIT,)):
        raise OutputError(f"{shown(record)} is no record of ostec edit; choose another --save-dir, or use --overwrite.")
    return read_record(record, (EDIT,)) is not None


class _Bench:
    """All that is loaded."""

    def __init__(self, command: Edit) -> None:
        from ostec.core.assets import sha256_of
        from ostec.load.generators import read_generator
        from ostec.load.networks import asset_file

        self.command = command
        path = asset_file("generator", command.generator)
        self._generator = read_generator(path).model.generator
        self._made_with = {path.name: sha256_of(path)}
        self._editor = self._load_editor()

    def _load_editor(self) -> "LatentEditor":
        import torch

        from ostec.core.assets import sha256_of
        from ostec.load.networks import asset_file, load_recogniser
        from ostec.pipeline.editing import LatentEditor
        from ostec.pipeline.models import load_attribute_reader, load_edits

        path = asset_file("edits", self.command.edits)
        self._made_with[path.name] = sha256_of(path)
        edits = load_edits(path, self._generator.shape.w_dim)
        cpu = torch.device("cpu")
        judge = load_recogniser(cpu)
        self._made_with |= judge.hashes
        return LatentEditor(self._generator, edits, load_attribute_reader(cpu), recogniser=judge.network)

    def edit(self, item: _Item, folder: Path) -> None:
        """Edit one face and write its files."""
        import numpy as np

        from ostec.export.record import versions, write_record
        from ostec.io.files import make_folder, write_atomic
        from ostec.io.images import write_png
        from ostec.pipeline.editing import VIEWS_DEG

        made = self._editor.edit(self._latent(item), self.command.asked, self.command.unmeasured)
        views: dict[str, EditedFace] = {}
        for name in self.command.asked_views:
            pitch, yaw = VIEWS_DEG[name]
            views[name] = self._editor.edit(made.latent, {"yaw_deg": yaw, "pitch_deg": pitch})
        make_folder(folder)
        arrays: dict[str, Any] = {"w": made.latent[None], **{f"w_{name}": view.latent for name, view in views.items()}}
        write_atomic(folder / f"{item.name}.npz", lambda stream: np.savez_compressed(stream, **arrays))
        write_png(folder / f"{item.name}.png", made.picture)  # after the latents: the next run sees whose it is
        for name, view in views.items():
            write_png(folder / f"{item.name}_{name}.png", view.picture)
        record = {
            "source": item.path.name,
            "asked": self.command.asked | self.command.unmeasured,
            "before": made.before,
            "after": made.after,
            "rounds": made.rounds,
            "likeness": made.likeness,
            "views": {name: view.after for name, view in views.items()},
            "weights": self._made_with,
            "versions": versions(),
            "files": [f"{item.name}{e}.png" for e in ("", *(f"_{name}" for name in views))] + [f"{item.name}.npz"],
        }
        write_record(folder, item.name, record, EDIT)

    def _latent(self, item: _Item) -> "FloatArray":
        """W+ [num_ws, W] of an item."""
        import torch

        from ostec.pipeline.generation import check_latents, read_latents

        if item.index is None:
            return self._inverted(item.path)
        given = read_latents(item.path)
        check_latents(given, self._generator.shape, str(item.path), self.command.generator)
        value = given.values[item.index]
        if given.space == "w":
            return value
        with torch.no_grad():
            return self._generator.mapping(torch.from_numpy(value)[None])[0].numpy()

    def _inverted(self, path: Path) -> "FloatArray":
        from ostec.pipeline import Inverter
        from ostec.pipeline.settings import InvertSettings

        if not hasattr(self, "_inverter"):
            settings = InvertSettings(generator=self.command.generator, iterations=self.command.iterations)
            self._inverter = Inverter.from_pretrained(settings, "cpu")
        return self._inverter(path).view.latent
