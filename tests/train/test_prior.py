"""Data of a known linear model, with texels missing and texels that are something else, is recovered."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from ostec.train.prior import PriorModel, PriorTrainSettings, expect, fill_unseen, fit_prior

SIZE, FACES, COMPONENTS = 24, 400, 4
NOISE = 0.02
SETTINGS = PriorTrainSettings(components=COMPONENTS, iterations=12, size=SIZE, ridge=1e-3)


@dataclass(frozen=True)
class Planted:
    """N faces of T texels and what they were made of."""

    colour: torch.Tensor
    weight: torch.Tensor
    inside: np.ndarray
    mean: np.ndarray
    basis: np.ndarray
    clean: np.ndarray
    """[N, T, 3] without noise and outliers."""


def plant(outliers: bool = False, seed: int = 3) -> Planted:
    """Smooth components on a round chart; each face hides a strip of a third, outliers are a patch of blue."""
    rng = np.random.default_rng(seed)
    y, x = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.23
    waves = [np.sin(2 * np.pi * (a * x + b * y)) for a, b in ((1, 0), (0, 1), (1, 1), (1, -1))]
    basis = np.stack([w[inside][:, None] * rng.normal(0, 0.06, 3) for w in waves], axis=-1)  # [T, 3, K]
    mean = np.stack([0.6 + 0.1 * x, 0.5 - 0.1 * y, 0.4 + 0 * x], axis=-1)[inside]
    z = rng.normal(size=(FACES, COMPONENTS))
    clean = mean + np.einsum("nk,tck->ntc", z, basis)
    colour = clean + rng.normal(0, NOISE, clean.shape)
    weight = np.ones(clean.shape[:2])
    start = rng.uniform(0, 2 / 3, FACES)
    across = np.where(rng.random(FACES)[:, None] < 0.5, x[inside], y[inside])
    hidden = (across > start[:, None]) & (across < start[:, None] + 1 / 3)
    weight[hidden] = 0
    if outliers:
        centre = rng.uniform(0.25, 0.75, (FACES // 5, 2, 1))
        patch = (x[inside] - centre[:, 0]) ** 2 + (y[inside] - centre[:, 1]) ** 2 < 0.15**2
        colour[: FACES // 5][patch] = [0.05, 0.1, 0.9]
    return Planted(
        torch.from_numpy(colour.astype(np.float32)),
        torch.from_numpy(weight.astype(np.float32)),
        inside,
        mean,
        basis,
        clean,
    )


def angles(found: torch.Tensor, true: np.ndarray) -> np.ndarray:
    """Principal angles between the spaces that two bases span, in degrees."""
    a = np.linalg.qr(found.numpy().reshape(-1, found.shape[-1]).astype(np.float64))[0]
    b = np.linalg.qr(true.reshape(-1, true.shape[-1]))[0]
    return np.degrees(np.arccos(np.clip(np.linalg.svd(a.T @ b, compute_uv=False), -1, 1)))


def error(model: PriorModel, data: Planted, faces: slice) -> float:
    """Root mean square by which the hidden texels are missed."""
    z, _ = expect(model, data.colour[faces], data.weight[faces])
    guess = (model.mean + torch.einsum("nk,tck->ntc", z, model.basis)).numpy()
    hidden = data.weight[faces].numpy() == 0
    return float(np.sqrt(((guess - data.clean[faces])[hidden] ** 2).mean()))


@pytest.fixture(scope="module")
def data() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def model(data: Planted) -> PriorModel:
    return fit_prior(data.colour, data.weight, data.inside, SETTINGS)


def test_shapes(model: PriorModel, data: Planted) -> None:
    texels = int(data.inside.sum())
    assert model.mean.shape == (texels, 3)
    assert model.basis.shape == (texels, 3, COMPONENTS)
    assert model.noise.shape == (texels,)
    assert {t.dtype for t in (model.mean, model.basis, model.noise)} == {torch.float32}


def test_planted_space_is_found_though_a_third_of_every_face_is_missing(model: PriorModel, data: Planted) -> None:
    assert angles(model.basis, data.basis).max() < 4
    assert error(model, data, slice(None)) < 0.5 * NOISE


def test_noise_is_found(model: PriorModel, data: Planted) -> None:
    assert float(model.noise.mean().sqrt()) == pytest.approx(NOISE, rel=0.1)  # suspicion takes 5 % off
    trusting = fit_prior(data.colour, data.weight, data.inside, replace(SETTINGS, trusting_iterations=99))
    assert float(trusting.noise.mean().sqrt()) == pytest.approx(NOISE, rel=0.02)


def test_patches_of_something_else_do_little_harm() -> None:
    data = plant(outliers=True)
    robust = fit_prior(data.colour, data.weight, data.inside, SETTINGS)
    trusting = fit_prior(data.colour, data.weight, data.inside, replace(SETTINGS, trusting_iterations=99))
    spoilt = slice(FACES // 5, None)  # the faces without patches: is the model one of faces?
    assert angles(robust.basis, data.basis).max() < 10
    assert angles(trusting.basis, data.basis).max() > 2 * angles(robust.basis, data.basis).max()
    assert error(robust, data, spoilt) < 0.5 * error(trusting, data, spoilt)


def test_same_seed_same_model(model: PriorModel, data: Planted) -> None:
    again = fit_prior(data.colour, data.weight, data.inside, SETTINGS)
    assert torch.equal(again.mean, model.mean)
    assert torch.equal(again.basis, model.basis)
    assert torch.equal(again.noise, model.noise)


def test_hidden_texels_carry_no_weight(data: Planted) -> None:
    few = replace(SETTINGS, iterations=5)
    colour = data.colour.clone()
    colour[data.weight == 0] = torch.tensor([9.0, -9.0, 9.0])
    one = fit_prior(data.colour, data.weight, data.inside, few)
    other = fit_prior(colour, data.weight, data.inside, few)
    for a, b in ((one.mean, other.mean), (one.basis, other.basis), (one.noise, other.noise)):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_texel_that_nobody_saw_is_as_its_neighbour(data: Planted) -> None:
    index = np.full(data.inside.shape, -1)
    index[data.inside] = np.arange(data.inside.sum())
    texel, around = index[9, 14], [index[8, 14], index[10, 14], index[9, 13], index[9, 15]]
    weight = data.weight.clone()
    weight[:, texel] = 0
    model = fit_prior(data.colour, weight, data.inside, replace(SETTINGS, iterations=5))
    for values in (model.mean, model.basis, model.noise):
        assert torch.isfinite(values).all()
    assert sum(torch.equal(model.basis[texel], model.basis[i]) for i in around) == 1
    (same,) = (i for i in around if torch.equal(model.mean[texel], model.mean[i]))
    assert model.noise[texel] == model.noise[same]


def test_fill_unseen_by_hand() -> None:
    # A chart of 1 x 4 texels in a 2 x 4 picture; the second and third were hardly seen.
    inside = np.array([[False] * 4, [True] * 4])
    model = PriorModel(
        mean=torch.tensor([[1.0] * 3, [2.0] * 3, [3.0] * 3, [4.0] * 3]),
        basis=torch.arange(12.0).reshape(4, 3, 1),
        noise=torch.tensor([0.1, 0.2, 0.3, 0.4]),
    )
    filled = fill_unseen(model, torch.tensor([10.0, 9.9, 0.0, 50.0]), inside, 10.0)
    assert filled.mean[:, 0].tolist() == [1, 1, 4, 4]
    np.testing.assert_allclose(filled.noise.numpy(), [0.1, 0.1, 0.4, 0.4])
    assert filled.basis[2].ravel().tolist() == [9, 10, 11]
    assert fill_unseen(model, torch.zeros(4), inside, 10.0) is model


def test_every_round_is_reported(data: Planted) -> None:
    rounds: list[int] = []
    noises: list[float] = []

    def note(done: int, model: PriorModel) -> None:
        rounds.append(done)
        noises.append(float(model.noise.mean()))

    fit_prior(data.colour, data.weight, data.inside, replace(SETTINGS, trusting_iterations=99), note)
    assert rounds == list(range(1, 13))
    assert noises[-1] < noises[0]


def test_posterior_by_hand() -> None:
    # One texel, one component along red: C = 1 / (1 + w b^2 / s), m = C w b (y - mu) / s.
    model = PriorModel(
        mean=torch.tensor([[0.5, 0.5, 0.5]]), basis=torch.tensor([[[0.2], [0.0], [0.0]]]), noise=torch.tensor([0.01])
    )
    z, cov = expect(model, torch.tensor([[[0.7, 0.1, 0.9]], [[0.7, 0.1, 0.9]]]), torch.tensor([[1.0], [0.0]]))
    np.testing.assert_allclose(cov.numpy().ravel(), [1 / 5, 1], rtol=1e-6)
    np.testing.assert_allclose(z.numpy().ravel(), [4 / 5, 0], rtol=1e-6)
