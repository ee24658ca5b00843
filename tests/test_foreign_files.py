"""Folders of somebody else's: a pipe, a device or a link to itself in the place of any file is not waited for."""

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from ostec.app.checks import read_toml
from ostec.app.photos.results import is_foreign, listed_files
from ostec.app.photos.sources import assign_names, find_photos
from ostec.core.assets import pin_of, read_pin, sha256_of
from ostec.core.errors import OstecError
from ostec.core.plain import open_plain, read_json, read_plain
from ostec.dataset.attributes import beside_file, read_table
from ostec.dataset.manifest import read_manifest
from ostec.dataset.records import Place
from ostec.dataset.sources import PhotoReader, Search
from ostec.eval.jobs import PARTS, Jobs
from ostec.eval.report.record import read_evaluation
from ostec.export.mesh import read_npz as read_face
from ostec.export.page import update_page
from ostec.export.record import read_failures, read_record
from ostec.io.arrays import read_npy, read_npz, read_texts
from ostec.io.cache import read_cache, why_stale
from ostec.io.images import is_image_file, read_image, read_palette_png
from ostec.io.locks import is_held
from ostec.io.obj import read_obj, read_vertices
from ostec.io.photos import is_photo
from ostec.io.pickles import read_npy_object, read_objects
from ostec.io.shards import read_members
from ostec.io.weights import is_safetensors, read_safetensors, read_state
from ostec.load.generators import read_card, read_generator
from ostec.load.morphable.files import read_mat
from ostec.load.topology import read_topology

Make = Callable[[Path], None]
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "photo": ("a.jpg", read_image),
    "whether it is a photo": ("a", is_image_file),
    "palette": ("a.png", read_palette_png),
    "arrays": ("a.npz", read_npz),
    "texts": ("a.npz", lambda path: read_texts(path, "a")),
    "array": ("a.npy", read_npy),
    "cache": ("a.npz", lambda path: why_stale(path, {}) not in ("is damaged", "is not there yet")),
    "cached": ("a.npz", read_cache),
    "face": ("a.npz", read_face),
    "topology": ("a.npz", read_topology),
    "safetensors": ("a.safetensors", read_safetensors),
    "whether it is safetensors": ("a", is_safetensors),
    "pickle": ("a.pkl", read_objects),
    "object": ("a.npy", read_npy_object),
    "state": ("a.pt", read_state),
    "generator": ("a.pkl", read_generator),
    "card": ("a.json", lambda path: read_card(path.with_suffix(".safetensors"))),
    "MATLAB": ("a.mat", lambda path: read_mat(path, ("a",))),
    "OBJ": ("a.obj", read_obj),
    "vertices": ("a.obj", read_vertices),
    "hash": ("a", sha256_of),
    "pin": (pin_of(Path("a")).name, lambda path: read_pin(path.with_name("a"))),
    "lock": (".a.lock", lambda path: is_held(path.with_name("a"))),
    "settings": ("a.toml", lambda path: read_toml(path, "--config")),
    "record": ("a.json", read_record),
    "whether it is foreign": ("a.json", is_foreign),
    "records of a folder": ("a.json", lambda path: listed_files(path.parent)),
    "mark": (".a.ostec-pending", lambda path: listed_files(path.parent)),
    "failures": ("failures.jsonl", lambda path: read_failures(path.parent)),
    "page": ("a.html", lambda path: update_page(path.parent, "a", None, {})),
    "evaluation": ("eval.json", read_evaluation),
    "part of an evaluation": ("a.json", lambda path: Jobs(("a",), path.parent.parent, "").found("a")),
    "shard": ("a.tar", lambda path: list(read_members(path))),
    "manifest": ("a.parquet", lambda path: list(read_manifest(path))),
    "beside a photo": ("a.json", lambda path: beside_file(path.with_suffix(".jpg"))),
    "photo of a dataset": ("a.jpg", lambda path: PhotoReader()(Place(str(path)))),
    "cell of a dataset": ("a.parquet", lambda path: PhotoReader()(Place(str(path), group=0, row=0, column="image"))),
    **{
        f"table{ending}": (f"a{ending}", lambda path: read_table(path, Counter()))
        for ending in (".csv", ".json", ".jsonl", ".parquet")
    },
    **{
        f"source{ending}": (
            f"a{ending}",
            lambda path: list(Search(lambda _: (), path.parent / "out", beside=True).find([str(path.parent)])),
        )
        for ending in (".jpg", ".tar", ".parquet", ".txt", ".json", "")
    },
}


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _itself(path: Path) -> None:
    path.symlink_to(path.name)


@contextlib.contextmanager
def soon() -> Iterator[None]:
    """Half a minute, on a busy machine; who waits for a pipe waits for ever."""

    def end(number: int, frame: FrameType | None) -> None:
        raise TimeoutError("it is waited for")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(30)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("make", [os.mkfifo, _zero, _itself], ids=["pipe", "device", "link to itself"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path, reader: str, make: Make) -> None:
    name, read = READERS[reader]
    folder = tmp_path / (PARTS if reader.startswith("part") else "in")
    folder.mkdir()
    make(folder / name)
    with soon(), contextlib.suppress(OstecError):
        assert not read(folder / name)


def test_plain_files_alone_are_opened_and_read_within_bounds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "link", "."):
        with pytest.raises(OSError, match="is no plain file"):
            open_plain(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "none")
    (tmp_path / "a").write_bytes(b"[1]")
    with open_plain(tmp_path / "a") as stream:
        assert stream.read() == b"[1]"
    assert read_plain(tmp_path / "a", 3) == b"[1]"
    with pytest.raises(OSError, match="it has 3 bytes, more than 2"):
        read_plain(tmp_path / "a", 2)
    assert read_json(tmp_path / "a") == [1]
    for text in ("[" * 10**6, "{", "\xff"):
        (tmp_path / "a").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=r".+"):
            read_json(tmp_path / "a")


def test_a_link_to_itself_is_no_photo_and_one_to_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    assert [is_photo(tmp_path / name) for name in ("loop.jpg", "gone.jpg", "none.jpg")] == [False, True, False]
    assert find_photos([str(tmp_path)]) == [tmp_path / "gone.jpg"]


def test_names_do_not_turn_the_writing_direction() -> None:
    (photo,) = assign_names([Path("in/a\u202egpj.exe\u2066.jpg")])
    assert photo.name == "a_gpj.exe_"


def test_one_file_name_in_many_folders_takes_no_time() -> None:
    with soon():
        photos = assign_names([Path(f"{number}/photo.jpg") for number in range(20_000)])
    assert [photo.name for photo in photos[:4]] == ["photo", "photo_jpg", "photo_2", "photo_3"]
    assert photos[-1].name == "photo_19999"
