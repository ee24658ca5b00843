"""The plan of a dataset: its photos in a fixed order, which decides shard and position of each.

``state/plan/00000.jsonl`` has the photos of shard 0, one a line; ``state/plan/index.json`` says how many shards are
planned, and is replaced last: lists beyond it are of a build that was killed while it planned, and count for nothing.
"""

import contextlib
import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, ImageError
from ostec.dataset.candidates import Candidate
from ostec.dataset.labels import Labels
from ostec.dataset.reader import PhotoReader
from ostec.dataset.records import ID_DIGITS, Item, Place
from ostec.io.files import make_folder, open_plain, write_atomic

_THREADS = 4
_AHEAD = 64
"""Photos that are read ahead of the plan at most."""
_MAX_INDEX = 64 << 20
_MOST_SHARDS = 10**7
_NO_PLAN = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_PLACE_FIELDS = tuple(field.name for field in fields(Place))


@dataclass(frozen=True)
class Added:
    """What a build's sources added to the plan."""

    photos: int = 0
    """New ones, with those that cannot be read."""
    copies: int = 0
    known: int = 0
    """Photos of earlier builds."""
    moved: int = 0
    """Of those: not done yet, and found in another place."""
    unreadable: int = 0
    labelled: int = 0
    """Photos and copies with attributes."""

    def __add__(self, other: "Added") -> "Added":
        return Added(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


@dataclass(frozen=True)
class Build:
    """What one call of ``build`` has planned."""

    first_shard: int
    shards: int
    photos: int
    copies: int
    licence: str
    """Of the sources, as it was given."""
    attributes: str = ""
    """Where they are from: a table's name and SHA-256, or ``sources``; empty for none."""


@dataclass(frozen=True)
class Given:
    """What a call of ``build`` tells of its photos."""

    licence: str = ""
    """For the data card."""
    attributes: str = ""
    """Where they are from, as in :class:`Build`."""
    labels: Labels | None = None
    """Gives them; None for none."""


class Plan:
    """The lists in ``state/plan``."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        """``shard_size``: photos to a shard.

        Raises:
            AssetError: the index is damaged.
        """
        self._folder = folder
        self.shard_size = shard_size
        self._index = folder / "index.json"
        self.shards = 0
        self.builds: list[Build] = []
        try:
            with open_plain(self._index) as stream:
                values = json.loads(stream.read(_MAX_INDEX))
            self.builds = [_build_from(build) for build in values["builds"]]
            self.shards = int(values["shards"])
            if not 0 <= self.shards <= _MOST_SHARDS:
                raise ValueError(f"it has {self.shards} shards")
        except FileNotFoundError:
            pass
        except _NO_PLAN as error:
            raise AssetError(f"{self._index} is damaged ({error}).") from error

    def read(self, shard: int) -> list[Item]:
        """The photos of a shard, in order.

        Raises:
            AssetError: the list is missing or damaged.
        """
        path = self._list(shard)
        try:
            with open_plain(path) as stream:
                lines = iter(lambda: stream.readline(_MAX_INDEX), b"")
                items = [_from_json(json.loads(line.decode("ascii"))) for line in lines]
            numbers = [item.number for item in items]
            if numbers != sorted(set(numbers)) or any(number // self.shard_size != shard for number in numbers):
                raise ValueError("its photos are out of place")
            return items
        except _NO_PLAN as error:
            raise AssetError(f"{path} is damaged ({error}); ostec dataset verify --repair may help.") from error

    def __iter__(self) -> Iterator[Item]:
        for shard in range(self.shards):
            yield from self.read(shard)

    def extend(
        self,
        candidates: Iterable[Candidate],
        unfinished: Mapping[int, int],
        given: Given,
        tick: Callable[[int], None],
    ) -> Added:
        """Plan what the candidates have that is new, in their order; it begins a new shard.

        Args:
            candidates: what the sources hold.
            unfinished: id, as a number, -> item of the photos that are still to be done, whose place may have changed.
            given: what is told of the new ones.
            tick: called with the number of candidates looked at.

        Raises:
            OutputError: the plan cannot be written.
        """
        make_folder(self._folder)
        sieve = self._sieve(unfinished, given)
        shards, waiting = self.shards, list[Item]()
        for item in sieve.sifted(candidates, tick):
            waiting.append(item)
            if len(waiting) == self.shard_size:
                self.write(shards, waiting)
                shards, waiting = shards + 1, []
        if waiting:
            self.write(shards, waiting)
            shards += 1
        self._change(sieve.moved, given.labels.taken_back if given.labels else ())
        added = sieve.added
        new = [Build(self.shards, shards - self.shards, added.photos, added.copies, given.licence, given.attributes)]
        self.commit(shards, [*self.builds, *(new if shards > self.shards else [])])
        return added

    def preview(
        self,
        candidates: Iterable[Candidate],
        unfinished: Mapping[int, int],
        given: Given,
        tick: Callable[[int], None],
    ) -> Added:
        """What :meth:`extend` would add; nothing is written."""
        sieve = self._sieve(unfinished, given)
        for _ in sieve.sifted(candidates, tick):
            pass
        return sieve.added

    def _sieve(self, unfinished: Mapping[int, int], given: Given) -> "_Sieve":
        known = {int(item.id, 16) for item in self if item.status != "skipped"}
        return _Sieve(known, unfinished, self.shards * self.shard_size, given.labels)

    def write(self, shard: int, items: Iterable[Item]) -> None:
        """Write the list of one shard. Raises OutputError."""
        lines = (json.dumps(_to_json(item)) for item in items)
        write_atomic(self._list(shard), "".join(f"{line}\n" for line in lines).encode("ascii"), synced=True)

    def commit(self, shards: int, builds: Sequence[Build]) -> None:
        """Make the first ``shards`` lists count. Raises OutputError."""
        values = {"shards": shards, "builds": [asdict(build) for build in builds]}
        write_atomic(self._index, (json.dumps(values, indent=1) + "\n").encode("ascii"), synced=True)
        self.shards, self.builds = shards, list(builds)

    def _change(self, moved: Mapping[int, Place], taken_back: Collection[int]) -> None:
        """Note new places of photos, and those that have no attributes after all."""
        for shard in sorted({number // self.shard_size for number in (*moved, *taken_back)}):
            items = [replace(item, place=moved.get(item.number, item.place)) for item in self.read(shard)]
            self.write(shard, [replace(item, attributes={}) if item.number in taken_back else item for item in items])

    def _list(self, shard: int) -> Path:
        return self._folder / f"{shard:05d}.jsonl"


@dataclass(frozen=True)
class _Digested:
    candidate: Candidate
    sha256: str
    """Empty where the bytes cannot be read."""
    error: str
    identity: int
    """Of the file, whatever path leads to it, and of the place in it."""


class _Sieve:
    """Lets through what a dataset does not have yet."""

    def __init__(
        self, known: set[int], unfinished: Mapping[int, int], number: int, labels: Labels | None = None
    ) -> None:
        self._known = known
        self._labels = labels
        self._unfinished = unfinished
        self._number = number
        self._new: dict[int, int] = {}
        """Id -> item, of what has come through."""
        self._files: set[int] = set()
        self._nameless: dict[str, int] = {}
        """What cannot be read -> how many of that name."""
        self.moved: dict[int, Place] = {}
        self._added = Added()

    def sifted(self, candidates: Iterable[Candidate], tick: Callable[[int], None]) -> Iterator[Item]:
        """What of the candidates is new, in their order; ``tick`` is told how many were looked at."""
        for number, digested in enumerate(_digested(candidates), start=1):
            item = self._sift(digested)
            if item is not None:
                yield item
            tick(number)

    @property
    def added(self) -> Added:
        """What has come so far."""
        return replace(self._added, labelled=self._labels.count if self._labels else 0)

    def _sift(self, digested: _Digested) -> Item | None:
        candidate = digested.candidate
        if digested.identity in self._files:
            return None  # one file that two sources name is no copy
        self._files.add(digested.identity)
        name = digested.sha256 or self._unreadable(candidate.source)
        code = int(name[:ID_DIGITS], 16)
        number = None if code in self._known else self._number
        labels = self._labels
        found = labels.of(candidate.source, digested.sha256, code, number, candidate.beside) if labels else {}
        if number is None:
            self._meet_again(code, candidate.place)
            return None
        item = Item(number, name[:ID_DIGITS], digested.sha256, candidate.source, candidate.place, attributes=found)
        if not digested.sha256:
            item = replace(item, status="failed", reason=digested.error)
            self._count(unreadable=1)
        if code in self._new:
            item = replace(item, status="skipped", reason=f"The same picture as photo {self._new[code]} of the plan.")
            self._count(copies=1)
        else:
            self._new[code] = self._number
            self._count(photos=1)
        self._number += 1
        return item

    def _unreadable(self, source: str) -> str:
        """Stands for the hash of what cannot be read: things with one name are told apart by their order."""
        number = self._nameless[source] = self._nameless.get(source, 0) + 1
        return hashlib.sha256(f"unreadable: {source}{f' {number}' if number > 1 else ''}".encode()).hexdigest()

    def _meet_again(self, code: int, place: Place) -> None:
        moved = code in self._unfinished
        if moved:
            self.moved[self._unfinished[code]] = place
        self._count(known=1, moved=int(moved))

    def _count(self, **more: int) -> None:
        self._added = replace(self._added, **{key: getattr(self._added, key) + value for key, value in more.items()})


def _digested(candidates: Iterable[Candidate]) -> Iterator[_Digested]:
    """Candidates with their hashes, in order; some are read ahead by threads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future[_Digested]] = deque()
        for candidate in candidates:
            ahead.append(pool.submit(_digest, candidate))
            if len(ahead) >= _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _digest(candidate: Candidate) -> _Digested:
    place = candidate.place
    identity = _identity(place)
    if candidate.error:
        return _Digested(candidate, "", candidate.error, identity)
    try:
        data = PhotoReader()(place) if candidate.data is None else candidate.data
    except ImageError as error:
        return _Digested(candidate, "", str(error), identity)
    if candidate.data is not None:
        candidate = replace(candidate, data=None)
    return _Digested(candidate, hashlib.sha256(data).hexdigest(), "", identity)


