"""Tensors by name, compared with what a network expects."""

from collections.abc import Mapping

import torch

from ostec.core.errors import WeightsError


def require_same_shapes(expected: Mapping[str, torch.Tensor], tensors: Mapping[str, torch.Tensor], what: str) -> None:
    """Raise WeightsError unless ``tensors`` has the names and shapes of ``expected``, no more and no less.

    Args:
        expected: a network's state.
        tensors: what a file holds.
        what: begins the error's sentence; the first few differences follow.
    """
    wrong = [f"{name} missing" for name in sorted(expected.keys() - tensors.keys())]
    wrong += [f"{name} unknown" for name in sorted(tensors.keys() - expected.keys())]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & tensors.keys())
        if tensors[name].shape != expected[name].shape
    ]
    if wrong:
        raise WeightsError(f"{what}: {'; '.join(wrong[:4])}.")
