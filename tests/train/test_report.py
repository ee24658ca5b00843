"""What a prior or a generator is worth is measured on what it was not shown, and on held-out portraits alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.nets.checkpoint import PortraitGenerator
from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.prior.linear import LinearPrior
from ostec.prior.settings import PriorSettings
from ostec.train.portraits import PortraitTexels
from ostec.train.renders import PoseBank, TrainingTextures
from ostec.train.report import report_generator, report_prior
from tests.toy import toy_topology
from tests.train.toy_views import FRAME, SIDE, TEXELS, toy_bank, toy_textures

SIZE, FACES = 32, 6
SETTINGS = PriorSettings(tau=1.0)
KINDS = {"prior", "mean_face", "median_colour", "mirrored"}


def _waves() -> np.ndarray:
    """[S, S, 2]: one component that both halves share, and one that turns its sign from half to half."""
    x = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    y = x[:, None]
    return np.stack(np.broadcast_arrays(np.cos(2 * np.pi * y) + 0 * x, 2 * x + 0 * y), axis=-1)


@pytest.fixture(scope="module")
def inside() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    return x**2 + y**2 < (0.47 * SIZE) ** 2


@pytest.fixture(scope="module")
def prior(inside: np.ndarray) -> LinearPrior:
    basis = np.repeat(0.1 * _waves()[inside][:, None], 3, axis=1)  # [T, 3, 2]
    texels = int(inside.sum())
    return LinearPrior(
        inside,
        torch.full((texels, 3), 0.5),
        torch.from_numpy(basis.astype(np.float32)),
        torch.full((texels,), 1e-4),
        "00",
    )


def portraits(prior: LinearPrior, held_out: list[bool], spoilt: bool = False) -> PortraitTexels:
    """Faces of the model itself; ``spoilt``: those that were trained on are noise."""
    rng = np.random.default_rng(5)
    z = torch.from_numpy(rng.normal(size=(FACES, 2)).astype(np.float32))
    colour = (prior.mean + torch.einsum("nk,tck->ntc", z, prior.basis)).numpy()
    if spoilt:
        trained = ~np.array(held_out)
        colour[trained] = rng.random(colour[trained].shape)
    return PortraitTexels(
        tuple(f"us_{i}" for i in range(FACES)),
        np.uint8(np.clip(np.round(colour * 255), 0, 255)),
        np.ones(colour.shape[:2], np.float16),
        np.array(held_out),
        prior.inside,
        np.full(FACES, np.inf, np.float32),
    )


def test_model_explains_its_own_faces_and_the_baselines_do_not(prior: LinearPrior) -> None:
    figures = report_prior(prior, portraits(prior, [True] * FACES), SETTINGS)
    assert set(figures) == {"reconstruction"} | {f"hidden_half_{kind}" for kind in KINDS}
    assert figures["reconstruction"] > 45
    others = [figures[f"hidden_half_{kind}"] for kind in KINDS - {"prior"}]
    assert figures["hidden_half_prior"] > 35
    assert figures["hidden_half_prior"] > max(others) + 10


def test_only_held_out_portraits_count(prior: LinearPrior) -> None:
    held_out = [True, False, False, True, False, False]
    clean = report_prior(prior, portraits(prior, held_out), SETTINGS)
    assert report_prior(prior, portraits(prior, held_out, spoilt=True), SETTINGS) == clean


def test_nobody_held_out_gives_no_figures(prior: LinearPrior) -> None:
    assert report_prior(prior, portraits(prior, [False] * FACES), SETTINGS) == {}


def test_mean_face_by_hand(prior: LinearPrior) -> None:
    # Every texel is 51 / 255 = 0.2 away from the mean 0.5: 20 log10(1 / 0.2) = 13.979 dB.
    data = portraits(prior, [True, *[False] * (FACES - 1)])
    data.colour[0] = np.uint8(178.5 - 0.0)  # 178 / 255 = 0.69804, that is 0.19804 away: 14.065 dB
    figures = report_prior(prior, data, SETTINGS)
    assert figures["hidden_half_mean_face"] == pytest.approx(-20 * np.log10(178 / 255 - 0.5), abs=0.01)
    assert figures["hidden_half_median_colour"] == 100  # as good as is told


def test_texels_without_trust_are_no_truth(prior: LinearPrior) -> None:
    data = portraits(prior, [True, *[False] * (FACES - 1)])
    clean = report_prior(prior, data, SETTINGS)
    hair = np.arange(data.colour.shape[1]) % 7 == 0
    data.weight[0, hair] = 0
    data.colour[0, hair] = 0
    for name, value in report_prior(prior, data, SETTINGS).items():
        assert value == pytest.approx(clean[name], abs=3)


@pytest.fixture(scope="module")
def bank() -> PoseBank:
    return toy_bank(toy_topology())


@pytest.fixture(scope="module")
def textures() -> TrainingTextures:
    """Even faces of 0.6, 0.6, 0.2, 0.4, guessed darker by 26 / 255, and photos that hide everything."""
    textures = toy_textures(toy_topology(), count=4)
    level = torch.tensor([153, 153, 51, 102], dtype=torch.uint8)
    return replace(
        textures,
        colour=level[:, None, None, None].expand(4, 3, TEXELS, TEXELS).contiguous(),
        patterns=torch.zeros_like(textures.patterns),
        guess=(level - 26)[:, None, None, None, None].expand(4, 2, 3, 16, 16).contiguous(),
    )


def plain_generator(grey: float, ground: float = 0.5) -> PortraitGenerator:
    """Draws ``grey`` in [-1, 1], whatever it is shown."""
    shape = GeneratorShape(SIDE, z_dim=4, w_dim=4, mapping_layers=1, channel_base=64, channel_max=8)
    generator = Generator(shape).eval().requires_grad_(False)
    generator.synthesis.register_forward_hook(lambda _module, _inputs, picture: torch.full_like(picture, grey))
    encoder = Encoder(shape, EncoderShape(64, 8, 8)).eval().requires_grad_(False)
    latent = torch.zeros(shape.num_ws, 4)
    return PortraitGenerator(generator, encoder, None, replace(FRAME, ground=ground), latent, latent)


def test_generator_and_prior_by_hand(textures: TrainingTextures, bank: PoseBank, prior: LinearPrior) -> None:
    # Drawn 0.6 + 0.05: 26.02 dB. Guessed darker by 26 / 255: 19.83 dB; the mean face is 0.5: 20 dB; both a little
    # more, for at the rim there is ground, which is as bright as these faces.
    figures = report_generator(plain_generator(0.3, 0.6), textures, torch.tensor([0, 1]), bank, prior, views=40)
    assert figures["hidden_view_generator"] == pytest.approx(26.02, abs=0.01)
    assert 19.83 < figures["hidden_view_prior"] < 20.3
    assert 20 < figures["hidden_view_mean_face"] < 20.5
    assert len(figures) == 3


def test_portraits_count_alike(textures: TrainingTextures, bank: PoseBank, prior: LinearPrior) -> None:
    # 0.7 is 0.1 away from the first (20 dB), 0.5 from the third (6.02 dB): the mean is that of decibels.
    model = plain_generator(0.4)
    found = report_generator(model, textures, torch.tensor([0, 2]), bank, prior, views=60)
    assert found["hidden_view_generator"] == pytest.approx((20 + 6.02) / 2, abs=0.2)
    # What is drawn too bright is shown as white: 0.4 from 0.6.
    model = plain_generator(7.0, 0.6)
    found = report_generator(model, textures, torch.tensor([0]), bank, prior, views=20)
    assert found["hidden_view_generator"] == pytest.approx(-20 * np.log10(0.4), abs=0.01)


def test_only_the_given_portraits_are_looked_at(textures: TrainingTextures, bank: PoseBank, prior: LinearPrior) -> None:
    torch.manual_seed(0)
    model, rows = plain_generator(0.3), torch.tensor([1, 3])
    first = report_generator(model, textures, rows, bank, prior, views=20)
    colour = textures.colour.clone()
    colour[[0, 2]] = 255
    assert report_generator(model, replace(textures, colour=colour), rows, bank, prior, views=20) == first
    colour[3] = 255
    assert report_generator(model, replace(textures, colour=colour), rows, bank, prior, views=20) != first


def test_pixels_that_no_portrait_showed_are_not_scored(
    textures: TrainingTextures, bank: PoseBank, prior: LinearPrior
) -> None:
    unseen = replace(textures, shown=torch.zeros_like(textures.shown))
    assert report_generator(plain_generator(0.3), unseen, torch.tensor([0]), bank, prior, views=10) == {}


def test_generator_without_held_out_portraits_has_no_figures(
    textures: TrainingTextures, bank: PoseBank, prior: LinearPrior
) -> None:
    assert report_generator(plain_generator(0.3), textures, torch.zeros(0, dtype=torch.long), bank, prior) == {}
