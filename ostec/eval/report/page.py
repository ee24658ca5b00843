"""Evaluations to look at: HTML pages that need no network, histograms, contact sheets."""

import contextlib
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import ImageError
from ostec.core.types import FloatArray
from ostec.eval.report.compare import Comparison, row_gain, text_of
from ostec.eval.report.pictures import Cell, sheet
from ostec.eval.report.record import MOST_DB, OWN, Evaluation, Row, in_order, number
from ostec.export.templates import data_url, render
from ostec.io.files import write_atomic
from ostec.io.images import at_most, encode_png, read_image, write_png

SHEET_COLUMNS = 10
SHEET_TILES = SHEET_COLUMNS**2
"""Pictures of one contact sheet."""
PICTURED = 60
"""Rows of a comparison that are shown with pictures: a page of 10 to 20 MB."""
_BINS, _MOST_TWINS = 30, 30


def _shown(title: str, path: Path | None, side: int) -> dict[str, str]:
    """A picture of a page, neither side longer than ``side``; the source is empty if it cannot be read."""
    with contextlib.suppress(ImageError):
        return {"title": title, "source": data_url("png", encode_png(at_most(read_image(path), side))) if path else ""}
    return {"title": title, "source": ""}


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

    ``read`` gives the picture [tile, tile, 3] of a number. Returns the sheets' names.
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


def write_textures_page(folder: Path, evaluation: Evaluation, table: str, sheets: Sequence[str], side: int) -> None:
    """Write ``textures.html``: table, histograms, the most unusual textures, twins, contact sheets (as links).

    Pictures are read from the evaluation's folder and shown at ``side`` pixels. Raises OutputError.
    """
    rows = [row for row in evaluation.rows if row.pictures]
    made = {row.item: folder / row.pictures["made"] for row in rows}
    names = in_order(name for row in rows for name in row.figures)
    groups = []
    for name in names:
        titles = {row.item: f"{row.item}: {number(name, row.figures[name])}" for row in _extremes(rows, name)}
        pictures = [_shown(title, made[item], side) for item, title in titles.items()]
        groups.append({"title": f"Lowest and highest {name}", "pictures": pictures, "columns": 6})
    pairs = [pair for row in evaluation.rows for pair in row.labels.get("twins", ())]
    more = f", the first {_MOST_TWINS}" if len(pairs) > _MOST_TWINS else ""
    pictures = [_shown(item, made[item], side) for pair in pairs[:_MOST_TWINS] for item in pair]
    groups.append({"title": f"Near-identical pairs: {len(pairs)}{more}", "pictures": pictures, "columns": 4})
    plots = [histogram([row.figures.get(name, math.nan) for row in rows], name) for name in names]
    page = render("textures.html.j2", title="Textures", table=table, plots=plots, groups=groups, sheets=sheets)
    write_atomic(folder / "textures.html", page)


def _extremes(rows: Sequence[Row], name: str, count: int = 3) -> list[Row]:
    """Those with the lowest and the highest values of a figure; none where all are equal."""
    known = [row for row in rows if math.isfinite(row.figures.get(name, math.nan))]
    known.sort(key=lambda row: (row.figures[name], row.item))
    if not known or known[0].figures[name] == known[-1].figures[name]:
        return []
    return known if len(known) <= 2 * count else [*known[:count], *known[-count:]]


def write_compare_page(folder: Path, comparison: Comparison, run_a: Path, run_b: Path, side: int = 240) -> Path:
    """Write ``compare.html``: the table, and each row with A, B and the truth side by side, to be sorted by difference.

    The pictures are inside the page, those of the 60 rows that changed most in their method's first figure; their paths
    are relative to the folders ``run_a`` and ``run_b``, and ``side`` is their most pixels. Methods that did not change
    at all are left out, unless all are; so are the figures without the warp of each row. Raises OutputError.
    """
    methods = list(dict.fromkeys(a.method for a, _ in comparison.rows))
    methods = [method for method in methods if method not in comparison.unchanged] or methods
    judged = {method: comparison.judged(method) for method in methods}
    rows = [pair for method in methods for pair in comparison.ordered(method)]
    changes = [[abs(row_gain(name, a, b)) for name in judged[a.method][:1]] for a, b in rows]
    changed = np.nan_to_num([change[0] if change else 0.0 for change in changes], nan=0.0)
    pictured = set(np.argsort(-changed, kind="stable")[:PICTURED].tolist())
    cards = []
    for k, (a, b) in enumerate(rows):
        gains = {name: row_gain(name, a, b) for name in judged[a.method]}
        names = [p.figure for p in comparison.paired if p.method == a.method and not p.figure.endswith(OWN)]
        known = json.dumps({name: value for name, value in gains.items() if math.isfinite(value)})
        lines = [line for name in names if (line := _line(name, a, b))]
        pictures = _side_by_side(a, b, run_a, run_b, side) if k in pictured else []
        cards.append({"title": f"{a.item} ({a.method})", "gains": known, "lines": lines, "pictures": pictures})
    page = render(
        "compare.html.j2",
        title="A and B compared",
        run_a=run_a,
        run_b=run_b,
        table=text_of(comparison, most_rows=0),
        figures=in_order(name for method in methods for name in judged[method]),
        cards=cards,
        pictured=PICTURED,
    )
    path = folder / "compare.html"
    write_atomic(path, page)
    return path


def _line(name: str, a: Row, b: Row) -> dict[str, str] | None:
    """A line of a row's table; none where neither side has a number."""
    x, y = (min(row.figures.get(name, math.nan), MOST_DB) for row in (a, b))
    if math.isnan(x) and math.isnan(y):
        return None
    better = row_gain(name, a, b)
    verdict = "better" if better > 0 else "worse" if better < 0 else "muted"
    numbers = {"a": number(name, x), "b": number(name, y), "difference": number(name, y - x, True)}
    return {"name": name, **numbers, "verdict": verdict}


def _side_by_side(a: Row, b: Row, run_a: Path, run_b: Path, side: int) -> list[dict[str, str]]:
    """A's picture, B's, and the truth, or that of each where they differ, as far as there are any."""
    runs = (("A", a, run_a), ("B", b, run_b))
    made = [_shown(which, inside(run, row.pictures.get("made")), side) for which, row, run in runs]
    true = [_shown(f"Truth of {which}", inside(run, row.pictures.get("truth")), side) for which, row, run in runs]
    sources = list(dict.fromkeys(picture["source"] for picture in true if picture["source"]))
    if len(sources) < 2:
        true = [{"title": "Truth", "source": source} for source in sources]
    return [picture for picture in (*made, *true) if picture["source"]]


def inside(folder: Path, name: str | None) -> Path | None:
    """The path of a run's picture; None for none, and for one that would lie outside the run's folder."""
    path = (folder / (name or "")).resolve()
    return path if name and path.is_relative_to(folder.resolve()) else None
