"""The networks for hands against the TFLite interpreter."""

import numpy as np
import pytest
import torch

from ostec.core.assets import load_manifest, verified_path
from ostec.core.errors import WeightsError
from ostec.io.weights import load_strict, read_safetensors
from ostec.nets.hands import HAND_SIZE, PALM_SIZE, PALM_VALUES, HandLandmarker, HandNetworks, PalmDetector

REFERENCE = "tests/data/hands_network.npz"  # made by tools/make_hands_reference.py


@pytest.fixture(scope="module")
def tensors():
    return read_safetensors(verified_path("hands", "hands.safetensors"))


@pytest.fixture(scope="module")
def networks(tensors):
    networks = HandNetworks()
    load_strict(networks, tensors, "hands")
    return networks.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def reference(request):
    with np.load(request.config.rootpath / REFERENCE) as file:
        return dict(file)


def as_batch(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def test_palms_are_those_of_tflite_within_a_thousandth_of_a_pixel_or_of_the_logit(networks, reference):
    output = networks.palm(as_batch(reference["pictures"]))
    np.testing.assert_allclose(output.logits.numpy(), reference["logits"], atol=1e-3)
    np.testing.assert_allclose(output.values[:, :: int(reference["step"])].numpy(), reference["values"], atol=1e-3)


def test_landmarks_are_those_of_tflite_within_a_thousandth_of_a_pixel(networks, reference):
    output = networks.hand(as_batch(reference["crops"]))
    np.testing.assert_allclose(output.points.numpy(), reference["points"], atol=1e-3)
    np.testing.assert_allclose(output.confidence.numpy(), reference["confidence"], atol=1e-5)


def test_a_drawn_hand_is_told_from_noise_by_the_second_network(networks, reference):
    palms = networks.palm(as_batch(reference["pictures"])).logits.sigmoid().amax(dim=1)
    hands = networks.hand(as_batch(reference["crops"])).confidence
    assert palms[0] > palms[1] > 0.5  # the first takes a blob for a palm: that is why both are asked
    assert hands[0] > 0.9 > 0.1 > hands[1]


def test_batch_gives_what_single_pictures_give(networks, reference):
    pictures, crops = as_batch(reference["pictures"]), as_batch(reference["crops"])
    alone = [networks.palm(p[None]).values for p in pictures]
    torch.testing.assert_close(networks.palm(pictures).values, torch.cat(alone), atol=1e-3, rtol=0)
    alone = [networks.hand(c[None]).points for c in crops]
    torch.testing.assert_close(networks.hand(crops).points, torch.cat(alone), atol=1e-3, rtol=0)


def test_shapes_and_other_float_types():
    networks = HandNetworks().to(torch.float64)
    palms = networks.palm(torch.zeros(2, 3, PALM_SIZE, PALM_SIZE, dtype=torch.float64))
    assert palms.values.shape == (2, 2016, PALM_VALUES)
    assert palms.logits.shape == (2, 2016)
    hands = networks.hand(torch.zeros(2, 3, HAND_SIZE, HAND_SIZE, dtype=torch.float64))
    assert hands.points.shape == (2, 21, 3)
    assert hands.logit.shape == hands.confidence.shape == (2,)


@pytest.mark.parametrize("shape", [(3, 192, 192), (1, 1, 192, 192), (1, 3, 224, 192), (1, 192, 192, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected pictures \[B, 3, 192, 192\]"):
        PalmDetector()(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"expected crops \[B, 3, 224, 224\]"):
        HandLandmarker()(torch.zeros(shape))


def test_every_tensor_is_needed_and_none_superfluous(tensors):
    for wrong in ({k: v for k, v in tensors.items() if k != "hand.stem.bias"}, {**tensors, "more": torch.zeros(1)}):
        with pytest.raises(WeightsError, match=r"hand\.stem\.bias missing|more unknown"):
            load_strict(HandNetworks(), wrong, "hands")


def test_weights_are_stored_as_published_in_half_precision(tensors):
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert load_manifest("hands").licence == "Apache-2.0"
