"""BiSeNet: the published layout and its values, and what is refused."""

import re

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.parsing import BiSeNet, FacePart, bisenet_from_tensors
from tests.nets.judge_files import REFERENCE, made_weights, probe


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return made_weights("bisenet")


@pytest.fixture(scope="module")
def network(tensors: dict[str, torch.Tensor]) -> BiSeNet:
    return bisenet_from_tensors(tensors, "79999_iter.pth")


def test_names_shapes_and_values_are_those_of_the_original(network: BiSeNet) -> None:
    expected = REFERENCE["bisenet"]
    assert {name: list(x.shape) for name, x in network.state_dict().items()} == expected["tensors"]
    scores = network(probe(64, 96) / 2 + 0.5)[0]
    assert scores.shape == (19, 64, 96)
    found = torch.stack([scores[:, y, x] for y, x in expected["pixels"]])
    torch.testing.assert_close(found, torch.tensor(expected["values"]), rtol=1e-3, atol=1e-3)


def test_probabilities_are_shared_between_the_parts(network: BiSeNet) -> None:
    images = probe(64, 96) / 2 + 0.5
    shares = network.probabilities(images)
    torch.testing.assert_close(shares.sum(1), torch.ones(1, 64, 96))
    assert torch.equal(shares.argmax(1), network(images).argmax(1))
    assert len(FacePart) == 19
    assert (FacePart.GLASSES, FacePart.EAR_RING, FacePart.CLOTH, FacePart.HAIR, FacePart.HAT) == (6, 9, 16, 17, 18)


def test_it_stays_in_evaluation_mode_without_gradients(network: BiSeNet) -> None:
    assert not any(module.training for module in network.modules())
    assert not any(x.requires_grad for x in network.parameters())


def test_another_layout_is_refused(tensors: dict[str, torch.Tensor]) -> None:
    for changed, sentence in (
        ({}, "79999_iter.pth does not fit BiSeNet: conv_out.conv.bn.bias missing; "),
        ({**tensors, "sp.conv1.conv.weight": torch.zeros(1)}, "does not fit BiSeNet: sp.conv1.conv.weight unknown."),
        (
            {**tensors, "conv_out.conv_out.weight": torch.zeros(11, 256, 1, 1)},
            "conv_out.conv_out.weight is (11, 256, 1, 1), expected (19, 256, 1, 1).",
        ),
        (
            {**tensors, "cp.resnet.conv1.weight": torch.full((64, 3, 7, 7), torch.inf)},
            "79999_iter.pth is damaged: cp.resnet.conv1.weight is expected to hold finite numbers and does not.",
        ),
    ):
        with pytest.raises(WeightsError, match=re.escape(sentence)):
            bisenet_from_tensors(changed, "79999_iter.pth")


def test_pictures_of_another_shape_are_refused(network: BiSeNet) -> None:
    for shape in ((3, 64, 64), (1, 1, 64, 64), (1, 3, 64, 31)):
        with pytest.raises(ValueError, match=r"expected images \[B, 3, H, W\] of at least 32 px"):
            network(torch.zeros(shape))
