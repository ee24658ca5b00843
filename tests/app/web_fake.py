"""Stand-ins for networks, for tests of the page: a completer that does what a photo's text says.

``python -m tests.app.web_fake`` is ``ostec app`` with it.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostec.app.web.jobs import Job
from ostec.app.web.work import Loaded
from ostec.core.errors import FaceError, ImageError
from ostec.core.progress import Progress
from ostec.core.types import FaceBox
from ostec.io.images import write_png
from ostec.pipeline.settings import CompleteSettings


@dataclass(frozen=True)
class FakeFace:
    words: str
    face: int

    def save(self, folder: Path, name: str) -> None:
        (folder / f"{name}.html").write_text(f"<!DOCTYPE html><title>{name}</title><h1>{self.words}</h1>")
        (folder / f"{name}.npz").write_bytes(b"")
        write_png(folder / f"{name}.png", np.zeros((8, 8, 3), np.float32))
        record = {"kind": "result", "source": name, "face": self.face, "files": [f"{name}.png", f"{name}.json"]}
        (folder / f"{name}.json").write_text(json.dumps(record))


@dataclass
class FakeCompleter:
    settings: CompleteSettings

    def __call__(self, photo: Path, progress: Progress, face: int = 1) -> FakeFace:
        words = photo.read_bytes().decode("latin-1")
        progress("detect", 0.1)
        if "noface" in words:
            raise FaceError("No face was found.")
        if "text" in words:
            raise ImageError(f"{photo} is no picture.")
        progress("project", 0.2)
        end = time.monotonic() + (60 if "wait" in words else 0)
        while time.monotonic() < end:
            np.linalg.norm(np.ones(1000))
        return FakeFace(words, face)

    def fuse(self, photos: Sequence[Path], progress: Progress) -> FakeFace:
        return self(photos[0], progress)

    @property
    def observer(self) -> "FakeCompleter":
        return self

    def open(self, photo: Path, run: Any) -> tuple[None, list[FaceBox]]:
        points = np.zeros((5, 2), np.float32)
        boxes = [np.array([10 * k, 0, 10 * k + 8, 8], np.float32) for k in range(2)]
        return None, [FaceBox(box, 1.0, points) for box in boxes]


class FakeLoaded(Loaded):
    """Nothing is loaded."""

    def __init__(self, device: Any = "cpu") -> None:
        super().__init__(device)

    def completer(self, settings: CompleteSettings) -> Any:
        return FakeCompleter(settings)

    def any(self) -> Any:
        return FakeCompleter(CompleteSettings())


def fetch(name: str, job: Job) -> str:
    """Nothing is fetched."""
    job.progress("fetch", 0.5)
    return f"{name} was fetched."


if __name__ == "__main__":
    import sys

    from ostec.app.cli import main
    from ostec.app.web import server, work

    server.Loaded = FakeLoaded  # type: ignore[misc]
    work.fetch_model = fetch
    sys.exit(main(["app", "--port", "0", "--no-browser"]))
