"""``ostec eval holdout``: what it refuses, which photos it takes, what it leaves behind."""

import zlib
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.app.eval.holdout import EvalHoldout
from ostec.eval.report.record import read_evaluation
from ostec.io.images import read_image, resize_image, write_png
from tests.app.conftest import Refuses

ROOT = Path(__file__).parents[2]
QUICK = ("--generator", "none", "--workers", "1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photo, a small aligned portrait of her, and a wall."""
    folder = tmp_path_factory.mktemp("photos")
    image = read_image(ROOT / "examples/astronaut.png")
    write_png(folder / "a_photo.png", image)
    write_png(folder / "b pörträt.png", resize_image(np.ascontiguousarray(image[40:210, 140:310]), 144, 144))
    write_png(folder / "c_wall.png", np.full((64, 64, 3), 0.5, np.float32))
    return folder


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("missing",), "missing is no folder of photos."),
        ((".", "--out", "."), "--out must be another folder than that of the photos."),
        ((".", "--count", "-1"), "--count must be 0 or more, not -1."),
        ((".", "--seed", "-1"), "--seed must be 0 or more, not -1."),
        ((".", "--exclude", "."), "--exclude goes with --held-out."),
        ((".", "--held-out", "--exclude", "missing"), "missing is no folder of photos."),
        ((".", "--held-out"), "has no photo that is held out."),
        ((".", "--masks", "third"), "--masks"),
        ((".", "--prior", "none", "--generator", "none"), "leaves nothing that could fill unseen texels."),
    ],
)
def test_wrong_use_is_one_sentence(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuses: Refuses,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    monkeypatch.chdir(photos)
    out = () if "--out" in words else ("--out", str(tmp_path / "out"))
    refuses(sentence, "eval", "holdout", *words, *out)
    assert sorted(p.name for p in photos.iterdir()) == ["a_photo.png", "b pörträt.png", "c_wall.png"]


@pytest.mark.parametrize("masks", ["half", *(pytest.param(m, marks=pytest.mark.slow) for m in ("random", "profile"))])
def test_every_photo_is_filled_by_every_method(
    photos: Path, tmp_path: Path, masks: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "holdout", str(photos), "--masks", masks, "--baselines", "--out", str(tmp_path), *QUICK]
    assert main(words) == 1
    found = read_evaluation(tmp_path)
    assert found.kind == "holdout"
    where = ("0", "0") if masks == "random" else ("right", "left")
    items = [f"{name} {masks} {side}" for name, side in zip(("a_photo", "b pörträt"), where, strict=True)]
    failed = f"c_wall {masks} {where[0]}"
    methods = ("ostec", "median", "mirror", "inpaint")
    assert [(row.item, row.method) for row in found.rows] == [(item, method) for item in items for method in methods]
    assert [(f["item"], f["reason"]) for f in found.failures] == [(failed, "No face was found in the photo.")]
    names = {"psnr_unseen", "ssim_unseen", "perceptual_unseen", "sharpness_unseen", "identity"}
    for item in items:
        rows = {row.method: row.figures for row in found.rows if row.item == item}
        assert all(set(figures) == names for figures in rows.values())
        # Even a poor prior knows a face better than these.
        assert rows["ostec"]["psnr_unseen"] > 2 + max(rows[m]["psnr_unseen"] for m in ("median", "inpaint"))
    for row in found.rows:
        assert all((tmp_path / path).is_file() for path in row.pictures.values())
        assert row.labels["found_by"] in ("detector", "whole picture")
        assert row.labels["tone"] in ("above 41", "10 to 41", "below 10")
        assert 0.01 < row.labels["share_hidden"] < 0.5
    # The same again does nothing again, to the same bytes.
    files = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in files if path.parent != tmp_path}
    capsys.readouterr()
    assert main(words) == 1
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == files
    assert {path: path.stat().st_mtime_ns for path in times} == times
    said = capsys.readouterr()
    assert "Done before and kept: 2 of 3 photos." in said.err
    assert said.out.endswith((tmp_path / "table.txt").read_text())


def test_other_settings_are_done_anew(photos: Path, tmp_path: Path) -> None:
    words = ["eval", "holdout", str(photos), "--count", "2", "--masks", "random", "--out", str(tmp_path), *QUICK]
    found = []
    for seed in ("0", "1"):
        main([*words, "--seed", seed])
        found.append(read_evaluation(tmp_path).rows[0])
    assert [row.item for row in found] == ["a_photo random 0", "a_photo random 1"]
    assert found[0].figures["psnr_unseen"] != found[1].figures["psnr_unseen"]


def test_count_chooses_evenly_and_held_out_by_name(tmp_path: Path) -> None:
    names = [f"us_{k:03}" for k in range(200)]
    for name in names:
        (tmp_path / f"{name}.jpg").write_bytes(b"")
    held = [name for name in names if zlib.crc32(name.encode()) % 20 == 0]
    assert 3 < len(held) < 30
    also = tmp_path / "excluded"
    also.mkdir()
    (also / "007.jpg").write_bytes(b"")

    def chosen(**options: object) -> list[tuple[str, str]]:
        command = EvalHoldout(folder=str(tmp_path), out="out", **options)  # type: ignore[arg-type]
        return [(photo.name, photo.side) for photo in command._photos()]

    assert chosen(count=3) == [("us_000", "right"), ("us_100", "left"), ("us_199", "right")]
    assert [name for name, _ in chosen(held_out=True)] == held
    both = [name for name, _ in chosen(held_out=True, exclude=str(also))]
    assert both == sorted({*held, "us_007"})
