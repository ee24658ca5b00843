"""A whole picture that a network made is found; each of a batch as if it were alone."""

from dataclasses import replace

import pytest
import torch

from bench.search import WHOLE_PICTURES, search
from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.project.objective import smaller
from ostec.project.settings import ProjectionSettings

SHAPE = GeneratorShape(32, z_dim=16, w_dim=16, mapping_layers=2, channel_base=256, channel_max=16)


@pytest.fixture(scope="module")
def network() -> Generator:
    torch.manual_seed(5)
    return Generator(SHAPE).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def large() -> Generator:
    torch.manual_seed(5)
    shape = GeneratorShape(64, z_dim=16, w_dim=16, mapping_layers=2, channel_base=512, channel_max=16)
    return Generator(shape).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures(network: Generator) -> torch.Tensor:
    """[2, 3, 32, 32]."""
    return network(torch.randn(2, 16, generator=torch.Generator().manual_seed(3)))


@pytest.mark.slow
def test_a_picture_of_the_network_is_found(network, pictures):
    found = search(network, pictures[:1], None, 120)
    error = (found.image - pictures[:1]).square().mean() / pictures[:1].var()
    assert error < 0.02
    torch.testing.assert_close(found.image, network.synthesis(found.ws))


def test_a_smaller_picture_is_found_at_full_size(large):
    picture = large(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))
    found = search(large, smaller(picture, 32), None, 80)
    assert found.image.shape == (1, 3, 64, 64)
    error = (smaller(found.image, 32) - smaller(picture, 32)).square().mean() / picture.var()
    assert error < 0.02


def test_each_picture_of_a_batch_is_found_as_if_it_were_alone(network, pictures):
    together = search(network, pictures, None, 10)
    for b in range(2):
        alone = search(network, pictures[b : b + 1], None, 10)
        torch.testing.assert_close(together.ws[b : b + 1], alone.ws, rtol=1e-3, atol=1e-3)


def test_features_are_asked_for_at_the_levels_sizes(large):
    picture = large(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))
    sides: list[int] = []

    def features(image: torch.Tensor) -> list[torch.Tensor]:
        sides.append(image.shape[-1])
        return [image]

    found = search(large, picture, features, 10)
    assert set(sides) == {16, 32, 64}
    assert found.losses[0]["features"] > 0


def test_settings_are_heeded(network, pictures):
    far = replace(ProjectionSettings(), latent=100.0)
    held, free = (search(network, pictures[:1], None, 40, s).losses[0] for s in (far, WHOLE_PICTURES))
    assert held["pixel"] > 1.5 * free["pixel"]


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds(network, pictures):
    if not torch.cuda.is_available():
        pytest.skip("CUDA is not available")
    there = Generator(SHAPE).eval().requires_grad_(False).cuda()
    there.load_state_dict(network.state_dict())
    wanted, found = search(network, pictures, None, 30), search(there, pictures.cuda(), None, 30)
    torch.testing.assert_close(found.ws.cpu(), wanted.ws, rtol=0.02, atol=0.02)
    for ours, theirs in zip(found.losses, wanted.losses, strict=True):
        assert ours["total"] == pytest.approx(theirs["total"], rel=0.01)


@pytest.mark.parametrize("shape", [(1, 3, 48, 48), (1, 3, 128, 128), (1, 3, 32, 16)])
def test_pictures_of_another_size_are_refused(network, shape):
    with pytest.raises(ValueError, match="expected pictures of"):
        search(network, torch.zeros(shape), None, 1)
