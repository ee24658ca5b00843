import numpy as np
import pytest
import torch

from ostec.core.types import BoolArray
from ostec.light.decoder import albedo_decoder, latent_of
from ostec.light.estimate import AlbedoModel, FittedLight
from ostec.render.colour import from_linear

SIZE, LARGE, BROAD = 16, 32, 0.05


def disc(size: int) -> BoolArray:
    y, x = np.mgrid[:size, :size] + 0.5
    return np.asarray(np.hypot(x / size - 0.5, y / size - 0.5) < 0.45)


def model() -> AlbedoModel:
    inside = disc(SIZE)
    count = int(inside.sum())
    basis = np.zeros((count, 3, 2), np.float32)
    basis[:, 0, 0] = 0.2
    basis[:, :, 1] = np.linspace(-0.3, 0.3, count)[:, None]
    return AlbedoModel(inside, np.full((count, 3), -1.0, np.float32), basis, np.full(count, 0.01, np.float32))


def probable() -> np.ndarray:
    """Grey with one dark dot."""
    picture = np.full((LARGE, LARGE, 3), 0.6, np.float32)
    picture[15:17, 20:22] = 0.2
    return picture


def test_the_map_has_the_models_colour_and_the_priors_detail() -> None:
    decoder = albedo_decoder(model(), probable(), disc(LARGE), BROAD)
    latent = np.array([0.3, 0.3, 0.3, 0, 0], np.float32)
    made = decoder.texture(latent)
    assert made[5, 16] == pytest.approx(from_linear(np.exp(np.full(3, -0.7)) - 0.004), abs=0.02)
    assert made[15, 20].mean() < made[15, 10].mean() - 0.2


def test_components_act_by_channel_and_place() -> None:
    decoder = albedo_decoder(model(), probable(), disc(LARGE), BROAD)
    none = np.zeros(5, np.float32)
    red, slope = none.copy(), none.copy()
    red[3], slope[4] = 1, 1
    change = decoder.texture(red) - decoder.texture(none)
    assert change[10, 10, 0] > 0.03
    assert np.abs(change[10, 10, 1:]).max() < 1e-6
    change = (decoder.texture(slope) - decoder.texture(none))[..., 1]
    assert change[4, 16] < -0.02 < 0.02 < change[28, 16]


def test_beyond_the_chart_its_border_is_repeated() -> None:
    inside = disc(LARGE)
    made = albedo_decoder(model(), probable(), inside, BROAD).texture(np.zeros(5, np.float32))
    assert made[~inside].min() >= made[inside].min() - 1e-6


def test_any_tone_is_as_likely_as_another() -> None:
    decoder = albedo_decoder(model(), probable(), disc(LARGE), BROAD)
    assert float(decoder.unlikely(torch.tensor([5.0, -3, 2, 0, 0]))) == 0
    assert float(decoder.unlikely(torch.tensor([0.0, 0, 0, 3, 4]))) == 25


def test_the_closed_forms_solution_is_a_latent() -> None:
    light = FittedLight(
        np.ones((2, 3)),
        np.array([1.0, 2, 3]),
        np.array([4.0, 5]),
        np.zeros((1, 3), np.float32),
        np.zeros(1, np.float32),
    )
    assert latent_of(light).tolist() == [1, 2, 3, 4, 5]
