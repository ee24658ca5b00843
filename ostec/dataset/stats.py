"""A dataset in numbers: counts, and how its figures are distributed."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ostec.core.text import shown
from ostec.dataset.attributes import Scalar, are_few, as_text, is_number
from ostec.dataset.manifest import FIGURES
from ostec.export.templates import render

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
_PHOTO = "PHOTO"
_PATH = re.compile(rf"(?<![^\s'\"(])(?:/|\\\\|[A-Za-z]:[/\\]).*?{_PHOTO}")  # from the root; there may be spaces
_MOST = 20  # lines of a table of reasons or warnings
ATTRIBUTE = "attributes."  # what the figures' names begin with that are attributes
_MOST_VALUES = 1000  # of an attribute that are counted one by one
_LARGEST = 1.7e308


@dataclass(frozen=True)
class Stats:
    """What the rows of a manifest come to."""

    values: dict[str, Any]  # plain ones, as in ``stats.json``; figures that no face has are left out
    numbers: Mapping[str, Any]  # figures, and ``attributes.NAME`` that are numbers -> an array of those that are known

    def as_table(self) -> str:
        """The values as lines of text."""
        heads = ("known", "mean", "deviation", *_QUANTILES)
        return render("stats.txt.j2", **self.values, heads=heads, ordered=ordered, most=_MOST).decode()


def stats_of(table: Any) -> Stats:
    """Take stock of a manifest's table."""
    import pyarrow as pa
    import pyarrow.compute as pc

    of = pc.field
    others = table.filter(of("status") != "done")
    failed = others.filter(of("status") == "failed").select(["stage", "source", "reason"])
    columns = ["status", "face", "faces", *FIGURES, "mode", "occluders", "warnings", "attributes"]
    faces = table.select(columns).filter(of("status") == "done")  # not all columns: 100,000 rows are copied
    first = faces.select(["face", "faces"]).filter(of("face") == 1)
    free = len(faces) - len(faces.filter(pc.list_value_length(of("occluders")) > 0))
    attributes = attributes_of(faces)
    numbers = {name: faces[name].cast("float64").drop_null() for name in FIGURES}
    counts: dict[str, Counter[str]] = {}
    for name, found in sorted(attributes.items()):
        texts = Counter(as_text(value) for value in found.values() if not is_number(value))
        known = pa.array([float(value) for value in found.values() if is_number(value)], "float64")
        if len(known):
            numbers[ATTRIBUTE + name] = known
            each = Counter(f"{value:g}" for value in known.to_pylist())
            texts += each if are_few(len(each), len(known)) else Counter()
        counts |= {name: texts} if texts else {}
    values = {
        "kind": "ostec dataset stats",
        "faces": len(faces),
        "photos": dict(sorted((_counts(others["status"]) | ({"done": len(first)} if len(first) else {})).items())),
        "faces_of_photo": _counts(first["faces"]),
        "modes": _counts(faces["mode"]),
        "occluders": _counts(pc.list_flatten(faces["occluders"])) | ({"none": free} if free else {}),
        "warnings": _counts(pc.list_flatten(faces["warnings"])),
        "failures": dict(sorted(Counter(map(cause, failed.to_pylist())).items())),
        "attributes": {name: _most(found) for name, found in counts.items()},
        "figures": {name: _summary(known) for name, known in numbers.items() if len(known)},
    }
    return Stats(values, numbers)


def cause(row: Mapping[str, Any]) -> str:
    """``stage: reason`` of a photo that failed, with PHOTO for its name and for the path that it lay in."""
    reason = str(row.get("reason"))
    for name in {str(row.get("source")), shown(str(row.get("source")))}:
        reason = reason.replace(name, _PHOTO) if name else reason
    return f"{row.get('stage')}: {_PATH.sub(_PHOTO, reason)}"


def attributes_of(table: Any) -> dict[str, dict[int, Scalar]]:
    """The attributes in a manifest's table: name -> number of the row -> value."""
    found: dict[str, dict[int, Scalar]] = {}
    for number, text in enumerate(table["attributes"].to_pylist()):
        for name, value in json.loads(text or "{}").items():
            if isinstance(value, str | bool) or (is_number(value) and abs(value) <= _LARGEST):
                found.setdefault(name, {})[number] = value
    return found


def values_of(faces: Any, names: Iterable[str]) -> dict[str, list[Any]]:
    """Attributes, or columns of the manifest, by name: a value for each face, None where it is not known."""
    attributes, found = attributes_of(faces), {}
    for name in dict.fromkeys(names):
        if name in attributes or name not in faces.column_names:
            found[name] = [attributes.get(name, {}).get(number) for number in range(len(faces))]
        else:  # 0.3 of a column of 32 bits is 0.3, and not 0.30000001
            column = faces[name].to_pylist()
            found[name] = [float(str(np.float32(v))) if isinstance(v, float) else v for v in column]
    return found


def title_of(name: str) -> str:
    """A figure as one reads it, with its unit; attributes keep their name."""
    return _TITLES.get(name, f"Attribute {shown(name.removeprefix(ATTRIBUTE))}" if name.startswith(ATTRIBUTE) else name)


def _counts(column: Any) -> dict[str, int]:
    """Value -> how often, sorted by value."""
    import pyarrow.compute as pc

    return dict(sorted((str(each["values"]), each["counts"]) for each in pc.value_counts(column).to_pylist()))


def _most(counts: Counter[str]) -> dict[str, int]:
    """The most frequent values, sorted by value; the rest under one name."""
    most = ordered(counts)
    rest = sum(number for _, number in most[_MOST_VALUES:])
    more = {f"({len(most) - _MOST_VALUES} other values)": rest} if rest else {}
    return dict(sorted(most[:_MOST_VALUES])) | more


def ordered(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most frequent first."""
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _summary(known: Any) -> dict[str, float]:
    import pyarrow.compute as pc

    quantiles = pc.quantile(known, list(_QUANTILES.values())).to_pylist()
    spread = {"mean": pc.mean(known).as_py(), "deviation": pc.stddev(known).as_py()}
    return {"known": len(known), **spread, **dict(zip(_QUANTILES, quantiles, strict=True))}
