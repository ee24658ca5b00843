"""``ostec dataset interpolate``: a dataset of new faces between those of another one."""

import contextlib
import functools
import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ostec.app.checks import need_files, out_path
from ostec.app.console import begin
from ostec.app.dataset.build import WorkerOptions, carry_out
from ostec.app.options import DatasetFolder, Flat, NewDataset, option
from ostec.core.assets import sha256_of
from ostec.core.errors import UsageError
from ostec.core.plain import read_json
from ostec.core.settings import Device
from ostec.dataset.attributes import OF_SOURCES
from ostec.dataset.build import Dataset
from ostec.dataset.card import INTERPOLATION
from ostec.dataset.files import told_if_damaged, write_json
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.mixing import WEIGHTS, Mix, Mixer, classify, require_weights
from ostec.io.files import make_folder, remove_leftovers, write_atomic
from ostec.io.images import encode_png
from ostec.io.shards import TRAILER, ShardMember, pack_members, read_members

logger = logging.getLogger(__name__)

MIXED = "mixed"  # folder of the portraits and of how they were mixed
_PER_FILE = 100
_MEMBERS = 2  # of an archive for each portrait: the picture and its attributes


@dataclass(frozen=True)
class DatasetInterpolate:
    """Mix latents of faces of one class, draw their portraits, and complete those into a new dataset.

    It may be stopped at any time; the same command goes on, and one with a greater --count adds faces.
    """

    dataset: DatasetFolder
    """Folder of the dataset whose faces are mixed; filter it first."""
    out: NewDataset
    """Folder of the new dataset; made if it does not exist."""
    count: int
    """New faces."""
    by: Annotated[tuple[str, ...], option(metavar="NAME...")] = ()
    """Attributes or columns that make the classes; without any, Gender, Age and Beard as far as the dataset has them,
    else yaw_deg and brightness."""
    mix_seed: int = 0
    """Another one draws other faces."""
    work: Flat[WorkerOptions] = field(default_factory=WorkerOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        begin(self.work.quiet, self.work.verbose)
        out = out_path(self.out)
        if self.count < 1:
            raise UsageError("--count must be 1 or more.")
        source = FinishedDataset(Path(self.dataset))
        if out.resolve() == source.folder.resolve():
            raise UsageError("--out must be another folder than the dataset's.")
        generator = _generator(source)
        sha256 = sha256_of(generator)
        require_weights(source, generator.name, sha256)
        classes = classify(source, self.by)
        logger.info("%s", classes.told())
        if self.count > classes.pairs:
            logger.warning(
                "There are only %d pairs of faces to mix; new faces will resemble each other.", classes.pairs
            )
        mixer = Mixer(classes, self.mix_seed)
        mixer.draw(0)  # so that a dataset without latents is refused before anything is written
        request = {  # what decides the faces, and where they are from; more of them may follow
            "kind": "ostec dataset interpolate",
            "source": source.folder.resolve().name,
            "classes_sha256": classes.sha256,
            "generator": {"file": generator.name, "sha256": sha256},
            "weights": list(WEIGHTS),
            "by": list(classes.by),
            "seed": self.mix_seed,
        }
        _require_same(out / INTERPOLATION, request)
        dataset = Dataset.create(out, source.config)
        return carry_out(dataset, self.work, lambda: self._draw(dataset, mixer, generator, request, source))

    def _draw(
        self, dataset: Dataset, mixer: Mixer, generator: Path, request: dict[str, Any], source: FinishedDataset
    ) -> None:
        """Draw what is not drawn yet, and note it as a source."""
        write_json(dataset.folder / INTERPOLATION, request, indent=2)
        folder = make_folder(dataset.folder / MIXED)
        remove_leftovers(folder)
        artist = functools.cache(lambda: _Artist(generator, self.work.device, dataset.config.threads))
        archives = []
        for first in range(0, self.count, _PER_FILE):
            indices = range(first, min(first + _PER_FILE, self.count))
            archives.append(folder / f"{first // _PER_FILE:06d}.tar")
            drawn = list(read_members(archives[-1])) if archives[-1].exists() else []
            if len(drawn) < _MEMBERS * len(indices):
                _write(archives[-1], drawn, list(map(mixer.draw, indices)), artist())
                logger.info("Drawn: %d of %d portraits.", indices[-1] + 1, self.count)
        licences = {build.licence or "photos without a licence given" for build in source.builds() if build.photos}
        known = "; ".join(sorted(licences)) or "photos whose licence is no longer known"
        dataset.note_sources(list(map(str, archives)), f"interpolated from {known}", OF_SOURCES)


class _Artist:
    """Draws portraits of latents."""

    def __init__(self, generator: Path, device: Device, threads: int) -> None:
        """``threads``: on the CPU; the last digits of a portrait, and so its id, depend on it."""
        from ostec.app.train.prior import training_device
        from ostec.load.generators import read_generator

        model = read_generator(generator).model
        self._name = generator.name
        self._shape = model.generator.shape
        self._network = model.generator.to(training_device(device))
        self._threads = threads

    def __call__(self, mix: Mix) -> bytes:
        """The portrait, as a PNG. Raises WeightsError if the latent is not this generator's."""
        import numpy as np

        from ostec.core.device import threads
        from ostec.pipeline.generation import Latents, check_latents, draw_picture

        latents = Latents("w", mix.latent[None], (mix.index,))
        check_latents(latents, self._shape, f"The latent of {mix.one}", self._name)
        with threads(self._threads):
            picture = draw_picture(self._network, latents, 0, 1.0, "const")
        return encode_png(picture.astype(np.float32) / np.float32(255))


def _generator(source: FinishedDataset) -> Path:
    """The generator that a dataset was made with."""
    from ostec.pipeline.models import asset_file

    asked = source.config.settings.generator
    if asked == "none":
        raise UsageError(f"{source.folder} was made without a generator and has no latents.")
    need_files(generator=asked)
    return asset_file("generator", asked)


def _write(path: Path, drawn: list[ShardMember], mixes: list[Mix], artist: _Artist) -> None:
    """Put further portraits behind those that are drawn, whose bytes decide about their ids and stay as they are."""
    parts = [path.read_bytes()[: drawn[-1].end]] if drawn else []
    for mix in mixes[len(drawn) // _MEMBERS :]:
        name, own = f"{mix.index:06d}", json.dumps(mix.attributes, sort_keys=True).encode("ascii")
        parts.append(pack_members([(f"{name}.png", artist(mix)), (f"{name}.json", own)]))
    write_atomic(path, b"".join(parts) + TRAILER)


def _require_same(path: Path, request: dict[str, Any]) -> None:

    before: Any = request
    with told_if_damaged(path), contextlib.suppress(FileNotFoundError):
        before = read_json(path)
    known = before if isinstance(before, dict) else {}
    other = [name for name in request if name != "source" and known.get(name) != request[name]]  # it may be renamed
    if other:
        names = ", ".join(name.removesuffix("_sha256") for name in other)
        raise UsageError(f"{path.parent} was begun with another {names}; please choose another --out.")
