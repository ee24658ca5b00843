"""What an evaluation leaves behind: one row per comparison, as a JSON for later comparisons and as a table of text."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from ostec.core.errors import UsageError
from ostec.core.plain import read_json
from ostec.core.settings import from_json
from ostec.core.text import align, counted, shown
from ostec.eval.scores import FIGURES, Direction
from ostec.io.files import write_atomic

FILE = "eval.json"
VERSION = 1
MOST_DB = 100.0
"""What infinite PSNR counts as in a mean."""
_LARGEST = 1e18
"""No figure is as large."""
TABLE = "table.txt"
OWN = "_own"
"""What ends the name of a figure that was taken without the warp."""
_DIGITS = {"psnr": 2, "duplicates": 0}
"""Decimals by figure, where they are not three."""
_SHOWN_FAILURES = 20
_NONE = "-"
OSTEC, PRIOR = "ostec", "prior"
"""Methods: the completion, and the texture prior alone."""


@dataclass(frozen=True)
class Row:
    """One comparison: one method on one item."""

    item: str
    """What was compared; the same words in another run mean the same thing, so that runs can be paired."""
    method: str
    """Who made it: ``ostec``, or a baseline's name."""
    figures: dict[str, float]
    """``FIGURE_PART`` or ``FIGURE_PART_own`` (without the warp) -> value; FIGURE is a key of ``scores.FIGURES``, PART
    says where (``face``, ``seen``, ``unseen``). NaN where it cannot be had."""
    labels: dict[str, Any] = field(default_factory=dict)
    """What the item is made of (input yaw, light, share of what is unseen, ...), for grouping; plain values."""
    pictures: dict[str, str] = field(default_factory=dict)
    """``made``, ``truth``, ...: paths of pictures, relative to the evaluation's folder, with forward slashes."""


@dataclass(frozen=True)
class Evaluation:
    """All rows of one run of ``ostec eval``."""

    kind: str
    """``head``, ``views``, ``holdout`` or ``textures``."""
    settings: dict[str, Any]
    """Plain values: with the same, the same figures come out."""
    models: dict[str, str]
    """Purpose (``perceptual``, ``identity``) -> what judged, and what was missing if it is a substitute."""
    rows: tuple[Row, ...]
    failures: tuple[dict[str, str], ...] = ()
    """``item``, ``method`` and ``reason`` of what could not be done. An item that ends in ``*`` stands for all that
    begin so, an empty method for all."""

    def failed(self, item: str, method: str) -> bool:
        """Whether this row could not be done."""
        of = [x.get("item", "") for x in self.failures if x.get("method") in ("", None, method)]
        return any(item.startswith(name[:-1]) if name.endswith("*") else item == name for name in of)


def direction(name: str) -> Direction:
    """What of the figure ``name`` (as in :class:`Row`) is good. Raises ValueError for a name that is none."""
    first = name.split("_", 1)[0]
    if first not in FIGURES:
        raise ValueError(f"expected a figure of {', '.join(FIGURES)}, got {name!r}")
    return FIGURES[first]


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each figure over the rows in which it is a number; infinite PSNR counts as 100 dB."""
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row.figures):
        values = [min(x, MOST_DB) for row in rows if not math.isnan(x := row.figures.get(name, math.nan))]
        found[name] = float(np.mean(values)) if values else math.nan
    return found


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``eval.json``, last of all: it means done. Raises OutputError."""
    plain = {"version": VERSION, **asdict(evaluation)}
    for row in plain["rows"]:
        for name, value in row["figures"].items():
            row["figures"][name] = None if math.isnan(value) else round(value, 6) if math.isfinite(value) else "inf"
    text = json.dumps(plain, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomic(folder / FILE, text.encode())


def read_evaluation(folder: Path) -> Evaluation:
    """Read the ``eval.json`` of a folder, or the file itself. Raises UsageError if there is none to be read."""
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    path = folder / FILE if folder.is_dir() else folder
    try:
        plain = read_json(path)
        if plain["version"] != VERSION:
            raise UsageError(f"{path} has version {plain['version']}, expected {VERSION}.")
        for row in plain["rows"]:
            row["figures"] = {name: _value(value) for name, value in row["figures"].items()}
        found = from_json(Evaluation, plain)
        for record in (found, *found.rows):
            for name, hint in get_type_hints(type(record)).items():
                check_type(getattr(record, name), hint, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, TypeCheckError) as error:
        raise UsageError(f"{path} is no evaluation that can be read.") from error
    return found


def _value(stored: Any) -> float:
    if stored is None or stored == "inf":
        return math.nan if stored is None else math.inf
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not abs(stored) <= _LARGEST:
        raise ValueError(f"expected a figure, got {stored!r}")
    return float(stored)


def table(evaluation: Evaluation, by: tuple[str, ...] = ()) -> str:
    """An evaluation as text: header, one line per method and per value of the labels ``by``, a mean line per method.

    A figure that no row of a line has is ``-``; infinite PSNR counts as 100 dB in a mean. Figures without the warp have
    a table of their own below.
    """
    names = in_order(name for row in evaluation.rows for name in row.figures)
    warped = [name for name in names if not name.endswith(OWN)]
    own = [name for name in names if name.endswith(OWN)]
    lines = [*_header(evaluation), *(["", "After the warp onto the truth:"] if own and warped else [])]
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
    failed = f", {len(evaluation.failures)} failed" if evaluation.failures else ""
    what = f"{evaluation.kind}: {counted(items, 'item')}, {counted(len(evaluation.rows), 'row')}{failed}"
    return [what, *(shown(f"{purpose}: {judge}") for purpose, judge in sorted(evaluation.models.items()))]


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
    return align(cells, 1 + len(by), 2 + len(by))


def _place(value: Any) -> tuple[int, Any]:
    """Numbers before words, none last."""
    return (0, value) if isinstance(value, int | float) else (2 if value is None else 1, str(value))


def _label(value: Any) -> str:
    return _NONE if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _failures(evaluation: Evaluation) -> list[str]:
    lines = ["", "Could not be done:"] if evaluation.failures else []
    for failure in evaluation.failures[:_SHOWN_FAILURES]:
        method = f" ({failure['method']})" if failure.get("method") else ""
        lines.append(shown(f"  {failure.get('item', '')}{method}: {failure.get('reason', '')}"))
    rest = len(evaluation.failures) - _SHOWN_FAILURES
    return lines + [f"  and {rest} more"] * (rest > 0)
