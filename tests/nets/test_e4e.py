"""The published layout of e4e's encoder, and its formula against a plain twin."""

import pytest
import torch
from torch.nn import functional as F

from ostec.core.errors import WeightsError
from ostec.nets.e4e import E4eEncoder, e4e_from_tensors

SMALL = {"rows": 9, "blocks": (1, 1, 2, 1), "widths": (16, 16, 32, 32, 48), "side": 32}


def filled() -> E4eEncoder:
    torch.manual_seed(0)
    network = E4eEncoder(**SMALL)  # type: ignore[arg-type]
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand_like(tensor) + 0.5)
        elif tensor.is_floating_point() and not name.endswith("weight"):
            tensor.copy_(0.3 * torch.randn_like(tensor))
    return network


def twin(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """The published computation, step by step from the file's tensors."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, gain, bias = (
            state[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    def bend(x: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, x * slope[:, None, None])

    x = bend(
        norm(F.conv2d(x, state["input_layer.0.weight"], padding=1), "input_layer.1"), state["input_layer.2.weight"]
    )
    strides, taps, found = (2, 2, 2, 1, 2), (1, 3, 4), []
    for number, stride in enumerate(strides):
        at = f"body.{number}.res_layer"
        y = F.conv2d(norm(x, f"{at}.0"), state[f"{at}.1.weight"], padding=1)
        y = F.conv2d(bend(y, state[f"{at}.2.weight"]), state[f"{at}.3.weight"], stride=stride, padding=1)
        y = norm(y, f"{at}.4")
        squeezed = F.relu(F.conv2d(F.adaptive_avg_pool2d(y, 1), state[f"{at}.5.fc1.weight"]))
        y = y * F.conv2d(squeezed, state[f"{at}.5.fc2.weight"]).sigmoid()
        beside = f"body.{number}.shortcut_layer"
        if f"{beside}.0.weight" in state:
            x = norm(F.conv2d(x, state[f"{beside}.0.weight"], stride=stride), f"{beside}.1")
        else:
            x = x[:, :, ::stride, ::stride]
        x = x + y
        found += [x] if number in taps else []
    c1, c2, c3 = found

    def up(x: torch.Tensor, layer: str, y: torch.Tensor) -> torch.Tensor:
        lateral = F.conv2d(y, state[f"{layer}.weight"], state[f"{layer}.bias"])
        return F.interpolate(x, size=lateral.shape[2:], mode="bilinear", align_corners=True) + lateral

    def style(row: int, x: torch.Tensor) -> torch.Tensor:
        layer = 0
        while x.shape[-1] > 1:
            at = f"styles.{row}.convs.{layer}"
            x = F.leaky_relu(F.conv2d(x, state[f"{at}.weight"], state[f"{at}.bias"], stride=2, padding=1), 0.01)
            layer += 2
        weight = state[f"styles.{row}.linear.weight"]
        return x[..., 0, 0] @ weight.T / weight.shape[1] ** 0.5 + state[f"styles.{row}.linear.bias"]

    p2 = up(c3, "latlayer1", c2)
    p1 = up(p2, "latlayer2", c1)
    w = [style(0, c3)]
    for row in range(1, 9):
        w.append(w[0] + style(row, c3 if row < 3 else p2 if row < 7 else p1))
    return torch.stack(w, dim=1)


def test_the_encoder_computes_what_is_published() -> None:
    network = filled()
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        found, truth = network(x), twin(network.state_dict(), x)
    assert found.shape == (2, 9, 48)
    assert (found - truth).abs().max() < 1e-4 * truth.abs().max()
    assert (found[:, 1] - found[:, 8]).abs().max() > 0.1
    with pytest.raises(ValueError, match="expected images"):
        network(x[:, :, :16])


def test_names_shapes_and_size_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        network = E4eEncoder()
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(267.1e6, rel=1e-3)
    assert state["styles.17.convs.10.weight"].shape == (512, 512, 3, 3)
    assert "styles.0.convs.8.weight" not in state
    assert state["body.21.shortcut_layer.0.weight"].shape == (512, 256, 1, 1)
    assert "body.0.shortcut_layer.0.weight" not in state  # 64 to 64 channels: only every second pixel
    assert state["body.23.res_layer.5.fc1.weight"].shape == (32, 512, 1, 1)
    assert (state["latlayer1.weight"].shape, state["latlayer2.weight"].shape) == ((512, 256, 1, 1), (512, 128, 1, 1))


def test_a_file_without_the_encoder_or_with_another_is_refused() -> None:
    with pytest.raises(WeightsError, match="holds no encoder"):
        e4e_from_tensors({}, "a.pt")
    with pytest.raises(WeightsError, match="does not fit E4eEncoder"):
        e4e_from_tensors(filled().state_dict(), "a.pt")
