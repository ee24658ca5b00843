"""Objects that NumPy pickled into .npy files, without executing them."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.io.pickles import read_npy_object


def saved(path: Path, value: object) -> Path:
    np.save(path, value)  # type: ignore[arg-type]
    return path


def test_dictionary_comes_back(tmp_path: Path) -> None:
    table = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": {"c": [1, 2]}, "d": np.array([[7]], order="F")}
    found = read_npy_object(saved(tmp_path / "a.npy", table))
    np.testing.assert_array_equal(found["a"], table["a"])
    assert found["b"] == {"c": [1, 2]}
    assert found["d"].tolist() == [[7]]


def test_tensors_within_come_back_as_tensors(tmp_path: Path) -> None:
    """FLAME's landmark_embedding.npy holds some: bytes of torch's older format within NumPy's pickle."""
    tensor = torch.arange(6, dtype=torch.int64).reshape(2, 3)
    found = read_npy_object(saved(tmp_path / "a.npy", {"a": tensor, "b": np.arange(2)}))
    assert torch.equal(found["a"], tensor)
    assert found["b"].tolist() == [0, 1]


def test_call_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (print, ("executed",))

    with pytest.raises(WeightsError, match=r"a\.npy cannot be used: .* found a call of builtins\.print"):
        read_npy_object(saved(tmp_path / "a.npy", {"a": Trap()}))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.arange(3), "found an array of numbers"),
        (np.array([{}, {}]), "expected one object saved by NumPy, found several"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, value: np.ndarray, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_npy_object(saved(tmp_path / "a.npy", value))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", {"a": np.arange(100)})
    whole = path.read_bytes()
    for content, message in (
        (b"", "an empty file"),
        (b"\x93NUMPY", "no header"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 14) + b"{'descr': (   ", "no header"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 9000, "no header"),
        (b"PK\3\4" + whole, "no header"),
        (whole[:-20], "broken off or garbled|no end"),
        (whole[:200], "broken off or garbled|no end"),
    ):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            read_npy_object(path)
    with pytest.raises(WeightsError, match="cannot be read"):
        read_npy_object(tmp_path / "missing.npy")
