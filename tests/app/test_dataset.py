"""The commands: options, exit codes, what they say. Work is done by a loop instead of Ray."""

import json
from pathlib import Path

import pytest

from ostec.app.cli import main
from ostec.core.assets import MODELS_VARIABLE
from ostec.dataset.build import Dataset
from tests.dataset.toy import Loop, write_photos


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ostec.dataset.executors.RayExecutor", lambda job, _: Loop(Dataset.open(job.folder)))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "in", {"a.jpg": "one", "b.jpg": "noface", "c.jpg": "one"})


def test_a_build_from_beginning_to_end(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "ds")
    assert (
        main(["dataset", "build", str(photos), "--out", out, "-i", "3", "--licence", "CC0", "--shard-size", "2"]) == 1
    )
    said = capsys.readouterr()
    assert said.out == (f"1 photo done with 1 face, 1 failed, 1 copy skipped. The reasons are in {out}/failures.\n")
    assert said.err == "ostec: Planned: 2 new photos, 1 copy of them.\n"
    config = json.loads((tmp_path / "ds/config.json").read_text())
    assert (config["settings"]["iterations"], config["shard_size"]) == (3, 2)
    assert main(["dataset", "status", out]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 photo done with 1 face, 1 failed, 1 copy skipped.",
        "2 of 2 shards are finished.",
        "No build is running.",
    ]
    assert main(["dataset", "verify", out]) == 0
    (tmp_path / "ds/manifest.parquet").unlink()
    assert main(["dataset", "verify", out]) == 1
    assert main(["dataset", "verify", out, "--repair"]) == 0
    assert main(["dataset", "resume", out, "--retry-failed", "--quiet"]) == 1
    assert capsys.readouterr().err == ""


def test_a_recipe_belongs_to_the_dataset_and_says_how_to_filter(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "ds")
    words = ["dataset", "build", str(photos), "--out", out, "-i", "3"]
    assert main([*words, "--recipe", "ffhq-uv"]) == 1
    assert f"ostec dataset filter {out} --out DIR --where 'symmetry<=90%'" in capsys.readouterr().out
    config = json.loads((tmp_path / "ds/config.json").read_text())
    assert (config["recipe"], config["edits"], config["settings"]["materials"]) == ("ffhq-uv", "default", "gltf")
    assert main(words) == 2
    assert "recipe ffhq-uv (asked for: complete)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-i", "0"], "needs a generator, a prior and --iterations above 0"),
        (["--generator", "examples/astronaut.png"], "are of the generator that ships"),
        (["--edits", "nowhere.safetensors"], "nowhere.safetensors"),
    ],
)
def test_a_recipe_that_cannot_be_carried_out_is_refused(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    out = tmp_path / "ds"
    assert main(["dataset", "build", str(photos), "--out", str(out), "--recipe", "ffhq-uv", *words]) == 2
    assert told in capsys.readouterr().err
    assert not out.exists()


def test_attributes_come_from_a_table(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, table = tmp_path / "ds", tmp_path / "t.csv"
    table.write_text("name,Age\na,30\n")
    words = ["dataset", "build", str(photos), "--out", str(out), "--attributes", str(table)]
    assert main(words) == 2
    assert "expected a column that names the photo" in capsys.readouterr().err
    assert not out.exists()
    table.write_text("file,Age\na.jpg,30\nb.jpg,40\n")
    assert main(words) == 1
    assert capsys.readouterr().err.splitlines() == [
        "ostec: warning: Attributes: 2 photos have them; 1 have no row.",
        "ostec: Planned: 2 new photos, 1 copy of them, 2 with attributes.",
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


def test_a_cluster_may_have_what_this_machine_has_not(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    words = ["--device", "cuda", "--address", "head:6379", "--quiet"]
    assert main(["dataset", "build", str(photos), "--out", str(tmp_path / "ds"), *words]) == 1
    assert Dataset.open(tmp_path / "ds").count().done == 1


def test_sources_without_a_photo_are_refused_and_leave_nothing(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ds"
    (tmp_path / "empty").mkdir()
    notes = write_photos(tmp_path / "notes", {"a.txt": "no list"})
    words = ["dataset", "build", "--out", str(out), str(tmp_path / "empty"), str(notes)]
    assert main(words) == 2
    assert f"There is no photo in {tmp_path}/empty, {notes}." in capsys.readouterr().err
    assert not out.exists()
    assert main([*words, str(photos)]) == 1
    assert f"warning: There is no photo in {tmp_path}/empty, {notes}." in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_leaves_nothing(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.scandir", forbidden)
    assert main(["dataset", "build", str(photos), "--out", str(tmp_path / "ds")]) == 2
    assert "cannot be read (Permission denied)" in capsys.readouterr().err
    assert not (tmp_path / "ds").exists()


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos / "gone.jpg").symlink_to("nowhere")
    words = ["dataset", "build", str(photos), "--out", str(tmp_path / "ds"), "--shard-size", "2"]
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Planned: 3 new photos (1 of them cannot be read), 1 copy of them.",
        "2 photos to do, 2 new shards; nothing was written.",
    ]
    assert not (tmp_path / "ds").exists()
    assert main(words) == 1
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Planned: 0 new photos, 4 known from before.",
        "0 photos to do, 0 new shards; nothing was written.",
    ]
    assert main([*words, "--dry-run", "--iterations", "5"]) == 2
    assert "was begun with iterations 200 (asked for: 5)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--workers", "-1"], "--workers must be 0 or more"),
        (["--gpus-per-worker", "-3"], "--gpus-per-worker must be 0 or more, or -1"),
        (["--gpus-per-worker", "nan"], "--gpus-per-worker must be 0 or more, or -1"),
        (["--gpus-per-worker", "1.5"], "--gpus-per-worker must be 1 or less, or a whole number"),
        (["--face-model", "flame"], "is not on this machine; please run: ostec models show flame"),
        (["--device", "cuda"], "--device cuda cannot be used"),
        (["--shard-size", "0"], "must be 1 or more"),
        (["--generator", "nowhere.pkl"], "--generator nowhere.pkl does not exist"),
        (["--iterations", "0", "--prior", "none"], "leaves nothing that could fill"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_written(
    tmp_path: Path,
    photos: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "no models"))
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
    assert said.out == "1 photo done with 1 face, 0 failed, 1 to do.\n"
    (photos / "b.jpg").write_text("edited")


def test_every_option_of_complete_is_taken(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import fields, is_dataclass

    from ostec.pipeline.settings import CompleteSettings

    monkeypatch.setenv("COLUMNS", "160")
    main(["dataset", "build", "--help"])
    text = capsys.readouterr().out
    for field in fields(CompleteSettings):
        if not is_dataclass(field.default_factory):  # settings of a stage are in --help-all
            assert f"--{field.name.replace('_', '-')}" in text
