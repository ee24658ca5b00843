"""Which device a run uses, and how many threads."""

import contextlib
import importlib.util
from collections.abc import Iterator

import torch

from ostec.core.errors import BackendError


def pick_device(asked: str) -> tuple[torch.device, list[str]]:
    """Choose the device, with what the user should know about the choice.

    Raises:
        BackendError: CUDA was asked for and is not available.
        ValueError: the name is none of auto, cpu, cuda.
    """
    if asked not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {asked!r}.")
    if asked == "cpu":
        return torch.device("cpu"), []
    found, drawing = torch.cuda.is_available(), importlib.util.find_spec("nvdiffrast") is not None
    if found and drawing:
        return torch.device("cuda"), []
    lack = "no CUDA device was found" if not found else "nvdiffrast is not installed (github.com/NVlabs/nvdiffrast)"
    if asked == "cuda":
        raise BackendError(f"--device cuda cannot be used: {lack}.")
    return torch.device("cpu"), [f"The CPU was used although there is a GPU: {lack}."] if found else []


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch work in so many threads.

    Networks as small as a detector's lose by more than one on a busy machine: each layer waits for the slowest thread.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
