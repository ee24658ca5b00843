"""Networks that read coefficients: published names and sizes, which numbers go where, and what is refused."""

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.regressor import (
    DEEP3D,
    FACEVERSE,
    HIFI3D,
    LAYOUTS,
    Regressor,
    RegressorLayout,
    regressor_from_tensors,
    split,
)


def published_state(layout: RegressorLayout) -> dict[str, torch.Tensor]:
    """A state by torchvision's names of a ResNet-50 without its last layer, and the heads' as published."""
    from torchvision.models import resnet50

    torch.manual_seed(1)
    state = {f"backbone.{name}": x for name, x in resnet50().state_dict().items() if not name.startswith("fc.")}
    for k, (name, count) in enumerate(layout.heads):
        key = f"final_layers.{k}.0" if name in layout.rectified else f"final_layers.{k}"
        state[f"{key}.weight"] = torch.randn(count, 2048, 1, 1) / 50
        state[f"{key}.bias"] = torch.randn(count) / 10
    return state


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_vector_is_as_long_as_published(layout: RegressorLayout) -> None:
    assert layout.count == {"Deep3DFaceRecon": 257, "FFHQ-UV": 1049, "FaceVerse 4": 621}[layout.name]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_published_file_becomes_its_network(layout: RegressorLayout) -> None:
    from torchvision.models import resnet50

    state = published_state(layout)
    network = regressor_from_tensors(state, "epoch_20.pth")
    assert network.layout is layout
    images = torch.rand(1, 3, layout.size, layout.size, generator=torch.Generator().manual_seed(0))
    backbone = resnet50()
    backbone.fc = torch.nn.Identity()
    backbone.load_state_dict({k.removeprefix("backbone."): x for k, x in state.items() if k.startswith("backbone.")})
    with torch.no_grad():
        features = backbone.eval()(images)
        expected = torch.cat(
            [
                (out.relu() if name in layout.rectified else out)
                for k, (name, _) in enumerate(layout.heads)
                for stem in [f"final_layers.{k}.0" if name in layout.rectified else f"final_layers.{k}"]
                for out in [features @ state[f"{stem}.weight"][:, :, 0, 0].T + state[f"{stem}.bias"]]
            ],
            dim=1,
        )
    found, wanted = network(images), split(layout, expected)
    for name in ("identity", "expression", "albedo", "angles", "light", "translation"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), rtol=1e-4, atol=1e-4)


def test_deep3d_numbers_go_where_they_belong() -> None:
    found = split(DEEP3D, torch.arange(257.0)[None])
    assert found.identity[0, [0, -1]].tolist() == [0, 79]
    assert found.expression[0, [0, -1]].tolist() == [80, 143]
    assert found.albedo[0, [0, -1]].tolist() == [144, 223]
    assert found.angles[0].tolist() == [224, 225, 226]
    assert found.light[0, :, 0].tolist() == list(range(227, 236))  # nine of red, then green, then blue
    assert found.light[0, 0].tolist() == [227, 236, 245]
    assert found.translation[0].tolist() == [254, 255, 256]
    assert found.eyes is None


def test_faceverse_has_light_before_angles_and_function_by_function() -> None:
    found = split(FACEVERSE, torch.arange(621.0)[None])
    assert found.identity.shape == (1, 156)
    assert found.expression[0, 170] == 156 + 170
    assert found.expression[0, 171:].tolist() == [0] * 6  # the tongue was never trained
    assert found.light[0, 0].tolist() == [584, 585, 586]  # red, green, blue of the first function
    assert found.angles[0].tolist() == [611, 612, 613]
    assert found.translation[0].tolist() == [614, 615, 616]
    assert found.eyes is not None
    assert found.eyes[0].tolist() == [617, 618, 619, 620]


def test_ffhq_uv_expressions_are_never_negative() -> None:
    network = Regressor(HIFI3D)
    with torch.no_grad():
        head = network.final_layers[1]
        head[0].weight.zero_()
        head[0].bias.copy_(torch.linspace(-1, 1, 45))
    found = network(torch.zeros(1, 3, 224, 224)).expression[0]
    torch.testing.assert_close(found, torch.linspace(-1, 1, 45).clamp(min=0))
    assert "final_layers.1.0.weight" in network.state_dict()


def test_file_of_something_else_is_refused() -> None:
    with pytest.raises(
        WeightsError, match=r"a\.pth is no regressor known: expected heads of Deep3DFaceRecon .* found \(3,\)"
    ):
        regressor_from_tensors({"final_layers.0.bias": torch.zeros(3)}, "a.pth")
    state = published_state(DEEP3D)
    state.pop("backbone.layer3.5.conv3.weight")
    with pytest.raises(WeightsError, match=r"backbone\.layer3\.5\.conv3\.weight missing"):
        regressor_from_tensors(state, "a.pth")


def test_shapes_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match=r"expected \[B, 257\] for Deep3DFaceRecon, got \[1, 256\]"):
        split(DEEP3D, torch.zeros(1, 256))
    with torch.device("meta"):
        network = Regressor(FACEVERSE)
    with pytest.raises(ValueError, match=r"expected images \[B, 3, 256, 256\], got \[1, 3, 224, 224\]"):
        network(torch.zeros(1, 3, 224, 224))
