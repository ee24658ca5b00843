"""A dataset in numbers: counts, and how its figures are distributed."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ostec.core.text import counted, shown
from ostec.core.types import DoubleArray
from ostec.dataset.attributes import are_few, as_text, is_number, loaded
from ostec.dataset.manifest import COLUMNS, Row

FIGURES = tuple(name for name, kind in COLUMNS.items() if kind == "float32")
"""Columns of the manifest that are measured."""
_TITLES = {
    "pitch_deg": "Pitch, degrees",
    "yaw_deg": "Yaw, degrees",
    "roll_deg": "Roll, degrees",
    "face_size_px": "Side of the face, pixels",
    "confidence": "Certainty of the detection, 0 to 1",
    "fit_residual_percent": "Misfit of the mesh, per cent",
    "photo_share": "Texels from the photo, share",
    "brightness": "Brightness, luma 0 to 1",
    "contrast": "Contrast, deviation of the luma",
    "sharpness": "Sharpness, gradient per texel",
}
_QUANTILES = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
_WIDTH = 24
_PHOTO = "PHOTO"
_PATH = re.compile(rf"(?<![^\s'\"(])(?:/|\\\\|[A-Za-z]:[/\\]).*?{_PHOTO}")
"""From the root to the photo; there may be spaces on the way."""
_MOST = 20
"""Lines of a table of reasons or warnings."""
ATTRIBUTE = "attributes."
"""What the figures' names begin with that are attributes."""
_MOST_VALUES = 1000
"""Values of an attribute that are counted one by one."""


@dataclass
class Stats:
    """What the rows of a manifest come to."""

    photos: Counter[str] = field(default_factory=Counter)
    """By status."""
    faces: int = 0
    faces_of_photo: Counter[str] = field(default_factory=Counter)
    """Photos done, by how many faces they have."""
    modes: Counter[str] = field(default_factory=Counter)
    occluders: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    """By :func:`cause`."""
    attributes: dict[str, Counter[str]] = field(default_factory=dict)
    """Name -> values that are no numbers."""
    values: dict[str, list[float]] = field(default_factory=dict)
    """Figures, and ``attributes.NAME`` that are numbers: one a face, NaN where it is not known."""

    def add(self, row: Row) -> None:
        """One row more."""
        if row["status"] != "done":
            self.photos[row["status"]] += 1
            if row["status"] == "failed":
                self.failures[cause(row)] += 1
            return
        if row["face"] == 1:
            self.photos["done"] += 1
            self.faces_of_photo[str(row.get("faces"))] += 1
        self.faces += 1
        self.modes[str(row.get("mode"))] += 1
        self.occluders.update(row.get("occluders") or ("none",))
        self.warnings.update(row.get("warnings") or ())
        known = {name: row.get(name) for name in FIGURES}
        for name, value in loaded(row).items():
            if is_number(value):
                known[ATTRIBUTE + name] = value
            else:
                self.attributes.setdefault(name, Counter())[as_text(value)] += 1
        for name, value in known.items():
            column = self.values.setdefault(name, [])
            column += [math.nan] * (self.faces - 1 - len(column))
            column.append(math.nan if value is None else float(value))

    def column(self, name: str) -> DoubleArray:
        """A figure of all faces [N], NaN where it is not known."""
        values = self.values[name]
        return np.array(values + [math.nan] * (self.faces - len(values)), np.float64)


def cause(row: Row) -> str:
    """``stage: reason`` of a photo that failed, with PHOTO for its name and for the path that it lay in."""
    reason = str(row.get("reason"))
    for name in {str(row.get("source")), shown(str(row.get("source")))}:
        reason = reason.replace(name, _PHOTO) if name else reason
    return f"{row.get('stage')}: {_PATH.sub(_PHOTO, reason)}"


def gather(rows: Iterable[Row]) -> Stats:
    """Take stock of the rows of a manifest."""
    stats = Stats()
    for row in rows:
        stats.add(row)
    return stats


