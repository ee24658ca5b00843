"""Which terms judge whole pictures under which weights and networks, and what the files say of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.complete.terms import IDENTITY_EVERY
from ostec.core.types import FloatArray, ProjectedView
from ostec.export.mesh import read_npz
from ostec.io.images import read_image
from ostec.nets.arcface import ArcFace, arcface_from_tensors
from ostec.nets.stylegan2 import Discriminator
from ostec.pipeline import CompletedFace, Completer, Models
from ostec.pipeline.completer import judging_of
from ostec.pipeline.settings import CompleteSettings
from ostec.project.identity import identity_of
from ostec.project.objective import ProjectionTarget
from ostec.project.settings import ProjectionSettings
from ostec.project.studio import FRONT, TURNED, ViewStudio
from ostec.project.terms import REALISM_EVERY, PictureTerm
from ostec.render.uv import bake_layout
from tests.nets.judge_files import made_weights
from tests.toy import toy_face, toy_texture

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
SETTINGS = CompleteSettings(iterations=1, iterations_frontalize=1, uv_size=256, face_model="none")
TEXELS = 160
EVERYTHING = ProjectionSettings(landmarks=0.2, identity=0.05, realism=0.0025)
WHO = torch.nn.functional.normalize(torch.randn(512, generator=torch.Generator().manual_seed(0)), dim=0).numpy()
TERMS = ("landmarks", "identity", "realism")


@pytest.fixture(scope="module")
def models() -> Models:
    """What ships, even where published networks lie on this machine."""
    loaded = Completer.from_pretrained(SETTINGS, "cpu").models
    return replace(loaded, perceptual=None, recogniser=None, parsing=None, hands=None)


@pytest.fixture(scope="module")
def arcface() -> ArcFace:
    return arcface_from_tensors(made_weights("arcface_r18"), "made").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def everybody(models: Models, arcface: ArcFace) -> Models:
    """With an ArcFace and a discriminator of whole pictures, of made weights."""
    assert models.generator is not None
    torch.manual_seed(1)
    judge = Discriminator(models.generator.generator.shape).eval().requires_grad_(False)
    return replace(models, recogniser=arcface, generator=replace(models.generator, discriminator=judge))


@pytest.fixture(scope="module")
def studio(models: Models) -> ViewStudio:
    assert models.generator is not None
    layout = bake_layout(models.topology, TEXELS)
    resolution = models.generator.generator.shape.resolution
    return ViewStudio(models.topology, toy_face(models.topology), models.generator.frame, resolution, lambda _: layout)


@pytest.fixture(scope="module")
def target(studio: ViewStudio) -> ProjectionTarget:
    """A view from the left."""
    return studio.draw(toy_texture(TEXELS), np.ones((TEXELS, TEXELS), np.float32), TURNED[3])


# --- which terms there are -------------------------------------------------------------------------------------------


@pytest.fixture
def named(
    studio: ViewStudio, target: ProjectionTarget
) -> Callable[[Models, ProjectionSettings, FloatArray | None], dict[str, PictureTerm]]:
    def terms(models: Models, settings: ProjectionSettings, who: FloatArray | None) -> dict[str, PictureTerm]:
        found = judging_of(models).terms(studio.landmarks(TURNED[3]), target, settings, who)
        assert len({term.name for term in found}) == len(found)
        return {term.name: term for term in found}

    return terms


def test_with_all_networks_there_are_all_terms_with_their_weights(named, everybody):
    found = named(everybody, EVERYTHING, WHO)
    assert {name: (term.weight, term.every) for name, term in found.items()} == {
        "landmarks": (0.2, 1),
        "identity": (0.05, IDENTITY_EVERY),
        "realism": (0.0025, REALISM_EVERY),
    }


@pytest.mark.parametrize("left_out", TERMS)
def test_a_term_without_weight_is_not_built(named, everybody, left_out):
    assert set(named(everybody, replace(EVERYTHING, **{left_out: 0.0}), WHO)) == set(TERMS) - {left_out}


def test_the_defaults_have_those_terms_whose_weights_they_have(named, everybody):
    settings = ProjectionSettings()
    assert set(named(everybody, settings, WHO)) == {term for term in TERMS if getattr(settings, term) > 0}


def test_who_it_is_can_only_be_judged_by_an_arcface_that_knows(named, everybody):
    assert "identity" not in named(everybody, EVERYTHING, None)
    assert "identity" not in named(replace(everybody, recogniser=None), EVERYTHING, WHO)


def test_half_a_face_has_no_landmarks(everybody, studio, target):
    def names(shown: ProjectionTarget) -> set[str]:
        return {term.name for term in judging_of(everybody).terms(studio.landmarks(TURNED[3]), shown, EVERYTHING, WHO)}

    hidden = (torch.arange(target.trust.shape[-1]) < target.trust.shape[-1] // 2).expand_as(target.trust)
    half = replace(target, trust=target.trust * ~hidden, guessed=target.guessed * ~hidden)
    assert names(half) == {"identity", "realism"}
    assert names(replace(half, guessed=torch.maximum(half.guessed, hidden.float()))) == set(TERMS)


def test_a_discriminator_of_patches_judges_no_picture(named, models, everybody):
    generator = everybody.generator
    patches = Discriminator(replace(generator.generator.shape, resolution=64), 4)
    for other in (replace(generator, discriminator=patches), models.generator, None):
        assert set(named(replace(everybody, generator=other), EVERYTHING, WHO)) == {"landmarks", "identity"}


# --- what they say ---------------------------------------------------------------------------------------------------


def as_photo(target: ProjectionTarget) -> FloatArray:
    return np.ascontiguousarray((target.image[0] / 2 + 0.5).permute(1, 2, 0).numpy())


def test_what_was_drawn_has_its_own_landmarks_and_identity(named, everybody, arcface, models, studio, target):
    """ArcFace looks at the view where the view's landmarks lie, and as it looked at the photo."""
    face = replace(toy_face(models.topology), landmarks=np.pad(studio.landmarks(TURNED[3]), ((0, 0), (0, 1))))
    found = named(everybody, EVERYTHING, identity_of(arcface, as_photo(target), face))
    assert found["landmarks"].loss(target.image).tolist() == [0.0]
    assert found["identity"].loss(target.image).tolist() == pytest.approx([0.0], abs=1e-5)
    elsewhere = replace(face, landmarks=np.pad(studio.landmarks(FRONT) + 9, ((0, 0), (0, 1))))
    other = named(everybody, EVERYTHING, identity_of(arcface, as_photo(target), elsewhere))
    assert float(other["identity"].loss(target.image)) > 1e-3


