"""The maker of a real build: the pipeline, and what of its results goes into a shard."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ostec.core.progress import STAGES
from ostec.dataset.members import ending_of, face_key, renamed
from ostec.dataset.records import ID_DIGITS, Face, Made, Photo
from ostec.dataset.store import record_bytes
from ostec.io.files import make_folder
from ostec.pipeline import CompletedFace, Completer
from ostec.pipeline.completer import PhotoOutcome
from ostec.pipeline.observe import PhotoBytes

_STEM = "x"
_SHARED_STAGES = STAGES[: STAGES.index("landmarks")]
"""Every face of a photo reports the time of these."""


class FaceMaker:
    """Completes the faces of photos, their projections in one batch."""

    def __init__(self, completer: Completer) -> None:
        self._completer = completer

    @property
    def weights(self) -> Mapping[str, str]:
        """File -> SHA-256 of what is loaded."""
        return self._completer.weights

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Complete them; those of one photo largest first."""
        members = self._completer.complete_many([PhotoBytes(photo.data, photo.source) for photo in photos])
        return [_made(photo, member) for photo, member in zip(photos, members, strict=True)]


def _made(photo: Photo, member: PhotoOutcome) -> Made:
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


def _face(made: CompletedFace, key: str, scratch: Path) -> Face:
    make_folder(scratch)
    files = {}
    for path in made.save_data(scratch, _STEM):
        ending = _ending(path.relative_to(scratch).as_posix())
        files[ending] = renamed(ending, path.read_bytes(), lambda name: f"{key}.{_ending(name)}")
    # As it is read back from the shard, so that the manifest can be made again from there.
    record: dict[str, Any] = json.loads(record_bytes(made.record))
    return Face(record, dict(sorted(files.items())))


def _ending(file: str) -> str:
    """Of a file whose NAME is the stem."""
    return ending_of(file.removeprefix(_STEM))
