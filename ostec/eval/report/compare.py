"""Two evaluations held against each other: rows in pairs, the mean difference and how sure it is, better or worse."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ostec.core.errors import UsageError
from ostec.core.text import align
from ostec.core.types import DoubleArray
from ostec.eval.report.record import Evaluation, Row, direction
from ostec.eval.report.table import in_order, number
from ostec.eval.scores import FIGURES

Verdict = Literal["better", "worse", "same", "-"]
"""Of B; ``-`` where the figure only describes."""
TOLERANCES = {
    "psnr": 0.1,
    "ssim": 0.003,
    "perceptual": 0.005,
    "sharpness": 0.03,
    "identity": 0.01,
    "symmetry": 0.3,
    "spread": 0.02,
    "area": 0.01,
    "coverage": 0.01,
    "surface": 0.5,
    "energy": 0.3,
    "duplicates": 0.0,
}
"""How much worse the mean may get before it counts, in the figure's own unit (dB for psnr and energy, the natural
logarithm for sharpness, cm² for surface)."""
RESAMPLES = 10_000
_CHUNK = 4_000_000
"""Drawn numbers that are held at once."""
JUDGED_BY = {"perceptual": "perceptual", "identity": "identity", "spread": "identity"}
"""Figure -> the purpose in ``Evaluation.models`` whose judge gave it."""
_MOST_DB = 100.0
_SHOWN_ROWS = 20
_SHOWN_NAMES = 10
_SHOWN_FIGURES = 7

Key = tuple[str, str]
"""Item and method."""


@dataclass(frozen=True)
class Paired:
    """A figure of one method over the rows that both runs have."""

    figure: str
    method: str
    n: int
    """Rows in which it is a number on both sides."""
    a: float
    """Mean; infinite PSNR counts as 100 dB."""
    b: float
    low: float
    """95 % bootstrap interval of the mean difference B - A. It tells how far the items agree; rows that share an input
    do not count as many, so that the truth may be wider."""
    high: float
    gain: float
    """Mean of how much better B is: B - A, A - B, or |log A| - |log B|; NaN where the figure only describes."""
    verdict: Verdict

    @property
    def difference(self) -> float:
        """B - A."""
        return self.b - self.a


@dataclass(frozen=True)
class Comparison:
    """All that two runs have in common, and what they have not."""

    paired: tuple[Paired, ...]
    """By method, then figure."""
    rows: tuple[tuple[Row, Row], ...]
    """Those that were paired, A and B."""
    only_a: tuple[Key, ...]
    only_b: tuple[Key, ...]
    lost: tuple[Key, ...]
    """Of those only in A: those that failed in B."""
    gone: tuple[Key, ...] = ()
    """Figure and method of what is judged and a number in some row of A, but in none of B."""
    notes: tuple[str, ...] = field(default=())
    """What was not compared and why, and settings that differ."""
    refused: frozenset[str] = frozenset()
    """First words of figures that were not compared."""

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Methods whose figures are equal in every row, as a baseline's mostly are."""
        moved = {pair.method for pair in self.paired if pair.low or pair.high or pair.difference}
        return tuple(dict.fromkeys(pair.method for pair in self.paired if pair.method not in moved))

    @property
    def is_worse(self) -> bool:
        """Whether a figure is worse beyond its tolerance or gone, or B failed where A did not."""
        return bool(self.lost or self.gone) or any(pair.verdict == "worse" for pair in self.paired)


def parse_tolerances(texts: Sequence[str]) -> dict[str, float]:
    """``psnr=0.1`` and the like over :data:`TOLERANCES`; a number alone is for psnr.

    Returns:
        First word of a figure, or a whole name (``psnr_unseen``) -> tolerance.

    Raises:
        UsageError: a figure that there is not, or a number that is none or below 0.
    """
    found = dict(TOLERANCES)
    for text in texts:
        name, _, value = text.partition("=") if "=" in text else ("psnr", "=", text)
        try:
            tolerance = float(value)
            if direction(name) == "none" or not tolerance >= 0:
                raise ValueError
        except ValueError as error:
            known = ", ".join(TOLERANCES)
            raise UsageError(
                f"--tolerance takes FIGURE=NUMBER (of {known}) with a number >= 0, not {text!r}."
            ) from error
        found[name] = tolerance
    return found


