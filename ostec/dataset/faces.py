"""The maker of a real build: the pipeline, and what of its results goes into a shard."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.progress import STAGES
from ostec.core.types import FloatArray, Provenance
from ostec.dataset.records import Face, Made, Photo
from ostec.dataset.store import record_bytes
from ostec.io.files import make_folder
from ostec.pipeline import CompletedFace, Completer
from ostec.pipeline.group import GroupMember, PhotoBytes, complete_group

_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of Rec. 709, on the values as they are
_STEM = "x"
_SHARED_STAGES = STAGES[: STAGES.index("landmarks")]
"""Every face of a photo reports the time of these."""
_ENDINGS = {".png": "uv.png", ".npz": "mesh.npz"}
"""What follows NAME in the files of ``ostec complete`` -> KEY's ending, where a dot for _ is not enough."""


class FaceMaker:
    """Completes the faces of photos, their projections in one batch."""

    def __init__(self, completer: Completer) -> None:
        self._completer = completer

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Complete them; those of one photo largest first."""
        members = complete_group(self._completer, [PhotoBytes(photo.data, photo.source) for photo in photos])
        return [_made(photo, member) for photo, member in zip(photos, members, strict=True)]


def _made(photo: Photo, member: GroupMember) -> Made:
    """A photo's faces as they go into a shard, and the seconds of its stages."""
    start = time.perf_counter()
    try:
        faces = [_face(face, photo.scratch / str(number)) for number, face in enumerate(member.faces)]
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


def _face(made: CompletedFace, scratch: Path) -> Face:
    make_folder(scratch)
    files = {}
    for path in made.save_data(scratch, _STEM):
        files[_ending(path.relative_to(scratch).as_posix())] = path.read_bytes()
    completed = made.textured.completed
    figures = photo_figures(completed.texture, completed.provenance == Provenance.PHOTO)
    # As it is read back from the shard, so that the manifest can be made again from there.
    record: dict[str, Any] = json.loads(record_bytes({**made.record, "figures": figures}))
    return Face(record, dict(sorted(files.items())))


def _ending(file: str) -> str:
    """``uv.png`` for NAME.png, ``head.glb`` for NAME_head.glb, ``views.left.png`` for NAME_views/left.png."""
    rest = file.removeprefix(_STEM)
    return _ENDINGS.get(rest) or rest.lstrip("_.").replace("/", ".").replace(" ", "_")


def photo_figures(texture: FloatArray, seen: np.ndarray) -> dict[str, float]:
    """Brightness, contrast and sharpness of what a photo gave to a texture; nothing where that is nothing.

    Args:
        texture: [S, S, 3] in [0, 1].
        seen: [S, S], the texels of the photo.

    Returns:
        ``brightness`` and ``contrast``, mean and deviation of the luma; ``sharpness``, the mean length of its gradient
        per texel (between texels of the photo only) over the deviation.
    """
    if not seen.any():
        return {}
    luma = texture @ _LUMA
    mean, deviation = float(luma[seen].mean()), float(luma[seen].std())
    inner = seen[:-1, :-1] & seen[1:, :-1] & seen[:-1, 1:]
    across, down = np.diff(luma, axis=1)[:-1], np.diff(luma, axis=0)[:, :-1]
    figures = {"brightness": round(mean, 4), "contrast": round(deviation, 4)}
    if inner.any() and deviation > 0:
        figures["sharpness"] = round(float(np.hypot(across, down)[inner].mean()) / deviation, 5)
    return figures
