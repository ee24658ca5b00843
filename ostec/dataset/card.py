"""The data card: ``README.md`` of a dataset or of an export of one, filled from its manifest by ``card.md.j2``."""

import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from ostec.core.plain import open_plain
from ostec.core.text import shown
from ostec.dataset.attributes import OF_SOURCES, Scalar, are_few, as_text, is_number
from ostec.dataset.members import PORTRAIT, PROVENANCE, TEXTURE
from ostec.dataset.origin import hub_licence, licence_of, origin_of, record_in
from ostec.dataset.plan import NOT_GIVEN, Build
from ostec.dataset.stats import attributes_of, ordered, stats_of
from ostec.export.templates import render
from ostec.io.files import write_atomic
from ostec.pipeline.settings import told

logger = logging.getLogger(__name__)

NAME = "README.md"
ASIDE = "README.new.md"
"""Where the card goes if somebody has changed the one that is there."""
PICTURES = (TEXTURE, PROVENANCE, PORTRAIT)
"""Members that ``datasets`` shows as pictures."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
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
_MAX_BYTES = 16 << 20
_END = "<!-- ostec {digest}: up to here the card is written anew by each build; what follows is kept. -->\n"
_ENDS = re.compile(rb"^<!-- ostec ([0-9a-f]{64}):[^\r\n]*-->\r?\n?", re.MULTILINE)


@dataclass(frozen=True)
class Form:
    """What a card is of."""

    origin: Path
    """Folder of the dataset."""
    name: str = ""
    """Format of the export; empty for the dataset itself."""
    members: Sequence[str] = ()
    """Endings of what an export has taken along; empty for all."""
    remarks: Sequence[str] = ()
    """A sentence each."""


def write_card(
    path: Path, table: Any, builds: Sequence[Build], config: Mapping[str, Any], form: Form | None = None
) -> None:
    """Write the data card; equal rows give equal bytes. What its reader wrote below the last comment is kept.

    Args:
        path: of the file.
        table: rows of the manifest.
        builds: what was planned, with the licences.
        config: as in ``config.json``.
        form: of an export; None for the card of the dataset that the file lies in.

    Raises:
        OutputError: it cannot be written.
        AssetError: the manifest of a model is damaged.
    """
    import pyarrow.compute as pc

    form = form or Form(path.parent)
    columns = ["status", "item", "shard", "key", "offset", "size", "weights", "attributes", *_BINS]
    faces = table.select(columns).filter(pc.field("status") == "done")
    starts = [build.first_shard * config["shard_size"] for build in builds[1:]]
    build_of = np.searchsorted(starts, faces["item"].to_numpy(), "right")
    numbers, firsts, counts = np.unique(build_of, return_index=True, return_counts=True)
    licences = Counter[str]() if len(faces) else Counter({build.licence: 0 for build in builds})
    for number, count in zip(numbers, counts.tolist(), strict=True) if builds else ():
        licences[builds[number].licence] += count
    records = [record_in(form.origin / "shards", row) for row in faces.take(firsts).to_pylist()]
    weights = [json.loads(text or "{}") for text in pc.unique(faces["weights"]).to_pylist()]
    models = sorted({(str(name), str(digest)) for one in weights for name, digest in one.items()})
    origin, licence_at = origin_of(form.origin), licence_of()
    pictures = [e for e in PICTURES if config["settings"].get("frontalize") or e != PORTRAIT]
    features = [ending for ending in pictures if not form.members or ending in form.members]
    own = "the classes, and what each face was mixed of" if origin.mixed else "what the sources brought"
    given = dict.fromkeys(build.attributes for build in builds if build.attributes)
    text = render(
        "card.md.j2",
        form=form,
        config=config,
        settings=_settings(told(config["settings"]), dict(models)),
        stats=stats_of(table).values,
        size=next((name for most, name in _SIZES if len(faces) < most), "1M<n<10M"),
        hub=hub_licence(sorted(licences)),
        licences=sorted(licences.items()),
        builds=builds,
        not_given=NOT_GIVEN,
        features=[*features, "__key__"] if features else [],
        origin=origin.lines,
        models=[(name, digest, licence_at(name, digest)) for name, digest in models],
        made=sorted({_made_with(record) for record in records} - {""}),
        fitted=sorted({_face_model(record) for record in records} - {""}),
        attributes=[(name, len(found), _told(found)) for name, found in sorted(attributes_of(faces).items())],
        attributes_from=[own if source == OF_SOURCES else shown(source) for source in given],
        histograms=[_histogram(faces[n], *about) for n, about in _BINS.items() if faces[n].null_count < len(faces)],
        ordered=ordered,
    )
    write_readme(path, text)


def _settings(settings: Mapping[str, Any], models: Mapping[str, str]) -> str:
    """The settings without the folders that files of them lay in."""
    known = {PurePath(name).name: digest for name, digest in models.items()}
    lines = []
    for setting, value in settings.items():
        text = str(value)
        name = text.replace("\\", "/").rpartition("/")[2]
        about = f" (SHA-256 {known[name]})" if name != text and name in known else ""
        lines.append(f"{setting} {name}{about}")
    return shown(", ".join(lines))


def _made_with(record: Mapping[str, Any]) -> str:
    """Programs and their versions, ostec first."""
    versions = record.get("versions")
    entries = versions.items() if isinstance(versions, dict) else ()
    return ", ".join(f"{n} {v}" for n, v in sorted(entries, key=lambda e: (e[0] != "ostec", e[0].lower())))


def _face_model(record: Mapping[str, Any]) -> str:
    model = record.get("face_model")
    if not isinstance(model, dict) or "name" not in model:
        return ""
    return f"{model['name']} ({model.get('licence', 'licence not known')})"


def _told(found: Mapping[int, Scalar]) -> str:
    """A few values with how many faces have them, the range of numbers, or how many values there are."""
    counts = Counter(as_text(value) for value in found.values())
    if are_few(len(counts), len(found)):
        return ", ".join(f"{shown(text)} ({count})" for text, count in ordered(counts))
    numbers = [float(value) for value in found.values() if is_number(value)]
    if len(numbers) == len(found):
        return f"{min(numbers):g} to {max(numbers):g}, mean {sum(numbers) / len(numbers):.4g}"
    return f"{len(counts)} different values"


def _histogram(column: Any, title: str, width: float) -> tuple[str, list[str]]:
    """Title and lines: from, to, how many, a bar."""
    import pyarrow.compute as pc

    known = pc.floor(pc.divide(column.drop_null().cast("float64"), width)).cast("int64")
    bins = {each["values"]: each["counts"] for each in pc.value_counts(known).to_pylist()}
    lines = []
    for number in range(min(bins), max(bins) + 1):
        count = bins.get(number, 0)
        bar = "#" * math.ceil(_BAR * count / max(bins.values()))
        lines.append(f"{number * width:8.4g} to {(number + 1) * width:<8.4g} {count:8d}  {bar}".rstrip())
    return title, lines


def write_readme(path: Path, content: bytes) -> None:
    """Write a card; what stands below it stays, and a card that was changed is not replaced.

    Raises:
        OutputError: it cannot be written.
    """
    ended = content + _END.format(digest=hashlib.sha256(content).hexdigest()).encode("ascii")
    try:
        with open_plain(path) as stream:
            before = stream.read(_MAX_BYTES)
    except OSError:  # nothing is there that could be kept
        write_atomic(path, ended)
        return
    end = _ENDS.search(before)
    if end and hashlib.sha256(before[: end.start()]).hexdigest().encode() == end[1]:
        write_atomic(path, ended + before[end.end() :])
        return
    write_atomic(path.with_name(ASIDE), ended)
    logger.warning(
        "%s was changed by hand and stays as it is; the new card is in %s, where text below the last comment is kept.",
        path,
        ASIDE,
    )
