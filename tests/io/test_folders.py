"""A folder appears whole or not at all."""

from pathlib import Path

import pytest

from ostec.core.errors import OutputError, UsageError
from ostec.io.files import whole_folder


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep/out") as part:
        (part / "a").write_text("a")
        assert not (tmp_path / "deep/out").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep/out/a").read_text() == "a"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_nothing_is_left_of_one_that_was_not_finished(tmp_path: Path, error: type[BaseException]) -> None:
    def interrupted() -> None:
        with whole_folder(tmp_path / "out") as part:
            (part / "a").write_text("a")
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".out.part/old").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as part:
        assert list(part.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_in_use_are_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")
    for name in ("full", "full/mine"):
        with pytest.raises(UsageError, match="is there already"), whole_folder(tmp_path / name):
            pass
    out = tmp_path / "out"
    with whole_folder(out), pytest.raises(UsageError, match="Another process makes"), whole_folder(out):
        pass


def test_a_failure_of_the_disk_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out cannot be made \(No space left"), whole_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device")
