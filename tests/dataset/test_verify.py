"""Damage is found, and what the rest still knows is made again, byte for byte."""

import shutil
from pathlib import Path

import pytest

from ostec.core.errors import UsageError
from ostec.dataset.build import Dataset
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
def test_lists_are_made_again_from_the_shards(dataset: Path, lost: str) -> None:
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
