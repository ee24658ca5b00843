"""Train the generator that ships, with its encoder: reconstruct views, then sharpen them against a discriminator.

A view of a portrait's texture is hidden in part, as a photo at some yaw would hide it, and the prior fills that part
as it will at run time. The encoder sees that view and what of it is trusted; the generator has to draw the whole view.
What the portrait itself never showed counts for nothing, neither here nor for the discriminator.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape, SynthesisBlock
from ostec.train.losses import augmentation, cut_patches, reconstruction_loss, take_patches
from ostec.train.renders import PoseBank, TrainingTextures, on_device
from ostec.train.settings import DISCRIMINATOR_GROUP, GeneratorTrainSettings, level_at

PORTRAIT_SPAN_MM = 254.0
"""Side of an aligned portrait, at the scale of the mean face."""
AUGMENT_PATCHES = 100_000
"""Real patches over which the probability of augmentation can grow from 0 to 1."""
_SEED_STRIDE = 7919


@dataclass
class TrainingState:
    """Everything that a checkpoint holds."""

    generator: Generator
    encoder: Encoder
    discriminator: Discriminator
    generator_mean: Generator
    encoder_mean: Encoder
    optimiser: torch.optim.Adam
    optimiser_d: torch.optim.Adam
    random: torch.Generator
    images: int = 0
    step: int = 0
    augment: float = 0.0
    """Probability with which the discriminator's patches are augmented."""

    def state_dict(self) -> dict[str, Any]:
        """Plain tensors and numbers."""
        named = {k: v.state_dict() for k, v in self._stateful().items()}
        numbers = {"images": self.images, "step": self.step, "augment": self.augment}
        return {**named, "random": self.random.get_state(), **numbers}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from :meth:`state_dict`."""
        for name, part in self._stateful().items():
            part.load_state_dict(state[name])
        self.random.set_state(state["random"].cpu())
        self.images, self.step, self.augment = int(state["images"]), int(state["step"]), float(state["augment"])

    def _stateful(self) -> dict[str, Any]:
        names = ("generator", "encoder", "discriminator", "generator_mean", "encoder_mean", "optimiser", "optimiser_d")
        return {name: getattr(self, name) for name in names}


def z_dimension(coefficients: int) -> int:
    """Dimension of Z for a prior of so many coefficients: they, pitch and yaw."""
    return coefficients + 2


def start_training(settings: GeneratorTrainSettings, z_dim: int, device: torch.device) -> TrainingState:
    """Networks and optimisers at the first step; every random start follows from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return _start(settings, z_dim, device)


