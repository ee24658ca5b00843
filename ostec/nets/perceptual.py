"""LPIPS (Zhang et al., The unreasonable effectiveness of deep features as a perceptual metric, CVPR 2018), with a mask.

The networks are those of the package ``lpips``; this module gives them their tensors, checked one by one, so that the
package neither downloads nor unpickles anything, and adds weights per pixel.
"""

import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ostec.core.errors import BackendError
from ostec.core.tensors import require_same_shapes
from ostec.nets.losses import weighted_mean

MIN_SIDE = 64
"""Pixels: LPIPS was fitted to patches of this side, and of smaller pictures little is left in its last layers."""
LINEAR_LAYERS = {"vgg16": "vgg", "alexnet": "alex"}
"""torchvision's name of a backbone -> what the package calls the linear layers above it."""
_EPS = 1e-10
"""Least length of a feature; the package's own."""


@dataclass(frozen=True)
class LpipsTensors:
    """What two files hold, by name."""

    source: str
    """Where the backbone came from, for messages."""
    backbone: dict[str, torch.Tensor]
    """State of torchvision's network: ``features.*``, and ``classifier.*``, which are not needed."""
    linear: dict[str, torch.Tensor]
    """``lin0.model.1.weight`` [1, C, 1, 1] and so on: the layers that weigh the channels."""


class Lpips(nn.Module):
    """LPIPS 0.1 over one backbone; in evaluation mode, without gradients of its own."""

    min_side = MIN_SIDE
    """Of pictures, in pixels."""

    def __init__(self, backbone: str, tensors: LpipsTensors) -> None:
        """Build it.

        Args:
            backbone: a key of ``LINEAR_LAYERS``.
            tensors: the states of backbone and linear layers, no more and no less.

        Raises:
            ValueError: there is no such backbone.
            BackendError: lpips or torchvision is not installed, or does not fit the PyTorch that is.
            WeightsError: a tensor is missing, superfluous or of another shape.
        """
        super().__init__()
        if backbone not in LINEAR_LAYERS:
            raise ValueError(f"expected one of {', '.join(LINEAR_LAYERS)}, got {backbone!r}")
        self.backbone = backbone
        frames = _frames(backbone)
        require_same_shapes(frames.backbone, tensors.backbone, f"{tensors.source} does not fit {backbone}")
        linear = {name: x for name, x in frames.lpips.state_dict().items() if name.startswith("lin") and name[3] != "s"}
        require_same_shapes(linear, tensors.linear, f"The linear layers do not fit LPIPS on {backbone}")
        state = {name: _source(name, tensors, x) for name, x in frames.lpips.state_dict().items()}
        frames.lpips.load_state_dict(state, strict=True, assign=True)
        self.trunk, self.scaling = frames.lpips.get_submodule("net"), frames.lpips.get_submodule("scaling_layer")
        self.linear = nn.ModuleList(frames.lpips.get_submodule(f"lin{k}") for k in range(len(tensors.linear)))
        self.eval().requires_grad_(False)

    @property
    def name(self) -> str:
        """What records call it."""
        return f"LPIPS ({self.backbone})"

    def features(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Outputs [B, C, h, w] of the five layers, finest first, of pictures [B, 3, H, W] in [-1, 1].

        Raises:
            ValueError: the pictures are smaller than ``MIN_SIDE``.
        """
        if min(image.shape[-2:]) < MIN_SIDE:
            raise ValueError(f"expected pictures of at least {MIN_SIDE} px, got {list(image.shape)}")
        # In one memory format: another's convolutions differ in the last bits, and so would equal pictures.
        return list(self.trunk(self.scaling(image.contiguous())))

    def distance(self, found: list[torch.Tensor], wanted: list[torch.Tensor], weight: torch.Tensor) -> torch.Tensor:
        """LPIPS [B] with each position of each layer weighted; with weights of 1 the published one.

        Args:
            found: :meth:`features` of the pictures.
            wanted: the same, of the target.
            weight: [B, 1, H, W] of the pixels; averaged down to each layer.
        """
        total = weight.new_zeros(len(weight))
        for a, b, linear in zip(found, wanted, self.linear, strict=True):
            share = functional.adaptive_avg_pool2d(weight, (a.shape[-2], a.shape[-1]))
            # The package divides by the root of a sum of squares, whose slope is not a number where all features are 0.
            difference = functional.normalize(a, dim=1, eps=_EPS) - functional.normalize(b, dim=1, eps=_EPS)
            total = total + weighted_mean(linear(difference.square()), share)
        return total

    def forward(self, image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """LPIPS [B] of pictures [B, 3, H, W] in [-1, 1] under weights [B, 1, H, W] in [0, 1].

        What does not count is the target's on both sides, so that it says nothing through wide receptive fields.
        """
        mixed = target + (image - target) * weight
        return self.distance(self.features(mixed), self.features(target), weight)


@dataclass(frozen=True)
class _Frames:
    """Networks without tensors."""

    lpips: nn.Module
    backbone: dict[str, torch.Tensor]
    """State of torchvision's whole network."""


def _frames(backbone: str) -> _Frames:
    with warnings.catch_warnings():  # both packages warn of their own age
        warnings.simplefilter("ignore")
        try:
            import lpips
            import torchvision
        except (ImportError, RuntimeError) as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise BackendError(
                f"LPIPS needs lpips and torchvision ({reason}); please run: pip install lpips torchvision"
            ) from error
        with torch.device("meta"):  # shapes alone: nothing is drawn, allocated or downloaded
            network = lpips.LPIPS(net=LINEAR_LAYERS[backbone], pretrained=False, pnet_rand=True, verbose=False)
            whole = torchvision.models.get_model(backbone, weights=None).state_dict()
    return _Frames(network, whole)


def _source(name: str, tensors: LpipsTensors, own: torch.Tensor) -> torch.Tensor:
    """The tensor that belongs at ``name`` of the package's network."""
    parts = name.split(".")
    if parts[0] == "net":  # net.slice1.0.weight
        # A copy, so that the classifier's memory is not kept with it.
        return tensors.backbone[".".join(("features", *parts[2:]))].detach().float().clone()
    if parts[0] == "lins":  # the same layers once more, as a list
        return tensors.linear[".".join((f"lin{parts[1]}", *parts[2:]))].detach().float()
    return tensors.linear[name].detach().float() if parts[0].startswith("lin") else own
