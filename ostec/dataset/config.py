"""What all photos of a dataset have in common: ``config.json``."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, UsageError
from ostec.core.settings import flat, from_json, to_json
from ostec.io.files import open_plain, write_atomic
from ostec.pipeline.settings import CompleteSettings

KIND = "ostec dataset"
VERSION = 1
_MAX_CONFIG = 1 << 20


@dataclass(frozen=True)
class DatasetConfig:
    """What all photos of a dataset have in common: ``config.json``."""

    settings: CompleteSettings = field(default_factory=CompleteSettings)
    threads: int = 1
    """CPU threads of a worker: the last digits of results depend on it."""
    shard_size: int = 500
    """Photos to a shard."""
    batch: int = 1
    """Photos whose faces are projected at once: the last digits depend on it too."""


def config_path(folder: Path) -> Path:
    """Of a dataset's folder."""
    return folder / "config.json"


def write_config(folder: Path, config: DatasetConfig) -> None:
    """Write ``config.json``. Raises OutputError."""
    values = {"kind": KIND, "version": VERSION, **to_json(config)}
    write_atomic(config_path(folder), (json.dumps(values, indent=2) + "\n").encode("ascii"), synced=True)


def read_config(folder: Path) -> DatasetConfig | None:
    """A dataset's ``config.json``; None where there is none.

    Raises:
        UsageError: it is another program's.
        AssetError: it is damaged.
    """
    path = config_path(folder)
    try:
        with open_plain(path) as stream:
            values: Any = json.loads(stream.read(_MAX_CONFIG))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise UsageError(f"{path} is not of ostec dataset build.")
    if values.get("version") != VERSION:
        raise UsageError(f"{path} is of version {values.get('version')}; this program knows version {VERSION}.")
    try:
        settings = from_json(CompleteSettings, values["settings"])
        config = DatasetConfig(settings, int(values["threads"]), int(values["shard_size"]), int(values.get("batch", 1)))
        if min(config.threads, config.shard_size, config.batch) < 1:
            raise ValueError("threads, shard_size and batch must be 1 or more")
        return config
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error


def require_equal(folder: Path, before: DatasetConfig, asked: DatasetConfig) -> None:
    """See that what is asked for is what a dataset was begun with. Raises UsageError, which names what differs."""
    old, new = asdict(before), asdict(asked)
    old, new = {**flat(old.pop("settings")), **old}, {**flat(new.pop("settings")), **new}
    other = [name for name in old if old[name] != new[name]]
    if other:
        what = ", ".join(f"{name} {old[name]} (asked for: {new[name]})" for name in other)
        raise UsageError(f"{folder} was begun with {what}; a dataset has one setting, please choose another --out.")
