"""A part of a dataset is a dataset: whole, verified, and of exactly the faces that were chosen."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ostec.core.errors import AssetError, UsageError
from ostec.dataset import TextureDataset
from ostec.dataset.build import Dataset
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import read_manifest
from ostec.dataset.selection import (
    Rule,
    condition,
    group_faces,
    limit,
    part_of,
    reasons_of,
    with_values,
    write_selection,
)
from ostec.dataset.verify import verify
from tests.dataset.toy import write_photos
from tests.dataset.toy_faces import build_faces

WORDS = {f"{n:02d}.jpg": f"photo {n} yaw={10 * n - 60}" + " faces=2" * (n == 6) for n in range(13)}


@pytest.fixture(scope="module")
def ds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selection")
    return build_faces(folder / "ds", write_photos(folder / "in", WORDS), shard_size=3, licence="CC BY 4.0")


def select(ds: Path, out: Path, *rules: Rule) -> Path:
    out.mkdir()
    source = FinishedDataset(ds)
    write_selection(source, out, reasons_of(source.faces_table(), rules), {"kind": "test"})
    return out


def test_chosen_faces_are_a_dataset_that_verifies(ds: Path, tmp_path: Path) -> None:
    out = select(ds, tmp_path / "out", limit("yaw_deg", high=25.0, absolute=True))
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
    first = select(tmp_path / "ds", tmp_path / "first", limit("yaw_deg", low=0.0))
    second = select(first, tmp_path / "second", limit("yaw_deg", high=30.0))
    assert verify(second, repair=False).problems == []
    keys = [r["key"] for r in read_manifest(ds / "manifest.parquet") if 0 <= r["yaw_deg"] <= 30]
    assert TextureDataset(second).keys == keys
    card = (second / "README.md").read_text()
    assert "no longer known" in card
    assert card.count("A part of a dataset, as `selection.json` says: ") == 2
    about = json.loads((second / "selection.json").read_text())
    assert about["before"] == json.loads((first / "selection.json").read_text())


def test_one_face_of_a_photo_may_be_left_out(ds: Path, tmp_path: Path) -> None:
    out = select(ds, tmp_path / "out", Rule("face", pc.field("face") == 2, lambda _: "first"))
    assert [key.endswith("_2") for key in TextureDataset(out).keys] == [True]
    assert verify(out, repair=False).problems == []


def test_damage_is_not_copied(ds: Path, tmp_path: Path) -> None:
    shutil.copytree(ds, tmp_path / "ds")
    shard = tmp_path / "ds/shards/00002.tar"
    data = bytearray(shard.read_bytes())
    data[600] ^= 1
    shard.write_bytes(data)
    with pytest.raises(AssetError, match=r"00002\.tar is damaged; please run"):
        select(tmp_path / "ds", tmp_path / "out")


@pytest.mark.parametrize(
    ("low", "high", "absolute", "value", "expected"),
    [
        (2.0, None, False, 2.0, ""),
        (2.0, None, False, 1.5, "a is 1.5, below 2"),
        (None, 2.0, False, 2.5, "a is 2.5, above 2"),
        (1.0, 2.0, True, -3.0, "a is -3, beyond 2"),
        (None, 2.0, True, -2.0, ""),
        (None, 2.0, False, None, "a is not known"),
        (None, 2.0, False, float("nan"), "a is not known"),
    ],
)
def test_limits(low: float | None, high: float | None, absolute: bool, value: float | None, expected: str) -> None:
    faces = pa.table({"key": ["k"], "a": pa.array([value], "float64")})
    assert reasons_of(faces, [limit("a", low, high, absolute)]).get("k", "") == expected


def test_limits_have_the_precision_of_their_column() -> None:
    faces = pa.table({"key": ["k"], "brightness": pa.array([0.3], "float32")})
    assert reasons_of(faces, [limit("brightness", 0.3, 0.3)]) == {}


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
        ("Age<0", {"Age": float("nan")}, "Age is not known"),
        ("yaw_deg<=0.1", {}, ""),
        ("yaw_deg=0.1", {}, ""),
        ("a={}", {"a": "b"}, "a is b, not {}"),
    ],
)
def test_conditions(text: str, values: dict, reason: str) -> None:
    known = pa.table({"key": ["o"], "attributes": ['{"Age": 1}'], "yaw_deg": pa.array([0.5], "float32")})
    faces = pa.table({"key": ["k"], "attributes": [json.dumps(values)], "yaw_deg": pa.array([0.1], "float32")})
    rules = [condition(text)]
    values = with_values(pa.concat_tables([faces, known]), rules)
    assert reasons_of(values, rules).get("k", "") == reason


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
        condition(text)


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


def test_faces_of_one_person_and_twins_stay_together() -> None:
    people = ['{"who": "Ada"}', '{"who": "Ada"}', '{"who": "Bea"}', "{}", None, "{}"]
    faces = pa.table({"id": ["3", "1", "2", "4", "5", "5"], "attributes": people})
    assert group_faces(faces, [("4_1", "2_2")], "who") == ["1", "1", "2", "2", "5", "5"]
    assert group_faces(faces, [], "") == ["3", "1", "2", "4", "5", "5"]
    chain = pa.table({"id": list("abcdxyz"), "attributes": pa.nulls(7, "string")})
    twins = [("d_1", "c_1"), ("b_1", "a_1"), ("c_1", "b_1"), ("x_1", "y_1")]
    assert group_faces(chain, twins, "") == ["a", "a", "a", "a", "x", "x", "z"]
