"""Files of face generators, recognised by what they hold: this project's own, NVIDIA's, rosinality's, e4e's.

Pickles are read by :mod:`ostec.io.pickles`: nothing in them is executed, and the programs that NVIDIA's carry are left
alone.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.errors import AssetError, WeightsError, kind_of
from ostec.core.plain import read_json
from ostec.core.types import FloatArray
from ostec.io.pickles import Stub, read_objects, told
from ostec.io.weights import is_safetensors, read_safetensors
from ostec.nets import published
from ostec.nets.checkpoint import PortraitGenerator, generator_from_tensors, natural_generator

_MODULES_LIMIT = 10_000
_NAME_LIMIT = 200
"""Letters: names of parts are put together, and each may be a long one that the file has only once."""
_TRAINING_CLAMP = 256.0
"""What NVIDIA's training code sets; a bare state dict does not say it."""
_NO_MEAN = "The file has no mean latent; the mean of 10,000 mapped z takes its place."
_NO_CLAMP = f"The file does not say its conv_clamp; {_TRAINING_CLAMP:.0f} is taken, as NVIDIA's training code sets it."
_NO_NOISE = "The file has no constant noise; none is added where it is asked for."

OWN = "safetensors of this project"
TENSORFLOW = "NVIDIA's TensorFlow pickle"
ADA = "NVIDIA's PyTorch pickle"
ADA_STATE = "state dict with NVIDIA's names"
ROSINALITY = "rosinality's checkpoint"
E4E = "decoder of encoder4editing"


@dataclass(frozen=True)
class ReadGenerator:
    """A generator and what its file was."""

    model: PortraitGenerator
    layout: str
    card: dict[str, Any] = field(default_factory=dict)
    """The JSON beside it, for a file of this project."""


def read_generator(path: Path) -> ReadGenerator:
    """Read a generator, in evaluation mode, on the CPU.

    Published ones come as generators of natural photos, with their discriminator where the file has it. ``G_ema``,
    ``Gs`` and ``g_ema``, the running means, are taken before the networks of the last training step. Raises AssetError
    if the file or the JSON beside it is missing or damaged, or it holds no such generator.
    """
    if is_safetensors(path):
        card = read_card(path)
        model = generator_from_tensors(read_safetensors(path), card, str(path))
        return ReadGenerator(model, str(card.get("layout", OWN)), card)
    return _Reader(str(path)).read(read_objects(path))


def read_card(path: Path) -> dict[str, Any]:
    """The JSON beside a file of tensors; a published file has none, and all that is needed in itself.

    Raises AssetError if it is missing or damaged.
    """
    if path.is_file() and not is_safetensors(path):
        return {}
    beside = path.with_suffix(".json")
    try:
        card = read_json(beside)
    except (OSError, ValueError) as error:
        raise AssetError(f"{beside}, which belongs to {path.name}, cannot be read.") from error
    if not isinstance(card, dict):
        raise AssetError(f"{beside} is no card of {path.name}.")
    return card


