"""Jobs on the screen: a line each, failures as warnings, and the folder of the results."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from ostec.app.checks import refusal
from ostec.app.console import Display, set_up_logging
from ostec.app.eval.options import CompletionOptions, RunOptions
from ostec.app.eval.run import finish, out_folder, run_shown
from ostec.core.errors import FaceError, OutputError, UsageError
from ostec.eval.jobs import Jobs
from ostec.eval.report.record import Evaluation, Row, write_evaluation
from ostec.eval.study import rows_of

ONE = RunOptions(workers=1)


@dataclass(frozen=True)
class Toy:
    def __call__(self, key: str) -> dict[str, Any]:
        if key.startswith("no"):
            raise FaceError(f"No face in {key}.")
        return {"key": key}


@dataclass(frozen=True)
class Rows:
    figures: dict[str, float]

    def __call__(self, key: str) -> dict[str, Any]:
        return {"rows": [asdict(Row(key, "ostec", self.figures, {"yaw": 1}))]}


def test_lines_for_what_is_done_warnings_for_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    found = run_shown(Jobs(("a", "no-b", "c"), tmp_path, "d"), Toy(), ONE, "renders")
    assert found == {"a": {"key": "a"}, "no-b": {"error": "No face in no-b."}, "c": {"key": "c"}}
    said = capsys.readouterr()
    assert said.out == "1/3 a done\n3/3 c done\n"
    assert said.err == "ostec: warning: no-b failed: No face in no-b.\n"
    assert run_shown(Jobs(("a", "no-b", "c", "e"), tmp_path, "d"), Toy(), ONE, "renders")["e"] == {"key": "e"}
    said = capsys.readouterr()
    assert said.out == "4/4 e done\n"
    assert said.err.startswith("ostec: Done before and kept: 2 of 4 renders.\n")


def test_quiet_says_what_failed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=True)
    run_shown(Jobs(("a", "no\x1b"), tmp_path, "d"), Toy(), RunOptions(1, quiet=True), "renders")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "ostec: warning: no\\x1b failed: No face in no\\x1b.\n"


def test_one_process_per_core_at_most_and_where_none_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(quiet=True)
    asked = []

    def run_jobs(jobs: Jobs, task: Toy, workers: int, on_done: object) -> dict[str, dict[str, Any]]:
        asked.append(workers)
        return {}

    monkeypatch.setattr("ostec.app.eval.run.run_jobs", run_jobs)
    monkeypatch.setattr("ostec.app.eval.run.workers_here", lambda: 7)
    for workers in (0, 3, 7):
        run_shown(Jobs((), tmp_path, "d"), Toy(), RunOptions(workers, quiet=True), "renders")
    assert asked == [7, 3, 7]
    assert capsys.readouterr().err == ""
    run_shown(Jobs((), tmp_path, "d"), Toy(), RunOptions(99, quiet=True), "renders")
    assert asked.pop() == 7
    sentence = "ostec: warning: --workers 99 is more than the 7 cores that may be used here; each runs one.\n"
    assert capsys.readouterr().err == sentence


def test_folder_is_made_and_checked(tmp_path: Path) -> None:
    made = out_folder(str(tmp_path / "a/b"))
    assert made.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        out_folder(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="--out must name a folder"):
        out_folder("")


def test_a_folder_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    write_evaluation(tmp_path, Evaluation("head", {}, {}, ()))
    with pytest.raises(UsageError, match="holds an evaluation of the kind 'head'; name another folder"):
        out_folder(str(tmp_path), "views")
    for kind in ("head", None):
        assert out_folder(str(tmp_path), kind) == tmp_path
    (tmp_path / "eval.json").write_text("{")
    assert out_folder(str(tmp_path), "views") == tmp_path


def test_an_evaluation_of_before_goes_where_there_is_something_to_do(tmp_path: Path) -> None:
    """It means done, and an interruption would leave it beside pictures of another run."""
    run_shown(Jobs(("a",), tmp_path, "d"), Toy(), ONE, "renders")
    write_evaluation(tmp_path, Evaluation("head", {}, {}, ()))
    run_shown(Jobs(("a",), tmp_path, "d"), Toy(), ONE, "renders")
    assert (tmp_path / "eval.json").exists()
    run_shown(Jobs(("a",), tmp_path, "other"), Toy(), ONE, "renders")
    assert not (tmp_path / "eval.json").exists()


@pytest.mark.parametrize("kind", ["head", "views", "holdout", "textures"])
def test_a_table_tells_not_whether_its_rows_are_new(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = {"sharpness_face": 0.9, "psnr_unseen": math.nan, "psnr_face": 0.1 + 0.2, "identity": math.inf}
    said = []
    for _ in range(2):
        capsys.readouterr()
        outcomes = run_shown(Jobs(("b", "a"), tmp_path, "d"), Rows(figures), ONE, "renders")
        evaluation = Evaluation(kind, {}, {}, rows_of(outcomes))
        assert finish(tmp_path, evaluation, ("yaw",), ONE) == 0
        said.append((capsys.readouterr().out.rpartition(f"{kind}: ")[2], (tmp_path / "eval.json").read_bytes()))
        assert list(evaluation.rows[0].figures) == sorted(figures)
    assert said[0] == said[1]
    assert said[0][0].startswith("2 items, 2 rows\n")


def test_failures_are_exit_code_1_and_quiet_says_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = Evaluation("head", {}, {}, (), ({"item": "a", "method": "", "reason": "No face."},))
    assert finish(tmp_path, failed, (), RunOptions(quiet=True)) == 1
    assert capsys.readouterr().out == ""
    assert "No face." in (tmp_path / "table.txt").read_text()


def test_contradictions_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        RunOptions(quiet=True, verbose=True).begin()
    with pytest.raises(UsageError, match=r"--workers must be 0 .* not -1"):
        RunOptions(workers=-1).begin()
    RunOptions(quiet=True).begin()


def test_refusals_name_options_as_they_are_given(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--iterations must be 0 or more, got -1\.$"):
        CompletionOptions(iterations=-1).settings()
    with pytest.raises(UsageError, match="The prior's file gone does not exist"):
        CompletionOptions(prior="gone").settings()
    assert str(refusal(ValueError("part_texture must be."), ["part_texture"])) == "--part-texture must be."
    assert str(refusal(ValueError("parts must be."), ["part"])) == "Parts must be."
    found = CompletionOptions(iterations=3).settings(uv_size=256, frontalize=True)
    assert (found.iterations, found.mode, found.uv_size, found.frontalize) == (3, "soft", 256, True)


def test_display_counts_in_the_noun_it_is_given() -> None:
    assert Display(2, 2, True)._noun == "photos"
    assert Display(2, 2, True, "renders")._noun == "renders"
