"""Parts of a dataset as datasets of their own: the faces that are kept stay where they are in their shards' order."""

import hashlib
import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.errors import UsageError
from ostec.core.plain import MAX_JSON_BYTES, read_plain
from ostec.core.text import shown
from ostec.dataset.attributes import as_scalar, as_text, is_number, loaded
from ostec.dataset.build import Dataset
from ostec.dataset.card import BEFORE, INTERPOLATION, SELECTION, selection_in
from ostec.dataset.files import told_if_damaged, write_json, write_lines
from ostec.dataset.finished import FinishedDataset, read_face
from ostec.dataset.manifest import FIGURES, Row, known_of
from ostec.dataset.plan import CONFIG, LOST, Build, Plan
from ostec.dataset.records import Item, Place
from ostec.dataset.stats import attributes_of, values_of
from ostec.dataset.store import Store, parts_of
from ostec.io.files import write_atomic
from ostec.io.shards import write_shard

_RELATIONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
_TEXT, _NUMBER = "text of ", "number of "
_CONDITION = re.compile(r"([^=<>!]+)(!=|>=|<=|=|>|<)(.*)")


@dataclass(frozen=True)
class Rule:
    """What a column of the faces must be."""

    column: str
    met: Any  # expression of Arrow; a face for which it is null is left out too
    told: Callable[[Any], str]  # the column's value, None where it is not known -> why a face is left out


def limit(figure: str, low: float | None = None, high: float | None = None, absolute: bool = False) -> Rule:
    """The rule that a figure lies within bounds; ``absolute``: its sign does not count."""
    import pyarrow as pa
    import pyarrow.compute as pc

    size = pc.abs(pc.field(figure)) if absolute else pc.field(figure)
    kind = "float32" if figure in FIGURES else "float64"
    least = pa.scalar(-math.inf if low is None else low, kind)
    most = pa.scalar(math.inf if high is None else high, kind)

    def told(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return f"{figure} is not known"
        if low is not None and (abs(value) if absolute else value) < low:
            return f"{figure} is {value:.4g}, below {low:g}"
        return f"{figure} is {value:.4g}, {'beyond' if absolute else 'above'} {high:g}"

    return Rule(figure, pc.is_finite(size) & (size >= least) & (size <= most), told)


def condition(text: str) -> Rule:
    """The rule ``Age>=18``: what an attribute, or a column of the manifest, must be; see :func:`with_values`.

    Raises UsageError if it is none, or an order is asked for of what is no number.
    """
    import pyarrow.compute as pc

    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"{shown(text)} is no condition: expected NAME=VALUE, or !=, >=, <=, > or < and a number.")
    name, relation, wanted = match[1].strip(), match[2], match[3].strip()
    value: Any = as_scalar(wanted)
    texts, numbers = pc.field(f"{_TEXT}{name}"), pc.field(f"{_NUMBER}{name}")
    if relation in _RELATIONS:
        if not is_number(value):
            raise UsageError(f"{shown(text)} asks for an order, and {shown(wanted) or 'nothing'} is no number.")
        met = _RELATIONS[relation](numbers, float(value))
    else:
        met = texts == wanted
        if is_number(value):
            met |= pc.coalesce(numbers == float(value), pc.scalar(False))
        met = ~met if relation == "!=" else met

    def told(found: str | None) -> str:
        told = "not known" if found is None else f"{found}, not {relation.removeprefix('=')}{wanted}"
        return f"{name} is {told}"

    return Rule(f"{_TEXT}{name}", met, told)


def with_values(faces: Any, rules: Iterable[Rule]) -> Any:
    """Faces with the columns that conditions ask for: each value as a text, and as a number where it is one.

    Raises UsageError if none of the faces has a value.
    """
    import pyarrow as pa

    names = [rule.column.removeprefix(_TEXT) for rule in rules if rule.column.startswith(_TEXT)]
    found = values_of(faces, names)
    if missing := sorted(name for name, values in found.items() if all(value is None for value in values)):
        raise UsageError(f"No face has {shown(' or '.join(missing))}; see ostec dataset stats.")
    for name, values in found.items():
        texts = [None if value is None else as_text(value) for value in values]
        numbers = [float(value) if is_number(value) else None for value in values]
        faces = faces.append_column(f"{_TEXT}{name}", pa.array(texts, "string"))
        faces = faces.append_column(f"{_NUMBER}{name}", pa.array(numbers, "float64"))
    return faces


def reasons_of(faces: Any, rules: Sequence[Rule]) -> dict[str, str]:
    """Key of each face that does not meet all rules -> why, a sentence."""
    import pyarrow.compute as pc

    reasons: dict[str, list[str]] = {}
    for rule in rules:
        without = faces.filter(~pc.coalesce(rule.met, pc.scalar(False))).select(["key", rule.column])
        for row in without.to_pylist():
            reasons.setdefault(row["key"], []).append(rule.told(row[rule.column]))
    return {key: "; ".join(found) for key, found in reasons.items()}


