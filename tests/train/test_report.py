"""What a prior is worth is measured on texels that it was not shown, and on held-out portraits alone."""

import numpy as np
import pytest
import torch

from ostec.prior.linear import LinearPrior, PriorSettings
from ostec.train.portraits import PortraitTexels
from ostec.train.report import report_prior

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
