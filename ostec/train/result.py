"""What a training leaves: the averaged networks and the statistics of their latents."""

import torch

from ostec.core.types import ViewFrame
from ostec.nets.checkpoint import PortraitGenerator
from ostec.train.generator import Draw, GeneratorTrainSettings, TrainingState, render_views
from ostec.train.renders import PoseBank, TrainingTextures

_BATCH = 32


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
