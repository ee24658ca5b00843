"""What an evaluation leaves behind: one row per comparison, in a JSON that another evaluation can be held against."""

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ostec.core.errors import UsageError
from ostec.eval.scores import FIGURES, Direction
from ostec.io.files import write_atomic

FILE = "eval.json"
VERSION = 1
_LARGEST = 1e18
"""No figure is as large."""
_T = TypeVar("_T")
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
        return any(
            failure.get("method") in ("", None, method) and _stands_for(str(failure.get("item", "")), item)
            for failure in self.failures
        )


def direction(name: str) -> Direction:
    """What of the figure ``name`` (as in :class:`Row`) is good. Raises ValueError for a name that is none."""
    first = name.split("_", 1)[0]
    if first not in FIGURES:
        raise ValueError(f"expected a figure of {', '.join(FIGURES)}, got {name!r}")
    return FIGURES[first]


def means(rows: tuple[Row, ...], method: str) -> dict[str, float]:
    """Mean of each figure over the rows of ``method`` in which it is a number; infinite PSNR counts as 100 dB."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.method == method:
            for name, value in row.figures.items():
                found.setdefault(name, []).append(min(value, 100.0) if not math.isnan(value) else math.nan)
    numbers = {name: [v for v in values if not math.isnan(v)] for name, values in found.items()}
    return {name: float(np.mean(values)) if values else math.nan for name, values in numbers.items()}


def write_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write ``eval.json``, last of all: it means done. Raises OutputError."""
    plain = {"version": VERSION, **asdict(evaluation)}
    for row in plain["rows"]:
        row["figures"] = {name: _stored(value) for name, value in row["figures"].items()}
    text = json.dumps(plain, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_atomic(folder / FILE, text.encode())


def read_evaluation(folder: Path) -> Evaluation:
    """Read the ``eval.json`` of a folder, or the file itself. Raises UsageError if there is none to be read."""
    path = folder / FILE if folder.is_dir() else folder
    try:
        plain = json.loads(path.read_text("utf-8"))
        if plain["version"] != VERSION:
            raise UsageError(f"{path} has version {plain['version']}, expected {VERSION}.")
        return Evaluation(
            _of(str, plain["kind"]),
            _of(dict, plain["settings"]),
            {_of(str, purpose): _of(str, judge) for purpose, judge in plain["models"].items()},
            tuple(_row(row) for row in _of(list, plain["rows"])),
            tuple({name: _of(str, text) for name, text in each.items()} for each in plain["failures"]),
        )
    except FileNotFoundError as error:
        raise UsageError(f"{path} does not exist.") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is no evaluation that can be read.") from error


def _row(plain: dict[str, Any]) -> Row:
    pictures = {_of(str, what): _of(str, path) for what, path in plain["pictures"].items()}
    figures = {name: _value(value) for name, value in plain["figures"].items()}
    return Row(_of(str, plain["item"]), _of(str, plain["method"]), figures, _of(dict, plain["labels"]), pictures)


def _of(kind: type[_T], value: Any) -> _T:
    if not isinstance(value, kind):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value


def _stands_for(pattern: str, item: str) -> bool:
    return item.startswith(pattern[:-1]) if pattern.endswith("*") else item == pattern


def _stored(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return round(value, 6) if math.isfinite(value) else "inf"


def _value(stored: Any) -> float:
    if stored is None:
        return math.nan
    if stored == "inf":
        return math.inf
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not abs(stored) <= _LARGEST:
        raise ValueError(f"expected a figure, got {stored!r}")
    return float(stored)
