"""What is taken for a photo, in which order, and that no archive reaches beyond itself."""

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ostec.core.errors import ImageError, UsageError
from ostec.dataset.files import read_lines
from ostec.dataset.records import Place
from ostec.dataset.sources import PhotoReader, Search, image_column
from ostec.io.photos import walk_photos
from tests.dataset.test_build import rows_of
from tests.dataset.toy import build, write_photos


def found(tmp_path: Path, *sources: Path | str, leave_out=lambda _: ()) -> list:
    return list(Search(leave_out, tmp_path / "ds").find([str(s) for s in sources]))


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


def test_a_list_has_no_other_folder_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be somebody else's, and one line would search the whole machine; single files may lie anywhere."""
    write_photos(tmp_path, {"in [1]/a.jpg": "1", "in [1]/d/b.jpg": "2", "other/c.jpg": "3"})
    (tmp_path / "in [1]/up").symlink_to(tmp_path / "other")
    searched = ["/", "/**", "..", ".//..", "../other", "../oth*/*", "*/../../**/*", "up", "up/*", str(tmp_path)]
    inside = ("d", "*.jpg", "d/*", "*/b.jpg", "../other/c.jpg", str(tmp_path / "other/c.jpg"))
    (tmp_path / "in [1]/list.txt").write_text("\n".join((*searched, "\0*", "x/../..", *inside)))

    def walked(folder: Path) -> Iterator[Path]:
        assert folder.name == "d"
        return walk_photos(folder)

    monkeypatch.setattr("ostec.dataset.sources.walk_photos", walked)
    taken = found(tmp_path, tmp_path / "in [1]/list.txt")
    assert all(c.error.endswith("source of its own.") for c in taken[: len(searched)])
    assert [bool(c.error) for c in taken[len(searched) :]] == [True, True, *[False] * 6]
    assert [c.source for c in taken[-6:]] == ["d/b.jpg", "a.jpg", "d/b.jpg", "d/b.jpg", "other/c.jpg", "c.jpg"]


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
    with pytest.raises(OSError, match="it holds finished textures"):
        image_column(pa.schema([(name, picture) for name in ("image", "provenance", "record", "key")]))
    with pytest.raises(OSError, match="expected one column of pictures, found none"):
        image_column(pa.schema([("id", pa.string())]))
    with pytest.raises(OSError, match="found a, b"):
        image_column(pa.schema([("a", pa.binary()), ("b", pa.binary())]))


def test_what_is_no_parquet_file_fails_as_one_photo(tmp_path: Path) -> None:
    (tmp_path / "p.parquet").write_bytes(b"no")
    (taken,) = found(tmp_path, tmp_path / "p.parquet")
    assert "cannot be read as a Parquet file" in taken.error


@pytest.mark.parametrize("bits", ["one of three", pytest.param("three", marks=pytest.mark.slow)])
def test_no_damage_to_a_parquet_file_ends_the_process_or_the_search(tmp_path: Path, bits: str) -> None:
    """Arrow's look for a column's size threw through Python for some of these."""
    cells = [{"bytes": b"1" * 20, "path": "é"}, None, {"bytes": b"2" * 20, "path": "x"}]
    pq.write_table(pa.table({"image": cells, "file": ["a", "é", "c"], "age": [1, 2, None]}), tmp_path / "p.parquet")
    program = """
import contextlib, sys
from collections import Counter
from pathlib import Path
from ostec.core.errors import OstecError
from ostec.dataset.attributes import read_table
from ostec.dataset.manifest import read_manifest
from ostec.dataset.sources import Search, read_cells
folder, whole = Path(sys.argv[1]), (Path(sys.argv[1]) / "p.parquet").read_bytes()
footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
look = Search(lambda _: (), folder / "out", beside=True)
(folder / "in").mkdir()
path = folder / "in/p.parquet"
for at in range(footer, len(whole)):
    for change in (0x01, 0x10, 0x80) if sys.argv[2] == "three" else ((0x01, 0x10, 0x80)[at % 3],):
        data = bytearray(whole)
        data[at] ^= change
        path.write_bytes(data)
        assert list(look.find([str(path)])) is not None
        for read in (lambda: read_table(path, Counter()), lambda: [*read_manifest(path)]):
            with contextlib.suppress(OstecError):
                read()
        with contextlib.suppress(OstecError):
            list(read_cells(path, 0, "image.bytes"))
print("ended")
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), bits], env=environment, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout) == (0, "ended\n"), run.stderr


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


def test_a_picture_that_is_in_the_file_once_for_all_rows_is_in_memory_once(tmp_path: Path) -> None:
    picture = pa.DictionaryArray.from_arrays(pa.array([0] * 64, pa.int32()), pa.array([b"x" * (4 << 20)]))
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"image": picture}), path, store_schema=False, dictionary_pagesize_limit=1 << 30)
    before, most = pa.total_allocated_bytes(), 0
    for candidate in Search(lambda _: (), tmp_path / "ds").find([str(path)]):
        assert len(candidate.data or b"") == 4 << 20
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 24 << 20  # the page, the file's part that it is in, and one cell; of 16 rows 64 MB


def test_photos_that_are_gone_or_too_large_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PhotoReader()
    with pytest.raises(ImageError, match="No such file"):
        reader(Place(str(tmp_path / "a.jpg")))
    (tmp_path / "a.jpg").write_bytes(b"12345")
    with pytest.raises(ImageError, match="ends in the middle of a photo"):
        reader(Place(str(tmp_path / "a.jpg"), offset=3, size=9))
    monkeypatch.setattr("ostec.dataset.sources.MAX_PHOTO_BYTES", 4)
    with pytest.raises(ImageError, match="is larger than 0 MB"):
        reader(Place(str(tmp_path / "a.jpg")))


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A member's header with any size, in GNU's numbers of base 256."""
    info = tarfile.TarInfo(name)
    info.type = kind
    data = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = (size % 2**96 | (0x80 << 88 if size >= 0 else 0)).to_bytes(12, "big")
    data[148:156] = b"        "
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


