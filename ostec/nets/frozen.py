"""Published weights into networks that judge: compared name by name, made float32, and fixed."""

from collections.abc import Mapping

import torch
from torch import nn

from ostec.core.errors import WeightsError
from ostec.core.tensors import require_same_shapes

_COUNT = "num_batches_tracked"
"""What batch normalisation counts in training; older files lack it, and nothing here reads it."""


def assign_frozen(module: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Give a network its tensors, in evaluation mode and without gradients of its own.

    Args:
        module: may be built on the device "meta"; afterwards it is on the tensors' device.
        tensors: its whole state by name, of any floating type; batch normalisation's counts may be missing.
        source: the file that they came from, for messages.

    Raises:
        WeightsError: a tensor is missing, superfluous, of another shape, or holds what is no number.
    """
    expected = {name: x for name, x in module.state_dict().items() if not name.endswith(_COUNT)}
    given = {name: x for name, x in tensors.items() if not name.endswith(_COUNT)}
    require_same_shapes(expected, given, f"{source} does not fit {type(module).__name__}")
    for name, x in given.items():
        if not x.is_floating_point() or not bool(torch.isfinite(x).all()):
            raise WeightsError(f"{source} is damaged: {name} is expected to hold finite numbers and does not.")
    state: dict[str, torch.Tensor] = {name: x.detach().float().clone() for name, x in given.items()}
    state |= {name: torch.zeros(()).long() for name in module.state_dict() if name.endswith(_COUNT)}
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().requires_grad_(False)
