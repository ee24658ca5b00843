"""What a run does with each photo: complete it, add to its result, skip it or refuse it."""

import dataclasses
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ostec.app.photos.results import (
    Record,
    face_name,
    faces_of,
    is_foreign,
    is_whole,
    read_record,
    source_sha256,
)
from ostec.app.photos.sources import Photo
from ostec.core.assets import sha256_of
from ostec.core.settings import from_json
from ostec.export.record import INVERSION
from ostec.pipeline.settings import CompleteSettings


class Action(Enum):
    """What a run does with a photo."""

    COMPLETE = "complete"
    EXTEND = "extend"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Step:
    """A photo and what is to be done with it."""

    photo: Photo
    action: Action
    names: tuple[str, ...] = ()
    """The results that exist: to be extended, or skipped."""
    reason: str = ""
    other_settings: bool = False
    """The results that exist were made with other settings, and are kept."""


def decide(photo: Photo, save_dir: Path, settings: CompleteSettings, overwrite: bool) -> Step:
    """What is to be done with a photo, from what lies in the folder of results.

    A result is the photo's if its record holds the photo's SHA-256. One of another photo (of another folder, or of this
    one before it was edited) is never replaced without ``overwrite``: nobody asked for its loss.

    Raises:
        AssetError: results exist, and the photo cannot be read to compare it.
    """
    if overwrite:
        return Step(photo, Action.COMPLETE)
    first = photo.name if settings.faces == "largest" else face_name(photo.name, 1)
    if not (save_dir / f"{first}.json").exists():
        return Step(photo, Action.COMPLETE)
    if read_record(save_dir / f"{first}.json", (INVERSION,)) is not None:
        return Step(photo, Action.REFUSE, reason=f"{first}.json belongs to an inversion")
    if is_foreign(save_dir / f"{first}.json"):
        return Step(photo, Action.REFUSE, reason=f"{first}.json is in the way, which no earlier run has made")
    record = read_record(save_dir / f"{first}.json")
    if record is None:
        return Step(photo, Action.COMPLETE, reason=f"{first}.json is damaged")
    names = (
        [first] if settings.faces == "largest" else [face_name(photo.name, k) for k in range(1, faces_of(record) + 1)]
    )
    records = [record, *(read_record(save_dir / f"{name}.json") for name in names[1:])]
    digest = sha256_of(photo.path)
    if any(r is not None and source_sha256(r) != digest for r in records):
        reason = f"{first}.json belongs to another photo, or this one has been edited since"
        return Step(photo, Action.REFUSE, reason=reason)
    whole = [r for r in records if r is not None and is_whole(save_dir, r)]
    if len(whole) < len(records):
        return Step(photo, Action.COMPLETE, reason="files of its result are missing")
    other = any(_differs(_settings_of(r), settings) for r in whole)
    short = tuple(n for n, r in zip(names, whole, strict=True) if lacking(n, r, settings) != (False, False))
    action = Action.EXTEND if short else Action.SKIP
    return Step(photo, action, short or tuple(names), other_settings=other)


def lacking(name: str, record: Record, settings: CompleteSettings) -> tuple[bool, bool]:
    """Whether a finished result lacks the frontal portrait and the turntable that ``settings`` ask for."""
    files = record["files"]
    frontal = settings.frontalize and f"{name}_frontal.png" not in files
    turntable = settings.turntable and f"{name}_turntable.gif" not in files
    return frontal, turntable


def _settings_of(record: Record) -> CompleteSettings | None:
    try:
        return from_json(CompleteSettings, record["settings"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _differs(made: CompleteSettings | None, asked: CompleteSettings) -> bool:
    """Whether a result made with other settings is not what is asked for: views cannot be added later."""
    if made is None:
        return True
    return _decisive(made) != _decisive(asked) or (asked.save_views and not made.save_views)


def _decisive(settings: CompleteSettings) -> CompleteSettings:
    """Settings without what can be added later or does no harm, and without what then has no effect."""
    if not settings.projects:
        settings = dataclasses.replace(settings, iterations=0, generator="none")
    return dataclasses.replace(
        settings, frontalize=False, turntable=False, save_views=False, iterations_frontalize=0, faces="largest"
    )
