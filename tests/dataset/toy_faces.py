"""A made dataset whose faces can be read back: small textures, palettes and latents that follow from the photo's text.

``attributes={"Age": 30}``, ``yaw=20``, ``confidence=0.5``, ``nolatents``, ``soft`` (the latent of the front view is
where ``--frontalize --save-views`` puts it, and with ``nofrontal`` nowhere) and ``same=7`` (the texture of another
photo, with a little noise) do what they say.
"""

import hashlib
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ostec.core.types import FloatArray
from ostec.dataset.build import Dataset
from ostec.dataset.plan import DatasetConfig
from ostec.dataset.records import Face, Finished, Group, Made, Photo
from ostec.dataset.worker import Worker
from ostec.io.images import encode_png, write_palette_png
from tests.dataset.toy import ToyMaker, each, finish, plan

SIDE = 64


def texture_of(words: str, face: int = 0) -> FloatArray:
    """Smooth colours that differ from text to text."""
    seed = int(match[1]) if (match := re.search(r"same=(\d+)", words)) else _number(words)
    draw = np.random.default_rng([seed, face])
    coarse = draw.random((4, 4, 3)).astype(np.float32)
    image = np.kron(coarse, np.ones((SIDE // 4, SIDE // 4, 1), np.float32))
    noise = np.random.default_rng(_number(words)).normal(0, 0.002, image.shape).astype(np.float32)
    return np.clip(image + noise, 0, 1).astype(np.float32)


def latents_of(words: str) -> dict[str, FloatArray]:
    draw = np.random.default_rng(_number(words))
    return {view: draw.normal(size=(6, 8)).astype(np.float32) for view in ("front", "left", "right")}


def provenance_of(face: int = 0) -> np.ndarray:
    origin = np.zeros((SIDE, SIDE), np.uint8)
    origin[8:56, 8:56] = 4
    origin[8:32, 8 : 56 - face] = 1
    return origin


def _number(words: str) -> int:
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")


class FacesMaker:
    """Like ``ToyMaker``, with files that can be read."""

    weights = ToyMaker().weights

    def __call__(self, photos: Sequence[Photo]) -> list[Made]:
        return each(self._faces, photos)

    def _faces(self, photo: Photo) -> list[Face]:
        words = photo.data.decode()
        faces = enumerate(ToyMaker().faces(photo))
        return [self._face(face.record, photo, words, number) for number, face in faces]

    def _face(self, record: dict, photo: Photo, words: str, number: int) -> Face:
        record = {**record, "kind": "ostec complete"}
        if match := re.search(r"attributes=(\{.*?\})", words):
            record["attributes"] = json.loads(match[1])
        if match := re.search(r"yaw=(-?\d+)", words):
            record["pose_deg"] = [0.0, float(match[1]), 0.0]
        if match := re.search(r"confidence=([\d.]+)", words):
            record["face_confidence"] = float(match[1])
        latents = {} if "nolatents" in words else latents_of(words)
        arrays = {f"w_{view}": w for view, w in latents.items() if view != "front" or "soft" not in words}
        packed = io.BytesIO()
        np.savez(packed, vertices=np.zeros((5, 3), np.float32), **arrays)
        photo.scratch.mkdir(parents=True, exist_ok=True)
        path = photo.scratch / "p.png"
        write_palette_png(path, provenance_of(number), np.arange(33, dtype=np.uint8).reshape(11, 3))
        frontal = io.BytesIO()
        portrait = "soft" in words and "nofrontal" not in words
        if portrait:
            np.savez(frontal, w=latents["front"])
        files = {
            **({"views.frontal.npz": frontal.getvalue()} if portrait else {}),
            "mesh.npz": packed.getvalue(),
            "provenance.png": path.read_bytes(),
            "uv.png": encode_png(texture_of(words, number)),
        }
        return Face(record, files)


class FacesLoop:
    """``dataset.worker`` in a loop."""

    def __init__(self, dataset: Dataset) -> None:
        self._store = dataset.store

    def run(self, groups: Iterable[Group]) -> Iterator[Finished]:
        yield from itertools.chain.from_iterable(map(Worker(self._store, FacesMaker()), groups))


def build_faces(out: Path, photos: Path, shard_size: int = 4, licence: str = "CC0") -> Path:
    """A finished dataset of those photos."""
    dataset = Dataset.create(out, DatasetConfig(shard_size=shard_size))
    with dataset.locked():
        plan(dataset, photos, licence=licence)
        finish(dataset, FacesLoop(dataset))
    return out
