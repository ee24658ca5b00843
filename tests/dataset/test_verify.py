"""Damage is found, and what the rest still knows is made again, byte for byte."""

import os
import shutil
from pathlib import Path

import pytest

from ostec.core.errors import AssetError, OutputError, UsageError
from ostec.dataset.build import Dataset
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import read_manifest
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


@pytest.mark.parametrize("lost", [None, "shards"])
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


@pytest.mark.parametrize("lost", ["state", "state/plan"])
def test_nothing_is_made_up_where_the_state_is_lost(dataset: Path, lost: str) -> None:
    """An empty plan would have photos that are done planned again; what is done can still be read."""
    shutil.rmtree(dataset / lost)
    before = {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()}
    for act in (Dataset.open, lambda folder: verify(folder, repair=True)):
        with pytest.raises(AssetError, match="does not know all shards"):
            act(dataset)
    assert {path: path.read_bytes() for path in dataset.rglob("*") if path.is_file()} == before
    assert len(FinishedDataset(dataset).faces_table())


@pytest.mark.parametrize("keep", [None, 0, 10, 900])
def test_a_shard_whose_list_is_lost_is_done_again(dataset: Path, keep: int | None) -> None:
    """By a power cut, for one."""
    before, path = content(dataset), dataset / "state/sealed/00001.jsonl"
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    assert "00001" in verify(dataset, repair=True).problems[0]
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


def test_pipes_and_devices_in_a_dataset_are_not_read(dataset: Path) -> None:
    for name in ("state/plan/00000.jsonl", "shards/00001.tar", "state/sealed/00002.jsonl"):
        (dataset / name).unlink()
        os.mkfifo(dataset / name)
    problems = verify(dataset, repair=False).problems
    assert [word in problem for word, problem in zip(("00000", "00001", "00002"), problems, strict=False)] == [True] * 3
