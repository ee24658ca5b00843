"""Shards are plain tar files whose bytes follow from their content, and nothing else is taken for one."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from ostec.core.errors import AssetError, OutputError
from ostec.io.shards import (
    MAX_MEMBER_BYTES,
    TRAILER,
    DamagedPart,
    ShardMember,
    pack_members,
    read_member,
    read_members,
    write_shard,
)

FILES = [("ab_1.uv.png", b"picture"), ("ab_1.json", b"{}" * 300), ("cd_1.json", b"")]


def shard(path: Path, files=FILES) -> Path:
    part = path.with_suffix(".part")
    part.write_bytes(b"head" + pack_members(files))
    write_shard(path, [(part, 4, len(pack_members(files)))])
    return path


def test_a_shard_is_a_tar_file_that_anybody_reads(tmp_path: Path) -> None:
    with tarfile.open(shard(tmp_path / "00000.tar")) as archive:
        members = archive.getmembers()
        assert [(m.name, m.size, m.mode, m.uid, m.gid, m.mtime, m.uname) for m in members] == [
            (name, len(data), 0o644, 0, 0, 0, "") for name, data in FILES
        ]
        assert [archive.extractfile(m).read() for m in members] == [data for _, data in FILES]


def test_members_are_found_where_they_are(tmp_path: Path) -> None:
    path = shard(tmp_path / "00000.tar")
    members = list(read_members(path))
    assert members == [
        ShardMember("ab_1.uv.png", 512, 7),
        ShardMember("ab_1.json", 1536, 600),
        ShardMember("cd_1.json", 3072, 0),
    ]
    assert [read_member(path, m) for m in members] == [data for _, data in FILES]
    assert [(m.key, m.ending, m.header, m.end) for m in members[:2]] == [
        ("ab_1", "uv.png", 0, 1024),
        ("ab_1", "json", 1024, 2560),
    ]


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(pack_members(FILES))
    size = part.stat().st_size
    digest = write_shard(tmp_path / "0.tar", [(part, 0, size), (part, 0, size)])
    assert digest == hashlib.sha256((tmp_path / "0.tar").read_bytes()).hexdigest()
    assert (tmp_path / "0.tar").read_bytes() == part.read_bytes() * 2 + TRAILER


@pytest.mark.parametrize(
    "name", ["../a.json", "/a.json", "a/b.json", "a", ".json", "a.js on", "ä.json", "a" * 99 + ".j"]
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"expected a name KEY\.ENDING"):
        pack_members([(name, b"")])


def foreign(change) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("a.json")
        change(info)
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda info: setattr(info, "name", "../../etc/passwd"),
        lambda info: setattr(info, "name", "/etc/passwd"),
        lambda info: setattr(info, "mtime", 5),
        lambda info: (setattr(info, "type", tarfile.SYMTYPE), setattr(info, "linkname", "/etc/passwd")),
        lambda info: setattr(info, "type", tarfile.DIRTYPE),
    ],
)
def test_other_peoples_archives_are_no_shards(tmp_path: Path, change) -> None:
    (tmp_path / "0.tar").write_bytes(foreign(change))
    with pytest.raises(AssetError, match="is damaged"):
        list(read_members(tmp_path / "0.tar"))


@pytest.mark.parametrize("keep", [1, 511, 600, 1024, 2000, 4000])
def test_a_shard_that_was_cut_off_is_damaged(tmp_path: Path, keep: int) -> None:
    path = shard(tmp_path / "00000.tar")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AssetError, match="is damaged"):
        list(read_members(path))


def test_a_size_beyond_the_file_is_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar")
    data = bytearray(path.read_bytes())
    data[124:135] = b"77777777777"
    path.write_bytes(data)
    with pytest.raises(AssetError, match="expected a member at byte 0"):
        list(read_members(path))


def test_missing_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"0\.tar cannot be read"):
        list(read_members(tmp_path / "0.tar"))
    (tmp_path / "part").write_bytes(b"abc")
    with pytest.raises(OutputError, match="ends too early"):
        write_shard(tmp_path / "0.tar", [(tmp_path / "part", 0, 4)])
    assert not (tmp_path / "0.tar").exists()


def test_a_stretch_holds_its_members_and_no_others(tmp_path: Path) -> None:
    path = shard(tmp_path / "00000.tar")
    first, second, third = read_members(path)
    assert list(read_members(path, second.header, third.end)) == [second, third]
    assert list(read_members(path, first.header, first.end)) == [first]
    for start, stop in ((first.header, first.end - 1), (second.header, third.end + 512), (7, third.end)):
        with pytest.raises(AssetError, match="expected a member at byte"):
            list(read_members(path, start, stop))


def test_parts_that_are_not_what_was_written_make_no_shard(tmp_path: Path) -> None:
    data = pack_members(FILES)
    digest = hashlib.sha256(data).hexdigest()
    for name, content in (("same", data), ("changed", data[:-1] + b"x"), ("shorter", data[:-1])):
        (tmp_path / name).write_bytes(content)
        parts = [(tmp_path / "same", 0, len(data)), (tmp_path / name, 0, len(data))]
        if name == "same":
            write_shard(tmp_path / "0.tar", parts, [digest, digest])
            (tmp_path / "0.tar").unlink()
            continue
        with pytest.raises(DamagedPart, match=f"{name} is damaged") as caught:
            write_shard(tmp_path / "0.tar", parts, [digest, digest])
        assert caught.value.file == tmp_path / name
        assert {path.name for path in tmp_path.iterdir()} <= {"same", "changed", "shorter"}


def test_a_member_of_a_file_full_of_holes_is_not_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.json")
    info.size, info.mode = MAX_MEMBER_BYTES + 1, 0o644
    with (tmp_path / "0.tar").open("wb") as stream:
        stream.write(info.tobuf(tarfile.USTAR_FORMAT))
        stream.truncate(512 + MAX_MEMBER_BYTES + 512 + len(TRAILER))
    with pytest.raises(AssetError, match="expected a member at byte 0, found none"):
        list(read_members(tmp_path / "0.tar"))