def write_selection(source: FinishedDataset, out: Path, left_out: Mapping[str, str], what: Mapping[str, Any]) -> int:
    """Write a dataset of the faces that are kept, byte for byte as they are, under the same keys and items; how many.

    Shards keep their numbers, so that a row's ``item`` says what it said. ``selection.json`` says how it was chosen,
    ``left_out.jsonl`` why each other face is not in it. Each shard is compared with its checksum first.

    Args:
        source: where the faces are.
        out: an empty folder.
        left_out: key of each face that is not kept -> why.
        what: for ``selection.json``.

    Raises AssetError if a shard is damaged, OutputError if something cannot be written.
    """
    store = Store(out, source.config.shard_size)
    store.make()
    plan = Plan(out, source.config.shard_size)
    others: list[dict[str, Any]] = []
    kept, shards = 0, 0
    for shard, rows in source.checked_shards():
        others += [{"key": row["key"], "reason": left_out[row["key"]]} for row in rows if row["key"] in left_out]
        chosen = [row for row in rows if row["key"] not in left_out]
        for empty in range(shards, shard):
            _write_shard(store, plan, empty, source, [])
        _write_shard(store, plan, shard, source, chosen)
        kept, shards = kept + len(chosen), shard + 1
    plan.commit(_builds(source, plan, shards))
    what = {**what, "kept": kept, "left_out": len(others)}
    if (before := selection_in(source.folder)) is not None:
        what[BEFORE] = before
    for name in (CONFIG, INTERPOLATION):
        if (path := source.folder / name).exists():
            with told_if_damaged(path):
                content = read_plain(path, MAX_JSON_BYTES)
            write_atomic(out / name, content)
    write_json(out / SELECTION, what, indent=2, sort_keys=True)
    write_lines(out / "left_out.jsonl", others)
    Dataset.open(out).write_results()
    return kept


def _write_shard(store: Store, plan: Plan, shard: int, source: FinishedDataset, rows: Sequence[Row]) -> None:
    places = [source.place(row) for row in rows]
    for place in places:
        read_face(place, ())  # sees that it is this face's
    items = {
        row["item"]: Item(row["item"], row["id"], row["sha256"], row["source"], Place(""), attributes=loaded(row))
        for row in rows
    }  # without a place: the photo would bring back what was left out
    plan.write(shard, items.values())
    path, spans = store.shard_path(shard), [(place.shard, place.start, place.size) for place in places]
    digest = write_shard(path, spans) if spans else ""
    offsets = itertools.accumulate((place.size for place in places), initial=0)
    kept = [{**known_of(row), "offset": offset} for row, offset in zip(rows, offsets, strict=False)]
    store.write_sealed(shard, digest, kept, parts_of(path, kept))


def _builds(source: FinishedDataset, plan: Plan, shards: int) -> list[Build]:
    """The builds of the source with the photos that are left of each: their licences go with them."""
    builds = source.builds() or [Build(0, shards, 0, 0, LOST)]
    found = []
    for build in builds:
        own = range(build.first_shard, min(build.first_shard + build.shards, shards))
        photos = sum(len(plan.read(shard)) for shard in own)
        found += [replace(build, shards=len(own), photos=photos, copies=0)] if len(own) else []
    return found


def group_faces(faces: Any, twins: Iterable[tuple[str, str]], attribute: str) -> list[str]:
    """The group of each face, by its first id: of one photo, near-identical (pairs of keys), or sharing an attribute.

    Faces without the attribute stand for themselves.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ids = faces["id"].to_pylist()
    names, number = np.unique(ids, return_inverse=True)
    place = dict(zip(ids, number.tolist(), strict=True))
    first: dict[str, int] = {}
    own = attributes_of(faces).get(attribute, {}).items()
    pairs = [(int(number[row]), first.setdefault(as_text([value]), int(number[row]))) for row, value in own]
    pairs += [(place[one.rpartition("_")[0]], place[other.rpartition("_")[0]]) for one, other in twins]
    one, other = np.array(pairs, np.int64).reshape(-1, 2).T
    graph = coo_matrix((np.ones(len(one)), (one, other)), shape=(len(names), len(names)))
    label = connected_components(graph, directed=False)[1]
    roots = names[np.unique(label, return_index=True)[1]]  # names are sorted: the first of each group
    return [str(root) for root in roots[label[number]]]


def part_of(name: str, shares: Mapping[str, float], seed: int) -> str:
    """The part that a group falls to: it depends on nothing but the group's name, the shares and the seed."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    where = int.from_bytes(digest[:8], "big") / 2**64
    parts = [part for part, share in shares.items() if share > 0]
    borders = itertools.accumulate(shares[part] for part in parts[:-1])
    return next((part for part, border in zip(parts, borders, strict=False) if where < border), parts[-1])
