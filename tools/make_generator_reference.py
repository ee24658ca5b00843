"""Make ``tests/data/generators.npz``: what NVIDIA's and rosinality's own StyleGAN2 draw with known random weights.

Needs copies of both repositories, and nothing of this project, so that no mistake of its own can agree with itself::

    git clone https://github.com/NVlabs/stylegan2-ada-pytorch /tmp/ada
    git clone https://github.com/rosinality/stylegan2-pytorch /tmp/rosinality
    python tools/make_generator_reference.py --ada /tmp/ada --rosinality /tmp/rosinality

On the CPU both use their plain operations; rosinality's compile a CUDA extension on import, which is left out here. Its
layers' widths are constants: they are replaced by smaller ones in the source text before it is run, nothing else is
changed. The TensorFlow layout goes through NVIDIA's own converter (``legacy.py``).

Stored per case, in ``cases`` (JSON): the layout, each tensor's name, shape, mean and deviation in the network's own
names, in the order of its state dict. The k-th tensor (from 0) is, in float32,
``RandomState(k).standard_normal(shape) * deviation + mean``; one with a deviation of 0 is a resampling filter,
[1, 3, 3, 1] squared, whose sum is the mean. The mean latent of rosinality's is ``RandomState(9).randn(w_dim)``. For
every case the arrays hold what these weights draw in float32 with constant noise, channels first: ``NAME.z`` from
``RandomState(7).randn(1, z_dim)`` at psi 0.7, ``NAME.w`` from ``RandomState(8).randn(1, num_ws, w_dim)``, each every
``stride``-th pixel of the picture; ``NAME.crop``: 24 x 24 pixels from row 20 and column 36 of the latter;
``NAME.logits`` [2, 1]: the discriminator's for both as one batch.
"""

import argparse
import importlib
import json
import re
import sys
import types
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

OUTPUT = Path(__file__).resolve().parents[1] / "tests" / "data" / "generators.npz"
Entry = tuple[str, list[int], float, float]


def values(entries: list[Entry]) -> dict[str, torch.Tensor]:
    """The tensors that the entries describe."""
    found = {}
    for k, (name, shape, mean, deviation) in enumerate(entries):
        drawn = np.random.RandomState(k).standard_normal(shape) * deviation + mean
        if not deviation:
            row = np.array([1.0, 3.0, 3.0, 1.0])
            drawn = np.outer(row, row) / 64 * mean
        found[name] = torch.from_numpy(np.asarray(drawn, np.float32))
    return found


def describe(network: torch.nn.Module) -> list[Entry]:
    """Entries of the size that the network's own random start has; what starts without any gets a tenth."""
    entries: list[Entry] = []
    for name, tensor in network.state_dict().items():
        if re.search(r"(resample_filter|kernel)$", name):
            entries.append((name, list(tensor.shape), float(tensor.sum()), 0.0))
            continue
        spread = float(tensor.std(correction=0)) if tensor.numel() > 1 else 0.0
        deviation = 0.1 if spread == 0 else 100.0 if spread > 20 else 1.0
        entries.append((name, list(tensor.shape), round(float(tensor.mean())) if spread == 0 else 0.0, deviation))
    return entries


