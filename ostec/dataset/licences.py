"""What each call of build has planned, and under which licence: ``licences.json``, which outlasts ``state/``."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ostec.core.errors import AssetError
from ostec.core.text import counted, shown
from ostec.io.files import open_plain, write_atomic

FILE = "licences.json"
LOST = "no longer known"
NOT_GIVEN = "not given"
_MAX_BYTES = 64 << 20
_MOST = 10**9
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

    def __post_init__(self) -> None:
        """Raises ValueError: the file that it was read from may be somebody else's."""
        numbers = (self.first_shard, self.shards, self.photos, self.copies)
        if not all(type(number) is int and 0 <= number < _MOST for number in numbers):
            raise ValueError("expected counts of 0 or more")
        if not (isinstance(self.licence, str) and isinstance(self.attributes, str)):
            raise ValueError("expected texts")


def read_builds(path: Path) -> list[Build]:
    """The builds in a file; none where there is no such file. Raises AssetError if it is damaged."""
    try:
        with open_plain(path) as stream:
            builds = [Build(**values) for values in json.loads(stream.read(_MAX_BYTES))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error
    return builds


def write_builds(path: Path, builds: Iterable[Build]) -> None:
    """Write builds to a file: equal ones give equal bytes. Raises OutputError."""
    values = [asdict(build) for build in builds]
    write_atomic(path, (json.dumps(values, indent=1) + "\n").encode("ascii"), synced=True)


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