@pytest.mark.parametrize("size", [-512, -1024, 2**62])
def test_members_of_impossible_sizes_end_an_archive(tmp_path: Path, size: int) -> None:
    path = tmp_path / "p.tar"
    path.write_bytes(header("a.jpg", 2) + b"ok".ljust(512, b"\0") + header("b.jpg", size) + bytes(2048))
    taken = found(tmp_path, path)
    assert [c.source for c in taken] == ["p.tar/a.jpg", *(["p.tar/b.jpg"] if size > 0 else []), "p.tar"]
    assert all(c.error for c in taken[1:])
    assert build(tmp_path / "ds", path).done == 1


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_header_full_of_holes_is_not_read_into_memory(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "p.tar"
    with path.open("wb") as stream:
        stream.write(header("x", 1 << 36, kind))
        stream.truncate((1 << 36) + 4096)
    (taken,) = found(tmp_path, path)
    assert taken.error.endswith("p.tar cannot be read as a tar file (a header claims 68719476736 bytes).")


def test_names_in_an_archive_lead_nowhere_and_can_be_printed(tmp_path: Path) -> None:
    names = ["../../up.jpg", "/abs.jpg", "a/../b.jpg", "new\nline.jpg", "\x1b[31m.jpg", "\u202e.jpg", "\udcff.jpg"]
    path = make_tar(tmp_path / "p.tar", {name: str(number).encode() for number, name in enumerate(names)})
    make_tar(tmp_path / "twice.tar", {"a.jpg": b"8"})
    taken = [c.source for c in found(tmp_path, path)]
    assert taken[:3] == ["p.tar/up.jpg", "p.tar/abs.jpg", "p.tar/a/b.jpg"]
    assert taken[3:] == [f"p.tar/{name}.jpg" for name in ("new\\nline", "\\x1b[31m", "\\u202e", "\\udcff")]
    assert build(tmp_path / "ds", path, tmp_path / "twice.tar").done == 8
    assert [row["source"] for row in rows_of(tmp_path / "ds")][:7] == taken


def test_of_a_sample_with_several_pictures_the_photo_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    members = {
        "s/1.depth.png": b"d",
        "s/1.jpg": b"one",
        "s/1.png": b"mask",
        "s/1.seg.png": b"m",
        "s/2.image.webp": b"two",
        "s/2.seg.png": b"m",
        "s/3.left.jpg": b"left",
        "s/3.right.jpg": b"right",
        "2021.05.01.jpg": b"three",
    }
    taken = found(tmp_path, make_tar(tmp_path / "p.tar", members))
    assert [data for _, data in read(taken)] == [b"one", b"two", b"left", b"right", b"three"]
    assert caplog.messages == [f"{tmp_path}/p.tar: left out were 4 pictures of samples that have a photo besides."]


def test_finished_textures_are_no_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build(tmp_path / "one", write_photos(tmp_path / "in", {"a.jpg": "1", "b.jpg": "faces=2"}))
    shard = tmp_path / "one/shards/00000.tar"
    assert found(tmp_path, shard) == []
    assert caplog.messages == [f"{shard}: left out were 3 samples that are finished textures."]


def parquet_of(path: Path, cells: list) -> Path:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), path)
    return path


