"""The data card: ``README.md`` of a dataset, filled from its rows."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostec.core.text import shown
from ostec.dataset.attributes import OF_SOURCES, Spread, loaded
from ostec.dataset.manifest import Row
from ostec.dataset.plan import Build
from ostec.io.files import write_atomic

_BINS = {
    "yaw_deg": ("Yaw, degrees (positive: the nose to the image's right)", 15.0),
    "pitch_deg": ("Pitch, degrees (positive: up)", 10.0),
    "face_size_px": ("Side of the face in the photo, pixels", 128.0),
    "brightness": ("Brightness of the photo's texels, 0 to 1", 0.1),
    "photo_share": ("Share of the texels that is from the photo", 0.1),
}
"""Column -> title, width of a bar."""
INTERPOLATION, SELECTION = "interpolation.json", "selection.json"
"""What a dataset has besides if its faces are between those of another one, or a part of those of another one."""
_BAR = 40
_REASONS = 10
_ATTRIBUTES = 40
"""Attributes that the card tells of."""
_MOST_ATTRIBUTES = 10_000


@dataclass
class _Tally:
    """What the card says of the rows, gathered in one pass."""

    status: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    occluders: Counter[str] = field(default_factory=Counter)
    models: dict[str, str] = field(default_factory=dict)
    bins: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in _BINS})
    attributes: dict[str, Spread] = field(default_factory=dict)
    _weights: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        """One row more."""
        if row["status"] != "done" or row["face"] == 1:
            self.status[row["status"]] += 1
        if row["status"] == "failed":
            self.reasons[f"{row.get('stage')}: {row.get('reason')}"] += 1
        if row["status"] != "done":
            return
        self.faces += 1
        self.modes[str(row.get("mode"))] += 1
        self.occluders.update(row.get("occluders") or ())
        for name, (_, width) in _BINS.items():
            if row.get(name) is not None:
                self.bins[name][math.floor(row[name] / width)] += 1
        for name, value in loaded(row).items():
            if name in self.attributes or len(self.attributes) < _MOST_ATTRIBUTES:
                self.attributes.setdefault(name, Spread()).add(value)
        weights = str(row.get("weights") or "{}")
        if weights not in self._weights:
            self._weights.add(weights)
            self.models.update(json.loads(weights))


def write_card(path: Path, rows: Iterable[Row], builds: Sequence[Build], config: Mapping[str, Any]) -> None:
    """Write the data card; equal rows give equal bytes.

    Args:
        path: of the file; what lies beside it tells whether the faces are between or of those of another dataset.
        rows: of the manifest.
        builds: what was planned, with the licences.
        config: as in ``config.json``.

    Raises:
        OutputError: it cannot be written.
    """
    tally = _Tally()
    for row in rows:
        tally.add(row)
    mixed = (path.parent / INTERPOLATION).exists()
    parts = [
        _head(tally, builds, config, _origin(path.parent, mixed)),
        _licences(builds),
        _models(tally),
        _attributes(tally, builds, mixed),
        _distributions(tally),
        _failures(tally),
    ]
    write_atomic(path, "\n".join(part for part in parts if part).encode("utf-8", "backslashreplace"))


def _origin(folder: Path, mixed: bool) -> list[str]:
    """Lines about how the faces came to be."""
    if mixed:
        lines = [
            "Made by `ostec dataset interpolate`: each face is between two of another dataset. Their latents were",
            "mixed, the generator drew a portrait of that, and it was completed as a photo is: such portraits are the",
            f"photos here. `{INTERPOLATION}` says how they were drawn, and the attributes of which two faces.",
            "",
        ]
    else:
        lines = ["Made by `ostec dataset build`, each from one photo.", ""]
    if (folder / SELECTION).exists():
        lines = [f"A part of a dataset, as `{SELECTION}` says.", "", *lines]
    return lines


def _head(tally: _Tally, builds: Sequence[Build], config: Mapping[str, Any], origin: list[str]) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in config["settings"].items())
    planned = sum(build.photos + build.copies for build in builds)
    status = tally.status
    rows = [
        ("faces", tally.faces),
        ("photos done", status["done"]),
        ("photos that failed", status["failed"]),
        ("copies of other photos", status["skipped"]),
        ("photos planned", planned),
    ]
    lines = [
        "# A dataset of face textures",
        "",
        *origin,
        "What the columns and files mean is in ostec's `docs/datasets.md`. A photo shows one side of a face in one",
        "light: what it did not show is a guess, and `KEY.provenance.png` says for each texel which it is.",
        "",
        "| what | number |",
        "|---|---|",
        *(f"| {name} | {number} |" for name, number in rows),
        "",
        f"Settings: {shown(settings)}.",
        f"Threads of a worker: {config['threads']}. Photos to a shard: {config['shard_size']}.",
        "",
    ]
    return "\n".join(lines)


def _licences(builds: Sequence[Build]) -> str:
    lines = ["## Licences of the photos", "", "| shards | photos | licence, as it was given |", "|---|---|---|"]
    for build in builds:
        shards = f"{build.first_shard:05d} to {build.first_shard + build.shards - 1:05d}"
        licence = _cell(build.licence) or "not given"
        lines.append(f"| {shards} | {build.photos} | {licence} |")
    return "\n".join([*lines, ""])


def _models(tally: _Tally) -> str:
    lines = ["## Models", "", "| file | SHA-256 |", "|---|---|"]
    lines += [f"| {shown(name)} | {digest} |" for name, digest in sorted(tally.models.items())]
    return "\n".join([*lines, ""]) if tally.models else ""


def _attributes(tally: _Tally, builds: Sequence[Build], mixed: bool) -> str:
    if not tally.attributes:
        return ""
    origins = dict.fromkeys(build.attributes for build in builds if build.attributes)
    own = "the classes, and what each face was mixed of" if mixed else "what the sources brought"
    told = [own if origin == OF_SOURCES else shown(origin) for origin in origins]
    lines = ["## Attributes", "", *([f"From: {'; '.join(told)}. They can be personal data.", ""] if told else [])]
    lines += ["| name | faces | values |", "|---|---|---|"]
    for name in sorted(tally.attributes)[:_ATTRIBUTES]:
        spread = tally.attributes[name]
        lines.append(f"| {_cell(name)} | {spread.known} | {_cell(spread.told())} |")
    more = len(tally.attributes) - _ATTRIBUTES
    return "\n".join([*lines, *([f"\n{more} further ones are in the manifest."] if more > 0 else []), ""])


def _cell(text: str) -> str:
    """What may stand between the bars of a table."""
    return shown(text).replace("|", "\\|")


def _distributions(tally: _Tally) -> str:
    if not tally.faces:
        return ""
    lines = ["## Distributions", ""]
    for name, (title, width) in _BINS.items():
        lines += _histogram(title, width, tally.bins[name]) if tally.bins[name] else []
    for title, counts in (("Mode", tally.modes), ("Occluders", tally.occluders)):
        if counts:
            lines += [f"{title}: " + ", ".join(f"{name} {n}" for name, n in sorted(counts.items())) + ".", ""]
    return "\n".join(lines)


def _histogram(title: str, width: float, bins: Counter[int]) -> list[str]:
    most = max(bins.values())
    lines = [f"{title}:", "", "```"]
    for number in range(min(bins), max(bins) + 1):
        low, high = number * width, (number + 1) * width
        bar = "#" * math.ceil(_BAR * bins[number] / most)
        lines.append(f"{low:8.4g} to {high:<8.4g} {bins[number]:8d}  {bar}".rstrip())
    return [*lines, "```", ""]


def _failures(tally: _Tally) -> str:
    if not tally.reasons:
        return ""
    lines = ["## Failures", "", "| photos | where, and why |", "|---|---|"]
    ordered = sorted(tally.reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    lines += [f"| {number} | {_cell(reason)} |" for reason, number in ordered[:_REASONS]]
    more = len(ordered) - _REASONS
    return "\n".join([*lines, *([f"\n{more} further reasons are in `failures/`."] if more > 0 else []), ""])
