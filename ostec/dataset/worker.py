"""One photo -> its faces, staged for their shard, or a failure with its reason."""

import hashlib
import logging
import shutil
import time
from collections.abc import Sequence

from ostec.core.errors import ImageError, OstecError, OutputError
from ostec.dataset.manifest import row_of
from ostec.dataset.reader import PhotoReader
from ostec.dataset.records import Face, Finished, Item, Maker, Outcome, Photo
from ostec.dataset.store import Store
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import IMAGE_SUFFIXES

logger = logging.getLogger(__name__)


class Worker:
    """Does photos one after the other; the networks are loaded, and the dataset's folder is there."""

    def __init__(self, store: Store, maker: Maker, copy_failed: bool = False) -> None:
        """``copy_failed``: put the photos that fail into ``failures/``."""
        self._store = store
        self._maker = maker
        self._copy_failed = copy_failed
        self._read = PhotoReader()
        self._stage = ""

    def __call__(self, item: Item) -> Finished:
        """Stage what comes of a photo.

        Raises:
            OutputError: it cannot be written, which is no fault of the photo.
        """
        start = time.perf_counter()
        seconds: dict[str, float] = {}
        faces: Sequence[Face] = ()
        self._stage = "read"
        data = b""
        try:
            data = self._bytes(item)
            photo = Photo(data, item.source, self._store.scratch(item.number))
            made, seconds = self._complete(photo)
            faces = [_named(face, item, number, len(made)) for number, face in enumerate(made, start=1)]
            outcome = Outcome(item.number, "done", tuple(row_of(face.record) for face in faces))
        except OutputError:
            raise
        except OstecError as error:
            outcome = self._failure(item, str(error))
        except MemoryError:
            outcome = self._failure(item, "There is not enough memory for this photo.")
        except Exception as error:  # a defect that one photo brings out must not cost the others
            logger.debug("%s brings out a defect.", item.source, exc_info=True)
            outcome = self._failure(item, f"Unexpected {type(error).__name__}: {error}")
        finally:
            shutil.rmtree(self._store.scratch(item.number), ignore_errors=True)
        if outcome.status == "failed" and self._copy_failed and data:
            self._copy(item, data)
        total = time.perf_counter() - start
        times = {stage: round(value, 4) for stage, value in {**seconds, "total": total}.items()}
        self._store.stage(Outcome(**{**vars(outcome), "seconds": times}), faces)
        return Finished(item.number, outcome.status, len(faces), total)

    def _bytes(self, item: Item) -> bytes:
        data = self._read(item.place)
        if hashlib.sha256(data).hexdigest() != item.sha256:
            raise ImageError("The photo is not the one that was planned: it has been changed since.")
        return data

    def _complete(self, photo: Photo) -> tuple[Sequence[Face], dict[str, float]]:
        made, seconds = self._maker(photo, self._on_progress)
        return made, dict(seconds)

    def _on_progress(self, stage: str, fraction: float) -> None:  # noqa: ARG002 - the signature is given
        self._stage = stage

    def _failure(self, item: Item, reason: str) -> Outcome:
        return failure(item, self._stage, reason)

    def _copy(self, item: Item, data: bytes) -> None:
        suffix = next((s for s in sorted(IMAGE_SUFFIXES) if item.source.lower().endswith(s)), ".bin")
        make_folder(self._store.failures)
        write_atomic(self._store.failures / f"{item.id}{suffix}", data)


def failure(item: Item, stage: str, reason: str) -> Outcome:
    """The outcome of a photo that cannot be done."""
    return Outcome(item.number, "failed", stage=stage, reason=" ".join(reason.split()))


def _named(face: Face, item: Item, number: int, count: int) -> Face:
    """A face with what its record says of its place in the dataset."""
    place = {
        "id": item.id,
        "face": number,
        "faces": count,
        "key": f"{item.id}_{number}",
        "item": item.number,
        "source": item.source,
        "source_sha256": item.sha256,
    }
    return Face({**face.record, **place}, face.files)
