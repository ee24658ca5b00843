"""Evaluations to look at: HTML pages that need no network, histograms, contact sheets."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import ImageError
from ostec.core.types import FloatArray
from ostec.eval.report.compare import Comparison, ordered, row_gain, text_of
from ostec.eval.report.pictures import Cell, sheet
from ostec.eval.report.record import Evaluation, Row
from ostec.eval.report.table import OWN, in_order, number
from ostec.export.templates import data_url, render
from ostec.io.files import write_atomic
from ostec.io.images import at_most, encode_png, read_image, write_png

SHEET_COLUMNS = 10
SHEET_TILES = SHEET_COLUMNS**2
"""Pictures of one contact sheet."""
PICTURED = 60
"""Rows of a comparison that are shown with pictures: a page of 10 to 20 MB."""
_BINS = 30
_MAX_MEGAPIXELS = 100.0


@dataclass(frozen=True)
class Shown:
    """A picture of a page."""

    title: str
    source: str
    """A ``data:`` URL."""


@dataclass(frozen=True)
class Group:
    """Pictures under a heading; without any it is not shown."""

    title: str
    pictures: Sequence[Shown]
    columns: int


def embedded(path: Path, side: int) -> str:
    """A picture as a PNG in a ``data:`` URL, neither side longer than ``side``; empty if it cannot be read."""
    try:
        image = read_image(path, _MAX_MEGAPIXELS)
    except ImageError:
        return ""
    return data_url("png", encode_png(at_most(image, side)))


def histogram(values: Sequence[float], title: str) -> dict[str, Any]:
    """Numbers as ``histograms.html.j2`` draws them: bars, and lowest, median and highest as text.

    Values that are no number are counted in the title; without any number there are no bars.
    """
    numbers = np.array([value for value in values if math.isfinite(value)], np.float64)
    if not len(numbers):
        return {"title": title, "bars": []}
    missing = len(values) - len(numbers)
    low, high, median = float(numbers.min()), float(numbers.max()), float(np.median(numbers))
    span = high - low or 1.0
    return {
        "title": title + (f" ({missing} without)" if missing else ""),
        "bars": np.histogram(numbers, _BINS, (low, low + span))[0].tolist(),
        "where": (median - low) / span,
        "low": f"{low:.4g}",
        "median": f"{median:.4g}",
        "high": f"{high:.4g}",
    }


def write_sheets(folder: Path, names: Sequence[str], tile: int, read: Callable[[int], FloatArray]) -> list[str]:
    """Write ``contact_000.png``, ... of 100 pictures each, with their names above; sheets of an older run are removed.

    Args:
        folder: the evaluation's.
        names: of the pictures; long ones lose their middle.
        tile: side of each in pixels.
        read: number of a picture -> [tile, tile, 3].

    Returns:
        The sheets' names.
    """
    sheets = []
    for first in range(0, len(names), SHEET_TILES):
        cells = [Cell(names[k], read(k)) for k in range(first, min(first + SHEET_TILES, len(names)))]
        rows = [cells[k : k + SHEET_COLUMNS] for k in range(0, len(cells), SHEET_COLUMNS)]
        sheets.append(f"contact_{first // SHEET_TILES:03d}.png")
        write_png(folder / sheets[-1], sheet(rows, tile))
    for old in folder.glob("contact_[0-9][0-9][0-9].png"):
        if old.name not in sheets:
            old.unlink(missing_ok=True)
    return sheets


def write_textures_page(folder: Path, evaluation: Evaluation, table: str, sheets: Sequence[str], side: int) -> Path:
    """Write ``textures.html``: table, histograms, the most unusual textures, twins, contact sheets (as links).

    Args:
        folder: the evaluation's; pictures are read from there.
        evaluation: of textures, with the set's row last.
        table: its text.
        sheets: names of the contact sheets.
        side: of the pictures in pixels.

    Raises:
        OutputError: it cannot be written.
    """
    rows = [row for row in evaluation.rows if row.pictures]
    names = in_order(name for row in rows for name in row.figures)
    page = render(
        "textures.html.j2",
        title="Textures",
        table=table,
        plots=[histogram([row.figures.get(name, math.nan) for row in rows], name) for name in names],
        groups=[*(_extremes(folder, rows, name, side) for name in names), _twins(folder, evaluation, side)],
        sheets=sheets,
    )
    path = folder / "textures.html"
    write_atomic(path, page)
    return path


def _extremes(folder: Path, rows: Sequence[Row], name: str, side: int, count: int = 3) -> Group:
    """The textures with the lowest and the highest values of a figure; none where all are equal."""
    known = [row for row in rows if math.isfinite(row.figures.get(name, math.nan))]
    known.sort(key=lambda row: (row.figures[name], row.item))
    ends = known if len(known) <= 2 * count else [*known[:count], *known[-count:]]
    if len(known) < 2 or known[0].figures[name] == known[-1].figures[name]:
        ends = []
    pictures = [
        Shown(f"{row.item}: {number(name, row.figures[name])}", embedded(folder / row.pictures["made"], side))
        for row in ends
    ]
    return Group(f"Lowest and highest {name}", pictures, 2 * count)


def _twins(folder: Path, evaluation: Evaluation, side: int, most: int = 30) -> Group:
    pairs = [pair for row in evaluation.rows for pair in row.labels.get("twins", ())]
    made = {row.item: row.pictures["made"] for row in evaluation.rows if row.pictures}
    pictures = [Shown(item, embedded(folder / made[item], side)) for pair in pairs[:most] for item in pair]
    more = f", the first {most}" if len(pairs) > most else ""
    return Group(f"Near-identical pairs: {len(pairs)}{more}", pictures, 4)


def write_compare_page(folder: Path, comparison: Comparison, run_a: Path, run_b: Path, side: int = 240) -> Path:
    """Write ``compare.html``: the table, and each row with A, B and the truth side by side, to be sorted by difference.

    The pictures are inside the page, those of the 60 rows that changed most in their method's first figure. Methods
    that did not change at all are left out, unless all are; so are the figures without the warp of each row.

    Args:
        folder: where the page goes.
        comparison: what to show.
        run_a: folder of run A, to which its rows' pictures are relative.
        run_b: the same of B.
        side: of the pictures in pixels, at most.

    Raises:
        OutputError: it cannot be written.
    """
    first = {pair.method: pair.figure for pair in reversed(comparison.paired) if pair.verdict != "-"}
    methods = list(dict.fromkeys(a.method for a, _ in comparison.rows))
    methods = [method for method in methods if method not in comparison.unchanged] or methods
    rows = [pair for method in methods for pair in ordered(comparison, method)]

    def change(k: int) -> tuple[float, int]:
        a, b = rows[k]
        value = row_gain(first[a.method], a, b) if a.method in first else math.nan
        return (0.0 if math.isnan(value) else -abs(value)), k

    pictured = set(sorted(range(len(rows)), key=change)[:PICTURED])
    cards = []
    for k, (a, b) in enumerate(rows):
        of_method = [pair for pair in comparison.paired if pair.method == a.method]
        gains = {pair.figure: row_gain(pair.figure, a, b) for pair in of_method if pair.verdict != "-"}
        lines = [_line(pair.figure, a, b) for pair in of_method if not pair.figure.endswith(OWN)]
        cards.append(
            {
                "title": f"{a.item} ({a.method})",
                "gains": json.dumps({name: value for name, value in gains.items() if math.isfinite(value)}),
                "lines": [line for line in lines if line],
                "pictures": _side_by_side(a, b, run_a, run_b, side) if k in pictured else [],
            }
        )
    page = render(
        "compare.html.j2",
        title="A and B compared",
        run_a=run_a,
        run_b=run_b,
        table=text_of(comparison, most_rows=0),
        figures=in_order(pair.figure for pair in comparison.paired if pair.verdict != "-" and pair.method in methods),
        cards=cards,
        pictured=PICTURED,
    )
    path = folder / "compare.html"
    write_atomic(path, page)
    return path


def _line(name: str, a: Row, b: Row) -> dict[str, str] | None:
    """A line of a row's table; none where neither side has a number."""
    x, y = (min(row.figures.get(name, math.nan), 100.0) for row in (a, b))
    if math.isnan(x) and math.isnan(y):
        return None
    better = row_gain(name, a, b)
    verdict = "better" if better > 0 else "worse" if better < 0 else "muted"
    return {
        "name": name,
        "a": number(name, x),
        "b": number(name, y),
        "difference": number(name, y - x, True),
        "verdict": verdict,
    }


def _side_by_side(a: Row, b: Row, run_a: Path, run_b: Path, side: int) -> list[Shown]:
    """A's picture, B's, and the truth, or that of each where they differ, as far as there are any."""
    of_a, of_b = (
        [embedded(path, side) if (path := inside(run, row.pictures.get(what))) else "" for what in ("made", "truth")]
        for run, row in ((run_a, a), (run_b, b))
    )
    sources = {"A": of_a[0], "B": of_b[0]}
    if of_a[1] and of_b[1] and of_a[1] != of_b[1]:
        sources |= {"Truth of A": of_a[1], "Truth of B": of_b[1]}
    else:
        sources["Truth"] = of_b[1] or of_a[1]
    return [Shown(title, source) for title, source in sources.items() if source]


def inside(folder: Path, name: str | None) -> Path | None:
    """The path of a run's picture; None for none, and for one that would lie outside the run's folder."""
    if not name:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) else None
