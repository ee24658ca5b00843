"""UV maps as training pictures."""

import numpy as np
import pytest
import torch

from ostec.train.maps import map_bank, map_texels


def test_the_bank_shows_a_map_as_it_is_and_mirrors_it() -> None:
    inside = np.zeros((64, 64), bool)
    inside[8:56, 4:60] = True
    bank = map_bank(inside, 32)
    planes = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * torch.from_numpy(inside)
    drawn = bank.render(planes, torch.tensor([0]), torch.tensor([False]))
    assert torch.allclose(drawn[..., 6:26, 4:28], torch.nn.functional.avg_pool2d(planes, 2)[..., 6:26, 4:28], atol=1e-5)
    mirrored = bank.render(planes, torch.tensor([0]), torch.tensor([True]))
    assert torch.allclose(mirrored, drawn.flip(-1), atol=1e-5)
    assert bank.coverage[0, 0].numpy() == pytest.approx(inside[::2, ::2].astype(np.float32))
    assert float(bank.codes.abs().max()) < 1  # a pose in the middle of the range, always the same


def test_maps_are_whole_and_as_fine_as_they_are() -> None:
    inside = np.ones((32, 32), bool)
    maps = [(f"{k:016x}_1", np.full((64, 64, 3), k / 40, np.float32)) for k in range(40)]
    made = map_texels(iter(maps), inside)
    assert made.colour.shape == (40, 32 * 32, 3)
    assert made.colour[20].min() == made.colour[20].max() == 128
    assert made.weight.min() == 1
    assert set(made.native_side) == {64}
    assert 0 < made.held_out.sum() < 8
