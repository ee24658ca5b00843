"""``ostec transfer``: which results it takes, what it writes, skips and refuses; with the toy head."""

import json
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.app.photos.results import listed_files
from ostec.app.photos.transfers import find_results
from ostec.core.errors import UsageError
from ostec.core.record import INVERSION
from ostec.export.record import write_record
from ostec.heads.maker import HeadMaker
from ostec.io.images import write_png
from ostec.pipeline.transfer import TextureTransfer
from tests.pipeline.saved_results import save_result
from tests.toy import toy_texture, toy_topology
from tests.toy_head import toy_correspondence, toy_head_model

TOPOLOGY = toy_topology()
MODEL = toy_head_model(TOPOLOGY)
MAKER = HeadMaker(MODEL, toy_correspondence(MODEL))
PARTS = ("face", "head")
FILES = {
    *("a_ict.obj", "a_ict.mtl", "a_ict.glb", "a_ict.json", "a_ict_eye_left.png", "a_ict_eye_right.png"),
    *(f"a_ict_{part}{ending}.png" for part in PARTS for ending in ("", "_known")),
}


@pytest.fixture(autouse=True)
def toy_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The toy head in place of ICT-FaceKit; grows by the name of each result that is transferred."""
    calls: list[str] = []

    class Toy(TextureTransfer):
        def __call__(self, result, size=None):  # type: ignore[no-untyped-def]
            calls.append(result.name)
            return super().__call__(result, size)

    def built(name: str) -> TextureTransfer:
        assert name == "ict"
        return Toy(MAKER, TOPOLOGY, tmp_path / "cache")

    monkeypatch.setattr(TextureTransfer, "from_files", built)
    return calls


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    save_result(folder, "a", TOPOLOGY)
    return folder


def _run(*words: object) -> int:
    return main(["transfer", *map(str, words), "--to", "ict"])


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().removeprefix("ostec: ").removeprefix("error: ")


def test_writes_its_files_beside_the_result(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name for path in results.iterdir()}
    assert _run(results) == 0
    assert {path.name for path in results.iterdir()} - before == FILES | {"run.jsonl"}
    record = json.loads((results / "a_ict.json").read_text("utf-8"))
    assert (record["kind"], set(record["files"])) == ("ostec transfer", FILES)
    assert listed_files(results) >= FILES  # no photos for the next run of ostec complete
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("1/1 a done in ")
    assert out[0].endswith("s, correspondence computed")
    assert out[1] == "1 done, 0 skipped, 0 failed; the transfers are beside the results."


def test_equal_runs_give_equal_files_from_the_cache_too(results: Path, tmp_path: Path) -> None:
    for out in ("one", "two"):
        assert _run(results / "a.npz", "--out", tmp_path / out, "-q") == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    entries = [json.loads((tmp_path / out / "run.jsonl").read_text("utf-8")) for out in ("one", "two")]
    assert [entry["correspondence"] for entry in entries] == ["computed", "read from the cache"]


def test_done_is_skipped_until_the_result_changes(
    results: Path, toy_model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [_run(results), _run(results)] == [0, 0]
    assert toy_model == ["a"]
    assert "0 done, 1 skipped, 0 failed" in capsys.readouterr().out
    save_result(results, "a", TOPOLOGY, 1 - toy_texture(256))
    assert _run(results) == 0
    assert toy_model == ["a", "a"]
    assert "a is done again: the result has changed since." in capsys.readouterr().err
    (results / "a_ict.mtl").unlink()
    assert _run(results) == 0
    assert toy_model == ["a"] * 3
    assert _run(results, "--overwrite") == 0
    assert toy_model == ["a"] * 4


def test_other_settings_are_kept_and_said(
    results: Path, toy_model: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(results, "--size", "256") == 0
    assert _run(results, "--size", "300") == 0
    assert toy_model == ["a"]
    assert "Made before with other settings, or another version of the model, and kept: 1" in capsys.readouterr().err


def test_one_bad_result_does_not_stop_the_others(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b", "c"):
        save_result(results, name, TOPOLOGY)
    (results / "b.png").write_bytes(b"no picture")
    assert _run(results) == 1
    captured = capsys.readouterr()
    assert "2 done, 0 skipped, 1 failed" in captured.out
    assert captured.err.count("failed (") == 1
    assert f"{results / 'b.json'} failed (read): " in captured.err
    assert (results / "c_ict.json").is_file()
    assert not list(results.glob("b_ict*"))


def test_results_are_found_by_record_mesh_and_folder_once_each(results: Path) -> None:
    save_result(results, "b", TOPOLOGY)
    write_record(results, "c", {"source": "c.jpg", "files": []}, INVERSION)
    (results / "d.json").write_text("[]")
    found = find_results([str(results / "b.npz"), str(results), str(results / "a.json")])
    assert [path.name for path in found] == ["b.json", "a.json"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ((), "Name at least one result to transfer: NAME.json, NAME.npz or a folder."),
        (("no.json",), "The result no.json does not exist."),
        (("photo.png",), "The result photo.png is neither NAME.json nor NAME.npz nor a folder."),
        (("empty",), "The folder empty has no result of ostec complete."),
        (("other.npz",), "other.json is no record of ostec complete, so other.npz is no result."),
    ],
)
def test_what_is_no_result_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_png(tmp_path / "photo.png", np.zeros((4, 4, 3), np.float32))
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(UsageError) as caught:
        find_results(asked)
    assert str(caught.value) == sentence


def test_wrong_use_ends_in_a_sentence(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_result(tmp_path / "more", "A", TOPOLOGY)
    for words, sentence in (
        ((results, "--size", "255"), "--size must be 256 to 4096, got 255."),
        ((results, "--out", ""), "--out is empty."),
        (
            (results, tmp_path / "more", "--out", tmp_path / "out"),
            f"{results / 'a.json'} and {tmp_path / 'more/A.json'} have the same name, so --out cannot hold both.",
        ),
        ((results, "-q", "-v"), "--quiet and --verbose exclude each other."),
    ):
        assert _run(*words) == 2
        assert _said(capsys) == sentence
    assert main(["transfer", str(results), "--to", "smpl"]) == 2
    assert "ict" in _said(capsys)
    assert not (tmp_path / "out").exists()


def test_files_of_others_are_not_replaced(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = results / "a_ict_face.png"
    mine.write_bytes(b"mine")
    assert _run(results) == 1
    assert f"{mine} is in the way, which no transfer has made; --overwrite replaces it." in _said(capsys)
    assert mine.read_bytes() == b"mine"
    assert _run(results, "--overwrite", "-q") == 0
    assert mine.read_bytes() != b"mine"


def test_another_result_of_that_name_is_never_replaced(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_result(results, "a_ict", TOPOLOGY)
    before = (results / "a_ict.json").read_bytes()
    assert _run(results / "a.json", "--overwrite") == 1
    assert "a_ict.json belongs to another result; choose another --out." in _said(capsys)
    assert (results / "a_ict.json").read_bytes() == before


def test_what_a_killed_run_left_is_replaced(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_given: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ostec.app.photos.transfers.write_record", killed)
        assert _run(results) == 130
    assert (results / "a_ict_face.png").is_file()
    assert "a_ict_face.png" in listed_files(results)
    assert _run(results, "-q") == 0
    assert {path.name for path in results.iterdir()} >= FILES
    assert not list(results.glob(".*pending"))
