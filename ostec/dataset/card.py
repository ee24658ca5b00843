"""The data card: ``README.md`` of a dataset or of an export of one, filled from its manifest by ``card.md.j2``.

It tells what the faces come from (photos, other datasets, models with their licences) and how they are distributed.
"""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

import numpy as np

from ostec.core.assets import asset_path, load_manifest, manifest_names, sha256_of
from ostec.core.errors import AssetError
from ostec.core.plain import open_plain, read_json
from ostec.core.text import shown
from ostec.dataset.attributes import OF_SOURCES
from ostec.dataset.finished import FacePlace, read_face
from ostec.dataset.manifest import Row
from ostec.dataset.plan import LOST, NOT_GIVEN, Build
from ostec.dataset.records import PORTRAIT, PROVENANCE, RECORD, TEXTURE
from ostec.dataset.stats import ATTRIBUTE, ordered, stats_of, title_of
from ostec.export.templates import render
from ostec.io.files import write_atomic
from ostec.pipeline.settings import told

NAME = "README.md"
INTERPOLATION, SELECTION = "interpolation.json", "selection.json"
"""What a dataset has besides if its faces are between those of another one, or a part of those of another one."""
BEFORE = "before"  # key of a selection under which the one stands that its source is
PICTURES = (TEXTURE, PROVENANCE, PORTRAIT)  # members that ``datasets`` shows as pictures
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MAX_BYTES = 16 << 20
_END = b"<!-- ostec: up to here the card is written anew by each build; what follows is kept. -->\n"
_ENDS = re.compile(rb"^<!-- ostec.*: up to here .*-->\r?\n", re.MULTILINE)
_NOT_KNOWN, _OWN = "not known here", "part of ostec"
_SELECTED = {"kept": int, "left_out": int, "shares": dict, "limits": list, "where": list, "others": list}
_MAX_NAME = 300
_UNKNOWN, _OTHER = "unknown", "other"
_COMMONS = ("cc-by", "cc-by-sa", "cc-by-nc", "cc-by-nd", "cc-by-nc-sa", "cc-by-nc-nd")
_HUB = {f"{name}-{version}" for name in _COMMONS for version in ("2.0", "2.5", "3.0", "4.0")} | {
    *("cc", "cc0-1.0", "pddl", "odbl", "odc-by", "c-uda", "cdla-sharing-1.0", "cdla-permissive-1.0"),
    *("cdla-permissive-2.0", "etalab-2.0", "gfdl", "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause"),
    *("gpl", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "openrail", "unlicense"),
}
"""Ids that the data cards of the Hugging Face hub know, as far as pictures come under them."""
_ALIASES = {"cc0": "cc0-1.0", "cc-zero": "cc0-1.0", "apache": "apache-2.0", "apache-2": "apache-2.0"}


@dataclass(frozen=True)
class Form:
    """What a card is of."""

    origin: Path  # folder of the dataset
    name: str = ""  # format of the export; empty for the dataset itself
    members: Sequence[str] = ()  # endings of what an export has taken along; empty for all
    remarks: Sequence[str] = ()  # a sentence each


