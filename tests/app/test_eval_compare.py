"""``ostec eval compare`` from the command line: its exit code guards a change."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.eval.report.record import Evaluation, Row, write_evaluation
from ostec.io.images import write_png
from tests.app.conftest import Refuses

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    for name, value, kind in (("a", 20.0, "head"), ("b", 19.8, "head"), ("other", 20.0, "views")):
        (tmp_path / name).mkdir()
        write_png(tmp_path / name / "x.png", np.full((8, 8, 3), 0.5, np.float32))
        rows = tuple(Row(item, "ostec", {"psnr_face": value}, pictures={"made": "x.png"}) for item in ("x", "[y]"))
        write_evaluation(tmp_path / name, Evaluation(kind, {}, {}, rows))

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["eval", "compare", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("a", "b"), 1),
        (("b", "a"), 0),
        (("a", "a"), 0),
        (("a", "b", "--tolerance", "0.3"), 0),
        (("a", "b", "--tolerance", "psnr=0.1", "ssim=0.1"), 1),
        (("a", "b", "--tolerance", "psnr=0.1", "psnr_face=0.3"), 0),
        (("a", "b/eval.json", "--method", "ostec"), 1),
    ],
)
def test_exit_code_is_one_where_b_is_worse_beyond_the_tolerance(run: Run, words: tuple[str, ...], code: int) -> None:
    assert run(*words, "-q") == (code, "", "")


def test_table_is_printed_and_pages_are_written_on_request(tmp_path: Path, run: Run) -> None:
    code, out, err = run("a", "b")
    assert (code, err) == (1, "")
    assert out.startswith("2 rows in pairs\n")
    line = next(line for line in out.splitlines() if line.startswith("ostec"))
    assert line.split() == ["ostec", "psnr_face", "2", "20.00", "19.80", "-0.20", "-0.20", "..", "-0.20", "worse"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "other"]
    assert run("a", "b/eval.json", "--out", "new/cmp")[0] == 1
    assert sorted(path.name for path in (tmp_path / "new/cmp").iterdir()) == ["compare.html", "compare.txt"]
    assert (tmp_path / "new/cmp/compare.txt").read_text() == out
    page = (tmp_path / "new/cmp/compare.html").read_bytes()
    assert page.count(b"data:image/png") == 4
    run("a", "b", "--out", "new/cmp")
    assert (tmp_path / "new/cmp/compare.html").read_bytes() == page.replace(b"B: b/eval.json", b"B: b")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a", "nowhere"), "nowhere does not exist."),
        (("a", "other"), "One run is of kind 'head', the other of kind 'views': they cannot be compared."),
        (("a", "b", "--method", "prior"), "The runs have no row of the method 'prior' in common."),
        (("a", "b", "--tolerance", "speed=1"), "not 'speed=1'"),
        (("a", "b", "--out", "a/eval.json"), "a/eval.json is a file, not a folder."),
        (("a",), "RUN_B must be given"),
        (("a", "b", "--out", ""), "--out must name a folder."),
    ],
)
@pytest.mark.usefixtures("run")
def test_wrong_use_is_one_sentence(refuses: Refuses, words: tuple[str, ...], sentence: str) -> None:
    refuses(sentence, "eval", "compare", *words)
