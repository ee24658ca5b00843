"""ArcFace: the published layout and its values, which way gradients go, and what is refused."""

import re

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.arcface import DEPTHS, SIZE, TEMPLATE, ArcFace, arcface_from_tensors
from tests.nets.judge_files import REFERENCE, made_weights, probe


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return made_weights("arcface_r18")


@pytest.fixture(scope="module")
def network(tensors: dict[str, torch.Tensor]) -> ArcFace:
    return arcface_from_tensors(tensors, "r18.pth")


@pytest.mark.parametrize("depth", ["r18", "r50"])
def test_names_shapes_and_values_are_those_of_the_original(depth: str) -> None:
    network = arcface_from_tensors(made_weights(f"arcface_{depth}"), "backbone.pth")
    expected = REFERENCE[f"arcface_{depth}"]
    assert {name: list(x.shape) for name, x in network.state_dict().items()} == expected["tensors"]
    assert network.name == f"ArcFace {depth}"
    values = torch.tensor(expected["values"])
    torch.testing.assert_close(network(probe(SIZE, SIZE))[0, :64], values, rtol=1e-3, atol=1e-4 * float(values.std()))


def test_every_depth_is_told_by_its_names() -> None:
    """The blocks of insightface's five backbones, from shapes alone."""
    for name, blocks in DEPTHS.items():
        with torch.device("meta"):
            network = ArcFace(blocks)
        assert network.name == f"ArcFace {name}"
        assert "layer3.12.conv2.weight" in network.state_dict() or blocks[2] < 13
        # Each block three convolutions' worth of layers; convolutions: stem, two a block, one beside each first block.
        assert sum(x.ndim == 4 for x in network.state_dict().values()) == 1 + 2 * sum(blocks) + 4


def test_an_embedding_has_unit_length_and_is_each_pictures_own(network: ArcFace) -> None:
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = network.embed(images)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(found[1:2], network.embed(images[1:2]), rtol=1e-4, atol=1e-5)
    assert float(found[0] @ found[1]) < 0.999


def test_gradients_flow_to_the_pictures_and_not_to_the_network(network: ArcFace) -> None:
    images = probe(SIZE, SIZE).requires_grad_(True)
    wanted = network.embed(-probe(SIZE, SIZE))[0]
    before = network.embed(images)[0] @ wanted
    before.backward()
    assert images.grad is not None
    assert torch.isfinite(images.grad).all()
    assert all(x.grad is None for x in network.parameters())
    step = 1e-3 * images.grad / images.grad.norm() * images.detach().norm()
    assert network.embed(images.detach() + step)[0] @ wanted > before


def test_it_stays_in_evaluation_mode(network: ArcFace, tensors: dict[str, torch.Tensor]) -> None:
    """One picture alone in its batch is normalised by what training has counted, which stays as it was."""
    network.embed(probe(SIZE, SIZE))
    assert not any(module.training for module in network.modules())
    assert torch.equal(network.state_dict()["features.running_mean"], tensors["features.running_mean"])


def test_half_precision_and_files_without_counts_are_read(network: ArcFace, tensors: dict[str, torch.Tensor]) -> None:
    halves = {name: x.half() for name, x in tensors.items() if not name.endswith("num_batches_tracked")}
    found = arcface_from_tensors(halves, "half.pth").embed(probe(SIZE, SIZE))
    assert found.dtype == torch.float32
    assert float(found[0] @ network.embed(probe(SIZE, SIZE))[0]) > 0.999


def test_the_template_is_insightfaces_counted_from_corners() -> None:
    assert TEMPLATE.shape == (5, 2)
    assert TEMPLATE[2].tolist() == pytest.approx([56.5252, 72.2366])
    assert (TEMPLATE[0, 0] + TEMPLATE[1, 0]) / 2 == pytest.approx(SIZE / 2, abs=0.5)  # the eyes lie level and central


def test_another_layout_is_refused(tensors: dict[str, torch.Tensor]) -> None:
    found = re.escape("r18.pth is no ArcFace backbone: expected layer1 to layer4 with the blocks of r18, r34, r50, ")
    for others in ({}, made_weights("bisenet"), {"features.0.weight": torch.zeros(1)}):
        with pytest.raises(WeightsError, match=rf"^{found}r100, r200, found \(\d, \d, \d, \d\)\.$"):
            arcface_from_tensors(others, "r18.pth")


def test_a_missing_superfluous_misshapen_or_spoilt_tensor_is_named(tensors: dict[str, torch.Tensor]) -> None:
    without = {name: x for name, x in tensors.items() if name != "fc.bias"}
    for changed, sentence in (
        (without, "r18.pth does not fit ArcFace: fc.bias missing."),
        ({**tensors, "head.weight": torch.zeros(1)}, "r18.pth does not fit ArcFace: head.weight unknown."),
        (
            {**tensors, "fc.weight": torch.zeros(256, 25088)},
            "r18.pth does not fit ArcFace: fc.weight is (256, 25088), expected (512, 25088).",
        ),
        (
            {**tensors, "bn2.weight": torch.full((512,), torch.nan)},
            "r18.pth is damaged: bn2.weight is expected to hold finite numbers and does not.",
        ),
    ):
        with pytest.raises(WeightsError, match=f"^{re.escape(sentence)}$"):
            arcface_from_tensors(changed, "r18.pth")


def test_pictures_of_another_shape_are_refused(network: ArcFace) -> None:
    with pytest.raises(ValueError, match=r"expected images \[B, 3, 112, 112\], got \[1, 3, 128, 128\]"):
        network.embed(torch.zeros(1, 3, 128, 128))
    with pytest.raises(ValueError, match=r"expected blocks of one of r18, .*, got \(1, 2, 3, 4\)"):
        ArcFace((1, 2, 3, 4))
