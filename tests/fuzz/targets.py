"""The readers of somebody else's files, each with small files that it reads, made on the spot."""

import json
import pickle
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from scipy.io import savemat

from ostec.app.checks import read_toml
from ostec.app.photos.results import listed_files
from ostec.core.assets import pin_of, read_pin
from ostec.core.record import RESULT_KINDS
from ostec.dataset.attributes import read_table
from ostec.dataset.manifest import COLUMNS, read_manifest, schema_of
from ostec.dataset.plan import DatasetConfig, read_builds, read_config, write_config
from ostec.dataset.sources import PhotoReader, Search
from ostec.eval.report.record import read_evaluation
from ostec.export.mesh import read_npz as read_face
from ostec.export.record import read_failures, read_record
from ostec.io.arrays import read_npy, read_npz
from ostec.io.cache import read_cache, why_stale, write_cache
from ostec.io.images import read_image
from ostec.io.obj import read_obj
from ostec.io.pickles import read_npy_object, read_objects
from ostec.io.shards import TRAILER, pack_members, read_member, read_members
from ostec.io.weights import encode_safetensors, load_joblib_lz4, read_state
from ostec.load.generators import read_generator
from ostec.load.morphable.files import read_mat
from ostec.load.topology import read_topology
from ostec.pipeline.generation import read_latents


@dataclass(frozen=True)
class Target:
    """A reader, what its file is called, and files that it reads."""

    file: str
    read: Callable[[Path], Any]
    seeds: Callable[[Path], list[bytes]]
    """Made in a folder that is empty."""


def _written(*writers: Callable[[Path], object]) -> Callable[[Path], list[bytes]]:
    def seeds(folder: Path) -> list[bytes]:
        found = []
        for write in writers:
            path = folder / "seed"
            write(path)
            found.append(path.read_bytes())
            path.unlink()
        return found

    return seeds


def _texts(*texts: str) -> Callable[[Path], list[bytes]]:
    return lambda _: [text.encode() for text in texts]


def _picture(kind: str, mode: str = "RGB", **options: Any) -> Callable[[Path], object]:
    pixels = np.random.default_rng(0).integers(0, 255, (9, 14, 3), np.uint8)
    return lambda path: Image.fromarray(pixels).convert(mode).save(path, kind, **options)


def _pickled(protocol: int) -> Callable[[Path], object]:
    held = {"a": [1, 2.5, None, (True, b"x")], ("k", 1): np.arange(6.0).reshape(2, 3), "s": {1, 2}, 7: "text"}
    return lambda path: path.write_bytes(pickle.dumps(held, protocol))


def _torch(zipped: bool) -> Callable[[Path], object]:
    held = {"state_dict": {"w": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}, "step": 3}
    return lambda path: torch.save(held, path, _use_new_zipfile_serialization=zipped)


def _arrays(save: Callable[..., object], **arrays: Any) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            save(stream, **arrays)

    return write


def _parquet(compression: str) -> Callable[[Path], object]:
    cells = [{"bytes": bytes([n]) * 40, "path": f"{n}.jpg"} for n in range(6)]
    table = pa.table({"image": cells, "file": [f"é{n}" for n in range(6)], "age": [1, 2, None, 4, 5, 6]})
    return lambda path: pq.write_table(table, path, compression=compression, row_group_size=3)


def _manifest(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([dict.fromkeys(COLUMNS)] * 5, schema=schema_of()), path, row_group_size=3)


def _tar(path: Path) -> None:
    path.write_bytes(pack_members([("a.jpg", b"x" * 600), ("a.json", b'{"age": 1}'), ("b.png", b"y")]) + TRAILER)


def _search(path: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        for found in Search(lambda _: (), Path(out), beside=True).find([str(path)]):
            if not found.error and found.place.column:
                PhotoReader()(found.place)


def _table(path: Path) -> None:
    read_table(path, Counter())


KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "TGA", "JPEG2000", "AVIF")
TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"
FACE = {
    "vertices": np.zeros((4, 3), np.float32),
    "triangles": np.array([[0, 1, 2]], np.int32),
    "uv": np.zeros((4, 2), np.float32),
    "triangles_uv": np.array([[0, 1, 2]], np.int32),
    "landmarks": np.zeros((4, 3), np.float32),
    "camera_matrix": np.eye(3, 4),
    "pose_deg": np.zeros(3),
    "w_front": np.zeros((2, 3), np.float32),
}
RECORD = json.dumps(
    {
        "kind": RESULT_KINDS[0],
        "source": "a.jpg",
        "files": ["a.png", "a.json"],
        "warnings": ["dark"],
        "pose_deg": [1.0, 2, -3],
        "faces": {"index": 1, "count": 2},
        "settings": {"iterations": 5},
        "weights": {"a": "0"},
    }
)
OBJ = (
    "# a\nv 0 0 0 1 1 1\nv 1e3 0 -0.5\nv 0 1 0\nv 1 1 0\nvt 0 0\nvt 1 0\nvt 0 1\nusemtl x\nf 1/1 2/2 3/3\nf -1 -2 -3\n"
)
SAVED = (np.savez, np.savez_compressed)

