"""Convert MediaPipe's FaceMesh to ``models/facemesh.safetensors``.

    pip install flatbuffers tflite numpy safetensors
    python tools/convert_facemesh.py mediapipe-0.10.21-....whl models/facemesh.safetensors

The source is the wheel ``mediapipe`` 0.10.21 from PyPI (read as a zip, never installed) or the ``face_landmark.tflite``
inside it. The weights there are float16 and stay so to the bit; the graph around them is fixed by the file's SHA-256,
and ``ostec/nets/facemesh.py`` writes it out. No TensorFlow is needed.
"""

import argparse
import hashlib
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tflite  # type: ignore[import-not-found,import-untyped,unused-ignore]
from safetensors.numpy import save

MEMBER = "mediapipe/modules/face_landmark/face_landmark.tflite"
SHA256 = "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"

Tensors = dict[str, npt.NDArray[np.float16]]


def names() -> Iterator[tuple[str, str, str]]:
    """Yield (PyTorch name, TFLite name, kind) of each tensor; kind is ``conv``, ``depthwise`` or ``vector``."""
    yield from _conv_act("stem", 1, 1)
    for block in range(1, 15):
        yield from _block(f"trunk.{block - 1}", block, block + 1, block + 1)
    yield from _block("points_head.0", 15, 16, 16)
    yield from _block("points_head.1", 16, 17, 17)
    yield from _block("points_head.2", 17, 18, 18)
    yield from _conv_act("points_head.3", 19, 19)
    yield from _block("points_head.4", 18, 20, 20)
    yield from _weights("points_head.5", "conv2d_21", "conv")
    yield from _block("face_head.0", 23, 28, 26)
    yield from _conv_act("face_head.1", 29, 27)
    yield from _block("face_head.2", 24, 30, 28)
    yield from _weights("face_head.3", "conv2d_31", "conv")


def _weights(ours: str, theirs: str, kind: str) -> Iterator[tuple[str, str, str]]:
    yield f"{ours}.weight", f"{theirs}/Kernel", kind
    yield f"{ours}.bias", f"{theirs}/Bias", "vector"


def _conv_act(ours: str, conv: int, act: int) -> Iterator[tuple[str, str, str]]:
    yield from _weights(f"{ours}.conv", f"conv2d_{conv}", "conv")
    yield f"{ours}.act.weight", f"p_re_lu_{act}/Alpha", "vector"


def _block(ours: str, depthwise: int, pointwise: int, act: int) -> Iterator[tuple[str, str, str]]:
    yield from _weights(f"{ours}.depthwise", f"depthwise_conv2d_{depthwise}", "depthwise")
    yield from _weights(f"{ours}.pointwise", f"conv2d_{pointwise}", "conv")
    yield f"{ours}.act.weight", f"p_re_lu_{act}/Alpha", "vector"


def read_source(path: Path) -> bytes:
    """Return the TFLite file from a wheel or from itself; exit if it is not the one that this tool knows."""
    if path.suffix == ".tflite":
        data = path.read_bytes()
    else:
        with zipfile.ZipFile(path) as wheel:
            data = wheel.read(MEMBER)
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        sys.exit(f"{path}: {MEMBER} has SHA-256 {digest}, expected {SHA256}.")
    return data


def read_tensors(data: bytes) -> Tensors:
    """Return every stored float16 tensor of a TFLite file by name, in TFLite's layout."""
    model = tflite.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    tensors = {}
    for i in range(graph.TensorsLength()):
        tensor = graph.Tensors(i)
        buffer = model.Buffers(tensor.Buffer())
        if tensor.Type() == tflite.TensorType.FLOAT16 and buffer.DataLength():
            values = np.frombuffer(buffer.DataAsNumpy().tobytes(), "<f2")
            tensors[tensor.Name().decode()] = values.reshape(tensor.ShapeAsNumpy())
    return tensors


def to_torch_layout(values: npt.NDArray[np.float16], kind: str) -> npt.NDArray[np.float16]:
    """Bring one tensor into PyTorch's order of axes."""
    if kind == "vector":
        return values.reshape(-1)
    # Depthwise: [1, h, w, C] -> [C, 1, h, w]; others: [out, h, w, in] -> [out, in, h, w].
    axes = (3, 0, 1, 2) if kind == "depthwise" else (0, 3, 1, 2)
    return np.ascontiguousarray(values.transpose(axes))


def main() -> None:
    """Read the command line, convert, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="mediapipe wheel or face_landmark.tflite")
    parser.add_argument("target", type=Path, help="safetensors file to write")
    arguments = parser.parse_args()
    theirs = read_tensors(read_source(arguments.source))
    ours = {name: to_torch_layout(theirs.pop(source), kind) for name, source, kind in names()}
    if theirs:
        sys.exit(f"Tensors of no use in the network: {', '.join(sorted(theirs))}.")
    # One entry only: safetensors writes several in random order, and the file's own hash is in the manifest.
    data = save(ours, metadata={"source_sha256": SHA256})
    arguments.target.write_bytes(data)
    print(f"{arguments.target}: {len(ours)} tensors, {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
