"""Parts of a dataset as datasets of their own: the faces that are kept stay where they are in their shards' order."""

import hashlib
import json
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, UsageError
from ostec.core.text import shown
from ostec.dataset.attributes import as_scalar, as_text, is_number, loaded
from ostec.dataset.build import Dataset
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.licences import Build
from ostec.dataset.manifest import Row
from ostec.dataset.origin import BEFORE, INTERPOLATION, SELECTION, selection_in
from ostec.dataset.plan import Plan
from ostec.dataset.records import Item, Place
from ostec.dataset.store import Store, write_lines
from ostec.dataset.verify import read_shard
from ostec.io.files import write_atomic
from ostec.io.shards import read_members, write_shard

_RELATIONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_CONDITION = re.compile(r"([^=<>!]+)(!=|>=|<=|=|>|<)(.*)")

Keep = Callable[[Row], str]
"""Row of a face -> why it is left out, a sentence; empty if it is kept."""


@dataclass(frozen=True)
class Limit:
    """What a figure of a face may be."""

    figure: str
    """A column of the manifest, or a figure of the texture."""
    low: float | None = None
    high: float | None = None
    absolute: bool = False
    """The figure's sign does not count."""

    def against(self, values: Mapping[str, Any]) -> str:
        """Why a face with these figures is left out; empty if it is kept. What is unknown is left out."""
        value = values.get(self.figure)
        if value is None or not math.isfinite(value):
            return f"{self.figure} is not known"
        size = abs(value) if self.absolute else value
        if self.low is not None and size < self.low:
            return f"{self.figure} is {value:.4g}, below {self.low:g}"
        if self.high is not None and size > self.high:
            return f"{self.figure} is {value:.4g}, {'beyond' if self.absolute else 'above'} {self.high:g}"
        return ""


@dataclass(frozen=True)
class Condition:
    """What an attribute of a face, or a column of the manifest, must be."""

    name: str
    relation: str
    """One of ``=``, ``!=``, ``>=``, ``<=``, ``>``, ``<``."""
    text: str
    """What it is compared with, as it was written."""

    @classmethod
    def parse(cls, text: str) -> "Condition":
        """``Age>=18``. Raises UsageError where it is none, or an order is asked for of what is no number."""
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise UsageError(f"{shown(text)} is no condition: expected NAME=VALUE, or !=, >=, <=, > or < and a number.")
        condition = cls(match[1].strip(), match[2], match[3].strip())
        if condition.relation not in ("=", "!=") and not is_number(as_scalar(condition.text)):
            raise UsageError(f"{shown(text)} asks for an order, and {shown(condition.text) or 'nothing'} is no number.")
        return condition

    def against(self, values: Mapping[str, Any]) -> str:
        """Why a face with these values is left out; empty if it is kept. What is unknown is left out."""
        value: Any = values.get(self.name)
        other: Any = as_scalar(self.text)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return f"{self.name} is not known"
        if self.relation in ("=", "!="):
            same = as_text(value) == self.text or (is_number(value) and is_number(other) and value == other)
            met = same == (self.relation == "=")
        else:
            met = is_number(value) and _RELATIONS[self.relation](value, other)
        return "" if met else f"{self.name} is {as_text(value)}, not {self.relation.removeprefix('=')}{self.text}"


@dataclass(frozen=True)
class Selected:
    """What became of a selection."""

    kept: int
    left_out: int