def test_each_term_judges_the_whole_picture_and_can_be_followed(named, everybody, target):
    random = torch.Generator().manual_seed(3)
    drawn = (target.image + 0.2 * torch.randn(target.image.shape, generator=random)).requires_grad_(True)
    for term in named(everybody, EVERYTHING, WHO).values():
        loss = term.loss(drawn)
        assert loss.shape == (1,)
        (slope,) = torch.autograd.grad(loss.sum(), drawn)
        assert torch.isfinite(slope).all()
        assert slope.any()


# --- what the record says --------------------------------------------------------------------------------------------


def view_with(**losses: float) -> ProjectedView:
    blank = np.zeros((1, 1, 3), np.float32)
    return ProjectedView("front", blank, blank[..., 0], blank, blank[0], {"pixel": 1.0, **losses}, 1)


def test_the_record_names_who_judged_only_where_somebody_did(models, everybody):
    nobody = dict.fromkeys(TERMS, "none")
    assert judging_of(everybody).described(()) == nobody
    assert judging_of(everybody).described((view_with(), view_with())) == nobody
    assert judging_of(everybody).described((view_with(), view_with(identity=0.1))) == {
        **nobody,
        "identity": "ArcFace r18",
    }
    assert judging_of(everybody).described((view_with(landmarks=0.0, realism=0.1), view_with())) == {
        "landmarks": "FaceMesh",
        "identity": "none",
        "realism": "the generator's discriminator",
    }
    assert judging_of(models).described((view_with(identity=0.1),)) == nobody


# --- through the completer -------------------------------------------------------------------------------------------


VIEWS = TURNED[:2]
"""For speed."""


@pytest.fixture(scope="module", autouse=True)
def _few_views() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostec.complete.generator.waves_of", lambda *_: [(view,) for view in VIEWS])
        yield


def completer(models: Models, projection: ProjectionSettings | None = None, **changed: Any) -> Completer:
    made = Completer(models, replace(SETTINGS, **changed), torch.device("cpu"), [])
    made.completer.settings = replace(made.completer.settings, project=projection or ProjectionSettings())
    return made


@pytest.fixture(scope="module")
def judged(everybody: Models) -> CompletedFace:
    """By all terms."""
    return completer(everybody, EVERYTHING)(ASTRONAUT)


