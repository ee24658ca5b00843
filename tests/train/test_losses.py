"""The losses on differences whose value is known, and patches cut where the face was shown."""

import pytest
import torch

from ostec.train.losses import augmentation, cut_patches, reconstruction_loss, take_patches

FULL = torch.tensor([float("inf")])
"""Portraits with more detail than any picture holds."""


def test_constant_difference_counts_once_a_level() -> None:
    real = torch.rand(2, 3, 8, 8)
    loss = reconstruction_loss(real + 0.25, real, torch.ones(2, 1, 8, 8), 1.0, FULL.expand(2))
    assert float(loss) == pytest.approx(4 * 0.25, rel=1e-4)


@pytest.mark.parametrize("axis", [-1, -2])
def test_ramp_by_hand(axis: int) -> None:
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    ramp = ramp if axis == -1 else ramp.transpose(-1, -2)
    weight = torch.ones(1, 1, 8, 8)
    # Its mean is 3.5 on each of the four levels. Steps: 56 of 1 over 64 pixels, 12 of 2 over 16, 2 of 4 over 4, none.
    colours, steps = 4 * 3.5, 56 / 64 + 24 / 16 + 8 / 4
    for gradient in (0.0, 1.0, 3.0):
        loss = reconstruction_loss(ramp, torch.zeros(1, 3, 8, 8), weight, gradient, FULL)
        assert float(loss) == pytest.approx(colours + gradient * steps, rel=1e-5)


def test_pixels_without_weight_are_not_looked_at() -> None:
    random = torch.Generator().manual_seed(0)
    fake, real = (torch.rand(2, 3, 16, 16, generator=random) for _ in range(2))
    weight = torch.ones(2, 1, 16, 16)
    weight[:, :, 3:9, 5:] = 0
    fake.requires_grad_()
    loss = reconstruction_loss(fake, real, weight, 1.0, FULL.expand(2))
    (slope,) = torch.autograd.grad(loss, fake)
    assert (slope[:, :, 3:9, 5:] == 0).all()
    assert (slope[:, :, 10:] != 0).any()
    spoilt = torch.where(weight > 0, fake.detach(), torch.tensor(77.0))
    assert torch.equal(reconstruction_loss(spoilt, real, weight, 1.0, FULL.expand(2)), loss.detach())


def test_levels_finer_than_a_portrait_count_less() -> None:
    real = torch.rand(2, 3, 8, 8)
    for carried, levels in (([4.0, 4.0], 3), ([6.0, 6.0], 3.5), ([2.0, 8.0], 3), ([1e9, 8.0], 4)):
        loss = reconstruction_loss(real + 0.25, real, torch.ones(2, 1, 8, 8), 1.0, torch.tensor(carried))
        assert float(loss) == pytest.approx(levels * 0.25, rel=1e-4)


def test_augmented_patches() -> None:
    patches = torch.rand(16, 4, 16, 16, requires_grad=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        plain, strong = augmentation(0.0)(patches), augmentation(1.0)(patches)
    kept = (plain == patches).all((1, 2, 3))
    assert torch.equal(plain, torch.where(kept[:, None, None, None], patches, patches.flip(-1)))
    assert 0 < kept.sum() < 16
    assert strong.shape == patches.shape
    assert ((strong != patches) & (strong != patches.flip(-1))).flatten(1).any(1).all()
    assert (strong == 0).any(1).flatten(1).any(1).all(), "a part of each is cut out"
    (slope,) = torch.autograd.grad(strong.sum(), patches)
    assert (slope != 0).any()


def test_patches_lie_where_the_face_was_shown() -> None:
    random = torch.Generator().manual_seed(0)
    image = torch.rand(3, 3, 32, 32, generator=random)
    shown = torch.zeros(3, 1, 32, 32)
    shown[0, :, :, :16] = 1  # the left half, the lower half, and all of the third, whose lower half is plain ground
    shown[1, :, 16:] = 1
    shown[2] = 1
    image[2, :, 16:] = 0.5
    corners, owner = cut_patches(image, shown, 8, 5, random)
    assert owner.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert corners.shape == (15, 2)
    assert 0 <= int(corners.min()) <= int(corners.max()) <= 24
    x, y = corners.T
    assert (x[:5] <= 8).all()
    assert (y[5:10] >= 16).all()
    assert (y[10:] <= 8).all()


@pytest.mark.parametrize("size", [16, 20])
def test_small_pictures_are_one_patch(size: int) -> None:
    corners, owner = cut_patches(torch.rand(3, 3, 16, 16), torch.ones(3, 1, 16, 16), size, 2, torch.Generator())
    assert corners.tolist() == [[0, 0]] * 3
    assert owner.tolist() == [0, 1, 2]


def test_patches_by_hand() -> None:
    planes = torch.arange(2 * 2 * 4 * 5.0).reshape(2, 2, 4, 5)
    found = take_patches(planes, torch.tensor([[3, 1], [0, 2]]), torch.tensor([1, 0]), 2)
    assert found.shape == (2, 2, 2, 2)
    assert found[0, 0].tolist() == [[48, 49], [53, 54]]  # x 3, y 1 of the second picture, which begins at 40
    assert found[1, 1].tolist() == [[30, 31], [35, 36]]  # x 0, y 2 of the first picture's second plane, from 20
