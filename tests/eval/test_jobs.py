"""Jobs side by side: the same outcomes however many processes, what is done is kept, nothing is left behind."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from ostec.core.errors import FaceError, OstecError
from ostec.eval.jobs import PARTS, Jobs, digest_of, run_jobs, workers_here

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Toy:
    """Leaves a line in ``log`` per call; keys say what happens."""

    log: Path

    def __call__(self, key: str) -> dict[str, Any]:
        with self.log.open("a") as stream:
            stream.write(f"{key}\n")
        if key.startswith("fail"):
            raise FaceError(f"No face in {key}.")
        if key.startswith("bug"):
            raise ZeroDivisionError(key)
        if key.startswith("die"):
            os._exit(3)
        return {"letters": len(key), "threads": torch.get_num_threads()}


@dataclass(frozen=True)
class Unsorted:
    def __call__(self, key: str) -> dict[str, Any]:
        return {"second": (1.5, math.nan), "first": {"b": 0.1 + 0.2, "a": (key,)}}


def _calls(task: Toy) -> list[str]:
    return sorted(task.log.read_text().split()) if task.log.exists() else []


def _ignore(key: str, outcome: dict[str, Any], found: bool) -> None:
    return None


@pytest.mark.slow
def test_outcomes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    keys = ("bbb", "a", "fail-x", "cc")
    before = torch.get_num_threads()
    results = []
    for workers in (1, 2):
        heard: list[tuple[str, dict[str, Any], bool]] = []
        jobs = Jobs(keys, tmp_path / str(workers), "d")
        found = run_jobs(jobs, Toy(tmp_path / f"log{workers}"), workers, lambda *call: heard.append(call))  # noqa: B023
        assert list(found) == list(keys)  # in the order asked for, not that of finishing
        assert sorted(heard, key=lambda call: call[0]) == [(key, found[key], False) for key in sorted(keys)]
        results.append((found, {path.name: path.read_bytes() for path in (tmp_path / str(workers) / PARTS).iterdir()}))
    assert results[0] == results[1]
    assert results[0][0] == {
        "bbb": {"letters": 3, "threads": 1},
        "a": {"letters": 1, "threads": 1},
        "fail-x": {"error": "No face in fail-x."},
        "cc": {"letters": 2, "threads": 1},
    }
    assert sorted(results[0][1]) == ["a.json", "bbb.json", "cc.json"]
    assert torch.get_num_threads() == before


def test_resuming_does_nothing_twice_but_what_failed(tmp_path: Path) -> None:
    task = Toy(tmp_path / "log")
    first = run_jobs(Jobs(("a", "fail", "b"), tmp_path, "d"), task, 1, _ignore)
    heard: dict[str, bool] = {}
    again = run_jobs(
        Jobs(("b", "fail", "a", "new"), tmp_path, "d"), task, 1, lambda key, _, found: heard.update({key: found})
    )
    assert _calls(task) == ["a", "b", "fail", "fail", "new"]
    assert heard == {"b": True, "a": True, "fail": False, "new": False}
    assert {key: again[key] for key in first} == first


def test_another_digest_and_damaged_outcomes_are_done_again(tmp_path: Path) -> None:
    task = Toy(tmp_path / "log")
    run_jobs(Jobs(("a", "b", "c"), tmp_path, "d"), task, 1, _ignore)
    (tmp_path / PARTS / "a.json").write_text('{"digest": "d", "outc')
    (tmp_path / PARTS / "b.json").write_text('{"digest": "d", "outcome": 3}')
    run_jobs(Jobs(("a", "b", "c"), tmp_path, "d"), task, 1, _ignore)
    assert _calls(task) == ["a", "a", "b", "b", "c"]
    run_jobs(Jobs(("a", "b", "c"), tmp_path, "other"), task, 1, _ignore)
    assert _calls(task).count("c") == 2


def test_digest_is_of_values_not_of_their_order() -> None:
    assert digest_of({"a": 1, "b": [2, None]}, "x") == digest_of({"b": [2, None], "a": 1}, "x")
    assert digest_of({"a": 1}) != digest_of({"a": 2})
    assert digest_of("a", "b") != digest_of("ab")
    assert workers_here() >= 1


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_defect_ends_the_run_and_keeps_what_is_done(tmp_path: Path, workers: int) -> None:
    task = Toy(tmp_path / "log")
    with pytest.raises(ZeroDivisionError, match="bug"):
        run_jobs(Jobs(("a", "bug", "b"), tmp_path, "d"), task, workers, _ignore)
    kept = {path.stem for path in (tmp_path / PARTS).glob("*.json")}
    assert kept <= {"a", "b"}
    assert workers > 1 or kept == {"a"}
    calls = _calls(task)
    run_jobs(Jobs(tuple(kept), tmp_path, "d"), task, 1, _ignore)
    assert _calls(task) == calls


@pytest.mark.slow
def test_a_killed_process_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OstecError, match=r"^A process was ended .* what is done is kept, .*\.$") as caught:
        run_jobs(Jobs(("a", "die", "b", "c"), tmp_path, "d"), Toy(tmp_path / "log"), 2, _ignore)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / PARTS).glob("die*"))


SCRIPT = """
import signal, sys, time
from pathlib import Path
from ostec.eval.jobs import Jobs, run_jobs

class Slow:
    def __call__(self, key):
        import os
        Path(f"pid-{os.getpid()}").touch()
        if key != "quick":
            Path(f"begun-{key}").touch()
            time.sleep(600)
        return {"done": key}

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    try:
        run_jobs(Jobs(("quick", "slow1", "slow2"), Path("out"), "d"), Slow(), 2, lambda key, outcome, found: None)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_keeps_what_is_done_and_leaves_no_process(tmp_path: Path, whole_group: bool) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "script.py"], cwd=tmp_path, env=environment, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while not (
            (tmp_path / "out/parts/quick.json").exists()
            and (tmp_path / "begun-slow1").exists()
            and (tmp_path / "begun-slow2").exists()
        ):
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.05)
        if whole_group:  # as a terminal does
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        pids = [int(path.name[4:]) for path in tmp_path.glob("pid-*")]
        assert pids
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert json.loads((tmp_path / "out/parts/quick.json").read_text())["outcome"] == {"done": "quick"}
    assert [path.name for path in (tmp_path / "out/parts").iterdir()] == ["quick.json"]


def test_outcomes_are_the_same_whether_new_or_read_back(tmp_path: Path) -> None:
    jobs = Jobs(("a", "b"), tmp_path, "d")
    new, again = (run_jobs(jobs, Unsorted(), 1, lambda *_: None) for _ in range(2))
    assert repr(new) == repr(again)  # order, tuples that are lists, and NaN
    assert list(new["a"]) == ["first", "second"]
