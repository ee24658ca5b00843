"""``ostec dataset interpolate``: a dataset of new faces between those of another one."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional

from ostec.app.checks import need_files, out_path
from ostec.app.console import begin
from ostec.app.dataset.build import WorkerOptions, carry_out
from ostec.app.options import Flat, option
from ostec.core.errors import AssetError, UsageError
from ostec.core.settings import Device

if TYPE_CHECKING:
    from ostec.dataset.build import Dataset
    from ostec.dataset.finished import FinishedDataset
    from ostec.dataset.mixing import Classes, Mix, Mixer

logger = logging.getLogger(__name__)

MIXED = "mixed"
"""Folder of the portraits and of how they were mixed."""
_PER_FILE = 100
_MEMBERS = 2
"""Of an archive for each portrait: the picture and its attributes."""


@dataclass(frozen=True)
class DatasetInterpolate:
    """Mix latents of faces of one class, draw their portraits, and complete those into a new dataset.

    It may be stopped at any time; the same command goes on, and one with a greater --count adds faces.
    """

    dataset: Annotated[str, Positional, option(metavar="DS")]
    """Folder of the dataset whose faces are mixed; filter it first."""
    out: Annotated[str, option(metavar="DS")]
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
        from ostec.dataset.build import Dataset
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.mixing import Mixer, classify, pairs_of, require_weights, told
        from ostec.dataset.origin import INTERPOLATION

        begin(self.work.quiet, self.work.verbose)
        out = out_path(self.out)
        if self.count < 1:
            raise UsageError("--count must be 1 or more.")
        source = FinishedDataset(Path(self.dataset))
        if out.resolve() == source.folder.resolve():
            raise UsageError("--out must be another folder than the dataset's.")
        generator, sha256 = _generator(source)
        require_weights(source.faces(), generator.name, sha256)
        classes = classify(source, self.by)
        logger.info("%s", told(classes))
        if self.count > pairs_of(classes):
            logger.warning(
                "There are only %d pairs of faces to mix; new faces will resemble each other.", pairs_of(classes)
            )
        mixer = Mixer(classes, self.mix_seed)
        mixer.draw(0)  # so that a dataset without latents is refused before anything is written
        request = self._request(source, classes, generator.name, sha256)
        _require_same(out / INTERPOLATION, request)
        dataset = Dataset.create(out, source.config)
        return carry_out(dataset, self.work, lambda: self._draw(dataset, mixer, generator, request, source))

    def _request(self, source: "FinishedDataset", classes: "Classes", name: str, sha256: str) -> dict[str, Any]:
        """What decides the faces, and where they are from; more of them may follow."""
        import hashlib

        from ostec.dataset.mixing import WEIGHTS

        places = [[label, [place.key for place in found]] for label, found in classes.places.items()]
        sorted_so = json.dumps([places, dict(classes.attributes)], sort_keys=True)
        return {
            "kind": "ostec dataset interpolate",
            "source": source.folder.resolve().name,
            "classes_sha256": hashlib.sha256(sorted_so.encode("ascii")).hexdigest(),
            "generator": {"file": name, "sha256": sha256},
            "weights": list(WEIGHTS),
            "by": list(classes.by),
            "seed": self.mix_seed,
        }

    def _draw(
        self, dataset: "Dataset", mixer: "Mixer", generator: Path, request: dict[str, Any], source: "FinishedDataset"
    ) -> None:
        """Draw what is not drawn yet, and note it as a source."""
        from ostec.dataset.attributes import OF_SOURCES
        from ostec.dataset.origin import INTERPOLATION
        from ostec.io.files import make_folder, remove_leftovers, write_atomic

        write_atomic(dataset.folder / INTERPOLATION, (json.dumps(request, indent=2) + "\n").encode("ascii"))
        folder = make_folder(dataset.folder / MIXED)
        remove_leftovers(folder)
        artist: _Artist | None = None
        archives = []
        for first in range(0, self.count, _PER_FILE):
            indices = range(first, min(first + _PER_FILE, self.count))
            path = folder / f"{first // _PER_FILE:06d}.tar"
            archives.append(str(path))
            drawn = _drawn(path)
            if len(drawn) < len(indices):
                artist = artist or _Artist(generator, self.work.device, dataset.config.threads)
                _write(path, drawn, [mixer.draw(index) for index in indices[len(drawn) :]], artist)
                logger.info("Drawn: %d of %d portraits.", indices[-1] + 1, self.count)
        licences = {build.licence or "photos without a licence given" for build in source.builds() if build.photos}
        known = "; ".join(sorted(licences)) or "photos whose licence is no longer known"
        dataset.note_sources(archives, f"interpolated from {known}", OF_SOURCES)


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

    def __call__(self, mix: "Mix") -> bytes:
        """The portrait, as a PNG. Raises WeightsError if the latent is not this generator's."""
        import numpy as np
        import torch

        from ostec.io.images import encode_png
        from ostec.pipeline.generation import Latents, check_latents, draw_picture

        latents = Latents("w", mix.latent[None], (mix.index,))
        check_latents(latents, self._shape, f"The latent of {mix.one}", self._name)
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads)
        try:
            picture = draw_picture(self._network, latents, 0, 1.0, "const")
        finally:
            torch.set_num_threads(before)
        return encode_png(picture.astype(np.float32) / np.float32(255))


def _generator(source: "FinishedDataset") -> tuple[Path, str]:
    """The generator that a dataset was made with, and its SHA-256."""
    from ostec.core.assets import sha256_of
    from ostec.load.networks import asset_file

    asked = source.config.settings.generator
    if asked == "none":
        raise UsageError(f"{source.folder} was made without a generator and has no latents.")
    need_files(generator=asked)
    path = asset_file("generator", asked)
    return path, sha256_of(path)


def _drawn(path: Path) -> list[str]:
    """The lines of an archive's list, one for each of its first portraits; the list is written after them."""
    try:
        return path.with_suffix(".jsonl").read_text("ascii").splitlines() if path.exists() else []
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise AssetError(f"{path.with_suffix('.jsonl')} cannot be read ({error}).") from error


def _write(path: Path, drawn: list[str], mixes: "list[Mix]", artist: _Artist) -> None:
    """Put further portraits behind those that are drawn, whose bytes decide about their ids and stay as they are."""
    import itertools

    from ostec.io.files import write_atomic
    from ostec.io.shards import TRAILER, pack_members, read_members

    lines, parts = list(drawn), []
    if drawn:
        *_, last = itertools.islice(read_members(path), len(drawn) * _MEMBERS)
        parts.append(path.read_bytes()[: last.end])
    for mix in mixes:
        name = f"{mix.index:06d}"
        lines.append(json.dumps(mix.as_json(f"{name}.png"), sort_keys=True))
        own = json.dumps(dict(mix.attributes), sort_keys=True).encode("ascii")
        parts.append(pack_members([(f"{name}.png", artist(mix)), (f"{name}.json", own)]))
    write_atomic(path, b"".join(parts) + TRAILER)
    write_atomic(path.with_suffix(".jsonl"), "".join(f"{line}\n" for line in lines).encode("ascii"))


def _require_same(path: Path, request: dict[str, Any]) -> None:
    try:
        before = json.loads(path.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error
    known = before if isinstance(before, dict) else {}
    other = [name for name in request if name != "source" and known.get(name) != request[name]]  # it may be renamed
    if other:
        names = ", ".join(name.removesuffix("_sha256") for name in other)
        raise UsageError(f"{path.parent} was begun with another {names}; please choose another --out.")
