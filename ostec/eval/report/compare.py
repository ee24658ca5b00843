"""Two evaluations compared: rows in pairs, the mean difference and how sure it is, better or worse."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import stats

from ostec.core.errors import UsageError
from ostec.core.text import align, shown
from ostec.core.types import DoubleArray
from ostec.eval.report.record import MOST_DB, Evaluation, Row, direction, in_order, number
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
    "halves": 0.01,
    "ita": 0.5,
    "pose": 0.1,
    "expression": 0.005,
    "gaze": 0.3,
    "jitter": 0.01,
    "blinks": 0.05,
    "lost": 0.005,
}
"""How much worse the mean may get before it counts, in the figure's own unit (dB for psnr and energy, the natural
logarithm for sharpness, cm² for surface, degrees for ita, pose and gaze)."""
JUDGED_BY = {"perceptual": "perceptual", "identity": "identity", "spread": "identity"}
"""Figure -> the purpose in ``Evaluation.models`` whose judge gave it."""
_CHUNK = 4_000_000
"""Drawn numbers that are held at once."""
_SHOWN_ROWS, _SHOWN_NAMES, _SHOWN_FIGURES = 20, 10, 7

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
    """Mean of how much better B is, as of :func:`gain`; NaN where the figure only describes."""
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
    gone: tuple[Key, ...]
    """Figure and method of what is judged and a number in some row of A, but in none of B."""
    notes: tuple[str, ...]
    """What was not compared and why, and settings that differ."""

    @property
    def unchanged(self) -> tuple[str, ...]:
        """Methods whose figures are equal in every row, as a baseline's mostly are."""
        moved = {pair.method for pair in self.paired if pair.low or pair.high or pair.difference}
        return tuple(dict.fromkeys(pair.method for pair in self.paired if pair.method not in moved))

    @property
    def is_worse(self) -> bool:
        """Whether a figure is worse beyond its tolerance or gone, or B failed where A did not."""
        return bool(self.lost or self.gone) or any(pair.verdict == "worse" for pair in self.paired)

    def judged(self, method: str) -> list[str]:
        """The figures of a method that do not only describe, in order."""
        return [pair.figure for pair in self.paired if pair.method == method and pair.verdict != "-"]

    def ordered(self, method: str) -> list[tuple[Row, Row]]:
        """The rows of a method, those first that lost most of its first judged figure; without a number last."""
        rows = [(a, b) for a, b in self.rows if a.method == method]
        for name in self.judged(method)[:1]:
            rows.sort(key=lambda pair: math.inf if math.isnan(lost := row_gain(name, *pair)) else lost)
        return rows


def parse_tolerances(texts: Sequence[str]) -> dict[str, float]:
    """``psnr=0.1`` and the like over :data:`TOLERANCES`; a number alone is for psnr.

    By the first word of a figure, or a whole name (``psnr_unseen``). Raises UsageError for a figure that there is not,
    or a number that is none or below 0.
    """
    found = dict(TOLERANCES)
    for text in texts:
        name, _, value = text.partition("=") if "=" in text else ("psnr", "=", text)
        try:
            found[name] = float(value)
            if direction(name) == "none" or not found[name] >= 0:
                raise ValueError
        except ValueError as error:
            how = f"FIGURE=NUMBER (of {', '.join(TOLERANCES)}) with a number >= 0"
            raise UsageError(f"--tolerance takes {how}, not {text!r}.") from error
    return found


