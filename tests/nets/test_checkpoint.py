"""A generator to tensors and a card, and back; everything that does not fit is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.core.types import ViewFrame
from ostec.nets.checkpoint import (
    PortraitGenerator,
    StoredGenerator,
    generator_from_tensors,
    generator_to_tensors,
    natural_generator,
)
from ostec.nets.encoder import Encoder, EncoderShape
from ostec.nets.stylegan2 import Discriminator, Generator, GeneratorShape

SHAPE = GeneratorShape(16, z_dim=6, w_dim=5, mapping_layers=2, channel_base=64, channel_max=8)


@pytest.fixture(scope="module")
def model() -> PortraitGenerator:
    torch.manual_seed(0)
    return PortraitGenerator(
        Generator(SHAPE),
        Encoder(SHAPE, EncoderShape(64, 8, 12)),
        Discriminator(GeneratorShape(8, channel_base=32, channel_max=8), image_channels=4, group=2),
        ViewFrame(own_shape=False, ffhq_crop=False, centre_mm=(1.0, 2.0, 3.0), ground=0.4),
        torch.randn(SHAPE.num_ws, SHAPE.w_dim),
        torch.rand(SHAPE.num_ws, SHAPE.w_dim),
    )


@pytest.fixture
def stored(model: PortraitGenerator) -> StoredGenerator:
    found = generator_to_tensors(model)
    return StoredGenerator(dict(found.tensors), json.loads(json.dumps(found.card)))


def test_what_was_stored_comes_back(model: PortraitGenerator, stored: StoredGenerator) -> None:
    found = generator_from_tensors(stored.tensors, stored.card, "a file")
    assert found.frame == model.frame
    assert (found.generator.shape, found.encoder.shape) == (SHAPE, model.encoder.shape)
    assert torch.equal(found.latent_mean, model.latent_mean)
    assert torch.equal(found.latent_deviation, model.latent_deviation)
    assert found.discriminator is not None
    assert found.discriminator.b4.group == 2
    for name in ("generator", "encoder", "discriminator"):
        before, after = getattr(model, name).state_dict(), getattr(found, name).state_dict()
        assert before.keys() == after.keys()
        for key, tensor in after.items():
            assert tensor.dtype == torch.float32
            # The filters, which are rebuilt, are not rounded.
            expected = before[key] if key.endswith("resample_filter") else before[key].half().float()
            assert torch.equal(tensor, expected), key
        assert not getattr(found, name).training
        assert not any(p.requires_grad for p in getattr(found, name).parameters())


def test_rounding_once_is_enough(stored: StoredGenerator) -> None:
    again = generator_to_tensors(generator_from_tensors(stored.tensors, stored.card, "a file"))
    assert json.loads(json.dumps(again.card)) == stored.card
    assert again.tensors.keys() == stored.tensors.keys()
    assert all(torch.equal(tensor, stored.tensors[name]) for name, tensor in again.tensors.items())


def test_file_holds_half_floats_and_no_constant_filters(stored: StoredGenerator) -> None:
    assert not [name for name in stored.tensors if "resample_filter" in name]
    kinds = {name: tensor.dtype for name, tensor in stored.tensors.items()}
    assert {kinds.pop("latent.mean"), kinds.pop("latent.deviation")} == {torch.float32}
    assert set(kinds.values()) == {torch.float16}
    assert {name.partition(".")[0] for name in kinds} == {"generator", "encoder", "discriminator"}


def test_discriminator_may_be_missing(model: PortraitGenerator) -> None:
    stored = generator_to_tensors(replace(model, discriminator=None))
    assert stored.card["discriminator"] is None
    assert not [name for name in stored.tensors if name.startswith("discriminator")]
    assert generator_from_tensors(stored.tensors, stored.card, "a file").discriminator is None


def test_loading_draws_no_random_numbers(stored: StoredGenerator) -> None:
    before = torch.random.get_rng_state()
    generator_from_tensors(stored.tensors, stored.card, "a file")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.pop("generator.synthesis.b4.const"), "generator.synthesis.b4.const missing"),
        (lambda t: t.pop("latent.mean"), "latent.mean missing"),
        (lambda t: t.update({"encoder.extra": torch.zeros(1)}), "encoder.extra unknown"),
        (
            lambda t: t.update({"generator.synthesis.b4.resample_filter": torch.zeros(4, 4)}),
            "b4.resample_filter unknown",
        ),
        (lambda t: t.update({"latent.deviation": torch.ones(5)}), r"latent.deviation is \(5,\), expected \(6, 5\)"),
        (
            lambda t: t.update({"encoder.fc.bias": torch.zeros(13).half()}),
            r"encoder.fc.bias is \(13,\), expected \(12,\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    stored: StoredGenerator, spoil: Callable[[dict[str, torch.Tensor]], Any], sentence: str
) -> None:
    spoil(stored.tensors)
    with pytest.raises(WeightsError, match=f"mine.safetensors does not fit its card: .*{sentence}"):
        generator_from_tensors(stored.tensors, stored.card, "mine.safetensors")


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda c: c.pop("kind"), "of the kind None, expected 'ostec'"),
        (lambda c: c.update(kind="ffhq"), "of the kind 'ffhq', expected 'ostec'"),
        (lambda c: c.pop("shape"), "shape on the card of .* needs channel_base, .*, got None"),
        (lambda c: c["shape"].pop("w_dim"), "shape on the card of .* w_dim, z_dim, got .*resolution, z_dim"),
        (lambda c: c["shape"].update(resolution=48), "power of two from 8, got 48"),
        (lambda c: c["shape"].update(resolution="16"), "shape on the card of .* cannot be built"),
        (lambda c: c["shape"].update(resolution=8), "cannot be built"),
        (lambda c: c["encoder"].update(colour=1), "encoder on the card"),
        (lambda c: c["encoder"].update(channel_max="a"), "cannot be built"),
        (lambda c: c.update(frame=[1]), r"frame on the card of .*, got \[1\]"),
        (lambda c: c.update(discriminator={}), "describes no discriminator"),
        (lambda c: c["discriminator"].update(shape=None), "shape on the card of .*, got None"),
    ],
)
def test_card_that_describes_no_generator(
    stored: StoredGenerator, spoil: Callable[[dict[str, Any]], Any], sentence: str
) -> None:
    spoil(stored.card)
    with pytest.raises(WeightsError, match=sentence):
        generator_from_tensors(stored.tensors, stored.card, "mine.safetensors")


def test_facts_about_the_training_do_no_harm(stored: StoredGenerator) -> None:
    generator_from_tensors(stored.tensors, {**stored.card, "images_seen": 7}, "a file")


def test_moves_as_a_whole(stored: StoredGenerator) -> None:
    model = generator_from_tensors(stored.tensors, stored.card, "a file")
    moved = model.to(torch.device("meta"))
    assert moved.latent_mean.device.type == moved.latent_deviation.device.type == "meta"
    for network in (moved.generator, moved.encoder, moved.discriminator):
        assert network is not None
        assert {tensor.device.type for tensor in network.state_dict().values()} == {"meta"}
    assert moved.frame == model.frame


@pytest.mark.parametrize("value", [float("nan"), 1e6])
def test_weights_that_half_floats_cannot_hold(model: PortraitGenerator, stored: StoredGenerator, value: float) -> None:
    broken = generator_from_tensors(stored.tensors, stored.card, "a file")
    broken.encoder.fc.bias.data[3] = value
    with pytest.raises(WeightsError, match="bias holds something that is no finite half float"):
        generator_to_tensors(broken)


def test_a_generator_of_photos_has_no_encoder_and_comes_back_exactly() -> None:
    torch.manual_seed(1)
    network = Generator(SHAPE, conv_clamp=2.0)
    network.mapping.w_avg.normal_()
    natural = natural_generator(network.eval(), Discriminator(SHAPE, conv_clamp=2.0), ("Nothing was missing.",))
    stored = generator_to_tensors(natural, half=False)
    found = generator_from_tensors(stored.tensors, json.loads(json.dumps(stored.card)), "a file")
    assert found.encoder is None
    assert (found.frame, found.notes) == (natural.frame, ("Nothing was missing.",))
    assert torch.equal(found.latent_mean, network.mapping.w_avg.expand(SHAPE.num_ws, -1))
    assert torch.equal(found.latent_deviation, natural.latent_deviation)
    z = torch.randn(2, SHAPE.z_dim)
    assert torch.equal(found.generator(z), network(z))
    assert found.discriminator is not None
    assert found.discriminator.conv_clamp == found.generator.conv_clamp == 2.0


def test_statistics_of_photos_are_those_of_mapped_z() -> None:
    torch.manual_seed(1)
    network = Generator(SHAPE).eval()
    natural = natural_generator(network)
    z = torch.randn(100_000, SHAPE.z_dim)
    spread = network.mapping(z)[:, 0].std(0)
    torch.testing.assert_close(natural.latent_deviation, spread.expand(SHAPE.num_ws, -1), rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["generator.synthesis.b8.conv0.weight", "encoder.fc.bias"])
def test_a_weight_that_is_no_number_is_refused(stored: StoredGenerator, name: str) -> None:
    stored.tensors[name] = stored.tensors[name].clone().fill_(float("nan"))
    inner = name.partition(".")[2]
    with pytest.raises(
        WeightsError, match=rf"^a file cannot be used: {inner} holds something that is no finite number"
    ):
        generator_from_tensors(stored.tensors, stored.card, "a file")


@pytest.mark.parametrize(
    "changed",
    [
        {"channel_base": 1 << 40, "channel_max": 1 << 20},
        {"resolution": 1 << 30},
        {"mapping_layers": 1 << 40},
        {"w_dim": 1 << 24},
        {"z_dim": -1},
    ],
)
def test_what_a_card_claims_costs_nothing(stored: StoredGenerator, changed: dict[str, int]) -> None:
    """Networks of terabytes: only their shapes are made, to be compared."""
    stored.card["shape"].update(changed)
    with pytest.raises(WeightsError, match=r"does not fit its card|cannot be built"):
        generator_from_tensors(stored.tensors, stored.card, "a file")


@pytest.mark.parametrize("value", [-1, "much", float("inf")])
def test_a_clamp_that_is_none(stored: StoredGenerator, value: Any) -> None:
    stored.card["conv_clamp"] = value
    with pytest.raises(WeightsError, match="conv_clamp on the card of a file must be a positive number, got"):
        generator_from_tensors(stored.tensors, stored.card, "a file")
