"""The prior against models whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.prior.carry import carry_residual
from ostec.prior.linear import (
    TONE_FACTORS,
    LinearPrior,
    PriorFill,
    fill_from_prior,
    hairline_trust,
    prior_from_tensors,
    prior_weight,
    sample_from_prior,
    solve_coefficients,
    with_tone,
)
from ostec.prior.settings import PriorSettings
from tests.toy import toy_prior

SIZE = 48
TRUE = torch.tensor([0.8, -0.5, 0.3, 1.1, -0.9, 0.4])
EXACT = PriorSettings(tau=1.0, reweightings=0, hidden_match=-1.0)
"""Nothing beside the model's own Bayes rule."""


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    inside = np.zeros((SIZE, SIZE), bool)
    inside[3:-3, 4:-4] = True
    return toy_prior(inside, noise=1e-6)


@pytest.fixture(scope="module")
def truth(prior) -> np.ndarray:
    return prior.image(prior.mean + prior.basis @ TRUE)


def half_seen(prior: LinearPrior) -> np.ndarray:
    weight = prior.inside.astype(np.float32)
    weight[:, SIZE // 2 :] = 0
    return weight


def hidden(prior: LinearPrior, weight: np.ndarray) -> np.ndarray:
    return prior.inside & (weight == 0)


def test_planted_coefficients_are_recovered_from_half_of_the_texels(prior, truth):
    weight = half_seen(prior)
    colour = truth.copy()
    colour[weight == 0] = np.float32([0, 1, 0])
    fill = fill_from_prior(prior, colour, weight, EXACT)
    np.testing.assert_allclose(fill.coefficients, TRUE, atol=2e-3)


def test_the_unseen_is_filled_exactly_where_the_truth_lies_in_the_model(prior, truth):
    weight = half_seen(prior)
    for settings in (EXACT, PriorSettings()):
        fill = fill_from_prior(prior, np.where(weight[..., None] > 0, truth, 0), weight, settings)
        unseen = hidden(prior, weight)
        np.testing.assert_allclose(fill.texture[unseen], truth[unseen], atol=0.01)
        np.testing.assert_allclose(fill.texture[prior.inside], truth[prior.inside], atol=0.01)
        assert fill.explained[prior.inside].min() > 0.9


def test_nothing_seen_gives_the_mean(prior):
    fill = fill_from_prior(prior, np.ones((SIZE, SIZE, 3), np.float32), np.zeros((SIZE, SIZE), np.float32))
    np.testing.assert_allclose(fill.texture, prior.image(prior.mean), atol=1e-6)
    np.testing.assert_array_equal(fill.coefficients, 0)
    assert (fill.explained[prior.inside] == 1).all()


def test_the_solution_is_bayes_rule():
    # One texel, one component: y = m + b z + e, so z = b (y - m) / s / (1 + b b / s) with s = tau sigma^2 / w.
    prior = LinearPrior(
        inside=np.ones((1, 1), bool),
        mean=torch.tensor([[0.5, 0.5, 0.5]]),
        basis=torch.tensor([[[0.2], [0.1], [0.0]]]),
        noise=torch.tensor([0.01]),
        topology_sha256="",
    )
    s = 2.0 * 0.01 / 0.5
    expected = (0.2 * 0.3 + 0.1 * -0.1) / s / (1 + (0.04 + 0.01) / s)
    found = solve_coefficients(prior, torch.tensor([[0.8, 0.4, 0.9]]), torch.tensor([0.5]), tau=2.0)
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_a_tone_beyond_the_models_is_carried_to_what_is_hidden(prior, truth):
    """Half as bright as any face of the model: the hidden half follows, and the coefficients alone would not."""
    dark, weight = truth * np.float32(0.5), half_seen(prior)
    unseen = hidden(prior, weight)
    doubtful = LinearPrior(prior.inside, prior.mean, prior.basis, torch.full_like(prior.noise, 1e-3), "")
    errors = []
    for tone in (0.0, 0.3):
        fill = fill_from_prior(doubtful, dark, weight, PriorSettings(tone=tone, reweightings=0, hidden_match=-1.0))
        errors.append(np.abs(fill.model - dark)[unseen].mean())
        assert fill.coefficients.shape == (prior.basis.shape[-1],)
    assert errors[1] < 0.5 * errors[0]


def test_more_doubt_means_nearer_to_the_mean(prior, truth):
    seen, trust = torch.from_numpy(truth[prior.inside]), torch.from_numpy(half_seen(prior)[prior.inside])
    lengths = [float(solve_coefficients(prior, seen, trust, tau).norm()) for tau in (1.0, 1e4, 1e6, 1e9)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 0.05


def test_an_occluder_loses_its_weight_and_does_not_spoil_the_rest(prior, truth):
    noisy = LinearPrior(prior.inside, prior.mean, prior.basis, torch.full_like(prior.noise, 4e-4), "")
    weight = noisy.inside.astype(np.float32)
    colour = truth + np.random.default_rng(0).normal(0, 0.02, truth.shape).astype(np.float32)
    occluder = np.zeros((SIZE, SIZE), bool)
    occluder[8:24, 8:24] = True
    colour[occluder] = np.float32([0.0, 1.0, 0.0])
    robust = fill_from_prior(noisy, colour, weight)
    plain = fill_from_prior(noisy, colour, weight, PriorSettings(reweightings=0, hidden_match=-1.0))
    middle = np.zeros((SIZE, SIZE), bool)
    middle[11:21, 11:21] = True
    far = noisy.inside.copy()
    far[:30, :30] = False
    assert robust.explained[middle].max() < 0.5
    assert robust.explained[far].mean() > 0.9
    error = [np.abs(fill.model - truth)[noisy.inside].mean() for fill in (robust, plain)]
    assert error[0] < 0.5 * error[1]


def test_explained_is_one_where_nothing_was_seen(prior, truth):
    weight = half_seen(prior)
    colour = np.random.default_rng(0).uniform(size=truth.shape).astype(np.float32)
    fill = fill_from_prior(prior, colour, weight)
    assert (fill.explained[hidden(prior, weight)] == 1).all()
    assert fill.explained.min() >= 0
    assert fill.explained.max() <= 1


def test_what_has_no_weight_has_no_say(prior, truth):
    weight = half_seen(prior)
    first = fill_from_prior(prior, truth, weight)
    other = truth.copy()
    other[weight == 0] = np.float32([0, 1, 0])
    second = fill_from_prior(prior, other, weight)
    for name in PriorFill.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)


def test_everything_stays_in_range_and_inside_the_chart(prior, truth):
    weight = half_seen(prior)
    fill = fill_from_prior(prior, np.ones_like(truth), weight)
    for image in (fill.texture, fill.model):
        assert image.shape == (SIZE, SIZE, 3)
        assert image.min() >= 0
        assert image.max() <= 1
        assert not image[~prior.inside].any()
    assert fill.coefficients.shape == (6,)


def carried(prior: LinearPrior, residual: np.ndarray, weight: np.ndarray, settings: PriorSettings) -> np.ndarray:
    reach = settings.carry_uv * prior.size
    texels = carry_residual(prior.inside, residual[prior.inside], weight[prior.inside], reach, settings.carry_smooth)
    return prior.image(torch.from_numpy(texels))


def test_the_carried_residual_passes_through_what_was_seen(prior):
    weight = half_seen(prior)
    u = np.linspace(0, 1, SIZE)
    residual = np.broadcast_to((0.1 * np.sin(4 * u))[:, None, None], (SIZE, SIZE, 3)).astype(np.float32)
    stiff = np.abs(carried(prior, residual, weight, PriorSettings(carry_smooth=1e-4)) - residual)[weight > 0]
    assert stiff.max() < 1e-3
    default = np.abs(carried(prior, residual, weight, PriorSettings()) - residual)[weight > 0]
    assert default.mean() < 0.005


def test_the_carried_residual_fades_with_the_distance(prior):
    weight = half_seen(prior)
    residual = np.full((SIZE, SIZE, 3), 0.2, np.float32)
    settings = PriorSettings(carry_uv=0.1)
    row = carried(prior, residual, weight, settings)[SIZE // 2, SIZE // 2 : -4, 0]
    assert (np.diff(row) < 0).all()
    assert row[0] > 0.15, "no step at the joint"
    # In the screened Poisson equation it falls by e over the reach: 0.1 * 48 = 4.8 texels.
    assert row[10] / row[5] == pytest.approx(np.exp(-5 / 4.8), abs=0.03)
    wide = carried(prior, residual, weight, PriorSettings(carry_uv=0.3))[SIZE // 2, SIZE // 2 : -4, 0]
    assert (wide > row).all()


def test_no_residual_nothing_carried(prior):
    zero = np.zeros((SIZE, SIZE, 3), np.float32)
    assert not carried(prior, zero, half_seen(prior), PriorSettings()).any()
    one = np.ones((SIZE, SIZE, 3), np.float32)
    assert not carried(prior, one, np.zeros((SIZE, SIZE), np.float32), PriorSettings()).any()


@pytest.mark.parametrize(
    ("colour", "weight"),
    [((SIZE, SIZE), (SIZE, SIZE)), ((SIZE, SIZE, 4), (SIZE, SIZE)), ((8, 8, 3), (8, 8)), ((SIZE, SIZE, 3), (SIZE, 8))],
)
def test_other_sizes_are_refused(prior, colour, weight):
    with pytest.raises(ValueError, match="expected 48 x 48 texels, got"):
        fill_from_prior(prior, np.zeros(colour, np.float32), np.zeros(weight, np.float32))


def test_trust_needs_a_view_and_grows_with_angle_and_distance():
    cosine = np.broadcast_to(np.linspace(-0.2, 1, 16, dtype=np.float32), (16, 16))
    visible = np.ones((16, 16), bool)
    visible[3] = False
    far = np.full((16, 16), 50.0, np.float32)
    weight = prior_weight(cosine, visible, far)
    assert weight.dtype == np.float32
    assert weight.min() == 0
    assert weight.max() == 1
    assert not weight[3].any()
    assert not weight[:, cosine[0] <= 0].any()
    assert (np.diff(weight, axis=1) >= 0).all()
    assert (prior_weight(cosine, visible, far * 0.02) <= weight).all()
    assert prior_weight(cosine, visible, far * 0.02).sum() < weight.sum()


def test_trust_keeps_away_from_hair_on_the_forehead_and_from_nothing_else():
    weight = np.ones((128, 128), np.float32)
    weight[64:] = 0  # the lower half is no forehead
    weight[:, :20] = np.linspace(0, 1, 20)  # falls slowly, as towards a silhouette
    np.testing.assert_array_equal(hairline_trust(weight, PriorSettings()), 1)
    weight[:6] = 0  # a fringe: taken out at once
    found = hairline_trust(weight, PriorSettings())[:, 64]
    assert found.dtype == np.float32
    assert not found[3:8].any()
    # Row 12 is 7 texels below the fringe: (7 / 128 - 0.016) / (0.094 - 0.016).
    assert found[12] == pytest.approx(0.496, abs=1e-3)
    assert (found[18:] == 1).all()


def tensors_of(prior: LinearPrior) -> dict[str, torch.Tensor]:
    return {
        "inside": torch.from_numpy(prior.inside.astype(np.uint8)),
        "mean": prior.mean.half(),
        "basis": prior.basis.half(),
        "noise": prior.noise,
    }


def test_a_prior_is_read_back_from_its_tensors(prior):
    found = prior_from_tensors(tensors_of(prior), "abc", torch.device("cpu"))
    assert found.topology_sha256 == "abc"
    assert found.size == SIZE
    assert np.array_equal(found.inside, prior.inside)
    assert found.basis.dtype == found.mean.dtype == torch.float32
    torch.testing.assert_close(found.basis, prior.basis, atol=1e-3, rtol=0)


@pytest.mark.parametrize("missing", ["inside", "mean", "basis", "noise"])
def test_a_missing_tensor_is_a_weights_error(prior, missing):
    tensors = tensors_of(prior)
    del tensors[missing]
    with pytest.raises(WeightsError, match=f"no tensor '{missing}'"):
        prior_from_tensors(tensors, "", torch.device("cpu"))


@pytest.mark.parametrize("short", ["mean", "basis", "noise", "inside"])
def test_tensors_that_do_not_fit_the_chart_are_a_weights_error(prior, short):
    tensors = tensors_of(prior)
    tensors[short] = tensors[short][5:]
    with pytest.raises(WeightsError, match="do not fit"):
        prior_from_tensors(tensors, "", torch.device("cpu"))


@pytest.mark.parametrize("name", ["mean", "basis", "noise"])
def test_tensors_that_are_no_numbers_or_no_model_are_a_weights_error(prior, name):
    tensors = tensors_of(prior)
    with pytest.raises(WeightsError, match="no finite number"):
        prior_from_tensors({**tensors, name: tensors[name] * torch.nan}, "", torch.device("cpu"))
    flat = {"inside": tensors["inside"].reshape(-1), "basis": tensors["basis"][..., 0]}
    for changed in flat:
        with pytest.raises(WeightsError, match="do not fit"):
            prior_from_tensors({**tensors, changed: flat[changed]}, "", torch.device("cpu"))


def test_samples_have_the_posteriors_mean_and_deviation(prior, truth):
    loud = replace(prior, noise=torch.full_like(prior.noise, 0.05))
    trust = 0.05 * half_seen(prior)  # so little that hardly a residual is carried
    size = prior.basis.shape[-1] + TONE_FACTORS
    noise = np.random.default_rng(0).standard_normal((200, size), np.float32)
    made = sample_from_prior(loud, truth, trust, np.concatenate([noise, -noise]))
    zero = sample_from_prior(loud, truth, trust, np.zeros((1, size), np.float32))[0]
    basis = with_tone(loud, PriorSettings().tone).basis
    precision = torch.from_numpy(trust[prior.inside]) / (0.05 * PriorSettings().tau)
    covariance = torch.linalg.inv(torch.einsum("tck,t,tcl->kl", basis, precision, basis) + torch.eye(size))
    wanted = prior.image(torch.einsum("tck,kl,tcl->tc", basis, covariance, basis).sqrt())[prior.inside]
    free = ((made > 0) & (made < 1)).all(0)[prior.inside]  # nothing was clipped
    assert free.mean() > 0.3
    np.testing.assert_allclose(made.mean(0)[prior.inside][free], zero[prior.inside][free], atol=2e-3)
    ratio = made.std(0)[prior.inside][free] / wanted[free]
    assert 0.9 < np.median(ratio) < 1.1
    assert 0.75 < np.quantile(ratio, 0.05) < np.quantile(ratio, 0.95) < 1.25


def test_samples_agree_with_what_was_seen_and_differ_elsewhere(prior, truth):
    weight = half_seen(prior)
    prior = replace(prior, noise=torch.full_like(prior.noise, 1e-2))
    fill = fill_from_prior(prior, truth, weight)
    noise = np.random.default_rng(1).standard_normal((6, prior.basis.shape[-1] + TONE_FACTORS), np.float32)
    made = sample_from_prior(prior, truth, fill.trust, noise)
    seen, unseen = (weight > 0.9) & prior.inside, hidden(prior, weight)
    assert made.std(0)[seen].mean() < 0.3 * made.std(0)[unseen].mean()
    again = sample_from_prior(prior, truth, fill.trust, noise[:2])
    np.testing.assert_allclose(made[:2], again, atol=1e-5)
