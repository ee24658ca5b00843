"""Convert MediaPipe's selfie segmentation and iris landmarks to ``models/person.safetensors``, ``iris.safetensors``.

    pip install flatbuffers tflite numpy safetensors
    python tools/convert_person.py mediapipe-0.10.21-....whl models

The source is the wheel ``mediapipe`` 0.10.21 from PyPI (read as a zip, never installed). The graphs around the weights
are fixed by the files' SHA-256; ``ostec/nets/person.py`` and ``ostec/nets/iris.py`` write them out. The weights are
taken in the order in which the graph uses them, and stored as float16. No TensorFlow is needed.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tflite  # type: ignore[import-not-found,import-untyped,unused-ignore]
from safetensors.numpy import save

from convert_hands import AXES, UNUSED, read_member

PERSON = "mediapipe/modules/selfie_segmentation/selfie_segmentation.tflite"
PERSON_SHA256 = "9ee168ec7c8f2a16c56fe8e1cfbc514974cbbb7e434051b455635f1bd1462f5c"
IRIS = "mediapipe/modules/iris_landmark/iris_landmark.tflite"
IRIS_SHA256 = "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"
GATED = (0, 3, 4, 5, 6, 7)
"""Blocks of the segmentation's encoder whose channels are weighed."""
LAYOUT = AXES | {"transposed": (3, 0, 1, 2)}


def person_names() -> Iterator[tuple[str, str]]:
    """Yield (PyTorch name, kind) of each tensor of the segmentation in the order of the graph."""
    yield from _weights("stem", "conv")
    for block in range(8):
        yield from _weights(f"blocks.{block}.widen", "conv")
        yield from _weights(f"blocks.{block}.depthwise", "depthwise")
        if block in GATED:
            yield from _gate(f"blocks.{block}.gate")
        yield from _weights(f"blocks.{block}.narrow", "conv")
    yield from _weights("deep", "conv")
    yield from _weights("deep_gate", "conv")
    for merge in range(3):
        yield from _weights(f"merges.{merge}.enter", "conv")
        yield from _gate(f"merges.{merge}.gate")
        yield from _weights(f"merges.{merge}.pointwise", "conv")
        yield from _weights(f"merges.{merge}.depthwise", "depthwise")
    yield from _weights("last", "transposed")


def iris_names() -> Iterator[tuple[str, str]]:
    """Yield the same for the iris; from the trunk on, the graph does the lids' branch and the iris's side by side."""
    yield from _weights("stem", "conv")
    yield "stem_act.weight", "vector"
    for block in range(10):
        for layers in _bottleneck(f"trunk.{block}"):
            yield from layers
    for block in range(8):
        both = zip(_bottleneck(f"{UNUSED}.{block}"), _bottleneck(f"branch.{block}"), strict=True)
        for lids, iris in both:
            yield from lids
            yield from iris
    yield from _weights(f"{UNUSED}.head", "conv")
    yield from _weights("head", "conv")


def _weights(name: str, kind: str) -> Iterator[tuple[str, str]]:
    yield f"{name}.weight", kind
    yield f"{name}.bias", "vector"


def _gate(name: str) -> Iterator[tuple[str, str]]:
    yield from _weights(f"{name}.narrow", "conv")
    yield from _weights(f"{name}.widen", "conv")


def _bottleneck(name: str) -> Iterator[list[tuple[str, str]]]:
    yield list(_weights(f"{name}.narrow", "conv"))
    yield [(f"{name}.narrow_act.weight", "vector")]
    yield list(_weights(f"{name}.depthwise", "depthwise"))
    yield list(_weights(f"{name}.widen", "conv"))
    yield [(f"{name}.act.weight", "vector")]


def used_weights(data: bytes) -> Iterator[npt.NDArray[np.float16]]:
    """Yield the stored tensors of a TFLite file, in TFLite's layout, as the graph's operators take them."""
    model = tflite.Model.GetRootAs(data)
    graph = model.Subgraphs(0)
    kinds = {tflite.TensorType.FLOAT16: "<f2", tflite.TensorType.FLOAT32: "<f4"}
    same: dict[int, int] = {}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        if max(code.BuiltinCode(), code.DeprecatedBuiltinCode()) == tflite.BuiltinOperator.DEQUANTIZE:
            same[operator.Outputs(0)] = operator.Inputs(0)
            continue
        for k in operator.InputsAsNumpy():
            tensor = graph.Tensors(same.get(k, k))
            buffer = model.Buffers(tensor.Buffer())
            if buffer.DataLength() and tensor.Type() in kinds:
                values = np.frombuffer(buffer.DataAsNumpy().tobytes(), kinds[tensor.Type()])
                yield values.reshape(tensor.ShapeAsNumpy()).astype(np.float16)


def to_torch_layout(values: npt.NDArray[np.float16], kind: str) -> npt.NDArray[np.float16]:
    """Bring one tensor into PyTorch's order of axes."""
    return values.reshape(-1) if kind == "vector" else np.ascontiguousarray(values.transpose(LAYOUT[kind]))


def main() -> None:
    """Read the command line, convert, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="mediapipe wheel")
    parser.add_argument("folder", type=Path, help="where to write")
    arguments = parser.parse_args()
    for target, member, sha256, names in (
        ("person.safetensors", PERSON, PERSON_SHA256, person_names()),
        ("iris.safetensors", IRIS, IRIS_SHA256, iris_names()),
    ):
        theirs = used_weights(read_member(arguments.wheel, member, sha256))
        ours = {name: to_torch_layout(values, kind) for (name, kind), values in zip(names, theirs, strict=True)}
        ours = {name: values for name, values in ours.items() if not name.startswith(UNUSED)}
        # One entry only: safetensors writes several in random order, and the file's own hash is in the manifest.
        data = save(ours, metadata={"source_sha256": sha256})
        (arguments.folder / target).write_bytes(data)
        print(f"{target}: {len(ours)} tensors, {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
