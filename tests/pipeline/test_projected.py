"""A photo with the generator that ships: few iterations, for speed."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.errors import AssetError
from ostec.core.progress import STAGES
from ostec.core.types import Provenance
from ostec.io.images import read_image, read_palette_png
from ostec.load.networks import load_generator
from ostec.nets.perceptual import Lpips, LpipsTensors
from ostec.pipeline import CompletedFace, Completer
from ostec.pipeline.settings import CompleteSettings
from ostec.project.studio import TURNED
from tests.nets.lpips_files import backbone_tensors, linear_tensors

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
SETTINGS = CompleteSettings(iterations=2, iterations_frontalize=2, uv_size=256, save_views=True, face_model="none")
VIEWS = ["bottom", "bottom_left", "bottom_right", "left", "right"]


@pytest.fixture(scope="module")
def completer() -> Completer:
    """With what ships, even where published networks lie on this machine."""
    loaded = Completer.from_pretrained(SETTINGS, "cpu")
    return Completer(
        replace(loaded.models, perceptual=None, recogniser=None, parsing=None), SETTINGS, loaded.device, []
    )


@pytest.fixture(scope="module")
def soft(completer: Completer) -> CompletedFace:
    return completer(ASTRONAUT)


def with_settings(completer: Completer, **changed: object) -> Completer:
    return Completer(completer.models, replace(SETTINGS, **changed), completer.device, [])  # type: ignore[arg-type]


def photo_texels(face: CompletedFace) -> np.ndarray:
    return face.textured.completed.provenance == Provenance.PHOTO


def test_the_record_has_every_view_with_its_losses(completer: Completer, soft: CompletedFace) -> None:
    assert list(soft.record["losses"]) == VIEWS
    for row in soft.record["losses"].values():
        assert row["total"] <= row["start_total"]
        terms = {"pixel", "ms_ssim", "latent", "start", "features", "landmarks"}
        assert row["total"] == pytest.approx(sum(row[term] for term in terms), abs=1e-4)
    assert soft.record["features"] == "encoder (no perceptual network)"
    judges = {term: soft.record[term] for term in ("landmarks", "identity", "realism", "parsing")}
    assert judges == {**dict.fromkeys(judges, "none"), "landmarks": "FaceMesh"}
    assert soft.record["weights"]["generator.safetensors"] == completer.models.hashes["generator.safetensors"]
    assert soft.record["warnings"] == []


def test_with_a_backbone_lpips_takes_the_place_of_the_features(
    completer: Completer, soft: CompletedFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostec.complete.generator.waves_of", lambda *_: [(view,) for view in TURNED[:2]])
    tensors = LpipsTensors("made", backbone_tensors("alexnet"), linear_tensors("alexnet"))
    with_lpips = replace(completer.models, perceptual=Lpips("alexnet", tensors))
    record = Completer(with_lpips, SETTINGS, completer.device, [])(ASTRONAUT).record
    assert record["features"] == "LPIPS (alexnet)"
    assert list(record["losses"]) == VIEWS[:2]
    for name, row in record["losses"].items():
        terms = {"pixel", "ms_ssim", "latent", "start", "lpips", "landmarks"}
        assert "features" not in row
        assert row["total"] == pytest.approx(sum(row[term] for term in terms), abs=1e-4)
        assert row["lpips"] > 0
        assert row["pixel"] == pytest.approx(soft.record["losses"][name]["pixel"], rel=0.5)


def test_soft_keeps_the_photo_and_the_views_give_the_rest(completer: Completer, soft: CompletedFace) -> None:
    without = with_settings(completer, iterations=0, save_views=False)(ASTRONAUT)
    both = photo_texels(soft) & photo_texels(without)
    assert both.sum() > 0.95 * photo_texels(without).sum()
    ours, theirs = (face.textured.completed.colour for face in (soft, without))
    assert np.abs(ours - theirs)[both].mean() < 0.005
    given = set(np.unique(soft.textured.completed.provenance))
    assert given >= {view.provenance for view in TURNED}
    assert Provenance.FRONT not in given


def test_hard_draws_the_front_as_well_and_keeps_no_texel_of_the_photo(completer: Completer) -> None:
    face = with_settings(completer, mode="hard")(ASTRONAUT)
    assert list(face.record["losses"]) == ["front", *VIEWS]
    given = set(np.unique(face.textured.completed.provenance))
    assert Provenance.FRONT in given
    assert Provenance.PHOTO not in given


def test_without_the_prior_the_views_alone_fill(completer: Completer) -> None:
    models = replace(completer.models, prior=None)
    face = Completer(models, replace(SETTINGS, prior="none"), completer.device, [])(ASTRONAUT)
    given = face.textured.completed.provenance
    assert Provenance.PRIOR not in set(np.unique(given))
    assert np.isfinite(face.textured.completed.colour).all()
    assert {view.provenance for view in TURNED} <= set(np.unique(given))


def test_the_latents_are_in_the_file_and_draw_the_pictures(completer: Completer, soft: CompletedFace) -> None:
    assert completer.models.generator is not None
    for view in soft.textured.views:
        with torch.no_grad():
            drawn = completer.models.generator.generator.synthesis(torch.from_numpy(view.latent)[None])
        picture = (drawn[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(picture, view.generated, atol=1e-5)


def test_every_file_is_listed_and_written(soft: CompletedFace, tmp_path: Path) -> None:
    record = json.loads(soft.save(tmp_path).read_text("utf-8"))
    there = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert there == set(record["files"])
    assert {f"astronaut_views/{view}_{kind}" for view in VIEWS for kind in ("render.png", "generated.png")} <= there
    with np.load(tmp_path / "astronaut.npz") as arrays:
        for view in soft.textured.views:
            np.testing.assert_array_equal(arrays[f"w_{view.name}"], view.latent)


@pytest.mark.slow
def test_a_portrait_that_is_added_later_is_the_same(completer: Completer, soft: CompletedFace, tmp_path: Path) -> None:
    asked = with_settings(completer, frontalize=True)
    asked(ASTRONAUT).save(tmp_path / "at_once")
    soft.save(tmp_path / "later")
    asked.extend(tmp_path / "later", "astronaut", ASTRONAUT, frontalize=True, turntable=False)
    at_once, later = (tmp_path / folder / "astronaut_frontal.png" for folder in ("at_once", "later"))
    assert later.read_bytes() == at_once.read_bytes()
    assert read_image(later).shape == (512, 512, 3)
    records = [json.loads((path.parent / "astronaut.json").read_text("utf-8")) for path in (at_once, later)]
    assert records[0]["losses"]["frontal"] == records[1]["losses"]["frontal"]
    labels = read_palette_png(tmp_path / "later/astronaut_provenance.png")
    np.testing.assert_array_equal(labels, soft.textured.completed.provenance)


def test_twice_is_the_same_and_progress_names_the_projection_and_never_falls(
    completer: Completer, soft: CompletedFace
) -> None:
    calls: list[tuple[str, float]] = []
    again = with_settings(completer)(ASTRONAUT, progress=lambda stage, done: calls.append((stage, done)))
    np.testing.assert_array_equal(again.textured.completed.colour, soft.textured.completed.colour)
    assert again.record == soft.record
    stages, fractions = zip(*calls, strict=True)
    assert list(dict.fromkeys(stages)) == list(STAGES)
    assert list(fractions) == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert stages.count("project") > 2 * len(VIEWS)


def test_a_generator_of_another_mean_shape_is_refused(completer: Completer, tmp_path: Path) -> None:
    (tmp_path / "g.safetensors").write_bytes((ROOT / "models/generator.safetensors").read_bytes())
    card = json.loads((ROOT / "models/generator.json").read_text("utf-8"))
    (tmp_path / "g.json").write_text(json.dumps({**card, "topology_sha256": "00"}), "utf-8")
    with pytest.raises(AssetError, match="another mean shape"):
        load_generator(tmp_path / "g.safetensors", completer.models.topology, torch.device("cpu"))
    (tmp_path / "g.json").unlink()
    with pytest.raises(AssetError, match=r"g\.json.*cannot be read"):
        load_generator(tmp_path / "g.safetensors", completer.models.topology, torch.device("cpu"))


def test_mirror_views_of_a_wave_do_not_see_each_other(completer: Completer, soft: CompletedFace) -> None:
    waves = with_settings(completer, schedule="waves")(ASTRONAUT)
    ours, theirs = ({view.name: view for view in face.textured.views} for face in (waves, soft))
    assert list(ours) == VIEWS
    for name in ("bottom", "bottom_left"):  # nothing else was there before either
        assert np.array_equal(ours[name].render, theirs[name].render)
        np.testing.assert_allclose(ours[name].generated, theirs[name].generated, atol=1e-3)
    # What the first of a pair owns is trusted by the second only where it comes after it.
    for name in ("bottom_right", "right"):
        assert ours[name].trust.sum() < theirs[name].trust.sum()
    assert list(waves.record["losses"]) == VIEWS
    assert all("landmarks" in row for row in waves.record["losses"].values())
    assert waves.record["settings"]["schedule"] == "waves"
