from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.morphable import ModelShape
from ostec.core.types import FloatArray
from ostec.fit.rgb import IBUG68, FaceState, FaceTarget, LinearFace, RgbFitter
from ostec.fit.settings import RgbFitSettings
from ostec.render.geometry import rotation_from_pose

SIDE, GRID = 64, 23
HIGH = 1.0


class Stripes:
    """A smooth texture whose brightness is the one latent."""

    def __init__(self) -> None:
        v, u = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 48), indexing="ij")
        waves = np.stack([np.sin(9 * u) * np.cos(7 * v), np.sin(8 * v + 1), np.cos(6 * u + 4 * v)], axis=-1)
        self.map = torch.tensor(0.3 + 0.15 * waves, dtype=torch.float32)

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return (self.map * latent.exp())[None]

    def unlikely(self, latent: torch.Tensor) -> torch.Tensor:
        return (latent**2).sum()


def dome() -> LinearFace:
    """A dome of 529 vertices; one identity widens it, one expression lowers its lower half."""
    y, x = np.meshgrid(np.linspace(1, -1, GRID), np.linspace(-1, 1, GRID), indexing="ij")
    base = np.stack([60 * x, 70 * y, 40 - 25 * (x**2 + y**2)], axis=-1).reshape(-1, 3).astype(np.float32)
    k = np.arange(GRID * GRID).reshape(GRID, GRID)
    a, b, c, d = (part.ravel() for part in (k[:-1, :-1], k[1:, :-1], k[1:, 1:], k[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    wider = base * np.array([0.06, 0, 0], np.float32)
    lower = np.where(base[:, 1:2] < 0, base * np.array([0, 0.12, 0], np.float32), 0)
    uv = np.stack([(x + 1) / 2, (y + 1) / 2], axis=-1).reshape(-1, 2).astype(np.float32)
    at = ModelShape(np.zeros(1, np.float32), np.zeros(1, np.float32))
    return LinearFace(base, at, wider[..., None], lower[..., None], triangles, uv, np.ones(len(base), np.float32))


def state(**changes: object) -> FaceState:
    light = np.zeros((9, 3), np.float32)
    light[0], light[1] = 1.0, 0.2
    usual = FaceState(
        np.zeros(1, np.float32),
        np.zeros(1, np.float32),
        rotation_from_pose(3, 5),
        0.4,
        np.array([SIDE / 2, SIDE / 2 - 1.5]),
        light,
        np.zeros(1, np.float32),
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def target_of(truth: FaceState) -> FaceTarget:
    blank = FaceTarget(
        np.zeros((SIDE, SIDE, 3), np.float32), np.ones((SIDE, SIDE), np.float32), np.zeros((468, 2), np.float32)
    )
    drawn = RgbFitter(dome(), blank, Stripes(), (0, HIGH)).draw(truth)
    marks = drawn.points[:468].numpy()
    return FaceTarget(drawn.picture.numpy(), drawn.hit[..., 0].numpy().astype(np.float32), marks)


def test_the_fit_finds_what_drew_the_picture() -> None:
    truth = state(
        identity=np.array([0.8], np.float32),
        expression=np.array([0.5], np.float32),
        rotation=rotation_from_pose(4, 7),
        centre=np.array([SIDE / 2 + 1.0, SIDE / 2 - 1]),
        latent=np.array([0.15], np.float32),
    )
    settings = RgbFitSettings(steps=70, rate=0.025, shape=0, expression=0, texture=0, identity=0, slow=0.3)
    found = RgbFitter(dome(), target_of(truth), Stripes(), (0, HIGH), settings).fit(state())
    assert found.losses["total"][-1] < 0.1 * found.losses["total"][0]
    assert found.state.identity == pytest.approx(truth.identity, abs=0.25)
    assert found.state.expression == pytest.approx(truth.expression, abs=0.3)
    assert found.state.centre == pytest.approx(truth.centre, abs=0.5)
    assert np.degrees(np.arccos((np.trace(found.state.rotation.T @ truth.rotation) - 1) / 2)) < 1.5


def test_colours_alone_move_the_shape_by_their_gradient() -> None:
    """Autograd agrees with differences: barycentric coordinates carry the gradient of the picture's inside."""
    truth = state(identity=np.array([0.5], np.float32))
    settings = RgbFitSettings(steps=1, landmarks=0, identity=0, shape=0)
    target = target_of(truth)
    inner = np.zeros_like(target.weight)
    inner[18:46, 18:46] = 1
    fitter = RgbFitter(dome(), replace(target, weight=inner), Stripes(), (0, HIGH), settings)

    def loss(value: float) -> float:
        return fitter.fit(state(identity=np.array([value], np.float32))).losses["colour"][0]

    def moved(value: float) -> float:
        return float(fitter.fit(state(identity=np.array([value], np.float32))).state.identity[0]) - value

    assert loss(0.5) == pytest.approx(0, abs=1e-6)
    assert loss(0.3) > loss(0.4) > loss(0.5) < loss(0.6) < loss(0.7)
    assert moved(0.2) > 0 > moved(0.8)


def test_a_hidden_texel_has_no_say() -> None:
    truth = state()
    target = target_of(truth)
    spoilt = target.picture.copy()
    spoilt[:20] = 1.0
    weight = target.weight.copy()
    weight[:20] = 0
    fitter = RgbFitter(
        dome(), replace(target, picture=spoilt, weight=weight), Stripes(), (0, HIGH), RgbFitSettings(steps=1)
    )
    assert fitter.fit(truth).losses["colour"][0] == pytest.approx(0, abs=1e-6)


def test_the_published_look_up_takes_whole_texels() -> None:
    colours = set()
    for nearest in (False, True):
        drawn = RgbFitter(dome(), target_of(state()), Few(), (0, HIGH), nearest=nearest).draw(
            state(harmonics=np.eye(9, 3, dtype=np.float32) * 0 + np.eye(9, 1, dtype=np.float32))
        )
        colours.add(len(np.unique(drawn.picture[drawn.hit[..., 0]].round(decimals=3)[:, 0])))
    assert min(colours) == 2
    assert max(colours) > 10


class Few(Stripes):
    """Two columns of texels."""

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[[[0.1] * 3, [0.6] * 3]]]) * latent.exp()


def test_losses_are_those_that_are_published() -> None:
    """A plain twin of the formula, on an asymmetric state."""
    truth, start = state(), state(identity=np.array([1.5], np.float32), expression=np.array([0.7], np.float32))
    light = start.harmonics.copy()
    light[1] = (0.1, 0.2, 0.6)
    start = replace(start, harmonics=light, latent=np.array([0.3], np.float32))
    target = target_of(truth)
    fitter = RgbFitter(dome(), target, Stripes(), (0, HIGH), RgbFitSettings(steps=1))
    first = {name: values[0] for name, values in fitter.fit(start).losses.items()}
    drawn = fitter.draw(start)
    both = target.weight * drawn.hit[..., 0].numpy()
    error = np.abs(drawn.picture.numpy() - target.picture).sum(-1)
    away = (drawn.points.numpy()[list(IBUG68)] - target.landmarks[list(IBUG68)]) * 224 / SIDE
    weights = np.array([20 if k in (28, 29, 30, *range(60, 68)) else 1 for k in range(68)])
    tint = light - light.mean(1, keepdims=True)
    expected = {
        "colour": 1.6 * (error * both).sum() / both.sum(),
        "landmarks": 2e-3 * (weights * (away**2).sum(1)).mean(),
        "shape": 2e-4 * 1.5**2,
        "expression": 1.6e-3 * (0.7 / 0.35) ** 2,
        "texture": 2e-4 * 0.3**2,
        "grey_light": 10 * (tint**2).mean(),
    }
    assert first == pytest.approx({**expected, "total": sum(expected.values())}, rel=1e-4)


def test_equal_starts_give_equal_fits() -> None:
    target = target_of(state(identity=np.array([0.5], np.float32)))

    def once() -> FloatArray:
        return RgbFitter(dome(), target, Stripes(), (0, HIGH), RgbFitSettings(steps=5)).fit(state()).state.harmonics

    assert np.array_equal(once(), once())
