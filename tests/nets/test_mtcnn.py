"""MTCNN's networks: the order of axes, the padding, and weights that do not fit."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from ostec.core.errors import WeightsError
from ostec.io.weights import read_mtcnn
from ostec.nets.mtcnn import STAGES, Mtcnn, ONet, PNet, RNet, convert_keras_arrays

SIDES = {"pnet": 12, "rnet": 24, "onet": 48}


@pytest.fixture(scope="module")
def arrays() -> dict[str, list[np.ndarray]]:
    return read_mtcnn()


@pytest.fixture(scope="module")
def networks(arrays) -> Mtcnn:
    return Mtcnn.from_keras(arrays)


def keras_convolution(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """[H, W, in] with a kernel [h, w, in, out], as Keras defines it."""
    height, width = kernel.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(0, 1))  # [H', W', in, h, w]
    return np.einsum("yxchw,hwco->yxo", windows, kernel) + bias


def keras_prelu(x: np.ndarray, slope: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, x * slope.reshape(-1))


def keras_pool(x: np.ndarray, size: int, same: bool) -> np.ndarray:
    """Stride 2; "same" pads with nothing that could win, half (rounded down) before and the rest behind."""
    for axis in (0, 1):
        if same:
            missing = max((-(-x.shape[axis] // 2) - 1) * 2 + size - x.shape[axis], 0)
            pad = [(0, 0)] * 3
            pad[axis] = (missing // 2, missing - missing // 2)
            x = np.pad(x, pad, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))[::2, ::2].max(axis=(3, 4))


def keras_stage(x: np.ndarray, arrays: list[np.ndarray], pools: list[tuple[int, bool] | None]) -> list[np.ndarray]:
    """One stage's outputs: convolutions, each with slope and pool, then dense layers after a permute to W, H, C."""
    rest = [np.asarray(array, np.float64) for array in arrays]
    for pool in pools:
        kernel, bias, slope, *rest = rest
        x = keras_prelu(keras_convolution(x, kernel, bias), slope)
        x = x if pool is None else keras_pool(x, *pool)
    if rest[0].ndim == 2:
        kernel, bias, slope, *rest = rest
        x = keras_prelu(x.transpose(1, 0, 2).reshape(-1) @ kernel + bias, slope)
    kernels, biases = rest[::2], rest[1::2]
    heads = [
        np.tensordot(x, kernel.reshape(kernel.shape[-2:]), 1) + bias
        for kernel, bias in zip(kernels, biases, strict=True)
    ]
    odds = np.exp(heads[-1])
    return [*heads[:-1], odds[..., 1] / odds.sum(axis=-1)]


POOLS = {
    "pnet": [(2, True), None, None],
    "rnet": [(3, True), (3, False), None],
    "onet": [(3, True), (3, False), (2, True), None],
}


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_are_those_of_keras_layers_written_out_in_numpy(networks: Mtcnn, arrays, stage: str) -> None:
    rng = np.random.default_rng(3)
    shape = (31, 22, 3) if stage == "pnet" else (SIDES[stage], SIDES[stage], 3)
    x = rng.uniform(-1, 1, shape)
    offsets, *points, face = keras_stage(x, arrays[stage], POOLS[stage])
    said = networks.get_submodule(stage)(torch.from_numpy(x).float().permute(2, 0, 1)[None])
    moved = said.offsets[0].permute(1, 2, 0) if stage == "pnet" else said.offsets[0]
    np.testing.assert_allclose(moved, offsets, atol=2e-5)
    np.testing.assert_allclose(said.face[0], face, atol=2e-5)
    if points:
        np.testing.assert_allclose(said.points[0], points[0], atol=2e-5)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 12), (30, 45), (31, 22)])
