"""The terms of the projection: values by hand, what they ignore, and what they do not depend on."""

import numpy as np
import pytest
import torch
from pytorch_msssim import ms_ssim
from torch.nn import functional

from ostec.nets.losses import (
    MS_SSIM_WINDOW,
    feature_loss,
    latent_loss,
    log_cosh,
    ms_ssim_loss,
    pixel_loss,
    weighted_mean,
)


def pictures(side: int, count: int = 2, seed: int = 0) -> torch.Tensor:
    """Smooth and fine structure, [B, 3, side, side] within [-1, 1]."""
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=random)
    fine = torch.rand(count, 3, side, side, generator=random)
    smooth = functional.interpolate(coarse, size=side, mode="bicubic", align_corners=True)
    return (1.2 * smooth + 0.5 * fine - 0.85).clamp(-1, 1)


def blurred(image: torch.Tensor, radius: int) -> torch.Tensor:
    if radius == 0:
        return image
    return functional.avg_pool2d(functional.pad(image, [radius] * 4, mode="reflect"), 2 * radius + 1, stride=1)


def left_half(side: int, count: int = 2) -> torch.Tensor:
    weight = torch.zeros(count, 1, side, side)
    weight[..., : side // 2] = 1
    return weight


def test_log_cosh_is_that_of_numpy():
    x = np.concatenate([np.linspace(-20, 20, 401), [1e-3, -1e-5, 0.0]])
    found = log_cosh(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, np.log(np.cosh(x)), atol=1e-14, rtol=1e-12)
    np.testing.assert_allclose(log_cosh(torch.from_numpy(x.astype(np.float32))), np.log(np.cosh(x)), atol=2e-6)


def test_log_cosh_of_huge_values_is_linear_and_its_gradient_at_most_one():
    x = torch.tensor([-1e30, -1e4, -3.0, -1e-4, 0.0, 1e-4, 3.0, 1e4, 1e30], requires_grad=True)
    y = log_cosh(x)
    assert y[-1] == 1e30
    assert float(y[-2].detach()) == pytest.approx(1e4 - np.log(2), rel=1e-6)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert (slope.abs() <= 1).all()
    torch.testing.assert_close(slope, torch.tanh(x.detach()), atol=1e-6, rtol=1e-6)


def test_weighted_mean_by_hand():
    values = torch.tensor([[[[1.0, 2.0, 10.0]], [[3.0, 6.0, 50.0]]]])  # channel means 2, 4, 30
    assert float(weighted_mean(values, torch.tensor([[[[1.0, 0.5, 0.0]]]]))) == pytest.approx((2 + 2) / 1.5)


def test_weighted_mean_of_nothing_is_zero():
    assert weighted_mean(torch.ones(2, 3, 4, 4), torch.zeros(2, 1, 4, 4)).tolist() == [0, 0]


def test_pixel_loss_by_hand():
    image, target = torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    image[0, 0, 0, 0], target[0, 0, 0, 0] = 0.25, -0.5
    wanted = np.log(np.cosh(4 * 0.75)) / 3 * 0.2 / 1.2  # one of three channels, weight 0.2 of 1.2
    found = pixel_loss(image, target, torch.tensor([[[[0.2, 1.0]]]]), scale=4.0)
    assert float(found) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("loss", [pixel_loss, ms_ssim_loss])
def test_what_the_generator_draws_where_nothing_is_trusted_counts_for_nothing(loss):
    image, target, weight = pictures(97), pictures(97, seed=1), left_half(97)
    spoilt = torch.where(weight > 0, image, 0.9)
    assert torch.equal(loss(spoilt, target, weight), loss(image, target, weight))
    image.requires_grad_()
    (slope,) = torch.autograd.grad(loss(image, target, weight).sum(), image)
    assert (slope[..., 48:] == 0).all()
    assert (slope[..., :48] != 0).float().mean() > 0.99


def test_pixel_loss_does_not_see_the_target_where_it_is_not_trusted():
    image, target, weight = pictures(16), pictures(16, seed=1), left_half(16)
    other = torch.where(weight > 0, target, -0.3)
    assert torch.equal(pixel_loss(image, other, weight), pixel_loss(image, target, weight))


@pytest.mark.parametrize("side", [7, 32, 64, 96, 97, 128])
def test_ms_ssim_is_zero_for_equal_pictures_and_grows_with_blur(side):
    target = pictures(side)
    weight = torch.ones(2, 1, side, side)
    values = torch.stack([ms_ssim_loss(blurred(target, r), target, weight) for r in range(4)])
    torch.testing.assert_close(values[0], torch.zeros(2), atol=2e-6, rtol=0)
    assert (values.diff(dim=0) > 0.005).all()
    assert (values <= 1).all()


def test_ms_ssim_of_large_pictures_is_the_librarys():
    image, target = pictures(100), blurred(pictures(100), 2)
    wanted = ms_ssim(image / 2 + 0.5, target / 2 + 0.5, data_range=1.0, size_average=False, win_size=MS_SSIM_WINDOW)
    torch.testing.assert_close(ms_ssim_loss(image, target, torch.ones(2, 1, 100, 100)), 1 - wanted, atol=5e-5, rtol=0)


def ssim_terms(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Means [B, C] of SSIM and of its contrast-structure part, equations 6 to 9 of Wang et al. 2003."""
    line = torch.exp(-((torch.arange(7.0) - 3) ** 2) / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2

    def mean(z: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(z, window.expand(z.shape[1], 1, 7, 7), groups=z.shape[1])

    mx, my = mean(x), mean(y)
    structure = (2 * (mean(x * y) - mx * my) + 0.03**2) / (mean(x * x) - mx**2 + mean(y * y) - my**2 + 0.03**2)
    luminance = (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
    return (luminance * structure).mean((2, 3)), structure.mean((2, 3))


def test_ms_ssim_of_small_pictures_takes_the_scales_that_fit():
    # At 32 px three windows of 7 fit: 32, 16 and 8 px.
    image, target = pictures(32), blurred(pictures(32), 1)
    exponents = np.array([0.0448, 0.2856, 0.3001]) / (0.0448 + 0.2856 + 0.3001)
    x, y = image / 2 + 0.5, target / 2 + 0.5
    wanted = torch.ones(2, 3)
    for k, exponent in enumerate(exponents):
        whole, structure = ssim_terms(x, y)
        wanted = wanted * (whole if k == 2 else structure) ** exponent
        x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
    found = ms_ssim_loss(image, target, torch.ones(2, 1, 32, 32))
    torch.testing.assert_close(found, 1 - wanted.mean(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", [32, 128])
def test_ms_ssim_of_opposite_pictures_has_a_gradient_that_is_finite(side):
    target = pictures(side)
    image = (-target).requires_grad_()
    loss = ms_ssim_loss(image, target, torch.ones(2, 1, side, side))
    (slope,) = torch.autograd.grad(loss.sum(), image)
    assert torch.isfinite(loss).all()
    assert torch.isfinite(slope).all()


def test_ms_ssim_refuses_pictures_below_its_window():
    image = torch.zeros(1, 3, 6, 9)
    with pytest.raises(ValueError, match=r"expected pictures of at least 7 px, got \[1, 3, 6, 9\]"):
        ms_ssim_loss(image, image, torch.ones(1, 1, 6, 9))


def layers(seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 6, 8, 8, generator=random), torch.randn(2, 9, 4, 4, generator=random)]


def test_feature_loss_by_hand():
    # Orthogonal features are sqrt(2) apart, parallel ones not at all; the weight of 2 x 2 pixels is averaged.
    found = [torch.tensor([3.0, 0.0])[None, :, None, None].expand(1, 2, 1, 2)]
    wanted = [torch.tensor([[[[0.0, 5.0]], [[7.0, 0.0]]]])]
    weight = torch.tensor([[[[1.0, 0.0, 1.0, 1.0], [1.0, 1.0, 0.0, 0.0]]]])
    assert float(feature_loss(found, wanted, weight)) == pytest.approx(2 * 0.75 / (0.75 + 0.5))


def test_feature_loss_is_the_mean_over_the_layers():
    found, wanted, weight = layers(0), layers(1), torch.rand(2, 1, 16, 16)
    alone = [feature_loss([a], [b], weight) for a, b in zip(found, wanted, strict=True)]
    torch.testing.assert_close(feature_loss(found, wanted, weight), (alone[0] + alone[1]) / 2)


def test_feature_loss_ignores_the_size_of_the_features_at_each_position():
    found, wanted, weight = layers(0), layers(1), torch.ones(2, 1, 16, 16)
    random = torch.Generator().manual_seed(2)
    scaled = [x * (0.1 + 9 * torch.rand(len(x), 1, *x.shape[2:], generator=random)) for x in found]
    plain = feature_loss(found, wanted, weight)
    assert (plain > 0.1).all()
    torch.testing.assert_close(feature_loss(scaled, wanted, weight), plain)
    torch.testing.assert_close(feature_loss(scaled, found, weight), torch.zeros(2), atol=1e-6, rtol=0)


def test_feature_loss_hears_only_positions_with_trusted_pixels():
    found, wanted, weight = layers(0), layers(1), left_half(16)
    other = [torch.where(functional.adaptive_avg_pool2d(weight, x.shape[-2:]) > 0, x, 5.0) for x in found]
    assert torch.equal(feature_loss(other, wanted, weight), feature_loss(found, wanted, weight))


def test_feature_loss_takes_features_that_are_zero():
    found = [torch.zeros(1, 4, 2, 2, requires_grad=True)]
    loss = feature_loss(found, [torch.ones(1, 4, 2, 2)], torch.ones(1, 1, 4, 4))
    (slope,) = torch.autograd.grad(loss.sum(), found[0])
    assert float(loss.detach()) == pytest.approx(1)
    assert torch.isfinite(slope).all()


def test_latent_loss_by_hand():
    mean, deviation = torch.tensor([[1.0, 0.0], [0.0, -1.0]]), torch.tensor([[1.0, 2.0], [0.5, 4.0]])
    ws = torch.stack([mean, mean + torch.tensor([[3.0, 2.0], [0.5, -8.0]])])
    assert latent_loss(ws, mean, deviation).tolist() == [0, (9 + 1 + 1 + 4) / 4]