def as_json(stats: Stats) -> dict[str, Any]:
    """Plain values; figures that no face has are left out."""
    figures = {name: summary for name in stats.values if (summary := _summary(stats.column(name)))}
    counts: dict[str, Counter[str]] = {
        "photos": stats.photos,
        "faces_of_photo": stats.faces_of_photo,
        "modes": stats.modes,
        "occluders": stats.occluders,
        "warnings": stats.warnings,
        "failures": stats.failures,
    }
    attributes = {name: _most(found) for name, found in sorted(_counted(stats).items())}
    plain = {name: dict(sorted(found.items())) for name, found in counts.items()}
    return {"kind": "ostec dataset stats", "faces": stats.faces, **plain, "attributes": attributes, "figures": figures}


def title_of(name: str) -> str:
    """A figure as one reads it, with its unit; attributes keep their name."""
    return _TITLES.get(name, f"Attribute {shown(name.removeprefix(ATTRIBUTE))}" if name.startswith(ATTRIBUTE) else name)


def _counted(stats: Stats) -> dict[str, Counter[str]]:
    """The attributes value by value; numbers too where they have few values."""
    counted = {name: Counter(found) for name, found in stats.attributes.items()}
    for name in stats.values:
        if not name.startswith(ATTRIBUTE):
            continue
        known = stats.column(name)[np.isfinite(stats.column(name))]
        values, counts = np.unique(known, return_counts=True)
        if are_few(len(values), len(known)):
            found = counted.setdefault(name.removeprefix(ATTRIBUTE), Counter())
            found.update({f"{value:g}": int(number) for value, number in zip(values, counts, strict=True)})
    return counted


def _most(counts: Counter[str]) -> dict[str, int]:
    """The most frequent values, sorted by value; the rest under one name."""
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    rest = sum(number for _, number in ordered[_MOST_VALUES:])
    more = {f"({len(ordered) - _MOST_VALUES} other values)": rest} if rest else {}
    return dict(sorted(ordered[:_MOST_VALUES])) | more


def _summary(values: DoubleArray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if not len(known):
        return {}
    found = {name: float(np.quantile(known, share)) for name, share in _QUANTILES.items()}
    return {"known": len(known), "mean": float(known.mean()), "deviation": float(known.std()), **found}


def as_table(stats: Stats) -> str:
    """The same as lines of text."""
    values = as_json(stats)
    photos = ", ".join(f"{count} {status}" for status, count in values["photos"].items())
    lines = [f"{counted(stats.faces, 'face')}; photos: {photos or 'none'}", ""]
    heads = ("known", "mean", "deviation", *_QUANTILES)
    lines.append(f"{'figure':<{_WIDTH}}" + "".join(f"{head:>11}" for head in heads))
    for name, summary in values["figures"].items():
        cells = [f"{summary['known']:>11d}", *(f"{summary[head]:>11.4g}" for head in heads[1:])]
        lines.append(f"{shown(name):<{_WIDTH}}" + "".join(cells))
    titles = {"faces_of_photo": "Faces in a photo", "modes": "Mode", "occluders": "Occluders"}
    lines += ["", *(f"{title}: {_told(values[name])}" for name, title in titles.items() if values[name])]
    lines += [f"{shown(name)}: {_told(found)}" for name, found in values["attributes"].items()]
    for name in ("warnings", "failures"):
        lines += _list(name.capitalize(), values[name])
    return "\n".join(lines) + "\n"


def _told(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    more = f", and {len(ordered) - _MOST} further" if len(ordered) > _MOST else ""
    return ", ".join(f"{shown(name)} ({count})" for name, count in ordered[:_MOST]) + more


def _list(title: str, counts: Mapping[str, int]) -> list[str]:
    ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    more = [f"{len(ordered) - _MOST} further"] if len(ordered) > _MOST else []
    return ["", f"{title}:", *(f"{n:>8}  {shown(name)}" for name, n in ordered[:_MOST]), *more] if ordered else []
