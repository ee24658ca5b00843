"""Under which licences the photos of a dataset are: ``licences.json``, which outlasts ``state/``."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError
from ostec.core.text import counted, shown
from ostec.dataset.plan import Build, Plan
from ostec.io.files import open_plain, write_atomic

FILE = "licences.json"
"""What each call of ``build`` has planned, and the licence that was given: the builds of the plan."""
LOST = "no longer known"
NOT_GIVEN = "not given"
_MAX_BYTES = 16 << 20
_MOST_SHARDS = 10**9
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


def write_licences(folder: Path, builds: Iterable[Build]) -> None:
    """Write ``licences.json`` of a dataset; equal builds give equal bytes. Raises OutputError."""
    values = [asdict(build) for build in builds]
    write_atomic(folder / FILE, (json.dumps(values, indent=1) + "\n").encode("ascii"))


def read_licences(folder: Path) -> list[Build]:
    """The builds in ``licences.json``; none where there is no such file. Raises AssetError if it is damaged."""
    path = folder / FILE
    try:
        with open_plain(path) as stream:
            values: Any = json.loads(stream.read(_MAX_BYTES))
        return [_build(value) for value in values]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error


def _build(values: Mapping[str, Any]) -> Build:
    build = Build(**values)
    numbers = (build.first_shard, build.shards, build.photos, build.copies)
    if not all(type(number) is int and 0 <= number < _MOST_SHARDS for number in numbers):
        raise ValueError("expected counts of 0 or more")
    if not (isinstance(build.licence, str) and isinstance(build.attributes, str)):
        raise ValueError("expected texts")
    return build


def builds_again(folder: Path, plan: Plan, shards: int) -> list[Build]:
    """The builds of a dataset whose plan was lost and made again, as far as ``licences.json`` knows them.

    Args:
        folder: of the dataset.
        plan: with a list for each shard.
        shards: how many there are.
    """
    try:
        noted = read_licences(folder)
    except AssetError:
        noted = []
    found, end = [], 0
    for build in noted:
        own = range(end, min(end + build.shards, shards))
        if build.first_shard != end or not own:
            break
        end = own.stop
        if len(own) < build.shards:  # the rest was planned and not done
            build = replace(build, shards=len(own), photos=_photos(plan, own), copies=0)
        found.append(build)
    if end < shards:
        found.append(Build(end, shards - end, _photos(plan, range(end, shards)), 0, LOST))
    return found


def _photos(plan: Plan, shards: range) -> int:
    return sum(len(plan.read(shard)) for shard in shards)


def licence_at(builds: Sequence[Build], shard: int) -> str:
    """The licence of the photos in a shard, as it was given; empty where none was."""
    return next((b.licence for b in builds if b.first_shard <= shard < b.first_shard + b.shards), LOST)


def unheeded(builds: Sequence[Build], licence: str, known: int) -> str:
    """Say that a licence does not hold for photos that a dataset had before; empty where it says nothing new of them.

    Args:
        builds: of the dataset before.
        licence: that is given now.
        known: photos among those that it is given for.
    """
    before = sorted({build.licence or NOT_GIVEN for build in builds})
    if not (licence and known) or before == [licence]:
        return ""
    return (
        f"{counted(known, 'photo is', 'photos are')} in the dataset already, with the licence that was given then "
        f"({shown('; '.join(before))}); {shown(licence)} is noted for new photos only."
    )


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