def compare(
    a: Evaluation, b: Evaluation, method: str | None, tolerances: Mapping[str, float], seed: int = 0
) -> Comparison:
    """Pair the rows by item and method, and judge B by the mean of each figure.

    The verdict is ``worse`` if B is worse in the mean by more than the tolerance, ``better`` if better by more than
    that. Figures by different judges, or by a judge that one run does not name, are not compared, and the notes say so.

    Raises UsageError where the runs are of different kinds, a row is there twice, or nothing can be compared.
    """
    if a.kind != b.kind:
        raise UsageError(f"One run is of kind {a.kind!r}, the other of kind {b.kind!r}: they cannot be compared.")
    of_a, of_b = _by_key(a, "A", method), _by_key(b, "B", method)
    only_a = tuple(key for key in of_a if key not in of_b)
    lost = tuple(key for key in only_a if b.failed(*key))
    rows = tuple((of_a[key], of_b[key]) for key in of_a if key in of_b)
    if not rows and not lost:
        what = f" of the method {method!r}" if method else ""
        raise UsageError(f"The runs have no row{what} in common.")
    refused, notes = _refused(a, b, rows)
    paired: list[Paired] = []
    gone: list[Key] = []
    for who in dict.fromkeys(row.method for row, _ in rows):
        group = [pair for pair in rows if pair[0].method == who]
        for name in in_order(name for pair in group for row in pair for name in row.figures):
            if _first(name) in refused:
                continue
            x, y = (np.array([row.figures.get(name, math.nan) for row in side]) for side in zip(*group, strict=True))
            in_a, in_b = ~np.isnan(x), ~np.isnan(y)
            if direction(name) != "none" and in_a.any() and not in_b.any():
                gone.append((name, who))
                continue
            for which, alone in (("A", in_a & ~in_b), ("B", in_b & ~in_a)):
                if alone.any():
                    of = f"{alone.sum()} of {len(group)} rows"
                    notes.append(f"{name} of {who} is a number only in {which} in {of}; these do not count.")
            if (in_a & in_b).any():
                paired.append(_paired(name, who, x[in_a & in_b], y[in_a & in_b], tolerances, seed))
    if not (lost or gone or paired):
        raise UsageError("No figure is a number in both runs and by the same judge: there is nothing to be compared.")
    only_b = tuple(key for key in of_b if key not in of_a)
    notes = [*_differing(a.settings, b.settings), *notes]
    return Comparison(tuple(paired), rows, only_a, only_b, lost, tuple(gone), tuple(notes))


def gain(name: str, a: Any, b: Any) -> Any:
    """How much better ``b`` is than ``a``, numbers or arrays of them, for a figure of that name.

    B - A or A - B in figures of at most 100, or |log A| - |log B|: how much nearer to 1, the same for twice and half (0
    or less counts as 1e-6). NaN where the figure only describes.
    """
    better = direction(name)
    if better == "one":
        off_one = [np.abs(np.log(np.maximum(value, 1e-6))) for value in (a, b)]
        return off_one[0] - off_one[1]
    return (np.minimum(b, MOST_DB) - np.minimum(a, MOST_DB)) * {"higher": 1, "lower": -1, "none": math.nan}[better]


def row_gain(name: str, a: Row, b: Row) -> float:
    """How much better ``b`` is in a figure; NaN where one has no number."""
    return float(gain(name, a.figures.get(name, math.nan), b.figures.get(name, math.nan)))


