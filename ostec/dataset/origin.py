"""How the faces of a dataset came to be, in words: made from photos, between others, or a part of others."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostec.core.text import counted, shown
from ostec.io.files import open_plain

INTERPOLATION, SELECTION = "interpolation.json", "selection.json"
"""What a dataset has besides if its faces are between those of another one, or a part of those of another one."""
BEFORE = "before"
"""Key of a selection under which the one stands that its source is."""
_MAX_BYTES = 1 << 20
_OTHERS = {
    "single_face": "one face in the photo",
    "no_occluders": "nothing in front of the face",
    "no_warnings": "no warning in the record",
    "no_twins": "no texture that is near-identical to an earlier one",
}


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
    if mixed is None:
        lines += ["Made by `ostec dataset build`, each from one photo.", ""]
    else:
        lines += [*_interpolation(mixed), ""]
    return Origin(lines, mixed is not None)


def selection_in(folder: Path) -> dict[str, Any] | None:
    """How a dataset was chosen from another one; None if it was not, empty if that cannot be read."""
    return _read(folder / SELECTION)


def _interpolation(found: Mapping[str, Any]) -> list[str]:
    by, generator = found.get("by"), found.get("generator")
    lines = [
        "Made by `ostec dataset interpolate`: each face is between two of another dataset. Their latents were",
        "mixed, the generator drew a portrait of that, and it was completed as a photo is: such portraits are the",
        f"photos here. `{INTERPOLATION}` says how they were drawn, and the attributes of which two faces.",
    ]
    weights = found.get("weights")
    told = [f"Classes of faces by {_words(by)}"] if isinstance(by, list) and by else []
    told += [f"share of the first face {_words(weights, ' to ')}"] if isinstance(weights, list) else []
    if isinstance(generator, dict):
        told.append(f"generator {generator.get('file')}, SHA-256 {generator.get('sha256')}")
    told += [f"seed {found['seed']}"] if "seed" in found else []
    return [*lines, f"{shown('; '.join(told))}."] if told else lines


def _selection(found: Mapping[str, Any]) -> list[str]:
    kept, left_out = found.get("kept"), found.get("left_out")
    counts = ""
    if isinstance(kept, int) and isinstance(left_out, int):
        counts = f": {counted(kept, 'face was', 'faces were')} kept, {left_out} left out"
    if found.get("kind") == "ostec dataset split":
        shares = found.get("shares")
        parts = ", ".join(f"{name} {share}" for name, share in shares.items()) if isinstance(shares, dict) else ""
        group = f"; faces that share {found.get('group')} stay together" if found.get("group") else ""
        what = f"part {found.get('part')} of a split ({parts}; seed {found.get('seed')}{group})"
        return [
            f"A part of a dataset, as `{SELECTION}` says{counts}.",
            f"Made by `ostec dataset split`: {shown(what)}.",
        ]
    limits = [f"- {shown(limit)}" for limit in _limits(found)]
    return [
        f"A part of a dataset, as `{SELECTION}` says{counts}; `left_out.jsonl` has the reasons.",
        *(["Chosen by `ostec dataset filter`, with the limits:", "", *limits] if limits else []),
    ]


def _limits(found: Mapping[str, Any]) -> Iterator[str]:
    limits, where, others = (found.get(name) for name in ("limits", "where", "others"))
    for limit in limits if isinstance(limits, list) else ():
        if isinstance(limit, dict):
            name = f"absolute {limit.get('figure')}" if limit.get("absolute") else str(limit.get("figure"))
            low, high = limit.get("low"), limit.get("high")
            bounds = [f"at least {low}"] if low is not None else []
            yield f"{name} {' and '.join([*bounds, *([f'at most {high}'] if high is not None else [])])}"
    for condition in where if isinstance(where, list) else ():
        yield str(condition)
    for other in others if isinstance(others, list) else ():
        yield _OTHERS.get(str(other), str(other))


def _words(values: list[Any], between: str = ", ") -> str:
    return between.join(map(str, values))


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
