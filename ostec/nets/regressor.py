"""Networks that read a morphable model's coefficients from one photo: a ResNet-50 with a head for each kind.

Deng et al., "Accurate 3D face reconstruction with weakly-supervised learning" (2019), and what was trained after it for
FaceVerse 4. Names are those of the published files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ostec.core.errors import WeightsError
from ostec.nets.frozen import assign_frozen

_FEATURES = 2048


@dataclass(frozen=True)
class RegressorLayout:
    """One published network: what comes out of it, in order, and what it is shown."""

    name: str
    size: int
    """Side of the pictures in pixels."""
    heads: tuple[tuple[str, int], ...]
    """What each of ``final_layers`` gives and how many numbers; translation is given in two pieces."""
    untrained_expressions: int = 0
    """How many of the last expressions were never trained and are set to zero."""


_CAMERA = (("translation", 2), ("translation", 1))
DEEP3D = RegressorLayout(
    "Deep3DFaceRecon",
    224,
    (("identity", 80), ("expression", 64), ("albedo", 80), ("angles", 3), ("light", 27), *_CAMERA),
)
FACEVERSE = RegressorLayout(
    "FaceVerse 4",
    256,
    (("identity", 156), ("expression", 177), ("albedo", 251), ("light", 27), ("angles", 3), *_CAMERA, ("eyes", 4)),
    untrained_expressions=6,
)
LAYOUTS = (DEEP3D, FACEVERSE)
"""The published networks."""


@dataclass(frozen=True)
class Coefficients:
    """The shapes that a network read from B photos."""

    identity: torch.Tensor
    """[B, K]."""
    expression: torch.Tensor
    """[B, E]."""


class Regressor(nn.Module):
    """A ResNet-50 with several heads; evaluation only."""

    def __init__(self, layout: RegressorLayout) -> None:
        """Build it, untrained; :func:`regressor_from_tensors` gives one with weights."""
        from torchvision.models import resnet50

        super().__init__()
        self.layout = layout
        self.backbone = resnet50()
        self.backbone.fc = nn.Identity()
        self.final_layers = nn.ModuleList(nn.Conv2d(_FEATURES, count, 1) for _, count in layout.heads)
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> Coefficients:
        """Read the coefficients of the shape.

        Args:
            images: [B, 3, layout.size, layout.size] RGB in [0, 1], neither mean nor deviation taken off.

        Raises:
            ValueError: the shape is another.
        """
        found = self.read(images)
        return Coefficients(found["identity"], found["expression"])

    def read(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """All that the network gives, [B, N] by name of the layout's heads; arguments as :meth:`forward`."""
        side = self.layout.size
        if images.ndim != 4 or images.shape[1:] != (3, side, side):
            raise ValueError(f"expected images [B, 3, {side}, {side}], got {list(images.shape)}")
        features = self.backbone(images)[..., None, None]
        found: dict[str, torch.Tensor] = {}
        for (name, _), layer in zip(self.layout.heads, self.final_layers, strict=True):
            values = layer(features).flatten(1)
            found[name] = torch.cat([found[name], values], dim=1) if name in found else values
        if self.layout.untrained_expressions:
            found["expression"][:, -self.layout.untrained_expressions :] = 0
        return found


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
