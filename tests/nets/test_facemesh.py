"""FaceMesh against the TFLite interpreter."""

import numpy as np
import pytest
import torch

from ostec.core.assets import load_manifest, verified_path
from ostec.core.errors import WeightsError
from ostec.io.weights import load_strict, read_safetensors
from ostec.nets.facemesh import INPUT_SIZE, POINT_COUNT, FaceMesh

REFERENCE = "tests/data/facemesh_network.npz"  # made by tools/make_facemesh_reference.py network


@pytest.fixture(scope="module")
def tensors():
    return read_safetensors(verified_path("facemesh", "facemesh.safetensors"))


@pytest.fixture(scope="module")
def network(tensors):
    network = FaceMesh()
    load_strict(network, tensors, "facemesh")
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def reference(request):
    with np.load(request.config.rootpath / REFERENCE) as file:
        return dict(file)


@pytest.fixture(scope="module")
def crops(reference):
    return torch.from_numpy(reference["crops"]).permute(0, 3, 1, 2).float() / 255


def test_points_are_those_of_tflite_within_a_hundredth_of_a_pixel(network, crops, reference):
    points = network(crops).points.numpy()
    assert np.abs(points - reference["points"]).max() < 0.01


def test_logit_is_that_of_tflite_and_tells_faces_from_noise(network, crops, reference):
    output = network(crops)
    np.testing.assert_allclose(output.logit.numpy(), reference["logits"], atol=1e-3)
    np.testing.assert_allclose(output.confidence.numpy(), [1.0, 1.0, 0.0], atol=0.01)


def test_batch_gives_what_single_crops_give(network, crops):
    together = network(crops).points
    alone = torch.cat([network(crop[None]).points for crop in crops])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=0)


def test_gradient_of_a_point_is_its_slope(network, crops):
    noise = torch.rand(crops[:1].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    crop = (crops[:1] + 0.01 * noise).requires_grad_(True)  # flat parts tie the max-pools, which have no slope there
    double = FaceMesh().double()
    double.load_state_dict(network.state_dict())

    def nose_x(x):
        return double(x).points[0, 1, 0]

    nose_x(crop).backward()
    direction = torch.randn(crop.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-8  # small: every PReLU crossed on the way bends the line
    with torch.no_grad():
        slope = (nose_x(crop + step * direction) - nose_x(crop - step * direction)) / (2 * step)
    assert slope.abs() > 1e-3
    assert (crop.grad * direction).sum().item() == pytest.approx(slope.item(), rel=1e-4)


def test_shapes_and_other_float_types(network):
    output = FaceMesh().to(torch.bfloat16)(torch.zeros(2, 3, INPUT_SIZE, INPUT_SIZE, dtype=torch.bfloat16))
    assert output.points.shape == (2, POINT_COUNT, 3)
    assert output.logit.shape == output.confidence.shape == (2,)


@pytest.mark.parametrize("shape", [(3, 192, 192), (1, 1, 192, 192), (1, 3, 256, 192), (1, 192, 192, 3)])
def test_other_shapes_are_refused(network, shape):
    with pytest.raises(ValueError, match=r"expected crops \[B, 3, 192, 192\]"):
        network(torch.zeros(shape))


def test_every_tensor_is_needed_and_none_superfluous(tensors):
    for wrong in ({k: v for k, v in tensors.items() if k != "stem.conv.bias"}, {**tensors, "more": torch.zeros(1)}):
        with pytest.raises(WeightsError, match=r"stem\.conv\.bias missing|more unknown"):
            load_strict(FaceMesh(), wrong, "facemesh")


def test_weights_are_stored_as_published_in_half_precision(tensors):
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    assert load_manifest("facemesh").licence == "Apache-2.0"
