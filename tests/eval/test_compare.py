"""Two runs in pairs: planted differences are found, what cannot be compared is said and not compared."""

import math

import numpy as np
import pytest

from ostec.core.errors import UsageError
from ostec.eval.report.compare import (
    TOLERANCES,
    Comparison,
    Paired,
    compare,
    gain,
    interval,
    parse_tolerances,
    text_of,
)
from ostec.eval.report.record import Evaluation, Row, in_order
from ostec.eval.scores import FIGURES

MODELS = {"perceptual": "LPIPS", "identity": "ArcFace"}


def _run(figures: dict[str, dict[str, float]], method: str = "ostec", **changes: object) -> Evaluation:
    rows = tuple(Row(item, method, values) for item, values in figures.items())
    plain: dict[str, object] = {"kind": "head", "settings": {}, "models": MODELS, "rows": rows, **changes}
    return Evaluation(**plain)  # type: ignore[arg-type]


def _pair(comparison: Comparison, figure: str, method: str = "ostec") -> Paired:
    (found,) = [pair for pair in comparison.paired if (pair.figure, pair.method) == (figure, method)]
    return found


def test_rows_are_paired_by_item_whatever_their_order() -> None:
    a = _run({"x": {"psnr_face": 20.0}, "y": {"psnr_face": 30.0}, "gone": {"psnr_face": 90.0}})
    b = _run({"new": {"psnr_face": 5.0}, "y": {"psnr_face": 31.0}, "x": {"psnr_face": 23.0}})
    found = compare(a, b, None, TOLERANCES)
    pair = _pair(found, "psnr_face")
    assert (pair.n, pair.a, pair.b, pair.difference, pair.gain) == (2, 25.0, 27.0, 2.0, 2.0)
    assert (pair.low, pair.high) == (1.0, 3.0)  # of two differences, 1 and 3, a quarter of the means is each of them
    assert pair.verdict == "better"
    assert (found.only_a, found.only_b) == ((("gone", "ostec"),), (("new", "ostec"),))
    assert not found.is_worse
    text = text_of(found)
    assert "Only in A (1): gone (ostec)." in text
    assert "Only in B (1): new (ostec)." in text


@pytest.mark.parametrize(
    ("name", "a", "b", "expected"),
    [
        ("psnr_unseen", 20.0, 21.5, 1.5),
        ("psnr", math.inf, 99.0, -1.0),
        ("perceptual_face_own", 0.25, 0.5, -0.25),
        ("symmetry", 7.0, 4.0, 3.0),
        ("sharpness_face", 0.5, 2.0, 0.0),  # twice is as far from 1 as half
        ("sharpness_face", 0.5, 1.0, math.log(2)),
        ("sharpness_face", 1.0, math.e, -1.0),
    ],
)
def test_gain_has_the_sign_of_better(name: str, a: float, b: float, expected: float) -> None:
    assert gain(name, a, b) == pytest.approx(expected)


def test_what_only_describes_is_neither_better_nor_worse() -> None:
    assert math.isnan(gain("brightness", 0.1, 0.9))
    found = compare(_run({"x": {"brightness": 0.1}}), _run({"x": {"brightness": 0.9}}), None, TOLERANCES)
    assert _pair(found, "brightness").verdict == "-"
    assert not found.is_worse
    assert gain("sharpness", 0.0, 1.0) == pytest.approx(math.log(1e6))


@pytest.mark.parametrize(("loss", "verdict"), [(0.19, "same"), (0.21, "worse"), (-0.19, "same"), (-0.21, "better")])
def test_tolerance_decides_by_the_mean(loss: float, verdict: str) -> None:
    a = _run({"x": {"psnr_face": 20.0}, "y": {"psnr_face": 25.0}})
    b = _run({"x": {"psnr_face": 20.0 - 2 * loss}, "y": {"psnr_face": 25.0}})
    found = compare(a, b, None, parse_tolerances(["0.2"]))
    assert _pair(found, "psnr_face").verdict == verdict
    assert found.is_worse == (verdict == "worse")


def test_sharpness_overshot_is_worse_though_the_number_rises() -> None:
    found = compare(_run({"x": {"sharpness_face": 1.0}}), _run({"x": {"sharpness_face": 1.4}}), None, TOLERANCES)
    pair = _pair(found, "sharpness_face")
    assert pair.difference == pytest.approx(0.4)
    assert pair.verdict == "worse"
    assert "in the logarithm" in text_of(found)


