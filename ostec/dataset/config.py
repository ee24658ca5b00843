"""What all photos of a dataset have in common: ``config.json``."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ostec.core.errors import AssetError, UsageError
from ostec.core.settings import from_json, to_json
from ostec.io.files import open_plain, write_atomic
from ostec.pipeline.settings import CompleteSettings

KIND = "ostec dataset"
VERSION = 1
_FILE = "config.json"
_MAX_BYTES = 1 << 20


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


def write_config(folder: Path, config: DatasetConfig) -> None:
    """Write a dataset's ``config.json``. Raises OutputError."""
    values = {"kind": KIND, "version": VERSION, **to_json(config)}
    write_atomic(folder / _FILE, (json.dumps(values, indent=2) + "\n").encode("ascii"), synced=True)


def read_config(folder: Path) -> DatasetConfig | None:
    """A dataset's ``config.json``; None where there is none.

    Raises:
        UsageError: it is another program's.
        AssetError: it is damaged.
    """
    path = folder / _FILE
    try:
        with open_plain(path) as stream:
            values: Any = json.loads(stream.read(_MAX_BYTES))
        if not isinstance(values, dict) or (values.get("kind"), values.get("version")) != (KIND, VERSION):
            raise UsageError(f"{path} is not of ostec dataset build, or not of version {VERSION}.")
        settings = from_json(CompleteSettings, values["settings"])
        config = DatasetConfig(settings, int(values["threads"]), int(values["shard_size"]), int(values.get("batch", 1)))
        if min(config.threads, config.shard_size, config.batch) < 1:
            raise ValueError("threads, shard_size and batch must be 1 or more")
        return config
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise AssetError(f"{path} is damaged ({error}).") from error


def require_equal(folder: Path, before: DatasetConfig, asked: DatasetConfig) -> None:
    """See that what is asked for is what a dataset was begun with. Raises UsageError, which names what differs."""
    old, new = ({**asdict(config.settings), **asdict(config)} for config in (before, asked))
    other = [name for name in old if old[name] != new[name] and name != "settings"]
    if other:
        what = ", ".join(f"{name} {old[name]} (asked for: {new[name]})" for name in other)
        raise UsageError(f"{folder} was begun with {what}; a dataset has one setting, please choose another --out.")
