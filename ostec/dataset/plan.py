"""What a dataset is to be: its settings, and its photos in a fixed order, which decides shard and position of each.

``state/plan/00000.jsonl`` has the photos of shard 0, one a line; ``licences.json`` says which calls of build have
planned which shards, and is replaced last: lists beyond it are of a build that was killed while it planned, and count
for nothing.
"""

import contextlib
import hashlib
import itertools
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from ostec.core.errors import ImageError, UsageError
from ostec.core.plain import open_plain, read_json
from ostec.core.settings import NO_HEAD, from_json, to_json
from ostec.core.text import counted, shown
from ostec.dataset.attributes import Attributes, Labels
from ostec.dataset.files import MAX_BYTES, told_if_damaged, write_json
from ostec.dataset.records import ID_DIGITS, Item, Place
from ostec.dataset.sources import Candidate, PhotoReader
from ostec.io.files import make_folder, write_atomic
from ostec.pipeline.settings import CompleteSettings

KIND = "ostec dataset"
VERSION = 1
CONFIG, LICENCES = "config.json", "licences.json"
LOST = "no longer known"
NOT_GIVEN = "not given"
_MOST = 10**9
_THREADS = 4
_AHEAD = 64  # photos that are read ahead of the plan at most
_ID = re.compile(rf"[0-9a-f]{{{ID_DIGITS}}}")
_PLACE_FIELDS = tuple(each.name for each in fields(Place))


@dataclass(frozen=True)
class DatasetConfig:
    """What all photos of a dataset have in common: ``config.json``."""

    settings: CompleteSettings = field(default_factory=lambda: CompleteSettings(face_model=NO_HEAD))
    threads: int = 1  # of a worker, on the CPU: the last digits of results depend on it
    shard_size: int = 500  # photos to a shard
    batch: int = 1  # photos whose faces are projected at once: the last digits depend on it too
    group: str = ""  # attribute that says who is on a photo: those of one person are fused to one face
    recipe: str = "complete"  # or ffhq-uv: what is made of a photo
    edits: str = "default"  # file of edits that the recipe ffhq-uv takes


def write_config(folder: Path, config: DatasetConfig) -> None:
    """Write a dataset's ``config.json``. Raises OutputError."""
    write_json(folder / CONFIG, {"kind": KIND, "version": VERSION, **to_json(config)}, synced=True, indent=2)


