"""An evaluation as a table of text: who judged, what is missing, and the means by method and by label."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ostec.core.text import align, counted
from ostec.eval.report.record import Evaluation, Row, means, write_evaluation
from ostec.eval.scores import FIGURES
from ostec.io.files import write_atomic

TABLE = "table.txt"
OWN = "_own"
"""What ends the name of a figure that was taken without the warp."""
_DIGITS = {"psnr": 2, "duplicates": 0}
"""Decimals by figure, where they are not three."""
_SHOWN_FAILURES = 20
_NONE = "-"


def table(evaluation: Evaluation, by: tuple[str, ...] = ()) -> str:
    """An evaluation as text: header, one line per method and per value of the labels ``by``, a mean line per method.

    A figure that no row of a line has is ``-``; infinite PSNR counts as 100 dB in a mean. Figures without the warp, if
    there are any, have a table of their own below.

    Args:
        evaluation: what was measured.
        by: labels of the rows, in the order of the columns; none: a line per method only.

    Returns:
        Lines, the last one ended as well.
    """
    names = in_order(name for row in evaluation.rows for name in row.figures)
    warped = [name for name in names if not name.endswith(OWN)]
    own = [name for name in names if name.endswith(OWN)]
    lines = _header(evaluation)
    if own and warped:
        lines += ["", "After the warp onto the truth:"]
    if warped or not names:
        lines += ["", *_body(evaluation, by, warped)]
    if own:
        lines += ["", "Without the warp:", "", *_body(evaluation, by, own)]
    return "\n".join([*lines, *_failures(evaluation)]) + "\n"


def write_report(folder: Path, evaluation: Evaluation, by: tuple[str, ...] = ()) -> str:
    """Write ``table.txt``, then ``eval.json``, which means done; returns the table. Raises OutputError."""
    text = table(evaluation, by)
    write_atomic(folder / TABLE, text.encode("utf-8", "replace"))  # a file name may hold bytes that are no text
    write_evaluation(folder, evaluation)
    return text


def in_order(names: Iterable[str]) -> list[str]:
    """Names of figures, each once: in the order of ``scores.FIGURES``, then face, seen, unseen, then others."""
    known, parts = list(FIGURES), ["", "face", "seen", "unseen"]

    def place(name: str) -> tuple[int, int, str]:
        figure, _, part = name.removesuffix(OWN).partition("_")
        first = known.index(figure) if figure in known else len(known)
        return first, parts.index(part) if part in parts else len(parts), name

    return sorted(set(names), key=place)


def number(name: str, value: float, signed: bool = False) -> str:
    """A figure's value with the decimals that mean something; NaN is ``-``."""
    if math.isnan(value):
        return _NONE
    return f"{value:{'+' if signed else ''}.{_DIGITS.get(name.split('_', 1)[0], 3)}f}"


def _header(evaluation: Evaluation) -> list[str]:
    methods = {row.method for row in evaluation.rows}
    items = max((len({row.item for row in evaluation.rows if row.method == who}) for who in methods), default=0)
    what = f"{evaluation.kind}: {counted(items, 'item')}, {counted(len(evaluation.rows), 'row')}"
    if evaluation.failures:
        what += f", {len(evaluation.failures)} failed"
    return [what, *(f"{purpose}: {judge}" for purpose, judge in sorted(evaluation.models.items()))]


def _body(evaluation: Evaluation, by: tuple[str, ...], names: list[str]) -> list[str]:
    if not evaluation.rows:
        return ["There are no rows."]
    words = [name.removesuffix(OWN).partition("_") for name in names]
    cells = [["", *("" for _ in by), "", *(word[0] for word in words)]]
    cells.append(["method", *by, "n", *(word[2] for word in words)])
    having = [row for row in evaluation.rows if not names or any(name in row.figures for name in names)]
    for method in dict.fromkeys(row.method for row in having):
        rows = [row for row in evaluation.rows if row.method == method]
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in rows if by else ():
            groups.setdefault(tuple(map(row.labels.get, by)), []).append(row)
        lines = [(list(map(_label, key)), groups[key]) for key in sorted(groups, key=lambda key: [*map(_place, key)])]
        for labels, group in [*lines, (["mean", *("" for _ in by[1:])][: len(by)], rows)]:
            found = means(group)
            cells.append([method, *labels, str(len(group)), *(number(n, found.get(n, math.nan)) for n in names)])
    return align(cells, 1 + len(by))


def _place(value: Any) -> tuple[int, float, str]:
    """Numbers before words, none last."""
    if isinstance(value, int | float):
        return 0, float(value), ""
    return (2 if value is None else 1), 0.0, str(value)


def _label(value: Any) -> str:
    if value is None:
        return _NONE
    return f"{value:g}" if isinstance(value, float) else str(value)


def _failures(evaluation: Evaluation) -> list[str]:
    if not evaluation.failures:
        return []
    lines = ["", "Could not be done:"]
    for failure in evaluation.failures[:_SHOWN_FAILURES]:
        method = f" ({failure['method']})" if failure.get("method") else ""
        lines.append(f"  {failure.get('item', '')}{method}: {failure.get('reason', '')}")
    rest = len(evaluation.failures) - _SHOWN_FAILURES
    return [*lines, *([f"  and {rest} more"] if rest > 0 else [])]
