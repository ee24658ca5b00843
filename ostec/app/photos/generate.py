"""``ostec generate``: pictures of a face generator, from seeds or from given latents."""

import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ostec.app.checks import need_file, need_files
from ostec.app.console import Display, say, shown
from ostec.app.options import Flat, OutFolder, option
from ostec.app.photos.options import RunOptions
from ostec.core.errors import UsageError
from ostec.core.settings import Device

if TYPE_CHECKING:
    from ostec.pipeline.generation import Latents

logger = logging.getLogger(__name__)

KIND = "ostec generation"
"""Value of ``kind`` in the record."""
RECORD = "generate"
"""Stem of the record; it is written first, so that the same command goes on after an interruption."""
_PICTURE = re.compile(r"\d{4,6}\.png")


@dataclass(frozen=True)
class Generate:
    """Draw pictures with a face generator: 0000.png, 0001.png, ... and generate.json, which says from what.

    What is done already is skipped, so that the same command goes on after an interruption, and one with more seeds
    behind the same ones adds their pictures.
    """

    save_dir: OutFolder
    """Folder of the pictures; made if it does not exist."""
    generator: Annotated[str, option(metavar="default|NAME|FILE")] = "default"
    """default, a name of ostec models list, or a file of ostec train or convert, or published (.pkl, .pt, .pth)."""
    seeds: Annotated[str | None, option(metavar="SEEDS")] = None
    """Draw z of these seeds, such as 0-9 or 3,5,8-10."""
    latents: Annotated[str | None, option(metavar="FILE")] = None
    """Draw these: an .npz with z [N, Z] or w [N, num_ws, W], as of ostec invert and complete, or a .pt of FFHQ-UV."""
    psi: float = 0.7
    """Truncation of z towards the mean face, 1 for none; a given w is taken as it is."""
    noise: Literal["const", "random", "none"] = "const"
    """The network's own noise, noise of each picture's seed, or none."""
    device: Device = "auto"
    """Where to compute; auto takes CUDA where there is a device, else the CPU."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Return the exit code."""
        self.running.begin()
        self._check()
        from ostec.load.networks import asset_file
        from ostec.pipeline.generation import parse_seeds, read_latents

        seeds = None if self.seeds is None else parse_seeds(self.seeds)
        latents = None if self.latents is None else read_latents(Path(self.latents))
        count = len(seeds) if seeds is not None else len(latents.values) if latents is not None else 0
        names = [f"{index:04d}.png" for index in range(count)]
        folder = Path(self.save_dir)
        path = asset_file("generator", self.generator)
        request = self._request(path, seeds, latents)
        to_do = self._to_do(folder, names, request)
        if self.running.dry_run:
            say(f"{len(to_do)} of {count} pictures would be drawn into {shown(folder)}.")
            return 0
        if to_do:
            left = set(to_do)
            pairs = [(index, name) for index, name in enumerate(names) if name in left]
            self._draw(path, folder, pairs, seeds, latents, {**request, "files": names})
        if not self.running.quiet:
            say(f"{len(to_do)} drawn, {count - len(to_do)} skipped, in {shown(folder)}.")
        return 0

    def _check(self) -> None:
        if (self.seeds is None) == (self.latents is None):
            raise UsageError("Give either --seeds or --latents.")
        if not self.save_dir:
            raise UsageError("--save-dir is empty.")
        if self.generator == "none":
            raise UsageError("--generator must be default or a file, got none.")
        need_files(generator=self.generator)
        if self.latents is not None:
            need_file(self.latents, "The file of latents")
        if not math.isfinite(self.psi):
            raise UsageError(f"--psi must be a number, got {self.psi}.")

    def _request(self, path: Path, seeds: Sequence[int] | None, latents: "Latents | None") -> dict[str, Any]:
        """What decides the pictures; ``path`` is the generator's."""
        from ostec.core.assets import sha256_of

        request: dict[str, Any] = {
            "generator": {"file": path.name, "sha256": sha256_of(path)},
            "noise": self.noise,
            "psi": self.psi if latents is None or latents.space == "z" else None,
        }
        if latents is None:
            return {**request, "seeds": list(seeds or ())}
        given = Path(str(self.latents))
        views = {"views": list(latents.views)} if latents.views else {}
        return {**request, "latents": {"file": given.name, "sha256": sha256_of(given), "space": latents.space, **views}}

    def _to_do(self, folder: Path, names: Sequence[str], request: Mapping[str, Any]) -> list[str]:
        """The pictures that are not there yet. Raises UsageError if something else is in their way."""
        if self.running.overwrite:
            return list(names)
        made = _made(folder)
        if made is not None and not _goes_on(made, request):
            raise UsageError(f"{shown(folder)} holds pictures of another request; --overwrite replaces them.")
        own = set(_pictures(made))
        there = {name for name in names if (folder / name).exists()}
        in_the_way = [name for name in names if name in there - own]
        if made is None and (folder / f"{RECORD}.json").exists():
            in_the_way.append(f"{RECORD}.json")
        if in_the_way:
            raise UsageError(f"{shown(folder / in_the_way[0])} is in the way; --overwrite replaces it.")
        return [name for name in names if name not in there]

    def _draw(
        self,
        path: Path,
        folder: Path,
        to_do: Sequence[tuple[int, str]],
        seeds: Sequence[int] | None,
        latents: "Latents | None",
        record: Mapping[str, Any],
    ) -> None:
        import numpy as np

        from ostec.app.train.prior import training_device
        from ostec.export.record import versions, write_record
        from ostec.io.files import make_folder, remove_leftovers
        from ostec.io.images import write_png
        from ostec.load.generators import read_generator
        from ostec.pipeline.generation import check_latents, draw_picture, seeded_latents

        read = read_generator(path)
        shape = read.model.generator.shape
        if latents is None:
            latents = seeded_latents(tuple(seeds or ()), shape.z_dim)
        else:
            check_latents(latents, shape, str(self.latents), path.name)
        for note in read.model.notes:
            logger.warning("%s", note)
        device = training_device(self.device)
        network = read.model.generator.to(device)
        remove_leftovers(make_folder(folder))
        if self.running.overwrite:  # before the record says that what lies here is of this request
            _remove_pictures(folder, [name for _, name in to_do])
        facts = {"layout": read.layout, "resolution": shape.resolution, "device": str(device), "versions": versions()}
        write_record(folder, RECORD, {**record, **facts, "notes": list(read.model.notes)}, KIND)
        with Display(len(to_do), len(to_do), self.running.quiet, "pictures") as display:
            for index, name in to_do:
                display.begin(name)
                picture = draw_picture(network, latents, index, self.psi, self.noise)
                write_png(folder / name, picture.astype(np.float32) / np.float32(255))
                display.end(name, "drawn")


def _remove_pictures(folder: Path, names: Sequence[str]) -> None:
    """Remove pictures of that name, and those that the record lists."""
    for name in {*names, *_pictures(_made(folder))}:
        path = folder / name
        if path.is_file() or path.is_symlink():
            try:
                path.unlink()
            except OSError as error:
                raise UsageError(f"{shown(path)} cannot be replaced ({error.strerror}).") from error


def _made(folder: Path) -> Mapping[str, Any] | None:
    """The record of what was asked for before, if there is one."""
    from ostec.export.record import read_record

    return read_record(folder / f"{RECORD}.json", (KIND,))


def _pictures(made: Mapping[str, Any] | None) -> list[str]:
    """Names of the pictures that a record lists."""
    listed = (made or {}).get("files")
    return [str(name) for name in (listed if isinstance(listed, list) else ()) if _PICTURE.fullmatch(str(name))]


def _goes_on(made: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether a request is that of a record, or the same with more seeds at its end."""
    before, asked = made.get("seeds"), request.get("seeds")
    begun = dict(request)
    if isinstance(before, list) and isinstance(asked, list):
        begun["seeds"] = asked[: len(before)]
    return {key: made.get(key) for key in request} == begun
