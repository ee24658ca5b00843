"""Networks that read coefficients: published names and sizes, and what is refused."""

import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.regressor import DEEP3D, FACEVERSE, LAYOUTS, Regressor, RegressorLayout, regressor_from_tensors


def published_state(layout: RegressorLayout) -> dict[str, torch.Tensor]:
    """A state by torchvision's names of a ResNet-50 without its last layer, and the heads' as published."""
    from torchvision.models import resnet50

    torch.manual_seed(1)
    state = {f"backbone.{name}": x for name, x in resnet50().state_dict().items() if not name.startswith("fc.")}
    for k, (_, count) in enumerate(layout.heads):
        state[f"final_layers.{k}.weight"] = torch.randn(count, 2048, 1, 1) / 50
        state[f"final_layers.{k}.bias"] = torch.randn(count) / 10
    return state


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
    found = network(images)
    for k, (name, count) in enumerate(layout.heads[:2]):
        wanted = features @ state[f"final_layers.{k}.weight"][:, :, 0, 0].T + state[f"final_layers.{k}.bias"]
        if name == "expression":
            wanted[:, count - layout.untrained_expressions :] = 0
        torch.testing.assert_close(getattr(found, name), wanted, rtol=1e-4, atol=1e-4)


def test_identity_and_expression_are_those_of_their_heads_and_the_tongue_was_never_trained() -> None:
    network = Regressor(FACEVERSE)
    for k, head in enumerate(network.final_layers):
        head.weight.zero_()
        head.bias.copy_(100 * k + torch.arange(len(head.bias)))
    found = network(torch.zeros(2, 3, 256, 256))
    assert found.identity.shape == (2, 156)
    assert found.identity[1, [0, -1]].tolist() == [0, 155]
    assert found.expression.shape == (2, 177)
    assert found.expression[1, [0, 170]].tolist() == [100, 270]
    assert found.expression[:, 171:].abs().max() == 0


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
    with torch.device("meta"):
        network = Regressor(FACEVERSE)
    with pytest.raises(ValueError, match=r"expected images \[B, 3, 256, 256\], got \[1, 3, 224, 224\]"):
        network(torch.zeros(1, 3, 224, 224))
