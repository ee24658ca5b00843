"""dlib's face network: the values of the published package, which way gradients go, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.assets import asset_path
from ostec.core.errors import WeightsError
from ostec.io.images import read_image
from ostec.io.weights import read_safetensors
from ostec.nets.dlib_face import LANDMARKS, SIZE, TEMPLATE, DlibFace, dlib_face_from_tensors

ROOT = Path(__file__).parents[2]
REFERENCE = json.loads((ROOT / "tests/data/identity_reference.json").read_text())


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return read_safetensors(asset_path("models/identity.safetensors"))


@pytest.fixture(scope="module")
def network(tensors: dict[str, torch.Tensor]) -> DlibFace:
    return dlib_face_from_tensors(tensors, "identity.safetensors")


def chips() -> torch.Tensor:
    """[2, 3, 150, 150] in [-1, 1]: waves, and a piece of a photo."""
    y, x = np.mgrid[:SIZE, :SIZE]
    waves = np.round(np.stack([127.5 + 127.5 * np.sin(x / 9 + y / (7 + c) + c) for c in range(3)], -1))
    photo = np.round(read_image(ROOT / "examples/astronaut.png")[40:190, 150:300] * 255)
    return torch.from_numpy(np.stack([waves, photo]).astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1


def test_descriptors_are_those_of_the_published_package(network: DlibFace) -> None:
    found = network(chips())
    torch.testing.assert_close(found, torch.tensor(REFERENCE["descriptors"]), rtol=0, atol=1e-5)


def test_an_embedding_is_the_direction_from_the_mean_descriptor(network: DlibFace) -> None:
    found = network.embed(chips())
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    expected = network(chips())[1] - network.centre
    torch.testing.assert_close(found[1], expected / expected.norm(), rtol=0, atol=1e-5)
    assert 1 < float(network.centre.norm()) < 1.4  # descriptors have a length of 1.4, most of it everybody's


def test_gradients_flow_to_the_pictures_and_not_to_the_network(network: DlibFace) -> None:
    images = chips()[1:].requires_grad_(True)
    wanted = network.embed(chips()[:1])[0]
    before = network.embed(images)[0] @ wanted
    before.backward()
    assert images.grad is not None
    assert all(x.grad is None for x in network.parameters())
    step = 0.02 * images.grad / images.grad.norm() * images.detach().norm()
    assert float(network.embed(images.detach() + step)[0] @ wanted) > before.item() + 1e-3


def test_the_template_has_the_eyes_level_and_the_nose_between_them() -> None:
    assert TEMPLATE.shape == (len(LANDMARKS), 2)
    assert abs(np.diff(TEMPLATE[:4, 0]) > 20).all()
    assert np.ptp(TEMPLATE[:4, 1]) < 2
    assert TEMPLATE[1, 0] < TEMPLATE[4, 0] < TEMPLATE[2, 0]
    assert TEMPLATE[4, 1] > TEMPLATE[0, 1] + 30


def test_other_pictures_and_other_files_are_refused(network: DlibFace, tensors: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"expected images \[B, 3, 150, 150\], got \[1, 3, 112, 112\]"):
        network(torch.zeros(1, 3, 112, 112))
    name = "blocks.0.first.conv.weight"
    less = {key: x for key, x in tensors.items() if key != name}
    with pytest.raises(WeightsError, match=rf"identity.safetensors does not fit DlibFace: {name} missing\.$"):
        dlib_face_from_tensors(less, "identity.safetensors")
    without = {key: x for key, x in tensors.items() if key != f"{name}.step"}
    with pytest.raises(WeightsError, match=rf"damaged: {name}.step is expected to hold two numbers\.$"):
        dlib_face_from_tensors(without, "identity.safetensors")
