"""dlib's face recognition network (King 2017, dlib's dnn_face_recognition_ex.cpp): who a face is, in 128 numbers.

A ResNet of 29 convolutions, He et al. 2016 with half the filters. Two descriptors closer than 0.6 are, by its author's
rule, one person's. Batch normalisation is a scale and a bias by channel; kernels are stored in 8 bits.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ostec.core.errors import WeightsError
from ostec.nets.arcface import ArcFace
from ostec.nets.frozen import assign_frozen

SIZE = 150
"""Side of the pictures in pixels."""
_PADDING = 0.25
"""What dlib adds at each side of its mean face, in faces."""
_MEAN_FACE = np.array(
    [
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.6460604764104, 0.2289674387677],
        [0.8595674595992, 0.2134981538014],
        [0.4901123135679, 0.6277975316475],
    ],
    np.float32,
)
"""[5, 2]: the eyes' corners from left to right and the base of the nose in dlib's mean face (image_transforms/
interpolation.h, get_face_chip_details)."""
TEMPLATE = (_MEAN_FACE + np.float32(_PADDING)) / np.float32(1 + 2 * _PADDING) * np.float32(SIZE)
"""[5, 2]: where these belong in the picture, in pixels."""
LANDMARKS = (33, 133, 362, 263, 2)
"""FaceMesh's landmarks of those points."""
SAME_PERSON = 0.6
"""Distance of two descriptors below which dlib takes them for one person's."""
_MEAN = (122.782, 117.001, 104.298)
_STAGES = ((32, 3), (64, 4), (128, 3), (256, 4))
"""Channels and blocks of the stages; all but the first stage begin with a block of stride 2."""
_LAST = 3
"""The last stage ends with one as well."""
STEP = ".step"
"""Ending of the two numbers that make a kernel of bytes: step and least value."""


class DlibFace(nn.Module):
    """The network in evaluation mode, without gradients of its own."""

    name = "dlib face ResNet"
    """What records call it."""
    codes = 128
    """Numbers that say who a face is."""
    centre: torch.Tensor

    def __init__(self) -> None:
        """Build it, untrained; :func:`dlib_face_from_tensors` gives one with weights."""
        super().__init__()
        self.stem = _Convolution(3, 32, 7, 2)
        blocks, before = [], 32
        for stage, (width, count) in enumerate(_STAGES):
            for k in range(count):
                halves = (k == 0 and stage > 0) or (stage == _LAST and k == count - 1)
                blocks.append(_Block(before, width, 2 if halves else 1))
                before = width
        self.blocks = nn.Sequential(*blocks)
        self.last = nn.Linear(before, 128, bias=False)
        self.register_buffer("centre", torch.zeros(128))
        self.eval().requires_grad_(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Dlib's descriptors [B, 128] of pictures; arguments and errors as :meth:`embed`."""
        if images.ndim != 4 or images.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"expected images [B, 3, {SIZE}, {SIZE}], got {list(images.shape)}")
        mean = images.new_tensor(_MEAN)[:, None, None]
        x = ((images + 1) * 127.5 - mean) / 256
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2)
        found: torch.Tensor = self.last(self.blocks(x).mean((2, 3)))
        return found

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Who the faces are: directions [B, 128] of unit length, of the descriptors from their mean over people.

        dlib compares distances, other recognisers angles: about the mean, unlike people have a cosine near 0.

        Args:
            images: [B, 3, 150, 150] RGB in [-1, 1], aligned to ``TEMPLATE``; gradients flow to them.

        Raises:
            ValueError: the shape is another.
        """
        return functional.normalize(self(images) - self.centre, dim=1)


FaceRecogniser = ArcFace | DlibFace
"""A network that says who a face is: ArcFace is the better one, dlib's ships."""


def dlib_face_from_tensors(tensors: Mapping[str, torch.Tensor], source: str) -> DlibFace:
    """Build the network from what ``models/identity.safetensors`` holds.

    Args:
        tensors: a kernel NAME of bytes has NAME.step beside it; the others are floating-point numbers.
        source: the file, for messages.

    Raises:
        WeightsError: a tensor is missing, superfluous, of another shape or no number.
    """
    state = {}
    for name, x in tensors.items():
        if name.endswith(STEP):
            continue
        if x.dtype == torch.uint8:
            step = tensors.get(name + STEP)
            if step is None or step.shape != (2,):
                raise WeightsError(f"{source} is damaged: {name}{STEP} is expected to hold two numbers.")
            x = x.double() * step[0].double() + step[1].double()
        state[name] = x
    with torch.device("meta"):
        network = DlibFace()
    assign_frozen(network, state, source)
    return network


class _Convolution(nn.Module):
    """A convolution, then a scale and a bias by channel; one of stride 2 has no padding."""

    def __init__(self, channels: int, width: int, side: int, stride: int) -> None:
        super().__init__()
        padding = side // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(channels, width, side, stride, padding, bias=False)
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * self.scale[:, None, None] + self.bias[:, None, None]


class _Block(nn.Module):
    """Two convolutions; beside them the input itself, averaged and with empty channels where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, width - channels
        self.first = _Convolution(channels, width, 3, stride)
        self.second = _Convolution(width, width, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        within = self.second(functional.relu(self.first(x)))
        if self.stride > 1:
            x = functional.pad(functional.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.added))
            # Without padding a convolution of an even side is one position short of the average: zeros, as in dlib.
            within = functional.pad(within, (0, x.shape[-1] - within.shape[-1], 0, x.shape[-2] - within.shape[-2]))
        return functional.relu(x + within)
