"""Damage is found, and what the rest still knows is made again, byte for byte."""

import os
import shutil
from pathlib import Path

import pytest

from ostec.core.errors import AssetError, OutputError, UsageError
from ostec.dataset.build import Dataset
from ostec.dataset.manifest import read_manifest, write_timings
from ostec.dataset.verify import verify
from tests.dataset.toy import build, content, many_photos


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    build(tmp_path / "ds", many_photos(tmp_path / "in", 30))
    return tmp_path / "ds"


def test_a_whole_dataset_has_no_problems(dataset: Path) -> None:
    found = verify(dataset, repair=False)
    assert (found.problems, found.repaired, found.shards) == ([], [], 4)
    assert found.faces == sum(row["status"] == "done" for row in read_manifest(dataset / "manifest.parquet"))


@pytest.mark.parametrize("lost", ["manifest.parquet", "shards/SHA256SUMS", "README.md", "timings.parquet"])
def test_what_is_made_from_shards_is_made_again(dataset: Path, lost: str) -> None:
    before = content(dataset)
    (dataset / lost).unlink()
    assert len(verify(dataset, repair=False).problems) == 1
    assert not (dataset / lost).exists()
    found = verify(dataset, repair=True)
    assert len(found.repaired) == len(found.problems) == 1
    assert content(dataset) == before
    assert verify(dataset, repair=False).problems == []


def test_a_lost_manifest_is_called_missing(dataset: Path) -> None:
    (dataset / "manifest.parquet").unlink()
    assert verify(dataset, repair=False).problems == [f"{dataset}/manifest.parquet is missing."]


@pytest.mark.parametrize("lost", ["state", "state/timings"])
def test_seconds_outlive_the_loss_of_their_lists(dataset: Path, lost: str) -> None:
    before = (dataset / "timings.parquet").read_bytes()
    shutil.rmtree(dataset / lost)
    if lost == "state":
        verify(dataset, repair=True)
    else:
        build(dataset)
    assert (dataset / "timings.parquet").read_bytes() == before


@pytest.mark.parametrize("how", ["garbage", "other"])
def test_seconds_that_were_changed_are_found(dataset: Path, tmp_path: Path, how: str) -> None:
    before = (dataset / "timings.parquet").read_bytes()
    (dataset / "timings.parquet").write_bytes(b"x")
    if how == "other":
        lines = [{"id": "ab", "item": 0, "seconds": {"total": 5.0}}]
        write_timings(dataset / "timings.parquet", lines)
    (problem,) = verify(dataset, repair=False).problems
    assert problem.startswith(f"{dataset}/timings.parquet {'cannot be read' if how == 'garbage' else 'differs'}")
    verify(dataset, repair=True)
    assert (dataset / "timings.parquet").read_bytes() == before


@pytest.mark.parametrize("how", ["missing", "changed", "damaged", "additional"])
def test_a_list_of_failures_is_made_again_and_its_shard_stays(dataset: Path, how: str) -> None:
    path = dataset / "failures/00001.jsonl"
    before, shard = path.read_bytes(), (dataset / "shards/00001.tar").stat().st_mtime_ns
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"changed": before.replace(b"face", b"nose"), "damaged": b"[", "additional": before * 2}[how])
    (problem,) = verify(dataset, repair=False).problems
    assert problem.startswith(f"{path} ")
    found = verify(dataset, repair=True)
    assert found.repaired[0] == f"{path} was made again from the list of its shard."
    assert path.read_bytes() == before
    assert (dataset / "shards/00001.tar").stat().st_mtime_ns == shard
    assert verify(dataset, repair=False).problems == []


@pytest.mark.parametrize("lost", [None, "state", "shards"])
def test_verifying_writes_nothing(dataset: Path, lost: str | None) -> None:
    if lost:
        shutil.rmtree(dataset / lost)
    before = {path: path.stat().st_mtime_ns for path in (dataset, *dataset.rglob("*"))}
    assert bool(verify(dataset, repair=False).problems) == bool(lost)
    assert {path: path.stat().st_mtime_ns for path in (dataset, *dataset.rglob("*"))} == before


def test_resuming_writes_a_lost_manifest_again(dataset: Path) -> None:
    before = content(dataset)
    (dataset / "manifest.parquet").unlink()
    build(dataset)
    assert content(dataset) == before


def test_a_manifest_of_other_rows_is_found(dataset: Path, tmp_path: Path) -> None:
    build(tmp_path / "other", many_photos(tmp_path / "more", 29))
    shutil.copy(tmp_path / "other/manifest.parquet", dataset / "manifest.parquet")
    (problem,) = verify(dataset, repair=False).problems
    assert problem.endswith("manifest.parquet differs from the shards.")


