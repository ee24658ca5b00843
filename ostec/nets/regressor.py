"""Networks that read a morphable model's coefficients from one photo: a ResNet-50 with a head for each kind.

Deng et al., "Accurate 3D face reconstruction with weakly-supervised learning" (2019), and what was trained after it for
HiFi3D++ (FFHQ-UV) and FaceVerse 4. Names are those of the published files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ostec.core.errors import WeightsError
from ostec.nets.frozen import assign_frozen

_BLOCKS = (3, 4, 6, 3)
_FEATURES = 2048
_LIGHT = 27


@dataclass(frozen=True)
class RegressorLayout:
    """One published network: what comes out of it, in order, and what it is shown."""

    name: str
    size: int
    """Side of the pictures in pixels."""
    heads: tuple[tuple[str, int], ...]
    """What each of ``final_layers`` gives and how many numbers; translation is given in two pieces."""
    rectified: tuple[str, ...] = ()
    """Heads that end in a ReLU and hence are a pair of layers in the file (``final_layers.1.0``)."""
    light_by_channel: bool = True
    """The 27 numbers of light are [3, 9], or else [9, 3]."""
    untrained_expressions: int = 0
    """How many of the last expressions were never trained and are set to zero."""

    @property
    def count(self) -> int:
        """Of the whole vector."""
        return sum(count for _, count in self.heads)


_CAMERA = (("translation", 2), ("translation", 1))
DEEP3D = RegressorLayout(
    "Deep3DFaceRecon",
    224,
    (("identity", 80), ("expression", 64), ("albedo", 80), ("angles", 3), ("light", _LIGHT), *_CAMERA),
)
HIFI3D = RegressorLayout(
    "FFHQ-UV",
    224,
    (("identity", 532), ("expression", 45), ("albedo", 439), ("angles", 3), ("light", _LIGHT), *_CAMERA),
    rectified=("expression",),
)
FACEVERSE = RegressorLayout(
    "FaceVerse 4",
    256,
    (
        *(("identity", 156), ("expression", 177), ("albedo", 251), ("light", _LIGHT), ("angles", 3)),
        *(*_CAMERA, ("eyes", 4)),
    ),
    light_by_channel=False,
    untrained_expressions=6,
)
LAYOUTS = (DEEP3D, HIFI3D, FACEVERSE)
"""The published networks: 257, 1,049 and 621 numbers."""


@dataclass(frozen=True)
class Coefficients:
    """What a network read from B photos."""

    identity: torch.Tensor
    """[B, K]."""
    expression: torch.Tensor
    """[B, E]."""
    albedo: torch.Tensor
    """[B, A]."""
    angles: torch.Tensor
    """[B, 3] radians about x, y and z of the published axes."""
    light: torch.Tensor
    """[B, 9, 3]: spherical harmonics by colour, without the ambient 0.8 that shading adds."""
    translation: torch.Tensor
    """[B, 3] decimetres, in the published axes."""
    eyes: torch.Tensor | None
    """[B, 4] radians: the head's left eye about x (up and down) and y, then its right eye; or None."""


def split(layout: RegressorLayout, vectors: torch.Tensor) -> Coefficients:
    """Take a network's output apart.

    Args:
        layout: of that network.
        vectors: [B, layout.count].

    Raises:
        ValueError: the shape is another.
    """
    if vectors.ndim != 2 or vectors.shape[1] != layout.count:
        raise ValueError(f"expected [B, {layout.count}] for {layout.name}, got {list(vectors.shape)}")
    pieces: dict[str, list[torch.Tensor]] = {}
    for (name, _), piece in zip(layout.heads, vectors.split([count for _, count in layout.heads], dim=1), strict=True):
        pieces.setdefault(name, []).append(piece)
    found = {name: torch.cat(each, dim=1) for name, each in pieces.items()}
    if layout.untrained_expressions:
        kept = found["expression"].shape[1] - layout.untrained_expressions
        found["expression"] = torch.cat([found["expression"][:, :kept], 0 * found["expression"][:, kept:]], dim=1)
    light = found.pop("light")
    light = light.reshape(-1, 3, 9).transpose(1, 2) if layout.light_by_channel else light.reshape(-1, 9, 3)
    return Coefficients(light=light, eyes=found.pop("eyes", None), **found)


class Regressor(nn.Module):
    """A ResNet-50 (of torchvision's kind, its stride at the 3 x 3 convolution) with several heads; evaluation only."""

    def __init__(self, layout: RegressorLayout) -> None:
        """Build it, untrained; :func:`regressor_from_tensors` gives one with weights."""
        super().__init__()
        self.layout = layout
        self.backbone = _ResNet()
        heads: list[nn.Module] = []
        for name, count in layout.heads:
            head = nn.Conv2d(_FEATURES, count, 1)
            heads.append(nn.Sequential(head, nn.ReLU()) if name in layout.rectified else head)
        self.final_layers = nn.ModuleList(heads)
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> Coefficients:
        """Read the coefficients.

        Args:
            images: [B, 3, layout.size, layout.size] RGB in [0, 1], neither mean nor deviation taken off.

        Raises:
            ValueError: the shape is another.
        """
        side = self.layout.size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"expected images [B, 3, {side}, {side}], got {list(images.shape)}")
        features = self.backbone(images)
        return split(self.layout, torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1))


def regressor_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> Regressor:
    """Build the published network that a state belongs to, told by the sizes of its heads.

    Args:
        tensors: a whole state, such as ``net_recon`` of Deep3DFaceRecon's ``epoch_20.pth``.
        source: the file, for messages.

    Raises:
        WeightsError: it is none of the published networks, or a tensor is missing, superfluous, of another shape or no
            number.
    """
    found: dict[int, int] = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[0] == "final_layers" and parts[-1] == "bias" and parts[1].isdigit():
            found[int(parts[1])] = len(tensor) if tensor.ndim else 0
    sizes = tuple(found[k] for k in sorted(found))
    layout = next((each for each in LAYOUTS if tuple(count for _, count in each.heads) == sizes), None)
    if layout is None:
        known = "; ".join(f"{each.name} {tuple(count for _, count in each.heads)}" for each in LAYOUTS)
        raise WeightsError(f"{source} is no regressor known: expected heads of {known}, found {sizes}.")
    with torch.device("meta"):  # shapes alone: nothing is drawn or allocated
        network = Regressor(layout)
    assign_frozen(network, tensors, source)
    return network


class _ResNet(nn.Module):
    """[B, 3, S, S] -> [B, 2048, 1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for k, count in enumerate(_BLOCKS):
            width, blocks = 64 << k, []
            for block in range(count):
                blocks.append(_Bottleneck(channels, width, 2 if k and not block else 1))
                channels = 4 * width
            self.add_module(f"layer{k + 1}", nn.Sequential(*blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.max_pool2d(self.bn1(self.conv1(x)).relu(), 3, 2, 1)
        for k in range(1, 5):
            x = self.get_submodule(f"layer{k}")(x)
        return x.mean(dim=(2, 3), keepdim=True)


class _Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample: nn.Sequential | None = None
        if stride > 1 or channels != 4 * width:
            beside = nn.Conv2d(channels, 4 * width, 1, stride, bias=False)
            self.downsample = nn.Sequential(beside, nn.BatchNorm2d(4 * width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        within = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        bent: torch.Tensor = (self.bn3(self.conv3(within)) + beside).relu()
        return bent