def _start(s: GeneratorTrainSettings, z_dim: int, device: torch.device) -> TrainingState:
    shape = GeneratorShape(s.resolution, z_dim, s.latent, s.mapping_layers, s.channel_base, s.channel_max)
    patch = GeneratorShape(s.patch, channel_base=s.channel_base // 2, channel_max=s.channel_max)

    def built() -> tuple[Generator, Encoder]:
        width = EncoderShape(channel_base=s.channel_base // 2, channel_max=s.channel_max)
        return Generator(shape).to(device), Encoder(shape, width).to(device)

    generator, encoder = built()
    for resolution in shape.resolutions[1:]:
        block = generator.synthesis.get_submodule(f"b{resolution}")
        assert isinstance(block, SynthesisBlock)
        # A new level begins by adding nothing to the picture so far.
        nn.init.zeros_(block.torgb.weight)
    with torch.no_grad():
        # Two of many numbers say the pose, which moves every pixel: it begins with a third of the first layer's power.
        generator.mapping.get_parameter("fc0.weight")[:, -2:] *= (z_dim / 4) ** 0.5
    generator_mean, encoder_mean = built()
    generator_mean.load_state_dict(generator.state_dict())
    encoder_mean.load_state_dict(encoder.state_dict())
    discriminator = Discriminator(patch, image_channels=4, group=DISCRIMINATOR_GROUP).to(device)
    parameters: list[dict[str, Any]] = [
        {"params": [*generator.synthesis.parameters(), *encoder.parameters()]},
        {"params": [*generator.mapping.parameters()], "share": s.mapping_rate},
    ]
    judged: list[dict[str, Any]] = [{"params": [*discriminator.parameters()], "share": s.discriminator_rate}]
    return TrainingState(
        generator,
        encoder,
        discriminator,
        generator_mean.eval().requires_grad_(False),
        encoder_mean.eval().requires_grad_(False),
        torch.optim.Adam(parameters, s.learning_rate, betas=(0.9, 0.99), eps=1e-8),
        torch.optim.Adam(judged, s.learning_rate, betas=(0.0, 0.99), eps=1e-8),
        torch.Generator().manual_seed(s.seed),
    )


@dataclass(frozen=True)
class ViewBatch:
    """B training views of R x R pixels."""

    image: torch.Tensor
    """[B, 3, R, R] in [-1, 1]: the portrait where it was shown, the prior's fill elsewhere, plain ground."""
    shown: torch.Tensor
    """[B, 1, R, R]: 1 on the ground and where the portrait showed the face."""
    hint: torch.Tensor
    """[B, 3, R, R]: as ``image``, but what the imagined photo hides is the prior's fill."""
    trust: torch.Tensor
    """[B, 1, R, R]: 1 where the imagined photo shows the face, and on the ground."""
    code: torch.Tensor
    """[B, Z]: the portrait's coefficients in the prior and the pose."""
    carried: torch.Tensor
    """[B] side in pixels up to which the portrait's detail fills the view."""


@dataclass(frozen=True)
class Draw:
    """Which views a batch holds; all [B]."""

    portrait: torch.Tensor
    photo: torch.Tensor
    """Which imagined photo of the portrait says what is hidden."""
    pose: torch.Tensor
    mirrored: torch.Tensor
    whole: torch.Tensor
    """Nothing is hidden but what the portrait never showed."""


def draw_views(
    rows: torch.Tensor, photos: int, poses: int, settings: GeneratorTrainSettings, random: torch.Generator
) -> Draw:
    """Choose a batch among the portraits ``rows`` [M], their imagined photos and the poses."""
    count = settings.batch
    return Draw(
        rows[torch.randint(len(rows), (count,), generator=random)],
        torch.randint(photos, (count,), generator=random),
        torch.randint(poses, (count,), generator=random),
        torch.rand(count, generator=random) < 0.5,
        torch.rand(count, generator=random) < settings.whole,
    )


def render_views(textures: TrainingTextures, draw: Draw, bank: PoseBank, ground: float) -> ViewBatch:
    """Render a batch on plain ground, on the textures' device."""
    draw = on_device(draw, textures.colour.device)

    def drawn(planes: torch.Tensor) -> torch.Tensor:
        return bank.render(planes.float(), draw.pose, draw.mirrored)

    seen = drawn(torch.cat([textures.colour[draw.portrait], textures.shown[draw.portrait]], dim=1)) / 255
    guess = drawn(textures.guess[draw.portrait, draw.photo]) / 255
    kept = drawn(textures.patterns[textures.pattern[draw.portrait, draw.photo]][:, None])
    kept = torch.where(draw.whole[:, None, None, None], bank.coverage[draw.pose], kept)
    colour, shown = seen[:, :3], seen[:, 3:]
    rest = 1 - bank.coverage[draw.pose]
    # A pixel that the imagined photo shows in part holds that part of the photo.
    share = kept / bank.coverage[draw.pose].clamp(min=1e-3)
    hint = guess + (colour - guess) * share
    image, hint = ((x + rest * ground) * 2 - 1 for x in (colour, hint))
    code = torch.cat([textures.codes[draw.portrait, draw.mirrored.long()], bank.codes[draw.pose]], dim=1)
    carried = textures.native_side[draw.portrait] * (bank.span_mm / PORTRAIT_SPAN_MM)
    return ViewBatch(image, shown + rest, hint, shown * share + rest, code, carried)


def train_generator(
    state: TrainingState,
    textures: TrainingTextures,
    rows: torch.Tensor,
    bank: PoseBank,
    settings: GeneratorTrainSettings,
    ground: float,
    on_step: Callable[[TrainingState, dict[str, float]], None],
) -> None:
    """Go on until ``settings.images`` pictures were seen.

    Args:
        state: changed in place.
        textures: of the portraits; quickest on the networks' device, as the bank.
        rows: [M] which of them may be trained on.
        bank: poses.
        settings: of the training.
        ground: grey behind the faces.
        on_step: called after each step with the losses; saves checkpoints.
    """
    device = next(state.generator.parameters()).device
    while state.images < settings.images:
        draw = draw_views(rows, textures.guess.shape[1], len(bank.grid), settings, state.random)
        batch = on_device(render_views(textures, draw, bank, ground), device)
        done = state.images / settings.images
        share = settings.final_rate + (1 - settings.final_rate) * (1 + math.cos(math.pi * done)) / 2
        for group in [*state.optimiser.param_groups, *state.optimiser_d.param_groups]:
            group["lr"] = settings.learning_rate * share * group.get("share", 1.0)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # The noise of a step follows from its number, so that a resumed training is the same training.
            torch.manual_seed(settings.seed + _SEED_STRIDE * (state.step + 1))
            losses = _step(state, batch, settings)
        _average(state, settings.ema)
        state.images += settings.batch
        state.step += 1
        on_step(state, losses)


def _step(state: TrainingState, batch: ViewBatch, settings: GeneratorTrainSettings) -> dict[str, float]:
    level = level_at(state.images, settings)
    encoded = state.encoder(batch.hint, batch.trust)
    drop = torch.rand(len(batch.image), 1, 1, generator=state.random).to(encoded.offset) < settings.w_only
    offset = encoded.offset * (~drop)
    ws = state.generator.mapping(batch.code) + offset
    fake = state.generator.synthesis(ws, noise="random", resolution=level)
    factor = settings.resolution // level
    real, shown = functional.avg_pool2d(batch.image, factor), functional.avg_pool2d(batch.shown, factor)
    weight = shown + (1 - shown) * settings.unseen
    reconstruction = reconstruction_loss(fake, real, weight, settings.gradient, batch.carried)
    code = (encoded.z - batch.code).square().mean()
    spread = encoded.offset.square().mean()
    loss = reconstruction + settings.code * code + settings.offset * spread
    losses = {"reconstruction": reconstruction, "code": code, "offset": spread}
    sharp = (batch.carried >= level).nonzero()[:, 0]
    if state.images >= settings.adversarial_from and len(sharp):
        # Blurred portraits would teach the discriminator that blur is real: the others stand in for them.
        sharp = sharp[torch.arange(len(real), device=sharp.device) % len(sharp)]
        corners, owner = cut_patches(real[sharp], shown[sharp], settings.patch, settings.patches, state.random)
        seen_fake, seen_real = (
            take_patches(torch.cat([x * shown, shown], dim=1)[sharp], corners, owner, settings.patch)
            for x in (fake, real)
        )
        losses |= _discriminator_step(state, seen_fake.detach(), seen_real, settings)
        state.discriminator.requires_grad_(False)
        verdict = functional.softplus(-state.discriminator(augmentation(state.augment)(seen_fake))).mean()
        state.discriminator.requires_grad_(True)
        losses["verdict"] = verdict
        loss = loss + settings.adversarial * verdict
    state.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser.step()
    return {k: float(v.detach()) for k, v in losses.items()}


def _discriminator_step(
    state: TrainingState, fake: torch.Tensor, real: torch.Tensor, settings: GeneratorTrainSettings
) -> dict[str, torch.Tensor]:
    """Non-saturating logistic loss with a lazy gradient penalty on real patches.

    The augmentation grows while the discriminator knows more than 80 % of the real patches (ADA's r_t is above 0.6).
    """
    penalise = state.step % settings.r1_every == 0
    augment = augmentation(state.augment)
    real, fake = augment(real).detach().requires_grad_(penalise), augment(fake)
    said = state.discriminator(real)
    loss = functional.softplus(state.discriminator(fake)).mean() + functional.softplus(-said).mean()
    if penalise:
        (slope,) = torch.autograd.grad(said.sum(), real, create_graph=True)
        loss = loss + settings.r1 / 2 * settings.r1_every * slope.square().sum((1, 2, 3)).mean()
    state.optimiser_d.zero_grad(set_to_none=True)
    loss.backward()
    state.optimiser_d.step()
    sure = float((said.detach() > 0).float().mean())
    state.augment += math.copysign(len(said) / AUGMENT_PATCHES, sure - 0.8)
    state.augment = min(max(state.augment, 0.0), 0.8)
    return {"discriminator": loss.detach(), "said_real": said.detach().mean(), "augment": torch.tensor(state.augment)}


@torch.no_grad()
def _average(state: TrainingState, decay: float) -> None:
    decay = min(decay, (1 + state.step) / (10 + state.step))
    for mean, now in ((state.generator_mean, state.generator), (state.encoder_mean, state.encoder)):
        for a, b in zip(mean.parameters(), now.parameters(), strict=True):
            a.lerp_(b, 1 - decay)
        for kept, buffer in zip(mean.buffers(), now.buffers(), strict=True):
            kept.copy_(buffer)
