"""Checkpoints are read strictly, and nothing that a file holds is executed."""

import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tracemalloc
from importlib.util import find_spec
from pathlib import Path

import joblib
import lz4.frame
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from ostec.core.errors import AssetError, WeightsError
from ostec.io.weights import is_safetensors, load_joblib_lz4, load_strict, read_mtcnn, read_safetensors, read_state

STAGES = ("pnet", "rnet", "onet")


def packed_by_joblib(content: object) -> bytes:
    stream = io.BytesIO()
    joblib.dump(content, stream)
    return lz4.frame.compress(stream.getvalue())


def wrapper_stream(shape: tuple[int, ...], data: bytes) -> bytes:
    """What joblib writes for one array, with a shape of our choice."""
    stream = io.BytesIO()
    joblib.dump([np.zeros((2, 3), np.float32)], stream)
    written = stream.getvalue()
    honest = b"K\x02K\x03\x86"  # the tuple (2, 3)
    assert written.count(honest) == 1
    forged = b"(" + b"".join(b"J" + struct.pack("<i", side) for side in shape) + b"t"
    start = written.index(b"K\x10ub") + 4
    frame_start = 11  # PROTO, then FRAME with eight bytes of length
    body = written[frame_start:start].replace(honest, forged)
    return written[:3] + struct.pack("<Q", len(body)) + body + b"\x01\xff" + data


