"""What the generator's training minimises, and the patches that its discriminator sees."""

import torch
from torch import nn
from torch.nn import functional

_LEVELS = 4
"""Of the pyramid; a picture has at least 8 px."""


def reconstruction_loss(
    fake: torch.Tensor, real: torch.Tensor, weight: torch.Tensor, gradient: float, carried: torch.Tensor
) -> torch.Tensor:
    """Mean absolute difference of colours and of neighbours' differences over four levels of a pyramid.

    Args:
        fake: [B, 3, R, R].
        real: [B, 3, R, R].
        weight: [B, 1, R, R].
        gradient: weight of the differences.
        carried: [B] side in pixels up to which the real pictures hold detail: a level that is finer than that counts
            less, and nothing from twice that side.
    """
    total = fake.new_zeros(())
    difference = fake - real
    for level in range(_LEVELS):
        if level > 0:
            difference, weight = functional.avg_pool2d(difference * weight, 2), functional.avg_pool2d(weight, 2)
            difference = difference / weight.clamp(min=1e-3)
        norm = weight.sum() * 3 + 1e-6
        share = (2 * carried / fake.shape[-1] * 2**level - 1).clamp(0, 1)[:, None, None, None]
        total = total + (difference.abs() * weight * share).sum() / norm
        for axis in (-1, -2):
            span = difference.shape[axis] - 1
            step = difference.narrow(axis, 1, span) - difference.narrow(axis, 0, span)
            both = torch.minimum(weight.narrow(axis, 1, span), weight.narrow(axis, 0, span))
            total = total + gradient * (step.abs() * both * share).sum() / norm
    return total


def cut_patches(
    image: torch.Tensor, shown: torch.Tensor, size: int, count: int, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Corners of the patches where most of the face was shown, and which picture they are of.

    Args:
        image: [B, 3, R, R], whose plain ground does not count as shown.
        shown: [B, 1, R, R].
        size: side of a patch.
        count: patches a picture.
        random: draws eight candidates for each.

    Returns:
        Corners [B * count, 2] (x, y) and pictures [B * count].
    """
    batch, _, side, _ = shown.shape
    if size >= side:
        return torch.zeros(batch, 2, dtype=torch.long), torch.arange(batch)
    face = shown * (image.std(1, keepdim=True) > 1e-3)
    mean = functional.avg_pool2d(face, size, stride=1)[:, 0].cpu()
    x, y = (torch.randint(side - size + 1, (batch, count, 8), generator=random) for _ in range(2))
    score = mean[torch.arange(batch)[:, None, None], y, x]
    best = score.argmax(-1, keepdim=True)
    corners = torch.stack([x.gather(-1, best), y.gather(-1, best)], dim=-1).reshape(-1, 2)
    return corners, torch.arange(batch).repeat_interleave(count)


def take_patches(planes: torch.Tensor, corners: torch.Tensor, owner: torch.Tensor, size: int) -> torch.Tensor:
    """Patches [N, C, size, size] of planes [B, C, R, R]."""
    cut = [planes[k, :, y : y + size, x : x + size] for (x, y), k in zip(corners.tolist(), owner.tolist(), strict=True)]
    return torch.stack(cut)


def augmentation(probability: float) -> nn.Module:
    """What real and drawn patches go through before the discriminator, so that it cannot learn few portraits by heart.

    Moves, turns, scales and cuts out patches [N, C, s, s] with this probability each, after ADA (Karras et al.,
    *Training generative adversarial networks with limited data*, 2020).
    """
    from kornia import augmentation as k

    return k.AugmentationSequential(
        k.RandomHorizontalFlip(),
        k.RandomAffine(20.0, translate=(0.125, 0.125), scale=(0.8, 1.25), p=probability),
        k.RandomErasing(scale=(0.05, 0.25), p=probability),
        data_keys=["input"],
    )
