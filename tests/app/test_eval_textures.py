"""``ostec eval textures`` from the command line."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.eval.report.record import read_evaluation
from ostec.io.images import write_png
from tests.app.conftest import Refuses
from tests.toy import toy_texture

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["eval", "textures", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def _textures(folder: Path, count: int = 3) -> Path:
    folder.mkdir()
    for k in range(count):
        rng = np.random.default_rng(k)
        noise = rng.normal(0, 0.03, (128, 128, 3))
        write_png(folder / f"t{k}.png", np.clip(toy_texture(128) * (0.8 + 0.1 * k) + noise, 0, 1).astype(np.float32))
    return folder


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_folder_becomes_table_page_sheet_and_record(tmp_path: Path, run: Run) -> None:
    _textures(tmp_path / "in")
    code, out, _ = run("in", "--out", "out", "--workers", "1")
    assert code == 0
    table = (tmp_path / "out/table.txt").read_text()
    assert out == "1/3 {}\n2/3 {}\n3/3 {}\n".format(*(line[4:] for line in out.splitlines()[:3])) + table
    assert table.startswith("textures: 3 items, 4 rows\nidentity: dlib face ResNet (")
    for name in ("eval.json", "textures.html", "contact_000.png", "thumbs/t1.png"):
        assert (tmp_path / "out" / name).is_file()
    rows = read_evaluation(tmp_path / "out").rows
    assert [row.item for row in rows] == ["t0", "t1", "t2", "all textures"]
    assert rows[-1].figures["spread"] > 0


def test_resumed_run_gives_the_same_bytes_and_does_nothing_twice(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _textures(tmp_path / "in")
    run("in", "--out", "out", "--workers", "1")
    first = _bytes(tmp_path / "out")
    monkeypatch.setattr("ostec.eval.textures.run.TextureTask.__call__", pytest.fail)
    code, out, err = run("in", "--out", "out", "--workers", "1")
    assert code == 0
    assert err == "ostec: Done before and kept: 3 of 3 textures.\n"
    assert out.startswith("textures: 3 items")
    assert _bytes(tmp_path / "out") == first


@pytest.mark.slow
def test_two_processes_give_the_bytes_of_one(tmp_path: Path, run: Run) -> None:
    _textures(tmp_path / "in")
    for workers in ("1", "2"):
        assert run("in", "--out", f"out{workers}", "--workers", workers, "-q")[:2] == (0, "")
    assert _bytes(tmp_path / "out1") == _bytes(tmp_path / "out2")


def test_damaged_texture_is_a_failure_and_tried_again(tmp_path: Path, run: Run) -> None:
    _textures(tmp_path / "in", 2)
    whole = (tmp_path / "in/t1.png").read_bytes()
    (tmp_path / "in/t1.png").write_bytes(whole[:900])
    code, out, err = run("in", "--out", "out", "--workers", "1", "--layout", "whole")
    assert code == 1
    assert "t1 (texture): " in out
    assert "1 failed" in out
    assert err.startswith("ostec: warning: t1 failed: ")
    assert "identity: none: the judge of identity" in out
    (tmp_path / "in/t1.png").write_bytes(whole)
    assert run("in", "--out", "out", "--workers", "1", "--layout", "whole", "-q") == (0, "", "")
    assert read_evaluation(tmp_path / "out").failures == ()


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are no text exist on Linux alone")
def test_file_names_that_are_no_text(tmp_path: Path, run: Run) -> None:
    _textures(tmp_path / "in", 2)
    (tmp_path / "in/t0.png").rename(tmp_path / "in" / os.fsdecode(b"t\xe9 <b>.png"))
    (tmp_path / "in" / os.fsdecode(b"bad\xe9.png")).write_bytes(b"x")
    code, out, err = run("in", "--out", "out", "--workers", "1", "--layout", "whole")
    assert code == 1
    assert "bad\\udce9 (texture): " in out
    assert "bad\\udce9 failed" in err
    rows = read_evaluation(tmp_path / "out").rows
    assert {row.item for row in rows} == {"t1", "t\udce9 <b>", "all textures"}
    assert b"<b>" not in (tmp_path / "out/textures.html").read_bytes()
    assert main(["eval", "compare", "out", "out", "--out", "cmp"]) == 0
    assert rb"t\udce9 &lt;b&gt; (texture)" in (tmp_path / "cmp/compare.html").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere", "--out", "out"), "The folder nowhere cannot be read (No such file or directory)."),
        (("empty", "--out", "out"), "The folder empty holds no texture."),
        (("in", "--out", "in"), "--out must not be the folder of the textures"),
        (("in", "--out", ""), "--out must name a folder."),
        (("in", "--out", "out", "--mask", "none.png"), "The mask cannot be used: none.png does not exist."),
        (("in", "--out", "out", "--mask", "oblong.png"), "oblong.png has 4 x 2 pixels and is not square."),
        (("in", "--out", "out", "--workers", "-1"), "--workers must be 0 (one per core) or more, not -1."),
        (("in", "--out", "out", "--layout", "flame"), "--layout"),
        (("in",), "--out"),
    ],
)
@pytest.mark.usefixtures("run")
def test_wrong_use_is_one_sentence(tmp_path: Path, refuses: Refuses, words: tuple[str, ...], sentence: str) -> None:
    _textures(tmp_path / "in", 1)
    (tmp_path / "empty").mkdir()
    write_png(tmp_path / "oblong.png", np.ones((2, 4, 3), np.float32))
    refuses(sentence, "eval", "textures", *words)
    assert not (tmp_path / "out/eval.json").exists()


def test_textures_of_any_kind_of_pixel_are_read(tmp_path: Path, run: Run) -> None:
    from PIL import Image

    (tmp_path / "in").mkdir()
    grey = Image.fromarray(np.rint(255 * toy_texture(128)[..., 0]).astype(np.uint8))
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    kinds = {"8.png": grey, "16.png": deep, "rgb.png": grey.convert("RGB"), "rgba.png": grey.convert("RGBA")}
    kinds |= {"palette ü.png": grey.convert("P"), "cmyk.tif": grey.convert("RGB").convert("CMYK")}
    for name, image in kinds.items():
        image.save(tmp_path / "in" / name)
    code, out, err = run("in", "--out", "out", "--workers", "1")
    assert (code, err) == (0, "")
    assert "palette ü done" in out
    found = [row.figures["brightness"] for row in read_evaluation(tmp_path / "out").rows if row.pictures]
    assert len(found) == 6
    assert found == pytest.approx([found[0]] * 6, abs=0.004)
