"""A lock is held by one at a time, and asking for it writes nothing."""

import errno
import os
from pathlib import Path

import pytest

from ostec.core.errors import OutputError
from ostec.io.locks import Busy, is_held, only_one


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
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(OutputError, match=r"cannot be written \(Read-only file system\)"), only_one(tmp_path / "a"):
        pass
    with pytest.raises(OutputError, match=r"cannot be read \(Read-only file system\)"):
        is_held(tmp_path / "a")
