"""Convert dlib's face recognition network to ``models/identity.safetensors``.

    npm pack @vladmandic/face-api@1.7.15
    python tools/convert_identity.py vladmandic-face-api-1.7.15.tgz models/identity.safetensors --portraits PORTRAITS

The source is the npm package's archive, read as it is. Most kernels are 8-bit numbers, eight of 64 channels are
float32, and all stay so to the bit; the bias and the scale behind each are made one scale and one bias. ``--portraits``
names a folder of aligned portraits whose mean descriptor, without those that are held out, becomes the centre of
``DlibFace.embed``.
"""

import argparse
import hashlib
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from ostec.core.types import Array
from ostec.load.networks import load_facemesh
from ostec.nets.dlib_face import STEP, DlibFace, dlib_face_from_tensors
from ostec.project.identity import identity_crop
from ostec.render.crops import warp
from ostec.train.portraits import is_held_out, observe_portraits, picture_paths

SHA256 = "b413e420d6840b2775fba32008db6f3cddb07d485967fb42cfcf379c16a8c589"
"""Of the weights in the package."""
WEIGHTS = "package/model/face_recognition_model.bin"
MANIFEST = "package/model/face_recognition_model-weights_manifest.json"
BLOCKS = (
    *("conv32_1", "conv32_2", "conv32_3", "conv64_down", "conv64_1", "conv64_2", "conv64_3"),
    *("conv128_down", "conv128_1", "conv128_2"),
    *("conv256_down", "conv256_1", "conv256_2", "conv256_down_out"),
)
"""In the order of ``DlibFace.blocks``."""


class Source:
    """The package's tensors by name: numbers, step and least value, in TensorFlow's layout."""

    def __init__(self, archive: Path) -> None:
        with tarfile.open(archive) as package:
            data, text = (package.extractfile(name).read() for name in (WEIGHTS, MANIFEST))  # type: ignore[union-attr]
        digest = hashlib.sha256(data).hexdigest()
        if digest != SHA256:
            sys.exit(f"{archive}: {WEIGHTS} has SHA-256 {digest}, expected {SHA256}.")
        self._parts: dict[str, tuple[Array, float, float]] = {}
        start = 0
        for entry in (entry for group in json.loads(text) for entry in group["weights"]):
            count = int(np.prod(entry["shape"]))
            stored: dict[str, Any] | None = entry.get("quantization")
            values = np.frombuffer(data, np.uint8 if stored else "<f4", count, start).reshape(entry["shape"])
            self._parts[entry["name"]] = (values, stored["scale"], stored["min"]) if stored else (values, 1.0, 0.0)
            start += values.nbytes
        if start != len(data):
            sys.exit(f"{archive}: {WEIGHTS} has {len(data)} bytes, the tensors of {MANIFEST} have {start}.")

    @property
    def left(self) -> list[str]:
        """What nobody took."""
        return sorted(self._parts)

    def kernel(self, theirs: str, ours: str, axes: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """A kernel as it is, its axes in PyTorch's order."""
        values, step, least = self._parts.pop(theirs)
        kernel = torch.from_numpy(np.ascontiguousarray(values.transpose(axes)))
        stored = {ours + STEP: torch.tensor([step, least], dtype=torch.float64)}
        return {ours: kernel, **(stored if kernel.dtype == torch.uint8 else {})}

    def numbers(self, theirs: str) -> torch.Tensor:
        """A vector's values."""
        values, step, least = self._parts.pop(theirs)
        return torch.from_numpy(values.astype(np.float64) * step + least)

    def layer(self, theirs: str, ours: str) -> dict[str, torch.Tensor]:
        """A convolution, its bias and its scale: scale (k * x + b) + c = scale (k * x) + (scale b + c)."""
        kernel = self.kernel(f"{theirs}/conv/filters", f"{ours}.conv.weight", (3, 2, 0, 1))
        bias, scale, added = (self.numbers(f"{theirs}/{n}") for n in ("conv/bias", "scale/weights", "scale/biases"))
        return {**kernel, f"{ours}.scale": scale.float(), f"{ours}.bias": (scale * bias + added).float()}


def convert(source: Source) -> dict[str, torch.Tensor]:
    """Every tensor of ``DlibFace`` but the centre, which is zero."""
    found = source.layer("conv32_down", "stem")
    for k, name in enumerate(BLOCKS):
        for theirs, ours in (("conv1", "first"), ("conv2", "second")):
            found |= source.layer(f"{name}/{theirs}", f"blocks.{k}.{ours}")
    return found | source.kernel("fc", "last.weight", (1, 0)) | {"centre": torch.zeros(128)}


def descriptors(network: DlibFace, portraits: Path) -> dict[str, torch.Tensor]:
    """File stem -> dlib's descriptor [128] of each aligned portrait of a folder."""
    found = {}
    for path, image, landmarks in observe_portraits(picture_paths(portraits), load_facemesh(torch.device("cpu"))):
        planes = torch.from_numpy(image).permute(2, 0, 1)[None]
        with torch.no_grad():
            found[path.stem] = network(warp(planes, [identity_crop(landmarks.points, network)]) * 2 - 1)[0]
    return found


def main() -> None:
    """Read the command line, convert, say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="archive of the npm package")
    parser.add_argument("target", type=Path, help="safetensors file to write")
    parser.add_argument("--portraits", type=Path, required=True, help="folder of aligned portraits, for the centre")
    arguments = parser.parse_args()
    source = Source(arguments.source)
    tensors = convert(source)
    if source.left:
        sys.exit(f"Tensors of no use in the network: {', '.join(source.left)}.")
    network = dlib_face_from_tensors(tensors, str(arguments.source))
    found = descriptors(network, arguments.portraits)
    tensors["centre"] = torch.stack([x for name, x in found.items() if not is_held_out(name)]).mean(0)
    data = save(tensors)
    arguments.target.write_bytes(data)
    print(f"{arguments.target}: {len(tensors)} tensors, {len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