def compare(
    a: Evaluation, b: Evaluation, method: str | None, tolerances: Mapping[str, float], seed: int = 0
) -> Comparison:
    """Pair the rows by item and method, and judge B by the mean of each figure.

    The verdict is ``worse`` if B is worse in the mean by more than the tolerance, ``better`` if better by more than
    that. Figures by different judges, or by a judge that one run does not name, are not compared, and the notes say so.

    Args:
        a: the run before.
        b: the run after.
        method: only this one; None takes all that both have.
        tolerances: as of :func:`parse_tolerances`.
        seed: of the bootstrap.

    Raises:
        UsageError: the runs are of different kinds, a row is there twice, or nothing can be compared.
    """
    if a.kind != b.kind:
        raise UsageError(f"One run is of kind {a.kind!r}, the other of kind {b.kind!r}: they cannot be compared.")
    of_a, of_b = _by_key(a, "A", method), _by_key(b, "B", method)
    common = [key for key in of_a if key in of_b]
    only_a = tuple(key for key in of_a if key not in of_b)
    lost = tuple(key for key in only_a if b.failed(*key))
    if not common and not lost:
        what = f" of the method {method!r}" if method else ""
        raise UsageError(f"The runs have no row{what} in common.")
    rows = tuple((of_a[key], of_b[key]) for key in common)
    refused, notes = _refused(a, b, rows)
    paired: list[Paired] = []
    gone: list[Key] = []
    for who in dict.fromkeys(row.method for row, _ in rows):
        group = [(x, y) for x, y in rows if x.method == who]
        for name in in_order(name for x, y in group for name in (*x.figures, *y.figures)):
            if _first(name) not in refused:
                if _is_gone(name, group):
                    gone.append((name, who))
                    continue
                notes += _missing(name, who, group)
                paired += _paired(name, who, group, tolerances, seed)
    if not (lost or gone or paired):
        raise UsageError("No figure is a number in both runs and by the same judge: there is nothing to be compared.")
    return Comparison(
        paired=tuple(paired),
        rows=rows,
        only_a=only_a,
        only_b=tuple(key for key in of_b if key not in of_a),
        lost=lost,
        gone=tuple(gone),
        notes=(*_differing(a.settings, b.settings), *notes),
        refused=frozenset(refused),
    )


def gain(name: str, a: float, b: float) -> float:
    """How much better ``b`` is than ``a`` for a figure of that name; NaN where the figure only describes."""
    better = direction(name)
    if better == "none":
        return math.nan
    if better == "one":
        return off_one(a) - off_one(b)
    a, b = min(a, _MOST_DB), min(b, _MOST_DB)
    return b - a if better == "higher" else a - b


def off_one(value: float) -> float:
    """|log x|: the distance of a ratio from 1, the same for twice and half. 0 or less counts as 1e-6."""
    return abs(math.log(max(value, 1e-6)))