def test_a_row_with_a_path_alone_reads_nothing_beyond_its_folder(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "in", {"a/1.jpg": "one", "2.jpg": "two"})
    write_photos(tmp_path, {"secret.jpg": "no", "in2/x.jpg": "no"})
    (photos / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    names = ["a/1.jpg", str(photos / "2.jpg"), str(tmp_path / "secret.jpg"), "../in2/x.jpg", "link.jpg", "nix.jpg", "a"]
    path = parquet_of(photos / "p.parquet", [{"bytes": None, "path": name} for name in [*names, "x" * 5000, "\0"]])
    taken = found(tmp_path, path)
    assert [t.source for t in taken] == [f"p.parquet/{n}" for n in range(9)]
    assert read(taken[:2]) == [("p.parquet/0", b"one"), ("p.parquet/1", b"two")]
    out = "The row has only a path, which leads out of the folder of p.parquet."
    gone = "The row has only a path, and there is no such file."
    assert [t.error for t in taken[2:7]] == [out, out, out, gone, gone]
    assert all(t.error in (out, gone) for t in taken[7:])
    counts = build(tmp_path / "ds", path)
    assert (counts.done, counts.failed) == (2, 7)


def test_a_compressed_archive_is_called_so(tmp_path: Path) -> None:
    path = make_tar(tmp_path / "p.tar", {"a.jpg": b"1"})
    for name in ("p.tar.gz", "p.tgz", "p.tar.zst", "p.zip"):
        (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
        with pytest.raises(UsageError, match=rf"{name} is compressed; please unpack it"):
            found(tmp_path, tmp_path / name)
    path.write_bytes(gzip.compress(path.read_bytes()))
    (taken,) = found(tmp_path, path)
    assert taken.error.startswith("p.tar cannot be read as a tar file")


def test_reasons_do_not_tell_where_a_source_lay(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "one", {"a.jpg": "fine", "l.txt": "nix.jpg\ng.tar\ng.parquet\nloop.jpg\na.jpg\n"})
    (folder / "g.tar").write_bytes(b"x" * 600)
    (folder / "g.parquet").write_bytes(b"x" * 600)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    make_tar(folder / "cut.tar", {"b.jpg": b"1" * 2000, "c.jpg": b"2" * 2000})
    (folder / "cut.tar").write_bytes((folder / "cut.tar").read_bytes()[:4000])
    counts = build(tmp_path / "ds", folder / "l.txt", folder, folder / "cut.tar")
    assert (counts.done, counts.failed, counts.skipped) == (2, 7, 0)
    reasons = [row["reason"] for row in rows_of(tmp_path / "ds") if row["status"] == "failed"]
    assert not [reason for reason in reasons if str(tmp_path) in reason]
    assert reasons[0] == "There is no file or folder nix.jpg."
    shutil.move(folder, tmp_path / "another")
    build(tmp_path / "ds2", *(tmp_path / "another" / name for name in ("l.txt", "", "cut.tar")))
    for name in ("manifest.parquet", "README.md", "shards/00000.tar"):
        assert (tmp_path / "ds" / name).read_bytes() == (tmp_path / "ds2" / name).read_bytes()
    paths = [line["path"] for line in read_lines(tmp_path / "ds/failures/00000.jsonl")]
    assert paths[0] == str(tmp_path / "one/nix.jpg")


def test_things_that_cannot_be_read_are_no_copies_of_each_other(tmp_path: Path) -> None:
    lists = [write_photos(tmp_path / name, {"l.txt": "missing.jpg\n"}) / "l.txt" for name in ("a", "b")]
    rows = [parquet_of(tmp_path / name / "x.parquet", [None]) for name in ("a", "b")]
    counts = build(tmp_path / "ds", *lists, *rows, lists[0])
    assert (counts.failed, counts.skipped) == (4, 0)
    found_rows = rows_of(tmp_path / "ds")
    assert [row["source"] for row in found_rows] == ["missing.jpg", "missing.jpg", "x.parquet/0", "x.parquet/0"]
    assert len({row["id"] for row in found_rows}) == 4
    assert build(tmp_path / "ds", *lists, *rows).failed == 4
