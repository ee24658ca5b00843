"""Evaluations to look at: HTML pages that need no network, histograms, contact sheets."""

import base64
import html
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ostec.core.errors import ImageError
from ostec.core.types import FloatArray
from ostec.eval.report.compare import Comparison, ordered, row_gain, text_of
from ostec.eval.report.pictures import Cell, sheet
from ostec.eval.report.record import Evaluation, Row
from ostec.eval.report.table import OWN, in_order, number
from ostec.io.files import write_atomic
from ostec.io.images import encode_png, read_image, resize_image, write_png

SHEET_COLUMNS = 10
SHEET_TILES = SHEET_COLUMNS**2
"""Pictures of one contact sheet."""
PICTURED = 60
"""Rows of a comparison that are shown with pictures: a page of 10 to 20 MB."""
_BINS = 30
_MAX_MEGAPIXELS = 100.0

_CSS = """
:root { color-scheme: light dark; --text: #1c1d1f; --muted: #63666b; --page: #f4f4f2; --card: #fff; --line: #dedfdc;
  --good: #1f6f5c; --bad: #a8331f; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e8e6; --muted: #9fa3a8; --page: #17181a; --card: #222427;
  --line: #36393d; --good: #6fc7b0; --bad: #f09a86; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 28px 24px 56px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 8px; font-size: 26px; } h2 { margin: 32px 0 12px; font-size: 17px; }
.muted { color: var(--muted); } .better { color: var(--good); } .worse { color: var(--bad); }
pre { padding: 14px; border: 1px solid var(--line); border-radius: 10px; background: var(--card); overflow-x: auto;
  font-size: 13px; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 3px 12px; text-align: right; } th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 500; color: var(--muted); }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(180px, 1fr)); gap: 12px; }
.card { display: flex; flex-wrap: wrap; gap: 12px 24px; margin: 12px 0; padding: 12px 16px; border-radius: 10px;
  border: 1px solid var(--line); background: var(--card); }
.card h3 { flex-basis: 100%; margin: 0; font-size: 15px; overflow-wrap: anywhere; }
figure { margin: 0; } figure img { display: block; max-width: 100%; border-radius: 5px; }
figcaption { font-size: 13px; color: var(--muted); overflow-wrap: anywhere; }
svg { background: var(--card); border: 1px solid var(--line); border-radius: 10px; max-width: 100%; }
svg rect { fill: var(--good); } svg text { fill: var(--muted); font-size: 12px; }
svg line { stroke: var(--muted); } svg line.top { stroke: var(--line); }
"""

_SORT = """
<script>
"use strict";
const list = document.getElementById("items"), figure = document.getElementById("figure"),
  order = document.getElementById("order");
function sort() {
  const sign = order.value === "worse" ? 1 : -1;
  const gain = card => {
    const value = JSON.parse(card.dataset.gains)[figure.value];
    return value === undefined ? Infinity : sign * value;
  };
  const cards = [...list.children];
  cards.sort((a, b) => { const x = gain(a), y = gain(b); return x < y ? -1 : x > y ? 1 : 0; });
  list.append(...cards);
}
figure.addEventListener("change", sort);
order.addEventListener("change", sort);
sort();
</script>
"""


def document(title: str, body: Sequence[str]) -> bytes:
    """A whole HTML page; ``body`` is HTML already, the title is not."""
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
    )
    text = head + "\n".join(part for part in body if part) + "\n</body>\n</html>\n"
    return text.encode("utf-8", "replace")  # a file name may hold bytes that are no text


def embedded(path: Path, side: int) -> str:
    """A picture as a PNG in a ``data:`` URL, neither side longer than ``side``; empty if it cannot be read."""
    try:
        image = read_image(path, _MAX_MEGAPIXELS)
    except ImageError:
        return ""
    return "data:image/png;base64," + base64.b64encode(encode_png(at_most(image, side))).decode("ascii")


