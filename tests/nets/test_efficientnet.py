"""EfficientNet-Lite0's features: a whole classifier is read, weights of pixels count, and what is refused."""

import pytest
import torch
from torch.nn import functional

from ostec.core.assets import load_manifest, verified_path
from ostec.core.errors import WeightsError
from ostec.io.weights import read_torch
from ostec.nets.efficientnet import LAYERS, MIN_SIDE, EfficientFeatures


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    (entry,) = load_manifest("efficientnet").files
    return read_torch(verified_path("efficientnet", entry.name), entry.size, entry.sha256)


@pytest.fixture(scope="module")
def network(tensors: dict[str, torch.Tensor]) -> EfficientFeatures:
    return EfficientFeatures(tensors, "efficientnet.pth")


def pictures(side: int, seed: int = 0) -> torch.Tensor:
    coarse = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return functional.interpolate(coarse, size=(side, side), mode="bicubic").clamp(-1, 1)


def test_layers_halve_the_picture_from_its_quarter(network: EfficientFeatures) -> None:
    found = network.features(pictures(64))
    assert [x.shape[-1] for x in found] == [16, 8, 4]
    assert [x.shape[1] for x in found] == [24, 40, 112]
    assert len(found) == len(LAYERS)
    assert sum(weight for _, weight in LAYERS) == pytest.approx(1)


def test_equal_pictures_are_0_apart_and_blur_drives_them_apart(network: EfficientFeatures) -> None:
    image, weight = pictures(64), torch.ones(2, 1, 64, 64)
    assert (network(image, image, weight) == 0).all()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    found = torch.stack([network(image + s * noise, image, weight) for s in (0.02, 0.1, 0.4)])
    assert (found.diff(dim=0) > 0).all()


def test_what_has_no_weight_says_nothing_and_gradients_reach_the_rest(network: EfficientFeatures) -> None:
    image, target, weight = pictures(64), pictures(64, 1), torch.ones(2, 1, 64, 64)
    weight[..., 32:] = 0
    spoilt = image.clone()
    spoilt[..., 32:] = 5
    torch.testing.assert_close(network(spoilt, target, weight), network(image, target, weight))
    image.requires_grad_(True)
    network(image, target, weight).sum().backward()
    assert image.grad is not None
    assert (image.grad[..., 32:] == 0).all()
    assert (image.grad[..., :32] != 0).any()


def test_small_pictures_and_other_files_are_refused(
    network: EfficientFeatures, tensors: dict[str, torch.Tensor]
) -> None:
    with pytest.raises(ValueError, match=rf"expected pictures of at least {MIN_SIDE} px"):
        network.features(pictures(MIN_SIDE - 1))
    less = {name: x for name, x in tensors.items() if name != "_fc.bias"}
    with pytest.raises(WeightsError, match=r"efficientnet.pth does not fit _EfficientNet: _fc.bias missing\.$"):
        EfficientFeatures(less, "efficientnet.pth")
