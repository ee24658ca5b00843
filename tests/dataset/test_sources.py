"""What is taken for a photo, in which order, and that no archive reaches beyond itself."""

import io
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ostec.core.errors import ImageError, UsageError
from ostec.dataset.reader import PhotoReader
from ostec.dataset.records import Place
from ostec.dataset.sources import find_candidates, image_column
from tests.dataset.test_build import rows_of
from tests.dataset.toy import build, write_photos


def found(tmp_path: Path, *sources: Path | str, leave_out=lambda _: ()) -> list:
    return list(find_candidates([str(s) for s in sources], leave_out, tmp_path / "ds"))


def read(candidates) -> list[tuple[str, bytes]]:
    reader = PhotoReader()
    return [(c.source, reader(c.place)) for c in candidates]


def make_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"b/1.jpg": "1", "a.png": "2", "b/0.jpg": "3", ".h.jpg": "4", "n.txt": "5"})
    assert read(found(tmp_path, photos)) == [("a.png", b"2"), ("b/0.jpg", b"3"), ("b/1.jpg", b"1")]
    assert read(found(tmp_path, f"{tmp_path}/in/*")) == [("a.png", b"2"), ("b/0.jpg", b"3"), ("b/1.jpg", b"1")]


def test_results_and_the_dataset_itself_are_left_out(tmp_path: Path) -> None:
    write_photos(tmp_path, {"a.jpg": "1", "a_frontal.png": "2", "ds/failures/x.jpg": "3"})
    taken = found(tmp_path, tmp_path, leave_out=lambda _: {"a_frontal.png"})
    assert [c.source for c in taken] == ["a.jpg"]


def test_a_list_names_paths_below_its_folder(tmp_path: Path) -> None:
    write_photos(tmp_path / "in", {"a.jpg": "1", "b c.jpg": "2", "d/e.jpg": "3"})
    (tmp_path / "in/list.txt").write_text("# mine\n\nb c.jpg\r\nd/*.jpg\nmissing.jpg\n" + str(tmp_path / "in/a.jpg\n"))
    taken = found(tmp_path, tmp_path / "in/list.txt")
    assert [c.source for c in taken] == ["b c.jpg", "d/e.jpg", "missing.jpg", "a.jpg"]
    assert taken[2].error.startswith("There is no file or folder")
    counts = build(tmp_path / "ds", tmp_path / "in/list.txt")
    assert (counts.done, counts.failed) == (3, 1)
    assert rows_of(tmp_path / "ds")[2]["stage"] == "plan"


def test_a_tar_archive_is_read_without_unpacking(tmp_path: Path) -> None:
    members = {"../../evil.jpg": b"up", "/etc/abs.png": b"abs", "s/1.jpg": b"one", "s/1.json": b"{}", "s/.x.jpg": b"h"}
    path = make_tar(tmp_path / "p.tar", members)
    assert read(found(tmp_path, path)) == [
        ("p.tar/evil.jpg", b"up"),
        ("p.tar/etc/abs.png", b"abs"),
        ("p.tar/s/1.jpg", b"one"),
    ]
    before = set(tmp_path.rglob("*"))
    counts = build(tmp_path / "in/ds", path)
    assert counts.done == 3
    assert {p for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / "in")} == before
    assert not list(tmp_path.parent.glob("evil*"))


def test_links_in_an_archive_are_no_photos(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as archive:
        info = tarfile.TarInfo("a.jpg")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)
    assert found(tmp_path, tmp_path / "p.tar") == []


@pytest.mark.parametrize(("keep", "names"), [(2200, ["p.tar/0.jpg", "p.tar/1.jpg", "p.tar"]), (100, ["p.tar"])])
def test_an_archive_that_was_cut_off_fails_from_there_on(tmp_path: Path, keep: int, names: list[str]) -> None:
    path = make_tar(tmp_path / "p.tar", {f"{n}.jpg": bytes([n]) * 600 for n in range(4)})
    path.write_bytes(path.read_bytes()[:keep])
    taken = found(tmp_path, path)
    assert [c.source for c in taken] == names
    assert "p.tar" in taken[-1].error


def test_garbage_within_an_archive_is_told(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "p.tar", {f"{n}.jpg": bytes([n]) * 512 for n in range(3)})
    data = bytearray(path.read_bytes())
    data[1024:1536] = b"x" * 512  # the second header
    path.write_bytes(data)
    taken = found(tmp_path, path)
    assert [c.source for c in taken] == ["p.tar/0.jpg", "p.tar"]
    assert taken[1].error.endswith("p.tar is damaged from byte 1024 on.")


@pytest.mark.parametrize("nested", [True, False])
def test_parquet_gives_a_photo_a_row(tmp_path: Path, nested: bool) -> None:
    photos = [f"photo {n}".encode() * 50 for n in range(40)] + [None]
    cells = [None if p is None else {"bytes": p, "path": "x"} for p in photos] if nested else photos
    pq.write_table(pa.table({"label": list(range(41)), "image": cells}), tmp_path / "p.parquet", row_group_size=17)
    taken = found(tmp_path, tmp_path / "p.parquet")
    assert [c.source for c in taken] == [f"p.parquet/{n}" for n in range(41)]
    assert [(t.place.group, t.place.row) for t in taken[16:18]] == [(0, 16), (1, 0)]
    reader = PhotoReader()
    assert [reader(c.place) for c in taken[:-1]] == photos[:-1]
    assert reader(taken[3].place) == photos[3]  # back to an earlier row
    assert taken[-1].error == "The row holds no picture."
    counts = build(tmp_path / "ds", tmp_path / "p.parquet")
    assert (counts.done, counts.failed) == (40, 1)


def test_the_column_of_pictures_is_found_or_asked_for() -> None:
    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    assert image_column(pa.schema([("mask", picture), ("image", picture)])) == "image.bytes"
    assert image_column(pa.schema([("id", pa.string()), ("face", pa.large_binary())])) == "face"
    with pytest.raises(OSError, match="expected one column of pictures, found none"):
        image_column(pa.schema([("id", pa.string())]))
    with pytest.raises(OSError, match="found a, b"):
        image_column(pa.schema([("a", pa.binary()), ("b", pa.binary())]))


def test_what_is_no_parquet_file_fails_as_one_photo(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"no")
    (taken,) = found(tmp_path, tmp_path / "p.parquet")
    assert "cannot be read as a Parquet file" in taken.error


def test_sources_that_are_wrong_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no file or folder"):
        found(tmp_path, tmp_path / "nowhere")
    (tmp_path / "p.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match="is compressed; please unpack it"):
        found(tmp_path, tmp_path / "p.tar.gz")


def test_one_file_that_two_sources_name_is_no_copy(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a.jpg": "1", "b.jpg": "2"})
    counts = build(tmp_path / "ds", photos, photos / "a.jpg", f"{photos}/*.jpg")
    assert (counts.done, counts.skipped) == (2, 0)


def test_photos_that_are_gone_or_too_large_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PhotoReader()
    with pytest.raises(ImageError, match="No such file"):
        reader(Place(str(tmp_path / "a.jpg")))
    (tmp_path / "a.jpg").write_bytes(b"12345")
    with pytest.raises(ImageError, match="ends in the middle of a photo"):
        reader(Place(str(tmp_path / "a.jpg"), offset=3, size=9))
    monkeypatch.setattr("ostec.dataset.reader.MAX_PHOTO_BYTES", 4)
    with pytest.raises(ImageError, match="is larger than 0 MB"):
        reader(Place(str(tmp_path / "a.jpg")))
