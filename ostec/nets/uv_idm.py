"""UV-IDM's networks (Li et al., CVPR 2024): a latent diffusion model of textures in the Basel Face Model's layout.

What the photo shows in UV, 256 x 256 with -1 where nothing is seen, becomes 1,024 tokens (:class:`ConditionFuser`); a
U-Net that attends to them takes noise out of a latent of 4 x 32 x 32 (Rombach et al. 2022), and a decoder draws it.
The names are those of the released ``ldm.ckpt``, so that its tensors are loaded as they are.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ostec.core.errors import WeightsError
from ostec.nets.frozen import assign_frozen

SIZE = 256
"""Side of the textures."""
LATENT = (4, 32, 32)
_BETAS = (0.0015, 0.0155)
_STEPS = 1000
_HEADS = 8
_UNUSED = ("conv2.", "bn2.", "conv3.", "bn3.")
"""Layers of the published ConditionFuser that its forward pass leaves out."""


@dataclass(frozen=True)
class UvIdmShape:
    """Widths; the defaults are the published ones."""

    channels: int = 192
    """Of the U-Net's first level."""
    multiples: tuple[int, ...] = (1, 2, 2, 4, 4)
    """Of its levels; all but the last attend."""
    context: int = 128
    """Of a token."""
    decoder_channels: int = 128
    """Of the decoder's last level."""
    decoder_multiples: tuple[int, ...] = (1, 2, 4, 4)
    """Of its levels, from the last to the first."""


# --- U-Net


class _Resample(nn.Module):
    """Doubles or halves a side, without weights."""

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(x, scale_factor=2, mode="nearest") if self.up else functional.avg_pool2d(x, 2)


