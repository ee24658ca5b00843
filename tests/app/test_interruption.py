"""Runs that end early: Ctrl-C, SIGTERM, kill -9, a full disk, nobody listening; and two runs at a time."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ostec.app.photos.runner import Terminated, terminate_like_interrupt
from ostec.export.record import read_failures
from tests.app.conftest import assert_whole

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path, calls: Any) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start ``ostec complete in --save-dir out`` with the fake completer in a process of its own."""
    processes = []

    def run(*words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, str(ROOT / "tests/app/fake.py"), "complete", "in", "--save-dir", "out", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def _wait_for(log: Path, line: str) -> None:
    end = time.monotonic() + 60
    while not (log.exists() and line in log.read_text(encoding="utf-8")):
        assert time.monotonic() < end, f"{line} was not reached"
        time.sleep(0.02)


@pytest.mark.parametrize(("word", "code"), [("int", 130), ("term", 143)])
def test_interrupted_run_keeps_its_work_and_the_same_command_goes_on(
    ostec: Any, photos: Any, calls: Any, word: str, code: int
) -> None:
    folder = photos({"a.jpg": "ok", "b.jpg": word, "c.jpg": "ok c"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == code
    assert (
        said.err == "ostec: warning: Interrupted: what is done is kept, and the same command goes on with the rest.\n"
    )
    assert said.out.splitlines()[-1] == "1 done, 0 skipped, 0 failed, 2 not tried; open out/index.html."
    assert 'href="./a.html"' in Path("out/index.html").read_text(encoding="utf-8")
    assert calls() == ["complete a.jpg", "complete b.jpg"]
    (folder / "b.jpg").write_text("ok b")
    assert ostec("complete", "in", "--save-dir", "out").code == 0
    assert calls() == ["complete b.jpg", "complete c.jpg"]
    assert_whole(Path("out"), {"a", "b", "c"})


@pytest.mark.slow
def test_ctrl_c_from_a_terminal(start: Any, photos: Any, tmp_path: Path) -> None:
    photos({"a.jpg": "ok", "b.jpg": "wait"})
    process = start()
    _wait_for(tmp_path / "calls.log", "complete b.jpg")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out.splitlines()[-1] == "1 done, 0 skipped, 0 failed, 1 not tried; open out/index.html."
    assert "Traceback" not in err
    assert_whole(tmp_path / "out", {"a"})


@pytest.mark.parametrize("same_folder", [False, True])
def test_kill_in_the_middle_then_the_same_command(
    start: Any, ostec: Any, photos: Any, calls: Any, tmp_path: Path, same_folder: bool
) -> None:
    folder = photos({"a.jpg": "ok", "b.jpg": "kill", "c.jpg": "ok c"})
    if same_folder:
        (tmp_path / "out").symlink_to("in")
    process = start()
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "out/b.png").exists()
    assert not (tmp_path / "out/b.json").exists()
    # The fake leaves the unfinished file of another machine, which stays; this one is of this machine and goes.
    (tmp_path / f"out/.ostec-{'0' * 8}-1-{'0' * 8}.part").unlink()
    assert calls() == ["complete a.jpg", "complete b.jpg"]
    (folder / "b.jpg").write_text("ok b")
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == 0, said.err
    assert calls() == ["complete b.jpg", "complete c.jpg"]
    if same_folder:
        for photo in folder.glob("*.jpg"):
            photo.unlink()
    assert_whole(tmp_path / "out", {"a", "b", "c"})


def test_unfinished_files_of_a_killed_process_are_removed(ostec: Any, photos: Any, tmp_path: Path) -> None:
    photos({"a.jpg": "ok"})
    code = (
        "import os, signal; from pathlib import Path; from ostec.io.files import write_atomic\n"
        "write_atomic(Path('out/x.bin'), lambda stream: os.kill(os.getpid(), signal.SIGKILL))"
    )
    Path("out").mkdir()
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(Path("out").glob(".*.part"))) == 1
    assert ostec("complete", "in", "--save-dir", "out").code == 0
    assert_whole(Path("out"), {"a"})


def test_killed_while_overwriting_does_not_pass_for_done(
    start: Any, ostec: Any, photos: Any, calls: Any, tmp_path: Path
) -> None:
    folder = photos({"a.jpg": "ok"})
    ostec("complete", "in", "--save-dir", "out")
    (folder / "a.jpg").write_text("kill")
    start("--overwrite").communicate(timeout=60)
    calls()
    (folder / "a.jpg").write_text("ok")
    assert ostec("complete", "in", "--save-dir", "out").code == 0
    assert calls() == ["complete a.jpg"]


def test_full_disk_stops_the_run_in_one_sentence(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "ok", "b.jpg": "full", "c.jpg": "ok", "d.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == 1
    assert said.err.splitlines() == [
        "ostec: error: in/b.jpg failed (export): b.glb cannot be written (No space left on device).",
        "ostec: error: The run stops early: b.glb cannot be written (No space left on device).",
    ]
    assert calls() == ["complete a.jpg", "complete b.jpg"]
    assert said.out.splitlines()[-1].startswith("1 done, 0 skipped, 1 failed, 2 not tried; ")
    assert [f.file for f in read_failures(Path("out"))] == ["in/b.jpg"]


def test_two_photos_in_a_row_that_cannot_be_written_stop_the_run(ostec: Any, photos: Any, calls: Any) -> None:
    photos({"a.jpg": "locked", "b.jpg": "ok", "c.jpg": "locked", "d.jpg": "locked", "e.jpg": "ok"})
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.out.splitlines()[-1].startswith("1 done, 0 skipped, 3 failed, 1 not tried; ")
    assert len(calls()) == 4


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 20 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_disk_that_runs_full(ostec: Any, photos: Any, calls: Any, small_disk: Path) -> None:
    photos({"a.jpg": "big", "b.jpg": "big", "c.jpg": "big"})
    said = ostec("complete", "in", "--save-dir", small_disk)
    assert said.code == 1
    assert calls() == ["complete a.jpg", "complete b.jpg"]
    assert "No space left on device" in said.err
    assert said.err.splitlines()[-1].startswith("ostec: error: The run stops early: ")
    assert not list(small_disk.glob("*.part"))
    (small_disk / "rest").write_bytes(b"")
    with contextlib.suppress(OSError), (small_disk / "rest").open("wb") as stream:
        stream.write(bytes(30 << 20))
    said = ostec("complete", "in", "--save-dir", small_disk)
    assert said.code == 2
    assert said.err == f"ostec: error: The folder {small_disk} cannot be written to (No space left on device).\n"


def test_nobody_listens_any_more(photos: Any, start: Any, tmp_path: Path) -> None:
    photos({"a.jpg": "ok", "b.jpg": "ok b"})
    process = start()
    process.stdout.close()
    process.wait(timeout=60)
    assert process.returncode == 0
    assert process.stderr.read() == ""
    assert_whole(tmp_path / "out", {"a", "b"})


@pytest.mark.parametrize("words", [(), ("--batch", "3"), ("-f",)])
@pytest.mark.slow
def test_runs_into_one_folder_share_the_photos(
    photos: Any, start: Any, ostec: Any, calls: Any, tmp_path: Path, words: tuple[str, ...]
) -> None:
    names = [f"{number:02}" for number in range(12)]
    photos({f"{name}.jpg": f"slow {name}" for name in names})
    expected = [f"complete {name}.jpg" for name in names]
    if "-f" in words:
        ostec("complete", "in", "--save-dir", "out")
        calls()
        expected = [f"extend {name} 1 0" for name in names]
    processes = [start(*words) for _ in range(3)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert_whole(tmp_path / "out", {*names})
    assert sorted(line for line in calls() if not line.startswith("together")) == expected
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.name != "run.jsonl"}
    if "-f" not in words:  # of which the fake makes something else at once
        ostec("complete", "in", "--save-dir", "alone", *words)
        assert {name: (tmp_path / "alone" / name).read_bytes() for name in made} == made


def test_what_a_killed_run_had_claimed_is_done_by_another(
    photos: Any, start: Any, ostec: Any, calls: Any, tmp_path: Path
) -> None:
    folder = photos({"a.jpg": "wait", "b.jpg": "ok b"})
    first = start()
    _wait_for(tmp_path / "calls.log", "complete a.jpg")
    (folder / "a.jpg").write_text("ok")
    second = start()
    _wait_for(tmp_path / "calls.log", "complete b.jpg")
    time.sleep(0.5)
    assert second.poll() is None  # waits for the first
    assert calls() == ["complete a.jpg", "complete b.jpg"]
    first.kill()
    said = second.communicate(timeout=60)[0]
    assert said.splitlines()[-1].startswith("2 done, 0 skipped, 0 failed; ")
    assert calls() == ["complete a.jpg"]
    assert_whole(tmp_path / "out", {"a", "b"})


@pytest.mark.parametrize("words", [(), ("--overwrite",)])
def test_a_photo_that_another_run_has_finished_is_not_done_again(
    ostec: Any, photos: Any, calls: Any, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    from tests.app.fake import FakeCompleter

    photos({"a.jpg": "ok", "b.jpg": "ok b"})
    if words:
        ostec("complete", "in", "--save-dir", "out")
    complete = FakeCompleter.complete_many

    def meanwhile(self: FakeCompleter, photos: list[Path], progress: Any = None) -> Any:
        if photos[0].name == "a.jpg":
            complete(self, [Path("in/b.jpg")])[0].faces[0].save("out", "b")
        return complete(self, photos, progress)

    monkeypatch.setattr(FakeCompleter, "complete_many", meanwhile)
    said = ostec("complete", "in", "--save-dir", "out", *words)
    assert said.out.splitlines()[-1] == "1 done, 1 skipped, 0 failed; open out/index.html."


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="of POSIX")
def test_a_terminal_that_is_closed_ends_the_run_as_ctrl_c_does(start: Any, photos: Any, tmp_path: Path) -> None:
    photos({"a.jpg": "ok", "b.jpg": "wait"})
    process = start()
    _wait_for(tmp_path / "calls.log", "complete b.jpg")
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert out.splitlines()[-1] == "1 done, 0 skipped, 0 failed, 1 not tried; open out/index.html."
    assert "Traceback" not in err
    assert_whole(tmp_path / "out", {"a"})


def test_below_nohup_a_closed_terminal_does_not_end_the_run() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminate_like_interrupt() as ending:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert ending.exit_code == 130
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(("last", "end"), [("ok", "2 done, 0 skipped, 0 failed, 1 not tried."), (None, "2 done, 0")])
def test_a_save_dir_that_vanishes_is_a_failure_and_is_not_named(
    ostec: Any, photos: Any, last: str | None, end: str
) -> None:
    photos({"a.jpg": "ok", "b.jpg": "vanish", **({"c.jpg": last} if last else {})})
    said = ostec("complete", "in", "--save-dir", "out")
    assert said.code == 1
    assert "The run stops early" in said.err
    assert said.out.splitlines()[-1].startswith(end)
    assert "index.html" not in said.out.splitlines()[-1]
    assert not Path("out").exists()


def test_sigterm_is_told_from_ctrl_c_though_a_library_forgets_it() -> None:
    with terminate_like_interrupt() as ending:
        assert ending.exit_code == 130
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        except Terminated:
            pass
    assert ending.exit_code == 143