def test_a_run_equals_itself() -> None:
    values = {"psnr_face": math.inf, "ssim_face": 0.5, "identity": math.nan, "sharpness_face": 0.3}
    found = compare(
        _run({"x": values}), _run({"x": values}), None, parse_tolerances(["psnr=0", "ssim=0", "sharpness=0"])
    )
    assert {(pair.figure, pair.difference, pair.verdict) for pair in found.paired} == {
        (name, 0.0, "same") for name in ("psnr_face", "ssim_face", "sharpness_face")
    }
    assert found.notes == ()


def test_figures_of_other_judges_are_refused_with_a_sentence() -> None:
    values = {"psnr": 20.0, "perceptual_face": 0.3, "perceptual_face_own": 0.3, "identity": 0.9, "spread": 1.0}
    a, b = _run({"x": values}), _run({"x": values}, models={"perceptual": "encoder"})
    found = compare(a, b, None, TOLERANCES)
    assert [pair.figure for pair in found.paired] == ["psnr"]
    assert found.notes == (
        "perceptual was not compared: A is judged by 'LPIPS', B by 'encoder'.",
        "identity was not compared: A is judged by 'ArcFace', B by a judge that it does not name.",
    )
    assert all(note in text_of(found) for note in found.notes)


def test_unknown_figures_are_named() -> None:
    found = compare(
        _run({"x": {"psnr": 1.0, "speed": 1.0}}), _run({"x": {"psnr": 1.0, "speed": 2.0}}), None, TOLERANCES
    )
    assert found.notes == ("speed was not compared: this version knows no such figure.",)
    assert [pair.figure for pair in found.paired] == ["psnr"]


def test_numbers_on_one_side_only_do_not_count_and_are_told() -> None:
    a = _run({"x": {"psnr": 20.0}, "y": {"psnr": math.nan}, "z": {"psnr": 22.0}})
    b = _run({"x": {"psnr": 21.0}, "y": {"psnr": 50.0}, "z": {}})
    found = compare(a, b, None, TOLERANCES)
    assert (_pair(found, "psnr").n, _pair(found, "psnr").difference) == (1, 1.0)
    assert found.notes == (
        "psnr of ostec is a number only in A in 1 of 3 rows; these do not count.",
        "psnr of ostec is a number only in B in 1 of 3 rows; these do not count.",
    )


@pytest.mark.parametrize("method", ["ostec", ""])
def test_what_failed_in_b_makes_it_worse(method: str) -> None:
    a = _run({"x": {"psnr": 20.0}, "y": {"psnr": 20.0}})
    failures = ({"item": "y", "method": method, "reason": "No face."},)
    found = compare(a, _run({"x": {"psnr": 20.0}}, failures=failures), None, TOLERANCES)
    assert found.lost == (("y", "ostec"),)
    assert found.is_worse
    assert "Failed in B (1): y (ostec)." in text_of(found)
    assert not compare(a, _run({"x": {"psnr": 20.0}}), None, TOLERANCES).is_worse  # a smaller grid is no failure


@pytest.mark.parametrize(
    ("failed", "rows"),
    [
        ("unlit/pitch0/yaw25/*", ("unlit/pitch0/yaw25/uv", "unlit/pitch0/yaw25/to0")),
        ("ann to *", ("ann to bob", "ann to cy")),
        ("p half left", ("p half left",)),
    ],
)
def test_a_failed_input_loses_all_its_rows(failed: str, rows: tuple[str, ...]) -> None:
    others = {"ann 2 to bob": {"psnr": 20.0}, "unlit/pitch0/yaw2/uv": {"psnr": 20.0}}
    a = _run({**others, **{item: {"psnr": 20.0} for item in rows}})
    failures = ({"item": failed, "method": "", "reason": "No face."},)
    assert compare(a, _run(others, failures=failures), None, TOLERANCES).lost == tuple((i, "ostec") for i in rows)
    # Even where nothing is left to be compared.
    alone = _run({item: {"psnr": 20.0} for item in rows})
    nothing = compare(alone, _run({}, failures=failures), None, TOLERANCES)
    assert nothing.is_worse
    assert "Failed in B" in text_of(nothing)


