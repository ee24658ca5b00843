"""The portrait generator as a file holds it: tensors by name, and a card that says how to build the networks."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from ostec.core.errors import WeightsError
from ostec.core.tensors import require_same_shapes
from ostec.core.types import ViewFrame
from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.ops import lowpass_filter
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape

KIND = "ostec"
"""What the card calls a generator of this project."""
NATURAL_FRAME = ViewFrame(own_shape=True, ffhq_crop=True)
"""How the views for generators of natural photos are framed: as FFHQ's faces are."""
MAX_RESOLUTION = 4096
MAX_MAPPING_LAYERS = 64
_REBUILT = "resample_filter"
"""Constant buffers of the resampling layers."""
_SAMPLES = 10_000
_SAMPLES_SEED = 123
_SAMPLES_AT_ONCE = 500

_T = TypeVar("_T")
_Network = TypeVar("_Network", bound=nn.Module)


@dataclass(frozen=True)
class PortraitGenerator:
    """A generator of views, with its encoder if it has one, and how the faces it was trained on were framed."""

    generator: Generator
    encoder: Encoder | None
    """Generators of natural photos have none."""
    discriminator: Discriminator | None
    """Of patches of four channels, picture and mask, if it ships; of whole pictures in three where photos are drawn."""
    frame: ViewFrame
    latent_mean: torch.Tensor
    """[num_ws, W]: mean of W+ over the training portraits; of natural photos, ``w_avg``."""
    latent_deviation: torch.Tensor
    """[num_ws, W]: its standard deviation."""
    notes: tuple[str, ...] = ()
    """What the file lacked and what took its place, for the record: sentences."""

    def to(self, device: torch.device) -> "PortraitGenerator":
        """The same on another device; the networks themselves are moved, as modules are."""
        for network in _networks(self).values():
            network.to(device)
        return replace(self, latent_mean=self.latent_mean.to(device), latent_deviation=self.latent_deviation.to(device))


@dataclass(frozen=True)
class StoredGenerator:
    """What :func:`generator_from_tensors` reads."""

    tensors: dict[str, torch.Tensor]
    """``generator.*``, ``encoder.*``, ``discriminator.*`` as half floats; ``latent.mean``, ``latent.deviation``."""
    card: dict[str, Any]
    """``kind``, ``shape``, ``encoder``, ``discriminator`` and ``frame``, plain values for a JSON."""


def natural_generator(
    generator: Generator, discriminator: Discriminator | None = None, notes: tuple[str, ...] = ()
) -> PortraitGenerator:
    """A generator of natural photos: without encoder, framed as FFHQ, with the statistics of its own W.

    Args:
        generator: in evaluation mode.
        discriminator: of its pictures.
        notes: for the record.
    """
    deviation = mapped_samples(generator).std(0, correction=0)
    rows = (generator.shape.num_ws, 1)
    mean = generator.mapping.w_avg.repeat(rows)
    return PortraitGenerator(generator, None, discriminator, NATURAL_FRAME, mean, deviation.repeat(rows), notes)


@torch.no_grad()
def mapped_samples(generator: Generator) -> torch.Tensor:
    """W [10000, W] of as many z of NumPy's RandomState(123), as NVIDIA's projector measures its statistics."""
    z = np.random.RandomState(_SAMPLES_SEED).randn(_SAMPLES, generator.shape.z_dim).astype(np.float32)
    batches = torch.from_numpy(z).to(generator.mapping.w_avg.device).split(_SAMPLES_AT_ONCE)
    return torch.cat([generator.mapping(batch)[:, 0].clone() for batch in batches])