@pytest.mark.parametrize("lost", ["state/sealed", "state", "state/plan"])
def test_lists_are_made_again_from_the_manifest(dataset: Path, lost: str) -> None:
    before = content(dataset)
    shutil.rmtree(dataset / lost)
    found = verify(dataset, repair=True)
    assert found.problems
    after = content(dataset)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed <= ({"README.md"} if lost != "state/sealed" else set())  # licences are not in the shards
    assert verify(dataset, repair=False).problems == []
    assert build(dataset).pending == 0
    assert Dataset.open(dataset).plan.read(1)[0].number == 8


@pytest.mark.parametrize("lost", ["state", "state/plan"])
def test_nothing_is_made_up_where_the_manifest_is_lost_too(dataset: Path, lost: str) -> None:
    """An empty plan would have photos that are done planned again."""
    shutil.rmtree(dataset / lost)
    (dataset / "manifest.parquet").unlink()

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file() and "lock" not in path.name}

    before = files()
    found = verify(dataset, repair=True)
    assert "The manifest does not know the photos of all lost lists: nothing was repaired." in found.problems
    assert found.repaired == []
    assert files() == before
    with pytest.raises(AssetError):
        Dataset.open(dataset)


def test_a_shard_that_is_not_what_was_made_is_not_listed_again(dataset: Path) -> None:
    before, path = content(dataset), dataset / "shards/00001.tar"
    path.write_bytes(path.read_bytes().replace(b"soft", b"hard"))
    (dataset / "state/sealed/00001.jsonl").unlink()
    assert verify(dataset, repair=True).problems[0] == "The list of 00001.tar is missing."
    assert Dataset.open(dataset).count().pending == 8
    build(dataset)
    assert content(dataset) == before


def test_a_damaged_shard_loses_only_what_is_damaged(dataset: Path) -> None:
    before = content(dataset)
    path = dataset / "shards/00001.tar"
    data = bytearray(path.read_bytes())
    data[700] ^= 1
    path.write_bytes(data)
    assert verify(dataset, repair=False).problems == [f"{path} is damaged: its SHA-256 is another one."]
    found = verify(dataset, repair=True)
    assert found.repaired[0].startswith("00001.tar was reopened: 6 of its 8 photos are whole")
    assert Dataset.open(dataset).count().pending == 2  # of which one fails again
    build(dataset)
    assert content(dataset) == before


@pytest.mark.parametrize("how", ["missing", "cut", "empty"])
def test_a_lost_shard_is_done_again(dataset: Path, how: str) -> None:
    before = content(dataset)
    path = dataset / "shards/00002.tar"
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 3000 if how == "cut" else 0])
    found = verify(dataset, repair=True)
    assert "is missing or has another size" in found.problems[0]
    build(dataset)
    assert content(dataset) == before


def test_a_dataset_that_is_being_built_is_not_verified(dataset: Path) -> None:
    with Dataset.open(dataset).locked(), pytest.raises(UsageError, match="is being built"):
        verify(dataset, repair=False)


def test_a_dataset_where_nothing_can_be_written_is_verified(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(path: Path) -> None:
        raise OutputError(f"{path} cannot be written (Read-only file system).")

    monkeypatch.setattr("ostec.dataset.build.alone", read_only)
    assert verify(dataset, repair=False).problems == []
    with pytest.raises(OutputError, match="Read-only file system"):
        verify(dataset, repair=True)
    monkeypatch.setattr("ostec.dataset.build.is_building", lambda _: True)
    with pytest.raises(UsageError, match="is being built"):
        verify(dataset, repair=False)


@pytest.mark.parametrize("keep", [0, 10, 900])
def test_a_list_that_a_power_cut_shortened_costs_no_photo(dataset: Path, keep: int) -> None:
    before = content(dataset)
    path = dataset / "state/sealed/00001.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    found = verify(dataset, repair=True)
    assert "00001.jsonl is damaged" in found.problems[0]
    assert found.repaired[0] == "The list of 00001.tar was made again from the manifest."
    assert content(dataset) == before
    assert Dataset.open(dataset).count().pending == 0


def test_pipes_and_devices_in_a_dataset_are_not_read(dataset: Path) -> None:
    for name in ("shards/00001.tar", "failures/00000.jsonl", "state/sealed/00002.jsonl"):
        (dataset / name).unlink()
        os.mkfifo(dataset / name)
    problems = verify(dataset, repair=False).problems
    assert [word in problem for word, problem in zip(("00000", "00001", "00002"), problems, strict=False)] == [True] * 3


def test_damaged_seconds_cost_nothing_else(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = content(dataset)
    (dataset / "state/timings/00001.jsonl").write_text('{"item": 8, "seconds": 5}\n')
    assert build(dataset).pending == 0
    assert content(dataset) == before
    (sentence,) = caplog.messages
    assert sentence.endswith("00001.jsonl is damaged and left out (it holds something else than seconds).")
