"""What a run does with each photo: complete it, add to its result, skip it or refuse it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ostec.app.photos.results import EARLIER_TURNTABLE, face_name, faces_of, is_foreign, is_whole, read_record
from ostec.app.photos.runner import Action, Step
from ostec.app.photos.sources import Photo
from ostec.core.record import INVERSION, RESULT, RunRecord
from ostec.core.settings import NO_HEAD, flat, from_json, to_json
from ostec.pipeline.settings import CompleteSettings

T = TypeVar("T")
P = TypeVar("P", bound=Photo)


def decide(photo: Photo, save_dir: Path, settings: CompleteSettings, overwrite: bool) -> Step[Photo]:
    """What is to be done with a photo, from what the folder of results holds. Raises AssetError: it cannot be read."""
    largest = settings.faces == "largest"
    first = photo.name if largest else face_name(photo.name, 1)
    if overwrite:
        return Step(photo, Action.MAKE)
    if read_record(save_dir / f"{first}.json", (INVERSION,)) is not None:
        return Step(photo, Action.REFUSE, reason=f"{first}.json belongs to an inversion")

    def names_of(record: RunRecord) -> list[str]:
        return [first] if largest else [face_name(photo.name, k) for k in range(1, faces_of(record) + 1)]

    whole = whole_results(photo, save_dir, first, names_of)
    if isinstance(whole, Step):
        return whole
    differs = next((found for r in whole.values() if (found := _kept_with(r, settings))), "")
    short = tuple(name for name, r in whole.items() if lacking(name, r, settings) != (False, False))
    action = Action.EXTEND if short else Action.SKIP
    return Step(photo, action, short or tuple(whole), differs=differs)


def whole_results(
    photo: P, save_dir: Path, first: str, names_of: Callable[[RunRecord], list[str]], kind: str = RESULT
) -> dict[str, RunRecord] | Step[P]:
    """The finished results of a photo by name, or what is to be done because they are not all there.

    A result is the photo's if its record holds the photo's SHA-256. One of another photo (of another folder, or of this
    one before it was edited) is never replaced without ``--overwrite``: nobody asked for its loss.

    Args:
        photo: of the run.
        save_dir: folder of the results.
        first: name of the first result.
        names_of: its record to the names of all.
        kind: of result.
    """
    path = save_dir / f"{first}.json"
    if not path.exists():
        return Step(photo, Action.MAKE)
    if is_foreign(path, (kind,)):
        return Step(photo, Action.REFUSE, reason=f"{path.name} is in the way, which no earlier run has made")
    record = read_record(path, (kind,))
    if record is None:
        return Step(photo, Action.MAKE, reason=f"{path.name} is damaged")
    records = {name: read_record(save_dir / f"{name}.json", (kind,)) for name in names_of(record)}
    digest = photo.sha256
    if any(r is not None and r.get("source_sha256") != digest for r in records.values()):
        reason = f"{path.name} belongs to another photo, or this one has been edited since"
        return Step(photo, Action.REFUSE, reason=reason)
    whole = {name: r for name, r in records.items() if r is not None and is_whole(save_dir, r)}
    return whole if len(whole) == len(records) else Step(photo, Action.MAKE, reason="files of its result are missing")


def lacking(name: str, record: RunRecord, settings: CompleteSettings) -> tuple[bool, bool]:
    """Whether a finished result lacks the frontal portrait and the turntable that ``settings`` ask for."""
    files = record["files"]
    frontal = settings.frontalize and f"{name}_frontal.png" not in files
    turntable = settings.turntable and not {f"{name}_turntable.webp", f"{name}{EARLIER_TURNTABLE}"} & {*files}
    return frontal, turntable


def _kept_with(record: RunRecord, asked: CompleteSettings) -> str:
    """With what other settings a result was made; empty if it is what is asked for."""
    made = _settings_of(record, asked)
    if made is None:
        return "settings"
    # Views cannot be added later.
    wanted = dataclasses.replace(_decisive(asked), save_views=asked.save_views and not made.save_views)
    return _difference(_decisive(made), wanted)


def _decisive(settings: CompleteSettings) -> CompleteSettings:
    """Settings without what can be added later or does no harm, and without what then has no effect."""
    usual = CompleteSettings()
    if not settings.projects:
        settings = dataclasses.replace(
            settings, iterations=0, generator="none", schedule=usual.schedule, project=usual.project, views=usual.views
        )
    if settings.face_model == NO_HEAD:
        settings = dataclasses.replace(settings, head=usual.head)
    added = ("frontalize", "turntable", "iterations_frontalize", "portrait", "turn")
    later = {name: getattr(usual, name) for name in added}
    return dataclasses.replace(settings, **later, completer="auto", save_views=False, faces="largest")


def other_settings(record: RunRecord, asked: T) -> str:
    """``settings (project.ms_ssim 100.0, asked for 200.0)``; empty if the result was made with these.

    What a record does not tell was the default.
    """
    made = _settings_of(record, asked)
    return "settings" if made is None else _difference(made, asked)


def _settings_of(record: RunRecord, asked: T) -> T | None:
    try:
        return from_json(type(asked), record["settings"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _difference(made: object, asked: object) -> str:
    before, after = flat(to_json(made)), flat(to_json(asked))
    found = [f"{name} {before[name]}, asked for {value}" for name, value in after.items() if before[name] != value]
    return f"settings ({'; '.join(found)})" if found else ""
