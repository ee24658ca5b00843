"""UV-IDM's networks draw what a plain transcription of their layers draws, from the same file and the same noise."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ostec.core.errors import WeightsError
from ostec.io.weights import read_state
from ostec.nets.uv_idm import SIZE, DenoisingUnet, UvIdm, UvIdmShape, uv_idm_from_tensors

TINY = UvIdmShape(channels=32, context=32, decoder_channels=32, decoder_multiples=(1, 1, 2, 2))
State = dict[str, torch.Tensor]
PREFIXES = {
    "unet.": "model.diffusion_model.",
    "decoder.": "first_stage_model.decoder.",
    "post_quant_conv.": "first_stage_model.post_quant_conv.",
    "fuser.": "cond_stage_model.conditionfuser.",
}


@pytest.fixture(scope="module")
def network() -> UvIdm:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = UvIdm(TINY, (32,))
        for module in made.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2)
                module.running_var.uniform_(0.5, 1.5)
    made.scale_factor.fill_(0.8)
    return made


@pytest.fixture(scope="module")
def stored(network: UvIdm) -> State:
    """As ``ldm.ckpt`` names them, with what else lies in it."""
    found = {"scale_factor": network.scale_factor.clone(), "betas": torch.zeros(1000)}
    for key, value in network.state_dict().items():
        for name, prefix in PREFIXES.items():
            if key.startswith(name):
                found[prefix + key.removeprefix(name)] = value.clone()
    for name in ("conv2.weight", "bn3.bias"):
        found[f"cond_stage_model.conditionfuser.{name}"] = torch.zeros(3)
    found["first_stage_model.encoder.conv_in.weight"] = torch.zeros(3)
    found["cond_stage_model.recon_net.backbone.conv1.weight"] = torch.zeros(3)
    return found


# --- The transcription: functions of the file's tensors, no modules, attention and norms written out.


def norm(s: State, key: str, x: torch.Tensor, eps: float) -> torch.Tensor:
    groups = x.reshape(len(x), 32, -1)
    centred = groups - groups.mean(-1, keepdim=True)
    flat = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return flat.reshape(x.shape) * s[f"{key}.weight"][:, None, None] + s[f"{key}.bias"][:, None, None]


def conv(s: State, key: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    weight = s[f"{key}.weight"]
    return F.conv2d(x, weight, s.get(f"{key}.bias"), stride, weight.shape[-1] // 2)


def dense(s: State, key: str, x: torch.Tensor) -> torch.Tensor:
    made = x @ s[f"{key}.weight"].T
    return made + s[f"{key}.bias"] if f"{key}.bias" in s else made


def layer_norm(s: State, key: str, x: torch.Tensor) -> torch.Tensor:
    x = x - x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * s[f"{key}.weight"] + s[f"{key}.bias"]


def swish(x: torch.Tensor) -> torch.Tensor:
    return x / (1 + torch.exp(-x))


def res(s: State, key: str, x: torch.Tensor, e: torch.Tensor, resize: str = "") -> torch.Tensor:
    h = swish(norm(s, f"{key}.in_layers.0", x, 1e-5))
    if resize == "down":
        h, x = (y.reshape(*y.shape[:2], y.shape[2] // 2, 2, y.shape[3] // 2, 2).mean((3, 5)) for y in (h, x))
    if resize == "up":
        h, x = (y.repeat_interleave(2, 2).repeat_interleave(2, 3) for y in (h, x))
    h = conv(s, f"{key}.in_layers.2", h)
    scale, shift = dense(s, f"{key}.emb_layers.1", swish(e))[:, :, None, None].chunk(2, 1)
    h = norm(s, f"{key}.out_layers.0", h, 1e-5) * (1 + scale) + shift
    h = conv(s, f"{key}.out_layers.3", swish(h))
    return h + (conv(s, f"{key}.skip_connection", x) if f"{key}.skip_connection.weight" in s else x)


def attend(s: State, key: str, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    q, k, v = dense(s, f"{key}.to_q", x), dense(s, f"{key}.to_k", c), dense(s, f"{key}.to_v", c)
    width = q.shape[-1] // 8
    heads = []
    for n in range(8):
        part = slice(n * width, (n + 1) * width)
        heads.append((q[..., part] @ k[..., part].mT / math.sqrt(width)).softmax(-1) @ v[..., part])
    return dense(s, f"{key}.to_out.0", torch.cat(heads, -1))


def transformer(s: State, key: str, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    h = conv(s, f"{key}.proj_in", norm(s, f"{key}.norm", x, 1e-6))
    t, block = h.reshape(*h.shape[:2], -1).permute(0, 2, 1), f"{key}.transformer_blocks.0"
    own = layer_norm(s, f"{block}.norm1", t)
    t = t + attend(s, f"{block}.attn1", own, own)
    t = t + attend(s, f"{block}.attn2", layer_norm(s, f"{block}.norm2", t), c)
    value, gate = dense(s, f"{block}.ff.net.0.proj", layer_norm(s, f"{block}.norm3", t)).chunk(2, -1)
    t = t + dense(s, f"{block}.ff.net.2", value * gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2))))
    return x + conv(s, f"{key}.proj_out", t.permute(0, 2, 1).reshape(h.shape))


INPUT = {0: "c", 1: "rt", 2: "rt", 3: "d", 4: "rt", 5: "rt", 6: "d", 7: "rt", 8: "rt", 9: "d", 10: "rt", 11: "rt"}
INPUT |= {12: "d", 13: "r", 14: "r"}
OUTPUT = {0: "r", 1: "r", 2: "ru", 3: "rt", 4: "rt", 5: "rtu", 6: "rt", 7: "rt", 8: "rtu", 9: "rt", 10: "rt", 11: "rtu"}
OUTPUT |= {12: "rt", 13: "rt", 14: "rt"}


def block(s: State, key: str, kinds: str, x: torch.Tensor, e: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    for n, kind in enumerate(kinds):
        name = f"{key}.{n}"
        if kind == "c":
            x = conv(s, name, x)
        elif kind == "t":
            x = transformer(s, name, x, c)
        else:
            x = res(s, name, x, e, {"d": "down", "u": "up"}.get(kind, ""))
    return x


def unet(s: State, x: torch.Tensor, time: int, c: torch.Tensor) -> torch.Tensor:
    base = s["time_embed.0.weight"].shape[1]
    angle = torch.tensor([time * 10_000 ** (-k / (base // 2)) for k in range(base // 2)])
    e = torch.cat([angle.cos(), angle.sin()])[None]
    e = dense(s, "time_embed.2", swish(dense(s, "time_embed.0", e)))
    kept = []
    for n, kinds in INPUT.items():
        x = block(s, f"input_blocks.{n}", kinds, x, e, c)
        kept.append(x)
    x = block(s, "middle_block", "rtr", x, e, c)
    for n, kinds in OUTPUT.items():
        x = block(s, f"output_blocks.{n}", kinds, torch.cat([x, kept.pop()], 1), e, c)
    return conv(s, "out.2", swish(norm(s, "out.0", x, 1e-5)))


def plain(s: State, key: str, x: torch.Tensor) -> torch.Tensor:
    h = conv(s, f"{key}.conv1", swish(norm(s, f"{key}.norm1", x, 1e-6)))
    h = conv(s, f"{key}.conv2", swish(norm(s, f"{key}.norm2", h, 1e-6)))
    return h + (conv(s, f"{key}.nin_shortcut", x) if f"{key}.nin_shortcut.weight" in s else x)


def decode(s: State, z: torch.Tensor) -> torch.Tensor:
    x = plain(s, "mid.block_1", conv(s, "conv_in", z))
    h = norm(s, "mid.attn_1.norm", x, 1e-6)
    q, k, v = (conv(s, f"mid.attn_1.{n}", h).reshape(*h.shape[:2], -1) for n in "qkv")
    found = v @ (q.mT @ k / math.sqrt(q.shape[1])).softmax(-1).mT
    x = plain(s, "mid.block_2", x + conv(s, "mid.attn_1.proj_out", found.reshape(h.shape)))
    for level in (3, 2, 1, 0):
        for n in range(3):
            x = plain(s, f"up.{level}.block.{n}", x)
        if level:
            x = conv(s, f"up.{level}.upsample.conv", x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    return conv(s, "conv_out", swish(norm(s, "norm_out", x, 1e-6)))


def fuse(s: State, y: torch.Tensor) -> torch.Tensor:
    def bn(key: str, x: torch.Tensor) -> torch.Tensor:
        scale = s[f"{key}.weight"] / (s[f"{key}.running_var"] + 1e-5).sqrt()
        return x * scale[:, None, None] + (s[f"{key}.bias"] - s[f"{key}.running_mean"] * scale)[:, None, None]

    x = F.max_pool2d(bn("bn1", conv(s, "conv1", y, 2)).clamp(min=0), 3, 2, 1)
    for n in range(3):
        key = f"layer1.{n}"
        h = bn(f"{key}.bn1", conv(s, f"{key}.conv1", x, 2 if n == 0 else 1)).clamp(min=0)
        h = bn(f"{key}.bn2", conv(s, f"{key}.conv2", h))
        x = (h + (bn(f"{key}.downsample.1", conv(s, f"{key}.downsample.0", x, 2)) if n == 0 else x)).clamp(min=0)
    return layer_norm(s, "bn4", x.reshape(*x.shape[:2], -1).permute(0, 2, 1))


def part(stored: State, name: str) -> State:
    prefix = PREFIXES[name]
    return {key.removeprefix(prefix): value for key, value in stored.items() if key.startswith(prefix)}


@torch.no_grad()
def published(stored: State, condition: torch.Tensor, noises: list[torch.Tensor], steps: int) -> torch.Tensor:
    context, s = fuse(part(stored, "fuser."), condition), part(stored, "unet.")
    betas = np.linspace(0.0015**0.5, 0.0155**0.5, 1000) ** 2
    product = np.cumprod(1 - betas)
    assert product[-1] == pytest.approx(6.7e-4, rel=0.02)
    times = np.arange(0, 1000, 1000 // steps) + 1
    a, x = product[times], noises[0]
    before = np.concatenate([product[:1], a[:-1]])
    for n in reversed(range(steps)):
        e = unet(s, x, int(times[n]), context)
        sigma2 = (1 - before[n]) / (1 - a[n]) * (1 - a[n] / before[n])
        x0 = (x - float(np.sqrt(1 - a[n])) * e) / float(np.sqrt(a[n]))
        towards = float(np.sqrt(1 - before[n] - sigma2)) * e
        x = float(np.sqrt(before[n])) * x0 + towards + float(np.sqrt(sigma2)) * noises[steps - n]
    z = x / stored["scale_factor"]
    drawn = decode(part(stored, "decoder."), conv(stored, "first_stage_model.post_quant_conv", z))
    return ((drawn + 1) / 2).clamp(0, 1)


def test_sampling_agrees_with_the_transcription(network: UvIdm, stored: State) -> None:
    random = torch.Generator().manual_seed(1)
    condition = torch.rand(1, 3, SIZE, SIZE, generator=random) * 2 - 1
    steps = 2
    noises = [torch.randn(1, 4, 32, 32, generator=random) for _ in range(steps + 1)]
    waiting = iter(noises)
    made = uv_idm_from_tensors(stored, "ldm.ckpt", TINY).sample(condition, lambda: next(waiting), steps)
    assert next(waiting, None) is None, "noise is drawn once for the start and once a step"
    torch.testing.assert_close(made, published(stored, condition, noises, steps), atol=1e-4, rtol=0)
    assert made.std() > 0.01


@pytest.mark.slow
def test_fifty_steps_agree_with_the_transcription(stored: State) -> None:
    random = torch.Generator().manual_seed(2)
    condition = torch.rand(1, 3, SIZE, SIZE, generator=random) * 2 - 1
    noises = [torch.randn(1, 4, 32, 32, generator=random) for _ in range(51)]
    waiting = iter(noises)
    made = uv_idm_from_tensors(stored, "ldm.ckpt", TINY).sample(condition, lambda: next(waiting), 50)
    torch.testing.assert_close(made, published(stored, condition, noises, 50), atol=1e-4, rtol=0)


def test_the_published_sizes_have_the_published_number_of_tensors_and_parameters() -> None:
    with torch.device("meta"):
        whole = UvIdm(UvIdmShape(), (128,))
    state = whole.unet.state_dict()
    assert len(state) == 940
    assert round(sum(x.numel() for x in state.values()) / 1e6, 2) == 380.68
    assert round(sum(x.numel() for x in whole.decoder.state_dict().values()) / 1e6, 2) == 49.49
    shapes = {n: tuple(state[f"output_blocks.{n}.0.in_layers.2.weight"].shape[:2]) for n in (0, 5, 6, 11, 12, 14)}
    assert shapes == {0: (768, 1536), 5: (768, 1152), 6: (384, 1152), 11: (384, 576), 12: (192, 576), 14: (192, 384)}
    assert "output_blocks.5.2.in_layers.2.weight" in state
    assert isinstance(whole.unet, DenoisingUnet)


class ModelCheckpoint:
    """Stands for a callback of the training program, which old files name as a key."""


def test_a_lightning_file_is_read_without_executing_it(stored: State, tmp_path: Path) -> None:
    averages = {
        "model_ema." + ("diffusion_model." + key.removeprefix("model.diffusion_model.")).replace(".", ""): value + 1
        for key, value in stored.items()
        if key.startswith("model.diffusion_model.")
    }
    content: dict[str, Any] = {
        "epoch": 3,
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {ModelCheckpoint: {"monitor": "val/loss", "best_model_score": torch.tensor(0.1)}},
        "optimizer_states": [{"state": {0: {"step": 5, "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 1e-4}]}],
        "state_dict": {**stored, **averages, "model_ema.decay": torch.tensor(0.9999)},
    }
    path = tmp_path / "ldm.ckpt"
    torch.save(content, path)
    state = read_state(path)
    plain_weights = uv_idm_from_tensors(state, str(path), TINY)
    averaged = uv_idm_from_tensors(state, str(path), TINY, averaged=True)
    name = "unet.out.2.bias"
    torch.testing.assert_close(averaged.state_dict()[name], plain_weights.state_dict()[name] + 1)
    assert torch.equal(
        averaged.state_dict()["decoder.conv_in.bias"], plain_weights.state_dict()["decoder.conv_in.bias"]
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.diffusion_model.out.2.bias": None}, "does not fit"),
        ({"model.diffusion_model.more": torch.zeros(1)}, "does not fit"),
        ({"first_stage_model.decoder.conv_in.weight": torch.zeros(2)}, "does not fit"),
        ({"scale_factor": None}, "no checkpoint of UV-IDM"),
        ({"scale_factor": torch.tensor(math.nan)}, "finite"),
    ],
)
def test_what_does_not_fit_is_refused(stored: State, change: dict[str, torch.Tensor | None], says: str) -> None:
    changed = {key: value for key, value in {**stored, **change}.items() if value is not None}
    with pytest.raises(WeightsError, match=says):
        uv_idm_from_tensors(changed, "ldm.ckpt", TINY)


def test_a_file_without_a_running_mean_is_refused_where_that_is_asked_for(stored: State) -> None:
    with pytest.raises(WeightsError, match="no running mean"):
        uv_idm_from_tensors(stored, "ldm.ckpt", TINY, averaged=True)
