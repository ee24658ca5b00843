"""Photos -> their faces, staged for their shard, or failures with their reasons.

A build on Ray gives what calling :class:`Worker` in a plain loop gives. The pipeline is imported where it is loaded: a
driver that only hands out photos does without it.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ostec.core.assets import use_models_folder
from ostec.core.errors import AssetError, ImageError, OstecError, OutputError, out_of_memory
from ostec.core.progress import STAGES
from ostec.core.text import shown
from ostec.dataset.manifest import row_of
from ostec.dataset.recipe import RECIPES, load
from ostec.dataset.records import (
    ID_DIGITS,
    Face,
    Finished,
    Group,
    Item,
    Made,
    Maker,
    Outcome,
    Photo,
    ending_of,
    face_key,
    renamed,
)
from ostec.dataset.sources import PhotoReader
from ostec.dataset.store import Store, record_bytes
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import IMAGE_SUFFIXES
from ostec.pipeline.settings import CompleteSettings

if TYPE_CHECKING:
    from ostec.pipeline import CompletedFace, Completer
    from ostec.pipeline.completer import PhotoOutcome
    from ostec.pipeline.observe import PhotoBytes

logger = logging.getLogger(__name__)

_STEM = "x"
_SHARED_STAGES = STAGES[: STAGES.index("landmarks")]  # every face of a photo reports the time of these

Weights = Mapping[str, str]  # file -> SHA-256


class WeightsPin:
    """Lets nobody go on with other weights than those of the dataset's first face, or else of the first that loads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Weights = {}

    def require(self, loaded: Weights, where: str = "") -> None:
        """See that the machine ``where`` has loaded the weights of the dataset. Raises AssetError if it has not."""
        if not self._known:
            self._known = next(filter(None, _of_faces(self._store)), loaded)
        if sentence := difference(self._known, loaded, where):
            raise AssetError(f"{sentence} Please put back what the dataset was begun with, or choose another --out.")


def difference(known: Weights, loaded: Weights, where: str = "") -> str:
    """A sentence about the first file that differs from those of the dataset; empty where none does."""
    here = f" on {where}" if where else ""
    for name in sorted({*known, *loaded}):
        before, now = known.get(name, ""), loaded.get(name, "")
        if not before:
            return f"The dataset was begun without {shown(name)}, which is found{here or ' now'}."
        if not now:
            return f"The dataset was begun with {shown(name)}, which is not found{here or ' any more'}."
        if before != now:
            digests = f"its SHA-256 begins with {shown(now[:8])}, not {shown(before[:8])}"
            return f"{shown(name)}{here} is another file than the one that the dataset was begun with ({digests})."
    return ""


def mixed(rows: Iterable[Mapping[str, Any]]) -> str:
    """A sentence about faces of the manifest that were made with different weights; empty where there are none."""
    first: dict[str, str] = {}
    for row in rows:
        if row["status"] == "done":
            first.setdefault(str(row.get("weights") or "{}"), str(row["key"]))
    known, *others = map(json.loads, first or ["{}"])
    for key, other in zip(list(first.values())[1:], others, strict=True):
        for name in sorted({*known, *other}):
            if known.get(name) != other.get(name):
                return f"Faces were made with different weights: {shown(key)} has another {shown(name)}."
    return ""


def _of_faces(store: Store) -> Iterator[Weights]:
    """The weights of the faces that are there, in order: of finished shards, then of those that are open."""
    for path in sorted((store.state / "sealed").glob("[0-9]*.jsonl")):
        for row in store.rows(int(path.stem)):
            if row["status"] == "done":
                yield json.loads(row.get("weights") or "{}")
    for path in sorted((store.state / "staged").glob("[0-9]*/[0-9]*")):
        for row in store.read_staged(int(path.name))[0].faces:
            yield json.loads(row.get("weights") or "{}")


class Worker:
    """Does one group of photos after the other; the networks are loaded, and the dataset's folder is there."""

    def __init__(self, store: Store, maker: Maker, copy_failed: bool = False) -> None:
        """``copy_failed``: put the photos that fail into ``failures/``."""
        self._store = store
        self._maker = maker
        self._copy_failed = copy_failed
        self._bytes = PhotoReader()

    @property
    def weights(self) -> Mapping[str, str]:
        """File -> SHA-256 of what is loaded."""
        return self._maker.weights

    def __call__(self, group: Group) -> Iterator[Finished]:
        """Stage what comes of the photos that are left of a group, in their order. Raises OutputError."""
        read = [self._read(item) for item in group.items]
        try:
            made = iter(self._maker([photo for photo, before in read if before.error is None]))
            found = [before if before.error is not None else next(made) for _, before in read]
        finally:
            for item in group.items:
                shutil.rmtree(self._store.scratch(item.number), ignore_errors=True)
        for item, (photo, before), own in zip(group.items, read, found, strict=True):
            if item.number in group.left:
                spent = before.seconds["total"] + (own.seconds.get("total", 0.0) if own is not before else 0.0)
                yield self._stage(item, photo, replace(own, seconds={**own.seconds, "total": spent}))

    def _read(self, item: Item) -> tuple[Photo, Made]:
        """A photo, and the seconds that it took to read it, or why it cannot be."""
        start = time.perf_counter()
        data, error = b"", None  # type: bytes, Exception | None
        try:
            data = self._bytes(item.place)
            if hashlib.sha256(data).hexdigest() != item.sha256:
                error = ImageError("The photo is not the one that was planned: it has been changed since.")
        except Exception as found:  # noqa: BLE001 - what ails one photo must not cost the others
            error = found
        seconds = {"total": time.perf_counter() - start}
        return Photo(data, item.source, self._store.scratch(item.number)), Made((), seconds, "read", error)

    def _stage(self, item: Item, photo: Photo, made: Made) -> Finished:
        start = time.perf_counter()
        if isinstance(made.error, OutputError):
            raise made.error
        faces = [_named(face, item, number, len(made.faces)) for number, face in enumerate(made.faces, start=1)]
        if made.skipped:
            outcome = Outcome(item.number, "skipped", stage="fuse", reason=made.skipped)
        elif made.error is None:
            outcome = Outcome(item.number, "done", tuple(row_of(face.record) for face in faces))
        else:
            outcome = failure(item, made.stage, _reason(made.error, item))
            if self._copy_failed and photo.data:
                suffix = next((s for s in sorted(IMAGE_SUFFIXES) if item.source.lower().endswith(s)), ".bin")
                write_atomic(make_folder(self._store.failures) / f"{item.id}{suffix}", photo.data)
        total = made.seconds["total"] + time.perf_counter() - start
        times = {stage: round(value, 4) for stage, value in {**made.seconds, "total": total}.items()}
        self._store.stage(replace(outcome, seconds=times), faces)
        return Finished(item.number, outcome.status, len(faces), total)


