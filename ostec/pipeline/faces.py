"""From a photo to a fitted face: what completing and inverting begin with."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from ostec.core.assets import sha256_of
from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun
from ostec.core.types import FaceBox, FittedFace, FloatArray
from ostec.detect.landmarks import detect_landmarks
from ostec.fit.dense import fit_dense
from ostec.io.images import decode_image, read_image
from ostec.pipeline.models import Models

MIN_CONFIDENCE = 0.5
"""FaceMesh's probability below which a detected box is taken for no face."""
MAX_YAW_DEG = 62.0
"""Fitted yaw beyond which the face counts as a full profile. FaceMesh turns too little: a head drawn at 45, 60, 70, 80
and 90 degrees is fitted at 38, 51, 58, 64 and 64."""
SMALL_FACE_PX = 80.0
"""A detected face with a smaller side is done with a warning."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class ReadPhoto:
    """A photo and what its record says of where it came from."""

    image: FloatArray
    """[H, W, 3] in [0, 1]."""
    source: dict[str, str]
    """``source`` and ``source_sha256``."""


@dataclass(frozen=True)
class FoundFace:
    """One face of a photo."""

    box: FaceBox
    confidence: float
    """FaceMesh's, 0 to 1."""
    face: FittedFace


@dataclass
class Tried(Generic[_T]):
    """The faces of a photo, tried in order until as many are done as are wanted.

    A false detection can be larger than the face: the next one is tried then.
    """

    boxes: Sequence[FaceBox]
    wanted: int
    results: list[_T] = field(default_factory=list)
    errors: list[FaceError] = field(default_factory=list)
    """Of those that could not be done."""

    def __iter__(self) -> Iterator[FaceBox]:
        """The faces that are still to be tried."""
        for box in self.boxes:
            if len(self.results) >= self.wanted:
                return
            yield box

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Try one: what cannot be done is noted."""
        try:
            yield
        except FaceError as error:
            self.errors.append(error)


def read_photo(photo: str | Path | FloatArray | ReadPhoto) -> ReadPhoto:
    """Read a photo, or take it as it is if it is an array or was read before.

    Raises:
        ImageError: the file cannot be read.
        ValueError: the array is no float32 picture [H, W, 3].
    """
    if isinstance(photo, ReadPhoto):
        return photo
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.float32:
            raise ValueError(f"expected a float32 image [H, W, 3], got {photo.dtype} {photo.shape}")
        digest = hashlib.sha256(np.ascontiguousarray(photo).tobytes()).hexdigest()
        return ReadPhoto(photo, {"source": "array", "source_sha256": digest})
    path = Path(photo)
    return ReadPhoto(read_image(path), {"source": path.name, "source_sha256": sha256_of(path)})


def decode_photo(data: bytes, name: str) -> ReadPhoto:
    """Decode a photo's bytes; the record calls it ``name``.

    Raises:
        ImageError: they cannot be decoded.
    """
    return ReadPhoto(decode_image(data, name), {"source": name, "source_sha256": hashlib.sha256(data).hexdigest()})


def find_face(image: FloatArray, box: FaceBox, models: Models, run: PhotoRun) -> FoundFace:
    """Fit the mesh to what was detected; the stages landmarks and fit.

    Raises:
        FaceError: it is no face, or seen nearly from the side.
    """
    run.enter("landmarks")
    landmarks = detect_landmarks(image, box, models.facemesh)
    if landmarks.confidence < MIN_CONFIDENCE:
        raise FaceError(f"What was detected does not look like a face (confidence {landmarks.confidence:.2f}).")
    run.enter("fit")
    face = fit_dense(landmarks, models.topology)
    yaw = face.pose_deg[1]
    if abs(yaw) > MAX_YAW_DEG:
        raise FaceError(
            f"The face is nearly in profile (yaw {abs(yaw):.0f} degrees; at most {MAX_YAW_DEG:.0f} can be used)."
        )
    return FoundFace(box, landmarks.confidence, face)
