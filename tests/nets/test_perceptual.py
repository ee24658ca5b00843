"""LPIPS is the package's own where everything counts, hears nothing that does not, and takes no other tensors."""

import sys
from dataclasses import replace

import pytest
import torch

from ostec.core.errors import BackendError, WeightsError
from ostec.nets.perceptual import MIN_SIDE, Lpips, LpipsTensors
from tests.nets.lpips_files import backbone_tensors, linear_tensors, published


@pytest.fixture(scope="module")
def tensors() -> LpipsTensors:
    return LpipsTensors("alexnet.pth", backbone_tensors("alexnet"), linear_tensors("alexnet"))


@pytest.fixture(scope="module")
def lpips(tensors: LpipsTensors) -> Lpips:
    return Lpips("alexnet", tensors)


def pictures(side: int = 128, count: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def left_half(image: torch.Tensor) -> torch.Tensor:
    weight = torch.zeros_like(image[:, :1])
    weight[..., : image.shape[-1] // 2] = 1
    return weight


@pytest.mark.parametrize(
    ("backbone", "shape"), [("alexnet", (128, 128)), ("alexnet", (97, 140)), ("vgg16", (MIN_SIDE, MIN_SIDE))]
)
def test_with_everything_trusted_it_is_the_packages_own(backbone: str, shape: tuple[int, int]) -> None:
    tensors = backbone_tensors(backbone, seed=3)
    ours = Lpips(backbone, LpipsTensors("file", tensors, linear_tensors(backbone)))
    theirs = published(backbone, tensors)
    image, target = (pictures(160, seed=k)[..., : shape[0], : shape[1]] for k in (1, 2))
    with torch.no_grad():
        wanted = theirs(image, target).flatten()
        found = ours(image, target, torch.ones_like(image[:, :1]))
    assert (wanted > 0.02).all()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


def test_equal_pictures_are_no_distance_apart_and_noise_drives_them_apart(lpips: Lpips) -> None:
    target = pictures()
    whole = torch.ones_like(target[:, :1])
    values = torch.stack([lpips(target + s * pictures(seed=5), target, whole) for s in (0.0, 0.05, 0.2, 0.8)])
    assert (values[0] == 0).all()
    assert (values.diff(dim=0) > 0).all()


def test_it_is_zero_where_only_what_is_not_trusted_differs(lpips: Lpips) -> None:
    target = pictures()
    weight = left_half(target)
    image = torch.where(weight > 0, target, pictures(seed=1))
    assert (lpips(image, target, weight) == 0).all()
    assert (lpips(image, target, 1 - weight) > 0.01).all()


def test_gradient_reaches_what_is_trusted_and_nothing_else(lpips: Lpips) -> None:
    image, target = pictures().requires_grad_(), pictures(seed=1)
    weight = left_half(target)
    (slope,) = torch.autograd.grad(lpips(image, target, weight).sum(), image)
    assert torch.isfinite(slope).all()
    assert (slope[..., 64:] == 0).all()
    assert (slope[..., :64] != 0).float().mean() > 0.9


def test_gradient_is_finite_where_all_features_are_zero(tensors: LpipsTensors) -> None:
    dark = dict(tensors.backbone)
    dark["features.0.bias"] = torch.full_like(dark["features.0.bias"], -1e4)  # nothing passes the first layer
    lpips = Lpips("alexnet", replace(tensors, backbone=dark))
    image, target = pictures().requires_grad_(), pictures(seed=1)
    loss = lpips(image, target, torch.ones_like(target[:, :1]))
    (slope,) = torch.autograd.grad(loss.sum(), image)
    assert torch.isfinite(slope).all()


def test_pictures_of_a_batch_do_not_mix(lpips: Lpips) -> None:
    image, target = pictures(), pictures(seed=1)
    weight = left_half(target)
    alone = torch.cat([lpips(image[k : k + 1], target[k : k + 1], weight[k : k + 1]) for k in range(2)])
    torch.testing.assert_close(lpips(image, target, weight), alone)


def test_small_pictures_are_refused(lpips: Lpips) -> None:
    image = pictures(MIN_SIDE - 1)
    with pytest.raises(ValueError, match=r"expected pictures of at least 64 px, got \[2, 3, 63, 63\]"):
        lpips.features(image)


def test_name_says_the_backbone(lpips: Lpips) -> None:
    assert lpips.name == "LPIPS (alexnet)"
    assert not any(parameter.requires_grad for parameter in lpips.parameters())
    with pytest.raises(ValueError, match="expected one of vgg16, alexnet, got 'squeeze'"):
        Lpips("squeeze", LpipsTensors("file", {}, {}))


def test_building_draws_no_random_numbers(tensors: LpipsTensors) -> None:
    before = torch.random.get_rng_state()
    Lpips("alexnet", tensors)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("part", "name", "shape", "message"),
    [
        (
            "backbone",
            "features.3.bias",
            (191,),
            r"alexnet.pth does not fit alexnet: features.3.bias is \(191,\), expec",
        ),
        ("backbone", "classifier.1.bias", (4095,), r"classifier.1.bias is \(4095,\), expected \(4096,\)"),
        ("backbone", "features.3.bias", None, "features.3.bias missing"),
        ("backbone", "features.4.bias", (1,), "features.4.bias unknown"),
        ("linear", "lin2.model.1.weight", (1, 383, 1, 1), r"linear layers do not fit .* \(1, 383, 1, 1\)"),
        ("linear", "lin5.model.1.weight", (1, 1, 1, 1), "lin5.model.1.weight unknown"),
    ],
)
def test_other_tensors_are_refused(
    tensors: LpipsTensors, part: str, name: str, shape: tuple[int, ...] | None, message: str
) -> None:
    changed = dict(getattr(tensors, part))
    changed.pop(name, None)
    if shape is not None:
        changed[name] = torch.zeros(shape)
    with pytest.raises(WeightsError, match=message):
        Lpips("alexnet", replace(tensors, **{part: changed}))


def test_missing_package_is_named(tensors: LpipsTensors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(BackendError, match=r"LPIPS needs lpips and torchvision .*; please run: pip install lpips"):
        Lpips("alexnet", tensors)
