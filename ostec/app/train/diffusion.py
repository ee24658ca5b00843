"""``ostec train diffusion``: the diffusion model of ``--completer diffusion``, from a folder of portraits."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ostec.app.options import Flat, option
from ostec.app.train.journal import Journal, finish_step_first, resume
from ostec.app.train.prior import TrainOptions, read_sources, texture_sources, write_trained
from ostec.core.errors import UsageError
from ostec.core.settings import to_json
from ostec.train.settings import DiffusionTrainSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Settings(DiffusionTrainSettings):
    """With a placeholder for the help."""

    channels: Annotated[tuple[int, ...], option(metavar="CHANNELS...")] = DiffusionTrainSettings.channels
    """Of the network's levels, from 64 x 64 pixels on."""


@dataclass(frozen=True)
class TrainDiffusion:
    """Train the diffusion model on a folder of aligned portraits; report on those held out.

    The same command goes on where an interrupted one stopped.
    """

    portraits: Annotated[tuple[Path, ...], option(metavar="DIR...")]
    """Folders of aligned portraits, one face each, or of images/ and landmarks.npz. Blurred ones teach blur."""
    work: Annotated[Path, option(metavar="DIR")]
    """Folder for what is prepared once and for the checkpoint; made if it does not exist."""
    out: Annotated[Path, option(aliases=["-o"], metavar="FILE")]
    """File to write; a JSON with the figures is written beside it."""
    prior: Annotated[str, option(metavar="default|FILE")] = "default"
    """default, or a file of ostec train prior: what the model draws over."""
    settings: Flat[_Settings] = field(default_factory=_Settings)
    running: Flat[TrainOptions] = field(default_factory=TrainOptions)

    def run(self) -> int:
        """Return the exit code."""
        settings, device = self.settings, self.running.begin(*self.portraits)
        if self.out.suffix != ".safetensors":
            raise UsageError(f"--out must end in .safetensors, got {self.out}.")
        import torch

        from ostec.io.files import make_folder, remove_leftovers
        from ostec.io.weights import encode_safetensors
        from ostec.train.diffusion import start_diffusion, train_diffusion
        from ostec.train.prepare import prepare_imagined
        from ostec.train.sampled import report_diffusion

        for folder in (self.work, self.out.parent):
            remove_leftovers(make_folder(folder))
        sources = texture_sources(self.portraits, self.prior, self.running.exclude)

        prepared = prepare_imagined(sources, settings, self.work, lambda: read_sources(sources), log.info)
        data = prepared.portraits
        rows = torch.from_numpy(~data.held_out).nonzero()[:, 0]
        if not len(rows):
            raise UsageError(f"{self.portraits} holds no portrait that may be trained on.")
        log.info("Training on %d portraits; %d are held out.", len(rows), int(data.held_out.sum()))
        state = start_diffusion(settings, prepared.textures.scale(), device)
        checkpoint = self.work / "checkpoint.pt"
        resume(checkpoint, state, settings)
        with finish_step_first() as stop:
            journal = Journal(checkpoint, settings, state.images, stop)
            train_diffusion(state, prepared.textures, rows, settings, journal)
            journal.save(state)
        network = state.mean.cpu()
        card = {
            "topology_sha256": sources.topology.sha256,
            "prior_sha256": sources.prior_sha256,
            "settings": to_json(settings),
            "portraits_trained": len(rows),
            "portraits_held_out": int(data.held_out.sum()),
            "images_seen": state.images,
            "held_out_figures": report_diffusion(network, sources.prior, data),
        }
        content = encode_safetensors({name: tensor.half() for name, tensor in network.state_dict().items()})
        write_trained(self.out, content, card)
        return 0
