"""The portrait generator as a file holds it: tensors by name, and a card that says how to build the networks."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import nn

from ostec.core.errors import WeightsError
from ostec.core.tensors import require_same_shapes
from ostec.core.types import ViewFrame
from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape

KIND = "ostec"
"""What the card calls a generator of this project."""
_REBUILT = "resample_filter"
"""Constant buffers of the resampling layers."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class PortraitGenerator:
    """A generator of views with its encoder, and how the faces it was trained on were framed."""

    generator: Generator
    encoder: Encoder
    discriminator: Discriminator | None
    """Of patches of four channels, picture and mask, if it ships."""
    frame: ViewFrame
    latent_mean: torch.Tensor
    """[num_ws, W]: mean of W+ over the training portraits."""
    latent_deviation: torch.Tensor
    """[num_ws, W]: its standard deviation."""

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


def generator_to_tensors(model: PortraitGenerator) -> StoredGenerator:
    """Tensors and card of a generator, the inverse of :func:`generator_from_tensors` up to half floats' precision.

    Raises:
        WeightsError: a weight is no number or too large for half floats.
    """
    tensors = {name: tensor.detach().cpu().half() for name, tensor in _weights(model).items()}
    tensors["latent.mean"] = model.latent_mean.detach().cpu().float().clone()
    tensors["latent.deviation"] = model.latent_deviation.detach().cpu().float().clone()
    broken = sorted(name for name, tensor in tensors.items() if not torch.isfinite(tensor).all())
    if broken:
        raise WeightsError(f"The generator cannot be stored: {broken[0]} holds something that is no finite half float.")
    card: dict[str, Any] = {
        "kind": KIND,
        "shape": asdict(model.generator.shape),
        "encoder": asdict(model.encoder.shape),
        "discriminator": None,
        "frame": asdict(model.frame),
    }
    if model.discriminator is not None:
        card["discriminator"] = {"shape": asdict(model.discriminator.shape), **_discriminator_options(model)}
    return StoredGenerator(tensors, card)


def generator_from_tensors(tensors: dict[str, torch.Tensor], card: dict[str, Any], source: str) -> PortraitGenerator:
    """Build the networks from a file's tensors and its card; in evaluation mode, without gradients, on the CPU.

    Half floats become float32. The resampling layers' constant filters are not in the file: they are rebuilt.

    Args:
        tensors: as :func:`generator_to_tensors` gives them, no more and no less.
        card: may hold more than what the networks need.
        source: where both came from, for messages.

    Raises:
        WeightsError: the card describes no generator, or a tensor is missing, superfluous or of another shape.
    """
    if card.get("kind") != KIND:
        raise WeightsError(f"The card of {source} is of the kind {card.get('kind')!r}, expected {KIND!r}.")
    shape = _record(GeneratorShape, card, "shape", source)
    encoder = _record(EncoderShape, card, "encoder", source)
    frame = _record(ViewFrame, card, "frame", source)
    latent = torch.zeros(shape.num_ws, shape.w_dim)
    try:
        with torch.random.fork_rng(devices=[]):  # the random starts are overwritten at once
            networks = (Generator(shape), Encoder(shape, encoder), _build_discriminator(card, source))
    except (TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"The networks on the card of {source} cannot be built ({error}).") from error
    model = PortraitGenerator(*networks, frame, latent, latent.clone())
    expected = {**_weights(model), "latent.mean": model.latent_mean, "latent.deviation": model.latent_deviation}
    require_same_shapes(expected, tensors, f"{source} does not fit its card")
    with torch.no_grad():
        for name, target in expected.items():
            target.copy_(tensors[name])
    for network in _networks(model).values():
        network.eval().requires_grad_(False)
    return model


def _networks(model: PortraitGenerator) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {"generator": model.generator, "encoder": model.encoder}
    return found if model.discriminator is None else {**found, "discriminator": model.discriminator}


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


def _build_discriminator(card: dict[str, Any], source: str) -> Discriminator | None:
    entry = card.get("discriminator")
    if entry is None:
        return None
    if not isinstance(entry, dict) or set(entry) != {"shape", "image_channels", "group"}:
        raise WeightsError(f"The card of {source} describes no discriminator: it needs shape, image_channels, group.")
    return Discriminator(_record(GeneratorShape, entry, "shape", source), entry["image_channels"], entry["group"])


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
