"""The weights of a dataset: all of its faces are made with the same files; each face's record has them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ostec.core.errors import AssetError
from ostec.core.text import shown
from ostec.dataset.store import Store

Weights = Mapping[str, str]
"""File -> SHA-256."""


class WeightsPin:
    """Lets nobody go on with other weights than those of the dataset's first face, or else of the first that loads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Weights = {}

    def require(self, loaded: Weights, where: str = "") -> None:
        """See that the machine ``where`` has loaded the weights of the dataset. Raises AssetError if it has not."""
        if not self._known:
            self._known = next(filter(None, _of_faces(self._store)), loaded)
        if sentence := difference(self._known, loaded, where):
            raise AssetError(f"{sentence} Please put back what the dataset was begun with, or choose another --out.")


def difference(known: Weights, loaded: Weights, where: str = "") -> str:
    """A sentence about the first file that differs from those of the dataset; empty where none does."""
    here = f" on {where}" if where else ""
    for name in sorted({*known, *loaded}):
        before, now = known.get(name, ""), loaded.get(name, "")
        if not before:
            return f"The dataset was begun without {shown(name)}, which is found{here or ' now'}."
        if not now:
            return f"The dataset was begun with {shown(name)}, which is not found{here or ' any more'}."
        if before != now:
            digests = f"its SHA-256 begins with {shown(now[:8])}, not {shown(before[:8])}"
            return f"{shown(name)}{here} is another file than the one that the dataset was begun with ({digests})."
    return ""


def mixed(rows: Iterable[Mapping[str, Any]]) -> str:
    """A sentence about faces of the manifest that were made with different weights; empty where there are none."""
    first: dict[str, str] = {}
    for row in rows:
        if row["status"] == "done":
            first.setdefault(str(row.get("weights") or "{}"), str(row["key"]))
    known, *others = map(json.loads, first or ["{}"])
    for key, other in zip(list(first.values())[1:], others, strict=True):
        for name in sorted({*known, *other}):
            if known.get(name) != other.get(name):
                return f"Faces were made with different weights: {shown(key)} has another {shown(name)}."
    return ""


def _of_faces(store: Store) -> Iterator[Weights]:
    """The weights of the faces that are there, in order: of finished shards, then of those that are open."""
    for path in sorted((store.state / "sealed").glob("[0-9]*.jsonl")):
        for row in store.rows(int(path.stem)):
            if row["status"] == "done":
                yield json.loads(row.get("weights") or "{}")
    for path in sorted((store.state / "staged").glob("[0-9]*/[0-9]*")):
        for row in store.read_staged(int(path.name))[0].faces:
            yield json.loads(row.get("weights") or "{}")
