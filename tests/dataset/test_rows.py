"""Nothing is done with a row that is none: it may come from somebody else's dataset."""

import json
from typing import Any

import pytest

from ostec.dataset.rows import check_row, check_timing, sealed_from

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
    assert check_row(FACE) == FACE
    assert check_row({**FACE, "stage": None}) == {**FACE, "stage": None}
    failed = {"id": "ab", "face": 0, "item": 0, "status": "failed", "source": "x", "reason": "No face."}
    assert check_row(failed) == failed


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("shard", "../x.tar", r"names the shard '\.\./x\.tar'"),
        ("shard", None, "shard is missing"),
        ("key", "../x_2", r"expected the face 0123456789abcdef_2, found '\.\./x_2'"),
        ("id", "../../x", r"the photo is '\.\./\.\./x'"),
        ("item", -1, "the photo is"),
        ("item", 2**63, "item is '9223372036854775808'"),
        ("item", True, "item is 'True'"),
        ("face", "2", "face is '2'"),
        ("offset", -512, "names the shard"),
        ("yaw_deg", float("nan"), "yaw_deg is 'nan'"),
        ("yaw_deg", 1e30, r"yaw_deg is '1e\+30'"),
        ("yaw_deg", [1], "yaw_deg is"),
        ("occluders", [1], "occluders is"),
        ("source", "\udcff", "source is"),
        ("attributes", "[]", "attributes is no JSON object"),
        ("weights", "[" * 100000, "weights is no JSON object"),
        ("status", "good", "the status is 'good'"),
        ("other", 1, "there is no column 'other'"),
    ],
)
def test_rows_that_are_none_are_refused(column: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        check_row({**FACE, column: value})


def test_the_first_line_is_of_its_shard() -> None:
    sealed = sealed_from(json.loads(json.dumps({**HEAD, "parts": {"7": [0, 1024, "cd"]}})), 3)
    assert sealed.parts == {"7": (0, 1024, "cd")}
    for values, sentence in (
        ({**HEAD, "parts": {}, "shard": 4}, "it is of shard 4"),
        ({**HEAD, "parts": {"../x": [0, 1, "ab"]}}, "invalid literal"),
        ({**HEAD, "parts": 5}, "TypeError"),
        ({**HEAD, "parts": {}, "size": float("inf")}, "OverflowError"),
        ({**HEAD, "parts": {}, "more": 1}, "TypeError"),
        (HEAD, "KeyError"),
    ):
        with pytest.raises(ValueError, match=sentence):
            sealed_from(values, 3)


def test_seconds_are_numbers_by_stage() -> None:
    line = {"item": 3, "id": "ab", "seconds": {"total": 0.5}}
    assert check_timing(line) == line
    for change in ({"seconds": 5}, {"seconds": {"total": "x"}}, {"item": "3"}, {"id": None}):
        with pytest.raises(ValueError, match="something else than seconds"):
            check_timing({**line, **change})
