"""Figures of textures: planted asymmetry, spread, blur and twins are found, and broken files are failures."""

import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.assets import asset_path
from ostec.core.errors import ImageError, UsageError
from ostec.core.types import FloatArray, Provenance
from ostec.eval.scores import LUMA
from ostec.eval.textures import run as textures
from ostec.eval.textures.run import TextureFile, TextureTask
from ostec.export.record import write_record
from ostec.io.images import read_image, write_palette_png, write_png
from ostec.load.topology import read_topology
from ostec.pipeline.models import load_prior
from tests.toy import toy_texture

ALL = np.ones((64, 64), bool)
GREY = np.full((64, 64, 3), 0.5, np.float32)


def test_symmetry_error_by_hand() -> None:
    # At 8 texels the window is one texel wide: nothing is blurred. Luma of (r, g, b) is 0.299 r + 0.587 g + 0.114 b.
    image = np.zeros((8, 8, 3), np.float32)
    image[0, 0] = (1.0, 0.0, 0.0)  # differs from its mirror texel by 0.299, on both sides
    image[5, 2] = (0.0, 1.0, 0.0)
    image[5, 5] = (0.0, 0.5, 0.0)
    assert textures.symmetry_error(image, np.ones((8, 8), bool)) == pytest.approx(
        255 * (2 * 0.299 + 2 * 0.587 * 0.5) / 64, rel=1e-5
    )
    valid = np.ones((8, 8), bool)
    valid[5, 2] = False  # then its mirror texel does not count either
    assert textures.symmetry_error(image, valid) == pytest.approx(255 * 2 * 0.299 / 62, rel=1e-5)
    assert math.isnan(textures.symmetry_error(image, np.zeros((8, 8), bool)))


def test_symmetry_error_is_of_light_not_of_detail() -> None:
    rng = np.random.default_rng(0)
    half = rng.random((256, 128, 3), np.float32)
    mirrored = np.concatenate([half, half[:, ::-1]], axis=1)
    whole = np.ones((256, 256), bool)
    assert textures.symmetry_error(mirrored, whole) == pytest.approx(0, abs=1e-3)
    noise = rng.random((256, 256, 3), np.float32)  # without a side, but every texel differs from its mirror texel
    side = np.concatenate([half * 0.5, half[:, ::-1]], axis=1)
    assert textures.symmetry_error(noise, whole) < 10
    assert textures.symmetry_error(side, whole) == pytest.approx(255 * 0.25, rel=0.1)
    # What lies outside the chart does not leak in.
    chart = np.zeros((256, 256), bool)
    chart[40:200, 60:-60] = True
    outside = np.where(chart[..., None], mirrored, rng.random((256, 256, 3), np.float32))
    assert textures.symmetry_error(outside, chart) == pytest.approx(0, abs=1e-3)


def test_window_goes_with_the_size() -> None:
    step = [
        np.repeat(np.float32([0.2] * (n // 2) + [0.8] * (n // 2))[None], n, 0)[..., None] * np.ones(3, np.float32)
        for n in (256, 1024)
    ]
    errors = [textures.symmetry_error(image.astype(np.float32), np.ones(image.shape[:2], bool)) for image in step]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)
    assert errors[1] == pytest.approx(255 * 0.6 * (1 - 2 * 8.6 / 1024 * math.sqrt(2 / math.pi)), rel=0.01)


def test_energy_is_of_sobel_in_decibel() -> None:
    ramp = np.repeat(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], 64, 0) * np.ones(3, np.float32)
    # Sobel of a ramp is 8 steps of 1 / 63.
    assert textures.energy_db(ramp, ALL) == pytest.approx(20 * math.log10(8 / 63), abs=1e-3)
    assert textures.energy_db(GREY, ALL) == -120
    assert textures.energy_db(ramp / 2, ALL) == pytest.approx(20 * math.log10(4 / 63), abs=1e-3)
    assert math.isnan(textures.energy_db(ramp, np.zeros((64, 64), bool)))


def test_spread_by_hand_and_of_too_few() -> None:
    codes = np.float32([[0, 0], [2, 0], [4, 6]])  # mean (2, 2); squares 8, 4, 20 over 3 codes
    assert textures.spread(codes) == pytest.approx(math.sqrt(32 / 3))
    assert math.isnan(textures.spread(codes[:1]))


def test_pairs_of_one_person_by_hand() -> None:
    codes = np.float32([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]])  # cosines 0, 0.8, 0.6, 0.6, 0.8, 0.96
    assert textures.one_person(codes) == [(0, 2), (1, 3), (2, 3)]
    assert textures.one_person(np.zeros((3, 0), np.float32)) == []


