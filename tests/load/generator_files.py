"""Files laid out as published generators are, with the weights of ``tests/data/generators.npz``."""

import json
import pickle
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

DATA = Path(__file__).resolve().parents[1] / "data" / "generators.npz"
SOURCE = "raise SystemExit('the source within the pickle was executed')"


def reference() -> dict[str, Any]:
    """Cases and arrays, as tools/make_generator_reference.py describes them."""
    with np.load(DATA) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return {**found, "cases": json.loads(found["cases"].tobytes())["cases"]}


def seeded(entries: list[Any]) -> dict[str, torch.Tensor]:
    """The tensors that a case's entries describe."""
    found = {}
    row = np.array([1.0, 3.0, 3.0, 1.0])
    for k, (name, shape, mean, deviation) in enumerate(entries):
        drawn = np.random.RandomState(k).standard_normal(shape) * deviation + mean
        found[name] = torch.from_numpy(np.asarray(drawn if deviation else np.outer(row, row) / 64 * mean, np.float32))
    return found


def _reconstruct_persistent_obj(meta: Any) -> None:
    raise AssertionError("called")


class EasyDict(dict):
    """As dnnlib has it."""


class Network:
    """A network of TensorFlow, as it is pickled."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


class Module:
    """A module of NVIDIA's PyTorch code, as it is pickled."""

    def __init__(self, kind: str, attributes: dict[str, Any]) -> None:
        self.kind = kind
        self.state: dict[str, Any] = {"training": False, "_parameters": OrderedDict(), "_buffers": OrderedDict()}
        self.state |= {
            "_modules": OrderedDict(),
            "_backward_hooks": OrderedDict(),
            "_non_persistent": set(),
            **attributes,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.kind, "state": self.state}
        return _reconstruct_persistent_obj, (meta,)


@contextmanager
def foreign_modules() -> Iterator[None]:
    """Lets the classes above be pickled under the names of NVIDIA's modules."""
    homes = {"dnnlib.util": EasyDict, "dnnlib.tflib.network": Network}
    homes["torch_utils.persistence"] = _reconstruct_persistent_obj  # type: ignore[assignment]
    before = {item: item.__module__ for item in homes.values()}
    names = [*homes, "dnnlib", "dnnlib.tflib", "torch_utils"]
    try:
        sys.modules.update({name: ModuleType(name) for name in names})
        for name, item in homes.items():
            setattr(sys.modules[name], item.__name__, item)
            item.__module__ = name
        yield
    finally:
        for name in names:
            del sys.modules[name]
        for item, name in before.items():
            item.__module__ = name


def module_tree(kind: str, tensors: dict[str, torch.Tensor], clamp: float | None) -> Module:
    """Modules with the tensors and those attributes that matter."""
    root = Module(kind, {"_init_kwargs": EasyDict(img_resolution=64), "z_dim": 24})
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module, walked = root, ""
        for part in path:
            walked = f"{walked}.{part}".lstrip(".")
            if part not in module.state["_modules"]:
                module.state["_modules"][part] = Module("Layer", attributes_of(kind, walked, clamp))
            module = module.state["_modules"][part]
        buffer = last in ("w_avg", "noise_const", "resample_filter")
        value = tensor if buffer else torch.nn.Parameter(tensor)
        module.state["_buffers" if buffer else "_parameters"][last] = value
    return root


def attributes_of(kind: str, name: str, clamp: float | None) -> dict[str, Any]:
    """What NVIDIA's layers keep beside their tensors."""
    parts = name.split(".")
    if parts[-1] in ("affine", "out", "skip"):
        return {"activation": "linear", "bias_gain": 1}
    if parts[-1].startswith("fc"):
        return {"activation": "lrelu", "bias_gain": 0.01 if parts[0] == "mapping" else 1}
    if parts[-1].startswith("b"):
        return {"architecture": "skip" if kind == "Generator" else "resnet"}
    if parts[-1].startswith("conv") or parts[-1] == "fromrgb":
        return {"activation": "lrelu", "conv_clamp": clamp}
    return {}


def tf_network(variables: dict[str, torch.Tensor], version: int = 4, **options: Any) -> Network:
    """A network of TensorFlow with its variables in components, as the published pickles have them."""
    arrays = {name: tensor.numpy() if tensor.ndim else np.float32(tensor) for name, tensor in variables.items()}
    homes: dict[str, list[Any]] = {}
    for name, value in arrays.items():
        home, _, rest = name.partition("/")
        if home in ("mapping", "synthesis"):
            homes.setdefault(home, []).append((rest, value))
        else:
            homes.setdefault("", []).append((name, value))
    own = homes.pop("", [])
    state = {"version": version, "name": "net", "build_module_src": SOURCE, "build_func_name": "G_main"}
    parts = {
        name: Network({**state, "static_kwargs": {}, "components": {}, "variables": inner})
        for name, inner in homes.items()
    }
    return Network({**state, "static_kwargs": dict(options), "components": parts, "variables": own})


def content_of(case: dict[str, Any]) -> Any:
    """What a published file of that layout holds."""
    made, judge = seeded(case["generator"]), seeded(case["discriminator"])
    if case["layout"] == "tensorflow":
        mean = tf_network(made, resolution=64, nonlinearity="lrelu")
        broken = tf_network({name: tensor * 0 for name, tensor in made.items()})
        return (broken, tf_network(judge, resolution=64, architecture="resnet"), mean)
    if case["layout"] == "ada":
        clamp = case["conv_clamp"]
        content: dict[str, Any] = {"G": module_tree("Generator", {k: v * 0 for k, v in made.items()}, clamp)}
        content |= {"D": module_tree("Discriminator", judge, clamp), "G_ema": module_tree("Generator", made, clamp)}
        return {**content, "training_set_kwargs": EasyDict(path="/data"), "augment_pipe": None}
    mean = torch.from_numpy(np.random.RandomState(9).randn(case["w_dim"]).astype(np.float32))
    return {"g": {k: v * 0 for k, v in made.items()}, "d": judge, "g_ema": OrderedDict(made), "latent_avg": mean}


def write_case(case: dict[str, Any], path: Path, protocol: int = 2) -> Path:
    """Write the file as the program behind that layout does."""
    if case["layout"] == "rosinality":
        torch.save(content_of(case), path)
    else:
        with foreign_modules():
            path.write_bytes(pickle.dumps(content_of(case), protocol))
    return path
