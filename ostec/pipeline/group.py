"""Several photos side by side: each is completed as alone, their projections are made in one batch."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ostec.core.errors import ImageError
from ostec.io.images import pixels_of
from ostec.pipeline.completer import Completer
from ostec.pipeline.faces import decode_photo
from ostec.pipeline.result import CompletedFace
from ostec.project.together import Lane, OwnTime, Projecting, SharedError, together

logger = logging.getLogger(__name__)

MOST_PIXELS = 40_000_000
"""Of the photos that are in memory at once, unless a single one has more: 12 bytes each."""


@dataclass(frozen=True)
class PhotoBytes:
    """A photo's file."""

    data: bytes
    name: str
    """For the record and for errors."""


@dataclass(frozen=True)
class GroupMember:
    """What came of one photo of a group."""

    faces: Sequence[CompletedFace] = ()
    """Largest first."""
    stage: str = ""
    """That was reached."""
    error: Exception | None = None
    """Why there is no face."""
    seconds: float = 0.0
    """Its own time, and its share of the projections."""


@dataclass
class _Work:
    photo: PhotoBytes
    clock: OwnTime = field(default_factory=OwnTime)
    stage: str = "read"


def complete_group(completer: Completer, photos: Sequence[PhotoBytes]) -> list[GroupMember]:
    """Complete the faces of photos; what one of them lacks costs the others nothing.

    Results agree with those of a photo alone but for the last digits, which depend on the whole group. Should a
    projection of several fail, they are projected one by one, and the faces' warnings say so.
    """
    return [member for part in _portions(photos) for member in _side_by_side(completer, part)]


def _side_by_side(completer: Completer, photos: Sequence[PhotoBytes]) -> list[GroupMember]:
    works = [_Work(photo) for photo in photos]
    lanes = [Lane(_steps(completer, work), work.clock) for work in works]
    try:
        together(lanes)
    except SharedError as error:
        reason = f"{error} ({type(error.__cause__).__name__}), so they were projected one by one."
        logger.warning("%s: %s", ", ".join(photo.name for photo in photos), reason)
        alone = [member for photo in photos for member in _side_by_side(completer, [photo])]
        return [_warned(member, f"P{reason[1:]}") for member in alone]
    return [_member(work, lane) for work, lane in zip(works, lanes, strict=True)]


def _warned(member: GroupMember, warning: str) -> GroupMember:
    def told(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, "warnings": [*record["warnings"], warning]}

    return replace(member, faces=[replace(face, record=told(face.record)) for face in member.faces])


def _steps(completer: Completer, work: _Work) -> Projecting[list[CompletedFace]]:
    def reached(stage: str, _: float) -> None:
        work.stage = stage

    return (yield from completer.completing(decode_photo(work.photo.data, work.photo.name), reached, work.clock))


def _member(work: _Work, lane: Lane) -> GroupMember:
    return GroupMember(lane.result or (), work.stage, lane.error, work.clock())


def _portions(photos: Sequence[PhotoBytes]) -> Iterator[list[PhotoBytes]]:
    """Photos that may be in memory at once, in their order."""
    portion: list[PhotoBytes] = []
    pixels = 0
    for photo in photos:
        try:
            own = pixels_of(photo.data, photo.name)
        except ImageError:
            own = 0  # it fails again where that is written down
        if portion and pixels + own > MOST_PIXELS:
            yield portion
            portion, pixels = [], 0
        portion.append(photo)
        pixels += own
    if portion:
        yield portion
