"""What the faces of a dataset come from: photos, other datasets, models with their licences."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ostec.core.assets import asset_path, load_manifest, manifest_names, sha256_of
from ostec.core.errors import AssetError
from ostec.core.plain import open_plain
from ostec.core.text import counted, shown
from ostec.dataset.manifest import Row
from ostec.dataset.members import RECORD
from ostec.dataset.plan import LOST
from ostec.io.shards import read_member, read_members

INTERPOLATION, SELECTION = "interpolation.json", "selection.json"
"""What a dataset has besides if its faces are between those of another one, or a part of those of another one."""
BEFORE = "before"
"""Key of a selection under which the one stands that its source is."""
_MAX_BYTES = 16 << 20
_NOT_KNOWN, _OWN = "not known here", "part of ostec"
_OTHERS = {
    "single_face": "one face in the photo",
    "no_occluders": "nothing in front of the face",
    "no_warnings": "no warning in the record",
    "no_twins": "no texture that is near-identical to an earlier one",
}


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
class Origin:
    """How the faces of a dataset came to be."""

    lines: list[str]
    """Of Markdown, the last one empty."""
    mixed: bool
    """They are between those of another dataset."""


def origin_of(folder: Path) -> Origin:
    """Tell it from the files that lie in the dataset's folder."""
    mixed, selected = _read(folder / INTERPOLATION), selection_in(folder)
    lines: list[str] = []
    while isinstance(selected, dict):
        lines += [*_selection(selected), ""]
        selected = selected.get(BEFORE)
    made = ["Made by `ostec dataset build`, each from one photo."] if mixed is None else _interpolation(mixed)
    return Origin([*lines, *made, ""], mixed is not None)


def selection_in(folder: Path) -> dict[str, Any] | None:
    """How a dataset was chosen from another one; None if it was not, empty if that cannot be read."""
    return _read(folder / SELECTION)


def _interpolation(found: Mapping[str, Any]) -> list[str]:
    by, weights, generator = found.get("by"), found.get("weights"), found.get("generator")
    told = [f"Classes of faces by {', '.join(map(str, by))}"] if isinstance(by, list) and by else []
    told += [f"share of the first face {' to '.join(map(str, weights))}"] if isinstance(weights, list) else []
    if isinstance(generator, dict):
        told.append(f"generator {generator.get('file')}, SHA-256 {generator.get('sha256')}")
    told += [f"seed {found['seed']}"] if "seed" in found else []
    return [
        "Made by `ostec dataset interpolate`: each face is between two of another dataset. Their latents were",
        "mixed, the generator drew a portrait of that, and it was completed as a photo is: such portraits are the",
        f"photos here. `{INTERPOLATION}` says how they were drawn, and the attributes of which two faces.",
        *([f"{shown('; '.join(told))}."] if told else []),
    ]


def _selection(found: Mapping[str, Any]) -> list[str]:
    kept, left_out, counts = found.get("kept"), found.get("left_out"), ""
    if isinstance(kept, int) and isinstance(left_out, int):
        counts = f": {counted(kept, 'face was', 'faces were')} kept, {left_out} left out"
    if found.get("kind") == "ostec dataset split":
        shares = found.get("shares")
        parts = ", ".join(f"{name} {share}" for name, share in shares.items()) if isinstance(shares, dict) else ""
        group = f"; faces that share {found.get('group')} stay together" if found.get("group") else ""
        what = f"part {found.get('part')} of a split ({parts}; seed {found.get('seed')}{group})"
        lines = [f"A part of a dataset, as `{SELECTION}` says{counts}."]
        return [*lines, f"Made by `ostec dataset split`: {shown(what)}."]
    limits = [f"- {shown(limit)}" for limit in _limits(found)]
    return [
        f"A part of a dataset, as `{SELECTION}` says{counts}; `left_out.jsonl` has the reasons.",
        *(["Chosen by `ostec dataset filter`, with the limits:", "", *limits] if limits else []),
    ]


def _limits(found: Mapping[str, Any]) -> Iterator[str]:
    limits, where, others = (v if isinstance(v, list) else [] for v in map(found.get, ("limits", "where", "others")))
    for limit in (limit for limit in limits if isinstance(limit, dict)):
        name = f"absolute {limit.get('figure')}" if limit.get("absolute") else str(limit.get("figure"))
        bounds = (("at least", limit.get("low")), ("at most", limit.get("high")))
        yield f"{name} {' and '.join(f'{what} {value}' for what, value in bounds if value is not None)}"
    yield from map(str, where)
    yield from (_OTHERS.get(str(other), str(other)) for other in others)


def _read(path: Path) -> dict[str, Any] | None:
    """None if there is no such file; empty if it cannot be read."""
    try:
        with open_plain(path) as stream:
            found = json.loads(stream.read(_MAX_BYTES))
        return found if isinstance(found, dict) else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}


def licence_of() -> Callable[[str, str], str]:
    """Gives the licence of a file of a model, by its name and SHA-256, from the manifests in ``external/``.

    A file whose bytes no manifest knows, such as weights that somebody trained, has none that is known.

    Raises:
        AssetError: a manifest is damaged.
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


def record_in(shards: Path, row: Row) -> Mapping[str, Any]:
    """A face's record (``KEY.json``) from its shard; empty if it is not there or cannot be read."""
    try:
        path = shards / str(row["shard"])
        if path.parent != shards:
            return {}
        for member in read_members(path, int(row["offset"]), int(row["offset"]) + int(row["size"])):
            if member.key == row["key"] and member.ending == RECORD and member.size <= _MAX_BYTES:
                found = json.loads(read_member(path, member))
                return found if isinstance(found, dict) else {}
    except (AssetError, OSError, ValueError, TypeError, RecursionError):
        pass
    return {}


@dataclass(frozen=True)
class HubLicence:
    """Licences as the data card of the Hugging Face hub names them."""

    ids: tuple[str, ...]
    """At least one; ``other`` and ``unknown`` are ids too."""
    name: str = ""
    """What ``other`` is, as it was given."""


def hub_licence(given: Iterable[str]) -> HubLicence:
    """The licences of a dataset's builds in the words of the hub."""
    ids, names = set(), set()
    for text in given:
        code = re.sub(r"[\s_]+", "-", text.strip().lower()).removesuffix("-licence").removesuffix("-license")
        code = _ALIASES.get(code, code)
        if code in ("", LOST.replace(" ", "-")):
            ids.add(_UNKNOWN)
        elif code in _HUB:
            ids.add(code)
        else:
            ids.add(_OTHER)
            names.add(shown(text.strip()))
    return HubLicence(tuple(sorted(ids)) or (_UNKNOWN,), "; ".join(sorted(names))[:_MAX_NAME])
