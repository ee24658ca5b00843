"""A record may come from somebody else: only what a record ever holds is one."""

from typing import Any

import pytest

from ostec.core.record import INVERSION, RESULT, TRANSFER, checked_record, is_file_of, safe_name, with_warnings

WHOLE: dict[str, Any] = {
    "kind": RESULT,
    "source": "a.jpg",
    "files": ["a.png", "a_head_eye_left.png", "a_views/bottom_left_render.png", "a.json", "a_turntable.webp"],
    "warnings": ["It is dark."],
    "pose_deg": [1.0, -2, 3.5],
    "features": None,
    "later": {"keys": "of a newer version are kept"},
}


def test_a_record_comes_back_as_it_is() -> None:
    assert checked_record(WHOLE, "a") == WHOLE
    assert checked_record({**WHOLE, "kind": INVERSION}, "a") is None
    assert checked_record({**WHOLE, "kind": INVERSION}, "a", (INVERSION, TRANSFER)) is not None
    assert checked_record({"kind": RESULT}, "a") == {"kind": RESULT}


@pytest.mark.parametrize(
    "file",
    [
        *("../precious.txt", "a/../../b.png", "/etc/passwd", "a.txt", "a", "b.png", "", "a.png/", "a.png\n", "a\0.png"),
        *("a_views/../b.png", "a_views/x/y.png", "a_views/", "a_views/x.txt", "a_HEAD.png", "a\\b.png", "A.png"),
    ],
)
def test_a_file_of_another_result_or_elsewhere_makes_it_no_record(file: str) -> None:
    assert not is_file_of("a", file)
    for kind in (RESULT, INVERSION, TRANSFER):
        assert checked_record({**WHOLE, "kind": kind, "files": [*WHOLE["files"], file]}, "a", (kind,)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"warnings": 5},
        {"warnings": [5]},
        {"warnings": ["It is dark.", 5]},
        {"files": ["a.png", 5]},
        {"texel_shares": {"photo": 0.5, "prior": "half"}},
        {"files": "a.png"},
        {"files": {"a.png": 1}},
        {"settings": []},
        {"pose_deg": ["1", "2", "3"]},
        {"faces": {"count": "many"}},
        {"source": 3},
        {"kind": [RESULT]},
        {"weights": {"a": 1}},
    ],
)
def test_a_field_of_another_type_makes_it_no_record(wrong: dict[str, Any]) -> None:
    try:
        assert checked_record({**WHOLE, **wrong}, "a") is None
    except TypeError:
        pytest.fail("it was looked at before it was checked")


@pytest.mark.parametrize("values", [None, [], "text", 7, {}, {"kind": None}])
def test_other_values_are_no_record(values: object) -> None:
    assert checked_record(values, "a") is None


def test_warnings_are_added_to_those_there() -> None:
    found = checked_record(WHOLE, "a")
    assert found is not None
    assert with_warnings(found, ["So is it."])["warnings"] == ["It is dark.", "So is it."]
    assert with_warnings({"kind": RESULT}, ["Dark."])["warnings"] == ["Dark."]
    assert found["warnings"] == ["It is dark."]


@pytest.mark.parametrize("name", ["my photo", "a\\b", "-x", "plain"])
def test_the_copies_with_safe_names_are_files_of_the_result(name: str) -> None:
    for ending in (".png", ".mtl", "_head.mtl", "_head_eye_left.png"):
        copy = safe_name(f"{name}{ending}")
        assert is_file_of(name, copy)
        assert (copy == f"{name}{ending}") == (name == "plain")
        assert not is_file_of("other photo", copy)
    assert not is_file_of("my photo", "my_photo_000000.png")
