"""Arrays of MATLAB's files are those that SciPy reads; of damaged ones nothing is but a sentence."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from ostec.core.errors import AssetError
from ostec.io.matlab import read_matrices
from ostec.load.morphable.files import read_mat

HELD: dict[str, Any] = {
    "double": np.random.default_rng(0).normal(size=(3, 4)),
    "few": np.array([[1.0, 2, 3]]),
    "single": np.ones((2, 2, 2), np.float32),
    **{kind: np.array([[0, 1], [100, 3]], kind) for kind in ("int8", "uint8", "int16", "uint16", "int32", "uint32")},
    "int64": np.array([[-(2**40), 5]]),
    "uint64": np.array([[2**40]], np.uint64),
    "logical": np.array([[True, False]]),
    "empty": np.zeros((0, 3)),
    "a": np.array([[7.0]]),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_are_those_that_scipy_reads(compressed: bool) -> None:
    stream = io.BytesIO()
    savemat(stream, {**HELD, "text": "abc", "cell": np.array([1, "a"], object)}, do_compression=compressed)
    stream.seek(0)
    found = read_matrices(stream, HELD.keys(), 1 << 20)
    expected = loadmat(stream)
    assert found.keys() == HELD.keys()
    for name, array in found.items():
        np.testing.assert_array_equal(array, expected[name], strict=name != "logical")


@pytest.mark.parametrize("kind", [8, 20, 0xC309, 2**15])
def test_a_type_that_does_not_exist_is_a_sentence(tmp_path: Path, kind: int) -> None:
    """It ended the process where SciPy read it."""
    savemat(tmp_path / "a.mat", {"a": np.eye(3)})
    data = bytearray((tmp_path / "a.mat").read_bytes())
    data[0xB0:0xB4] = kind.to_bytes(4, "little")
    (tmp_path / "a.mat").write_bytes(data)
    with pytest.raises(AssetError, match=r"a\.mat cannot be read as a MATLAB file \(a claims the shape \(3, 3\)"):
        read_mat(tmp_path / "a.mat", ("a",))


def test_other_kinds_and_bombs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    for value in ("text", np.array([[1j]]), np.array([1, "a"], object)):
        savemat(path, {"a": value})
        with pytest.raises(AssetError, match="a holds something else than numbers"):
            read_mat(path, ("a",))
        assert "a" not in read_mat(path, ("b",))
    savemat(path, {"a": np.zeros((4000, 4000))}, do_compression=True)
    with pytest.raises(AssetError, match="its arrays would take 128000000 bytes"):
        read_mat(path, ("a",))
    path.write_bytes(b"MATLAB 7.3 MAT-file" + bytes(200))
    with pytest.raises(AssetError, match=r"save it with -v7\.$"):
        read_mat(path, ("a",))
