"""The list of a sealed shard, and what it must be before anything is done with it: it may be somebody else's."""

import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ostec.dataset.manifest import COLUMNS, Row

_STATUS = ("done", "failed", "skipped")
_ALWAYS = ("id", "face", "item", "status", "source")
_OF_FACES = ("shard", "key", "offset", "size", "faces")
_ID = re.compile(r"[0-9a-f]{1,64}")
_SHARD = re.compile(r"[0-9]{5,18}\.tar")
_JSON = ("attributes", "weights")
_LARGEST = 1e6
"""No figure of a face, and no time of a photo, comes near it; bars are drawn from the least to the greatest."""


Parts = dict[str, tuple[int, int, str]]
"""Item -> first byte, number of bytes and SHA-256 of its part of the shard."""


@dataclass(frozen=True)
class Sealed:
    """What is known of a shard that is done: the first line of its list."""

    shard: int
    sha256: str
    """Of the tar file; empty where no face of the shard could be done, so that there is none."""
    size: int
    """Bytes of the tar file."""
    faces: int
    done: int
    """Photos."""
    failed: int
    skipped: int
    parts: Parts = field(default_factory=dict)


def sealed_from(values: Mapping[str, Any], shard: int) -> Sealed:
    """The first line of the list of a shard. Raises ValueError if it is none, or another shard's."""
    try:
        known = dict(values)
        parts = {str(int(key)): (int(a), int(b), str(c)) for key, (a, b, c) in dict(known.pop("parts")).items()}
        sha256 = str(known.pop("sha256"))
        sealed = Sealed(sha256=sha256, parts=parts, **{name: int(value) for name, value in known.items()})
    except (TypeError, KeyError, OverflowError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if sealed.shard != shard:
        raise ValueError(f"it is of shard {sealed.shard}")
    return sealed


def check_row(values: Mapping[str, Any]) -> Row:
    """See that a row has what its status asks for, every value in the type of its column, and no name that leads away.

    Args:
        values: of the row; columns that are None or missing are not known.

    Returns:
        The same values.

    Raises:
        ValueError: it is none.
    """
    for name, value in values.items():
        if name not in COLUMNS:
            raise ValueError(f"there is no column {name[:50]!r}")
        if value is not None and not _CHECKS[COLUMNS[name]](value):
            raise ValueError(f"{name} is {str(value)[:50]!r}")
    done = values.get("status") == "done"
    missing = [name for name in (*_ALWAYS, *(_OF_FACES if done else ())) if values.get(name) is None]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    if values["status"] not in _STATUS:
        raise ValueError(f"the status is {values['status'][:50]!r}")
    if not _ID.fullmatch(values["id"]) or values["item"] < 0:
        raise ValueError(f"the photo is {values['id'][:50]!r}, {values['item']}")
    if done and (values["key"] != f"{values['id']}_{values['face']}" or values["face"] < 1):
        raise ValueError(f"expected the face {values['id']}_{values['face']}, found {values['key'][:50]!r}")
    if done and (not _SHARD.fullmatch(values["shard"]) or min(values["offset"], values["size"]) < 0):
        raise ValueError(f"it names the shard {values['shard'][:50]!r} from byte {values['offset']} on")
    for name in _JSON:
        if values.get(name) is not None and not _is_object(values[name]):
            raise ValueError(f"{name} is no JSON object")
    return dict(values)


def check_timing(values: Mapping[str, Any]) -> dict[str, Any]:
    """See that a line tells of a photo's seconds by stage. Raises ValueError if it does not."""
    seconds = values.get("seconds")
    known = _is_text(values.get("id")) and _is_whole(64)(values.get("item"))
    if not known or not isinstance(seconds, dict) or not all(_is_text(k) and _is_figure(v) for k, v in seconds.items()):
        raise ValueError("it holds something else than seconds")
    return dict(values)


def _is_whole(bits: int) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)

    return check


def _is_figure(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and abs(value) <= _LARGEST
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= c <= "\udfff" for c in value)


@functools.lru_cache(maxsize=64)
def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": _is_text,
    "int32": _is_whole(32),
    "int64": _is_whole(64),
    "float32": _is_figure,
    "list": lambda value: isinstance(value, list) and all(map(_is_text, value)),
}