TARGETS = {
    "photo": Target(
        "a.jpg",
        lambda path: read_image(path, 1.0, 0.0001) is read_image(path, 1.0),
        _written(
            *map(_picture, KINDS),
            _picture("PNG", "RGBA"),
            _picture("PNG", "P"),
            _picture("PNG", "I;16"),
            _picture("TIFF", "F"),
            _picture("TIFF", "CMYK", compression="tiff_lzw"),
            _picture("JPEG", "L", progressive=True, exif=TURNED),
        ),
    ),
    "pickle": Target("a.pkl", read_objects, _written(*map(_pickled, range(6)), _torch(True), _torch(False))),
    "generator": Target("a.pkl", read_generator, _written(*map(_pickled, (2, 4)), _torch(True))),
    "object": Target(
        "a.npy",
        read_npy_object,
        _written(lambda path: np.save(path.open("wb"), np.array({"a": np.arange(3)}), allow_pickle=True)),
    ),
    "state": Target(
        "a.safetensors",
        read_state,
        _written(lambda path: path.write_bytes(encode_safetensors({"w": torch.arange(6.0), "b": torch.ones(2, 3)}))),
    ),
    "joblib": Target(
        "a.lz4",
        lambda path: load_joblib_lz4(path.read_bytes(), "a", 1 << 20),
        _written(lambda path: joblib.dump([np.arange(5.0), np.ones((2, 3), np.float32)], path, ("lz4", 1))),
    ),
    "arrays": Target("a.npz", read_npz, _written(*(_arrays(save, a=np.arange(50.0), b=np.eye(3)) for save in SAVED))),
    "array": Target("a.npy", read_npy, _written(_arrays(lambda stream, a: np.save(stream, a), a=np.arange(9)))),
    "face": Target("a.npz", read_face, _written(*(_arrays(save, **FACE) for save in SAVED))),
    "topology": Target("a.npz", read_topology, _written(*(_arrays(save, **FACE) for save in SAVED))),
    "latents": Target("a.npz", read_latents, _written(*(_arrays(save, w=np.zeros((2, 3, 4))) for save in SAVED))),
    "cache": Target(
        "a.npz",
        lambda path: why_stale(path, {"a": "b"}) or read_cache(path),
        _written(lambda path: write_cache(path, {"a": "b"}, {"x": np.arange(9), "names": np.array(["ä", "b"])})),
    ),
    "MATLAB": Target(
        "a.mat",
        lambda path: read_mat(path, ("a", "b")),
        _written(
            *(
                lambda path, of=of: savemat(path, {"a": np.eye(3), "b": np.arange(4)}, appendmat=False, **of)
                for of in ({"format": "4"}, {}, {"do_compression": True})
            )
        ),
    ),
    "OBJ": Target("a.obj", read_obj, _texts(OBJ)),
    "record": Target("a.json", lambda path: (read_record(path), listed_files(path.parent)), _texts(RECORD)),
    "failures": Target(
        "failures.jsonl",
        lambda path: read_failures(path.parent),
        _texts('{"file": "a", "stage": "b", "reason": "c"}\n'),
    ),
    "evaluation": Target("eval.json", read_evaluation, _texts('{"version": 1, "rows": [{"figures": {"a": 1.5}}]}')),
    "settings": Target("a.toml", lambda path: read_toml(path, "--config"), _texts('a = 1\n[b]\nc = ["x", 2.5]\n')),
    "pin": Target(
        pin_of(Path("a")).name,
        lambda path: read_pin(path.with_name("a")),
        _texts(json.dumps({"size": 3, "sha256": "0" * 64, "url": "https://example.org"})),
    ),
    "Parquet": Target("a.parquet", _search, _written(*map(_parquet, ("none", "zstd", "snappy")))),
    "manifest": Target("a.parquet", lambda path: list(read_manifest(path)), _written(_manifest)),
    "config": Target(
        "config.json",
        lambda path: read_config(path.parent),
        lambda folder: [(write_config(folder, DatasetConfig()), (folder / "config.json").read_bytes())[1]],
    ),
    "builds": Target("builds.json", read_builds, _texts('[{"first_shard": 0, "shards": 1, "photos": 2, "copies": 0}]')),
    "tar": Target("a.tar", _search, _written(_tar)),
    "shard": Target("a.tar", lambda path: [read_member(path, member) for member in read_members(path)], _written(_tar)),
    "table.csv": Target("a.csv", _table, _texts("file,age\na.jpg,1\nb.jpg,true\n")),
    "table.json": Target("a.json", _table, _texts('{"a": {"x": 1}, "b": {"x": "y"}}')),
    "table.jsonl": Target("a.jsonl", _table, _texts('{"id": "a", "x": 1.5}\n{"id": 2}\n')),
    "table.parquet": Target("a.parquet", _table, _written(*map(_parquet, ("none", "zstd")))),
    "list": Target("a.txt", _search, _texts("# list\na.jpg\n../b.png\nc*.tar\n")),
}
