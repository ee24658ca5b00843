"""Arrays of .npz files, of which nothing is executed and nothing allocated that is only claimed."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import AssetError
from ostec.io.arrays import decode_npz, read_npz


def packed(path: Path, name: str, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return path


def header(shape: str, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_those_that_are_asked_for_come_back(tmp_path: Path, save: object) -> None:
    w = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    save(tmp_path / "a.npz", w=w, z=np.asfortranarray(w[0]), other=np.array([object()]))  # type: ignore[operator]
    read = read_npz(tmp_path / "a.npz", ("w", "z", "missing"))
    assert read.keys() == {"w", "z"}
    np.testing.assert_array_equal(read["w"], w)
    np.testing.assert_array_equal(read["z"], w[0])
    read["w"][0] = 1


def test_the_forged_header_with_an_honest_shape_is_read(tmp_path: Path) -> None:
    read = read_npz(packed(tmp_path / "a.npz", "w.npy", header("(2,)") + bytes(8)), ("w",))
    np.testing.assert_array_equal(read["w"], np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (header("(10000000000,)") + bytes(8), r"w claims the shape \(10000000000,\) and has other data"),
        (header("(-2,)") + bytes(8), "other data"),
        (header("(1,)", "|O") + bytes(8), "w holds something else than numbers"),
        (b"nothing", "magic"),
        (header("(1,"), "the header of w is garbled|cannot parse header"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 14) + b"{'descr': (   ", "the header of w is garbled"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 9000, "the header of w is garbled"),
        (header("(2,)", ",i8") + bytes(16), "the header of w is garbled"),  # a type that NumPy takes for Python
        (header("(2,)").replace(b" 'shape'", b"b'shape'") + bytes(8), "the header of w is garbled"),
        (bytes(80 << 20), "w would take 83886080 bytes"),
    ],
)
def test_claims_and_damage_are_one_sentence(tmp_path: Path, data: bytes, sentence: str) -> None:
    path = packed(tmp_path / "a.npz", "w.npy", data)
    tracemalloc.start()
    try:
        with pytest.raises(AssetError, match=rf"a\.npz cannot be read as an archive of arrays \(.*{sentence}"):
            read_npz(path, ("w",))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_broken_off_anywhere_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, w=np.arange(50.0))
    for length in range(0, len(stream.getvalue()), 5):
        (tmp_path / "a.npz").write_bytes(stream.getvalue()[:length])
        with pytest.raises(AssetError, match="cannot be read as an archive"):
            read_npz(tmp_path / "a.npz", ("w",))
    with pytest.raises(AssetError, match=r"none\.npz cannot be read .*No such file"):
        read_npz(tmp_path / "none.npz", ("w",))


def test_arrays_with_a_prefix_come_out_of_bytes_sorted(tmp_path: Path) -> None:
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.savez(tmp_path / "a.npz", w_right=w, other=w, w_left=w + 1)
    found = decode_npz((tmp_path / "a.npz").read_bytes(), "w_", "x")
    assert list(found) == ["left", "right"]
    np.testing.assert_array_equal(found["left"], w + 1)
    with pytest.raises(AssetError, match="x cannot be read as an archive of arrays"):
        decode_npz(b"PK", "w_", "x")