def test_proposal_map_has_a_cell_for_every_second_pixel(networks: Mtcnn, height: int, width: int) -> None:
    said = networks.pnet(torch.zeros(1, 3, height, width))
    assert said.face.shape == (1, -(-(height - 2) // 2) - 4, -(-(width - 2) // 2) - 4)
    assert said.offsets.shape == (1, 4, *said.face.shape[1:])


def test_proposals_do_not_depend_on_where_the_window_lies(networks: Mtcnn) -> None:
    x = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0)) * 2 - 1
    whole = networks.pnet(x)
    one = networks.pnet(x[:, :, 8:20, 14:26])
    torch.testing.assert_close(whole.face[0, 4, 7], one.face[0, 0, 0])
    torch.testing.assert_close(whole.offsets[0, :, 4, 7], one.offsets[0, :, 0, 0])


@pytest.mark.parametrize("stage", ["rnet", "onet"])
def test_windows_of_a_batch_do_not_see_each_other(networks: Mtcnn, stage: str) -> None:
    network = networks.get_submodule(stage)
    x = torch.rand(3, 3, SIDES[stage], SIDES[stage], generator=torch.Generator().manual_seed(1)) * 2 - 1
    torch.testing.assert_close(network(x).offsets[1:2], network(x[1:2]).offsets)
    torch.testing.assert_close(network(x).face[1:2], network(x[1:2]).face)


def test_kernel_turns_from_height_width_in_out_to_out_in_height_width(arrays) -> None:
    tensors = convert_keras_arrays("pnet", arrays["pnet"])
    assert tensors["conv2.weight"][7, 4, 2, 1].item() == arrays["pnet"][3][2, 1, 4, 7]
    assert tensors["prelu2.weight"].tolist() == arrays["pnet"][5][0, 0].tolist()


def test_dense_kernel_is_transposed(arrays) -> None:
    tensors = convert_keras_arrays("onet", arrays["onet"])
    assert tensors["fc5.weight"][30, 1000].item() == arrays["onet"][12][1000, 30]


@pytest.mark.parametrize(("stage", "network"), list(zip(STAGES, (PNet, RNet, ONet), strict=True)))
def test_converted_arrays_fill_the_whole_network(arrays, stage: str, network: type[torch.nn.Module]) -> None:
    tensors = convert_keras_arrays(stage, arrays[stage])
    network().load_state_dict(tensors, strict=True)
    assert sum(t.numel() for t in tensors.values()) == sum(a.size for a in arrays[stage])


def test_detector_is_ready_for_inference(networks: Mtcnn) -> None:
    assert not networks.training
    assert not any(parameter.requires_grad for parameter in networks.parameters())
    assert networks.device == torch.device("cpu")


def test_pooling_pads_at_the_bottom_and_right_only() -> None:
    row = torch.arange(5.0).expand(1, 1, 5, 5)
    np.testing.assert_array_equal(PNet().pool1(row)[0, 0, 0], [1, 3, 4])
    np.testing.assert_array_equal(
        RNet().pool1(torch.arange(22.0).expand(1, 1, 22, 22))[0, 0, 0], [*range(2, 21, 2), 21]
    )
    assert functional.max_pool2d(row, 2, 2).shape[-1] == 2  # what padding adds


def test_unknown_stage_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="stage must be one of pnet, rnet, onet, got 'qnet'"):
        convert_keras_arrays("qnet", [])


def test_missing_array_is_a_weights_error(arrays) -> None:
    with pytest.raises(WeightsError, match=r"^MTCNN's rnet has 16 arrays, but 15 were read\.$"):
        convert_keras_arrays("rnet", arrays["rnet"][:-1])


def test_array_of_another_shape_is_a_weights_error(arrays) -> None:
    wrong = [arrays["pnet"][0][:2], *arrays["pnet"][1:]]
    with pytest.raises(
        WeightsError, match=r"^MTCNN's pnet\.conv1\.weight is \(10, 3, 2, 3\), expected \(10, 3, 3, 3\)\.$"
    ):
        convert_keras_arrays("pnet", wrong)


def test_missing_stage_is_a_weights_error(arrays) -> None:
    with pytest.raises(WeightsError, match=r"^MTCNN's weights lack rnet, onet\.$"):
        Mtcnn.from_keras({"pnet": arrays["pnet"]})