class _Reader:
    """Turns what a file holds into networks; ``source`` names the file in messages."""

    def __init__(self, source: str) -> None:
        self._source = source

    def read(self, content: Any) -> ReadGenerator:
        """Find out what it is."""
        if isinstance(content, tuple | list) and content and all(_is_tf_network(item) for item in content):
            return self._tensorflow(content)
        if isinstance(content, dict):
            mean, state = content.get("G_ema"), content.get("state_dict")
            if isinstance(mean, Stub):
                return self._ada(mean, content.get("D"))
            averaged = content.get("g_ema", content.get("g"))
            if isinstance(averaged, dict):
                return self._rosinality(averaged, content.get("latent_avg"), content.get("d"), ROSINALITY)
            if isinstance(state, dict) and any(isinstance(k, str) and k.startswith("decoder.") for k in state):
                parts = {k: v for k, v in state.items() if isinstance(k, str) and k.startswith("decoder.")}
                decoder = {name.removeprefix("decoder."): value for name, value in parts.items()}
                return self._rosinality(decoder, content.get("latent_avg"), None, E4E)
            if "synthesis.b4.const" in content:
                return self._state(content)
            if "input.input" in content:
                return self._rosinality(content, None, None, ROSINALITY)
        held = ", ".join(sorted(told(key) for key in content)[:6]) if isinstance(content, dict) else ""
        raise self._refusal("the networks of a StyleGAN2", held or told(content))

    def _refusal(self, expected: str, found: str) -> WeightsError:
        return WeightsError(f"{self._source} cannot be used: expected {expected}, found {found}.")

    # NVIDIA's TensorFlow pickle: (G, D, Gs)

    def _tensorflow(self, networks: Any) -> ReadGenerator:
        mean = networks[-1]
        state = self._tf_options(mean)
        variables = self._tf_variables(mean)
        tensors = published.generator_from_tensorflow(variables, self._source)
        clamp = self._clamp(state.get("conv_clamp"))
        generator = published.build_generator(tensors, self._source, clamp)
        discriminator = None
        if len(networks) == 3:
            options = self._tf_options(networks[1])
            judged = published.discriminator_from_tensorflow(self._tf_variables(networks[1]), self._source)
            group = self._group(options.get("mbstd_group_size", 4))
            discriminator = published.build_discriminator(
                judged, self._source, group, self._clamp(options.get("conv_clamp"))
            )
        return ReadGenerator(natural_generator(generator, discriminator), TENSORFLOW)

    def _tf_options(self, network: Stub) -> dict[str, Any]:
        """The options that the network was built with, of which those that change the architecture are checked."""
        state = network.state if isinstance(network.state, dict) else {}
        options = state.get("static_kwargs")
        if state.get("version") not in (2, 3, 4) or not isinstance(options, dict):
            raise self._refusal("a network of version 2, 3 or 4", f"version {told(state.get('version'))}")
        expected = {
            "architecture": ("skip", "resnet"),
            "nonlinearity": ("lrelu",),
            "mapping_nonlinearity": ("lrelu",),
            "mapping_lrmul": (0.01,),
            "resample_kernel": ([1, 3, 3, 1], (1, 3, 3, 1)),
            "label_size": (0,),
            "num_channels": (3,),
            "use_noise": (True,),
        }
        for name, values in expected.items():
            self._require(name, options.get(name), values)
        return options

    def _tf_variables(self, network: Stub, prefix: str = "", depth: int = 0) -> dict[str, torch.Tensor]:
        """The network's variables and those of its components."""
        state = network.state if isinstance(network.state, dict) else {}
        pairs, components = state.get("variables"), state.get("components") or {}
        if not isinstance(pairs, list) or not isinstance(components, dict) or depth > 4 or len(components) > 16:
            raise self._refusal("a network with its variables", "one without")
        found = {}
        for pair in pairs:
            if not (isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str)):
                raise self._refusal("a network with its variables", "something else")
            small = isinstance(pair[1], float) or (isinstance(pair[1], int) and abs(pair[1]) < 1 << 64)
            whole = self._joined(prefix, pair[0])
            found[whole] = self._tensor(whole, torch.tensor(float(pair[1])) if small else pair[1])
        for name, component in components.items():
            if not _is_tf_network(component):
                raise self._refusal("a network with its components", "something else")
            found |= self._tf_variables(component, self._joined(prefix, name) + "/", depth + 1)
        return found

    # NVIDIA's PyTorch pickles: dict of modules

    def _ada(self, mean: Stub, judge: Any) -> ReadGenerator:
        modules = dict(self._modules(mean))
        if "synthesis.input" in modules:
            raise self._refusal("a StyleGAN2", "a StyleGAN3")
        self._check_layers(modules)
        tensors = published.without_filters(self._module_tensors(modules), self._source)
        clamp = self._clamp(modules.get("synthesis.b4.conv1", {}).get("conv_clamp"))
        generator = published.build_generator(tensors, self._source, clamp)
        discriminator = None
        if isinstance(judge, Stub):
            parts = dict(self._modules(judge))
            self._check_layers(parts)
            group = self._group(parts.get("b4.mbstd", {}).get("group_size", 4))
            limit = self._clamp(parts.get("b4.conv", {}).get("conv_clamp"))
            judged = published.without_filters(self._module_tensors(parts), self._source)
            discriminator = published.build_discriminator(judged, self._source, group, limit)
        return ReadGenerator(natural_generator(generator, discriminator), ADA)

    def _modules(self, root: Stub) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and state of a module and all those within it."""
        waiting = [("", root)]
        for _ in range(_MODULES_LIMIT):
            if not waiting:
                return
            name, module = waiting.pop()
            state = module.state
            children = state.get("_modules", {}) if isinstance(state, dict) else None
            if not isinstance(children, dict):
                raise self._refusal("a module of PyTorch", f"a {module.name[:60]} without state")
            yield name, state
            for child, inner in children.items():
                if isinstance(inner, Stub):
                    waiting.append((self._joined(name, child, "."), inner))
        raise self._refusal("the modules of a StyleGAN2", f"more than {_MODULES_LIMIT}")

    def _module_tensors(self, modules: dict[str, dict[str, Any]]) -> dict[str, torch.Tensor]:
        found = {}
        for name, state in modules.items():
            for table in (state.get("_parameters"), state.get("_buffers")):
                for key, value in (table if isinstance(table, dict) else {}).items():
                    if value is not None:
                        whole = self._joined(name, key, ".")
                        found[whole] = self._tensor(whole, value)
        return found

    def _check_layers(self, modules: dict[str, dict[str, Any]]) -> None:
        """Check what tensors do not tell."""
        for name, state in modules.items():
            last = name.rpartition(".")[2]
            linear = last in ("affine", "embed", "out", "skip")
            self._require(f"{name}.activation", state.get("activation"), ("linear",) if linear else ("lrelu",))
            self._require(
                f"{name}.architecture", state.get("architecture"), ("skip",) if "synthesis" in name else ("resnet",)
            )
            if name.startswith("mapping.fc"):
                self._require(f"{name}.bias_gain", state.get("bias_gain"), (0.01,))

    def _state(self, content: dict[str, Any]) -> ReadGenerator:
        kept = published.without_filters(self._named(content), self._source)
        generator = published.build_generator(kept, self._source, _TRAINING_CLAMP)
        return ReadGenerator(natural_generator(generator, notes=(_NO_CLAMP,)), ADA_STATE)

    # rosinality's names

    def _rosinality(self, state: dict[str, Any], mean: Any, judge: Any, layout: str) -> ReadGenerator:
        notes = []
        tensors = published.generator_from_rosinality(self._named(state), self._source)
        if mean is None:
            notes.append(_NO_MEAN)
        else:
            tensors["mapping.w_avg"] = self._mean(self._tensor("latent_avg", mean))
        if not any(name.endswith("noise_const") for name in tensors):
            notes.append(_NO_NOISE)
            tensors |= published.silent_noise(tensors)
        generator = published.build_generator(tensors, self._source)
        discriminator = None
        if isinstance(judge, dict):
            judged = published.discriminator_from_rosinality(self._named(judge), self._source)
            discriminator = published.build_discriminator(judged, self._source)
        return ReadGenerator(natural_generator(generator, discriminator, tuple(notes)), layout)

    def _mean(self, given: torch.Tensor) -> torch.Tensor:
        """The mean W [W] from [W] or from equal rows [..., num_ws, W]."""
        if not given.ndim or not given.numel():
            raise self._refusal("latent_avg of the shape [512] or [18, 512]", str(tuple(given.shape)))
        rows = given.reshape(-1, given.shape[-1]).float()
        if not torch.allclose(rows, rows[:1].expand_as(rows), atol=1e-5, equal_nan=True):
            raise self._refusal("one mean latent for all layers", "several")
        return rows[0]

    # names and values

    def _joined(self, home: str, name: Any, point: str = "") -> str:
        """The whole name of a part."""
        if not isinstance(name, str) or len(home) + len(name) > _NAME_LIMIT:
            raise self._refusal("the names of a StyleGAN2", told(name))
        return f"{home}{point}{name}" if home else name

    def _named(self, table: dict[Any, Any]) -> dict[str, torch.Tensor]:
        """Tensors by name."""
        return {self._joined("", name): self._tensor(str(name), value) for name, value in table.items()}

    def _tensor(self, name: str, value: Any) -> torch.Tensor:
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            return torch.from_numpy(value)
        if isinstance(value, torch.Tensor):
            return value
        raise self._refusal("tensors", f"{kind_of(value)} called {name[:80]}")

    def _require(self, name: str, value: Any, allowed: tuple[Any, ...]) -> None:
        parts = value if isinstance(value, list | tuple) else (value,)
        plain = all(isinstance(part, str | int | float) for part in parts)
        if value is not None and not (plain and value in allowed):
            raise self._refusal(f"{name} {allowed[0]}", told(value))

    def _clamp(self, value: Any) -> float | None:
        if value is None or (isinstance(value, int | float) and 0 < value < 1e30):
            return value
        raise self._refusal("a positive conv_clamp", told(value))

    def _group(self, value: Any) -> int | None:
        if value is None or (type(value) is int and 0 < value < 1 << 20):
            return value
        raise self._refusal("groups of a whole number of pictures", kind_of(value))


def _is_tf_network(item: Any) -> bool:
    return isinstance(item, Stub) and item.name == "Network" and item.module.startswith(("dnnlib.tflib", "tfutil"))


def encode_latent(latent: FloatArray) -> bytes:
    """W+ [num_ws, W] as PyTorch saves it: a dictionary with ``latent`` float32 [1, num_ws, W], as FFHQ-UV reads it."""
    stream = io.BytesIO()
    torch.save({"latent": torch.from_numpy(latent.copy())[None]}, stream)
    return stream.getvalue()
