"""encoder4editing (Tov et al., SIGGRAPH 2021): a portrait to W+ of the StyleGAN2 of FFHQ, in one pass.

A residual network with squeeze and excitation gives features at three scales; row 0 of W+ comes from the coarsest,
every other row is row 0 and an offset. Names are those of the published file.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from ostec.core.errors import WeightsError
from ostec.nets.frozen import assign_frozen

SIDE = 256
"""Of the pictures in pixels."""
ROWS = 18
BLOCKS, WIDTHS = (3, 4, 14, 3), (64, 64, 128, 256, 512)
"""Blocks of the four stages; channels at the input and after each stage."""
COARSE, MIDDLE = 3, 7
"""First rows that the middle and the fine features give."""
_SQUEEZE = 16


class E4eEncoder(nn.Module):
    """The encoder; evaluation only."""

    def __init__(
        self, rows: int = ROWS, blocks: Sequence[int] = BLOCKS, widths: Sequence[int] = WIDTHS, side: int = SIDE
    ) -> None:
        """Build it, untrained; :func:`e4e_from_tensors` gives one with weights."""
        super().__init__()
        first, code = widths[0], widths[-1]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first)
        )
        self.body = nn.Sequential(
            *(
                _Block(widths[stage] if k == 0 else widths[stage + 1], widths[stage + 1], 2 if k == 0 else 1)
                for stage, count in enumerate(blocks)
                for k in range(count)
            )
        )
        self._taps = (sum(blocks[:2]) - 1, sum(blocks[:3]) - 1, sum(blocks) - 1)
        scales = [side // 16 if row < COARSE else side // 8 if row < MIDDLE else side // 4 for row in range(rows)]
        self.styles = nn.ModuleList(_Style(code, scale) for scale in scales)
        self.latlayer1 = nn.Conv2d(widths[3], code, 1)
        self.latlayer2 = nn.Conv2d(widths[2], code, 1)
        self.side = side
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, 256, 256] in [-1, 1], framed as FFHQ's -> W+ [B, rows, W] less the mean latent.

        Raises ValueError: the shape is another.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.side, self.side):
            raise ValueError(f"expected images [B, 3, {self.side}, {self.side}], got {list(images.shape)}")
        x, found = self.input_layer(images), []
        for number, block in enumerate(self.body):
            x = block(x)
            if number in self._taps:
                found.append(x)
        fine, middle, coarse = found
        middle = _enlarged(coarse, self.latlayer1(middle))
        fine = _enlarged(middle, self.latlayer2(fine))
        given = [coarse if row < COARSE else middle if row < MIDDLE else fine for row in range(len(self.styles))]
        rows = [style(features) for style, features in zip(self.styles, given, strict=True)]
        return torch.stack([rows[0], *(rows[0] + row for row in rows[1:])], dim=1)


class _Block(nn.Module):
    """Normalise, convolve, bend, convolve, normalise, weigh the channels; beside it the input, brought to the shape."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            _Excitation(width),
        )
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)
        if channels != width:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.res_layer(x) + self.shortcut_layer(x))


class _Excitation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // _SQUEEZE, 1, bias=False)
        self.fc2 = nn.Conv2d(width // _SQUEEZE, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(x * torch.sigmoid(self.fc2(functional.relu(self.fc1(x.mean((2, 3), keepdim=True))))))


class _Style(nn.Module):
    """Features of one scale to one row."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        while scale > 1:
            layers += [nn.Conv2d(width, width, 3, 2, 1), nn.LeakyReLU()]
            scale //= 2
        self.convs = nn.Sequential(*layers)
        self.linear = _EqualLinear(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.linear(self.convs(x).flatten(1)))


class _EqualLinear(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(width, width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight / self.weight.shape[1] ** 0.5, self.bias)


def _enlarged(coarse: torch.Tensor, beside: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(coarse, size=beside.shape[2:], mode="bilinear", align_corners=True) + beside


def e4e_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> E4eEncoder:
    """Build the encoder from the tensors that the published file calls ``encoder.*``.

    Raises:
        WeightsError: a tensor is missing, superfluous, of another shape, or holds what is no number.
    """
    if not tensors:
        raise WeightsError(f"{source} holds no encoder.")
    with torch.device("meta"):
        network = E4eEncoder()
    assign_frozen(network, tensors, source)
    return network
