"""What an evaluation leaves behind: one row per comparison, in a JSON that another evaluation can be held against."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from ostec.core.errors import UsageError
from ostec.core.settings import from_json
from ostec.eval.scores import FIGURES, Direction
from ostec.io.files import write_atomic

FILE = "eval.json"
VERSION = 1
MOST_DB = 100.0
"""What infinite PSNR counts as in a mean."""
_LARGEST = 1e18
"""No figure is as large."""
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


def means(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each figure over the rows in which it is a number; infinite PSNR counts as 100 dB."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.figures.items():
            found.setdefault(name, []).extend([] if math.isnan(value) else [min(value, MOST_DB)])
    return {name: float(np.mean(values)) if values else math.nan for name, values in found.items()}


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
        plain = json.loads(path.read_text("utf-8"))
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


def _stands_for(pattern: str, item: str) -> bool:
    return item.startswith(pattern[:-1]) if pattern.endswith("*") else item == pattern


def _value(stored: Any) -> float:
    if stored is None or stored == "inf":
        return math.nan if stored is None else math.inf
    if isinstance(stored, bool) or not isinstance(stored, int | float) or not abs(stored) <= _LARGEST:
        raise ValueError(f"expected a figure, got {stored!r}")
    return float(stored)
