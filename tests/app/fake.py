"""A completer without networks, which does what a photo's text says; also a command line that uses it.

``python tests/app/fake.py complete ...`` is ``ostec complete ...`` with it. A photo holds words: ``text`` is no
picture, ``noface`` has no face, ``bug`` brings out a defect, ``memory`` needs too much, ``full`` meets a full disk,
``locked`` a file that cannot be replaced, ``faces=3`` has three faces, ``warn=...`` is warned about, ``kill`` ends the
process in the middle of writing, ``term`` and ``int`` send it the signal, ``big`` makes large files, ``wait`` takes a
minute, ``slow`` 0.1 s, ``vanish`` removes the folder.
"""

import errno
import hashlib
import os
import re
import shutil
import signal
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ostec.app.photos.results import HEAD_ENDINGS
from ostec.core.assets import sha256_of_all
from ostec.core.errors import BackendError, FaceError, ImageError, OutputError
from ostec.core.settings import to_json
from ostec.export.record import read_record, write_record
from ostec.io.files import write_atomic
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class FakeFace:
    photo: Path
    words: str
    settings: CompleteSettings
    record: dict[str, Any]
    seconds: dict[str, float]

    def save(self, directory: str | Path, name: str | None = None) -> Path:
        directory, name = Path(directory), name or self.photo.stem
        endings = [".png", ".obj", ".mtl", ".glb", "_provenance.png", ".npz", ".html", "_thumbnail.webp"]
        endings += ["_frontal.png"] if self.settings.frontalize else []
        endings += ["_turntable.webp"] if self.settings.turntable else []
        endings += HEAD_ENDINGS if self.settings.face_model == "ict" else []
        for ending in endings:
            if "kill" in self.words and ending == ".glb":
                (directory / f".ostec-{'0' * 8}-1-{'0' * 8}.part").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if "full" in self.words and ending == ".glb":
                try:
                    raise OSError(errno.ENOSPC, "No space left on device")
                except OSError as error:
                    raise OutputError(f"{name}.glb cannot be written (No space left on device).") from error
            if "locked" in self.words and ending == ".glb":
                raise OutputError(f"{name}.glb cannot be written (Permission denied).")
            write_atomic(
                directory / (name + ending), f"{ending} of {self.words}".encode() + bytes(2**21 * ("big" in self.words))
            )
        files = sorted(name + ending for ending in [*endings, ".json"])
        path = write_record(directory, name, {**self.record, "files": files})
        if "vanish" in self.words:
            shutil.rmtree(directory)
        return path


@dataclass(frozen=True)
class PhotoOutcome:
    """As in ``ostec.pipeline.completer``."""

    faces: Sequence[FakeFace] = ()
    error: Exception | None = None
    stage: str = "read"
    seconds: float = 0.0


class FakeCompleter:
    device = "cpu"

    def __init__(self, settings: CompleteSettings) -> None:
        self.settings = settings
        self.calls: list[str] = []

    @classmethod
    def from_pretrained(cls, settings: CompleteSettings | None = None, device: str = "auto") -> "FakeCompleter":
        if device == "cuda":
            raise BackendError("CUDA is not available on this machine.")
        return cls(settings or CompleteSettings())

    def complete_many(
        self, photos: Sequence[Path], progress: Callable[[str, float], None] | None = None
    ) -> list[PhotoOutcome]:
        if len(photos) > 1:
            self._called(f"together {len(photos)}")
        return [self._outcome(photo, progress) for photo in photos]

    def fuse(
        self,
        photos: Sequence[Path],
        progress: Callable[[str, float], None] | None = None,
        reference: str | None = None,
    ) -> FakeFace:
        self._called(f"fuse {' '.join(photo.name for photo in photos)} {reference or ''}".rstrip())
        (face,) = self._complete(photos[0], progress or (lambda _, __: None))
        digest = sha256_of_all(hashlib.sha256(photo.read_bytes()).hexdigest() for photo in photos)
        return replace(face, record={**face.record, "source_sha256": digest})

    def _outcome(self, photo: Path, progress: Callable[[str, float], None] | None) -> PhotoOutcome:
        stages = ["read"]

        def report(stage: str, fraction: float) -> None:
            stages.append(stage)
            if progress is not None:
                progress(stage, fraction)

        try:
            return PhotoOutcome(self._complete(photo, report))
        except Exception as error:  # noqa: BLE001 - as the real one does
            return PhotoOutcome(error=error, stage=stages[-1])

    def _complete(self, photo: Path, progress: Callable[[str, float], None]) -> list[FakeFace]:
        self._called(f"complete {photo.name}")
        try:
            content = photo.read_bytes()
        except OSError as error:
            raise ImageError(f"{photo} does not exist.") from error
        words = content.decode()
        progress("read", 0.0)
        if "text" in words:
            raise ImageError(f"{photo.name} is not a picture that can be read.")
        progress("detect", 0.1)
        if "noface" in words:
            raise FaceError("No face was found.")
        if "bug" in words:
            raise KeyError("nose")
        if "memory" in words:
            raise MemoryError
        for word, number in (("term", signal.SIGTERM), ("int", signal.SIGINT)):
            if word in words:
                os.kill(os.getpid(), number)
        if "wait" in words:
            time.sleep(60.0)
        if "slow" in words:
            time.sleep(0.1)
        count = int(match[1]) if (match := re.search(r"faces=(\d+)", words)) else 1
        record = {
            "source": photo.name,
            "source_sha256": hashlib.sha256(content).hexdigest(),
            "settings": to_json(self.settings),
            "warnings": re.findall(r"warn=(.*)", words),
        }
        faces = [FakeFace(photo, words, self.settings, record, {"detect": 0.1}) for _ in range(count)]
        return faces if self.settings.faces == "all" else faces[:1]

    def extend(self, directory: Path, name: str, photo: Path, frontalize: bool, turntable: bool) -> Path:
        assert photo.is_file()
        self._called(f"extend {name} {frontalize:d} {turntable:d}")
        record = read_record(directory / f"{name}.json")
        assert record is not None
        added = [f"{name}_frontal.png"] * frontalize + [f"{name}_turntable.webp"] * turntable
        for file in added:
            write_atomic(directory / file, b"added")
        return write_record(directory, name, {**record, "files": sorted([*record["files"], *added])})

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if "OSTEC_FAKE_CALLS" in os.environ:
            with Path(os.environ["OSTEC_FAKE_CALLS"]).open("a") as stream:
                stream.write(what + "\n")


class FakeFitter(FakeCompleter):
    def _complete(self, photo: Path, progress: Callable[[str, float], None]) -> list[FakeFace]:
        return [replace(face, record={**face.record, "fit": {}}) for face in super()._complete(photo, progress)]


def pipeline() -> types.ModuleType:
    """A module to stand in for ``ostec.pipeline``."""
    module = types.ModuleType("ostec.pipeline")
    module.Completer = FakeCompleter  # type: ignore[attr-defined]
    module.FaceFitter = FakeFitter  # type: ignore[attr-defined]
    return module


if __name__ == "__main__":
    sys.modules["ostec.pipeline"] = pipeline()
    from ostec.app.cli import main

    sys.exit(main())
