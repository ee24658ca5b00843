"""The generator that ships, as the projection sees it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ostec.core.types import POSE_RANGE_DEG
from ostec.io.weights import read_safetensors
from ostec.nets.checkpoint import PortraitGenerator, generator_from_tensors, natural_generator
from ostec.nets.encoder import pose_codes
from ostec.nets.perceptual import Lpips, LpipsTensors
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape
from ostec.project.invert import project
from ostec.project.objective import ProjectionTarget
from ostec.project.settings import ProjectionSettings
from ostec.project.space import ENCODER, JUDGE, TOO_SMALL, encoder_features, latent_space, starting_latents
from tests.nets.lpips_files import backbone_tensors, linear_tensors

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model() -> PortraitGenerator:
    card = json.loads((ROOT / "models/generator.json").read_text("utf-8"))
    return generator_from_tensors(read_safetensors(ROOT / "models/generator.safetensors"), card, "generator")


def drawn(model: PortraitGenerator, seed: int, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [B, num_ws, W] of random faces, and their pictures."""
    z = torch.randn(count, model.generator.shape.z_dim, generator=torch.Generator().manual_seed(seed))
    ws = model.generator.mapping(z)
    return ws, model.generator.synthesis(ws)


def whole(image: torch.Tensor) -> ProjectionTarget:
    trust = torch.ones_like(image[:, :1])
    return ProjectionTarget(image, trust, torch.zeros_like(trust))


def test_pose_codes_are_quantiles_of_a_normal() -> None:
    (low, high), (left, right) = POSE_RANGE_DEG
    middle, quarter = (low + high) / 2, left + (right - left) / 4
    found = pose_codes(torch.tensor([[middle, quarter], [low - 9, right + 9]]), POSE_RANGE_DEG)
    torch.testing.assert_close(found[0], torch.tensor([0.0, -0.67449]), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], torch.tensor([-2.32635, 2.32635]), atol=1e-4, rtol=0)


def test_known_faces_start_at_their_own_z(model: PortraitGenerator) -> None:
    _, image = drawn(model, 1)
    coefficients = torch.randn(120, generator=torch.Generator().manual_seed(2))
    poses = torch.tensor([[0.0, 0.0], [15.0, -30.0]])
    target = whole(image.expand(2, -1, -1, -1))
    found = starting_latents(model, target, coefficients, poses)
    z = torch.cat([coefficients.expand(2, -1), pose_codes(poses, model.frame.pose_range_deg)], dim=1)
    offset = model.encoder(target.image, target.trust).offset
    torch.testing.assert_close(found, model.generator.mapping(z) + offset)
    assert not torch.allclose(found[0], found[1])


def test_a_turned_z_draws_the_mirror_image_of_the_head_turned_the_other_way(model: PortraitGenerator) -> None:
    """The mean face is symmetric, so that turning it left or right are mirror images, nearly."""
    poses = pose_codes(torch.tensor([[-5.0, 40.0], [-5.0, -40.0]]), model.frame.pose_range_deg)
    z = torch.cat([torch.zeros(2, 120), poses], dim=1)
    left, right = model.generator.synthesis(model.generator.mapping(z))
    same, other = ((left - x).square().mean() for x in (right.flip(-1), right))
    assert same < 0.3 * other


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return Lpips("alexnet", LpipsTensors("made", backbone_tensors("alexnet"), linear_tensors("alexnet")))


def test_pictures_are_compared_by_what_the_name_says(model: PortraitGenerator, lpips: Lpips) -> None:
    assert latent_space(model).features_name == ENCODER == "encoder (no perceptual network)"
    assert latent_space(model).perceptual is None
    space = latent_space(model, lpips)
    assert (space.features_name, space.perceptual) == ("LPIPS (alexnet)", lpips)
    small = replace(model, generator=Generator(GeneratorShape(32, channel_base=64, channel_max=8)))
    space = latent_space(small, lpips)
    assert (space.features_name, space.perceptual) == (TOO_SMALL.format("LPIPS (alexnet)", 64), None)


def test_projection_lowers_lpips_on_trusted_pixels(model: PortraitGenerator, lpips: Lpips) -> None:
    _, image = drawn(model, 1)
    target = whole(image)
    target.trust[..., 64:] = 0
    only = ProjectionSettings(learning_rate=0.02, pixel=0, ms_ssim=0, latent=0, start=0)
    space = replace(latent_space(model, lpips), encode=None)
    found = project(space, target, 12, only)
    (row,) = found.losses
    assert "features" not in row
    assert row["lpips"] == row["total"] < 0.7 * row["start_total"]
    # The term is LPIPS, weighed, with what is not trusted taken from the target (here: its mean colour).
    known = torch.where(target.trust > 0, image, (image * target.trust).sum((2, 3), True) / target.trust.sum())
    assert row["lpips"] == pytest.approx(only.lpips * float(lpips(found.image, known, target.trust)), abs=2e-6)


@pytest.mark.slow
def test_a_picture_of_the_generator_is_found_again(model: PortraitGenerator) -> None:
    space = latent_space(model)
    ws, image = drawn(model, 3, 2)
    found = project(space, whole(image), 200)
    error = (found.image - image).square().mean((1, 2, 3)) / 4
    assert (-10 * torch.log10(error)).min() > 35
    assert space.encode is not None
    start = space.encode(image, torch.ones_like(image[:, :1]))
    before, after = (((x - ws) / space.deviation).square().mean((1, 2)) for x in (start, found.ws))
    assert (after < before).all()


def test_photos_are_compared_by_lpips_else_by_the_discriminator_else_by_nothing() -> None:
    torch.manual_seed(0)
    shape = GeneratorShape(64, 6, 5, 2, 256, 8)
    network = Generator(shape).eval()
    natural = natural_generator(network, Discriminator(shape).eval())
    lpips = Lpips("alexnet", LpipsTensors("toy", backbone_tensors("alexnet"), linear_tensors("alexnet")))
    image = network(torch.randn(1, 6)).detach()
    without = latent_space(natural)
    assert (without.features_name, without.encode, without.perceptual) == (JUDGE, None, None)
    assert without.features is not None
    assert [tuple(level.shape[2:]) for level in without.features(image)] == [(32, 32), (16, 16), (8, 8)]
    assert latent_space(natural, lpips).perceptual is lpips
    assert latent_space(natural, lpips).features_name == "LPIPS (alexnet)"
    alone = latent_space(replace(natural, discriminator=None))
    assert (alone.features, alone.features_name) == (None, "none")


def test_a_generator_of_photos_has_no_features_of_an_encoder_and_no_known_faces() -> None:
    natural = natural_generator(Generator(GeneratorShape(64, 6, 5, 2, 256, 8)).eval())
    image = torch.zeros(1, 3, 64, 64)
    with pytest.raises(ValueError, match="expected a generator with an encoder, got one of natural photos"):
        encoder_features(natural, image)
    with pytest.raises(ValueError, match="expected a generator with an encoder, got one of natural photos"):
        starting_latents(natural, whole(image), torch.zeros(4), torch.zeros(1, 2))
