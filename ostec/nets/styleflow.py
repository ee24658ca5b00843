"""StyleFlow's flow: a latent and its attributes to a code without them, and back (Abdal et al., StyleFlow, 2021).

A continuous normalising flow between two moving batch normalisations, with the names of the published file. The density
that its training carries along says nothing here and is left out; the ordinary differential equation is solved by
Runge and Kutta's fourth-order scheme in equal steps.
"""

from collections.abc import Mapping

import torch
from torch import nn

from ostec.core.errors import WeightsError
from ostec.core.tensors import require_same_shapes

WIDTH, LAYERS = 512, 6
ATTRIBUTES = (
    *(f"light{k}" for k in range(9)),
    *("gender", "glasses", "yaw", "pitch", "baldness", "beard", "age", "expression"),
)
"""In the file's order; light as DPR has it, degrees, years, the rest 0 to 1."""
STEPS = 40
_EPSILON = 1e-4
_COUNTERS = ("chain.0.step", "chain.2.step", "chain.1.odefunc._num_evals")
"""Of the training; their values mean nothing here."""


class _Norm(nn.Module):
    """Batch normalisation by running statistics, with the logarithm of the scale."""

    running_mean: torch.Tensor
    running_var: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: torch.Tensor, back: bool) -> torch.Tensor:
        deviation = (self.running_var + _EPSILON).sqrt()
        if back:
            return (x - self.bias) * torch.exp(-self.weight) * deviation + self.running_mean
        return (x - self.running_mean) / deviation * self.weight.exp() + self.bias


class _Squash(nn.Module):
    """A linear layer whose output time and attributes gate and shift."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self._layer = nn.Linear(width, width)
        self._hyper_bias = nn.Linear(context, width, bias=False)
        self._hyper_gate = nn.Linear(context, width)

    def forward(self, context: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self._hyper_gate(context))
        return torch.as_tensor(self._layer(x) * gate + self._hyper_bias(context))


class _Field(nn.Module):
    def __init__(self, width: int, context: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Squash(width, context) for _ in range(layers))

    def forward(self, context: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(context, x)
            x = torch.tanh(x) if number + 1 < len(self.layers) else x
        return x


class _OdeFunction(nn.Module):
    def __init__(self, width: int, context: int, layers: int) -> None:
        super().__init__()
        self.diffeq = _Field(width, context, layers)


class _Flow(nn.Module):
    def __init__(self, width: int, context: int, layers: int) -> None:
        super().__init__()
        self.sqrt_end_time = nn.Parameter(torch.ones(()))
        self.odefunc = _OdeFunction(width, context, layers)

    def forward(self, x: torch.Tensor, attributes: torch.Tensor, back: bool, steps: int) -> torch.Tensor:
        end = float(self.sqrt_end_time.detach()) ** 2
        size, begin = (-end / steps, end) if back else (end / steps, 0.0)

        def slope(time: float, at: torch.Tensor) -> torch.Tensor:
            context = torch.cat([torch.full_like(attributes[:, :1], time), attributes], dim=1)
            return torch.as_tensor(self.odefunc.diffeq(context, at))

        for number in range(steps):
            time = begin + number * size
            a = slope(time, x)
            b = slope(time + size / 2, x + size / 2 * a)
            c = slope(time + size / 2, x + size / 2 * b)
            d = slope(time + size, x + size * c)
            x = x + size / 6 * (a + 2 * b + 2 * c + d)
        return x


class StyleFlow(nn.Module):
    """The flow; evaluation only."""

    def __init__(self, width: int = WIDTH, attributes: int = len(ATTRIBUTES), layers: int = LAYERS) -> None:
        """Build it, untrained; :func:`styleflow_from_tensors` gives one with weights."""
        super().__init__()
        self.chain = nn.ModuleList([_Norm(width), _Flow(width, attributes + 1, layers), _Norm(width)])
        self.eval().requires_grad_(False)

    def forward(
        self, x: torch.Tensor, attributes: torch.Tensor, back: bool = False, steps: int = STEPS
    ) -> torch.Tensor:
        """Latents to codes, or ``back``.

        Args:
            x: [B, W].
            attributes: [B, A] in the order of :data:`ATTRIBUTES`.
            back: codes to latents.
            steps: of the solver.
        """
        first, flow, last = self.chain
        if back:
            return torch.as_tensor(first(flow(last(x, True), attributes, True, steps), True))
        return torch.as_tensor(last(flow(first(x, False), attributes, False, steps), False))


def styleflow_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> StyleFlow:
    """Build the flow from the published file's tensors.

    Raises:
        WeightsError: a tensor is missing, superfluous, of another shape, or holds what is no number.
    """
    flow = StyleFlow()
    missing = [name for name in _COUNTERS if name not in tensors]
    if missing:
        raise WeightsError(f"{source} is no file of StyleFlow: {missing[0]} missing.")
    held = {name: tensor.float() for name, tensor in tensors.items() if name not in _COUNTERS}
    require_same_shapes(flow.state_dict(), held, f"{source} is no file of StyleFlow")
    broken = [name for name, tensor in held.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise WeightsError(f"{source} cannot be used: {broken[0]} holds something that is no finite number.")
    flow.load_state_dict(held, strict=True)
    return flow