def _reason(error: Exception, item: Item) -> str:
    """Why a photo could not be done, as a sentence; a defect that one photo brings out must not cost the others."""
    if isinstance(error, OstecError):
        return str(error)
    if lacking := out_of_memory(error, "this photo"):
        return f"There is {lacking}."
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
        **({"attributes": {**face.record.get("attributes", {}), **item.attributes}} if item.attributes else {}),
    }
    return Face({**face.record, **place}, face.files)


@dataclass(frozen=True)
class LoadFaceMaker:
    """Loads the pipeline in a worker's process; what travels there instead of the networks."""

    settings: CompleteSettings
    device: str
    threads: int  # of one worker, on the CPU; the last digits of results depend on it
    models_folder: str = ""  # ``$OSTEC_MODELS`` where the build was started; empty if there was none
    fuses: bool = False  # the photos of a group are of one person
    recipe: str = RECIPES[0]
    edits: str = "default"

    def __call__(self) -> Maker:
        """Load. Raises AssetError, BackendError."""
        import torch

        if self.models_folder:
            use_models_folder(self.models_folder)
        torch.set_num_threads(self.threads)
        return FaceMaker(load(self.recipe, self.edits, self.settings, self.device), self.fuses)


class FaceMaker:
    """The maker of a real build: completes the faces of photos, their projections in one batch, or fuses them."""

    def __init__(self, completer: "Completer", fuses: bool = False) -> None:
        """``fuses``: photos that are made together are of one person, whose face the first of them gets."""
        self._completer, self._fuses = completer, fuses

    @property
    def weights(self) -> Mapping[str, str]:
        """File -> SHA-256 of what is loaded."""
        return self._completer.weights

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Complete them; those of one photo largest first."""
        from ostec.pipeline.observe import PhotoBytes

        given = [PhotoBytes(photo.data, photo.source) for photo in photos]
        if self._fuses and len(photos) > 1:
            return self._fused(photos, given)
        members = self._completer.complete_many(given)
        return [_made(photo, member) for photo, member in zip(photos, members, strict=True)]

    def _fused(self, photos: Sequence[Photo], given: "Sequence[PhotoBytes]") -> Sequence[Made]:
        """One face for all photos; the first one has it."""
        from ostec.pipeline.completer import PhotoOutcome

        start, stages = time.perf_counter(), ["read"]
        try:
            face = self._completer.fuse(given, lambda stage, _: stages.append(stage))
        except Exception as error:  # noqa: BLE001 - the other groups are not to suffer
            return [Made((), {"total": (time.perf_counter() - start) / len(photos)}, stages[-1], error)] * len(photos)
        first = _made(photos[0], PhotoOutcome((face,), seconds=time.perf_counter() - start))
        others = Made((), {"total": 0.0}, skipped=f"It was fused with {photos[0].source}.")
        return [first, *[others] * (len(photos) - 1)]


def _made(photo: Photo, member: "PhotoOutcome") -> Made:
    """A photo's faces as they go into a shard, and the seconds of its stages."""
    start = time.perf_counter()
    try:
        photo_id = hashlib.sha256(photo.data).hexdigest()[:ID_DIGITS]
        faces = [
            _face(face, face_key(photo_id, number), photo.scratch / str(number))
            for number, face in enumerate(member.faces, start=1)
        ]
    except Exception as error:  # noqa: BLE001 - the others of its group are not to suffer
        return Made((), {"total": member.seconds}, "export", error)
    seconds: dict[str, float] = {}
    for number, face in enumerate(member.faces):
        for stage, value in face.seconds.items():
            if number == 0 or stage not in _SHARED_STAGES:
                seconds[stage] = seconds.get(stage, 0.0) + value
    packing = time.perf_counter() - start
    stage = "export" if member.error is None else member.stage
    return Made(tuple(faces), {**seconds, "pack": packing, "total": member.seconds + packing}, stage, member.error)


def _face(made: "CompletedFace", key: str, scratch: Path) -> Face:
    """A face with its files, by ending; what an OBJ or MTL names is renamed with them."""

    def ending(file: str) -> str:
        return ending_of(file.removeprefix(_STEM))

    files = {}
    for path in made.save_data(make_folder(scratch), _STEM):
        own = ending(path.relative_to(scratch).as_posix())
        files[own] = renamed(own, path.read_bytes(), lambda name: f"{key}.{ending(name)}")
    # As it is read back from the shard, so that the manifest can be made again from there.
    record: dict[str, Any] = json.loads(record_bytes(made.record))
    return Face(record, dict(sorted(files.items())))