class Bomb:
    """Creates a file when a pickle of it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_arrays_are_those_that_joblib_wrote() -> None:
    rng = np.random.default_rng(0)
    arrays = [
        rng.random((2, 3, 4), dtype=np.float32),
        np.asfortranarray(rng.random((3, 5))),
        np.arange(7, dtype=np.int8),
        np.array(2.5, np.float32),
        rng.integers(0, 9, (1, 300, 2), dtype=np.int64),
    ]
    read = load_joblib_lz4(packed_by_joblib(arrays), "toy")
    for actual, expected in zip(read, arrays, strict=True):
        assert actual.dtype == expected.dtype
        np.testing.assert_array_equal(actual, expected)


def test_many_arrays_that_share_a_type_are_all_read() -> None:
    arrays = [np.full(3, i, np.float32) for i in range(600)]  # beyond one byte of memo
    np.testing.assert_array_equal(load_joblib_lz4(packed_by_joblib(arrays), "toy"), arrays)


@pytest.mark.parametrize("stage", STAGES)
def test_reader_agrees_with_joblib_on_the_detectors_own_files(stage: str) -> None:
    folder = Path(next(iter(find_spec("mtcnn").submodule_search_locations)))
    expected = joblib.load(folder / "assets" / "weights" / f"{stage}.lz4")
    for actual, array in zip(read_mtcnn()[stage], expected, strict=True):
        assert actual.dtype == np.float32
        np.testing.assert_array_equal(actual, array)


def test_array_larger_than_its_file_is_refused_before_memory_is_taken() -> None:
    packed = lz4.frame.compress(wrapper_stream((2**31 - 1, 2**31 - 1, 2**31 - 1), bytes(24)))
    tracemalloc.start()
    try:
        with pytest.raises(
            WeightsError, match=r"^toy does not hold plain arrays alone: found an array larger than the file\.$"
        ):
            load_joblib_lz4(packed, "toy")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_forged_stream_with_an_honest_shape_is_read() -> None:
    """Else the tests with other shapes could fail for another reason than the one they name."""
    values = np.arange(6, dtype=np.float32)
    packed = lz4.frame.compress(wrapper_stream((3, 2), values.tobytes()) + b"a.")
    np.testing.assert_array_equal(load_joblib_lz4(packed, "toy"), [values.reshape(3, 2)])


@pytest.mark.parametrize("shape", [(-2, -3), (0, 2**31 - 1), (2, -1)])
def test_impossible_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(WeightsError, match="an array with an impossible shape"):
        load_joblib_lz4(lz4.frame.compress(wrapper_stream(shape, bytes(24))), "toy")


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickle_is_refused_and_not_executed(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "executed"
    packed = lz4.frame.compress(pickle.dumps([Bomb(mark)], protocol=protocol))
    with pytest.raises(WeightsError, match=r"^toy does not hold plain arrays alone: "):
        load_joblib_lz4(packed, "toy")
    assert not mark.exists()


def test_object_array_with_a_nested_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    with pytest.raises(WeightsError, match="an array of an unknown class"):
        load_joblib_lz4(packed_by_joblib([np.array([Bomb(mark)], dtype=object)]), "toy")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"weights": np.zeros(2)}, "does not hold a list of arrays"),
        ([np.zeros(2), "text"], "does not hold a list of arrays"),
        ([[np.zeros(2)]], "does not hold a list of arrays"),
        ([np.zeros(2, dtype="f4,i4")], "something else than numbers"),
        ([np.zeros(2, dtype=">f4")], "something else than plain little-endian numbers"),
        ([np.matrix([[1.0]])], "an array of an unknown class"),
        ([np.zeros(2, dtype="M8[s]")], "something else than numbers"),
        ([1.5], "does not hold a list of arrays"),
        ({(1, (2, 3)): 2}, "keys other than plain ones"),
        ([complex(1, 2)], "a call of builtins.complex"),
    ],
)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_anything_but_a_list_of_plain_arrays_is_refused(content: object, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        load_joblib_lz4(packed_by_joblib(content), "toy")


def test_file_broken_off_anywhere_is_refused() -> None:
    packed = packed_by_joblib([np.arange(40, dtype=np.float32).reshape(8, 5), np.ones(3)])
    for length in range(len(packed)):
        with pytest.raises(WeightsError, match=r"^toy "):
            load_joblib_lz4(packed[:length], "toy")


def test_content_broken_off_anywhere_is_refused() -> None:
    stream = io.BytesIO()
    joblib.dump([np.arange(40, dtype=np.float32).reshape(8, 5), np.ones(3)], stream)
    for length in range(len(stream.getvalue())):
        with pytest.raises(WeightsError, match=r"^toy does not hold plain arrays alone: "):
            load_joblib_lz4(lz4.frame.compress(stream.getvalue()[:length]), "toy")


def test_any_garbled_byte_gives_arrays_or_a_weights_error() -> None:
    stream = io.BytesIO()
    joblib.dump([np.arange(4, dtype=np.float32), np.ones(3)], stream)
    refused = 0
    for position in range(len(stream.getvalue())):
        for value in (0, 0x28, 0x52, 0x62, 0x95, 0xFF):
            garbled = bytearray(stream.getvalue())
            garbled[position] = value
            try:
                load_joblib_lz4(lz4.frame.compress(bytes(garbled)), "toy")
            except WeightsError:
                refused += 1
    assert refused > 1000


def test_file_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"^toy is damaged: it unpacks to more than 1000 bytes\.$"):
        load_joblib_lz4(lz4.frame.compress(bytes(1001)), "toy", limit=1000)


def test_file_without_lz4_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"^toy is damaged: it is no whole LZ4 file"):
        load_joblib_lz4(b"no such thing", "toy")


@pytest.fixture
def installed_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weights of another installation of the package, found before the real one."""
    source = Path(next(iter(find_spec("mtcnn").submodule_search_locations)))
    copy = tmp_path / "mtcnn"
    shutil.copytree(source / "assets", copy / "assets")
    (copy / "__init__.py").write_text("raise AssertionError('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    return copy / "assets" / "weights"


def test_damaged_weights_are_one_sentence_that_says_what_to_do(installed_copy: Path) -> None:
    read_mtcnn()  # the copy is used, and not imported
    damaged = bytearray((installed_copy / "rnet.lz4").read_bytes())
    damaged[1000] ^= 1
    (installed_copy / "rnet.lz4").write_bytes(damaged)
    with pytest.raises(
        AssetError, match=r"rnet\.lz4 is damaged \(sha256 .*; please run: pip install .* mtcnn==1\.0\.0$"
    ):
        read_mtcnn()


def test_missing_weights_are_one_sentence_that_says_what_to_do(installed_copy: Path) -> None:
    (installed_copy / "onet.lz4").unlink()
    with pytest.raises(AssetError, match=r"onet\.lz4 is missing\); please run: pip install .* mtcnn==1\.0\.0$"):
        read_mtcnn()


def test_missing_package_is_one_sentence_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mtcnn", None)
    with pytest.raises(AssetError, match=r"mtcnn.* is not installed.*please run: pip install .* mtcnn==1\.0\.0$"):
        read_mtcnn()


def test_reading_the_detector_imports_neither_its_package_nor_joblib_nor_tensorflow() -> None:
    code = (
        "import sys; from ostec.io.weights import read_mtcnn; read_mtcnn(); "
        "print(sorted({'mtcnn', 'joblib', 'tensorflow', 'pickle5'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_safetensors_come_back_as_written(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2], dtype=torch.int32)}
    save_file(tensors, tmp_path / "toy.safetensors")
    read = read_safetensors(tmp_path / "toy.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


@pytest.mark.parametrize("content", [None, b"", b"\x10\0\0\0\0\0\0\0{}"])
def test_missing_or_damaged_safetensors_name_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "toy.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"toy\.safetensors cannot be read as safetensors"):
        read_safetensors(path)


def test_tensors_that_fit_are_loaded() -> None:
    module = nn.Linear(2, 1)
    load_strict(module, {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([5.0])}, "toy")
    assert module(torch.tensor([1.0, 10.0])).item() == 48.0


def test_tensors_that_do_not_fit_are_named() -> None:
    tensors = {"weight": torch.zeros(2, 1), "extra": torch.zeros(1)}
    expected = r"^toy does not fit Linear: bias missing; extra unknown; weight is \(2, 1\), expected \(1, 2\)\.$"
    with pytest.raises(WeightsError, match=expected):
        load_strict(nn.Linear(2, 1), tensors, "toy")


def test_safetensors_are_told_by_name_or_content(tmp_path: Path) -> None:
    save_file({"net.a": torch.ones(1), "b": torch.zeros(2)}, tmp_path / "toy.bin")
    assert is_safetensors(tmp_path / "toy.bin")
    assert is_safetensors(tmp_path / "none.safetensors")
    (tmp_path / "toy.pkl").write_bytes(b"(lp0\nI1\n{")
    assert not is_safetensors(tmp_path / "toy.pkl")
    assert not is_safetensors(tmp_path / "none.pkl")
    assert sorted(read_state(tmp_path / "toy.bin")) == ["b", "net.a"]
    assert sorted(read_state(tmp_path / "toy.bin", "net.")) == ["a"]
