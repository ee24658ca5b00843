"""How alike two pictures are to the eye, by features of EfficientNet-Lite0, where no backbone of LPIPS is found.

Tan and Le, *EfficientNet* (ICML 2019); Lite0 is Google's variant without squeeze-and-excitation and with ReLU6. The
features are compared as LPIPS compares its own: each position of unit length, squared differences, their weighted mean
over the layers. No opinions of people were fitted.
"""

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional

from ostec.nets.frozen import assign_frozen
from ostec.nets.losses import weighted_mean
from ostec.nets.perceptual import Lpips

MIN_SIDE = 32
"""Pixels: of smaller pictures too little is left in the deepest layer that is compared."""
_STAGES = ((1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4))
"""Expansion, kernel, stride, channels and blocks of the stages; the last block, of 320 channels, follows them."""
LAYERS: tuple[tuple[int, float], ...] = ((2, 1 / 3), (4, 1 / 3), (10, 1 / 3))
"""Blocks whose outputs are compared, a quarter to a sixteenth of the side, and their weights. Changed to the same PSNR,
portraits that are blurred or noisy are four to seven times as far apart here as those that are darker; block 0 takes a
shift by two pixels for three quarters of a blur, the blocks after 10 see a mosaic alone."""
_EPS = 1e-3
"""Of its batch normalisation."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS_LENGTH = 1e-10


class EfficientFeatures(nn.Module):
    """The network up to the deepest layer that is compared, in evaluation mode, without gradients of its own."""

    name = "EfficientNet-Lite0 features"
    """What records call it."""
    min_side = MIN_SIDE
    """Of pictures, in pixels."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], source: str) -> None:
        """Build it.

        Args:
            tensors: the whole network's state, no more and no less.
            source: the file, for messages.

        Raises:
            WeightsError: a tensor is missing, superfluous, of another shape or no number.
        """
        super().__init__()
        with torch.device("meta"):
            network = _EfficientNet()
        assign_frozen(network, tensors, source)
        self.stem, self.stem_norm = network.get_submodule("_conv_stem"), network.get_submodule("_bn0")
        self.blocks = nn.ModuleList([*network.get_submodule("_blocks").children()][: LAYERS[-1][0] + 1])
        self.eval().requires_grad_(False)

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Outputs [B, C, h, w] of the layers, finest first, of pictures [B, 3, H, W] in [-1, 1].

        Raises:
            ValueError: the pictures are smaller than ``MIN_SIDE``.
        """
        if min(image.shape[-2:]) < MIN_SIDE:
            raise ValueError(f"expected pictures of at least {MIN_SIDE} px, got {list(image.shape)}")
        mean, deviation = (image.new_tensor(v)[:, None, None] for v in (_MEAN, _DEVIATION))
        x = (image.contiguous() / 2 + 0.5 - mean) / deviation
        x = functional.relu6(self.stem_norm(self.stem(x)))
        found, wanted = [], {k for k, _ in LAYERS}
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k in wanted:
                found.append(x)
        return found

    def distance(self, found: list[torch.Tensor], wanted: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
        """Distance [B] of two pictures' :meth:`features` under weights [B, 1, H, W] of the pixels."""
        total = weight.new_zeros(len(weight))
        for a, b, (_, layer) in zip(found, wanted, LAYERS, strict=True):
            share = functional.adaptive_avg_pool2d(weight, (a.shape[-2], a.shape[-1]))
            ours, theirs = (functional.normalize(x, dim=1, eps=_EPS_LENGTH) for x in (a, b))
            total = total + layer * weighted_mean((ours - theirs).square().sum(1, keepdim=True), share)
        return total

    def forward(self, image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Distance [B] of pictures [B, 3, H, W] in [-1, 1] under weights [B, 1, H, W] in [0, 1].

        What does not count is the target's on both sides, so that it says nothing through wide receptive fields.
        """
        mixed = target + (image - target) * weight
        return self.distance(self.features(mixed), self.features(target), weight)


PerceptualNetwork = Lpips | EfficientFeatures
"""A network that compares pictures as people see them: LPIPS is the better one, the other comes with a requirement."""


class _EfficientNet(nn.Module):
    """The whole network with the names of its file."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=_EPS)
        blocks, before = [], 32
        for expansion, kernel, stride, width, count in (*_STAGES, (6, 3, 1, 320, 1)):
            for k in range(count):
                blocks.append(_Block(before, width, expansion, kernel, stride if k == 0 else 1))
                before = width
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(before, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=_EPS)
        self._fc = nn.Linear(1280, 1000)


class _Block(nn.Module):
    """Inverted residual (Sandler et al. 2018): widen, filter each channel, narrow; the input is added where it fits."""

    def __init__(self, channels: int, width: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = channels * expansion
        self._adds = stride == 1 and channels == width
        if expansion > 1:
            self._expand_conv = nn.Conv2d(channels, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, eps=_EPS)
        self._depthwise_conv = nn.Conv2d(inner, inner, kernel, stride, kernel // 2, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, eps=_EPS)
        self._project_conv = nn.Conv2d(inner, width, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(width, eps=_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        within = x
        if hasattr(self, "_expand_conv"):
            within = functional.relu6(self._bn0(self._expand_conv(within)))
        within = functional.relu6(self._bn1(self._depthwise_conv(within)))
        within = self._bn2(self._project_conv(within))
        return x + within if self._adds else within