def test_twins_are_found_across_blocks_and_only_they() -> None:
    rng = np.random.default_rng(0)
    copies = rng.integers(40, 215, (9, 16, 16, 3)).astype(np.uint8)
    copies[8] = copies[1]
    copies[5] = copies[3] + rng.integers(-1, 2, (16, 16, 3)).astype(np.int8)  # 0.8 / 255 in RMS
    copies[7] = copies[2] + 3
    copies[:, :4] = 0  # outside the chart: does not dilute what differs
    for block in (2, 4, 1024):
        assert textures.twins(copies, block=block) == [(1, 8), (3, 5)]
    assert textures.twins(np.zeros((3, 16, 16, 3), np.uint8)) == []


def test_small_copies_know_the_chart_only() -> None:
    image = toy_texture(64)
    valid = ALL.copy()
    valid[:, 40:] = False
    changed = image.copy()
    changed[:, 40:] = 1
    assert (textures.small_copy(image, valid) == textures.small_copy(changed, valid)).all()
    copy = textures.small_copy(image, valid)
    assert (copy[:, 10:] == 0).all()
    np.testing.assert_allclose(copy[0, 0] / 255, image[:4, :4].mean((0, 1)), atol=0.003)


def _texture(seed: int, size: int = 64) -> FloatArray:
    return np.clip(toy_texture(size) + np.random.default_rng(seed).normal(0, 0.02 + 0.02 * seed, (size, size, 3)), 0, 1)


def _evaluate(folder: Path, out: Path, layout: textures.Layout = "whole", mask: Path | None = None):
    files = textures.find_textures(folder)
    task = pickle.loads(pickle.dumps(TextureTask({file.key: file for file in files}, layout, mask, out)))
    outcomes = []
    for file in files:
        try:
            outcomes.append(task(file.key))
        except ImageError as error:
            outcomes.append({"error": str(error)})
    return textures.evaluation_of(files, outcomes, textures.settings_of(layout, mask))


