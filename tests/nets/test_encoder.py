"""The encoder's shapes, what it listens to, and where it begins."""

import pytest
import torch

from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.stylegan2 import GeneratorShape

SHAPE = GeneratorShape(32, z_dim=6, w_dim=5, mapping_layers=2, channel_base=128, channel_max=16)


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SHAPE, EncoderShape(channel_base=64, channel_max=8, hidden=12))


def view(count: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, 32, 32, generator=random) * 2 - 1, torch.rand(count, 1, 32, 32, generator=random)


def test_latents_have_their_shapes(encoder: Encoder) -> None:
    encoded = encoder(*view())
    assert encoded.z.shape == (2, 6)
    assert encoded.offset.shape == (2, SHAPE.num_ws, 5)
    assert torch.isfinite(encoded.z).all()


def test_begins_in_w(encoder: Encoder) -> None:
    assert torch.equal(encoder(*view()).offset, torch.zeros(2, SHAPE.num_ws, 5))


def test_every_pixel_and_the_trust_are_heard(encoder: Encoder) -> None:
    image, trust = (x.requires_grad_() for x in view())
    encoded = encoder(image, trust)
    (encoded.z.sum() + encoded.offset.sum()).backward()
    for x in (image, trust):
        assert x.grad is not None
        assert torch.isfinite(x.grad).all()
        assert (x.grad != 0).all()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_one_view_does_not_depend_on_the_others(encoder: Encoder) -> None:
    image, trust = view(3)
    together, alone = encoder(image, trust), encoder(image[1:2], trust[1:2])
    torch.testing.assert_close(together.z[1:2], alone.z, atol=1e-5, rtol=1e-4)


def test_features_end_at_four_pixels(encoder: Encoder) -> None:
    assert [tuple(f.shape) for f in encoder.features(*view())] == [(2, 8, 8, 8), (2, 8, 4, 4)]
    (first,) = encoder.features(*view(), 1)
    assert torch.equal(first, encoder.features(*view())[0])
