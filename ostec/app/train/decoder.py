"""``ostec train decoder``: a generator of UV maps, from a finished dataset."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ostec.app.options import DatasetFolder, Flat, option
from ostec.app.train.generator import train_on, write_generator
from ostec.app.train.prior import TrainOptions
from ostec.core.errors import UsageError
from ostec.core.settings import to_json
from ostec.train.settings import MAPS, GeneratorTrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ostec.core.types import FloatArray

log = logging.getLogger(__name__)

LEAST_MAPS = 20


@dataclass(frozen=True)
class _Settings(GeneratorTrainSettings):
    """As of the generator; a map is a picture."""

    resolution: Annotated[int, option(name="size")] = 128
    """Side of the maps in pixels, a power of two: 128 suits a CPU, 256 to 1024 a GPU."""
    grow: Annotated[tuple[int, ...], option(metavar="PICTURES...")] = GeneratorTrainSettings.grow
    """Pictures after which the resolution doubles, up to the full one."""
    images: int = 30_000
    """Maps to train on in all, each as often as it comes."""
    adversarial_from: int = 20_000
    """Maps after which the discriminator joins, with augmentation that adapts; images or more: never."""


@dataclass(frozen=True)
class TrainDecoder:
    """Train a StyleGAN2 of UV maps, with its encoder, on a dataset of this program: ostec fit --decoder takes it.

    The same command goes on where an interrupted one stopped. Every twentieth map is held out.
    """

    dataset: DatasetFolder
    """Folder of a dataset, best of the recipe ffhq-uv."""
    work: Annotated[Path, option(metavar="DIR")]
    """Folder for the checkpoint; made if it does not exist."""
    out: Annotated[Path, option(aliases=["-o"], metavar="FILE")]
    """File to write; a JSON with the networks' shapes and the figures is written beside it."""
    member: Annotated[str, option(metavar="uv.png|albedo.png")] = "uv.png"
    """Which maps of the dataset: its textures, or their albedo."""
    settings: Flat[_Settings] = field(default_factory=_Settings)
    running: Flat[TrainOptions] = field(default_factory=TrainOptions)

    def run(self) -> int:
        """Return the exit code."""
        device = self.running.begin()
        settings = self.settings
        if self.out.suffix != ".safetensors":
            raise UsageError(f"--out must end in .safetensors, got {self.out}.")
        import torch

        from ostec.app.train.generator import training_texels
        from ostec.core.assets import asset_path, sha256_of, verified_path
        from ostec.core.types import ViewFrame
        from ostec.load.topology import read_topology
        from ostec.pipeline import load_prior
        from ostec.render.uv import bake_layout
        from ostec.train.maps import map_bank, map_texels
        from ostec.train.prepare import PreparedTextures
        from ostec.train.prior import PriorModel
        from ostec.train.renders import make_training_textures

        topology = read_topology(asset_path("topology/facemesh.npz"))
        path = verified_path("prior", "prior.safetensors")
        prior = load_prior(path, topology, torch.device("cpu"))
        inside = bake_layout(topology, training_texels(settings.resolution)).inside.numpy()
        log.info("Reading maps.")
        data = map_texels(self._maps(), inside)
        if len(data.names) < LEAST_MAPS:
            raise UsageError(f"{self.dataset} has {len(data.names)} maps, fewer than {LEAST_MAPS}.")

        def prepare() -> PreparedTextures:
            model = PriorModel(prior.mean, prior.basis, prior.noise)
            made = make_training_textures(data, model, prior.inside, topology, settings.photos, settings.seed)
            return PreparedTextures(made, data.held_out)

        bank = map_bank(inside, settings.resolution)
        frame = ViewFrame(own_shape=False, ffhq_crop=False, span_mm=float(bank.span_mm))
        facts: dict[str, Any] = {
            "topology_sha256": topology.sha256,
            "prior_sha256": sha256_of(path),
            "settings": to_json(settings),
            "draws": MAPS,
        }
        trained = train_on(prepare, bank, frame, settings, self.work, prior, device)
        write_generator(self.out, trained, facts)
        return 0

    def _maps(self) -> "Iterator[tuple[str, FloatArray]]":
        """The dataset's maps with their keys. Raises UsageError where they have no such member."""
        from ostec.dataset.finished import FinishedDataset, need, read_face
        from ostec.io.images import decode_image

        source = FinishedDataset(Path(self.dataset))
        for row in source.faces():
            place = source.place(row)
            data = need(read_face(place, {self.member}), self.member, place)
            yield place.key, decode_image(data, f"{place.key}.{self.member}")