def interval(differences: DoubleArray, seed: int, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles 2.5 and 97.5) of the mean of [N] numbers."""
    count = len(differences)
    rng = np.random.default_rng(seed)
    means: list[DoubleArray] = []
    step = max(1, _CHUNK // count)
    for first in range(0, resamples, step):
        drawn = rng.integers(0, count, (min(step, resamples - first), count))
        means.append(differences[drawn].mean(axis=1))
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5))
    return float(low), float(high)


def _by_key(evaluation: Evaluation, which: str, method: str | None) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in evaluation.rows:
        if method is not None and row.method != method:
            continue
        key = (row.item, row.method)
        if key in found:
            raise UsageError(f"Run {which} has two rows of {row.method} for {row.item!r}: they cannot be paired.")
        found[key] = row
    return found


def _refused(a: Evaluation, b: Evaluation, rows: Sequence[tuple[Row, Row]]) -> tuple[set[str], list[str]]:
    """First words of figures that must not be compared, and the sentences that say why."""
    refused, notes = set(), []
    for purpose in dict.fromkeys(JUDGED_BY.values()):
        of_a, of_b = a.models.get(purpose), b.models.get(purpose)
        if of_a != of_b:
            refused |= {figure for figure, by in JUDGED_BY.items() if by == purpose}
            notes.append(f"{purpose} was not compared: A is judged by {_judge(of_a)}, B by {_judge(of_b)}.")
    others = sorted({*a.models, *b.models} - set(JUDGED_BY.values()))
    notes += _differing({name: a.models.get(name) for name in others}, {name: b.models.get(name) for name in others})
    words = sorted({_first(name) for pair in rows for row in pair for name in row.figures} - set(FIGURES))
    notes += [f"{word} was not compared: this version knows no such figure." for word in words]
    return refused | set(words), notes


def _judge(name: str | None) -> str:
    return "a judge that it does not name" if name is None else f"{name!r}"


def _differing(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """One sentence per setting that differs, those in groups with the group's name before them."""
    notes = []
    for name in sorted({*a, *b}):
        x, y = _groups(a.get(name)), _groups(b.get(name))
        if isinstance(x, dict) and isinstance(y, dict):
            notes += _differing(x, y, f"{prefix}{name}.")
        elif x != y:
            notes.append(f"{prefix}{name} differs: {_short(x)} in A, {_short(y)} in B.")
    return notes


def _groups(value: Any) -> Any:
    """A list of groups of settings as a group of groups, numbered from 1; all else as it is."""
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return {str(number): each for number, each in enumerate(value, 1)}
    return value


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_short(each)}" for name, each in list(value.items())[:1]) or "nothing"
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _first(name: str) -> str:
    return name.split("_", 1)[0]


def _missing(name: str, method: str, rows: Sequence[tuple[Row, Row]]) -> list[str]:
    """Sentences for rows in which a figure is a number on one side only."""
    has = [(_has(x, name), _has(y, name)) for x, y in rows]
    notes = []
    for which, count in (("A", has.count((True, False))), ("B", has.count((False, True)))):
        if count:
            notes.append(
                f"{name} of {method} is a number only in {which} in {count} of {len(rows)} rows; these do not count."
            )
    return notes


def _is_gone(name: str, rows: Sequence[tuple[Row, Row]]) -> bool:
    return direction(name) != "none" and any(_has(a, name) for a, _ in rows) and not any(_has(b, name) for _, b in rows)


def _has(row: Row, name: str) -> bool:
    return not math.isnan(row.figures.get(name, math.nan))


def _paired(
    name: str, method: str, rows: Sequence[tuple[Row, Row]], tolerances: Mapping[str, float], seed: int
) -> list[Paired]:
    both = [(x.figures[name], y.figures[name]) for x, y in rows if _has(x, name) and _has(y, name)]
    if not both:
        return []
    a, b = (np.minimum(np.array(values, np.float64), _MOST_DB) for values in zip(*both, strict=True))
    better = float(np.mean([gain(name, x, y) for x, y in both]))
    low, high = interval(b - a, seed)
    verdict: Verdict = "-"
    if not math.isnan(better):
        tolerance = tolerances.get(name, tolerances.get(_first(name), 0.0))
        verdict = "worse" if better < -tolerance else "better" if better > tolerance else "same"
    return [Paired(name, method, len(both), float(a.mean()), float(b.mean()), low, high, better, verdict)]