def generator_to_tensors(model: PortraitGenerator, half: bool = True) -> StoredGenerator:
    """Tensors and card of a generator, the inverse of :func:`generator_from_tensors` up to half floats' precision.

    Weights are rounded to half floats if ``half``. Raises WeightsError if one is no number or too large for that.
    """
    kind = torch.float16 if half else torch.float32
    tensors = {name: tensor.detach().cpu().to(kind) for name, tensor in _weights(model).items()}
    tensors["latent.mean"] = model.latent_mean.detach().cpu().float().clone()
    tensors["latent.deviation"] = model.latent_deviation.detach().cpu().float().clone()
    broken = sorted(name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    if broken:
        what = "half float" if half else "number"
        raise WeightsError(f"The generator cannot be stored: {broken[0]} holds something that is no finite {what}.")
    card: dict[str, Any] = {
        "kind": KIND,
        "shape": asdict(model.generator.shape),
        "encoder": None if model.encoder is None else asdict(model.encoder.shape),
        "discriminator": None,
        "frame": asdict(model.frame),
    }
    if model.generator.conv_clamp is not None:
        card["conv_clamp"] = model.generator.conv_clamp
    if model.notes:
        card["notes"] = list(model.notes)
    if model.discriminator is not None:
        card["discriminator"] = {"shape": asdict(model.discriminator.shape), **_discriminator_options(model)}
    return StoredGenerator(tensors, card)


def generator_from_tensors(tensors: dict[str, torch.Tensor], card: dict[str, Any], source: str) -> PortraitGenerator:
    """Build the networks from a file's tensors and its card; in evaluation mode, without gradients, on the CPU.

    Half floats become float32. The resampling layers' constant filters are not in the file: they are rebuilt.

    Args:
        tensors: as :func:`generator_to_tensors` gives them, no more and no less.
        card: may hold more than what the networks need.

    Raises:
        WeightsError: the card describes no generator, or a tensor is missing, superfluous, of another shape or holds
            something that is no number; nothing has been allocated for what the card claims then.
    """
    if card.get("kind") != KIND:
        raise WeightsError(f"The card of {source} is of the kind {card.get('kind')!r}, expected {KIND!r}.")
    shape = _shape(card, source)
    frame = _record(ViewFrame, card, "frame", source)
    clamp = _clamp(card, source)
    generator = without_memory(lambda: Generator(shape, clamp), f"the card of {source}")
    encoder = _build_encoder(card, shape, source)
    latent = torch.zeros(shape.num_ws, shape.w_dim, device="meta")
    notes = card.get("notes")
    model = PortraitGenerator(
        generator,
        encoder,
        _build_discriminator(card, clamp, source),
        frame,
        latent,
        latent,
        tuple(map(str, notes)) if isinstance(notes, list) else (),
    )
    expected = {**_weights(model), "latent.mean": latent, "latent.deviation": latent}
    require_same_shapes(expected, tensors, f"{source} does not fit its card")
    for prefix, network in _networks(model).items():
        start = f"{prefix}."
        own = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        fill_network(network, own, source)
    return replace(
        model, latent_mean=tensors["latent.mean"].float(), latent_deviation=tensors["latent.deviation"].float()
    )


def without_memory(build: Callable[[], _Network], source: str) -> _Network:
    """Build a network whose tensors have a shape and nothing else, so that what a file claims costs nothing.

    Raises WeightsError if it cannot be built.
    """
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            return build()
    except (TypeError, ValueError, RuntimeError, OverflowError, ZeroDivisionError) as error:
        raise WeightsError(f"The networks that {source} describes cannot be built ({error}).") from error


def fill_network(network: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Give a network from :func:`without_memory` its tensors, and the constant filters; then it is ready for use.

    It is in evaluation mode, without gradients, on the CPU, its tensors float32 from any floating type. Raises
    WeightsError if a tensor holds something that is no finite number.
    """
    state = {}
    for name in network.state_dict():
        if name.endswith(_REBUILT):
            state[name] = lowpass_filter()
            continue
        state[name] = tensors[name].detach().to("cpu", torch.float32, copy=True).contiguous()
        if not torch.isfinite(state[name]).all():
            raise WeightsError(f"{source} cannot be used: {name} holds something that is no finite number.")
    network.load_state_dict(state, strict=True, assign=True)
    network.to(memory_format=torch.channels_last)
    network.eval().requires_grad_(False)


def _networks(model: PortraitGenerator) -> dict[str, nn.Module]:
    found = {"generator": model.generator, "encoder": model.encoder, "discriminator": model.discriminator}
    return {name: network for name, network in found.items() if network is not None}


def _weights(model: PortraitGenerator) -> dict[str, torch.Tensor]:
    """Name in the file -> the networks' own tensors, but for the constant filters."""
    return {
        f"{prefix}.{name}": tensor
        for prefix, network in _networks(model).items()
        for name, tensor in network.state_dict().items()
        if not name.endswith(_REBUILT)
    }


def _discriminator_options(model: PortraitGenerator) -> dict[str, int]:
    network = model.discriminator
    assert network is not None
    first = network.get_parameter(f"b{network.shape.resolution}.fromrgb.weight")
    return {"image_channels": first.shape[1], "group": network.b4.group}


def _build_encoder(card: dict[str, Any], shape: GeneratorShape, source: str) -> Encoder | None:
    if "encoder" in card and card["encoder"] is None:
        return None
    encoder = _record(EncoderShape, card, "encoder", source)
    return without_memory(lambda: Encoder(shape, encoder), f"the card of {source}")


def _shape(card: dict[str, Any], source: str) -> GeneratorShape:
    """The shape on a card, of a size that networks can have."""
    shape = _record(GeneratorShape, card, "shape", source)
    numbers = asdict(shape).values()
    sensible = all(type(value) is int and value > 0 for value in numbers) and shape.resolution <= MAX_RESOLUTION
    if not sensible or shape.mapping_layers > MAX_MAPPING_LAYERS:
        raise WeightsError(f"shape on the card of {source} cannot be built ({asdict(shape)}).")
    return shape


def _clamp(card: dict[str, Any], source: str) -> float | None:
    value = card.get("conv_clamp")
    if value is None or (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        return value
    raise WeightsError(f"conv_clamp on the card of {source} must be a positive number, got {value!r}.")


def _build_discriminator(card: dict[str, Any], clamp: float | None, source: str) -> Discriminator | None:
    entry = card.get("discriminator")
    if entry is None:
        return None
    if not isinstance(entry, dict) or set(entry) != {"shape", "image_channels", "group"}:
        raise WeightsError(f"The card of {source} describes no discriminator: it needs shape, image_channels, group.")
    shape, channels, group = _shape(entry, source), entry["image_channels"], entry["group"]
    if not (type(channels) is int and type(group) is int and channels > 0 and group > 0):
        raise WeightsError(f"The card of {source} describes no discriminator: {channels} channels, groups of {group}.")
    return without_memory(lambda: Discriminator(shape, channels, group, clamp), f"the card of {source}")


def _record(kind: type[_T], card: dict[str, Any], name: str, source: str) -> _T:
    """The record ``kind`` from the card's entry ``name``, which must have its fields and no others."""
    values = card.get(name)
    expected = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) != expected:
        got = ", ".join(sorted(values)) if isinstance(values, dict) else repr(values)
        raise WeightsError(f"{name} on the card of {source} needs {', '.join(sorted(expected))}, got {got}.")
    try:
        return kind(**{k: _frozen(v) for k, v in values.items()})
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{name} on the card of {source} cannot be built ({error}).") from error


def _frozen(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