def tensorflow_entries(side: int, base: int, limit: int, layers: int, z_dim: int, w_dim: int) -> dict[str, list[Entry]]:
    """Variables of a generator and a discriminator as NVlabs/stylegan2 names them."""
    generator: list[Entry] = [("dlatent_avg", [w_dim], 0.0, 0.3), ("lod", [], 0.0, 1.0)]
    for k in range(layers):
        generator.append((f"mapping/Dense{k}/weight", [z_dim if k == 0 else w_dim, w_dim], 0.0, 100.0))
        generator.append((f"mapping/Dense{k}/bias", [w_dim], 0.0, 0.1))
    width = {2**k: min(2 * base // 2**k, limit) for k in range(2, side.bit_length())}
    generator.append(("synthesis/4x4/Const/const", [1, width[4], 4, 4], 0.0, 1.0))
    judge: list[Entry] = [(f"{side}x{side}/FromRGB/weight", [1, 1, 3, width[side]], 0.0, 1.0)]
    judge.append((f"{side}x{side}/FromRGB/bias", [width[side]], 0.0, 0.1))
    count = 0
    for level, outputs in width.items():
        inputs = width.get(level // 2, outputs)
        kinds = [("Conv", outputs, outputs, 3)] if level == 4 else [("Conv0_up", inputs, outputs, 3)]
        kinds += [] if level == 4 else [("Conv1", outputs, outputs, 3)]
        for name, into, out, kernel in [*kinds, ("ToRGB", outputs, 3, 1)]:
            layer = f"synthesis/{level}x{level}/{name}"
            generator.append((f"{layer}/weight", [kernel, kernel, into, out], 0.0, 1.0))
            generator.append((f"{layer}/mod_weight", [w_dim, into], 0.0, 1.0))
            generator.append((f"{layer}/mod_bias", [into], 0.0, 0.1))
            generator.append((f"{layer}/bias", [out], 0.0, 0.1))
            if name != "ToRGB":
                generator.append((f"{layer}/noise_strength", [], 0.0, 0.1))
                generator.append((f"synthesis/noise{count}", [1, 1, level, level], 0.0, 1.0))
                count += 1
        if level > 4:
            for name, out, kernel in (("Conv0", outputs, 3), ("Conv1_down", inputs, 3), ("Skip", inputs, 1)):
                judge.append((f"{level}x{level}/{name}/weight", [kernel, kernel, outputs, out], 0.0, 1.0))
                if name != "Skip":
                    judge.append((f"{level}x{level}/{name}/bias", [out], 0.0, 0.1))
    judge += [("4x4/Conv/weight", [3, 3, width[4] + 1, width[4]], 0.0, 1.0), ("4x4/Conv/bias", [width[4]], 0.0, 0.1)]
    judge += [("4x4/Dense0/weight", [16 * width[4], width[4]], 0.0, 1.0), ("4x4/Dense0/bias", [width[4]], 0.0, 0.1)]
    judge += [("Output/weight", [width[4], 1], 0.0, 1.0), ("Output/bias", [1], 0.0, 0.1)]
    return {"generator": generator, "discriminator": judge}


class Maker:
    """Runs the networks and collects what they draw."""

    def __init__(self) -> None:
        self.cases: dict[str, Any] = {}
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}

    @torch.no_grad()
    def add(self, name: str, case: dict[str, Any], draw: Any, judge: Any) -> None:
        """``draw(z, w)`` gives a picture of whichever is not None, ``judge`` logits of pictures."""
        z = torch.from_numpy(np.random.RandomState(7).randn(1, case["z_dim"]).astype(np.float32))
        w = torch.from_numpy(np.random.RandomState(8).randn(1, case["num_ws"], case["w_dim"]).astype(np.float32))
        pictures = [draw(z, None), draw(None, w)]
        stride = case["resolution"] // 32
        self.cases[name] = {**case, "stride": stride}
        for key, picture in zip(("z", "w"), pictures, strict=True):
            self.arrays[f"{name}.{key}"] = picture[0, :, ::stride, ::stride].numpy()
        self.arrays[f"{name}.crop"] = pictures[1][0, :, 20:44, 36:60].numpy()
        self.arrays[f"{name}.logits"] = judge(torch.cat(pictures)).numpy()
        print(name, float(pictures[0].std()), float(pictures[1].std()), self.arrays[f"{name}.logits"].ravel())

    def add_ada(self, name: str, side: int, base: int, limit: int, clamp: float | None) -> None:
        """NVIDIA's PyTorch networks."""
        networks = importlib.import_module("training.networks")
        kwargs = {"channel_base": base, "channel_max": limit, "conv_clamp": clamp}
        made = networks.Generator(24, 0, 20, side, 3, {"num_layers": 3}, kwargs).eval()
        judge = networks.Discriminator(0, side, 3, **kwargs).eval()
        entries = {"generator": describe(made), "discriminator": describe(judge)}
        made.load_state_dict(values(entries["generator"]))
        judge.load_state_dict(values(entries["discriminator"]))
        case = {"layout": "ada", "resolution": side, "z_dim": 24, "w_dim": 20, "num_ws": made.num_ws}
        self.add(name, {**case, "conv_clamp": clamp, **entries}, ada_drawing(made), lambda x: judge(x, None))

    def add_tensorflow(self, name: str, side: int, base: int, limit: int) -> None:
        """NVIDIA's PyTorch networks, converted by NVIDIA from TensorFlow's layout."""
        with mock.patch.dict(sys.modules, {"click": mock.MagicMock()}):  # of its command line
            legacy = importlib.import_module("legacy")
        entries = tensorflow_entries(side, base, limit, 3, 24, 20)
        kwargs = {"fmap_base": base, "fmap_max": limit, "resolution": side}
        nets = {}
        for key, more in (
            ("generator", {"latent_size": 24, "dlatent_size": 20, "mapping_layers": 3}),
            ("discriminator", {}),
        ):
            variables = [(n, tensor.numpy()) for n, tensor in values(entries[key]).items()]
            stub = {"version": 4, "static_kwargs": {**kwargs, **more}, "variables": variables, "components": {}}
            nets[key] = getattr(legacy, f"convert_tf_{key}")(types.SimpleNamespace(**stub))
        made, judge = nets["generator"], nets["discriminator"]
        case = {"layout": "tensorflow", "resolution": side, "z_dim": 24, "w_dim": 20, "num_ws": made.num_ws}
        self.add(name, {**case, **entries}, ada_drawing(made), lambda x: judge(x, None))

    def add_rosinality(self, name: str, model: Any, side: int) -> None:
        """Rosinality's networks."""
        made, judge = model.Generator(side, 20, 3).eval(), model.Discriminator(side).eval()
        entries = {"generator": describe(made), "discriminator": describe(judge)}
        made.load_state_dict(values(entries["generator"]))
        judge.load_state_dict(values(entries["discriminator"]))
        mean = torch.from_numpy(np.random.RandomState(9).randn(20).astype(np.float32))

        def draw(z: Any, w: Any) -> Any:
            if z is None:
                return made([w], input_is_latent=True, randomize_noise=False)[0]
            return made([z], truncation=0.7, truncation_latent=mean, randomize_noise=False)[0]

        case = {"layout": "rosinality", "resolution": side, "z_dim": 20, "w_dim": 20, "num_ws": made.n_latent}
        self.add(name, {**case, **entries}, draw, judge)


def ada_drawing(network: Any) -> Any:
    """How NVIDIA's networks are called."""

    def draw(z: Any, w: Any) -> Any:
        ws = network.mapping(z, None, truncation_psi=0.7) if w is None else w
        return network.synthesis(ws, noise_mode="const", force_fp32=True)

    return draw


def rosinality_model(folder: Path, base: int, limit: int) -> Any:
    """The module ``model`` with layers of min(base / resolution, limit) channels."""
    text = (folder / "model.py").read_text(encoding="utf-8")
    text, count = re.subn(
        r"(?m)^( +)(\d+): (?:512|\d+ \* channel_multiplier),$",
        lambda m: f"{m[1]}{m[2]}: {min(base // int(m[2]), limit)},",
        text,
    )
    if count != 18:
        raise ValueError(f"expected 18 widths in rosinality's model.py, got {count}")
    module = types.ModuleType("rosinality_model")
    exec(compile(text, "model.py", "exec"), module.__dict__)
    return module


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Make tests/data/generators.npz.")
    parser.add_argument("--ada", type=Path, required=True)
    parser.add_argument("--rosinality", type=Path, required=True)
    asked = parser.parse_args()
    maker = Maker()
    sys.path.insert(0, str(asked.ada))
    maker.add_ada("ada_64", 64, 1024, 24, None)
    maker.add_ada("ada_256", 256, 2048, 24, 2.0)
    maker.add_tensorflow("tensorflow_64", 64, 512, 24)
    sys.path.insert(0, str(asked.rosinality))
    with mock.patch("torch.utils.cpp_extension.load"):
        maker.add_rosinality("rosinality_64", rosinality_model(asked.rosinality, 1024, 24), 64)
        maker.add_rosinality("rosinality_256", rosinality_model(asked.rosinality, 2048, 24), 256)
    note = {"made_by": "tools/make_generator_reference.py", "torch": torch.__version__, "cases": maker.cases}
    text = np.frombuffer(json.dumps(note, separators=(",", ":")).encode(), np.uint8)
    np.savez_compressed(OUTPUT, cases=text, **maker.arrays)  # type: ignore[arg-type]
    print(OUTPUT, OUTPUT.stat().st_size)


if __name__ == "__main__":
    main()
