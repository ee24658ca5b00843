"""Hands painted onto faces: the face's structure is missing there, and only there the photo is not believed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.types import BoolArray, FloatArray, Provenance
from ostec.detect.faces import detect_faces
from ostec.detect.landmarks import detect_landmarks
from ostec.io.images import read_image
from ostec.mask.skin import polygon_mask
from ostec.pipeline import Completer
from ostec.prior.linear import LinearPrior, PriorFill, fill_from_prior, find_hidden
from ostec.prior.settings import PriorSettings

SIZE = 96
SKIN = np.float32([0.75, 0.55, 0.45])
EXAMPLES = Path(__file__).parents[2] / "examples"
WITHOUT = PriorSettings(hidden_match=-1.0)
"""As if nobody looked for hands."""


def grid(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """x and y [H, W] of the pixels' centres."""
    y, x = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    return x, y


def finger(x: FloatArray, y: FloatArray, ends: tuple[float, float, float, float], radius: float) -> FloatArray:
    """Light [H, W] of a capsule from (x0, y0) to (x1, y1), as bright as 1 on top and 0.55 at its edge; 0 outside."""
    x0, y0, x1, y1 = ends
    dx, dy = x1 - x0, y1 - y0
    along = np.clip(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy), 0, 1)
    distance = np.hypot(x - x0 - along * dx, y - y0 - along * dy) / radius
    light = 0.55 + 0.45 * np.sqrt(np.clip(1 - distance**2, 0, 1))
    return np.where(distance < 1, light, 0).astype(np.float32)


def hand(
    height: int, width: int, centre: tuple[float, float], radius: float, skin: FloatArray
) -> tuple[FloatArray, BoolArray]:
    """Four fingers side by side across ``centre``, in the colour of the face's own skin: colour and where it is."""
    x, y = grid(height, width)
    light = np.zeros((height, width), np.float32)
    for k in range(4):
        row = centre[1] + (k - 1.5) * 1.8 * radius
        light = np.maximum(light, finger(x, y, (centre[0] - 4.5 * radius, row, centre[0] + 6 * radius, row), radius))
    return skin * light[..., None], light > 0


# --- a face of three features ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prior() -> LinearPrior:
    """Two dark eyes and a mouth on plain skin; the components change light, tint, shading and the mouth's width."""
    x, y = grid(SIZE, SIZE)
    u, v = x / SIZE, 1 - y / SIZE
    inside = np.hypot(u - 0.5, v - 0.5) < 0.47

    def blob(u0: float, v0: float, width: float, height: float) -> FloatArray:
        return np.exp(-(((u - u0) / width) ** 2) - ((v - v0) / height) ** 2)

    dark = blob(0.3, 0.7, 0.07, 0.04) + blob(0.7, 0.7, 0.07, 0.04) + blob(0.5, 0.3, 0.13, 0.03)
    dark += 0.5 * blob(0.5, 0.47, 0.05, 0.03)
    mean = SKIN * (1 - 0.7 * dark[..., None])
    shapes = [np.ones_like(u), u - 0.5, v - 0.5, blob(0.5, 0.3, 0.2, 0.04) - blob(0.5, 0.3, 0.1, 0.03)]
    basis = np.stack([0.08 * shape[..., None] * np.ones(3, np.float32) for shape in shapes], axis=-1)
    return LinearPrior(
        inside=inside,
        mean=torch.from_numpy(mean[inside].astype(np.float32)),
        basis=torch.from_numpy(basis[inside].astype(np.float32)),
        noise=torch.full((int(inside.sum()),), 4e-4),
        topology_sha256="",
    )


