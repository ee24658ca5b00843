"""The judge's network has VGG16's shape, its distance is worked out by hand, and it tells pictures apart."""

import pytest
import torch
from torch import nn

from bench.judge import Judge, VggShaped, distance, judged_size
from bench.network import digest, draw_target, random_network
from ostec.nets.stylegan2 import GeneratorShape, SynthesisLayer

SHAPE = GeneratorShape(32, z_dim=12, w_dim=10, mapping_layers=3, channel_base=256, channel_max=16)


def test_network_has_the_shape_of_vgg16() -> None:
    layers = [layer for layer in VggShaped().modules() if isinstance(layer, nn.Conv2d)]
    widths = [64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    assert [layer.out_channels for layer in layers] == widths
    assert sum(layer.weight.numel() + layer.bias.numel() for layer in layers) == 14_714_688
    assert not any(parameter.requires_grad for layer in layers for parameter in layer.parameters())


def test_features_are_of_length_one_at_five_levels() -> None:
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    levels = VggShaped(0, 16)(image)
    assert [list(x.shape) for x in levels] == [
        [2, c, s, s] for c, s in ((16, 32), (32, 16), (64, 8), (128, 4), (128, 2))
    ]
    for level in levels:
        torch.testing.assert_close(level.norm(dim=1), torch.ones(2, *level.shape[2:]))
    assert len(VggShaped(0, 4)(image[:, :, :8, :8])) == 4, "a picture too small for the last level"


def test_equal_seeds_give_equal_networks() -> None:
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    one, same, other = (VggShaped(seed, 4)(image)[4] for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.1)


def test_distance_by_hand() -> None:
    # Level 1, two positions: squared differences (1 + 0) + (4 + 1), mean 3; level 2, one position: 9.
    a = [torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]]), torch.tensor([[[[3.0]]]])]
    b = [torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 1, 1)]
    assert distance(a, b).tolist() == [12.0]


def test_pictures_are_reduced_by_area() -> None:
    image = torch.arange(512.0).expand(1, 3, 512, 512)
    torch.testing.assert_close(judged_size(image)[0, 0, 0], torch.arange(256.0) * 2 + 0.5)
    small = image[:, :, :64, :64]
    assert judged_size(small) is small


def test_loss_is_the_distance_plus_the_squared_error() -> None:
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    network = VggShaped(0, 4)
    judge = Judge(network, target)
    assert judge.loss(target).tolist() == [0.0, 0.0]
    other = target.clone()
    other[1] += 0.5
    found = judge.loss(other)
    assert float(found[0]) == 0
    assert float(found[1]) == pytest.approx(0.25 + float(distance(network(other), network(target))[1]))
    assert float(found[1]) > 0.26, "a paler picture is another one to the features too"


def test_small_pictures_cannot_be_judged() -> None:
    with pytest.raises(ValueError, match=r"expected pictures of at least 16 px, got \[1, 3, 8, 8\]"):
        Judge(VggShaped(0, 4), torch.zeros(1, 3, 8, 8))


def test_random_network_draws_pictures_with_contrast_that_differ() -> None:
    network = random_network(SHAPE)
    pictures = network(torch.randn(16, SHAPE.z_dim, generator=torch.Generator().manual_seed(3)))
    assert 0.3 < float(pictures.std()) < 0.8
    assert abs(float(pictures.mean())) < 0.2
    assert float(pictures.std((2, 3)).min()) > 0.05
    apart = (pictures[1:] - pictures[:-1]).square().mean((1, 2, 3)).sqrt()
    assert float(apart.min()) > 0.15
    strengths = [float(x.noise_strength) for x in network.modules() if isinstance(x, SynthesisLayer)]
    assert all(0.01 <= strength <= 0.05 for strength in strengths)
    assert float(network.mapping.w_avg.norm()) > 0


def test_random_network_is_its_seeds_alone() -> None:
    state = torch.get_rng_state()
    one = digest(random_network(SHAPE, 1))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(99)
    assert digest(random_network(SHAPE, 1)) == one
    assert digest(random_network(SHAPE, 2)) != one


def test_targets_are_drawn_with_noise_of_their_own() -> None:
    network = random_network(SHAPE)
    two = draw_target(network, 2, 7)
    assert two.shape == (2, 3, 32, 32)
    assert torch.equal(draw_target(network, 2, 7), two)
    torch.testing.assert_close(draw_target(network, 1, 7), two[:1])
    import numpy as np

    z = torch.from_numpy(np.random.RandomState(7).randn(2, SHAPE.z_dim).astype(np.float32))
    stored = network(z)
    assert not torch.allclose(stored, two, atol=1e-3), "the network's own noise would be told to whoever knows it"
    assert float((stored - two).abs().mean()) < 0.5 * float((stored[:1] - two[1:]).abs().mean())
