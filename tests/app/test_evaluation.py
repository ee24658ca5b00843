"""Jobs on the screen: a line each, failures as warnings, and the folder of the results."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ostec.app.console import Display, set_up_logging
from ostec.app.evaluation import check_voice, check_workers, out_folder, run_shown
from ostec.core.errors import FaceError, OutputError, UsageError
from ostec.eval.jobs import Jobs


@dataclass(frozen=True)
class Toy:
    def __call__(self, key: str) -> dict[str, Any]:
        if key.startswith("no"):
            raise FaceError(f"No face in {key}.")
        return {"key": key}


def test_lines_for_what_is_done_warnings_for_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging()
    found = run_shown(Jobs(("a", "no-b", "c"), tmp_path, "d"), Toy(), 1, False, "renders")
    assert found == {"a": {"key": "a"}, "no-b": {"error": "No face in no-b."}, "c": {"key": "c"}}
    said = capsys.readouterr()
    assert said.out == "1/3 a done\n3/3 c done\n"
    assert said.err == "ostec: warning: no-b failed: No face in no-b.\n"
    assert run_shown(Jobs(("a", "no-b", "c", "e"), tmp_path, "d"), Toy(), 1, False, "renders")["e"] == {"key": "e"}
    said = capsys.readouterr()
    assert said.out == "4/4 e done\n"
    assert said.err.startswith("ostec: Done before and kept: 2 of 4 renders.\n")


def test_quiet_says_what_failed_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(quiet=True)
    run_shown(Jobs(("a", "no\x1b"), tmp_path, "d"), Toy(), 1, True, "renders")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "ostec: warning: no\\x1b failed: No face in no\\x1b.\n"


def test_one_process_per_core_where_none_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run_jobs(jobs: Jobs, task: Toy, workers: int, on_done: object) -> dict[str, dict[str, Any]]:
        asked.append(workers)
        return {}

    monkeypatch.setattr("ostec.app.evaluation.run_jobs", run_jobs)
    monkeypatch.setattr("ostec.app.evaluation.workers_here", lambda: 7)
    for workers in (0, 3):
        run_shown(Jobs((), tmp_path, "d"), Toy(), workers, True, "renders")
    assert asked == [7, 3]


def test_folder_is_made_cleared_of_leftovers_and_checked(tmp_path: Path) -> None:
    made = out_folder(str(tmp_path / "a/b"))
    assert made.is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file"):
        out_folder(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="--out must name a folder"):
        out_folder("")


def test_contradictions_are_refused() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        check_voice(quiet=True, verbose=True)
    with pytest.raises(UsageError, match=r"--workers must be 0 .* not -1"):
        check_workers(-1)
    check_voice(quiet=True, verbose=False)
    check_workers(0)


def test_display_counts_in_the_noun_it_is_given() -> None:
    assert Display(2, 2, True)._noun == "photos"
    assert Display(2, 2, True, "renders")._noun == "renders"
