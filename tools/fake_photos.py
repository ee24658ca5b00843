"""Photos that are none, and a maker of faces out of their bytes: for measuring and testing `ostec dataset`."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ostec.core.errors import FaceError, ImageError
from ostec.dataset.records import Face, Made, Photo


def write_photos(folder: Path, count: int, corrupt_percent: int = 5) -> None:
    """Write ``count`` files, a thousand to a folder; the same for the same numbers."""
    for number in range(count):
        place = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        if number % 1000 == 0:
            place.parent.mkdir(parents=True, exist_ok=True)
        corrupt = hashlib.sha256(f"corrupt {number}".encode()).digest()[0] < corrupt_percent * 256 / 100
        place.write_bytes(f"{'corrupt' if corrupt else 'photo'} {number}".encode())


@dataclass(frozen=True)
class FakeMaker:
    """Makes one to three faces of a photo, of a few kilobytes each, out of its hash; photos that are corrupt fail."""

    seconds: float
    """What a photo takes."""

    @property
    def weights(self) -> dict[str, str]:
        """As in the records."""
        return {"fake": "00" * 32}

    def __call__(self, photos: Sequence[Photo]) -> Sequence[Made]:
        """Make them."""
        return [self._make(photo) for photo in photos]

    def _make(self, photo: Photo) -> Made:
        if photo.data.startswith(b"corrupt"):
            return Made(stage="read", error=ImageError(f"{photo.source} is damaged and cannot be read."))
        if self.seconds:
            time.sleep(self.seconds)
        digest = hashlib.sha256(photo.data).digest()
        if digest[0] < 5:
            return Made(stage="project", error=FaceError("No face was found in the photo."))
        faces = []
        for number in range(1 + digest[1] % 3):
            files = {"mesh.npz": digest * (8 + number), "uv.png": digest[::-1] * (64 + digest[2])}
            pose = [round(value / 8 - 16, 2) for value in digest[3:6]]
            record = {"pose_deg": pose, "face_box": [0.0, 0.0, 64.0, float(digest[6])], "mode": "soft"}
            faces.append(Face({**record, "weights": self.weights}, files))
        return Made(faces, {"project": self.seconds, "total": self.seconds})


@dataclass(frozen=True)
class LoadFakeMaker:
    """Travels to the workers."""

    seconds: float = 0.0

    def __call__(self) -> FakeMaker:
        """Load."""
        return FakeMaker(self.seconds)
