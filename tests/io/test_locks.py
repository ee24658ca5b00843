"""A lock is held by one at a time, and asking for it writes nothing."""

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ostec.core.errors import OutputError
from ostec.io.locks import Busy, is_held, only_one

ROOT = Path(__file__).resolve().parents[2]


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "a")
    with only_one(tmp_path / "a"):
        assert is_held(tmp_path / "a")
        assert not is_held(tmp_path / "b")
        with pytest.raises(Busy), only_one(tmp_path / "a"):
            pass
        assert is_held(tmp_path / "a")
    assert not is_held(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_a_killed_process_left_is_not_held(tmp_path: Path) -> None:
    (tmp_path / ".a.lock").write_bytes(b"")
    assert not is_held(tmp_path / "a")
    with only_one(tmp_path / "a"):
        pass


def test_where_nothing_can_be_written_there_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with pytest.raises(OutputError, match=r"\.a\.lock cannot be written"), only_one(tmp_path / "none" / "a"):
        pass
    (tmp_path / ".a.lock").touch()
    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with pytest.raises(OutputError, match=r"cannot be written \(Read-only file system\)"), only_one(tmp_path / "a"):
        pass
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"cannot be read \(Read-only file system\)"):
        is_held(tmp_path / "a")


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from ostec.io.locks import only_one
with only_one(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
    words = [sys.executable, "-c", program, str(tmp_path / "a")]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_held(tmp_path / "a")
        with pytest.raises(Busy), only_one(tmp_path / "a"):
            pass
        holder.kill()
        holder.wait()
    assert (tmp_path / ".a.lock").exists()
    assert not is_held(tmp_path / "a")
    with only_one(tmp_path / "a"):
        assert is_held(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_of_threads_one_holds_it(tmp_path: Path) -> None:
    def ask() -> str:
        try:
            with only_one(tmp_path / "a"):
                return "held"
        except Busy:
            return "busy"

    with ThreadPoolExecutor(1) as other:
        with only_one(tmp_path / "a"):
            assert other.submit(ask).result() == "busy"
        assert other.submit(ask).result() == "held"
