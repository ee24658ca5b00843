"""Which files of a folder are photos."""

import os
from pathlib import Path

import pytest

from ostec.core.errors import UsageError
from ostec.io.photos import expand, is_photo, walk_photos


def test_a_source_that_exists_is_no_pattern(tmp_path: Path) -> None:
    for name in ("a[1].jpg", "a1.jpg"):
        (tmp_path / name).touch()
    assert expand(str(tmp_path / "a[1].jpg")) == [tmp_path / "a[1].jpg"]
    assert expand(str(tmp_path / "a*.jpg")) == [tmp_path / "a1.jpg", tmp_path / "a[1].jpg"]


@pytest.mark.parametrize(("name", "sentence"), [("", "has an empty name"), ("x.jpg", "There is no file or folder x")])
def test_a_source_that_is_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=sentence):
        expand(name)


def test_folders_are_walked_in_order_and_once(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/1.jpg", "c.jpg", ".hidden.jpg", "notes.txt", "phone.heic"):
        (tmp_path / name).touch()
    (tmp_path / "b/loop").symlink_to(tmp_path)
    found = [p.relative_to(tmp_path).as_posix() for p in walk_photos(tmp_path)]
    assert found == ["c.jpg", "phone.heic", "b/1.jpg"]
    assert [p.name for p in walk_photos(tmp_path, recursive=False)] == ["c.jpg", "phone.heic"]
    assert not is_photo(tmp_path / "notes.txt")


def test_pipes_and_devices_are_no_photos_and_are_not_waited_for(tmp_path: Path) -> None:
    for name in ("a.jpg", "p.tar", "noname"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "z.jpg").touch()
    assert [path.name for path in walk_photos(tmp_path)] == ["gone.jpg", "z.jpg"]