def test_a_figure_that_is_gone_makes_it_worse() -> None:
    rows = {"x": {"psnr": 20.0, "ssim": 0.5, "contrast": 0.1}, "y": {"psnr": 21.0, "ssim": 0.6, "contrast": 0.1}}
    empty = {item: {"psnr": math.nan, "ssim": figures["ssim"]} for item, figures in rows.items()}
    found = compare(_run(rows), _run(empty), None, TOLERANCES)
    assert found.gone == (("psnr", "ostec"),)  # contrast only describes
    assert found.is_worse
    assert "No number in any row of B, which counts as worse: psnr (ostec)." in text_of(found)
    assert not compare(_run(empty), _run(rows), None, TOLERANCES).is_worse
    assert not compare(_run(empty), _run(empty), None, TOLERANCES).is_worse
    judged = [_run(rows, models={"perceptual": name}) for name in ("LPIPS", "encoder")]
    assert not compare(*judged, None, TOLERANCES).gone


def test_runs_without_a_number_in_both_are_refused() -> None:
    """Else a guard would pass where nothing was compared."""
    nothing, some = _run({"x": {"psnr": math.nan}}), _run({"x": {"psnr": 20.0}})
    for a in (nothing, _run({"x": {}}), _run({"x": {"contrast": 0.1}})):
        for b in (nothing, some):
            with pytest.raises(UsageError, match="No figure is a number in both runs"):
                compare(a, b, None, TOLERANCES)


def test_methods_are_kept_apart_and_can_be_chosen() -> None:
    rows = tuple(Row("x", method, {"psnr": value}) for method, value in (("ostec", 20.0), ("median", 10.0)))
    a = _run({}, rows=rows)
    b = _run({}, rows=(*(Row("x", r.method, {"psnr": r.figures["psnr"] + 1}) for r in rows), Row("x", "mirror", {})))
    assert [(pair.method, pair.b) for pair in compare(a, b, None, TOLERANCES).paired] == [
        ("ostec", 21.0),
        ("median", 11.0),
    ]
    assert [pair.method for pair in compare(a, b, "median", TOLERANCES).paired] == ["median"]
    with pytest.raises(UsageError, match="no row of the method 'mirror' in common"):
        compare(a, b, "mirror", TOLERANCES)


def test_what_cannot_be_paired_is_refused() -> None:
    one = _run({"x": {"psnr": 1.0}})
    with pytest.raises(UsageError, match="kind 'head', the other of kind 'views'"):
        compare(one, _run({"x": {"psnr": 1.0}}, kind="views"), None, TOLERANCES)
    with pytest.raises(UsageError, match="no row in common"):
        compare(one, _run({"y": {"psnr": 1.0}}), None, TOLERANCES)
    with pytest.raises(UsageError, match="Run B has two rows of ostec for 'x'"):
        compare(one, _run({}, rows=one.rows * 2), None, TOLERANCES)


def test_settings_that_differ_are_told() -> None:
    a = _run({"x": {"psnr": 1.0}}, settings={"seed": 0, "complete": {"iterations": 50, "mode": "soft"}})
    b = _run({"x": {"psnr": 1.0}}, settings={"seed": 0, "complete": {"iterations": 100, "mode": "soft"}, "size": 512})
    assert compare(a, b, None, TOLERANCES).notes == (
        "complete.iterations differs: 50 in A, 100 in B.",
        "size differs: nothing in A, 512 in B.",
    )


def test_groups_in_lists_are_told_one_by_one() -> None:
    parts = [{"mesh": "head.obj", "sha": "1"}, {"mesh": "eye.obj", "sha": "2"}]
    a = _run({"x": {"psnr": 1.0}}, settings={"head": parts, "yaws": [0, 1]})
    b = _run({"x": {"psnr": 1.0}}, settings={"head": [{**parts[0], "sha": "3"}], "yaws": [0]})
    assert compare(a, b, None, TOLERANCES).notes == (
        "head.1.sha differs: 1 in A, 3 in B.",
        "head.2 differs: mesh eye.obj in A, nothing in B.",
        "yaws differs: [0, 1] in A, [0] in B.",
    )