def interval(differences: DoubleArray, seed: int, resamples: int = 10_000) -> tuple[float, float]:
    """95 % bootstrap interval (percentiles 2.5 and 97.5) of the mean of [N] numbers."""
    if len(differences) < 2:
        return float(differences[0]), float(differences[0])
    how: dict[str, Any] = {"batch": max(1, _CHUNK // len(differences)), "random_state": np.random.default_rng(seed)}
    found = stats.bootstrap((differences,), np.mean, n_resamples=resamples, method="percentile", **how)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _by_key(evaluation: Evaluation, which: str, method: str | None) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for row in (row for row in evaluation.rows if method in (None, row.method)):
        if (row.item, row.method) in found:
            raise UsageError(f"Run {which} has two rows of {row.method} for {row.item!r}: they cannot be paired.")
        found[row.item, row.method] = row
    return found


def _refused(a: Evaluation, b: Evaluation, rows: Sequence[tuple[Row, Row]]) -> tuple[set[str], list[str]]:
    """First words of figures that must not be compared, and the sentences that say why."""
    refused, notes = set(), []
    for purpose in dict.fromkeys(JUDGED_BY.values()):
        of_a, of_b = a.models.get(purpose), b.models.get(purpose)
        if of_a != of_b:
            refused |= {figure for figure, by in JUDGED_BY.items() if by == purpose}
            names = ["a judge that it does not name" if name is None else repr(name) for name in (of_a, of_b)]
            notes.append(f"{purpose} was not compared: A is judged by {names[0]}, B by {names[1]}.")
    others = [{name: text for name, text in x.models.items() if name not in JUDGED_BY.values()} for x in (a, b)]
    notes += _differing(others[0], others[1])
    words = sorted({_first(name) for pair in rows for row in pair for name in row.figures} - set(FIGURES))
    notes += [f"{word} was not compared: this version knows no such figure." for word in words]
    return refused | set(words), notes


def _differing(a: Any, b: Any, name: str = "") -> list[str]:
    """One sentence per setting that differs; a group is compared setting by setting, a list of groups by number."""
    groups = (isinstance(x, list) and x and all(isinstance(each, dict) for each in x) for x in (a, b))
    a, b = (dict(enumerate(x, 1)) if grouped else x for x, grouped in zip((a, b), groups, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        keys = sorted({*a, *b}, key=str)
        return [n for k in keys for n in _differing(a.get(k), b.get(k), f"{name}.{k}" if name else str(k))]
    return [] if a == b else [f"{name} differs: {_short(a)} in A, {_short(b)} in B."]


def _short(value: Any) -> str:
    if isinstance(value, dict) and value:
        name, each = next(iter(value.items()))
        return f"{name} {_short(each)}"
    text = "nothing" if value in (None, {}) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _first(name: str) -> str:
    return name.split("_", 1)[0]


def _paired(
    name: str, method: str, x: DoubleArray, y: DoubleArray, tolerances: Mapping[str, float], seed: int
) -> Paired:
    better, worst = float(gain(name, x, y).mean()), -tolerances.get(name, tolerances.get(_first(name), 0.0))
    a, b = np.minimum(x, MOST_DB), np.minimum(y, MOST_DB)
    known: Verdict = "worse" if better < worst else "better" if better > -worst else "same"
    verdict: Verdict = "-" if math.isnan(better) else known
    return Paired(name, method, len(x), float(a.mean()), float(b.mean()), *interval(b - a, seed), better, verdict)


def text_of(comparison: Comparison, most_rows: int | None = _SHOWN_ROWS) -> str:
    """The comparison as text: what was not compared, means by figure, and the rows, those that lost most first.

    Of each method ``most_rows``, with the figures that became better or worse before others, 7 at most; None: all rows
    and figures; 0: the means alone.
    """
    lines = [f"{len(comparison.rows)} rows in pairs", *map(shown, comparison.notes)]
    for which, keys in (("A", comparison.only_a), ("B", comparison.only_b)):
        if keys:
            lines.append(f"Only in {which} ({len(keys)}): {_named(keys)}.")
    for method in comparison.unchanged:
        count = sum(pair.method == method for pair in comparison.paired)
        lines.append(f"{shown(method)}: equal in every row of its {count} figures.")
    if comparison.lost:
        lines.append(f"Failed in B ({len(comparison.lost)}): {_named(comparison.lost)}.")
    if comparison.gone:
        lines.append(f"No number in any row of B, which counts as worse: {_named(comparison.gone)}.")
    listed = [pair for pair in comparison.paired if pair.method not in comparison.unchanged]
    if listed:
        cells = [["method", "figure", "n", "A", "B", "B - A", "95 % interval", "B is"]]
        for pair in listed:
            change, low, high = (number(pair.figure, x, True) for x in (pair.difference, pair.low, pair.high))
            values = [number(pair.figure, x) for x in (pair.a, pair.b)]
            cells.append([pair.method, pair.figure, str(pair.n), *values, change, f"{low} .. {high}", pair.verdict])
        lines += ["", *align(cells, 2)]
    if any(direction(pair.figure) == "one" for pair in listed):
        lines.append("sharpness is better the nearer it is to 1, in the logarithm.")
    for method in dict.fromkeys(pair.method for pair in listed):
        lines += _row_lines(comparison, method, most_rows)
    return "\n".join(lines) + "\n"


def _named(keys: Sequence[Key]) -> str:
    named = ", ".join(shown(f"{item} ({method})") for item, method in keys[:_SHOWN_NAMES])
    return named + (f" and {len(keys) - _SHOWN_NAMES} more" if len(keys) > _SHOWN_NAMES else "")


def _row_lines(comparison: Comparison, method: str, most: int | None) -> list[str]:
    names, rows = comparison.judged(method), comparison.ordered(method)
    if not names or len(rows) < 2 or most == 0:
        return []
    first = rows[:most]
    of = "" if len(first) == len(rows) else f" ({len(first)} of {len(rows)})"
    title = f"B - A of {shown(method)}, those that lost most of {names[0]} first{of}:"
    if most is not None:
        moved = {p.figure for p in comparison.paired if p.method == method and p.verdict in ("better", "worse")}
        kept = {names[0], *sorted(names, key=lambda name: name not in moved)[: _SHOWN_FIGURES - 1]}
        names = [name for name in names if name in kept]
    cells = [["item", *names]]
    for a, b in first:
        values = [[min(row.figures.get(name, math.nan), MOST_DB) for row in (a, b)] for name in names]
        cells.append([a.item, *(number(name, y - x, True) for name, (x, y) in zip(names, values, strict=True))])
    return ["", title, "", *align(cells, 1)]
