"""Stock of a dataset: counted by hand."""

from typing import Any

import pyarrow

from ostec.dataset.manifest import FIGURES, schema_of
from ostec.dataset.stats import Stats, stats_of, title_of

ROWS = [
    {"status": "done", "face": 1, "faces": 2, "yaw_deg": 10.0, "mode": "soft", "occluders": ["hand"]},
    {"status": "done", "face": 2, "faces": 2, "yaw_deg": 30.0, "mode": "hard", "attributes": '{"Age": 20, "who": "A"}'},
    {"status": "failed", "face": 0, "stage": "detect", "source": "b.jpg", "reason": "b.jpg has no face."},
    {"status": "skipped", "face": 0, "stage": "plan", "reason": "The same picture as photo 0 of the plan."},
    {"status": "done", "face": 1, "faces": 1, "mode": "soft", "warnings": ["small"], "attributes": '{"Age": 40}'},
]


def gather(rows: list[dict[str, Any]]) -> Stats:
    return stats_of(pyarrow.Table.from_pylist(rows, schema=schema_of()))


def test_counts_and_figures() -> None:
    values = gather(ROWS).values
    assert values["faces"] == 3
    assert values["photos"] == {"done": 2, "failed": 1, "skipped": 1}
    assert values["faces_of_photo"] == {"1": 1, "2": 1}
    assert values["modes"] == {"hard": 1, "soft": 2}
    assert values["occluders"] == {"hand": 1, "none": 2}
    assert values["warnings"] == {"small": 1}
    assert values["failures"] == {"detect: PHOTO has no face.": 1}
    assert values["attributes"] == {"who": {"A": 1}}
    assert list(values["figures"]) == ["yaw_deg", "attributes.Age"]
    assert values["figures"]["attributes.Age"]["known"] == 2
    quantiles = {"min": 10.0, "p05": 11.0, "median": 20.0, "p95": 29.0, "max": 30.0}
    assert values["figures"]["yaw_deg"] == {"known": 2, "mean": 20.0, "deviation": 10.0, **quantiles}


def test_attributes_of_many_values_are_not_counted_one_by_one() -> None:
    rows = [{**ROWS[4], "attributes": f'{{"n": {n}, "who": "person {n:04d}", "sex": {n % 2}}}'} for n in range(1003)]
    values = gather(rows).values
    assert list(values["attributes"]) == ["sex", "who"]
    assert values["attributes"]["sex"] == {"0": 502, "1": 501}
    assert values["figures"]["attributes.sex"]["known"] == 1003
    assert len(values["attributes"]["who"]) == 1001
    assert values["attributes"]["who"]["(3 other values)"] == 3
    assert "sex: 0 (502), 1 (501)" in gather(rows).as_table().splitlines()


def test_the_table_says_the_same() -> None:
    lines = gather(ROWS).as_table().splitlines()
    assert lines[0] == "3 faces; photos: 2 done, 1 failed, 1 skipped"
    assert lines[3].split() == ["yaw_deg", "2", "20", "10", "10", "11", "20", "29", "30"]
    assert "Occluders: none (2), hand (1)" in lines
    assert lines[-1] == "       1  detect: PHOTO has no face."
    assert gather([]).as_table().startswith("0 faces")
    assert gather(ROWS[2:3]).as_table().startswith("0 faces; photos: 1 failed\n")
    assert gather(ROWS[4:]).as_table().startswith("1 face; photos: 1 done\n")


def test_figures_have_titles_and_attributes_their_names() -> None:
    assert title_of("yaw_deg") == "Yaw, degrees"
    assert title_of("attributes.Age\n") == "Attribute Age\\n"
    assert all(title_of(name) != name for name in FIGURES)
