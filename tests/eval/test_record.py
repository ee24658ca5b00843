"""What an evaluation leaves behind can be read again."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ostec.core.errors import OutputError, UsageError
from ostec.eval.report.record import FILE, Evaluation, Row, direction, means, read_evaluation, write_evaluation
from ostec.eval.scores import FIGURES

ROWS = (
    Row("a", "ostec", {"psnr_face": 20.5, "ssim_face": math.nan}, {"yaw": 30, "light": "hard"}, {"made": "p/a.png"}),
    Row("b \udce9 é", "ostec", {"psnr_face": math.inf, "ssim_face": 0.5}),
    Row("a", "median", {"psnr_face": 10.0}),
)
EVALUATION = Evaluation(
    "head",
    {"seed": 1, "grid": [0, 30]},
    {"perceptual": "x"},
    ROWS,
    ({"item": "c", "method": "", "reason": "No face."},),
)


def test_round_trip_keeps_nan_inf_and_odd_names(tmp_path: Path) -> None:
    write_evaluation(tmp_path, EVALUATION)
    for place in (tmp_path, tmp_path / FILE):
        found = read_evaluation(place)
        assert math.isnan(found.rows[0].figures.pop("ssim_face"))
        assert found.rows[0] == Row("a", "ostec", {"psnr_face": 20.5}, ROWS[0].labels, ROWS[0].pictures)
        assert found.rows[1:] == ROWS[1:]
        assert (found.kind, found.settings, found.models) == ("head", EVALUATION.settings, EVALUATION.models)
        assert found.failures == EVALUATION.failures


def test_file_is_strict_json_with_six_decimals_and_the_same_bytes(tmp_path: Path) -> None:
    write_evaluation(tmp_path, Evaluation("views", {}, {}, (Row("a", "m", {"psnr": 1 / 3, "identity": math.nan}),)))
    text = (tmp_path / FILE).read_bytes()
    plain = json.loads(text, parse_constant=pytest.fail)
    assert plain["rows"][0]["figures"] == {"psnr": 0.333333, "identity": None}
    write_evaluation(tmp_path, read_evaluation(tmp_path))
    assert (tmp_path / FILE).read_bytes() == text


def test_means_leave_out_nan_and_cap_what_is_infinite() -> None:
    found = means(ROWS[:2])
    assert found == {"psnr_face": (20.5 + 100) / 2, "ssim_face": 0.5}
    only_nan = means((Row("a", "m", {"psnr": math.nan}),))
    assert math.isnan(only_nan["psnr"])
    assert means(()) == {}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version": 1}', b'{"version": 1, "rows": [{"item": 3}]}', b"\xff\xfe", b"null"],
)
def test_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UsageError, match=r"eval\.json is no evaluation that can be read\.$"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": 5},
        {"settings": None},
        {"models": []},
        {"models": {"identity": 3}},
        {"rows": {}},
        {"failures": ["x"]},
        {"item": ["x"]},
        {"method": None},
        {"labels": 3},
        {"pictures": [1, 2]},
        {"pictures": {"made": 1}},
        {"figures": {"psnr": True}},
        {"figures": {"psnr": "20"}},
        {"figures": {"psnr": 1e300}},
        {"figures": {"psnr": [1]}},
    ],
)
def test_values_of_another_kind_are_damage(tmp_path: Path, change: dict[str, Any]) -> None:
    write_evaluation(tmp_path, EVALUATION)
    plain = json.loads((tmp_path / FILE).read_text())
    (name,) = change
    (plain["rows"][0] if name in plain["rows"][0] else plain).update(change)
    (tmp_path / FILE).write_text(json.dumps(plain))
    with pytest.raises(UsageError, match=r"eval\.json is no evaluation that can be read\.$"):
        read_evaluation(tmp_path)


def test_a_failure_stands_for_its_rows() -> None:
    reasons = [("a/*", ""), ("b", "ostec"), ("c", "")]
    found = Evaluation("head", {}, {}, (), tuple({"item": i, "method": m, "reason": "No."} for i, m in reasons))
    failed = {
        (item, who)
        for item in ("a/uv", "a", "b", "b/x", "c", "cc")
        for who in ("ostec", "prior")
        if found.failed(item, who)
    }
    assert failed == {("a/uv", "ostec"), ("a/uv", "prior"), ("b", "ostec"), ("c", "ostec"), ("c", "prior")}


def test_missing_file_and_other_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"eval\.json does not exist\.$"):
        read_evaluation(tmp_path)
    with pytest.raises(UsageError, match=r"nowhere does not exist\.$"):
        read_evaluation(tmp_path / "nowhere")
    (tmp_path / FILE).write_text('{"version": 2}')
    with pytest.raises(UsageError, match="has version 2, expected 1"):
        read_evaluation(tmp_path)


def test_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_evaluation(tmp_path / "nowhere", EVALUATION)


def test_direction_goes_by_the_first_word() -> None:
    assert {name: direction(f"{name}_unseen_own") for name in FIGURES} == FIGURES
    with pytest.raises(ValueError, match="expected a figure of psnr"):
        direction("speed_face")
