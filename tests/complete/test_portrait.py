"""Portraits of generators of natural photos, by a small one with random weights."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.complete.portrait import Surroundings, join_portrait, surroundings, with_surroundings
from ostec.complete.settings import PortraitSettings
from ostec.core.types import Provenance
from ostec.io.images import read_image
from ostec.nets.checkpoint import NATURAL_FRAME, natural_generator
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape
from ostec.pipeline import Completer, Inverter
from ostec.pipeline.models import Models, load_models
from ostec.pipeline.settings import CompleteSettings, InvertSettings
from ostec.project.objective import ProjectionTarget
from ostec.project.studio import FRONT, ViewStudio
from ostec.render.crops import crop_as_portrait, five_points, warp
from ostec.render.uv import bake_layout
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
SIZE = 64
SETTINGS = CompleteSettings(
    iterations=1, iterations_frontalize=1, frontalize=True, uv_size=256, mode="soft", face_model="none"
)


@pytest.fixture(scope="module")
def models() -> Models:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        shape = GeneratorShape(SIZE, z_dim=32, w_dim=32, mapping_layers=2, channel_base=512, channel_max=32)
        networks = [network.eval().requires_grad_(False) for network in (Generator(shape), Discriminator(shape))]
    natural = natural_generator(*networks, notes=("The mean is a guess.",))  # type: ignore[arg-type]
    loaded = load_models(torch.device("cpu"), SETTINGS)
    return replace(loaded, generator=natural, shares_prior=False, perceptual=None, recogniser=None, parsing=None)


@pytest.fixture(scope="module")
def completer(models: Models) -> Completer:
    return Completer(models, SETTINGS, torch.device("cpu"), [])


def studio_of(pose_deg: tuple[float, float, float]) -> tuple[ViewStudio, object]:
    topology = toy_topology()
    face = toy_face(topology, pose_deg)
    layouts = {16: bake_layout(topology, 16)}
    return ViewStudio(topology, face, NATURAL_FRAME, SIZE, lambda size: layouts[size]), face


def test_the_photos_landmarks_come_onto_those_of_the_frontal_view() -> None:
    """White dots drawn at three landmarks of a rolled face are found where the studio says."""
    topology = toy_topology()
    face = toy_face(topology, (0.0, 0.0, 25.0))
    studio, _ = studio_of((0.0, 0.0, 25.0))
    photo = np.zeros((256, 256, 3), np.float32)
    wanted = studio.landmarks(FRONT)
    for landmark in (33, 263, 200):
        x, y = face.landmarks[landmark, :2]
        photo[round(float(y)) - 7 : round(float(y)) + 7, round(float(x)) - 7 : round(float(x)) + 7] = 1
    around = surroundings(photo, face, studio)
    bright = (around.image[0].mean(0) + 1).numpy()
    for landmark in (33, 263, 200):
        x, y = wanted[landmark]
        assert bright[int(y), int(x)] > 1, landmark
    assert float((bright > 0.2).mean()) < 0.03
    assert around.trust.max() == 1


@pytest.mark.parametrize(("yaw", "share"), [(0.0, 1.0), (13.0, 0.5), (21.0, 0.0)])
def test_surroundings_are_trusted_less_the_more_the_face_is_turned(yaw: float, share: float) -> None:
    studio, face = studio_of((0.0, yaw, 0.0))
    around = surroundings(np.ones((256, 256, 3), np.float32), face, studio)  # type: ignore[arg-type]
    assert float(around.trust.max()) == pytest.approx(share, abs=1e-5)


def test_nothing_is_trusted_outside_the_photo() -> None:
    topology = toy_topology()
    studio, _ = studio_of((0.0, 0.0, 0.0))
    face = toy_face(topology, centre=(128.0, 20.0))
    around = surroundings(np.full((256, 256, 3), 0.5, np.float32), face, studio)
    assert (around.trust[0, 0, :6] == 0).all()
    assert (around.trust[0, 0, 40:52, 24:40] == 1).all()
    torch.testing.assert_close(around.image[..., 40:52, 24:40], torch.zeros(1, 3, 12, 16))


def test_the_texture_wins_where_it_is_the_photos_and_the_photo_elsewhere() -> None:
    """By hand, four pixels: photo texel; guessed texel; ground; guessed texel where the photo is half trusted."""
    plane = lambda *values: torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 4)  # noqa: E731
    target = ProjectionTarget(
        plane(0.2, 0.4, 0.0, 0.4).expand(1, 3, 1, 4), plane(1, 0.6, 0, 0.6), plane(0, 0.4, 0, 0.4)
    )
    around = Surroundings(torch.full((1, 3, 1, 4), -0.5), plane(1, 1, 1, 0.5))
    found = with_surroundings(target, plane(1, 0, 0, 0), around)
    assert found.image[0, 0, 0].tolist() == pytest.approx([0.2, -0.5, -0.5, (0.3 * 0.4 - 0.5 * 0.5) / 0.8])
    assert found.trust[0, 0, 0].tolist() == pytest.approx([1, 1, 1, 0.8])
    assert found.guessed[0, 0, 0].tolist() == pytest.approx([0, 0, 0, 0.2])


def test_without_trusted_surroundings_the_target_stays() -> None:
    generator = torch.Generator().manual_seed(0)
    image, trust = torch.rand(1, 3, 8, 8, generator=generator), torch.rand(1, 1, 8, 8, generator=generator)
    target = ProjectionTarget(image, trust, 1 - trust)
    found = with_surroundings(target, trust / 2, Surroundings(torch.zeros_like(image), torch.zeros_like(trust)))
    torch.testing.assert_close(found.image, image)
    torch.testing.assert_close(found.trust, trust)


def test_a_portrait_is_the_photo_where_that_is_known_and_its_colours_are_carried_over_the_joint() -> None:
    drawn = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    x = np.linspace(0, 1, SIZE, dtype=np.float32)
    drawn += (0.1 * np.sin(12 * x))[None, :, None]
    generated = drawn * 0.8 + 0.2
    known = np.zeros((SIZE, SIZE), np.float32)
    known[:, : SIZE // 2] = 1
    made = join_portrait(generated, drawn, known)
    np.testing.assert_allclose(made[:, : SIZE // 2 - 6], drawn[:, : SIZE // 2 - 6], atol=1e-5)
    assert np.abs(made - drawn)[:, SIZE // 2 :].max() < 0.02 < np.abs(generated - drawn)[:, SIZE // 2 :].max()
    steps = np.abs(np.diff(made.mean(2), axis=1)).max()
    assert steps < 1.5 * np.abs(np.diff(drawn.mean(2), axis=1)).max()


@pytest.mark.slow
def test_a_completion_runs_whole_and_its_portrait_keeps_hair_and_background(
    completer: Completer, tmp_path: Path
) -> None:
    result = completer(ASTRONAUT)
    made = result.textured
    assert "The mean is a guess." in result.record["warnings"]
    assert result.record["realism"] == "the generator's discriminator"
    assert {"realism", "pixel"} <= set(result.record["losses"]["left"])
    assert made.frontal is not None
    assert made.frontal.shape == (SIZE, SIZE, 3)
    assert Provenance.LEFT in set(np.unique(made.completed.provenance))
    photo = read_image(ASTRONAUT)
    studio = completer.completer.studio(made.face)
    shown = surroundings(photo, made.face, studio)
    border = (shown.image[0].permute(1, 2, 0).numpy() / 2 + 0.5)[:4, 8:-8]
    np.testing.assert_allclose(made.frontal[:4, 8:-8], border, atol=0.02)
    result.save(tmp_path / "at_once")
    without = Completer(completer.models, replace(SETTINGS, frontalize=False), completer.device, [])
    without(ASTRONAUT).save(tmp_path / "later")
    completer.extend(tmp_path / "later", "astronaut", ASTRONAUT, frontalize=True, turntable=False)
    at_once, later = (tmp_path / folder / "astronaut_frontal.png" for folder in ("at_once", "later"))
    assert later.read_bytes() == at_once.read_bytes()
    records = [json.loads((path.parent / "astronaut.json").read_text("utf-8")) for path in (at_once, later)]
    assert records[0]["realism"] == records[1]["realism"]


@pytest.mark.slow
def test_a_photo_is_inverted_as_ffhq_cuts_it(models: Models) -> None:
    inverter = Inverter(models, InvertSettings(iterations=2), torch.device("cpu"), [])
    photo = read_image(ASTRONAUT)
    found = inverter(photo)
    five = five_points(completed_landmarks(models, photo))
    crop = crop_as_portrait(five[:2, :2], five[3:, :2].mean(0), SIZE)
    wanted = warp(torch.from_numpy(photo).permute(2, 0, 1)[None], [crop])[0].permute(1, 2, 0).numpy()
    shown = found.view.trust > 0
    np.testing.assert_allclose(found.view.render[shown], wanted[shown], atol=1e-4)
    assert found.view.losses["total"] < found.view.losses["start_total"]
    assert found.view.latent.shape == (10, 32)
    half = np.ones(photo.shape[:2], np.float32)
    half[:, : round(float(crop.center[0]))] = 0
    masked = inverter(photo, half)
    trusted = masked.view.trust.mean(0)
    assert (trusted[: SIZE // 2 - 3] == 0).all()
    assert trusted[SIZE // 2 + 3 :].mean() > 0.9


def completed_landmarks(models: Models, photo: np.ndarray) -> np.ndarray:
    """The landmarks that a completion finds."""
    plain = Completer(replace(models, generator=None), replace(SETTINGS, iterations=0), torch.device("cpu"), [])
    return plain(photo).textured.face.landmarks


def test_the_settings_decide_how_far_a_face_may_be_turned() -> None:
    studio, face = studio_of((0.0, 13.0, 0.0))
    photo = toy_photo(toy_topology(), face, toy_texture(16))  # type: ignore[arg-type]
    strict = surroundings(photo, face, studio, PortraitSettings(turned_deg=(1.0, 2.0)))  # type: ignore[arg-type]
    assert float(strict.trust.max()) == 0