def write_card(
    path: Path, table: Any, builds: Sequence[Build], config: Mapping[str, Any], form: Form | None = None
) -> None:
    """Write the data card; equal rows give equal bytes. What its reader wrote below the comment at its end is kept.

    ``table`` has rows of the manifest, ``config`` is as in ``config.json``; without a ``form`` the card is of the
    dataset that the file lies in. Raises OutputError if it cannot be written, AssetError if the manifest of a model is
    damaged.
    """
    import pyarrow.compute as pc

    form = form or Form(path.parent)
    columns = ["status", "item", "shard", "key", "offset", "size", "weights"]
    faces = table.select(columns).filter(pc.field("status") == "done")
    starts = [build.first_shard * config["shard_size"] for build in builds[1:]]
    build_of = np.searchsorted(starts, faces["item"].to_numpy(), "right")
    numbers, firsts, counts = np.unique(build_of, return_index=True, return_counts=True)
    licences = Counter[str]() if len(faces) else Counter({build.licence: 0 for build in builds})
    for number, count in zip(numbers, counts.tolist(), strict=True) if builds else ():
        licences[builds[number].licence] += count
    records = [_record_in(form.origin / "shards", row) for row in faces.take(firsts).to_pylist()]
    weights = [json.loads(text or "{}") for text in pc.unique(faces["weights"]).to_pylist()]
    models = sorted({(str(name), str(digest)) for one in weights for name, digest in one.items()})
    mixed, licence_at = _read(form.origin / INTERPOLATION), licence_of()
    pictures = [e for e in PICTURES if config["settings"].get("frontalize") or e != PORTRAIT]
    features = [ending for ending in pictures if not form.members or ending in form.members]
    own = "what the sources brought" if mixed is None else "the classes, and what each face was mixed of"
    given = dict.fromkeys(build.attributes for build in builds if build.attributes)
    stats = stats_of(table).values
    measured = {n.removeprefix(ATTRIBUTE): about for n, about in stats["figures"].items() if n.startswith(ATTRIBUTE)}
    text = render(
        "card.md.j2",
        form=form,
        config=config,
        settings=_settings(told(config["settings"]), dict(models)),
        stats=stats,
        size=next((name for most, name in _SIZES if len(faces) < most), "1M<n<10M"),
        hub=hub_licence(sorted(licences)),
        licences=sorted(licences.items()),
        builds=builds,
        not_given=NOT_GIVEN,
        features=[*features, "__key__"] if features else [],
        selections=list(_selections(form.origin)),
        mixed=mixed is not None,
        mixture=_mixture(mixed or {}),
        models=[(name, digest, licence_at(name, digest)) for name, digest in models],
        made=sorted({_made_with(record) for record in records} - {""}),
        fitted=sorted({_face_model(record) for record in records} - {""}),
        measured={name: about for name, about in measured.items() if name not in stats["attributes"]},
        title_of=title_of,
        attributes_from=[own if source == OF_SOURCES else shown(source) for source in given],
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


def selection_in(folder: Path) -> dict[str, Any] | None:
    """How a dataset was chosen from another one; None if it was not, empty if that cannot be read."""
    return _read(folder / SELECTION)


def _selections(folder: Path) -> Iterator[dict[str, Any]]:
    """How a dataset was chosen from another one, how that one was, and so on; what is of a wrong type is None."""
    found: Any = selection_in(folder)
    while isinstance(found, dict):
        known = {name: found.get(name) for name in ("kind", "part", "seed", "group", *_SELECTED)}
        yield {name: value if isinstance(value, _SELECTED.get(name, object)) else None for name, value in known.items()}
        found = found.get(BEFORE)


def _mixture(found: Mapping[str, Any]) -> str:
    """How faces were mixed, in words."""
    by, weights, generator = found.get("by"), found.get("weights"), found.get("generator")
    told = [f"Classes of faces by {', '.join(map(str, by))}"] if isinstance(by, list) and by else []
    told += [f"share of the first face {' to '.join(map(str, weights))}"] if isinstance(weights, list) else []
    if isinstance(generator, dict):
        told.append(f"generator {generator.get('file')}, SHA-256 {generator.get('sha256')}")
    return shown("; ".join([*told, *([f"seed {found['seed']}"] if "seed" in found else [])]))


def _read(path: Path) -> dict[str, Any] | None:
    """None if there is no such file; empty if it cannot be read."""
    try:
        found = read_json(path)
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}


def licence_of() -> Callable[[str, str], str]:
    """Gives the licence of a file of a model, by its name and SHA-256, from the manifests in ``external/``.

    A file whose bytes no manifest knows, such as weights that somebody trained, has none that is known. Raises
    AssetError if a manifest is damaged.
    """
    known = {}
    for manifest in map(load_manifest, manifest_names()):
        licence = manifest.short_licence + (", no commercial use" if manifest.commercial_use is False else "")
        if manifest.face_model:
            known[f"face model {manifest.face_model}"] = licence
        known |= {entry.sha256 or entry.basename: licence for entry in manifest.files}

    def find(name: str, digest: str) -> str:
        plain = PurePosixPath(name).name
        own = asset_path("topology") / plain
        found = known.get(digest) or known.get(plain)
        return found or (_OWN if own.is_file() and sha256_of(own) == digest else _NOT_KNOWN)

    return find


def _record_in(shards: Path, row: Row) -> Mapping[str, Any]:
    """A face's record (``KEY.json``) from its shard; empty if it is not there or cannot be read."""
    place = FacePlace(row["key"], shards / str(row["shard"]), row["offset"] or 0, row["size"] or 0)
    try:
        found = json.loads(read_face(place, {RECORD})[RECORD]) if place.shard.parent == shards else {}
        return found if isinstance(found, dict) else {}
    except (AssetError, KeyError, ValueError, RecursionError):
        return {}


def hub_licence(given: Iterable[str]) -> tuple[list[str], str]:
    """The licences of a dataset's builds as the data card of the Hugging Face hub names them.

    Returns ids, at least one, ``other`` and ``unknown`` among them, and what ``other`` is, as it was given.
    """
    ids, names = set(), set()
    for text in given:
        code = re.sub(r"[\s_]+", "-", text.strip().lower()).removesuffix("-licence").removesuffix("-license")
        code = _ALIASES.get(code, code)
        if code in ("", LOST.replace(" ", "-")):
            code = _UNKNOWN
        elif code not in _HUB:
            code = _OTHER
            names.add(shown(text.strip()))
        ids.add(code)
    return sorted(ids) or [_UNKNOWN], "; ".join(sorted(names))[:_MAX_NAME]


def write_readme(path: Path, content: bytes) -> None:
    """Write a card; what stands below it stays, and so does a text that is no card. Raises OutputError."""
    before = b""
    with contextlib.suppress(OSError), open_plain(path) as stream:  # else there is nothing that could be kept
        before = stream.read(_MAX_BYTES)
    write_atomic(path, content + _END + _ENDS.split(before, 1)[-1])