def write_selection(source: FinishedDataset, out: Path, keep: Keep, what: Mapping[str, Any]) -> Selected:
    """Write a dataset of the faces that are kept, byte for byte as they are, under the same keys and items.

    Shards keep their numbers, so that a row's ``item`` says what it said. ``selection.json`` says how it was chosen,
    ``left_out.jsonl`` why each other face is not in it.

    Args:
        source: where the faces are; each shard is compared with its checksum first.
        out: an empty folder.
        keep: decides.
        what: for ``selection.json``.

    Raises:
        AssetError: a shard is damaged.
        OutputError: something cannot be written.
    """
    store = Store(out, source.config.shard_size)
    store.make()
    plan = Plan(store.state / "plan", source.config.shard_size)
    left_out: list[dict[str, Any]] = []
    kept, shards = 0, 0
    for shard, rows in source.checked_shards():
        reasons = [keep(row) for row in rows]
        left_out += [{"key": row["key"], "reason": r} for row, r in zip(rows, reasons, strict=True) if r]
        chosen = [row for row, reason in zip(rows, reasons, strict=True) if not reason]
        for empty in range(shards, shard):
            _write_shard(store, plan, empty, source, [])
        _write_shard(store, plan, shard, source, chosen)
        kept, shards = kept + len(chosen), shard + 1
    plan.commit(_builds(source, plan, shards))
    counts = {"kept": kept, "left_out": len(left_out)}
    before = selection_in(source.folder)
    what = {**what, **({BEFORE: before} if before is not None else {})}
    write_atomic(out / "config.json", (source.folder / "config.json").read_bytes())
    if (source.folder / INTERPOLATION).exists():
        write_atomic(out / INTERPOLATION, (source.folder / INTERPOLATION).read_bytes())
    write_atomic(out / SELECTION, (json.dumps({**what, **counts}, indent=2, sort_keys=True) + "\n").encode())
    write_lines(out / "left_out.jsonl", left_out)
    Dataset.open(out).write_results()
    return Selected(**counts)


def _write_shard(store: Store, plan: Plan, shard: int, source: FinishedDataset, rows: Sequence[Row]) -> None:
    places = [source.place(row) for row in rows]
    for place in places:
        other = {m.key for m in read_members(place.shard, place.start, place.start + place.size)} - {place.key}
        if other:
            raise AssetError(f"{place.shard} is damaged (expected the face {place.key}, found {min(other)}).")
    items = {
        row["item"]: Item(row["item"], row["id"], row["sha256"], row["source"], Place(""), attributes=loaded(row))
        for row in rows
    }  # without a place: the photo would bring back what was left out
    plan.write(shard, items.values())
    path = store.shard_path(shard)
    if places:
        write_shard(path, [(place.shard, place.start, place.size) for place in places])
    read = read_shard(store, shard)
    store.write_sealed(shard, sha256_of(path) if places else "", read.rows, read.parts)


def _builds(source: FinishedDataset, plan: Plan, shards: int) -> list[Build]:
    """The builds of the source with the photos that are left of each: their licences go with them."""
    builds = source.builds() or [Build(0, shards, 0, 0, "no longer known")]
    found = []
    for build in builds:
        own = range(build.first_shard, min(build.first_shard + build.shards, shards))
        photos = sum(len(plan.read(shard)) for shard in own)
        found += [replace(build, shards=len(own), photos=photos, copies=0)] if len(own) else []
    return found


class Groups:
    """Faces that belong together: of one photo, near-identical, or of one person."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, name: str) -> str:
        """The first, by name, of those that belong together."""
        while (parent := self._parent.get(name, name)) != name:
            self._parent[name] = self._parent.get(parent, parent)
            name = parent
        return name

    def join(self, one: str, other: str) -> None:
        """They belong together, and so do all that belong to either."""
        first, second = sorted((self.root(one), self.root(other)))
        self._parent[second] = first


def group_faces(faces: Iterable[Row], twins: Iterable[tuple[str, str]], attribute: str) -> Groups:
    """The faces of one photo belong together, and those that share an attribute or are near-identical.

    Args:
        faces: rows of the manifest.
        twins: pairs of keys.
        attribute: a name in the column ``attributes``, such as the person's; empty for none. Faces without it stand
            for themselves.

    Returns:
        Groups by photo's id.
    """
    groups = Groups()
    first: dict[str, str] = {}
    for row in faces:
        value = loaded(row).get(attribute) if attribute else None
        if value is not None:
            groups.join(row["id"], first.setdefault(json.dumps(value, sort_keys=True), row["id"]))
    for one, other in twins:
        groups.join(one.rpartition("_")[0], other.rpartition("_")[0])
    return groups


def part_of(name: str, shares: Mapping[str, float], seed: int) -> str:
    """The part that a group falls to: it depends on nothing but the group's name, the shares and the seed.

    Args:
        name: of the group.
        shares: of the parts, which sum up to 1.
        seed: another one draws another split.
    """
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    where = int.from_bytes(digest[:8], "big") / 2**64
    parts = [part for part, share in shares.items() if share > 0]
    border = 0.0
    for part in parts[:-1]:
        border += shares[part]
        if where < border:
            return part
    return parts[-1]


def limits_as_json(limits: Iterable[Limit]) -> list[dict[str, Any]]:
    """Limits for ``selection.json``."""
    return [asdict(limit) for limit in limits]
