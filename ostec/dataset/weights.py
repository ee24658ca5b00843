"""The weights of a dataset: all of its faces are made with the same files.

Which these are is not written down apart: each face's record has them, and the first face decides.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ostec.core.errors import AssetError
from ostec.core.text import shown
from ostec.dataset.store import Store

Weights = Mapping[str, str]
"""File -> SHA-256."""


class WeightsPin:
    """Lets nobody go on with a dataset whose weights are others than those of its first face.

    While there is no face yet, the first that loads decides.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Weights = {}

    def require(self, loaded: Weights, where: str = "") -> None:
        """See that somebody has loaded the weights of the dataset.

        Args:
            loaded: what.
            where: the machine, where there are several.

        Raises:
            AssetError: they are others; the sentence names the first file that differs.
        """
        if not self._known:
            self._known = next(filter(None, _of_faces(self._store)), loaded)
        sentence = difference(self._known, loaded, where)
        if sentence:
            raise AssetError(f"{sentence} Please put back what the dataset was begun with, or choose another --out.")


def difference(known: Weights, loaded: Weights, where: str = "") -> str:
    """A sentence about the first file that differs between two sets of weights; empty where none does.

    Args:
        known: those of the dataset.
        loaded: the others.
        where: the machine that has loaded them; empty for this one.
    """
    here = f" on {where}" if where else ""
    for name in sorted({*known, *loaded}):
        before, now = known.get(name, ""), loaded.get(name, "")
        if not before:
            return f"The dataset was begun without {shown(name)}, which is found{here or ' now'}."
        if not now:
            return f"The dataset was begun with {shown(name)}, which is not found{here or ' any more'}."
        if before != now:
            return (
                f"{shown(name)}{here} is another file than the one that the dataset was begun with (its SHA-256 begins "
                f"with {shown(now[:8])}, not {shown(before[:8])})."
            )
    return ""


def mixed(rows: Iterable[Mapping[str, Any]]) -> str:
    """A sentence about faces that were made with different weights; empty where there are none.

    Args:
        rows: of the manifest.
    """
    first, seen = None, set[str]()
    for row in rows:
        text = str(row.get("weights") or "{}")
        if row["status"] != "done" or text in seen:
            continue
        seen.add(text)
        weights = json.loads(text)
        first = weights if first is None else first
        names = [name for name in sorted({*first, *weights}) if first.get(name) != weights.get(name)]
        if names:
            return f"Faces were made with different weights: {shown(row['key'])} has another {shown(names[0])}."
    return ""


def _of_faces(store: Store) -> Iterator[Weights]:
    """The weights of the faces that are there, in order: of finished shards, then of those that are open."""
    for shard in sorted(int(path.stem) for path in (store.state / "sealed").glob("[0-9]*.jsonl")):
        for row in store.rows(shard):
            if row["status"] == "done":
                yield json.loads(row.get("weights") or "{}")
    for folder in sorted((store.state / "staged").glob("[0-9]*")):
        for item in sorted(store.staged(int(folder.name))) if folder.name.isdecimal() else ():
            for row in store.read_staged(item)[0].faces:
                yield json.loads(row.get("weights") or "{}")
