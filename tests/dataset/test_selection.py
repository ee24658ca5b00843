"""A part of a dataset is a dataset: whole, verified, and of exactly the faces that were chosen."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from ostec.core.errors import AssetError, UsageError
from ostec.dataset import TextureDataset
from ostec.dataset.build import Dataset
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.selection import Condition, Groups, Limit, group_faces, part_of, write_selection
from ostec.dataset.verify import verify
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import build_faces

WORDS = {f"{n:02d}.jpg": f"photo {n} yaw={10 * n - 60}" + " faces=2" * (n == 6) for n in range(13)}


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selection")
    return build_faces(folder / "ds", write_photos(folder / "in", WORDS), shard_size=3, licence="CC BY 4.0")


def select(ds: Path, out: Path, keep) -> Path:
    out.mkdir()
    write_selection(FinishedDataset(ds), out, keep, {"kind": "test"})
    return out


def test_chosen_faces_are_a_dataset_that_verifies(ds: Path, tmp_path: Path) -> None:
    limit = Limit("yaw_deg", high=25.0, absolute=True)
    out = select(ds, tmp_path / "out", limit.against)
    rows = list(read_manifest(out / "manifest.parquet"))
    assert [(row["source"], row["face"]) for row in rows] == [
        ("04.jpg", 1),
        ("05.jpg", 1),
        ("06.jpg", 1),
        ("06.jpg", 2),
        ("07.jpg", 1),
        ("08.jpg", 1),
    ]
    before = {row["key"]: row for row in read_manifest(ds / "manifest.parquet")}
    place = ("shard", "offset", "size")
    assert all({k: v for k, v in before[r["key"]].items() if k not in place} == _without(r, place) for r in rows)
    one, other = FinishedDataset(ds), FinishedDataset(out)
    assert all(one.read(before[row["key"]]) == other.read(row) for row in other.faces())
    found = verify(out, repair=False)
    assert (found.problems, found.faces) == ([], 6)
    counts = Dataset.open(out).count()
    assert (counts.done, counts.pending, counts.failed) == (5, 0, 0)
    assert "CC BY 4.0" in (out / "README.md").read_text()
    assert json.loads((out / "selection.json").read_text()) == {"kind": "test", "kept": 6, "left_out": 8}
    left = [json.loads(line) for line in (out / "left_out.jsonl").read_text().splitlines()]
    assert left[0] == {"key": TextureDataset(ds).keys[0], "reason": "yaw_deg is -60, beyond 25"}


def _without(row: dict, names: tuple[str, ...]) -> dict:
    return {key: value for key, value in row.items() if key not in names}


def test_a_selection_of_a_selection_and_without_state(ds: Path, tmp_path: Path) -> None:
    shutil.copytree(ds, tmp_path / "ds", ignore=shutil.ignore_patterns("state", "licences.json"))
    first = select(tmp_path / "ds", tmp_path / "first", Limit("yaw_deg", low=0.0).against)
    second = select(first, tmp_path / "second", Limit("yaw_deg", high=30.0).against)
    assert verify(second, repair=False).problems == []
    keys = [r["key"] for r in read_manifest(ds / "manifest.parquet") if 0 <= r["yaw_deg"] <= 30]
    assert TextureDataset(second).keys == keys
    card = (second / "README.md").read_text()
    assert "no longer known" in card
    assert card.count("A part of a dataset, as `selection.json` says: ") == 2
    about = json.loads((second / "selection.json").read_text())
    assert about["before"] == json.loads((first / "selection.json").read_text())


def test_one_face_of_a_photo_may_be_left_out(ds: Path, tmp_path: Path) -> None:
    out = select(ds, tmp_path / "out", lambda row: "" if row["face"] == 2 else "first")
    assert [key.endswith("_2") for key in TextureDataset(out).keys] == [True]
    assert verify(out, repair=False).problems == []


def test_damage_is_not_copied(ds: Path, tmp_path: Path) -> None:
    shutil.copytree(ds, tmp_path / "ds")
    shard = tmp_path / "ds/shards/00002.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    with pytest.raises(AssetError, match=r"00002\.tar is damaged; please run"):
        select(tmp_path / "ds", tmp_path / "out", lambda _: "")


@pytest.mark.parametrize(
    ("limit", "values", "reason"),
    [
        (Limit("a", low=2.0), {"a": 2.0}, ""),
        (Limit("a", low=2.0), {"a": 1.5}, "a is 1.5, below 2"),
        (Limit("a", high=2.0), {"a": 2.5}, "a is 2.5, above 2"),
        (Limit("a", low=1.0, high=2.0, absolute=True), {"a": -3.0}, "a is -3, beyond 2"),
        (Limit("a", high=2.0, absolute=True), {"a": -2.0}, ""),
        (Limit("a", high=2.0), {"a": None}, "a is not known"),
        (Limit("a", high=2.0), {"a": float("nan")}, "a is not known"),
        (Limit("a", high=2.0), {}, "a is not known"),
    ],
)
def test_limits(limit: Limit, values: dict, reason: str) -> None:
    assert limit.against(values) == reason


@pytest.mark.parametrize(
    ("text", "values", "reason"),
    [
        ("Gender=female", {"Gender": "female"}, ""),
        ("Gender = female", {"Gender": "Female"}, "Gender is Female, not female"),
        ("Gender=1", {"Gender": 1}, ""),
        ("Gender=1", {"Gender": 1.0}, ""),
        ("Gender=1", {"Gender": "1"}, ""),
        ("Gender=1", {"Gender": True}, "Gender is true, not 1"),
        ("hat=true", {"hat": True}, ""),
        ("id=007", {"id": 7}, "id is 7, not 007"),
        ("Age>=18", {"Age": 18}, ""),
        ("Age>18", {"Age": 18}, "Age is 18, not >18"),
        ("Age<1e1", {"Age": 9.5}, ""),
        ("Age<=9", {"Age": 9.5}, "Age is 9.5, not <=9"),
        ("Age<=9", {"Age": "9"}, "Age is 9, not <=9"),
        ("Age!=9", {"Age": 9}, "Age is 9, not !=9"),
        ("Age!=9", {"Age": 8}, ""),
        ("Age!=9", {}, "Age is not known"),
        ("a=b=c", {"a": "b=c"}, ""),
        ("yaw_deg<0", {"yaw_deg": float("nan")}, "yaw_deg is not known"),
    ],
)
def test_conditions(text: str, values: dict, reason: str) -> None:
    assert Condition.parse(text).against(values) == reason


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Gender", "Gender is no condition: expected NAME=VALUE"),
        ("=3", "=3 is no condition"),
        ("Age>old", "Age>old asks for an order, and old is no number"),
        ("Age<true", "true is no number"),
        ("Age>=", "nothing is no number"),
    ],
)
def test_what_is_no_condition_has_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Condition.parse(text)


def test_parts_follow_from_name_and_seed_and_keep_to_the_shares() -> None:
    shares = {"train": 0.8, "val": 0.0, "test": 0.2}
    names = [f"{n:016x}" for n in range(4000)]
    parts = [part_of(name, shares, 0) for name in names]
    assert parts == [part_of(name, shares, 0) for name in names]
    assert abs(Counter(parts)["train"] / 4000 - 0.8) < 0.02
    assert "val" not in parts
    assert parts != [part_of(name, shares, 1) for name in names]
    # A larger share for training only moves faces into it.
    more = [part_of(name, {"train": 0.9, "test": 0.1}, 0) for name in names]
    assert not [1 for a, b in zip(parts, more, strict=True) if a == "train" and b != "train"]


def test_groups_join_whatever_the_order() -> None:
    groups = Groups()
    for pair in (("d", "c"), ("b", "a"), ("c", "b"), ("x", "y")):
        groups.join(*pair)
    assert [groups.root(name) for name in "abcdxyz"] == ["a", "a", "a", "a", "x", "x", "z"]


def test_faces_of_one_person_and_twins_stay_together() -> None:
    rows = [
        {"id": "3", "attributes": '{"person": "Ada"}'},
        {"id": "1", "attributes": '{"person": "Ada"}'},
        {"id": "2", "attributes": '{"person": "Bea"}'},
        {"id": "4", "attributes": "{}"},
        {"id": "5", "attributes": "{}"},
    ]
    groups = group_faces(rows, [("4_1", "2_2")], "person")
    assert [groups.root(row["id"]) for row in rows] == ["1", "1", "2", "2", "5"]
    assert [group_faces(rows, [], "").root(row["id"]) for row in rows] == ["3", "1", "2", "4", "5"]
