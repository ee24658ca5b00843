"""``ostec train generator``: the portrait generator that ships, from a folder of portraits."""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ostec.app.options import Flat, option
from ostec.app.train.journal import Journal, finish_step_first, resume
from ostec.app.train.prior import TrainOptions, read_sources, texture_sources, write_trained
from ostec.core.errors import UsageError
from ostec.core.settings import to_json
from ostec.train.settings import GeneratorTrainSettings, level_at

if TYPE_CHECKING:
    import torch

    from ostec.core.types import ViewFrame
    from ostec.nets.checkpoint import PortraitGenerator
    from ostec.prior.linear import LinearPrior
    from ostec.train.prepare import PreparedTextures
    from ostec.train.renders import PoseBank

log = logging.getLogger(__name__)

_TEXELS = 256
"""Side of the training textures for views of up to 128 px; half as much again as larger views show finer detail."""
_FILE_LIMIT = 20_000_000
"""Bytes that a file in models/ may have."""


@dataclass(frozen=True)
class _Settings(GeneratorTrainSettings):
    """With a placeholder for the help."""

    grow: Annotated[tuple[int, ...], option(metavar="PICTURES...")] = GeneratorTrainSettings.grow
    """Pictures after which the resolution doubles, up to the full one: the low layers learn cheaply first."""


@dataclass(frozen=True)
class TrainGenerator:
    """Train the portrait generator, with its encoder, on a folder of aligned portraits; report on those held out.

    The same command goes on where an interrupted one stopped.
    """

    portraits: Annotated[tuple[Path, ...], option(metavar="DIR...")]
    """Folders of aligned portraits, one face each, or of images/ and landmarks.npz, which tells how sharp each is."""
    work: Annotated[Path, option(metavar="DIR")]
    """Folder for what is prepared once and for the checkpoint; made if it does not exist."""
    out: Annotated[Path, option(aliases=["-o"], metavar="FILE")] = Path("models/generator.safetensors")
    """File to write; a JSON with the networks' shapes and the figures is written beside it."""
    prior: Annotated[str, option(metavar="default|FILE")] = "default"
    """default, or a file of ostec train prior: fills what the portraits do not show."""
    settings: Flat[_Settings] = field(default_factory=_Settings)
    running: Flat[TrainOptions] = field(default_factory=TrainOptions)

    def run(self) -> int:
        """Return the exit code."""
        settings, device = self.settings, self.running.begin(*self.portraits)
        if self.out.suffix != ".safetensors":
            raise UsageError(f"--out must end in .safetensors, got {self.out}.")
        from ostec.core.types import ViewFrame
        from ostec.io.files import make_folder, remove_leftovers
        from ostec.train.prepare import PreparedTextures, prepare_textures
        from ostec.train.renders import make_pose_bank

        remove_leftovers(make_folder(self.work))
        texels = training_texels(settings.resolution)
        sources = texture_sources(self.portraits, self.prior, self.running.exclude, texels)
        topology = sources.topology

        def prepare() -> PreparedTextures:
            made = prepare_textures(sources, settings, self.work, lambda: read_sources(sources), log.info)
            if made.held_out.all():
                raise UsageError(f"{self.portraits} holds no portrait that may be trained on.")
            return made

        frame = ViewFrame(own_shape=False, ffhq_crop=False)
        bank = make_pose_bank(topology, frame, settings.resolution, settings.poses, settings.seed)
        facts = {
            "topology_sha256": topology.sha256,
            "prior_sha256": sources.prior_sha256,
            "settings": to_json(settings),
        }
        write_generator(self.out, train_on(prepare, bank, frame, settings, self.work, sources.prior, device), facts)
        return 0


@dataclass(frozen=True)
class Trained:
    """What a training leaves."""

    model: "PortraitGenerator"
    facts: dict[str, Any]
    """For the card."""
    judge: "Callable[[PortraitGenerator], dict[str, float]]"
    """Gives the figures on what was held out."""


def training_texels(resolution: int) -> int:
    """Side of the training textures for pictures of so many pixels."""
    return max(_TEXELS, resolution * 3 // 2)


def train_on(
    prepare: "Callable[[], PreparedTextures]",
    bank: "PoseBank",
    frame: "ViewFrame",
    settings: GeneratorTrainSettings,
    work: Path,
    prior: "LinearPrior",
    device: "torch.device",
) -> Trained:
    """Train on textures drawn with a bank of poses; goes on from the checkpoint in ``work``, which is read first."""
    from ostec.io.files import make_folder
    from ostec.train.generator import start_training, train_generator, z_dimension
    from ostec.train.renders import on_device
    from ostec.train.report import report_generator
    from ostec.train.result import finish_training

    state = start_training(settings, z_dimension(prior.basis.shape[-1]), device)
    checkpoint = make_folder(work) / "checkpoint.pt"
    resume(checkpoint, state, settings)
    prepared = prepare()
    textures, bank = on_device(prepared.textures, device), on_device(bank, device)
    trained, judged = _rows(~prepared.held_out), _rows(prepared.held_out)
    log.info("Training on %d portraits; %d are held out.", len(trained), len(judged))
    with finish_step_first() as stop:
        journal = Journal(checkpoint, settings, state.images, stop, lambda images: f", {level_at(images, settings)} px")
        train_generator(state, textures, prepared.rows, bank, settings, frame.ground, journal)
        journal.save(state)
    facts = {"portraits_trained": len(trained), "portraits_held_out": len(judged), "images_seen": state.images}
    model = finish_training(state, textures, trained, bank, settings, frame)
    return Trained(model, facts, lambda shipped: report_generator(shipped, textures, judged, bank, prior))


def write_generator(out: Path, trained: Trained, facts: dict[str, Any]) -> None:
    """Write the generator as it is judged: with half floats' precision, and the discriminator if it fits in."""
    from ostec.io.files import make_folder, remove_leftovers
    from ostec.io.weights import encode_safetensors
    from ostec.nets.checkpoint import generator_from_tensors, generator_to_tensors

    remove_leftovers(make_folder(out.parent))
    model = trained.model
    stored = generator_to_tensors(model)
    content = encode_safetensors(stored.tensors)
    if model.discriminator is not None and len(content) > _FILE_LIMIT:
        log.info("The discriminator is left out: with it, the file would have %.1f MB.", len(content) / 1e6)
        stored = generator_to_tensors(dataclasses.replace(model, discriminator=None))
        content = encode_safetensors(stored.tensors)
    figures = trained.judge(generator_from_tensors(stored.tensors, stored.card, out.name))
    write_trained(out, content, {**stored.card, **facts, **trained.facts, "held_out_figures_db": figures})


def _rows(which: Any) -> "torch.Tensor":
    import torch

    return torch.from_numpy(which).nonzero()[:, 0]
