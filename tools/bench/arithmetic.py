"""How much arithmetic a piece of work is, and how fast the machine does it in the best case that a user can have."""

from typing import Any

import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench.clock import Clock

CHANNELS = 512
SIDE = 64
_SECONDS = 0.5
"""Least time of one measurement."""
_REPEATS = 5


class Counted(TorchDispatchMode):
    """Counts floating-point operations inside a ``with``: two for each multiplication with its addition.

    Of convolutions, transposed ones at their input, and matrix products, forward and backward; the rest is left out.
    PyTorch's ``FlopCounterMode`` counts by the same table, but follows modules too, and fails where one that is called
    without gradients is given something that has one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gflop = 0.0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.gflop += count(*args, **(kwargs or {}), out_val=result) / 1e9
        return result


@torch.no_grad()
def convolution_rate(
    device: torch.device, dtype: torch.dtype = torch.float32, batch: int = 1, seconds: float = _SECONDS
) -> float:
    """GFLOP/s of one plain 3 x 3 convolution of 512 channels at 64 px, in the better of both memory layouts.

    Args:
        device: where.
        dtype: of pictures and weights.
        batch: pictures at once.
        seconds: least time of one of five measurements, of which the median counts.
    """
    return max(
        _rate(device, dtype, batch, layout, seconds) for layout in (torch.contiguous_format, torch.channels_last)
    )


def _rate(device: torch.device, dtype: torch.dtype, batch: int, layout: torch.memory_format, seconds: float) -> float:
    x = torch.randn(batch, CHANNELS, SIDE, SIDE, device=device).to(dtype).contiguous(memory_format=layout)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device).to(dtype).contiguous(memory_format=layout)
    gflop = 2 * 9 * CHANNELS**2 * SIDE**2 * batch / 1e9
    clock = Clock(device)
    functional.conv2d(x, weight, padding=1)
    clock.start()
    functional.conv2d(x, weight, padding=1)
    count = max(1, round(seconds / max(clock.stop(), 1e-6)))
    rates = []
    for _ in range(_REPEATS):
        clock = Clock(device)
        clock.start()
        for _ in range(count):
            functional.conv2d(x, weight, padding=1)
        rates.append(gflop * count / clock.stop())
    return sorted(rates)[_REPEATS // 2]
