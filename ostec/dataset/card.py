"""The data card: ``README.md`` of a dataset or of an export of one, filled from its rows."""

import bisect
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from ostec.core.text import shown
from ostec.dataset.attributes import OF_SOURCES, Spread, loaded
from ostec.dataset.licences import NOT_GIVEN, Build
from ostec.dataset.manifest import Row
from ostec.dataset.members import PORTRAIT, PROVENANCE, TEXTURE
from ostec.dataset.models import licence_of, record_in
from ostec.dataset.origin import origin_of
from ostec.dataset.readme import Loading, front_matter, write_readme
from ostec.dataset.stats import cause

TITLE = "Face textures"
PICTURES = {TEXTURE: "image", PROVENANCE: "image", PORTRAIT: "image"}
"""Members that ``datasets`` shows as pictures -> their type."""
_BINS = {
    "yaw_deg": ("Yaw, degrees (positive: the nose to the image's right)", 15.0),
    "pitch_deg": ("Pitch, degrees (positive: up)", 10.0),
    "roll_deg": ("Roll, degrees", 10.0),
    "face_size_px": ("Side of the face in the photo, pixels", 128.0),
    "brightness": ("Brightness of the photo's texels, 0 to 1", 0.1),
    "photo_share": ("Share of the texels that is from the photo", 0.1),
}
"""Column -> title, width of a bar."""
_BAR = 40
_REASONS = 10
_ATTRIBUTES = 40
"""Attributes that the card tells of."""
_MOST_ATTRIBUTES = 10_000
_READING = """## Reading

```python
from ostec.dataset import TextureDataset

faces = TextureDataset("{folder}")  # faces[0]["texture"]: [3, S, S] in [0, 1]
```

```python
import datasets

faces = datasets.load_dataset("{folder}", split="train")  # {what}
```
"""


@dataclass(frozen=True)
class Form:
    """What a card is of."""

    origin: Path
    """Folder of the dataset."""
    loading: Loading
    told: str = ""
    """How an export is laid out; empty for the dataset itself."""
    reading: str = ""
    """How it is read, in Markdown."""
    remarks: tuple[str, ...] = ()
    """A sentence each."""


@dataclass
class _Tally:
    """What the card says of the rows, gathered in one pass."""

    status: Counter[str] = field(default_factory=Counter)
    faces: int = 0
    modes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    occluders: Counter[str] = field(default_factory=Counter)
    models: set[tuple[str, str]] = field(default_factory=set)
    """Name and SHA-256 of all files that any face was made with."""
    faces_of: Counter[int] = field(default_factory=Counter)
    """Faces by the number of their build."""
    firsts: dict[int, Row] = field(default_factory=dict)
    """The first face of each build."""
    bins: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in _BINS})
    attributes: dict[str, Spread] = field(default_factory=dict)
    _weights: set[str] = field(default_factory=set)

    def add(self, row: Row, build: int) -> None:
        """One row more, of the build of that number."""
        if row["status"] != "done" or row["face"] == 1:
            self.status[row["status"]] += 1
        if row["status"] == "failed":
            self.reasons[cause(row)] += 1
        if row["status"] != "done":
            return
        self.faces += 1
        self.faces_of[build] += 1
        self.firsts.setdefault(build, row)
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
            self.models |= {(str(name), str(digest)) for name, digest in json.loads(weights).items()}


def write_card(
    path: Path, rows: Iterable[Row], builds: Sequence[Build], config: Mapping[str, Any], form: Form | None = None
) -> None:
    """Write the data card; equal rows give equal bytes. What its reader wrote below the last comment is kept.

    Args:
        path: of the file.
        rows: of the manifest.
        builds: what was planned, with the licences.
        config: as in ``config.json``.
        form: of an export; None for the card of the dataset that the file lies in.

    Raises:
        OutputError: it cannot be written.
        AssetError: the manifest of a model is damaged.
    """
    form = form or _of_dataset(path.parent, config)
    starts = [build.first_shard for build in builds]
    tally = _Tally()
    for row in rows:
        shard = int(row.get("item") or 0) // config["shard_size"]
        tally.add(row, max(bisect.bisect_right(starts, shard) - 1, 0))
    origin = origin_of(form.origin)
    licences = _licences_of(tally, builds)
    records = [found for row in tally.firsts.values() if (found := record_in(form.origin / "shards", row))]
    parts = [
        front_matter(TITLE, tally.faces, licences, form.loading),
        _head(tally, builds, config, [*_export(form), *origin.lines]),
        form.reading if tally.faces else "",
        _export_licences(licences) if form.told else _licences(builds),
        _models(tally, records),
        _attributes(tally, builds, origin.mixed),
        _distributions(tally),
        _failures(tally),
    ]
    write_readme(path, "\n".join([*(part for part in parts if part), ""]))


