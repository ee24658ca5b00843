"""A maker that does what a photo's text says, and a loop that stands in for Ray.

``text`` is no picture, ``noface`` has no face, ``bug`` brings out a defect, ``memory`` needs too much, ``full`` meets a
full disk, ``faces=3`` has three faces, ``die`` ends the process, ``hang`` does not.
"""

import hashlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ostec.core.errors import BackendError, FaceError, ImageError, OutputError
from ostec.dataset.build import Dataset
from ostec.dataset.plan import Added, DatasetConfig
from ostec.dataset.records import Counts, Executor, Face, Finished, Group, Made, Maker, Photo
from ostec.dataset.worker import Worker


def each(make: Callable[[Photo], list[Face]], photos: Sequence[Photo]) -> list[Made]:
    """What a function makes of photos one by one."""
    made = []
    for photo in photos:
        try:
            made.append(Made(make(photo), {"detect": 0.1, "total": 0.1}, "detect"))
        except Exception as error:  # noqa: BLE001 - as in the lanes of a real maker
            made.append(Made(stage="detect", error=error))
    return made


class ToyMaker:
    def __init__(self, sha256: str = "00" * 32) -> None:
        self.weights = {"toy.safetensors": sha256}

    def __call__(self, photos: Sequence[Photo]) -> list[Made]:
        made = each(self.faces, photos)
        return [self._with(one, photos) for one in made] if len(photos) > 1 else made

    def _with(self, made: Made, photos: Sequence[Photo]) -> Made:
        """Who was done together is in every face, as in the last digits of a real one."""
        digest = hashlib.sha256(b"".join(photo.data for photo in photos)).digest()
        return replace(made, faces=[Face(f.record, {**f.files, "together.bin": digest}) for f in made.faces])

    def faces(self, photo: Photo) -> list[Face]:
        words = photo.data.decode()
        if "text" in words:
            raise ImageError(f"{photo.source} is not a picture\nthat can be read.")
        if "noface" in words:
            raise FaceError("No face was found.")
        if "bug" in words:
            raise KeyError("nose")
        if "memory" in words:
            raise MemoryError
        if "full" in words:
            raise OutputError("x.png cannot be written (No space left on device).")
        if "hang" in words:
            time.sleep(1000)
        if "die" in words:
            os.kill(os.getpid(), signal.SIGKILL)
        count = int(match[1]) if (match := re.search(r"faces=(\d+)", words)) else 1
        digest = hashlib.sha256(photo.data).digest()
        record: dict[str, Any] = {
            "pose_deg": [1.25, digest[0] / 8 - 16, 0.1],
            "face_box": [10.0, 20.0, 74.0, 120.5],
            "face_confidence": 0.9,
            "texel_shares": {"photo": 0.4},
            "figures": {"brightness": 0.3, "contrast": 0.1},
            "mode": "soft",
            "occluders": ["hand"] if "hand" in words else [],
            "warnings": re.findall(r"warn=(.*)", words),
            "weights": self.weights,
        }
        files = {"mesh.npz": digest, "uv.png": digest * (20 + digest[1])}
        return [Face(record, files)] * count


def other_weights() -> ToyMaker:
    return ToyMaker("11" * 32)


def missing_networks() -> ToyMaker:
    raise BackendError("The networks are not on this machine.")


def dying_networks() -> ToyMaker:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def defect() -> ToyMaker:
    raise KeyError("nose")


@dataclass
class Loop:
    """``dataset.worker`` in a loop; with ``draw``, photos are finished in another order."""

    dataset: Dataset
    draw: random.Random | None = None
    limit: int = 10**9
    """Photos after which the power fails."""
    make: Callable[[], Maker] = ToyMaker

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        worker = Worker(self.dataset.store, self.make())
        waiting: list[Group] = []
        for group in groups:
            waiting.append(group)
            if len(waiting) >= (7 if self.draw else 1):
                yield from self._one(worker, waiting)
        while waiting:
            yield from self._one(worker, waiting)

    def _one(self, worker: Worker, waiting: list[Group]) -> Iterator[Finished]:
        group = waiting.pop(self.draw.randrange(len(waiting)) if self.draw else 0)
        steps = worker(group)
        while True:
            if self.limit == 0:
                raise KeyboardInterrupt
            if (finished := next(steps, None)) is None:
                return
            self.limit -= 1
            yield finished


def write_photos(folder: Path, photos: Mapping[str, str]) -> Path:
    for name, words in photos.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(words)
    return folder


def many_photos(folder: Path, count: int) -> Path:
    """Photos of which every tenth fails, every seventh has two faces and two are copies of others."""
    words = {f"{n:03d}.jpg": f"photo {n}" + " noface" * (n % 10 == 3) + " faces=2" * (n % 7 == 0) for n in range(count)}
    words["050.jpg"] = words["004.jpg"]
    words["z.jpg"] = words["000.jpg"]
    return write_photos(folder, words)


def plan(dataset: Dataset, *sources: Path | str, licence: str = "CC0", attributes: str = "") -> Added | None:
    """Plan sources, and what was noted before."""
    if sources:
        dataset.note_sources([str(source) for source in sources], licence, attributes)
    return dataset.plan_noted(lambda _: (), lambda _: None)


def finish(dataset: Dataset, executor: Executor) -> Counts:
    """Have done what is planned, and write the results."""
    counts = dataset.run(executor, lambda *_: None)
    dataset.write_results()
    return counts


def build(
    out: Path,
    *sources: Path | str,
    shard_size: int = 8,
    batch: int = 1,
    draw: random.Random | None = None,
    limit: int = 10**9,
) -> Counts:
    """Plan and build as the command does, in a loop."""
    dataset = Dataset.create(out, DatasetConfig(shard_size=shard_size, batch=batch))
    with dataset.locked():
        plan(dataset, *sources)
        return finish(dataset, Loop(dataset, draw, limit))


def content(out: Path) -> dict[str, bytes]:
    """What must not depend on when and how a dataset was built."""
    files = [out / "manifest.parquet", out / "README.md", out / "licences.json", *sorted((out / "shards").iterdir())]
    files += sorted((out / "failures").iterdir())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in files}
