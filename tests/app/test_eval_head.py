"""``ostec eval head``: what it refuses, and one small head from the command to the files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ostec.app.cli import main
from ostec.eval.head import run as head
from ostec.eval.head import truth
from ostec.eval.head.mesh import PartFiles
from ostec.eval.report.record import read_evaluation
from ostec.io.images import read_image
from tests.eval.planted import write_planted

DATA = Path(__file__).resolve().parents[3] / "shared/data/head"
Refused = Callable[..., str]


@pytest.fixture
def part(tmp_path: Path) -> PartFiles:
    return write_planted(tmp_path / "mesh")


@pytest.fixture
def refused(part: PartFiles, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """What is said where nothing starts."""

    def run(*words: object, mesh: Path = part.mesh, texture: Path = part.texture) -> str:
        arguments = ["eval", "head", mesh, "--texture", texture, "--out", tmp_path / "out", *words]
        assert main([str(word) for word in arguments]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        sentence = said.err.splitlines()[-1]
        assert sentence.startswith("ostec: error: ")
        assert said.err.count("error") == 1
        assert not (tmp_path / "out" / "eval.json").exists()
        return sentence.removeprefix("ostec: error: ")

    return run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--pairs", "0:x"), "--pairs must be INPUT:TARGET yaws as 25:-40, got '0:x'."),
        (("--pairs", "0:0", "--pitches", "5"), "--pairs take the place of yaws, pitches and targets, so give either."),
        (("--yaws", "120"), "--yaws must be -90 to 90 degrees, got 120."),
        (("--lights", "dim"), "dim"),
        (("--iterations", "-1"), "--iterations must be 0 or more, got -1."),
        (("--face-model", "bust"), "bust"),
        (("--iterations", "0", "--prior", "none"), "leaves nothing that could fill unseen texels"),
        (("--generator", "none.safetensors"), "The generator's file none.safetensors does not exist."),
        (("--prior", "none.safetensors"), "The prior's file none.safetensors does not exist."),
        (("--part-texture", "eye.png"), "one texture for all parts or one for each of them, not 1 for 0."),
        (("--part", "eye.obj"), "eye.obj does not exist"),
        (("--workers", "-1", "--quiet", "--verbose"), "--quiet and --verbose exclude each other."),
    ],
)
def test_wrong_use_is_one_sentence(refused: Refused, words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(*words)


def test_a_mesh_that_is_none_is_one_sentence(refused: Refused, part: PartFiles, tmp_path: Path) -> None:
    assert "gone.obj does not exist" in refused(mesh=tmp_path / "gone.obj")
    assert "holds no faces" in refused(mesh=part.texture)
    assert "not a picture that can be read" in refused(texture=part.mesh)


def test_one_texture_serves_all_parts(part: PartFiles) -> None:
    from ostec.app.eval.head import EvalHead

    names = [Path(name) for name in ("left.obj", "right.obj", "a.png", "b.png")]

    def textures(*given: Path) -> list[Path]:
        asked = EvalHead(part.mesh, part.texture, "out", part=tuple(names[:2]), part_texture=given)
        return [each.texture for each in asked._parts()]

    assert textures() == [part.texture] * 3
    assert textures(names[2]) == [part.texture, names[2], names[2]]
    assert textures(*names[2:]) == [part.texture, names[2], names[3]]


def test_the_face_model_is_part_of_what_is_judged(part: PartFiles) -> None:
    from ostec.app.eval.head import EvalHead

    assert EvalHead(part.mesh, part.texture, "out")._settings().completion.face_model == "none"
    asked = EvalHead(part.mesh, part.texture, "out", face_model="ict")
    assert asked._settings().completion.face_model == "ict"


def test_a_face_model_that_is_not_there_is_one_sentence(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert "ostec models fetch ict_facekit" in refused("--face-model", "ict", "--pairs", "0:0", "-i", "0")


@pytest.mark.slow
def test_a_head_from_the_command_to_the_files_and_again(
    part: PartFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(truth, "GRID_YAWS_DEG", (-20, 20))
    monkeypatch.setattr(truth, "GRID_PITCHES_DEG", (0,))
    out = tmp_path / "out"
    words = ["eval", "head", str(part.mesh), "--texture", str(part.texture), "--out", str(out)]
    words += ["--pairs", "-25:0", "--lights", "mild", "-i", "0", "--workers", "1"]
    assert main(words) == 0
    said = capsys.readouterr()
    found = read_evaluation(out)
    assert found.kind == "head"
    assert [row.item for row in found.rows] == [
        "mild/pitch0/yaw-25/uv",
        "mild/pitch0/yaw-25/to0",
    ]
    assert "perceptual" in found.models
    assert found.models["inputs that failed"] == "0 of 1 (0 %)"
    assert all(row.figures["psnr_face"] > 20 for row in found.rows if "target" in row.labels)
    table = (out / "table.txt").read_text()
    assert table.rstrip("\n") in said.out
    assert "-25" in table
    assert "mild" in (out / "table_by_light.txt").read_text()
    assert read_image(out / "sheet.png").shape[2] == 3
    before = {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def completes(task: object, key: str) -> None:
        raise AssertionError(f"{key} was done already")

    monkeypatch.setattr(head.HeadTask, "__call__", completes)
    (out / "eval.json").unlink()
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert {path.name: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_the_demo_head_scores_as_it_did(tmp_path: Path) -> None:
    """The prior alone, from 0 and -45 degrees: far above a flat fill (21.6 dB), with eyeballs as parts."""
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data/head")
    folder = Path(shutil.copytree(DATA, tmp_path / "head"))
    words = ["eval", "head", folder / "mesh_head.obj", "--texture", folder / "tex_uv.png", "--out", tmp_path / "out"]
    words += ["--part", folder / "mesh_eye_ball_L.obj", folder / "mesh_eye_ball_R.obj"]
    words += ["--part-texture", folder / "tex_eye_ball.png", "--lights", "unlit", "-i", "0", "--baselines"]
    assert main([str(word) for word in [*words, "--pairs", "0:40", "-45:0"]]) == 0
    record = json.loads((tmp_path / "out/eval.json").read_text())
    figures = {(row["item"], row["method"]): row["figures"] for row in record["rows"]}
    for item in ("unlit/pitch0/yaw0/to40", "unlit/pitch0/yaw-45/to0"):
        assert figures[item, "ostec"]["psnr_face"] > figures[item, "median"]["psnr_face"] + 0.5
        assert figures[item, "ostec"]["psnr_unseen"] > 22.5
        assert figures[item, "truth"]["psnr_face"] > 26.5