def test_set_of_textures_with_failures_twins_and_blur(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for k in range(3):
        write_png(folder / f"t{k}.png", _texture(k).astype(np.float32))
    write_png(folder / "twin.png", _texture(2).astype(np.float32))
    (folder / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nrubbish")
    (folder / "notes.txt").write_text("no texture")
    write_png(folder / "large.png", _texture(1, 128).astype(np.float32))
    write_png(folder / "oblong.png", np.zeros((64, 80, 3), np.float32))
    write_png(folder / "tiny.png", np.zeros((16, 16, 3), np.float32))
    found = _evaluate(folder, out)
    assert [row.item for row in found.rows] == ["t0", "t1", "t2", "twin", "all textures"]
    reasons = {failure["item"]: failure["reason"] for failure in found.failures}
    assert reasons["large"].endswith("large.png has 128 x 128 texels, the others have 64 x 64.")
    assert reasons["oblong"].endswith("oblong.png has 80 x 64 texels; a texture is square.")
    assert reasons["tiny"].endswith("tiny.png has 16 x 16 texels, fewer than 64 x 64.")
    assert "bad.png" in reasons["bad"]
    assert (found.settings["size"], found.settings["layout"]) == (64, "whole")
    of_set = found.rows[-1]
    assert of_set.figures["duplicates"] == 2
    assert of_set.labels == {"textures": 4, "twins": [["t2", "twin"]], "one_person": []}
    assert math.isnan(of_set.figures["spread"])  # no prior of that layout: said, not made up
    assert found.models == {"identity": textures.NO_IDENTITY}
    sharpness = [row.figures["sharpness"] for row in found.rows[:4]]
    assert sharpness[0] < sharpness[1] < sharpness[2] == sharpness[3]
    assert np.median(10 * np.log10(sharpness)) == pytest.approx(0, abs=1e-6)
    assert found.rows[0].figures["area_layout"] == 1
    np.testing.assert_allclose(found.rows[0].figures["brightness"], (_texture(0) @ LUMA).mean(), atol=0.003)
    assert read_image(out / found.rows[0].pictures["made"]).shape == (textures.TILE, textures.TILE, 3)


def test_mask_is_where_texels_count(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    image = np.full((64, 64, 3), 0.25, np.float32)
    image[:, :16] = 1
    write_png(folder / "a.png", image)
    mask = np.zeros((32, 32, 3), np.float32)
    mask[:, 8:] = 1
    write_png(tmp_path / "mask.png", mask)
    (row, _) = _evaluate(folder, tmp_path / "out", "whole", tmp_path / "mask.png").rows
    assert row.figures["brightness"] == pytest.approx(64 / 255, abs=1e-4)
    assert row.figures["area_layout"] == 0.75
    write_png(tmp_path / "black.png", mask * 0)
    assert (
        "leaves no texel" in _evaluate(folder, tmp_path / "out", "whole", tmp_path / "black.png").failures[0]["reason"]
    )
    with pytest.raises(UsageError, match="The mask cannot be used"):
        textures.settings_of("whole", tmp_path / "none.png")


def test_completed_faces_have_provenance_and_identity(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    judge = textures.load_judge()
    topology = read_topology(asset_path("topology/facemesh.npz"))
    prior = load_prior(asset_path("models/prior.safetensors"), topology, torch.device("cpu"))
    chart = textures.valid_texels("default", None, prior.size)
    assert (chart == prior.inside).mean() > 0.99
    origin = np.where(chart, np.uint8(Provenance.PRIOR), np.uint8(Provenance.OUTSIDE))
    origin[: prior.size // 2][chart[: prior.size // 2]] = Provenance.PHOTO
    palette = np.zeros((11, 3), np.uint8)
    for k in range(2):
        z = torch.zeros(prior.basis.shape[-1])
        z[:8] = 2.0 * k - 1
        write_png(folder / f"f{k}.png", np.clip(prior.image(prior.mean + prior.basis @ z), 0, 1))
        write_palette_png(folder / f"f{k}_provenance.png", origin, palette)
        write_record(folder, f"f{k}", {"files": []})
    write_png(folder / "f0_frontal.png", GREY)
    write_png(folder / "someone.png", GREY)  # no NAME.json tells of it
    found = _evaluate(folder, tmp_path / "out", "default")
    assert [row.item for row in found.rows] == ["f0", "f1", "all textures"]
    share = chart[: prior.size // 2].sum() / chart.sum()
    assert found.rows[0].figures["area_photo"] == pytest.approx(share)
    assert "area_layout" not in found.rows[0].figures
    # Two directions lie half their distance from their mean.
    whole = chart.astype(np.float32)
    first, second = (judge.code(read_image(folder / f"f{k}.png"), whole) for k in range(2))
    assert found.rows[-1].figures["spread"] == pytest.approx(float((first - second).norm()) / 2, rel=1e-3)
    assert found.rows[-1].figures["spread"] > 0.05
    assert found.rows[0].figures["spread"] == pytest.approx(found.rows[1].figures["spread"])
    assert found.models == {"identity": judge.name}
    write_palette_png(folder / "f0_provenance.png", origin[:64, :64], palette)
    assert "another size" in _evaluate(folder, tmp_path / "out", "default").failures[0]["reason"]


def test_what_is_a_texture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        textures.find_textures(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no texture"):
        textures.find_textures(tmp_path)
    for name in ("a.png", "a.jpg", "b.PNG", "b_provenance.png", "c_frontal.png"):
        (tmp_path / name).write_bytes(b"x")
    files = textures.find_textures(tmp_path)
    assert [(file.name, file.path.name) for file in files] == [("a_jpg", "a.jpg"), ("a_png", "a.png"), ("b", "b.PNG")]
    assert files[2].provenance == tmp_path / "b_provenance.png"
    keys = [file.key for file in files]
    (tmp_path / "b_provenance.png").write_bytes(b"longer")
    again = [file.key for file in textures.find_textures(tmp_path)]
    assert again[:2] == keys[:2]
    assert again[2] != keys[2]
    assert len(TextureFile("n" * 250, tmp_path / "gone.png", None).key) < 80


def test_small_copy_is_made_again_where_it_was_removed(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", _texture(0).astype(np.float32))
    (file,) = textures.find_textures(tmp_path)
    (tmp_path / textures.THUMBS).mkdir()
    made = textures.read_thumb(tmp_path, file)
    np.testing.assert_allclose(textures.read_thumb(tmp_path, file), made, atol=1 / 255)
    assert (tmp_path / file.thumb).is_file()


def test_a_set_in_which_all_fail_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"x")
    found = _evaluate(tmp_path, tmp_path / "out")
    assert found.rows == ()
    assert len(found.failures) == 1
