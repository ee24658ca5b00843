import numpy as np
import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.core.types import DoubleArray, FloatArray
from ostec.project.edit import (
    ATTRIBUTES,
    LatentEdits,
    edits_from_tensors,
    edits_to_tensors,
    features,
    fit_edits,
    wanted,
)

WIDTH, COUNT = 24, 4000
A = len(ATTRIBUTES)


def world(seed: int = 0) -> tuple[FloatArray, DoubleArray, DoubleArray]:
    """Latents that are a polynomial of the attributes and a face of their own; its coefficients [P, W]."""
    random = np.random.default_rng(seed)
    attributes = random.normal(size=(COUNT, A)) * np.linspace(0.1, 9, A) + 1
    scaled = (attributes - attributes.mean(0)) / attributes.std(0)
    truth = random.normal(size=(A + 5, WIDTH))
    latents = features(scaled) @ truth + random.normal(size=(COUNT, WIDTH))
    return latents.astype(np.float32), attributes, truth


def test_regression_finds_how_latents_move() -> None:
    latents, attributes, truth = world()
    edits = fit_edits(latents, attributes)
    before = attributes[0]
    after = wanted(before, {"yaw_deg": before[0] - 0.2, "light3": 0.5})
    scaled = [(a - attributes.mean(0)) / attributes.std(0) for a in (before, after)]
    expected = (features(scaled[1]) - features(scaled[0])) @ truth
    shift = edits.shift(np.zeros((12, WIDTH), np.float32), before, after)
    assert shift.shape == (12, WIDTH)
    assert np.array_equal(shift[0], shift[11])
    error = np.linalg.norm(shift[0] - expected) / np.linalg.norm(expected)
    assert error < 0.1


def test_linear_edits_are_the_conditional_gaussians() -> None:
    """A plain twin: S_wa inv(S_aa) (a' - a), where nothing is curved."""
    random = np.random.default_rng(1)
    mix = random.normal(size=(A, A)) + 6 * np.eye(A)
    attributes = random.normal(size=(COUNT, A)) @ mix
    latents = (attributes @ random.normal(size=(A, WIDTH)) + random.normal(size=(COUNT, WIDTH))).astype(np.float32)
    joint = np.cov(np.concatenate([latents, attributes], axis=1).T)
    change = np.zeros(A)
    change[ATTRIBUTES.index("smile")] = 1.5
    expected = joint[:WIDTH, WIDTH:] @ np.linalg.solve(joint[WIDTH:, WIDTH:], change)
    found = fit_edits(latents, attributes).shift(latents[:4], attributes[5], attributes[5] + change)[0]
    assert np.linalg.norm(found - expected) < 0.15 * np.linalg.norm(expected)


def test_there_and_back_is_nothing() -> None:
    edits = fit_edits(*world()[:2])
    _, attributes, _ = world()
    there, back = attributes[1], wanted(attributes[1], {"yaw_deg": 3.0, "smile": 0.0})
    some = np.zeros((3, WIDTH), np.float32)
    assert edits.shift(some, there, back) == pytest.approx(-edits.shift(some, back, there), abs=1e-3)
    assert not edits.shift(some, there, there).any()


def test_in_a_generator_of_1024_px_the_published_rows_move() -> None:
    edits = fit_edits(*world()[:2])
    before = np.zeros(A)

    def rows(**asked: float) -> list[int]:
        moved = edits.shift(np.zeros((18, WIDTH), np.float32), before, wanted(before, asked))
        return np.flatnonzero(np.abs(moved).max(1)).tolist()

    assert rows(yaw_deg=10) == rows(pitch_deg=10) == [0, 1, 2, 3]
    assert rows(light1=0.5) == [7, 8, 9, 10, 11]
    assert rows(smile=1) == list(range(18))


def test_a_file_gives_the_edits_back_and_others_are_refused() -> None:
    edits = fit_edits(*world()[:2])
    tensors = edits_to_tensors(edits)
    again = edits_from_tensors(tensors, WIDTH, "a.safetensors")
    assert isinstance(again, LatentEdits)
    assert again.coefficients == pytest.approx(edits.coefficients, rel=1e-5)
    with pytest.raises(
        WeightsError, match=r"a\.safetensors holds no edits for this generator: coefficients is \[17, 24\]"
    ):
        edits_from_tensors(tensors, WIDTH + 1, "a.safetensors")
    with pytest.raises(WeightsError, match="centre is missing"):
        edits_from_tensors({name: t for name, t in tensors.items() if name != "centre"}, WIDTH, "a")
    for spread in (torch.nan, 0.0, -1.0):
        with pytest.raises(WeightsError):
            edits_from_tensors({**tensors, "spread": torch.full((A,), spread)}, WIDTH, "a")


def test_too_few_samples_are_refused() -> None:
    latents, attributes, _ = world()
    with pytest.raises(ValueError, match="more than 17 samples, got 10"):
        fit_edits(latents[:10], attributes[:10])
