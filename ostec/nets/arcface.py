"""ArcFace (Deng et al., Additive angular margin loss, CVPR 2019): who a face is, as a direction in 512 numbers.

The network is insightface's IResNet with the names of its files (recognition/arcface_torch/backbones/iresnet.py), which
are read as they are; its depth follows from them.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ostec.core.errors import WeightsError
from ostec.nets.frozen import assign_frozen

SIZE = 112
"""Side of the pictures in pixels."""
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
) + np.float32(0.5)
"""[5, 2]: where the eyes, the nose tip and the mouth's corners belong in the picture, in the order of
``FaceBox.points``. insightface counts pixels from their centres (utils/face_align.py), this program from their corners:
hence the half."""
DEPTHS = {
    "r18": (2, 2, 2, 2),
    "r34": (3, 4, 6, 3),
    "r50": (3, 4, 14, 3),
    "r100": (3, 13, 30, 3),
    "r200": (6, 26, 60, 6),
}
"""Name of a backbone -> blocks of its four stages."""
_WIDTHS = (64, 64, 128, 256, 512)


class ArcFace(nn.Module):
    """An IResNet in evaluation mode, without gradients of its own."""

    codes = 512
    """Numbers that say who a face is."""

    def __init__(self, blocks: Sequence[int]) -> None:
        """Build it, untrained; :func:`arcface_from_tensors` gives one with weights.

        Args:
            blocks: of the four stages, a value of ``DEPTHS``.

        Raises:
            ValueError: there is no such backbone.
        """
        super().__init__()
        names = [name for name, depth in DEPTHS.items() if depth == tuple(blocks)]
        if not names:
            raise ValueError(f"expected blocks of one of {', '.join(DEPTHS)}, got {tuple(blocks)}")
        self.depth = names[0]
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        for k, count in enumerate(blocks):
            first = _Block(_WIDTHS[k], _WIDTHS[k + 1], 2)
            rest = (_Block(_WIDTHS[k + 1], _WIDTHS[k + 1], 1) for _ in range(count - 1))
            self.add_module(f"layer{k + 1}", nn.Sequential(first, *rest))
        self.bn2 = nn.BatchNorm2d(512)
        self.fc = nn.Linear(512 * (SIZE // 16) ** 2, 512)
        self.features = nn.BatchNorm1d(512)
        self.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """What records call it."""
        return f"ArcFace {self.depth}"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features [B, 512] of any length; arguments and errors as :meth:`embed`."""
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"expected images [B, 3, {SIZE}, {SIZE}], got {list(images.shape)}")
        x = self.prelu(self.bn1(self.conv1(images)))
        for k in range(1, 5):
            x = self.get_submodule(f"layer{k}")(x)
        x = self.fc(self.bn2(x).flatten(1))
        found: torch.Tensor = self.features(x)
        return found

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Who the faces are: directions [B, 512] of unit length, whose products are the cosines of their angles.

        Args:
            images: [B, 3, 112, 112] RGB in [-1, 1], aligned to ``TEMPLATE``; gradients flow to them.

        Raises:
            ValueError: the shape is another.
        """
        return functional.normalize(self(images), dim=1)


def arcface_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> ArcFace:
    """Build the backbone that a state belongs to.

    Args:
        tensors: a whole file, such as insightface's ``backbone.pth``.
        source: the file, for messages.

    Raises:
        WeightsError: it is no such backbone, or a tensor is missing, superfluous, of another shape or no number.
    """
    stages = [{name.split(".")[1] for name in tensors if name.startswith(f"layer{k}.")} for k in range(1, 5)]
    blocks = tuple(len(stage) for stage in stages)
    if blocks not in DEPTHS.values():
        raise WeightsError(
            f"{source} is no ArcFace backbone: expected layer1 to layer4 with the blocks of {', '.join(DEPTHS)}, "
            f"found {blocks}."
        )
    with torch.device("meta"):  # shapes alone: nothing is drawn or allocated
        network = ArcFace(blocks)
    assign_frozen(network, tensors, source)
    return network


class _Block(nn.Module):
    """Normalise, convolve, normalise, bend, convolve, normalise; beside it the input itself, brought to the shape."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample: nn.Sequential | None = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        beside = x if self.downsample is None else self.downsample(x)
        within: torch.Tensor = self.bn3(self.conv2(self.prelu(self.bn2(self.conv1(self.bn1(x))))))
        return within + beside