def photo_of(prior: LinearPrior, seed: int = 0) -> FloatArray:
    """A face of the model with its noise."""
    rng = np.random.default_rng(seed)
    truth = prior.image(prior.mean + prior.basis @ torch.from_numpy(rng.normal(0, 1, 4).astype(np.float32)))
    return np.clip(truth + rng.normal(0, 0.02, truth.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_a_bare_face_hides_nothing(prior: LinearPrior, seed: int) -> None:
    weight = prior.inside.astype(np.float32)
    fill = fill_from_prior(prior, photo_of(prior, seed), weight)
    assert not fill.occluded.any()
    np.testing.assert_array_equal(fill.texture, fill_from_prior(prior, photo_of(prior, seed), weight, WITHOUT).texture)


def test_contrast_is_no_structure_that_is_missing(prior: LinearPrior) -> None:
    # Half the contrast and a gamma: a hazy photo of a bare face.
    hazy = 0.2 + 0.5 * photo_of(prior) ** 0.8
    assert not fill_from_prior(prior, hazy.astype(np.float32), prior.inside.astype(np.float32)).occluded.any()


@pytest.mark.parametrize("centre", [(0.5, 0.3), (0.3, 0.7)], ids=["mouth", "eye"])
def test_fingers_of_the_same_skin_are_found_and_do_not_spoil_the_face(
    prior: LinearPrior, centre: tuple[float, float]
) -> None:
    bare = photo_of(prior)
    weight = prior.inside.astype(np.float32)
    painted, where = hand(SIZE, SIZE, (centre[0] * SIZE, (1 - centre[1]) * SIZE), 5, SKIN)
    where &= prior.inside
    photo = np.where(where[..., None], painted, bare)
    fill, without = (fill_from_prior(prior, photo, weight, settings) for settings in (PriorSettings(), WITHOUT))
    assert without.occluded[where].mean() < 0.1
    assert fill.occluded[where].mean() > 0.7
    error = [np.abs(f.texture - bare)[where].mean() for f in (fill, without)]
    assert error[0] < 0.6 * error[1]


def test_what_was_not_seen_is_not_hidden(prior: LinearPrior) -> None:
    weight = prior.inside.astype(np.float32)
    weight[SIZE // 2 :] = 0
    photo = photo_of(prior)
    photo[SIZE // 2 :] = SKIN
    seen, trust = (torch.from_numpy(a[prior.inside]) for a in (photo, weight))
    found = find_hidden(prior, seen, trust, trust, PriorSettings())
    assert found.dtype == bool
    assert not found.any()


# --- photos ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fills(monkeypatch: pytest.MonkeyPatch) -> list[PriorFill]:
    """What the prior answered, in order."""
    kept: list[PriorFill] = []

    def keep(*arguments: object) -> PriorFill:
        kept.append(fill_from_prior(*arguments))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr("ostec.complete.canvas.fill_from_prior", keep)
    return kept


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg"])
def test_bare_examples_lose_nothing(
    completer: Completer, fills: list[PriorFill], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    completer(read_image(EXAMPLES / name))
    canvas = replace(completer.completer.canvas, fill_settings=WITHOUT)
    monkeypatch.setattr(completer, "completer", replace(completer.completer, canvas=canvas))
    completer(read_image(EXAMPLES / name))
    np.testing.assert_array_equal(fills[0].occluded, fills[1].occluded)
    np.testing.assert_array_equal(fills[0].texture, fills[1].texture)


@pytest.mark.parametrize(("landmark", "region"), [(13, "lips"), (159, "eye_left")], ids=["mouth", "eye"])
def test_a_hand_on_a_photo_is_filled(completer: Completer, fills: list[PriorFill], landmark: int, region: str) -> None:
    photo = read_image(EXAMPLES / "astronaut.png")[..., :3]
    box = detect_faces(photo, completer.models.mtcnn)[0]
    points = detect_landmarks(photo, box, completer.models.facemesh).points[:, :2]
    x, y = np.round(points[[50, 280, 5]]).astype(int).T
    radius = 0.045 * float(np.ptp(points[:, 1]))
    painted, where = hand(*photo.shape[:2], tuple(points[landmark]), radius, photo[y, x].mean(0))
    covered = np.where(where[..., None], painted, photo).astype(np.float32)
    result = completer(covered).textured
    hidden = polygon_mask(result.topology.regions[region], 256)
    origin = result.completed.provenance[hidden]
    assert np.mean(origin == Provenance.PHOTO) < 0.1
    away = polygon_mask(result.topology.regions["eye_right" if region == "lips" else "lips"], 256)
    assert np.mean(result.completed.provenance[away] == Provenance.PHOTO) > 0.5
    assert fills[0].occluded.any()