def read_config(folder: Path) -> DatasetConfig | None:
    """A dataset's ``config.json``; None where there is none. Raises UsageError, AssetError."""
    path = folder / CONFIG
    with told_if_damaged(path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
        values = read_json(path)
        if not isinstance(values, dict) or (values.get("kind"), values.get("version")) != (KIND, VERSION):
            raise UsageError(f"{path} is not of ostec dataset build, or not of version {VERSION}.")
        settings = from_json(CompleteSettings, values["settings"])
        numbers = int(values["threads"]), int(values["shard_size"]), int(values.get("batch", 1))
        recipe = str(values.get("recipe", "complete")), str(values.get("edits", "default"))
        config = DatasetConfig(settings, *numbers, str(values.get("group", "")), *recipe)
        if min(config.threads, config.shard_size, config.batch) < 1:
            raise ValueError("threads, shard_size and batch must be 1 or more")
        return config
    return None


def need_config(folder: Path) -> DatasetConfig:
    """A dataset's ``config.json``, which must be there. Raises UsageError, AssetError."""
    if (config := read_config(folder)) is None:
        raise UsageError(f"{folder} holds no dataset: it has no config.json of ostec dataset build.")
    return config


def require_equal(folder: Path, before: DatasetConfig, asked: DatasetConfig) -> None:
    """See that what is asked for is what a dataset was begun with. Raises UsageError, which names what differs."""
    old, new = ({**asdict(config.settings), **asdict(config)} for config in (before, asked))
    other = [name for name in old if old[name] != new[name] and name != "settings"]
    if other:
        what = ", ".join(f"{name} {old[name]} (asked for: {new[name]})" for name in other)
        raise UsageError(f"{folder} was begun with {what}; a dataset has one setting, please choose another --out.")


@dataclass(frozen=True)
class Build:
    """What one call of ``build`` has planned."""

    first_shard: int
    shards: int
    photos: int
    copies: int
    licence: str  # of the sources, as it was given
    attributes: str = ""  # where they are from: a table's name and SHA-256, or ``sources``; empty for none

    def __post_init__(self) -> None:
        """Raises ValueError: the file that it was read from may be somebody else's."""
        numbers = (self.first_shard, self.shards, self.photos, self.copies)
        if not all(type(number) is int and 0 <= number < _MOST for number in numbers):
            raise ValueError("expected counts of 0 or more")
        if not (isinstance(self.licence, str) and isinstance(self.attributes, str)):
            raise ValueError("expected texts")


def read_builds(path: Path) -> list[Build]:
    """The builds in a file; none where there is no such file. Raises AssetError if it is damaged."""
    with told_if_damaged(path), contextlib.suppress(FileNotFoundError):
        return [Build(**values) for values in read_json(path)]
    return []


def write_builds(path: Path, builds: Iterable[Build]) -> None:
    """Write builds to a file: equal ones give equal bytes. Raises OutputError."""
    write_json(path, [asdict(build) for build in builds], synced=True, indent=1)


def licence_at(builds: Sequence[Build], shard: int) -> str:
    """The licence of the photos in a shard, as it was given; empty where none was."""
    return next((b.licence for b in builds if b.first_shard <= shard < b.first_shard + b.shards), LOST)


def unheeded(builds: Sequence[Build], licence: str, known: int) -> str:
    """Say that a licence does not hold for photos that a dataset had before; empty where it says nothing new of them.

    ``builds`` are those before; ``known`` photos are among those that the licence is given for now.
    """
    before = sorted({build.licence or NOT_GIVEN for build in builds})
    if not (licence and known) or before == [licence]:
        return ""
    return (
        f"{counted(known, 'photo is', 'photos are')} in the dataset already, with the licence that was given then "
        f"({shown('; '.join(before))}); {shown(licence)} is noted for new photos only."
    )


@dataclass(frozen=True)
class Added:
    """What a build's sources added to the plan."""

    photos: int = 0  # new ones, with those that cannot be read
    copies: int = 0
    known: int = 0  # photos of earlier builds
    unreadable: int = 0
    labelled: int = 0  # photos and copies with attributes

    def __add__(self, other: "Added") -> "Added":
        return Added(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Plan:
    """The lists in ``state/plan``."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        """``folder``: of the dataset; ``shard_size``: photos to a shard. Raises AssetError: the index is damaged."""
        self._folder = folder / "state" / "plan"
        self.shard_size = shard_size
        self._index = folder / LICENCES
        self.builds = read_builds(self._index)

    def is_lost(self) -> bool:
        """Whether lists are missing."""
        return not all(self._list(shard).exists() for shard in range(self.shards))

    @property
    def shards(self) -> int:
        """How many there are."""
        return self.builds[-1].first_shard + self.builds[-1].shards if self.builds else 0

    def read(self, shard: int) -> list[Item]:
        """The photos of a shard, in order. Raises AssetError."""
        path = self._list(shard)
        with told_if_damaged(path, "{path} is damaged ({error})."):
            with open_plain(path) as stream:
                lines = iter(lambda: stream.readline(MAX_BYTES), b"")
                items = [_from_json(json.loads(line.decode("ascii"))) for line in lines]
            numbers = [item.number for item in items]
            if numbers != sorted(set(numbers)) or any(number // self.shard_size != shard for number in numbers):
                raise ValueError("its photos are out of place")
            return items

    def __iter__(self) -> Iterator[Item]:
        for shard in range(self.shards):
            yield from self.read(shard)

    def extend(
        self,
        sieve: "Sieve",
        candidates: Iterable[Candidate],
        licence: str,
        tick: Callable[[int], None],
        group: str = "",
    ) -> None:
        """Plan what the candidates have that is new, in their order; it begins a new shard.

        ``sieve`` is of this plan; ``tick`` is called with the number of candidates looked at; ``group`` is the
        attribute by which photos are brought together, which takes memory for all of them. Raises OutputError, and
        UsageError where a group is larger than a shard.
        """
        make_folder(self._folder)
        first = last = self.shards
        items = sieve.sifted(candidates, tick)
        if group:
            items = iter(grouped(list(items), group, self.shard_size))
        for shard, own in itertools.groupby(items, lambda item: item.number // self.shard_size):
            self.write(shard, own)
            last = shard + 1
        for shard in sorted({number // self.shard_size for number in sieve.moved}):
            known = self.read(shard)
            self.write(shard, [replace(item, place=sieve.moved.get(item.number, item.place)) for item in known])
        added, labels = sieve.added, sieve.labels
        new = Build(first, last - first, added.photos, added.copies, licence, labels.origin if labels else "")
        self.commit([*self.builds, *([new] if last > first else [])])

    def write(self, shard: int, items: Iterable[Item]) -> None:
        """Write the list of one shard. Raises OutputError."""
        lines = (json.dumps(_to_json(item)) for item in items)
        write_atomic(self._list(shard), "".join(f"{line}\n" for line in lines).encode("ascii"), synced=True)

    def commit(self, builds: Sequence[Build]) -> None:
        """Make the lists of the builds count. Raises OutputError."""
        write_builds(self._index, builds)
        self.builds = list(builds)

    def _list(self, shard: int) -> Path:
        return self._folder / f"{shard:05d}.jsonl"


def person_of(item: Item, group: str) -> Any:
    """Who is on a photo, by the attribute ``group``; somebody of their own where that is not known."""
    return item.attributes.get(group, (item.number,))


def grouped(items: Sequence[Item], group: str, shard_size: int) -> list[Item]:
    """Photos numbered anew: those of one person follow each other in one shard. Raises UsageError if there is no room.

    A shard ends early where the next person has no room in it; the numbers that are left are nobody's.
    """
    people: dict[Any, list[Item]] = {}
    for item in items:
        people.setdefault(person_of(item, group), []).append(item)
    found: list[Item] = []
    number, firsts = items[0].number if items else 0, dict[str, int]()
    for who, own in people.items():
        if len(own) > shard_size:
            raise UsageError(f"{shown(str(who))} has {len(own)} photos, more than --shard-size {shard_size}.")
        if number % shard_size + len(own) > shard_size:
            number += -number % shard_size
        for item in own:
            if item.status != "skipped":
                firsts[item.id] = number
            found.append(replace(item, number=number))
            number += 1
    return [
        replace(item, reason=_copy_of(firsts.get(item.id, item.number))) if item.status == "skipped" else item
        for item in found
    ]


def _copy_of(number: int) -> str:
    return f"The same picture as photo {number} of the plan."


@dataclass(frozen=True)
class _Digested:
    candidate: Candidate  # without its bytes; with an error where they cannot be read
    sha256: str  # empty where they cannot be read
    identity: int  # of the file, whatever path leads to it, and of the place in it


class Sieve:
    """Lets through what a plan does not have yet."""

    def __init__(self, plan: Plan, unfinished: Mapping[int, int], labels: Labels | None = None) -> None:
        """Args: the plan; id, as a number, -> item of its photos that are still to be done; what gives attributes."""
        self.labels = labels
        self.moved = dict[int, Place]()
        """Item -> where a photo is now that is still to be done."""
        self._known = {int(item.id, 16) for item in plan if item.status != "skipped"}
        self._unfinished = unfinished
        self._number = plan.shards * plan.shard_size
        self._new = dict[int, int]()  # id -> item, of what has come through
        self._files = set[int]()
        self._nameless = Counter[str]()  # how many of one name cannot be read
        self._counts = Counter[str]()

    def sifted(self, candidates: Iterable[Candidate], tick: Callable[[int], None]) -> Iterator[Item]:
        """What of the candidates is new, in their order; ``tick`` is told how many were looked at."""
        for number, digested in enumerate(_digested(candidates), start=1):
            if digested.identity not in self._files:  # one file that two sources name is no copy
                self._files.add(digested.identity)
                yield from self._sift(digested)
            tick(number)

    @property
    def added(self) -> Added:
        """What has come so far."""
        return Added(**self._counts, labelled=self.labels.count if self.labels else 0)

    def _sift(self, digested: _Digested) -> Iterator[Item]:
        candidate, sha256 = digested.candidate, digested.sha256
        name = sha256 or self._unreadable(candidate.source)
        code = int(name[:ID_DIGITS], 16)
        new = code not in self._known
        found: Attributes = {}
        if self.labels:
            found = self.labels.of(candidate.source, sha256[:ID_DIGITS], candidate.beside, new)
        if not new:
            self._counts["known"] += 1
            if code in self._unfinished:
                self.moved[self._unfinished[code]] = candidate.place
            return
        item = Item(self._number, name[:ID_DIGITS], sha256, candidate.source, candidate.place, attributes=found)
        if not sha256:
            item = replace(item, status="failed", reason=candidate.error)
            self._counts["unreadable"] += 1
        if code in self._new:
            item = replace(item, status="skipped", reason=_copy_of(self._new[code]))
        self._counts["copies" if code in self._new else "photos"] += 1
        self._new.setdefault(code, self._number)
        self._number += 1
        yield item

    def _unreadable(self, source: str) -> str:
        """Stands for the hash of what cannot be read: things with one name are told apart by their order."""
        self._nameless[source] += 1
        number = self._nameless[source]
        return hashlib.sha256(f"unreadable: {source}{f' {number}' if number > 1 else ''}".encode()).hexdigest()


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
    place, sha256, where = candidate.place, "", tuple[object, ...]((candidate.place.path,))
    with contextlib.suppress(OSError, ValueError):
        status = Path(place.path).stat()
        where = (status.st_dev, status.st_ino)
    if not candidate.error:
        try:
            data = PhotoReader()(place) if candidate.data is None else candidate.data
            sha256 = hashlib.sha256(data).hexdigest()
        except ImageError as error:
            candidate = replace(candidate, error=str(error))
    identity = hash((*where, place.offset, place.group, place.row))
    return _Digested(replace(candidate, data=None), sha256, identity)


def _to_json(item: Item) -> dict[str, Any]:
    """An item without what has its default."""
    values = {**asdict(item), **asdict(item.place)}
    del values["place"]
    return {key: value for key, value in values.items() if value not in ("", -1, None, {})}


def _from_json(values: Mapping[str, Any]) -> Item:
    if not _ID.fullmatch(str(values["id"])):  # it becomes the name of a file
        raise ValueError(f"expected {ID_DIGITS} hexadecimal digits, found {str(values['id'])[:50]!r}")
    place = Place(**{"path": "", **{name: values[name] for name in _PLACE_FIELDS if name in values}})
    number, source = int(values["number"]), str(values["source"])
    sha256, reason = str(values.get("sha256", "")), str(values.get("reason", ""))
    attributes = dict(values.get("attributes", {}))
    return Item(number, str(values["id"]), sha256, source, place, reason, values.get("status"), attributes)
