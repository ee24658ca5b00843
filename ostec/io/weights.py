"""Checkpoints to tensors and tensors into modules, strictly, without executing anything that a file holds."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ostec.core.errors import WeightsError


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read every tensor of a safetensors file onto the CPU.

    Raises:
        WeightsError: the file is missing or damaged.
    """
    try:
        return dict(load_file(path, device="cpu"))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors ({error}).") from error


def load_strict(module: nn.Module, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Copy ``tensors`` into ``module``; names and shapes must agree exactly.

    Args:
        module: a built network.
        tensors: its whole state, by name.
        source: where the tensors came from, for the message.

    Raises:
        WeightsError: a tensor is missing, superfluous or of another shape; the first few are named.
    """
    expected = module.state_dict()
    wrong = [f"{k} missing" for k in sorted(expected.keys() - tensors.keys())]
    wrong += [f"{k} unknown" for k in sorted(tensors.keys() - expected.keys())]
    wrong += [
        f"{k} is {tuple(tensors[k].shape)}, expected {tuple(expected[k].shape)}"
        for k in sorted(expected.keys() & tensors.keys())
        if tensors[k].shape != expected[k].shape
    ]
    if wrong:
        raise WeightsError(f"{source} does not fit {type(module).__name__}: {'; '.join(wrong[:4])}.")
    module.load_state_dict(tensors, strict=True)
