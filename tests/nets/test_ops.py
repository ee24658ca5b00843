"""Resampling and activation against sums worked out by hand."""

import pytest
import torch

from ostec.nets.ops import downsample2d, filter_planes, leaky_relu, lowpass_filter, upsample2d


def outer(a: list[float], b: list[float]) -> torch.Tensor:
    """[1, 1, len(a), len(b)]: rows by ``a``, columns by ``b``."""
    return torch.outer(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))[None, None]


def test_filter_is_the_published_one() -> None:
    kernel = lowpass_filter()
    expected = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64
    torch.testing.assert_close(kernel, expected)
    assert float(kernel.sum()) == pytest.approx(1)


def test_upsampling_by_hand() -> None:
    # Along a line, pixel i adds 1/4, 3/4, 3/4, 1/4 of itself to 2i - 1 ... 2i + 2; both axes are alike.
    across = [6.0, 6.0, 2.0, 4.0, 12.0, 12.0]  # of 8, 0, 16
    down = [3.0, 4.0, 4.0, 3.0]  # of 4, 4: at each end a quarter of the zeros beyond comes in
    found = upsample2d(outer([4, 4], [8, 0, 16]), lowpass_filter())
    torch.testing.assert_close(found, outer(down, across))


def test_downsampling_by_hand() -> None:
    # Along a line, pixel o is (x[2o - 1] + 3 x[2o] + 3 x[2o + 1] + x[2o + 2]) / 8.
    down = [13 / 8, 14 / 8]  # of 1, 2, 4, 0
    across = [3.0, 1.0, 6.0]  # of 0, 8, 0, 0, 0, 16
    found = downsample2d(outer([1, 2, 4, 0], [0, 8, 0, 0, 0, 16]), lowpass_filter())
    torch.testing.assert_close(found, outer(down, across))


def test_constants_stay_away_from_the_border() -> None:
    planes = torch.tensor([2.0, -3.0])[None, :, None, None].expand(1, 2, 6, 8)
    for resample in (upsample2d, downsample2d):
        found = resample(planes, lowpass_filter())[:, :, 1:-1, 1:-1]
        torch.testing.assert_close(found, planes[:, :, :1, :1].expand_as(found))
    assert upsample2d(planes, lowpass_filter()).shape == (1, 2, 12, 16)
    assert downsample2d(planes, lowpass_filter()).shape == (1, 2, 3, 4)


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1), (0, 2)])
def test_filtering_is_a_sum_over_a_window(padding: tuple[int, int]) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 4, generator=random)
    kernel = torch.tensor([[1.0, 2.0], [2.0, 5.0]])
    before, after = padding
    padded = torch.zeros(2, 3, 5 + before + after, 4 + before + after)
    padded[:, :, before : before + 5, before : before + 4] = x
    expected = torch.stack(
        [
            torch.stack([(padded[:, :, i : i + 2, j : j + 2] * kernel).sum((2, 3)) * 0.5 for j in range(w)], dim=-1)
            for h, w in [(padded.shape[2] - 1, padded.shape[3] - 1)]
            for i in range(h)
        ],
        dim=-2,
    )
    torch.testing.assert_close(filter_planes(x, kernel, padding, 0.5), expected)


def test_activation_by_hand() -> None:
    bias = torch.tensor([1.0, -4.0])
    rows = torch.tensor([[1.0, 2.0], [-3.0, 5.0]])
    expected = torch.tensor([[2.0, -0.4], [-0.4, 1.0]]) * 2**0.5
    torch.testing.assert_close(leaky_relu(rows, bias), expected)
    planes = rows[:, :, None, None].expand(2, 2, 3, 1)
    torch.testing.assert_close(leaky_relu(planes, bias, 2.0), (expected * 2**0.5)[:, :, None, None].expand(2, 2, 3, 1))
