"""The records of a run survive damage, and are the same for the same run."""

import json
from pathlib import Path

import numpy as np
import pytest

from ostec import __version__
from ostec.core.errors import OutputError
from ostec.core.record import RESULT
from ostec.export import record


def test_record_is_sorted_and_reads_back(tmp_path: Path) -> None:
    values = {"warnings": ["Käse"], "b": {"z": 1, "a": np.float32(0.5)}, "pose_deg": np.array([1.0, 2.0, 3.0])}
    path = record.write_record(tmp_path, "Grä fin", values)
    assert path == tmp_path / "Grä fin.json"
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[1:4] == ['  "b": {', '    "a": 0.5,', '    "z": 1']
    assert "Käse" in text
    reordered = {"pose_deg": [1.0, 2.0, 3.0], "b": {"a": 0.5, "z": 1}, "warnings": ["Käse"]}
    assert record.write_record(tmp_path, "other", reordered).read_text(encoding="utf-8") == text
    assert record.read_record(path) == {**reordered, "kind": RESULT}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object()])
def test_record_refuses_what_json_cannot_hold(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|plain values"):
        record.write_record(tmp_path, "a", {"loss": value})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b'{"kind": "another program"}', b"{}", b"[" * 100_000]
)
def test_damaged_or_foreign_record_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert record.read_record(tmp_path / "a.json") is None
    assert record.read_record(tmp_path / "absent.json") is None
    assert record.read_record(tmp_path) is None


def test_finished_results_of_a_folder_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b", "a.1", "ü x"):
        record.write_record(tmp_path, name, {"source": f"{name}.jpg"})
    (tmp_path / "package.json").write_text("{}", encoding="utf-8")
    (tmp_path / "half.json").write_text('{"kind": "ostec', encoding="utf-8")
    found = record.read_records(tmp_path)
    assert list(found) == ["a.1", "b", "ü x"]
    assert found["ü x"]["source"] == "ü x.jpg"


def test_name_that_is_no_text_stays_valid_json(tmp_path: Path) -> None:
    path = record.write_record(tmp_path, "a", {"source": "bad\udcff.jpg"})
    assert json.loads(path.read_bytes())["source"] == "bad\udcff.jpg"


def test_versions_name_what_a_result_depends_on() -> None:
    found = record.versions()
    assert found["ostec"] == __version__
    assert found["python"].count(".") == 1
    assert {"torch", "numpy"} <= found.keys()


def test_run_lines_are_appended_and_a_killed_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    record.append_run(tmp_path, {"file": "ä.jpg", "seconds": {"read": 0.1}})
    path = tmp_path / "run.jsonl"
    with path.open("ab") as stream:
        stream.write(b'{"file": "b')
    record.append_run(tmp_path, {"file": "c.jpg"})
    record.append_run(tmp_path, {"file": "d.jpg"})
    lines = path.read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[0]) == {"file": "ä.jpg", "seconds": {"read": 0.1}}
    assert [json.loads(line)["file"] for line in lines[2:]] == ["c.jpg", "d.jpg"]
    with pytest.raises(OutputError, match=r"run\.jsonl cannot be written"):
        record.append_run(tmp_path / "absent", {})


def test_failures_are_rewritten_and_read_back(tmp_path: Path) -> None:
    failures = [record.Failure("a b.jpg", "detect", "No face."), record.Failure("ü.jpg", "read", "ü.jpg is empty.")]
    path = record.write_failures(tmp_path, failures)
    assert path.name == "failures.jsonl"
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert record.read_failures(tmp_path) == failures
    with path.open("ab") as stream:
        stream.write(b'{"file": "half\nnull\n[]\n\xff\n')
    assert record.read_failures(tmp_path) == failures
    record.write_failures(tmp_path, [])
    assert path.read_bytes() == b""
    assert record.read_failures(tmp_path) == []
    assert record.read_failures(tmp_path / "absent") == []