def at_most(image: FloatArray, side: int) -> FloatArray:
    """Shrink [H, W, 3] until neither side is longer than ``side``."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    return resize_image(image, max(1, round(width * factor)), max(1, round(height * factor)))


def picture(source: str, caption: str) -> str:
    """A figure of an :func:`embedded` picture."""
    caption = html.escape(caption)
    return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def histogram(values: Sequence[float], title: str) -> str:
    """Numbers as bars in an SVG, with lowest, median and highest written; those that are no number are counted.

    The line at the top is the height of the fullest bar, whose count stands beside it.
    """
    numbers = np.array([value for value in values if math.isfinite(value)], np.float64)
    missing = len(values) - len(numbers)
    heading = html.escape(title) + (f" ({missing} without)" if missing and len(numbers) else "")
    frame = (
        f'<svg viewBox="0 0 380 168" width="380" height="168" role="img" aria-label="{heading}">'
        f'<text x="10" y="18">{heading}</text>'
    )
    if not len(numbers):
        return f'{frame}<text x="190" y="94" text-anchor="middle">nothing to show</text></svg>'
    low, high, middle = float(numbers.min()), float(numbers.max()), float(np.median(numbers))
    span = high - low or 1.0
    counts = np.bincount(np.minimum((_BINS * (numbers - low) / span).astype(int), _BINS - 1), minlength=_BINS)
    heights = 100 * counts / counts.max()
    bars = [
        f'<rect x="{10 + 12 * k}" y="{142 - h:.1f}" width="11" height="{h:.1f}"><title>{n}</title></rect>'
        for k, (n, h) in enumerate(zip(counts, heights, strict=True))
        if n
    ]
    x = 10 + 12 * _BINS * (middle - low) / span
    return (
        f'{frame}{"".join(bars)}<line class="top" x1="10" y1="42" x2="370" y2="42"/>'
        f'<text x="370" y="38" text-anchor="end">{counts.max()}</text>'
        f'<line x1="{x:.1f}" y1="38" x2="{x:.1f}" y2="142"/>'
        f'<text x="10" y="158">{low:.4g}</text><text x="190" y="158" text-anchor="middle">median {middle:.4g}</text>'
        f'<text x="370" y="158" text-anchor="end">{high:.4g}</text></svg>'
    )


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
    body = ["<h1>Textures</h1>", f"<pre>{html.escape(table)}</pre>", "<h2>Distributions</h2>", '<div class="grid" ']
    body[-1] += 'style="grid-template-columns: repeat(auto-fill, minmax(380px, 1fr))">'
    body += [histogram([row.figures.get(name, math.nan) for row in rows], name) for name in names]
    body.append("</div>")
    for name in names:
        body += _extremes(folder, rows, name, side)
    body += _twins(folder, evaluation, side)
    body += [
        "<h2>All</h2>",
        *(f'<p><a href="{name}"><img src="{name}" alt="" width="800"></a></p>' for name in sheets),
    ]
    path = folder / "textures.html"
    write_atomic(path, document("Textures - ostec", body))
    return path


def _extremes(folder: Path, rows: Sequence[Row], name: str, side: int, count: int = 3) -> list[str]:
    """The textures with the lowest and the highest values of a figure."""
    known = [row for row in rows if math.isfinite(row.figures.get(name, math.nan))]
    known.sort(key=lambda row: (row.figures[name], row.item))
    if len(known) < 2 or known[0].figures[name] == known[-1].figures[name]:
        return []
    ends = known if len(known) <= 2 * count else [*known[:count], *known[-count:]]
    tiles = [
        picture(embedded(folder / row.pictures["made"], side), f"{row.item}: {number(name, row.figures[name])}")
        for row in ends
    ]
    return [f"<h2>Lowest and highest {html.escape(name)}</h2>", '<div class="grid">', *tiles, "</div>"]


def _twins(folder: Path, evaluation: Evaluation, side: int, most: int = 30) -> list[str]:
    pairs = [pair for row in evaluation.rows for pair in row.labels.get("twins", ())]
    if not pairs:
        return []
    made = {row.item: row.pictures["made"] for row in evaluation.rows if row.pictures}
    tiles = [picture(embedded(folder / made[item], side), item) for pair in pairs[:most] for item in pair]
    heading = f"<h2>Near-identical pairs: {len(pairs)}{f', the first {most}' if len(pairs) > most else ''}</h2>"
    return [heading, '<div class="grid" style="grid-template-columns: repeat(4, 1fr)">', *tiles, "</div>"]


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
        shown = [pair for pair in comparison.paired if pair.method == a.method]
        gains = {pair.figure: row_gain(pair.figure, a, b) for pair in shown if pair.verdict != "-"}
        lines = "".join(_figure_line(pair.figure, a, b) for pair in shown if not pair.figure.endswith(OWN))
        table = f"<table><tr><th></th><th>A</th><th>B</th><th>B - A</th></tr>{lines}</table>"
        pictures = _side_by_side(a, b, run_a, run_b, side) if k in pictured else []
        cards.append(card(f"{a.item} ({a.method})", gains, table, pictures))
    names = in_order(pair.figure for pair in comparison.paired if pair.verdict != "-" and pair.method in methods)
    body = [
        "<h1>A and B compared</h1>",
        f'<p class="muted">A: {html.escape(str(run_a))}<br>B: {html.escape(str(run_b))}</p>',
    ]
    body += [f"<pre>{html.escape(text_of(comparison, most_rows=0))}</pre>", "<h2>Row by row</h2>"]
    if len(rows) > PICTURED:
        body.append(f'<p class="muted">Pictures: of the {PICTURED} of {len(rows)} rows that changed most.</p>')
    path = folder / "compare.html"
    write_atomic(path, document("A and B compared - ostec", [*body, *sortable(cards, names)]))
    return path


def _figure_line(name: str, a: Row, b: Row) -> str:
    """A line of a row's table; empty where neither side has a number."""
    x, y = (min(row.figures.get(name, math.nan), 100.0) for row in (a, b))
    if math.isnan(x) and math.isnan(y):
        return ""
    better = row_gain(name, a, b)
    kind = "better" if better > 0 else "worse" if better < 0 else "muted"
    values = f"<td>{number(name, x)}</td><td>{number(name, y)}</td>"
    return f'<tr><td>{html.escape(name)}</td>{values}<td class="{kind}">{number(name, y - x, True)}</td></tr>'


