"""Backbones of LPIPS for tests: random, and as small on disk as their last layers allow."""

import warnings
from pathlib import Path

import torch

from ostec.core.assets import ManifestFile, sha256_of


def backbone_tensors(backbone: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """A whole state of torchvision's network; the classifier, which LPIPS does not use, is one number everywhere."""
    import torchvision

    with torch.device("meta"):
        shapes = torchvision.models.get_model(backbone, weights=None).state_dict()
    random = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, like in shapes.items():
        if name.startswith("classifier"):
            tensors[name] = torch.zeros(1).expand(like.shape)
        elif name.endswith("bias"):
            tensors[name] = 0.1 * torch.randn(like.shape, generator=random)
        else:  # He's, so that the last layers are as lively as the first
            tensors[name] = torch.randn(like.shape, generator=random) * (2 / like[0].numel()) ** 0.5
    return tensors


def linear_tensors(backbone: str) -> dict[str, torch.Tensor]:
    """The linear layers as the package holds them."""
    import lpips

    name = {"vgg16": "vgg", "alexnet": "alex"}[backbone]
    path = Path(lpips.__file__).parent / f"weights/v0.1/{name}.pth"
    return torch.load(path, map_location="cpu", weights_only=True)


def published(backbone: str, tensors: dict[str, torch.Tensor]) -> torch.nn.Module:
    """The package's own LPIPS with a backbone's tensors, put there by its own means."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(
            net={"vgg16": "vgg", "alexnet": "alex"}[backbone], pretrained=True, pnet_rand=True, verbose=False
        )
    with torch.no_grad():
        for name, parameter in network.net.named_parameters():
            parameter.copy_(tensors[f"features.{name.partition('.')[2]}"])
    return network.eval()


def entry_of(path: Path) -> ManifestFile:
    """A manifest's entry that vouches for a file as it is."""
    return ManifestFile(f"lpips/{path.name}", sha256_of(path), path.stat().st_size)
