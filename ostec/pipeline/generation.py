"""Latents to pictures, each as if it were the only one: what is drawn does not depend on what is drawn beside it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ostec.core.errors import UsageError, WeightsError
from ostec.core.types import ByteArray, FloatArray
from ostec.io.arrays import read_npz, read_prefixed
from ostec.io.pickles import read_objects
from ostec.nets.stylegan2 import Generator, GeneratorShape, NoiseMode

MAX_PICTURES = 100_000
_MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class Latents:
    """What pictures are drawn from."""

    space: Literal["z", "w"]
    values: FloatArray
    """[N, Z], or W+ [N, num_ws, W]."""
    noise_seeds: tuple[int, ...]
    """Per picture: seed of its noise where that is random."""
    views: tuple[str, ...] = ()
    """Per picture: which of a completed face's views it is."""


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds such as ``0-9`` or ``3,5,8-10``, in that order.

    Raises:
        UsageError: it is none of that, or there are more than 100,000.
    """
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:\s*-\s*(\d{1,10}))?\s*", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= _MAX_SEED:
            raise UsageError(f"--seeds must be numbers up to {_MAX_SEED} and ranges such as 0-9, got {text[:60]!r}.")
        if len(found) + last - first >= MAX_PICTURES:
            raise UsageError(f"--seeds may name {MAX_PICTURES} pictures at most.")
        found += range(first, last + 1)
    return tuple(found)


def seeded_latents(seeds: tuple[int, ...], z_dim: int) -> Latents:
    """Draw z from NumPy's RandomState of each seed, as NVIDIA's ``generate.py`` does."""
    drawn = [np.random.RandomState(seed).randn(1, z_dim) for seed in seeds]
    return Latents("z", np.concatenate(drawn).astype(np.float32), seeds)


def read_latents(path: Path) -> Latents:
    """Read ``z`` [N, Z] or ``w`` [N, num_ws, W] of an .npz, or W+ of a .pt, alone in it or called ``latent``.

    One ``w`` [num_ws, W], as ``ostec invert`` writes it, is one picture; so is each ``w_VIEW`` of ``ostec complete``,
    in the order of their names. The .pt are those that FFHQ-UV publishes.

    Raises:
        AssetError: the file is missing, damaged, or holds no latents.
    """
    with_arrays = path.suffix.lower() == ".npz"
    content = read_npz(path, ("z", "w")) if with_arrays else read_objects(path)
    views = read_prefixed(path, "w_") if with_arrays and not content else {}
    if views:
        shapes = {view.shape for view in views.values()}
        if len(shapes) > 1 or len(*shapes) != 2:
            found = " and ".join(str([*shape]) for shape in sorted(shapes))
            raise WeightsError(f"{path} cannot be used: expected w_VIEW [num_ws, W], found {found}.")
        content = {"w": np.stack([*views.values()])}
    elif isinstance(content, dict) and not with_arrays:
        content = {"w": content.get("latent", content.get("w")), "z": content.get("z")}
    elif not with_arrays:
        content = {"w": content}
    held = {name: _numbers(value) for name, value in content.items() if name in ("z", "w") and value is not None}
    given = {name: value for name, value in held.items() if value is not None}
    if len(given) != 1:
        raise WeightsError(f"{path} cannot be used: expected either z or w, found {' and '.join(given) or 'neither'}.")
    ((space, values),) = given.items()
    values = values[None] if space == "w" and values.ndim == 2 else values
    if values.ndim != (2 if space == "z" else 3) or not 0 < len(values) <= MAX_PICTURES:
        shape = "z [N, Z]" if space == "z" else "w [N, num_ws, W]"
        raise WeightsError(f"{path} cannot be used: expected {shape}, found {space} {list(values.shape)}.")
    if not np.isfinite(values).all():
        raise WeightsError(f"{path} cannot be used: {space} holds something that is no finite number.")
    return Latents("z" if space == "z" else "w", values, tuple(range(len(values))), tuple(views))


def _numbers(value: object) -> FloatArray | None:
    if isinstance(value, torch.Tensor):
        value = value.detach().float().numpy()
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        return None
    return value.astype(np.float32)


def check_latents(latents: Latents, shape: GeneratorShape, source: str, generator: str) -> None:
    """Raise WeightsError unless the latents are those of such a generator."""
    expected = (shape.z_dim,) if latents.space == "z" else (shape.num_ws, shape.w_dim)
    if latents.values.shape[1:] != expected:
        given, wanted = list(latents.values.shape[1:]), list(expected)
        raise WeightsError(f"{source} does not fit {generator}: expected {latents.space} {wanted}, found {given}.")


@torch.no_grad()
def draw_picture(network: Generator, latents: Latents, index: int, psi: float, noise: NoiseMode) -> ByteArray:
    """One picture [R, R, 3] of 8 bits: floor(clip(127.5 x + 128)), as NVIDIA's ``generate.py`` writes it.

    Args:
        network: in evaluation mode.
        latents: that :func:`check_latents` accepts.
        index: which of them.
        psi: truncation of z; a given w is taken as it is.
        noise: the network's own, of the picture's seed, or none.
    """
    device = network.mapping.w_avg.device
    given = torch.from_numpy(latents.values[index : index + 1]).to(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(latents.noise_seeds[index])
        ws = network.mapping(given, psi) if latents.space == "z" else given
        picture = network.synthesis(ws, noise)[0]
    return (picture.permute(1, 2, 0) * 127.5 + 128).clamp(0, 255).to(torch.uint8).cpu().numpy()
