"""``ostec fuse`` with a fake completer: one result for all photos; it is skipped, redone and refused as others are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.conftest import Refuses, Run, assert_whole

Photos = Callable[..., Path]
Calls = Callable[[], list[str]]


def test_all_photos_make_one_result(ostec: Run, photos: Photos, calls: Calls, tmp_path: Path) -> None:
    folder = photos({"b.jpg": "face", "a.jpg": "warn=look", "deep/c.jpg": "other"})
    said = ostec("fuse", folder, "--name", "anna", "-o", "out", "--reference", folder / "b.jpg")
    assert said.code == 0, said.err
    assert calls() == [f"fuse a.jpg b.jpg c.jpg {folder / 'b.jpg'}", "complete a.jpg"]
    assert "1/1 anna done in" in said.out
    assert "warning: look" in said.err
    assert_whole(tmp_path / "out", {"anna"})


def test_what_is_done_is_skipped_until_the_photos_change(ostec: Run, photos: Photos, calls: Calls) -> None:
    folder = photos({"a.jpg": "one", "b.jpg": "two"})
    words = ("fuse", folder, "--name", "anna", "-o", "out")
    assert ostec(*words).code == 0
    calls()
    assert "1 skipped" in ostec(*words).out
    assert "1 skipped" in ostec("fuse", folder / "b.jpg", folder / "a.jpg", "--name", "anna", "-o", "out").out
    assert calls() == []
    (folder / "c.jpg").write_text("three", encoding="utf-8")
    said = ostec(*words)
    assert said.code == 1
    assert "belongs to another photo" in said.err
    assert ostec(*words, "--overwrite").code == 0
    assert calls()[0] == "fuse a.jpg b.jpg c.jpg"


def test_what_a_result_lacks_is_made_with_all_photos(ostec: Run, photos: Photos, calls: Calls) -> None:
    folder = photos({"a.jpg": "one", "b.jpg": "two"})
    words = ("fuse", folder, "--name", "anna", "-o", "out")
    assert ostec(*words).code == 0
    calls()
    assert ostec(*words, "--frontalize").code == 0
    assert calls()[0] == "fuse a.jpg b.jpg"
    assert Path("out/anna_frontal.png").exists()


def test_dry_run_says_what_would_be_done(ostec: Run, photos: Photos) -> None:
    said = ostec("fuse", photos({"a.jpg": "one"}), "--name", "anna", "-o", "out", "--dry-run")
    assert "-> anna would be done" in said.out
    assert not Path("out").exists()


def test_a_failure_is_recorded(ostec: Run, photos: Photos) -> None:
    said = ostec("fuse", photos({"a.jpg": "noface"}), "--name", "anna", "-o", "out")
    assert said.code == 1
    assert "No face was found." in said.err
    assert "No face was found." in Path("out/failures.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "a/b", "..", "a\nb"])
def test_a_name_that_is_no_files_name_is_refused(refuses: Refuses, photos: Photos, name: str, tmp_path: Path) -> None:
    words = ("fuse", photos({"a.jpg": "one"}), "--name", name, "-o", tmp_path / "out")
    refuses("--name must be a file's name", *words)


def test_all_faces_are_refused(refuses: Refuses, photos: Photos, tmp_path: Path) -> None:
    words = ("fuse", photos({"a.jpg": "x"}), "--name", "a", "-o", tmp_path / "out", "--faces", "all")
    refuses("largest face of each photo", *words)
