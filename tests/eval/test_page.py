"""Pages are one file, escape what they show, and need no network."""

import base64
import html.parser
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from ostec.eval.report import page
from ostec.eval.report.compare import TOLERANCES, compare
from ostec.eval.report.pictures import GAP_PX, LABEL_PX
from ostec.eval.report.record import Evaluation, Row
from ostec.export.templates import render
from ostec.io.images import read_image, write_png

VOID = {"meta", "img", "br"}


class _Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.cards: list[tuple[str, dict[str, float]]] = []
        self._gains: dict[str, float] | None = None
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "img":
            self.images.append(values)
        if "data-gains" in values:
            self._gains = json.loads(values["data-gains"] or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return None

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open[-1:] == ["h3"] and self._gains is not None:
            self.cards.append((data, self._gains))
            self._gains = None


def _read(path: Path) -> _Reader:
    text = path.read_text("utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[^\"]*", "", text))
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


def _run(folder: Path, colour: float, values: dict[str, float], truth: float | None = 0.3) -> Evaluation:
    (folder / "p").mkdir(parents=True)
    if truth is not None:
        write_png(folder / "p/truth.png", np.full((300, 600, 3), truth, np.float32))
    rows = []
    for item, value in values.items():
        name = f"p/{len(rows)}.png"
        write_png(folder / name, np.full((300, 600, 3), colour, np.float32))
        pictures = {"made": name, **({"truth": "p/truth.png"} if truth is not None else {})}
        rows.append(Row(item, "ostec", {"psnr_face": value, "ssim_face": 0.5}, pictures=pictures))
    return Evaluation("head", {}, {}, tuple(rows))


def test_comparison_shows_a_b_and_truth_and_can_be_sorted(tmp_path: Path) -> None:
    odd = 'x"<script>alert(1)</script>&'
    a = _run(tmp_path / "a", 0.0, {"same": 20.0, odd: 25.0, "good": 20.0})
    b = _run(tmp_path / "b", 1.0, {"same": 20.0, odd: 21.0, "good": math.inf})
    path = page.write_compare_page(tmp_path, compare(a, b, None, TOLERANCES), tmp_path / "a", tmp_path / "b", 100)
    found = _read(path)
    assert [title for title, _ in found.cards] == [f"{odd} (ostec)", "same (ostec)", "good (ostec)"]  # worst first
    assert [gains for _, gains in found.cards] == [
        {"psnr_face": -4.0, "ssim_face": 0.0},
        {"psnr_face": 0.0, "ssim_face": 0.0},
        {"psnr_face": 80.0, "ssim_face": 0.0},
    ]
    assert "alert(1)" not in path.read_text().split('id="items"')[1].replace(
        "&lt;script&gt;alert(1)&lt;/script&gt;", ""
    )
    assert [image["alt"] for image in found.images] == ["A", "B", "Truth"] * 3
    assert "+80.00" in found.text  # infinite PSNR is 100 dB
    source = found.images[1]["src"] or ""
    assert source.startswith("data:image/png;base64,")
    (tmp_path / "b.png").write_bytes(base64.b64decode(source.partition(",")[2]))
    shown = read_image(tmp_path / "b.png")
    assert shown.shape == (50, 100, 3)
    assert (shown == 1).all()


def test_comparison_without_pictures_and_with_ones_that_are_gone(tmp_path: Path) -> None:
    a = _run(tmp_path / "a", 0.0, {"x": 20.0}, truth=None)
    b = Evaluation("head", {}, {}, (Row("x", "ostec", {"psnr_face": 21.0}),))
    found = _read(page.write_compare_page(tmp_path, compare(a, b, None, TOLERANCES), tmp_path / "a", tmp_path / "b"))
    assert [image["alt"] for image in found.images] == ["A"]
    assert "psnr_face" in found.text.partition("x (ostec)")[2]
    (tmp_path / "a/p/0.png").unlink()
    found = _read(page.write_compare_page(tmp_path, compare(a, b, None, TOLERANCES), tmp_path / "a", tmp_path / "b"))
    assert found.images == []
    assert "x (ostec)" in found.text


def test_truths_that_differ_are_both_shown(tmp_path: Path) -> None:
    a, b = (_run(tmp_path / name, 0.0, {"x": 20.0}, truth) for name, truth in (("a", 0.3), ("b", 0.7)))
    found = _read(page.write_compare_page(tmp_path, compare(a, b, None, TOLERANCES), tmp_path / "a", tmp_path / "b"))
    assert [image["alt"] for image in found.images] == ["A", "B", "Truth of A", "Truth of B"]
    assert len({image["src"] for image in found.images}) == 3


