"""``ostec dataset stats, sheet, export, filter, split`` from the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.app.photos.results import listed_files
from ostec.app.photos.transfers import find_results
from ostec.core.text import counted
from ostec.dataset import TextureDataset
from ostec.dataset.manifest import FIGURES, read_manifest
from ostec.dataset.verify import verify
from ostec.io.images import read_image
from ostec.io.photos import walk_photos
from tests.dataset import toy_faces
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import build_faces, texture_of

WORDS = {
    "a.jpg": "same=1 yaw=-40 confidence=0.95",
    "b.jpg": "two faces=2 yaw=5 confidence=0.9",
    "c.jpg": "same=1 again yaw=20 confidence=0.7",
    "d.jpg": "hand yaw=0 confidence=0.99",
    "e.jpg": "noface",
    "f.jpg": 'six warn=small yaw=60 attributes={"person": "Ada"} confidence=0.8',
    "g.jpg": 'seven yaw=-10 attributes={"person": "Ada"} confidence=0.85',
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reading")
    return build_faces(folder / "ds", write_photos(folder / "in", WORDS), shard_size=3)


@pytest.fixture
def run(ds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(command: str, *words: str) -> tuple[int, str, str]:
        code = main(["dataset", command, str(ds), *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def sources(out: Path) -> list[str]:
    return [row["source"] for row in read_manifest(out / "manifest.parquet")]


def test_stats_are_shown_and_written(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("stats", "--out", "stats")
    assert code == 0
    assert out == (tmp_path / "stats/stats.txt").read_text()
    assert out.startswith("7 faces; photos: 6 done, 1 failed\n")
    values = json.loads((tmp_path / "stats/stats.json").read_text())
    assert values["figures"]["yaw_deg"]["min"] == -40
    assert values["attributes"] == {"person": {"Ada": 2}}
    page = (tmp_path / "stats/stats.html").read_text()
    assert page.count("<svg") == len(FIGURES)
    assert page.count("nothing to show") == 2  # fit_residual_percent and sharpness
    assert ">Side of the face, pixels</text>" in page
    assert run("stats")[1] == out


def test_sheet_shows_the_textures_in_order(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("sheet", "--out", "sheet.png", "--side", "96", "--sort", "yaw_deg")
    assert (code, out) == (0, f"{tmp_path / 'sheet.png'} shows 7 faces.\n")
    image = read_image(tmp_path / "sheet.png")
    first = image[20:116, :96]  # the first cell, below its label: yaw -40
    np.testing.assert_allclose(first.mean((0, 1)), texture_of(WORDS["a.jpg"]).mean((0, 1)), atol=0.01)
    run("sheet", "--out", "few.png", "--side", "96", "--count", "4")
    assert read_image(tmp_path / "few.png").shape == (2 * 116 + 6, 2 * 96 + 6, 3)


def test_export_appears_whole_and_says_what_is_missing(run: Run, tmp_path: Path, ds: Path) -> None:
    code, out, err = run("export", "--format", "ffhq-uv", "--out", "ffhq")
    assert (code, out) == (0, f"7 faces are in {tmp_path / 'ffhq'}.\n")
    assert "The dataset has no attributes Age, Beard, Gender" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ffhq"]
    code, _, err = run("export", "--format", "folder", "--out", "ffhq")
    assert (code, "is there already and not an empty folder" in err) == (2, True)
    _, out, err = run("export", "--format", "folder", "--out", "f", "--members", "uv.png", "-q")
    assert (out, err.count("\n"), "Without json" in err) == ("", 1, True)
    assert len(list((tmp_path / "f").glob("*.png"))) == 7
    code, _, err = run("export", "--format", "webdataset", "--out", "w", "--members", "nothing")
    assert (code, "has the member nothing." in err) == (2, True)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("--max-yaw", "30"), ["b.jpg", "b.jpg", "c.jpg", "d.jpg", "g.jpg"]),
        (("--min-confidence", "0.9", "--single-face"), ["a.jpg", "d.jpg"]),
        (("--no-occluders", "--no-warnings"), ["a.jpg", "b.jpg", "b.jpg", "c.jpg", "g.jpg"]),
        (("--where", "person=Ada", "yaw_deg>0"), ["f.jpg"]),
        (("--where", "yaw_deg>=-10", "--single-face"), ["c.jpg", "d.jpg", "f.jpg", "g.jpg"]),
        (("--min-size", "100", "--max-brightness", "0.3"), ["a.jpg", "b.jpg", "b.jpg", "c.jpg", "d.jpg", *"fg"]),
    ],
)
def test_filter_by_the_manifest(run: Run, tmp_path: Path, words: tuple[str, ...], left: list[str]) -> None:
    code, out, _ = run("filter", "--out", "kept", *words)
    left = [name if "." in name else f"{name}.jpg" for name in left]
    assert code == 0
    assert sources(tmp_path / "kept") == left
    kept = counted(len(left), "face is", "faces are")
    assert out == f"{kept} in {tmp_path / 'kept'}, {counted(7 - len(left), 'was', 'were')} left out.\n"
    assert verify(tmp_path / "kept", repair=False).problems == []


def test_filter_by_the_textures(run: Run, tmp_path: Path) -> None:
    words = ("--no-twins", "--work", "work", "--workers", "1", "--quiet")
    assert run("filter", "--out", "apart", *words)[0] == 0
    assert sources(tmp_path / "apart") == ["a.jpg", "b.jpg", "b.jpg", "d.jpg", "f.jpg", "g.jpg"]
    left = json.loads((tmp_path / "apart/left_out.jsonl").read_text())
    assert left["reason"] == f"near-identical to {TextureDataset(tmp_path / 'apart').keys[0]}"
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "work/parts").iterdir()}
    assert len(parts) == 7
    # The figures are kept: a second filter measures nothing.
    figures = [json.loads(path.read_text())["outcome"]["figures"]["symmetry"] for path in parts]
    middle = sorted(figures)[3]
    assert run("filter", "--out", "even", "--max-symmetry", str(middle), "--work", "work", "--workers", "1")[0] == 0
    assert len(sources(tmp_path / "even")) == 4
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work/parts").iterdir()} == parts


def test_kept_figures_are_those_of_the_bytes(ds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_dark(words: str, face: int = 0) -> np.ndarray:
        image = texture_of(words, face)
        image[:, : image.shape[1] // 2] *= 0.2
        return image

    monkeypatch.setattr(toy_faces, "texture_of", half_dark)
    other = build_faces(tmp_path / "other", ds.parent / "in", shard_size=3)
    assert TextureDataset(other).keys == TextureDataset(ds).keys
    words = ("--work", str(tmp_path / "work"), "--workers", "1", "--quiet", "--max-symmetry", "1000")

    def figures() -> list[float]:
        parts = (tmp_path / "work/parts").iterdir()
        return sorted(json.loads(path.read_text())["outcome"]["figures"]["symmetry"] for path in parts)

    assert main(["dataset", "filter", str(ds), "--out", str(tmp_path / "kept"), *words]) == 0
    before = figures()
    assert main(["dataset", "filter", str(other), "--out", str(tmp_path / "dark"), *words]) == 0
    assert len(before) == 7
    assert len(figures()) == 14
    assert set(before) < set(figures())


def test_split_keeps_together_what_belongs_together(run: Run, tmp_path: Path, ds: Path) -> None:
    shares = ("--train", "0.5", "--val", "0.25", "--test", "0.25", "--group", "person", "--workers", "1", "--quiet")
    for seed in range(3):
        code, _, err = run("split", "--out", f"s{seed}", *shares, "--seed", str(seed))
        assert code == 0
        assert "5 faces have no attribute person and stand for themselves." in err
        parts = {
            part: list(read_manifest(tmp_path / f"s{seed}" / part / "manifest.parquet"))
            for part in ("train", "val", "test")
        }
        where = {row["source"]: part for part, rows in parts.items() for row in rows}
        assert where["a.jpg"] == where["c.jpg"]  # near-identical
        assert where["f.jpg"] == where["g.jpg"]  # one person
        keys = [row["key"] for rows in parts.values() for row in rows]
        assert sorted(keys) == sorted(TextureDataset(ds).keys)
        for part in parts:
            assert verify(tmp_path / f"s{seed}" / part, repair=False).problems == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("filter", "--out", "x"), "Name at least one limit"),
        (("filter", "--out", "x", "--where", "persn=Ada"), "has persn; see ostec dataset stats"),
        (("filter", "--out", "x", "--where", "person>Ada"), "asks for an order, and Ada is no number"),
        (("filter", "--out", "x", "--max-yaw", "nan"), "The limit of yaw_deg is no number"),
        (("filter", "--out", "x", "--max-yaw", "-5"), "The limit of yaw_deg must be 0 or more, not -5"),
        (("filter", "--out", "x", "--min-confidence", "1.5"), "confidence must be between 0 and 1, not 1.5"),
        (("filter", "--out", "x", "--min-size", "-1"), "The limit of face_size_px must be 0 or more, not -1"),
        (
            ("filter", "--out", "x", "--min-brightness", "0.9", "--max-brightness", "0.1"),
            "is greater than the greatest",
        ),
        (("filter", "--out", "x", "--min-confidence", "1"), "None of the 7 faces meets all limits"),
        (("filter", "--out", "", "--max-yaw", "3"), "--out is empty"),
        (("split", "--out", "x", "--train", "0.9", "--val", "0.2"), "must be 0 or more and sum up to 1"),
        (("sheet", "--out", "x.jpg"), "--out must end in .png"),
        (("sheet", "--out", "x.png", "--count", "0"), "--count must be from 1 to 1000"),
        (("sheet", "--out", "x.png", "--sort", "sharpness"), "The sharpness of no face of"),
        (("sheet", "--out", "x.png", "--sort", "mood"), "--sort takes one of pitch_deg, yaw_deg"),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_nothing(
    run: Run, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    code, _, err = run(*words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_dataset_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "stats", str(tmp_path)]) == 2
    assert "holds no dataset" in capsys.readouterr().err


def test_a_folder_is_a_result_of_complete(run: Run, tmp_path: Path, ds: Path) -> None:
    run("export", "--format", "folder", "--out", "f")
    folder = tmp_path / "f"
    assert listed_files(folder) == {path.name for path in folder.iterdir()} - {"README.md"}
    assert {path.name for path in walk_photos(folder)} <= listed_files(folder)
    assert [path.stem for path in find_results([str(folder)])] == sorted(TextureDataset(ds).keys)
    assert main(["eval", "textures", str(folder), "--out", "eval", "--workers", "1", "-q"]) == 0
    rows = json.loads((tmp_path / "eval/eval.json").read_text())["rows"]
    assert {row["item"] for row in rows if row["pictures"]} == set(TextureDataset(ds).keys)
