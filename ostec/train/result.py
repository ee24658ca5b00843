"""What a training leaves: checkpoints on its way, then the averaged networks and the statistics of their latents."""

from pathlib import Path
from typing import Any, Protocol

import torch

from ostec.core.errors import WeightsError
from ostec.core.plain import open_plain
from ostec.core.settings import to_json
from ostec.core.types import ViewFrame
from ostec.io.files import write_atomic
from ostec.nets.checkpoint import PortraitGenerator
from ostec.train.generator import Draw, TrainingState, render_views
from ostec.train.renders import PoseBank, TrainingTextures
from ostec.train.settings import GeneratorTrainSettings

_BATCH = 32
_SHAPES = ("resolution", "latent", "mapping_layers", "channel_base", "channel_max", "patch", "channels", "embedding")
"""Settings that the networks' shapes follow from; the others may change between two runs."""


class Resumable(Protocol):
    """A training between two steps."""

    images: int
    """Pictures seen so far."""

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from :meth:`state_dict`."""


def save_checkpoint(path: Path, state: Resumable, settings: Any) -> None:
    """Write the state and its settings over an older checkpoint, which stays where that fails with OutputError."""
    content = {**state.state_dict(), "settings": to_json(settings)}
    write_atomic(path, lambda stream: torch.save(content, stream))


def load_checkpoint(path: Path, state: Resumable, settings: Any) -> list[str]:
    """Resume in place.

    Args:
        path: a file of :func:`save_checkpoint`; one without settings is judged by its tensors' shapes alone.
        state: just started with ``settings``.
        settings: of the training that goes on.

    Returns:
        Names of the settings that are others than before.

    Raises:
        WeightsError: the file is damaged, or its networks have other shapes.
    """
    try:
        with open_plain(path) as stream:
            content = torch.load(stream, map_location="cpu", weights_only=True)
        before = content.get("settings", {})
    except Exception as error:
        raise WeightsError(f"{path} is no checkpoint of this training, or damaged: remove it to begin anew.") from error
    now = to_json(settings)
    changed = [name for name in now if name in before and _plain(before[name]) != _plain(now[name])]
    for name in _SHAPES:
        if name in changed:
            trained = f"{path} was trained with {name} {before[name]}, not {now[name]}"
            raise WeightsError(f"{trained}: give the same, or another folder to work in.")
    try:
        state.load_state_dict(content)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise WeightsError(f"{path} holds other networks than these settings build.") from error
    return changed


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def finish_training(
    state: TrainingState,
    textures: TrainingTextures,
    rows: torch.Tensor,
    bank: PoseBank,
    settings: GeneratorTrainSettings,
    frame: ViewFrame,
) -> PortraitGenerator:
    """The running means of the networks, and the discriminator if it was trained.

    Args:
        state: at the end of the training.
        textures: of the portraits.
        rows: [M] those that were trained on; W+ is measured on their views.
        bank: poses.
        settings: of the training.
        frame: how the views were drawn.
    """
    ws = encode_whole_views(state, textures, rows, bank, frame.ground, settings.seed)
    return PortraitGenerator(
        state.generator_mean,
        state.encoder_mean,
        state.discriminator if state.optimiser_d.state else None,
        frame,
        ws.mean(0).float(),
        ws.std(0, correction=0).float(),
    )


@torch.no_grad()
def encode_whole_views(
    state: TrainingState, textures: TrainingTextures, rows: torch.Tensor, bank: PoseBank, ground: float, seed: int
) -> torch.Tensor:
    """W+ [M, num_ws, W] (float64) of one view of each of M portraits, of which nothing is hidden."""
    random = torch.Generator().manual_seed(seed)
    count = len(rows)
    device = next(state.encoder_mean.parameters()).device
    pose = torch.randint(len(bank.grid), (count,), generator=random)
    mirrored = torch.rand(count, generator=random) < 0.5
    found = []
    for start in range(0, count, _BATCH):
        part = slice(start, start + _BATCH)
        portrait = rows[part]
        every = torch.ones(len(portrait), dtype=torch.bool)
        draw = Draw(portrait, torch.zeros_like(portrait), pose[part], mirrored[part], every)
        views = render_views(textures, draw, bank, ground)
        encoded = state.encoder_mean(views.hint.to(device), views.trust.to(device))
        found.append((state.generator_mean.mapping(views.code.to(device)) + encoded.offset).double().cpu())
    return torch.cat(found)