def test_pictures_outside_the_run_are_not_taken_in(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    write_png(tmp_path / "secret.png", np.zeros((4, 4, 3), np.float32))
    assert page.inside(tmp_path / "run", "../secret.png") is None
    assert page.inside(tmp_path / "run", str(tmp_path / "secret.png")) is None
    assert page.inside(tmp_path / "run", "p/a.png") == tmp_path.resolve() / "run/p/a.png"
    assert page.inside(tmp_path / "run", None) is None


def test_of_many_rows_those_that_changed_most_have_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PICTURED", 2)
    a = _run(tmp_path / "a", 0.0, {str(k): 20.0 for k in range(5)}, truth=None)
    b = _run(tmp_path / "b", 1.0, {str(k): 20.0 + (0, 1, -5, 6, 2)[k] for k in range(5)}, truth=None)
    path = page.write_compare_page(tmp_path, compare(a, b, None, TOLERANCES), tmp_path / "a", tmp_path / "b")
    cards = path.read_text().split('<section class="card"')[1:]
    assert [card.split("<h3>")[1][0] for card in cards if "<img" in card] == ["2", "3"]
    assert "of the 2 of 5 rows that changed most" in _read(path).text


def test_figures_that_neither_side_has_take_no_line() -> None:
    one, none = Row("x", "m", {"psnr": 20.0, "ssim": math.nan}), Row("x", "m", {})
    assert page._line("ssim", one, none) is None
    line = page._line("psnr", one, none)
    assert line is not None
    assert (line["a"], line["b"], line["verdict"]) == ("20.00", "-", "muted")


def _drawn(values: list[float], title: str = "x") -> str:
    return render("histograms.html.j2", plots=[page.histogram(values, title)]).decode()


def test_histogram_counts_everything_once() -> None:
    rng = np.random.default_rng(0)
    values = [*rng.normal(size=200).tolist(), math.nan, 1e3]
    drawn = _drawn(values, "a < b")
    assert "a &lt; b (1 without)" in drawn
    assert sum(int(n) for n in re.findall(r"<title>(\d+)</title>", drawn)) == 201
    assert max(float(h) for h in re.findall(r'height="([\d.]+)"><title>', drawn)) == 100
    assert ">1000</text>" in drawn
    assert _drawn([2.0, 2.0, 3.0]).count("<rect") == 2
    assert '<text x="370" y="38" text-anchor="end">2</text>' in _drawn([2.0, 2.0, 3.0])
    assert _drawn([2.0, 2.0]).count("<rect") == 1
    empty = _drawn([math.nan])
    assert empty.count("<svg") == empty.count(">x</text>") == empty.count(">nothing to show</text>") == 1


def test_contact_sheets_hold_a_hundred_each_in_order(tmp_path: Path) -> None:
    (tmp_path / "contact_007.png").write_bytes(b"of an older run")
    names = [f"{k}-{'name' * 20}-é" for k in range(103)]
    sheets = page.write_sheets(tmp_path, names, 96, lambda k: np.full((96, 96, 3), k / 255, np.float32))
    assert sheets == ["contact_000.png", "contact_001.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sheets
    first, last = (np.rint(255 * read_image(tmp_path / sheet)) for sheet in sheets)
    step_x, step_y = 96 + GAP_PX, 96 + LABEL_PX + GAP_PX
    corners = [[first[LABEL_PX + step_y * row, step_x * column, 0] for column in range(10)] for row in range(10)]
    assert corners == np.arange(100).reshape(10, 10).tolist()
    assert last.shape[:2] == (LABEL_PX + 96, 3 * step_x - GAP_PX)
    assert [last[LABEL_PX, step_x * column, 0] for column in range(3)] == [100, 101, 102]
    assert last[:LABEL_PX].min() < 128  # the name is written above
    assert page.write_sheets(tmp_path, [], 96, pytest.fail) == []


def test_textures_page_shows_extremes_twins_and_sheets(tmp_path: Path) -> None:
    (tmp_path / "thumbs").mkdir()
    rows = []
    for k in range(8):
        write_png(tmp_path / f"thumbs/t{k}.png", np.full((16, 16, 3), k / 8, np.float32))
        rows.append(
            Row(f"t{k}", "texture", {"symmetry": float(k), "area_layout": 1.0}, pictures={"made": f"thumbs/t{k}.png"})
        )
    rows.append(Row("all textures", "set", {"duplicates": 2.0}, {"twins": [["t1", "t2"]]}))
    evaluation = Evaluation("textures", {}, {}, tuple(rows))
    page.write_textures_page(tmp_path, evaluation, "a <table>", ["contact_000.png"], 16)
    found = _read(tmp_path / "textures.html")
    assert "a <table>" in found.text
    captions = [image["alt"] for image in found.images]
    assert captions[:6] == [f"t{k}: {k}.000" for k in (0, 1, 2, 5, 6, 7)]  # a figure that is the same for all has none
    assert captions[6:8] == ["t1", "t2"]
    assert found.images[8]["src"] == "contact_000.png"
    assert "Near-identical pairs: 1" in found.text
