"""What was computed once is found again, and only while it was computed from the same."""

from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import AssetError, OutputError
from ostec.io.cache import read_cache, why_stale, write_cache

KEY = {"portraits": "aa", "size": "256"}
ARRAYS = {"a": np.arange(6, dtype=np.uint8).reshape(2, 3), "names": np.array(["ä", "bc"])}


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_cache(path, KEY, ARRAYS)
    assert why_stale(path, KEY) is None
    found = read_cache(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ({"portraits": "bb", "size": "256"}, "was made with other portraits"),
        ({"portraits": "bb", "size": "128"}, "was made with other portraits and size"),
        ({**KEY, "prior": "cc"}, "was made with other prior"),
    ],
)
def test_says_what_differs(tmp_path: Path, key: dict[str, str], reason: str) -> None:
    path = tmp_path / "a.npz"
    write_cache(path, KEY, ARRAYS)
    assert why_stale(path, key) == reason


def test_missing_damaged_and_foreign_files_are_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    assert why_stale(path, KEY) == "is not there yet"
    write_cache(path, KEY, ARRAYS)
    path.write_bytes(path.read_bytes()[:-40])
    assert why_stale(path, KEY) == "is damaged"
    path.write_bytes(b"")
    assert why_stale(path, KEY) == "is damaged"
    np.savez(path, a=ARRAYS["a"])
    assert why_stale(path, KEY) == "is damaged"


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_cache(tmp_path / "no" / "a.npz", KEY, ARRAYS)


def test_damage_behind_the_key_is_found_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    write_cache(path, KEY, {"a": np.arange(4000, dtype=np.int32)})
    content = bytearray(path.read_bytes())
    content[-8000] ^= 1  # within the array, which is stored last and as it is
    path.write_bytes(bytes(content))
    assert why_stale(path, KEY) is None
    with pytest.raises(AssetError, match=r"a\.npz is damaged \(.*\); please remove it\.$"):
        read_cache(path)
