"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest

from ostec.core.errors import OutputError
from ostec.io import files


def test_bytes_and_writers_replace_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "Größe 1.bin"
    files.write_atomic(path, b"old")
    files.write_atomic(path, lambda stream: stream.write(b"new"))
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt()])
def test_interrupted_writer_leaves_the_older_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.bin"
    files.write_atomic(path, b"old")

    def interrupted(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise error

    with pytest.raises(type(error)):
        files.write_atomic(path, interrupted)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    def full(stream: BinaryIO) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match=r"a\.bin cannot be written \(No space left on device\)\.$"):
        files.write_atomic(tmp_path / "a.bin", full)
    assert not list(tmp_path.iterdir())


def test_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.bin cannot be written \(No such file or directory\)\.$"):
        files.write_atomic(tmp_path / "none/a.bin", b"")


def test_permissions_are_those_of_an_ordinary_file(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a.bin", b"")
    (tmp_path / "b.bin").write_bytes(b"")
    assert (tmp_path / "a.bin").stat().st_mode == (tmp_path / "b.bin").stat().st_mode


def test_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    assert files.make_folder(tmp_path / "a/b") == tmp_path / "a/b"
    assert not list(files.make_folder(tmp_path / "a/b").iterdir())


def test_folder_that_is_a_file_or_read_only_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file is a file, not a folder\.$"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=r"cannot be made \(Not a directory\)\.$"):
        files.make_folder(tmp_path / "file/below")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "touch", refuse)  # the super-user may write everywhere
    with pytest.raises(OutputError, match=r"cannot be written to \(Permission denied\)\.$"):
        files.make_folder(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="there, whether a process runs cannot be asked without risk")
def test_leftovers_of_killed_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()  # from here on no process has that number

    dead = tmp_path / f".ostec-{files._HOST}-{child.pid}-00000000.part"
    running = tmp_path / f".ostec-{files._HOST}-{os.getpid()}-00000000.part"
    elsewhere = tmp_path / f".ostec-{'0' * 8}-{child.pid}-00000000.part"
    foreign = tmp_path / ".ostec-notes.part"
    for path in (dead, running, elsewhere, foreign):
        path.write_bytes(b"")
    files.remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([running, elsewhere, foreign])


def test_folders_of_killed_processes_are_removed_too(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    own = files.part_of(tmp_path, 7)
    assert own == files.part_of(tmp_path, 7) != files.part_of(tmp_path)
    own.mkdir()
    dead = own.with_name(own.name.replace(str(os.getpid()), str(child.pid)))
    dead.mkdir()
    (dead / "x.png").write_bytes(b"")
    files.remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [own]


def test_what_later_work_relies_on_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def fsync(number: int) -> None:
        synced.append(os.fstat(number).st_size)
        assert not (tmp_path / "a").exists()

    monkeypatch.setattr(os, "fsync", fsync)
    files.write_atomic(tmp_path / "a", b"12345", synced=True)
    files.write_atomic(tmp_path / "b", b"12345")
    assert synced == [5]


def test_a_full_temporary_folder_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: "/tmp")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=(16 << 20) - 1))
    with pytest.raises(OutputError, match=r"A folder in /tmp cannot be made \(16 MB should be free; TMPDIR may name"):
        files.make_short_temp("ostec-test-")

    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(files.tempfile, "gettempdir", nowhere)
    with pytest.raises(OutputError, match="no room for temporary files"):
        files.make_short_temp("ostec-test-")