def _side_by_side(a: Row, b: Row, run_a: Path, run_b: Path, side: int) -> list[str]:
    """Figures of A's picture, B's, and the truth, or that of each where they differ, as far as there are any."""
    of_a, of_b = (
        [embedded(path, side) if (path := inside(run, row.pictures.get(what))) else "" for what in ("made", "truth")]
        for run, row in ((run_a, a), (run_b, b))
    )
    sources = {"A": of_a[0], "B": of_b[0]}
    if of_a[1] and of_b[1] and of_a[1] != of_b[1]:
        sources |= {"Truth of A": of_a[1], "Truth of B": of_b[1]}
    else:
        sources["Truth"] = of_b[1] or of_a[1]
    return [picture(source, caption) for caption, source in sources.items() if source]


def inside(folder: Path, name: str | None) -> Path | None:
    """The path of a run's picture; None for none, and for one that would lie outside the run's folder."""
    if not name:
        return None
    path = (folder / name).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def sortable(cards: Sequence[str], figures: Sequence[str]) -> list[str]:
    """HTML of cards (from :func:`card`) that can be sorted by the gain of any of the figures."""
    options = "".join(f"<option>{html.escape(name)}</option>" for name in figures)
    chosen = f'<label>Sorted by <select id="figure">{options}</select></label>'
    ends = '<option value="worse">worst</option><option value="better">best</option>'
    order = f'<label>from <select id="order">{ends}</select></label>'
    return [f"<p>{chosen} {order}</p>", f'<div id="items">{"".join(cards)}</div>', _SORT]


def card(title: str, gains: Mapping[str, float], table: str, pictures: Sequence[str]) -> str:
    """One item of :func:`sortable`: figure -> how much better B is; ``table`` and ``pictures`` are HTML already."""
    stored = html.escape(json.dumps({name: value for name, value in gains.items() if math.isfinite(value)}), quote=True)
    return (
        f'<section class="card" data-gains="{stored}"><h3>{html.escape(title)}</h3>{table}{"".join(pictures)}</section>'
    )