def text_of(comparison: Comparison, most_rows: int | None = _SHOWN_ROWS) -> str:
    """The comparison as text: what was not compared, means by figure, and the rows, those that lost most first.

    Args:
        comparison: what to show.
        most_rows: rows shown of each method, with the figures that became better or worse before others, 7 at most;
            None: all of both; 0: the means alone.
    """
    lines = [f"{len(comparison.rows)} rows in pairs", *comparison.notes]
    for which, keys in (("A", comparison.only_a), ("B", comparison.only_b)):
        if keys:
            lines.append(f"Only in {which} ({len(keys)}): {_named(keys)}.")
    for method in comparison.unchanged:
        count = sum(pair.method == method for pair in comparison.paired)
        lines.append(f"{method}: equal in every row of its {count} figures.")
    if comparison.lost:
        lines.append(f"Failed in B ({len(comparison.lost)}): {_named(comparison.lost)}.")
    if comparison.gone:
        lines.append(f"No number in any row of B, which counts as worse: {_named(comparison.gone)}.")
    shown = [pair for pair in comparison.paired if pair.method not in comparison.unchanged]
    if shown:
        head = ["method", "figure", "n", "A", "B", "B - A", "95 % interval", "B is"]
        lines += ["", *align([head, *(_mean_line(pair) for pair in shown)], 2)]
    if any(direction(pair.figure) == "one" for pair in shown):
        lines.append("sharpness is better the nearer it is to 1, in the logarithm.")
    for method in dict.fromkeys(pair.method for pair in shown):
        lines += _row_lines(comparison, method, most_rows)
    return "\n".join(lines) + "\n"


def _named(keys: Sequence[Key]) -> str:
    named = ", ".join(f"{item} ({method})" for item, method in keys[:_SHOWN_NAMES])
    return named + (f" and {len(keys) - _SHOWN_NAMES} more" if len(keys) > _SHOWN_NAMES else "")


def _mean_line(pair: Paired) -> list[str]:
    name = pair.figure
    span = f"{number(name, pair.low, True)} .. {number(name, pair.high, True)}"
    values = (number(name, pair.a), number(name, pair.b), number(name, pair.difference, True))
    return [pair.method, name, str(pair.n), *values, span, pair.verdict]


def _row_lines(comparison: Comparison, method: str, most: int | None) -> list[str]:
    names = [pair.figure for pair in comparison.paired if pair.method == method and pair.verdict != "-"]
    rows = ordered(comparison, method)
    if not names or len(rows) < 2 or most == 0:
        return []
    shown = rows if most is None else rows[:most]
    of = "" if len(shown) == len(rows) else f" ({len(shown)} of {len(rows)})"
    title = f"B - A of {method}, those that lost most of {names[0]} first{of}:"
    if most is not None:
        told = {
            pair.figure for pair in comparison.paired if pair.method == method and pair.verdict in ("better", "worse")
        }
        kept = {names[0], *sorted(names, key=lambda name: name not in told)[: _SHOWN_FIGURES - 1]}
        names = [name for name in names if name in kept]
    cells = [["item", *names]]
    for a, b in shown:
        cells.append([a.item, *(_change(name, a, b) for name in names)])
    return ["", title, "", *align(cells, 1)]


def ordered(comparison: Comparison, method: str) -> list[tuple[Row, Row]]:
    """The rows of a method, those first that lost most of its first figure that is judged; without a number last."""
    names = [pair.figure for pair in comparison.paired if pair.method == method and pair.verdict != "-"]
    rows = [(a, b) for a, b in comparison.rows if a.method == method]
    if not names:
        return rows

    def lost(pair: tuple[Row, Row]) -> float:
        value = row_gain(names[0], *pair)
        return math.inf if math.isnan(value) else value

    return sorted(rows, key=lost)


def row_gain(name: str, a: Row, b: Row) -> float:
    """How much better ``b`` is in a figure; NaN where one has no number."""
    return gain(name, a.figures[name], b.figures[name]) if _has(a, name) and _has(b, name) else math.nan


def _change(name: str, a: Row, b: Row) -> str:
    if not (_has(a, name) and _has(b, name)):
        return "-"
    return number(name, min(b.figures[name], _MOST_DB) - min(a.figures[name], _MOST_DB), True)
