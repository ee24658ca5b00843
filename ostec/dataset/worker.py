"""Photos -> their faces, staged for their shard, or failures with their reasons."""

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ostec.core.errors import ImageError, OstecError, OutputError
from ostec.dataset.manifest import row_of
from ostec.dataset.members import face_key
from ostec.dataset.reader import PhotoReader
from ostec.dataset.records import Face, Finished, Group, Item, Made, Maker, Outcome, Photo
from ostec.dataset.store import Store
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Read:
    """A photo of a group, read."""

    item: Item
    photo: Photo
    seconds: float
    error: Exception | None = None


class Worker:
    """Does one group of photos after the other; the networks are loaded, and the dataset's folder is there."""

    def __init__(self, store: Store, maker: Maker, copy_failed: bool = False) -> None:
        """``copy_failed``: put the photos that fail into ``failures/``."""
        self._store = store
        self._maker = maker
        self._copy_failed = copy_failed
        self._bytes = PhotoReader()

    def __call__(self, group: Group) -> Iterator[Finished]:
        """Stage what comes of the photos that are left of a group, in their order.

        Raises:
            OutputError: it cannot be written, which is no fault of the photos.
        """
        read = [self._read(item) for item in group.items]
        try:
            made = iter(self._maker([one.photo for one in read if one.error is None]))
            outcomes = [(one, next(made) if one.error is None else _unread(one)) for one in read]
        finally:
            for item in group.items:
                shutil.rmtree(self._store.scratch(item.number), ignore_errors=True)
        for one, found in outcomes:
            if one.item.number in group.left:
                yield self._stage(one, found)

    def _read(self, item: Item) -> _Read:
        start = time.perf_counter()
        data, error = b"", None  # type: bytes, Exception | None
        try:
            data = self._bytes(item.place)
            if hashlib.sha256(data).hexdigest() != item.sha256:
                error = ImageError("The photo is not the one that was planned: it has been changed since.")
        except Exception as found:  # noqa: BLE001 - what ails one photo must not cost the others
            error = found
        photo = Photo(data, item.source, self._store.scratch(item.number))
        return _Read(item, photo, time.perf_counter() - start, error)

    def _stage(self, one: _Read, made: Made) -> Finished:
        start = time.perf_counter()
        item = one.item
        if isinstance(made.error, OutputError):
            raise made.error
        faces = [_named(face, item, number, len(made.faces)) for number, face in enumerate(made.faces, start=1)]
        if made.error is None:
            outcome = Outcome(item.number, "done", tuple(row_of(face.record) for face in faces))
        else:
            outcome = failure(item, made.stage, _reason(made.error, item))
            if self._copy_failed and one.photo.data:
                self._copy(item, one.photo.data)
        total = one.seconds + made.seconds.get("total", 0.0) + time.perf_counter() - start
        times = {stage: round(value, 4) for stage, value in {**made.seconds, "total": total}.items()}
        self._store.stage(replace(outcome, seconds=times), faces)
        return Finished(item.number, outcome.status, len(faces), total)

    def _copy(self, item: Item, data: bytes) -> None:
        suffix = next((s for s in sorted(IMAGE_SUFFIXES) if item.source.lower().endswith(s)), ".bin")
        make_folder(self._store.failures)
        write_atomic(self._store.failures / f"{item.id}{suffix}", data)


def _unread(one: _Read) -> Made:
    return Made(stage="read", error=one.error)


def _reason(error: Exception, item: Item) -> str:
    """Why a photo could not be done, as a sentence; a defect that one photo brings out must not cost the others."""
    if isinstance(error, OstecError):
        return str(error)
    if isinstance(error, MemoryError):
        return "There is not enough memory for this photo."
    logger.debug("%s brings out a defect.", item.source, exc_info=error)
    return f"Unexpected {type(error).__name__}: {error}"


def failure(item: Item, stage: str, reason: str) -> Outcome:
    """The outcome of a photo that cannot be done."""
    return Outcome(item.number, "failed", stage=stage, reason=" ".join(reason.split()))


def _named(face: Face, item: Item, number: int, count: int) -> Face:
    """A face with what its record says of its place in the dataset."""
    place = {
        "id": item.id,
        "face": number,
        "faces": count,
        "key": face_key(item.id, number),
        "item": item.number,
        "source": item.source,
        "source_sha256": item.sha256,
        **({"attributes": dict(item.attributes)} if item.attributes else {}),
    }
    return Face({**face.record, **place}, face.files)
