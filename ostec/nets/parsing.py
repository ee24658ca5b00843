"""BiSeNet (Yu et al., Bilateral segmentation network, ECCV 2018) for the parts of a face.

The network of zllrunning/face-parsing.PyTorch (model.py, resnet.py), trained on CelebAMask-HQ, with the names of its
file ``79999_iter.pth``, which is read as it is. In place of a spatial path it takes the ResNet's features at an eighth.
"""

from collections.abc import Mapping
from enum import IntEnum

import torch
from torch import nn
from torch.nn import functional

from ostec.nets.frozen import assign_frozen

SIZE = 512
"""Side in pixels of the pictures that it was trained on."""
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's channels."""


class FacePart(IntEnum):
    """The network's classes; left and right are the person's."""

    BACKGROUND = 0
    SKIN = 1
    BROW_LEFT = 2
    BROW_RIGHT = 3
    EYE_LEFT = 4
    EYE_RIGHT = 5
    GLASSES = 6
    EAR_LEFT = 7
    EAR_RIGHT = 8
    EAR_RING = 9
    NOSE = 10
    MOUTH = 11
    LIP_UPPER = 12
    LIP_LOWER = 13
    NECK = 14
    NECKLACE = 15
    CLOTH = 16
    HAIR = 17
    HAT = 18


class BiSeNet(nn.Module):
    """Face parts of pictures, in evaluation mode, without gradients of its own."""

    def __init__(self) -> None:
        """Build it, untrained; :func:`bisenet_from_tensors` gives one with weights."""
        super().__init__()
        self.cp = _ContextPath()
        self.ffm = _Fusion()
        self.conv_out = _Head(256, 256)
        # Of use in training alone; the file holds them.
        self.conv_out16 = _Head(128, 64)
        self.conv_out32 = _Head(128, 64)
        self.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """What records call it."""
        return "BiSeNet"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Scores [B, 19, H, W] before the softmax; arguments and errors as :meth:`probabilities`."""
        if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < 32:
            raise ValueError(f"expected images [B, 3, H, W] of at least 32 px, got {list(images.shape)}")
        mean, deviation = (images.new_tensor(x)[:, None, None] for x in (_MEAN, _DEVIATION))
        fine, coarse = self.cp((images - mean) / deviation)
        scores = self.conv_out(self.ffm(fine, coarse))
        return functional.interpolate(scores, images.shape[2:], mode="bilinear", align_corners=True)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """How likely each pixel belongs to each :class:`FacePart`: [B, 19, H, W], sum 1.

        Args:
            images: [B, 3, H, W] RGB in [0, 1], faces framed as in CelebA-HQ; 512 px as in training.

        Raises:
            ValueError: the shape is another.
        """
        return self(images).softmax(1)


def bisenet_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> BiSeNet:
    """Build the network from a whole file.

    Raises:
        WeightsError: a tensor is missing, superfluous, of another shape or no number.
    """
    with torch.device("meta"):  # shapes alone: nothing is drawn or allocated
        network = BiSeNet()
    assign_frozen(network, tensors, source)
    return network


class _Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, channels: int, width: int, side: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, side, 1, side // 2, bias=False)
        self.bn = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.bn(self.conv(x)))


class _Head(nn.Module):
    """Features to scores of the classes."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = _Convolution(channels, width)
        self.conv_out = nn.Conv2d(width, len(FacePart), 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.conv_out(self.conv(x))
        return scores


class _Attention(nn.Module):
    """Attention refinement: channels scaled by what the whole picture says."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = _Convolution(channels, width)
        self.conv_atten = nn.Conv2d(width, width, 1, bias=False)
        self.bn_atten = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        share: torch.Tensor = self.bn_atten(self.conv_atten(_whole(x)))
        return x * share.sigmoid()


class _ContextPath(nn.Module):
    """Features with a view of the whole picture, brought up from coarse to fine."""

    def __init__(self) -> None:
        from torchvision.models import resnet18

        super().__init__()
        self.resnet = resnet18()
        self.resnet.fc = nn.Identity()
        self.arm16 = _Attention(256, 128)
        self.arm32 = _Attention(512, 128)
        self.conv_head32 = _Convolution(128, 128)
        self.conv_head16 = _Convolution(128, 128)
        self.conv_avg = _Convolution(512, 128, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The ResNet's features and the path's own, both at an eighth."""
        net = self.resnet
        at8 = net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(x))))))
        at16 = net.layer3(at8)
        at32 = net.layer4(at16)
        x = self.arm32(at32) + self.conv_avg(_whole(at32))
        x = self.conv_head32(functional.interpolate(x, at16.shape[2:], mode="nearest"))
        x = self.arm16(at16) + x
        return at8, self.conv_head16(functional.interpolate(x, at8.shape[2:], mode="nearest"))


class _Fusion(nn.Module):
    """Feature fusion: both paths side by side, and their channels weighed."""

    def __init__(self) -> None:
        super().__init__()
        self.convblk = _Convolution(256, 256, 1)
        self.conv1 = nn.Conv2d(256, 64, 1, bias=False)
        self.conv2 = nn.Conv2d(64, 256, 1, bias=False)

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.convblk(torch.cat([fine, coarse], dim=1))
        share: torch.Tensor = self.conv2(functional.relu(self.conv1(_whole(x))))
        return x + x * share.sigmoid()


def _whole(x: torch.Tensor) -> torch.Tensor:
    """Mean over the picture, [B, C, 1, 1]."""
    return x.mean((2, 3), keepdim=True)