def _identity(place: Place) -> int:
    where: tuple[object, ...] = (place.path,)
    with contextlib.suppress(OSError, ValueError):
        status = Path(place.path).stat()
        where = (status.st_dev, status.st_ino)
    return hash((*where, place.offset, place.group, place.row))


def _to_json(item: Item) -> dict[str, Any]:
    """An item without what has its default."""
    values = {**asdict(item), **asdict(item.place)}
    del values["place"]
    return {key: value for key, value in values.items() if value not in ("", -1, None, {})}


def _build_from(values: Mapping[str, Any]) -> Build:
    known: dict[str, Any] = {
        name: str(value) if name in ("licence", "attributes") else int(value) for name, value in values.items()
    }
    return Build(**known)


def _from_json(values: Mapping[str, Any]) -> Item:
    if not _ID.fullmatch(str(values["id"])):  # it becomes the name of a file
        raise ValueError(f"expected {ID_DIGITS} hexadecimal digits, found {str(values['id'])[:50]!r}")
    place = Place(**{"path": "", **{name: values[name] for name in _PLACE_FIELDS if name in values}})
    return Item(
        number=int(values["number"]),
        id=str(values["id"]),
        sha256=str(values.get("sha256", "")),
        source=str(values["source"]),
        place=place,
        reason=str(values.get("reason", "")),
        status=values.get("status"),
        attributes=dict(values.get("attributes", {})),
    )