def test_tolerances_are_read_from_words() -> None:
    found = parse_tolerances(["0.5", "ssim=0", "psnr_unseen=2"])
    assert (found["psnr"], found["ssim"], found["psnr_unseen"]) == (0.5, 0.0, 2.0)
    assert found["identity"] == TOLERANCES["identity"]
    assert set(TOLERANCES) == {name for name, better in FIGURES.items() if better != "none"}
    a, b = _run({"x": {"psnr_face": 20.0, "psnr_unseen": 20.0}}), _run({"x": {"psnr_face": 19.0, "psnr_unseen": 19.0}})
    verdicts = {pair.figure: pair.verdict for pair in compare(a, b, None, found).paired}
    assert verdicts == {"psnr_face": "worse", "psnr_unseen": "same"}
    for wrong in ("speed=1", "psnr=", "psnr=-1", "psnr=nan", "brightness=1", "much"):
        with pytest.raises(UsageError, match=f"not '{wrong}'"):
            parse_tolerances([wrong])


def test_interval_is_seeded_and_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    sample = rng.normal(2.0, 3.0, 50)
    assert interval(sample, 0) == interval(sample, 0) != interval(sample, 1)
    low, high = interval(sample, 0)
    # The bootstrap of a mean tends to mean +- 1.96 sigma / sqrt(N).
    half = 1.96 * sample.std() / 50**0.5
    assert (low, high) == pytest.approx((sample.mean() - half, sample.mean() + half), abs=0.08)
    assert interval(np.array([1.5]), 0) == (1.5, 1.5)
    covered = 0
    for _ in range(200):
        low, high = interval(rng.normal(0.0, 1.0, 30), 0, 500)
        covered += low <= 0 <= high
    assert 178 <= covered <= 199  # 95 % of 200, a little less for samples of 30


def test_methods_that_did_not_change_take_one_line() -> None:
    rows = tuple(Row(item, who, {"psnr": 20.0, "ssim": 0.5}) for item in "xy" for who in ("ostec", "median"))
    a = _run({}, rows=rows)
    b = _run({}, rows=(Row("x", "ostec", {"psnr": 21.0, "ssim": 0.5}), *rows[1:]))
    found = compare(a, b, None, TOLERANCES)
    assert found.unchanged == ("median",)
    text = text_of(found)
    assert "median: equal in every row of its 2 figures." in text.splitlines()
    assert not [line for line in text.splitlines() if line.startswith("median ")]
    assert [line.split()[1] for line in text.splitlines() if line.startswith("ostec ")] == ["psnr", "ssim"]
    assert compare(a, a, None, TOLERANCES).unchanged == ("ostec", "median")


def test_of_many_figures_those_that_changed_are_shown_by_row() -> None:
    names = [f"psnr_p{k}" for k in range(12)]
    a = _run({item: dict.fromkeys(names, 20.0) for item in "xy"})
    b = _run({item: {**dict.fromkeys(names, 20.05), "psnr_p7": 15.0, "psnr_p9": 25.0} for item in "xy"})
    found = compare(a, b, None, TOLERANCES)
    heads = [line.split() for line in text_of(found).splitlines() if line.startswith("item")]
    assert heads[0][1:] == ["psnr_p0", "psnr_p1", "psnr_p10", "psnr_p11", "psnr_p7", "psnr_p9"]
    whole = [line.split() for line in text_of(found, None).splitlines() if line.startswith("item")]
    assert [name for words in whole for name in words[1:]] == in_order(names)
    assert max(map(len, text_of(found, None).splitlines())) <= 100


def test_other_judges_that_differ_are_told() -> None:
    a, b = (_run({"x": {"psnr": 1.0}}, models={**MODELS, "truth": text}) for text in ("21 views", "the layout's"))
    assert compare(a, b, None, TOLERANCES).notes == ("truth differs: 21 views in A, the layout's in B.",)


def test_rows_that_lost_most_come_first_and_long_lists_are_cut() -> None:
    a = _run({f"i{k:02d}": {"psnr": 20.0} for k in range(30)})
    b = _run({f"i{k:02d}": {"psnr": 20.0 - k} for k in range(30)})
    lines = text_of(compare(a, b, None, TOLERANCES)).splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith("B - A of ostec"))
    assert lines[start] == "B - A of ostec, those that lost most of psnr first (20 of 30):"
    assert [line.split() for line in lines[start + 3 : start + 5]] == [["i29", "-29.00"], ["i28", "-28.00"]]
    assert len(lines) == start + 3 + 20
    assert "(30 of 30)" not in text_of(compare(a, b, None, TOLERANCES), None)
    assert text_of(compare(a, b, None, TOLERANCES), None).count("\ni") == 30 + 1  # and the heading
    assert "lost most" not in text_of(compare(a, b, None, TOLERANCES), 0)