def test_every_view_was_judged_and_the_record_says_by_whom(judged: CompletedFace) -> None:
    assert {term: judged.record[term] for term in (*TERMS, "parsing")} == {
        "landmarks": "FaceMesh",
        "identity": "ArcFace r18",
        "realism": "the generator's discriminator",
        "parsing": "none",
    }
    assert list(judged.record["losses"]) == [view.name for view in VIEWS]
    for row in judged.record["losses"].values():
        parts = {name: value for name, value in row.items() if name not in ("total", "start_total", "iterations")}
        assert set(TERMS) < set(parts)
        assert row["total"] == pytest.approx(sum(parts.values()), abs=1e-4)
        assert row["total"] <= row["start_total"]


def test_the_npz_holds_the_photos_identity(judged: CompletedFace, arcface: ArcFace, tmp_path: Path) -> None:
    judged.save(tmp_path)
    saved = read_npz(tmp_path / "astronaut.npz").identity
    assert saved is not None
    np.testing.assert_array_equal(saved, identity_of(arcface, read_image(ASTRONAUT), judged.textured.face))
    assert float(np.linalg.norm(saved)) == pytest.approx(1, abs=1e-5)


@pytest.fixture(scope="module")
def unknown(models: Models) -> CompletedFace:
    """Made without an ArcFace, and judged by nobody else."""
    return completer(models, ProjectionSettings(landmarks=0.0))(ASTRONAUT)


def test_without_an_arcface_nobody_is_known(unknown: CompletedFace, tmp_path: Path) -> None:
    assert unknown.textured.identity is None
    record = json.loads(unknown.save(tmp_path).read_text("utf-8"))
    assert {record[term] for term in (*TERMS, "parsing")} == {"none"}
    with np.load(tmp_path / "astronaut.npz") as arrays:
        assert "identity" not in arrays.files


def extended(folder: Path, models: Models, projection: ProjectionSettings, **changed: Any) -> dict[str, Any]:
    """NAME.json after a portrait was added."""
    made = completer(models, projection, frontalize=True, **changed)
    return json.loads(made.extend(folder, "astronaut", ASTRONAUT, frontalize=True, turntable=False).read_text("utf-8"))


@pytest.mark.slow
def test_a_judged_portrait_that_is_added_later_is_the_same(
    everybody: Models, judged: CompletedFace, tmp_path: Path
) -> None:
    at_once, later = tmp_path / "at_once", tmp_path / "later"
    whole = json.loads(completer(everybody, EVERYTHING, frontalize=True)(ASTRONAUT).save(at_once).read_text("utf-8"))
    judged.save(later)
    assert extended(later, everybody, EVERYTHING) == whole
    for name in ("astronaut_frontal.png", "astronaut.npz", "astronaut.png"):
        assert (later / name).read_bytes() == (at_once / name).read_bytes(), name
    assert set(TERMS) < set(whole["losses"]["frontal"])


def test_the_portrait_has_a_weight_of_its_own_for_the_identity(
    everybody: Models, judged: CompletedFace, tmp_path: Path
) -> None:
    """Without iterations it is the same picture under either weight."""
    judged.save(tmp_path)
    found = []
    for weight in (0.5, 1.5):
        settings = ProjectionSettings(identity=0.05, identity_frontal=weight)
        found.append(extended(tmp_path, everybody, settings, iterations_frontalize=0)["losses"]["frontal"]["identity"])
    assert found[1] == pytest.approx(3 * found[0], abs=1e-5)
    assert found[0] > 0.01


def test_a_portrait_that_is_added_later_is_judged_by_who_was_known(
    everybody: Models, judged: CompletedFace, unknown: CompletedFace, tmp_path: Path
) -> None:
    """The views were judged by nobody, but the file says whose face it is."""
    known = replace(unknown.textured, identity=judged.textured.identity)
    replace(unknown, textured=known).save(tmp_path)
    record = extended(tmp_path, everybody, ProjectionSettings(landmarks=0.2, realism=0.0))
    assert {term: record[term] for term in TERMS} == {
        "landmarks": "FaceMesh",
        "identity": "ArcFace r18",
        "realism": "none",
    }
    assert set(record["losses"]["frontal"]) & set(TERMS) == {"landmarks", "identity"}
    assert {view: row for view, row in record["losses"].items() if view != "frontal"} == unknown.record["losses"]


def test_an_arcface_that_came_later_does_not_know_the_face(
    everybody: Models, unknown: CompletedFace, tmp_path: Path
) -> None:
    unknown.save(tmp_path)
    record = extended(tmp_path, everybody, ProjectionSettings())
    assert record["identity"] == "none"
    assert "identity" not in record["losses"]["frontal"]
