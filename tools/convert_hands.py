"""Convert MediaPipe's palm detector and hand landmarks to ``models/hands.safetensors``.

    pip install flatbuffers tflite numpy safetensors
    python tools/convert_hands.py mediapipe-0.10.21-....whl models/hands.safetensors

The source is the wheel ``mediapipe`` 0.10.21 from PyPI (read as a zip, never installed). The weights there are float16
and stay so to the bit; the graphs around them are fixed by the files' SHA-256, and ``ostec/nets/hands.py`` writes them
out. The files name most tensors after several layers at once, so the weights are taken in the order in which the graph
uses them. No TensorFlow is needed.
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

PALM = "mediapipe/modules/palm_detection/palm_detection_full.tflite"
PALM_SHA256 = "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54"
HAND = "mediapipe/modules/hand_landmark/hand_landmark_lite.tflite"
HAND_SHA256 = "048edd3645c9bf7397d19a9f6e3a42957d6e414c9bea6598030a2e9b624156e6"
UNUSED = "unused"
"""Prefix of the heads that are left out."""
AXES = {"conv": (0, 3, 1, 2), "depthwise": (3, 0, 1, 2)}
"""TFLite's [out, h, w, in] and [1, h, w, C] in PyTorch's order."""

Half = npt.NDArray[np.float16]


def palm_names() -> Iterator[tuple[str, str]]:
    """Yield (PyTorch name, kind) of each tensor of the palm detector in the order of the graph."""
    yield from _conv_act("palm.stem")
    for stage, blocks in (("fine", 14), ("middle", 5), ("coarse", 5)):
        for block in range(blocks):
            yield from _block(f"palm.{stage}.{block}")
    for level in ("middle", "fine"):
        yield from _conv_act(f"palm.to_{level}")
        for block in range(2):
            yield from _block(f"palm.merge_{level}.{block}")
        yield from _weights(f"palm.{level}_logits", "conv")
        yield from _weights(f"palm.{level}_values", "conv")


def hand_names() -> Iterator[tuple[str, str]]:
    """Yield the same for the landmark network."""
    yield from _weights("hand.stem", "conv")
    yield from _weights("hand.first", "depthwise")
    yield from _weights("hand.narrow", "conv")
    for block in range(14):
        yield from _weights(f"hand.trunk.{block}.widen", "conv")
        yield from _weights(f"hand.trunk.{block}.depthwise", "depthwise")
        yield from _weights(f"hand.trunk.{block}.narrow", "conv")
    yield from _weights("hand.widen", "conv")
    yield from _weights("hand.last", "depthwise")
    yield from _weights(f"{UNUSED}.handedness", "dense")
    yield from _weights("hand.hand_head", "dense")
    yield from _weights("hand.points_head", "dense")
    yield from _weights(f"{UNUSED}.world_points", "dense")


def _weights(name: str, kind: str) -> Iterator[tuple[str, str]]:
    yield f"{name}.weight", kind
    yield f"{name}.bias", "vector"


def _conv_act(name: str) -> Iterator[tuple[str, str]]:
    yield from _weights(f"{name}.conv", "conv")
    yield f"{name}.act.weight", "vector"


def _block(name: str) -> Iterator[tuple[str, str]]:
    yield from _weights(f"{name}.depthwise", "depthwise")
    yield from _weights(f"{name}.pointwise", "conv")
    yield f"{name}.act.weight", "vector"


def read_member(wheel: Path, member: str, sha256: str) -> bytes:
    """Return a file of the wheel; exit if it is not the one that this tool knows."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(member)
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        sys.exit(f"{wheel}: {member} has SHA-256 {digest}, expected {sha256}.")
    return data


def used_weights(data: bytes) -> Iterator[Half]:
    """Yield the stored float16 tensors of a TFLite file, in TFLite's layout, as the graph's operators take them."""
    model = tflite.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    stored: dict[int, Half] = {}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        inputs = operator.InputsAsNumpy()
        code = model.OperatorCodes(operator.OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == tflite.BuiltinOperator.DEQUANTIZE:
            tensor = graph.Tensors(inputs[0])
            values = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), "<f2")
            stored[operator.Outputs(0)] = values.reshape(tensor.ShapeAsNumpy())
            continue
        for k in inputs:
            if k in stored:
                yield stored[k]


def to_torch_layout(values: Half, kind: str) -> Half:
    """Bring one tensor into PyTorch's order of axes."""
    if kind == "vector":
        return values.reshape(-1)
    return values if kind == "dense" else np.ascontiguousarray(values.transpose(AXES[kind]))


def main() -> None:
    """Read the command line, convert, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="mediapipe wheel")
    parser.add_argument("target", type=Path, help="safetensors file to write")
    arguments = parser.parse_args()
    ours: dict[str, Half] = {}
    for member, sha256, names in ((PALM, PALM_SHA256, palm_names()), (HAND, HAND_SHA256, hand_names())):
        theirs = used_weights(read_member(arguments.wheel, member, sha256))
        ours |= {name: to_torch_layout(values, kind) for (name, kind), values in zip(names, theirs, strict=True)}
    ours = {name: values for name, values in ours.items() if not name.startswith(UNUSED)}
    # One entry only: safetensors writes several in random order, and the file's own hash is in the manifest.
    data = save(ours, metadata={"source_sha256": f"{PALM_SHA256} {HAND_SHA256}"})
    arguments.target.write_bytes(data)
    print(f"{arguments.target}: {len(ours)} tensors, {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
