"""Nothing is done with a row that is none: it may come from somebody else's dataset."""

import json
from pathlib import Path
from typing import Any

import pytest

from ostec.core.errors import AssetError
from ostec.dataset.manifest import COLUMNS, table_of
from ostec.dataset.store import Store

FACE = {
    "id": "0123456789abcdef",
    "face": 2,
    "item": 7,
    "status": "done",
    "source": "a/b.jpg",
    "shard": "00000.tar",
    "key": "0123456789abcdef_2",
    "offset": 0,
    "size": 1024,
    "faces": 2,
    "yaw_deg": -3.5,
    "occluders": ["hand"],
    "attributes": '{"age": 3}',
}
HEAD = {"shard": 3, "sha256": "ab", "size": 9, "faces": 1, "done": 1, "failed": 0, "skipped": 0}


def test_rows_are_taken_as_they_are() -> None:
    failed = {"id": "ab", "face": 0, "item": 0, "status": "failed", "source": "x", "reason": "No face."}
    rows = [FACE, {**FACE, "stage": None}, failed]
    assert table_of(rows).to_pylist() == [{name: row.get(name) for name in COLUMNS} for row in rows]


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("shard", "../x.tar", r"shard is '\.\./x\.tar'"),
        ("shard", None, "shard is 'None'"),
        ("key", "../x_2", r"key is '\.\./x_2'"),
        ("id", "../../x", r"id is '\.\./\.\./x'"),
        ("id", "ab\n", "id is"),
        ("item", -1, "item is '-1'"),
        ("item", 2**63, "too large"),
        ("item", True, "got bool"),
        ("face", "2", "face is '2'"),
        ("face", 2.5, "face is '2.5'"),
        ("offset", -512, "offset is '-512'"),
        ("yaw_deg", float("nan"), "yaw_deg is 'nan'"),
        ("yaw_deg", 1e30, "yaw_deg is '1"),
        ("yaw_deg", [1], r"\[1\]"),
        ("occluders", [1], "expected bytes"),
        ("source", "\udcff", "surrogates not allowed"),
        ("attributes", "[]", "attributes is no JSON object"),
        ("weights", "[" * 100000, "weights is no JSON object"),
        ("status", "good", "status is 'good'"),
    ],
)
def test_rows_that_are_none_are_refused(column: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"(?i){sentence}"):
        table_of([FACE, {**FACE, column: value}])


def test_the_first_line_is_of_its_shard(tmp_path: Path) -> None:
    store = Store(tmp_path, 8)
    store.make()

    def read(values: dict[str, Any]) -> dict[str, Any]:
        store.sealed_path(3).write_text(json.dumps(values) + "\n")
        return store.read_sealed(3).parts

    assert read({**HEAD, "parts": {"7": [0, 1024, "cd"]}}) == {"7": (0, 1024, "cd")}
    for values, sentence in (
        ({**HEAD, "parts": {}, "shard": 4}, "it is of shard 4"),
        ({**HEAD, "parts": {"../x": [0, 1, "ab"]}}, "invalid literal"),
        ({**HEAD, "parts": 5}, "TypeError"),
        ({**HEAD, "parts": {}, "size": float("inf")}, "OverflowError"),
        ({**HEAD, "parts": {}, "more": 1}, "TypeError"),
        ({**HEAD, "parts": {}, "seconds": {"3": {"total": "x"}}}, "ValueError"),
        ({**HEAD, "parts": {}, "seconds": {"3": 5}}, "AttributeError"),
        (HEAD, "KeyError"),
    ):
        with pytest.raises(AssetError, match=sentence):
            read(values)
