"""Make ``tests/data/judges_reference.json``: what the published ArcFace and BiSeNet compute, to compare ours with.

Runs their own code, from clones of github.com/deepinsight/insightface and github.com/zllrunning/face-parsing.PyTorch,
with weights by a rule (:func:`weights`), for no weights ship::

    python tools/make_judges_reference.py INSIGHTFACE FACE_PARSING

Stored are each network's tensors by name with their shapes in the order of its state, and its outputs for
:func:`probe`: of ArcFace the features before they are made a direction, of BiSeNet the scores of the classes at
``PIXELS``.
"""

import argparse
import importlib
import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

OUTPUT = Path(__file__).resolve().parents[1] / "tests" / "data" / "judges_reference.json"
PARSED = (64, 96)
"""Height and width of what BiSeNet is given."""
PIXELS = ((0, 0), (31, 47), (63, 95), (10, 80))
"""Rows and columns of the scores that are stored."""


def probe(height: int, width: int) -> torch.Tensor:
    """[1, 3, height, width] in [-1, 1], no two values alike."""
    values = np.sin(np.arange(3 * height * width, dtype=np.float64) ** 1.3 / 7)
    return torch.from_numpy(values.reshape(1, 3, height, width).astype(np.float32))


def weights(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """A tensor by its name: such that the last layer of a deep network is as lively as the first."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    values = random.standard_normal(shape)
    if name.endswith("running_var"):
        values = 0.5 + random.random(shape)
    elif len(shape) > 1:
        values *= (2 / np.prod(shape[1:])) ** 0.5
    elif name.endswith("weight"):
        values = (0.25 if "prelu" in name else 0.7) + 0.1 * values
    else:
        values *= 0.1
    return torch.from_numpy(values.astype(np.float32))


def describe(network: torch.nn.Module, image: torch.Tensor) -> dict[str, Any]:
    """A network's layout, and its output as a tensor under ``values``."""
    state = network.state_dict()
    network.load_state_dict({name: weights(name, tuple(x.shape)) for name, x in state.items()})
    with torch.no_grad():
        output = network.eval()(image)
    return {"tensors": {name: list(x.shape) for name, x in state.items()}, "values": output}


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Make tests/data/judges_reference.json.")
    parser.add_argument("insightface", type=Path, help="a clone of deepinsight/insightface")
    parser.add_argument("face_parsing", type=Path, help="a clone of zllrunning/face-parsing.PyTorch")
    arguments = parser.parse_args()
    sys.path += [str(arguments.insightface / "recognition/arcface_torch/backbones"), str(arguments.face_parsing)]
    # ResNet-18's constructor downloads weights, which are replaced here anyway.
    resnet = importlib.import_module("resnet")
    resnet.Resnet18.init_weight = lambda _: None
    backbones, parsing = importlib.import_module("iresnet"), importlib.import_module("model")
    found = {}
    for depth in ("r18", "r50"):
        network = getattr(backbones, f"i{depth.replace('r', 'resnet')}")()
        found[f"arcface_{depth}"] = describe(network, probe(112, 112))
        found[f"arcface_{depth}"]["values"] = found[f"arcface_{depth}"]["values"][0, :64].tolist()
    mean, deviation = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    described = describe(parsing.BiSeNet(19), (probe(*PARSED) / 2 + 0.5 - mean) / deviation)
    scores = described["values"][0][0]
    found["bisenet"] = {**described, "pixels": PIXELS, "values": [scores[:, y, x].tolist() for y, x in PIXELS]}
    reference = {"made_by": "tools/make_judges_reference.py", "torch": torch.__version__, **found}
    OUTPUT.write_text(json.dumps(reference, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
