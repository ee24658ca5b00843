"""MTCNN's three cascaded networks: proposals (P-Net), refinement (R-Net), output with five points (O-Net).

Zhang, Zhang, Li, Qiao: Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks (IEEE SPL
2016, figure 2). The weights are those of the PyPI package ``mtcnn``, whose Keras layers differ from PyTorch's in the
order of axes alone, which :func:`convert_keras_arrays` settles.

Inputs are RGB, (value - 127.5) / 128 of 0 to 255, hence within [-1, 1]. Class scores are softmax probabilities, of
which the second is "face". Box offsets are (x0, y0, x1, y1) in units of the window's side.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ostec.core.errors import WeightsError
from ostec.core.types import Array

STAGES = ("pnet", "rnet", "onet")
"""The stages in the order in which they run; also the names under which :class:`Mtcnn` holds them."""


class Proposals(NamedTuple):
    """What P-Net and R-Net say of each window: B windows, or one batch of maps with their sides behind."""

    offsets: Tensor
    """[B, 4] (P-Net: [B, 4, H', W']): box offsets in window sides."""
    face: Tensor
    """[B] (P-Net: [B, H', W']): probability of a face."""


class Outputs(NamedTuple):
    """What O-Net says of each window."""

    offsets: Tensor
    """[B, 4]: box offsets in window sides."""
    face: Tensor
    """[B]: probability of a face."""
    points: Tensor
    """[B, 10]: five x, then five y, in window sides from the window's top-left corner."""


def _pool(kernel: int, *, same: bool) -> nn.MaxPool2d:
    # On the sides that occur here, TensorFlow's "same" padding lies at the bottom and right only: that is ceil_mode.
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=same)


def _flatten_whc(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, W * H * C]: the order in which the dense layers were trained (Caffe's, from MATLAB)."""
    return x.permute(0, 3, 2, 1).flatten(1)


class PNet(nn.Module):
    """Proposal network, fully convolutional: a window of 12 px every 2 px."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), nn.PReLU(10)
        self.pool1 = _pool(2, same=True)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.offsets = nn.Conv2d(32, 4, 1)
        self.classes = nn.Conv2d(32, 2, 1)

    def forward(self, x: Tensor) -> Proposals:
        """[B, 3, H, W] in [-1, 1], H and W at least 12 -> maps of ceil((H - 2) / 2) - 4 rows, columns alike."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x))
        return Proposals(self.offsets(x), self.classes(x).softmax(1)[:, 1])


class RNet(nn.Module):
    """Refinement network on windows of 24 px."""

    side = 24

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), nn.PReLU(28)
        self.pool1 = _pool(3, same=True)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), nn.PReLU(48)
        self.pool2 = _pool(3, same=False)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.fc4, self.prelu4 = nn.Linear(3 * 3 * 64, 128), nn.PReLU(128)
        self.offsets = nn.Linear(128, 4)
        self.classes = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> Proposals:
        """[B, 3, 24, 24] in [-1, 1]."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.prelu3(self.conv3(x))  # [B, 64, 3, 3]
        x = self.prelu4(self.fc4(_flatten_whc(x)))
        return Proposals(self.offsets(x), self.classes(x).softmax(1)[:, 1])


class ONet(nn.Module):
    """Output network on windows of 48 px: box, probability and five points."""

    side = 48

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), nn.PReLU(32)
        self.pool1 = _pool(3, same=True)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.pool2 = _pool(3, same=False)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.pool3 = _pool(2, same=True)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.fc5, self.prelu5 = nn.Linear(3 * 3 * 128, 256), nn.PReLU(256)
        self.offsets = nn.Linear(256, 4)
        self.points = nn.Linear(256, 10)
        self.classes = nn.Linear(256, 2)

    def forward(self, x: Tensor) -> Outputs:
        """[B, 3, 48, 48] in [-1, 1]."""
        x = self.pool1(self.prelu1(self.conv1(x)))
        x = self.pool2(self.prelu2(self.conv2(x)))
        x = self.pool3(self.prelu3(self.conv3(x)))
        x = self.prelu4(self.conv4(x))  # [B, 128, 3, 3]
        x = self.prelu5(self.fc5(_flatten_whc(x)))
        return Outputs(self.offsets(x), self.classes(x).softmax(1)[:, 1], self.points(x))


_NETWORKS: dict[str, type[nn.Module]] = {"pnet": PNet, "rnet": RNet, "onet": ONet}


class Mtcnn(nn.Module):
    """The three networks of one detector; ``ostec.detect.faces.detect_faces`` runs the cascade."""

    def __init__(self) -> None:
        super().__init__()
        self.pnet, self.rnet, self.onet = PNet(), RNet(), ONet()

    @classmethod
    def from_keras(cls, arrays: Mapping[str, Sequence[Array]]) -> "Mtcnn":
        """Build the detector for inference on the CPU from what ``ostec.io.weights.read_mtcnn`` returns.

        Args:
            arrays: for each of :data:`STAGES` the layers' arrays in Keras order.

        Raises:
            WeightsError: a stage is missing or its arrays do not fit.
        """
        missing = [stage for stage in STAGES if stage not in arrays]
        if missing:
            raise WeightsError(f"MTCNN's weights lack {', '.join(missing)}.")
        networks = cls()
        for stage in STAGES:
            networks.get_submodule(stage).load_state_dict(convert_keras_arrays(stage, arrays[stage]))
        return networks.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.pnet.conv1.weight.device


def convert_keras_arrays(stage: str, arrays: Sequence[Array]) -> dict[str, Tensor]:
    """Bring one stage's arrays, as Keras lists them, into its state dictionary.

    Keras and this module list the same layers in the same order, each with kernel, bias or with PReLU's slope. Kernels
    turn from [H, W, in, out] to [out, in, H, W], dense kernels from [in, out] to [out, in], and a slope shared over the
    picture from [1, 1, C] to [C].

    Args:
        stage: one of :data:`STAGES`.
        arrays: all of the stage's arrays.

    Returns:
        Name -> float32 tensor, fit for ``load_state_dict(strict=True)``.

    Raises:
        ValueError: there is no such stage.
        WeightsError: number or shape of the arrays differ from the network's.
    """
    if stage not in _NETWORKS:
        raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {stage!r}")
    with torch.device("meta"):  # shapes alone are wanted
        expected = {name: tuple(value.shape) for name, value in _NETWORKS[stage]().state_dict().items()}
    if len(arrays) != len(expected):
        raise WeightsError(f"MTCNN's {stage} has {len(expected)} arrays, but {len(arrays)} were read.")
    tensors: dict[str, Tensor] = {}
    for (name, shape), array in zip(expected.items(), arrays, strict=True):
        turned = _turn(np.asarray(array, dtype=np.float32))
        if turned.shape != shape:
            raise WeightsError(f"MTCNN's {stage}.{name} is {turned.shape}, expected {shape}.")
        tensors[name] = torch.from_numpy(turned.copy())
    return tensors


def _turn(array: Array) -> Array:
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)  # HWIO -> OIHW
    if array.ndim == 2:
        return array.T
    return array.reshape(-1)