def _of_dataset(folder: Path, config: Mapping[str, Any]) -> Form:
    reading = _READING.format(folder="DS", what="pictures and keys; manifest.parquet tells the rest by key")
    portrait = bool(config["settings"].get("frontalize"))
    return Form(folder, Loading("shards/*.tar", hub_features(pictures(portrait))), reading=reading)


def pictures(portrait: bool) -> list[str]:
    """Endings of the pictures that every face has; ``portrait``: the frontal one too."""
    return [ending for ending in PICTURES if portrait or ending != PORTRAIT]


def hub_features(endings: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Columns of tar files for ``datasets``: those pictures, and the key."""
    found = [(ending, PICTURES[ending]) for ending in PICTURES if ending in set(endings)]
    return (*found, ("__key__", "string")) if found else ()


def _licences_of(tally: _Tally, builds: Sequence[Build]) -> dict[str, int]:
    """Licence, as it was given, -> faces under it."""
    found: Counter[str] = Counter()
    for number, build in enumerate(builds):
        if tally.faces_of[number] or not tally.faces:
            found[build.licence] += tally.faces_of[number]
    return dict(sorted(found.items()))


def _export(form: Form) -> list[str]:
    if not form.told:
        return []
    remarks = [f"- {remark}" for remark in form.remarks]
    return [form.told, "", *([*remarks, ""] if remarks else [])]


def _head(tally: _Tally, builds: Sequence[Build], config: Mapping[str, Any], origin: list[str]) -> str:
    known = {PurePath(name).name: digest for name, digest in sorted(tally.models)}
    settings = ", ".join(f"{name} {_setting(value, known)}" for name, value in config["settings"].items())
    planned = sum(build.photos + build.copies for build in builds)
    status = tally.status
    rows = [("faces", tally.faces), ("photos done", status["done"])]
    if status["failed"] or status["skipped"] or planned != status["done"]:
        rows += [("photos that failed", status["failed"]), ("copies of other photos", status["skipped"])]
        rows += [("photos planned", planned)]
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
        f"Threads of a worker: {config['threads']}. Photos projected at once: {config['batch']}.",
        f"Photos to a shard: {config['shard_size']}.",
        "",
    ]
    return "\n".join(lines)


def _setting(value: Any, models: Mapping[str, str]) -> str:
    """A setting without the folder that a file of it lay in."""
    text = str(value)
    name = text.replace("\\", "/").rpartition("/")[2]
    if name == text:
        return text
    return f"{name} (SHA-256 {models[name]})" if name in models else name


def _licences(builds: Sequence[Build]) -> str:
    lines = ["## Licences of the photos", "", "| shards | photos | licence, as it was given |", "|---|---|---|"]
    for build in builds:
        shards = f"{build.first_shard:05d} to {build.first_shard + build.shards - 1:05d}"
        lines.append(f"| {shards} | {build.photos} | {_cell(build.licence) or NOT_GIVEN} |")
    return "\n".join([*lines, ""])


def _export_licences(licences: Mapping[str, int]) -> str:
    lines = ["## Licences of the photos", "", "| faces | licence, as it was given |", "|---|---|"]
    lines += [f"| {faces} | {_cell(licence) or NOT_GIVEN} |" for licence, faces in licences.items()]
    return "\n".join([*lines, ""])


def _models(tally: _Tally, records: Sequence[Mapping[str, Any]]) -> str:
    if not tally.models:
        return ""
    licence = licence_of()
    lines = ["## Models", "", "| file | SHA-256 | licence |", "|---|---|---|"]
    for name, digest in sorted(tally.models):
        lines.append(f"| {_cell(name)} | {_cell(digest)} | {_cell(licence(name, digest))} |")
    made = {", ".join(f"{name} {version}" for name, version in _table(record, "versions")) for record in records}
    models = [dict(_table(record, "face_model")) for record in records]
    fitted = {f"{model['name']} ({model.get('licence', 'licence not known')})" for model in models if "name" in model}
    lines += ["", *(f"Made with {shown(text)}." for text in sorted(made) if text)]
    lines += [f"Face model: {shown(text)}." for text in sorted(fitted)]
    return "\n".join([*lines, ""])


def _table(record: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    """The entries of a part of a record, sorted, ostec first; none where it is no object."""
    value = record.get(name)
    entries = value.items() if isinstance(value, dict) else ()
    return sorted(entries, key=lambda entry: (entry[0] != "ostec", entry[0].lower()))


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