class _ResBlock(nn.Module):
    """Two convolutions; the time scales and shifts the second one's input (Dhariwal and Nichol 2021)."""

    def __init__(self, before: int, after: int, embedding: int, resample: _Resample | None = None) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(_norm(before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 2 * after))
        self.out_layers = nn.Sequential(_norm(after), nn.SiLU(), nn.Identity(), nn.Conv2d(after, after, 3, padding=1))
        self.skip_connection = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.resample = resample

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        del context
        h = self.in_layers[1](self.in_layers[0](x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        scale, shift = self.emb_layers(embedding)[..., None, None].chunk(2, dim=1)
        h = self.out_layers[0](self.in_layers[2](h)) * (1 + scale) + shift
        return self.skip_connection(x) + self.out_layers[3](functional.silu(h))


class _Attention(nn.Module):
    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, channels, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(channels, channels))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        split = [y.unflatten(-1, (_HEADS, -1)).transpose(1, 2) for y in (self.to_q(x), *self._pair(context))]
        return self.to_out(functional.scaled_dot_product_attention(*split).transpose(1, 2).flatten(-2))

    def _pair(self, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.to_k(context), self.to_v(context)


class _Gated(nn.Module):
    """GEGLU (Shazeer 2020)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(channels, 2 * inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * functional.gelu(gate)


class _FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(_Gated(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class _TransformerBlock(nn.Module):
    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.attn1, self.attn2 = _Attention(channels, channels), _Attention(channels, context)
        self.ff = _FeedForward(channels)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(channels) for _ in range(3))

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        own = self.norm1(x)
        x = x + self.attn1(own, own)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class _SpatialTransformer(nn.Module):
    """Pixels attend to each other and to the tokens."""

    def __init__(self, channels: int, context: int) -> None:
        super().__init__()
        self.norm = _norm(channels, 1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(channels, context)])

    def forward(self, x: torch.Tensor, embedding: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        del embedding
        h = self.proj_in(self.norm(x))
        h = self.transformer_blocks[0](h.flatten(2).transpose(1, 2), context)
        return x + self.proj_out(h.transpose(1, 2).unflatten(-1, x.shape[-2:]))


class _Entrance(nn.Conv2d):
    def forward(self, x: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return super().forward(x)


class DenoisingUnet(nn.Module):
    """Says which noise is in a latent."""

    def __init__(self, shape: UvIdmShape) -> None:
        """Build it with random weights."""
        super().__init__()
        base, context, embedding = shape.channels, shape.context, 4 * shape.channels
        self.base = base
        self.time_embed = nn.Sequential(nn.Linear(base, embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        widths = [base * multiple for multiple in shape.multiples]
        last = len(widths) - 1

        def stage(before: int, level: int) -> list[nn.Module]:
            block: list[nn.Module] = [_ResBlock(before, widths[level], embedding)]
            return block + ([_SpatialTransformer(widths[level], context)] if level < last else [])

        blocks: list[list[nn.Module]] = [[_Entrance(LATENT[0], base, 3, padding=1)]]
        kept, width = [base], base
        for level in range(len(widths)):
            for _ in range(2):
                blocks.append(stage(width, level))
                width = widths[level]
                kept.append(width)
            if level < last:
                blocks.append([_ResBlock(width, width, embedding, _Resample(up=False))])
                kept.append(width)
        self.input_blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        middle = (_ResBlock(width, width, embedding), _SpatialTransformer(width, context))
        self.middle_block = nn.ModuleList((*middle, _ResBlock(width, width, embedding)))
        blocks = []
        for level in reversed(range(len(widths))):
            for number in range(3):
                blocks.append(stage(width + kept.pop(), level))
                width = widths[level]
                if level and number == 2:
                    blocks[-1].append(_ResBlock(width, width, embedding, _Resample(up=True)))
        self.output_blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.out = nn.Sequential(_norm(width), nn.SiLU(), nn.Conv2d(width, LATENT[0], 3, padding=1))

    def forward(self, latent: torch.Tensor, step: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        """[B, 4, H, W] at steps [B] of 0 to 999, given tokens [B, T, C], to [B, 4, H, W]."""
        embedding = self.time_embed(_waves(step, self.base))
        kept: list[torch.Tensor] = []
        x = latent
        for block in self.input_blocks:
            x = _through(block, x, embedding, context)
            kept.append(x)
        x = _through(self.middle_block, x, embedding, context)
        for block in self.output_blocks:
            x = _through(block, torch.cat([x, kept.pop()], dim=1), embedding, context)
        return self.out(x)


def _through(block: nn.Module, x: torch.Tensor, embedding: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    for layer in block.children():
        x = layer(x, embedding, context)
    return x


def _waves(step: torch.Tensor, size: int) -> torch.Tensor:
    half = size // 2
    rate = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=step.device) / half)
    angle = step[:, None].float() * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def _norm(channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps)


# --- Decoder


class _PlainBlock(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(before, 1e-6), _norm(after, 1e-6)
        self.conv1, self.conv2 = nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)
        if before != after:
            self.nin_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        h = self.conv2(functional.silu(self.norm2(h)))
        return h + (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x)


class _PixelAttention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels, 1e-6)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2) for layer in (self.q, self.k, self.v))
        found = functional.scaled_dot_product_attention(q, k, v)
        return x + self.proj_out(found.transpose(1, 2).unflatten(-1, x.shape[-2:]))


class _Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1, self.attn_1 = _PlainBlock(channels, channels), _PixelAttention(channels)
        self.block_2 = _PlainBlock(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class _Upsample(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2, mode="nearest"))


class _UpLevel(nn.Module):
    def __init__(self, before: int, after: int, enlarges: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(_PlainBlock(before if number == 0 else after, after) for number in range(3))
        self.upsample = _Upsample(after) if enlarges else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.block:
            x = block(x)
        return self.upsample(x)


class LatentDecoder(nn.Module):
    """Draws a texture from a latent (Rombach et al. 2022, an autoencoder with factor 8)."""

    def __init__(self, shape: UvIdmShape) -> None:
        """Build it with random weights."""
        super().__init__()
        widths = [shape.decoder_channels * multiple for multiple in shape.decoder_multiples]
        self.conv_in = nn.Conv2d(LATENT[0], widths[-1], 3, padding=1)
        self.mid = _Middle(widths[-1])
        before = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(_UpLevel(before[i], widths[i], enlarges=i > 0) for i in range(len(widths)))
        self.norm_out = _norm(widths[0], 1e-6)
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """[B, 4, h, w] to [B, 3, 8h, 8w], mostly in [-1, 1]."""
        x = self.mid(self.conv_in(latent))
        for level in reversed(self.up):
            x = level(x)
        return self.conv_out(functional.silu(self.norm_out(x)))


# --- Condition


class _BasicBlock(nn.Module):
    """ResNet's (He et al. 2016)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(h + (self.downsample(x) if hasattr(self, "downsample") else x))


class ConditionFuser(nn.Module):
    """The incomplete texture as tokens."""

    def __init__(self, tokens: tuple[int, ...]) -> None:
        """Build it with random weights; ``tokens`` is the shape that its last norm is taken over, (C,) or (T, C)."""
        super().__init__()
        width = tokens[-1]
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(
            *(_BasicBlock(64 if k == 0 else width, width, 2 if k == 0 else 1) for k in range(3))
        )
        self.bn4 = nn.LayerNorm(tokens)

    def forward(self, texture: torch.Tensor) -> torch.Tensor:
        """[B, 3, 256, 256] in [-1, 1] to [B, 1024, C]."""
        x = functional.max_pool2d(functional.relu(self.bn1(self.conv1(texture))), 3, 2, 1)
        return self.bn4(self.layer1(x).flatten(2).transpose(1, 2))


# --- All


class UvIdm(nn.Module):
    """The three networks, in evaluation mode, without gradients of their own."""

    def __init__(self, shape: UvIdmShape, tokens: tuple[int, ...]) -> None:
        """Build it, untrained; :func:`uv_idm_from_tensors` gives one with weights."""
        super().__init__()
        self.unet, self.decoder = DenoisingUnet(shape), LatentDecoder(shape)
        self.post_quant_conv = nn.Conv2d(LATENT[0], LATENT[0], 1)
        self.fuser = ConditionFuser(tokens)
        self.register_buffer("scale_factor", torch.ones(()))
        self.eval().requires_grad_(False)

    scale_factor: torch.Tensor

    @torch.no_grad()
    def sample(
        self,
        condition: torch.Tensor,
        draw: Callable[[], torch.Tensor],
        steps: int = 50,
        eta: float = 1.0,
        on_step: Callable[[int], None] = lambda _: None,
    ) -> torch.Tensor:
        """Draw textures by DDIM (Song et al. 2021, equations 12 and 16) with the schedule of the release.

        Args:
            condition: [B, 3, 256, 256] in [-1, 1]: what is seen, -1 where nothing is.
            draw: gives standard normal noise [B, 4, 32, 32], once for the start and once a step.
            steps: of 1,000, evenly.
            eta: 0 draws no noise on the way, 1 as much as DDPM.
            on_step: called with the number of steps done.

        Returns:
            [B, 3, 256, 256] in [0, 1].
        """
        context = self.fuser(condition)
        kept = torch.linspace(_BETAS[0] ** 0.5, _BETAS[1] ** 0.5, _STEPS, dtype=torch.float64) ** 2
        kept = torch.cumprod(1 - kept, 0)
        times = list(range(1, _STEPS, _STEPS // steps))[:steps]
        latent = draw()
        for number, time in enumerate(reversed(times)):
            now = float(kept[time])
            before = float(kept[times[-number - 2]] if number < len(times) - 1 else kept[0])
            noise = self.unet(latent, torch.full((len(latent),), time, device=latent.device), context)
            clean = (latent - (1 - now) ** 0.5 * noise) / now**0.5
            sigma = eta * ((1 - before) / (1 - now) * (1 - now / before)) ** 0.5
            latent = before**0.5 * clean + (1 - before - sigma**2) ** 0.5 * noise + sigma * draw()
            on_step(number + 1)
        drawn = self.decoder(self.post_quant_conv(latent / self.scale_factor))
        return ((drawn + 1) / 2).clamp(0, 1)


_PARTS = {
    "unet.": "model.diffusion_model.",
    "decoder.": "first_stage_model.decoder.",
    "post_quant_conv.": "first_stage_model.post_quant_conv.",
    "fuser.": "cond_stage_model.conditionfuser.",
}
"""Names here -> names in ``ldm.ckpt``."""


def uv_idm_from_tensors(
    tensors: Mapping[str, torch.Tensor], source: str, shape: UvIdmShape | None = None, averaged: bool = False
) -> UvIdm:
    """Build the networks from the state of ``ldm.ckpt``.

    Args:
        tensors: its ``state_dict``. What is not needed here may be missing: the autoencoder's encoder, the schedule.
        source: the file, for messages.
        shape: the published one if None.
        averaged: take the running mean of the U-Net's weights (``model_ema``), which the release does not.

    Raises:
        WeightsError: a tensor of the networks is missing, superfluous, of another shape or no number.
    """
    found = {
        name + key.removeprefix(prefix).replace(".shortcut.", ".downsample."): value
        for name, prefix in _PARTS.items()
        for key, value in tensors.items()
        if key.startswith(prefix) and not key.removeprefix(prefix).startswith(_UNUSED if name == "fuser." else "\0")
    }
    if averaged:
        for key in [key for key in found if key.startswith("unet.")]:
            mean = tensors.get("model_ema." + ("diffusion_model." + key.removeprefix("unet.")).replace(".", ""))
            if mean is None:
                raise WeightsError(f"{source} holds no running mean of {key.removeprefix('unet.')}.")
            found[key] = mean
    if "scale_factor" not in tensors or "fuser.bn4.weight" not in found:
        raise WeightsError(f"{source} is no checkpoint of UV-IDM: it has no scale_factor or no conditionfuser.")
    found["scale_factor"] = tensors["scale_factor"]
    tokens = tuple(found["fuser.bn4.weight"].shape)
    if len(tokens) not in (1, 2) or tokens[-1] > 4096:
        raise WeightsError(f"{source} has a norm of {tokens} tokens, expected (128,) or (1024, 128).")
    with torch.device("meta"):  # shapes alone: nothing is drawn or allocated
        network = UvIdm(shape or UvIdmShape(), tokens)
    assign_frozen(network, found, source)
    return network
