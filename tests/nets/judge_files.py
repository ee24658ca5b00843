"""Made weights of the networks that judge, by the rule of tools/make_judges_reference.py, and what those compute."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data/judges_reference.json").read_text()  # tools/make_judges_reference.py
)


def probe(height: int, width: int) -> torch.Tensor:
    """The picture of the reference."""
    values = np.sin(np.arange(3 * height * width, dtype=np.float64) ** 1.3 / 7)
    return torch.from_numpy(values.reshape(1, 3, height, width).astype(np.float32))


def made_weights(network: str) -> dict[str, torch.Tensor]:
    """A state of the published layout: ``arcface_r18``, ``arcface_r50`` or ``bisenet``."""
    return {name: _weights(name, tuple(shape)) for name, shape in REFERENCE[network]["tensors"].items()}


def _weights(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    values = random.standard_normal(shape)
    if name.endswith("running_var"):
        values = 0.5 + random.random(shape)
    elif len(shape) > 1:
        values *= (2 / np.prod(shape[1:])) ** 0.5
    elif name.endswith("weight"):
        values = (0.25 if "prelu" in name else 0.7) + 0.1 * values
    else:
        values *= 0.1
    return torch.from_numpy(values.astype(np.float32))
