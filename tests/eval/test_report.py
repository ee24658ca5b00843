"""Tables: the numbers are the means, and what is missing is said."""

import json
import math
from pathlib import Path

from ostec.core.text import align
from ostec.eval.report.record import FILE, Evaluation, Row, in_order, number, read_evaluation, table, write_report

ROWS = (
    Row("b", "ostec", {"psnr_face": 20.0, "ssim_face": 0.5}, {"yaw": 30}),
    Row("a", "ostec", {"psnr_face": 30.0, "ssim_face": math.nan}, {"yaw": -5}),
    Row("c", "ostec", {"psnr_face": 22.0, "ssim_face": 0.7}, {"yaw": 30}),
    Row("a", "median", {"psnr_face": math.inf}, {"yaw": -5}),
)
MODELS = {"perceptual": "features of the encoder (LPIPS is missing)", "identity": "prior"}


def test_one_line_per_method_and_label_and_a_mean_line() -> None:
    text = table(Evaluation("head", {}, MODELS, ROWS), ("yaw",))
    assert text == (
        "head: 3 items, 4 rows\n"
        "identity: prior\n"
        "perceptual: features of the encoder (LPIPS is missing)\n"
        "\n"
        "                   psnr   ssim\n"
        "method  yaw   n    face   face\n"
        "ostec   -5    1   30.00      -\n"
        "ostec   30    2   21.00  0.600\n"
        "ostec   mean  3   24.00  0.600\n"
        "median  -5    1  100.00      -\n"
        "median  mean  1  100.00      -\n"
    )


def test_without_labels_there_is_a_line_per_method() -> None:
    lines = table(Evaluation("head", {}, {}, ROWS)).splitlines()
    assert lines[-2:] == ["ostec   3   24.00  0.600", "median  1  100.00      -"]


def test_labels_are_sorted_as_numbers_words_and_none() -> None:
    rows = tuple(
        Row(str(k), "m", {"psnr": 1.0}, {"x": x} if x is not None else {}) for k, x in enumerate((10, 9.5, "b", None))
    )
    lines = table(Evaluation("head", {}, {}, rows), ("x",)).splitlines()
    assert [line.split()[1] for line in lines[-5:]] == ["9.5", "10", "b", "-", "mean"]
    two = (Row("1", "m", {}, {"x": 1, "y": "q"}), Row("2", "m", {}, {"x": 1, "y": "p"}))
    assert [line.split()[1:3] for line in table(Evaluation("h", {}, {}, two), ("x", "y")).splitlines()[-3:-1]] == [
        ["1", "p"],
        ["1", "q"],
    ]


def test_figures_without_the_warp_have_their_own_table() -> None:
    rows = (Row("a", "m", {"psnr_face": 1.0, "psnr_face_own": 2.0}),)
    lines = table(Evaluation("head", {}, {}, rows)).splitlines()
    warped, own = lines.index("After the warp onto the truth:"), lines.index("Without the warp:")
    assert lines[warped:own][-2].split() == ["m", "1", "1.00"]
    assert lines[own:][-2].split() == ["method", "n", "face"]
    assert lines[-1].split() == ["m", "1", "2.00"]
    without = (*rows, Row("a", "other", {"psnr_face": 1.0}))
    assert "other" not in table(Evaluation("head", {}, {}, without)).partition("Without the warp:")[2]
    only = table(Evaluation("head", {}, {}, (Row("a", "m", {"psnr_own": 2.0}),)))
    assert "After" not in only
    assert "Without the warp:" in only


def test_the_order_in_which_figures_came_does_not_matter() -> None:
    names = ["psnr_face", "psnr_unseen", "ssim_face", "sharpness_seen", "identity", "identity_own", "other"]
    assert in_order([*reversed(names), "psnr_face"]) == names
    one, two = (dict.fromkeys(order, 1.0) for order in (names[:5], names[4::-1]))
    assert table(Evaluation("h", {}, {}, (Row("a", "m", one),))) == table(
        Evaluation("h", {}, {}, (Row("a", "m", two),))
    )


def test_failures_are_told_and_long_lists_cut() -> None:
    failures = tuple({"item": f"i{k}", "method": "m" if k else "", "reason": "No face."} for k in range(25))
    lines = table(Evaluation("head", {}, {}, (), failures)).splitlines()
    assert lines[0] == "head: 0 items, 0 rows, 25 failed"
    assert "There are no rows." in lines
    assert lines[-22:-19] == ["Could not be done:", "  i0: No face.", "  i1 (m): No face."]
    assert lines[-1] == "  and 5 more"


def test_numbers_have_the_decimals_that_mean_something() -> None:
    assert [number("psnr_face", 21.456), number("ssim", 0.12345), number("ssim", math.nan)] == ["21.46", "0.123", "-"]
    assert number("psnr", 0.5, signed=True) == "+0.50"
    assert align([["a", "1"], ["bcd", "22"]], 1) == ["a     1", "bcd  22"]


def test_report_is_a_table_and_a_record_written_last(tmp_path: Path) -> None:
    evaluation = Evaluation("head", {"seed": 0}, MODELS, ROWS)
    text = write_report(tmp_path, evaluation, ("yaw",))
    assert (tmp_path / "table.txt").read_text() == text == table(evaluation, ("yaw",))
    assert read_evaluation(tmp_path).rows[0] == ROWS[0]
    assert json.loads((tmp_path / FILE).read_text())["models"] == MODELS
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "table.txt"]
