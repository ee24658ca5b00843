"""The commands: options, exit codes, what they say. Work is done by a loop instead of Ray."""

import json
from pathlib import Path

import pytest

from ostec.app.cli import main
from ostec.dataset.build import Dataset
from tests.dataset.toy import Loop, write_photos


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ostec.dataset.executors.RayExecutor", lambda job, _: Loop(Dataset.open(job.folder, lost_state=True))
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "in", {"a.jpg": "one", "b.jpg": "noface", "c.jpg": "one"})


def test_a_build_from_beginning_to_end(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "ds")
    assert (
        main(["dataset", "build", str(photos), "--out", out, "-i", "3", "--licence", "CC0", "--shard-size", "2"]) == 1
    )
    said = capsys.readouterr()
    assert said.out == (f"1 photos done with 1 faces, 1 failed, 1 copies skipped. The reasons are in {out}/failures.\n")
    assert said.err == "ostec: Planned: 2 new photos, 1 copies of them.\n"
    config = json.loads((tmp_path / "ds/config.json").read_text())
    assert (config["settings"]["iterations"], config["shard_size"]) == (3, 2)
    assert main(["dataset", "status", out]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 photos done with 1 faces, 1 failed, 1 copies skipped.",
        "2 of 2 shards are finished.",
        "No build is running.",
    ]
    assert main(["dataset", "verify", out]) == 0
    (tmp_path / "ds/manifest.parquet").unlink()
    assert main(["dataset", "verify", out]) == 1
    assert main(["dataset", "verify", out, "--repair"]) == 0
    assert main(["dataset", "resume", out, "--retry-failed", "--quiet"]) == 1
    assert capsys.readouterr().err == ""


def test_attributes_come_from_a_table(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, table = tmp_path / "ds", tmp_path / "t.csv"
    table.write_text("name,Age\na,30\n")
    words = ["dataset", "build", str(photos), "--out", str(out), "--attributes", str(table)]
    assert main(words) == 2
    assert "expected a column that names the photo" in capsys.readouterr().err
    assert not out.exists()
    table.write_text("file,Age\na,30\nb,40\n")
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines() == [
        "ostec: warning: Attributes: 2 photos have them; 1 have no row.",
        "ostec: Planned: 2 new photos, 1 copies of them, 2 with attributes.",
    ]
    assert main(["dataset", "stats", str(out)]) == 0
    assert "attributes.Age" in capsys.readouterr().out


def test_a_build_that_cannot_begin_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "ds"
    assert main(["dataset", "build", "nowhere", "--out", str(out)]) == 2
    assert "There is no file or folder" in capsys.readouterr().err
    assert not out.exists()
    assert main(["dataset", "resume", str(out)]) == 2
    assert "holds no dataset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--shard-size", "0"], "must be 1 or more"),
        (["--generator", "nowhere.pkl"], "--generator nowhere.pkl does not exist"),
        (["--iterations", "0", "--prior", "none"], "leaves nothing that could fill"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["dataset", "build", str(photos), "--out", str(tmp_path / "ds"), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "ds").exists()


def test_a_full_disk_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "one", "b.jpg": "full"})
    assert main(["dataset", "build", str(photos), "--out", str(tmp_path / "ds")]) == 1
    said = capsys.readouterr()
    assert said.err.splitlines()[-1] == (
        "ostec: error: The build stops early: x.png cannot be written (No space left on device)."
    )
    assert said.out == "1 photos done with 1 faces, 0 failed, 1 to do.\n"
    (photos / "b.jpg").write_text("edited")


def test_every_option_of_complete_is_taken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import fields

    from ostec.core.settings import CompleteSettings

    monkeypatch.setenv("COLUMNS", "160")
    main(["dataset", "build", "--help"])
    text = capsys.readouterr().out
    for field in fields(CompleteSettings):
        assert f"--{field.name.replace('_', '-')}" in text
