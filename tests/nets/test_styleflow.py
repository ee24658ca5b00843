"""The published layout, the formula against a plain twin in NumPy, and there and back."""

import numpy as np
import pytest
import torch

from ostec.core.errors import WeightsError
from ostec.nets.styleflow import ATTRIBUTES, LAYERS, WIDTH, StyleFlow, styleflow_from_tensors


def published(seed: int = 0) -> dict[str, torch.Tensor]:
    """A made file of exactly the published names and shapes."""
    random = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    tensors = {"chain.1.sqrt_end_time": torch.tensor(0.7), "chain.1.odefunc._num_evals": torch.tensor(9.0)}
    for k in (0, 2):
        tensors |= {f"chain.{k}.{name}": 0.1 * drawn(WIDTH) for name in ("weight", "bias", "running_mean")}
        tensors |= {f"chain.{k}.running_var": drawn(WIDTH).abs() + 0.5, f"chain.{k}.step": torch.ones(1)}
    for k in range(LAYERS):
        name = f"chain.1.odefunc.diffeq.layers.{k}."
        tensors |= {
            f"{name}_layer.weight": 0.04 * drawn(WIDTH, WIDTH),
            f"{name}_layer.bias": 0.1 * drawn(WIDTH),
            f"{name}_hyper_bias.weight": 0.1 * drawn(WIDTH, 18),
            f"{name}_hyper_gate.weight": 0.1 * drawn(WIDTH, 18),
            f"{name}_hyper_gate.bias": 0.1 * drawn(WIDTH),
        }
    return tensors


def twin(tensors: dict[str, torch.Tensor], x: np.ndarray, attributes: np.ndarray, steps: int) -> np.ndarray:
    """The published formula, written out: normalise, integrate by small Euler steps, normalise."""
    held = {name: tensor.double().numpy() for name, tensor in tensors.items()}

    def norm(k: int, x: np.ndarray) -> np.ndarray:
        mean, var = held[f"chain.{k}.running_mean"], held[f"chain.{k}.running_var"]
        return (x - mean) / np.sqrt(var + 1e-4) * np.exp(held[f"chain.{k}.weight"]) + held[f"chain.{k}.bias"]

    x = norm(0, x)
    end = float(held["chain.1.sqrt_end_time"]) ** 2
    for number in range(steps):
        context = np.concatenate([[number * end / steps], attributes])
        y = x
        for k in range(LAYERS):
            own = {
                part: held[f"chain.1.odefunc.diffeq.layers.{k}.{part}"]
                for part in (
                    "_layer.weight",
                    "_layer.bias",
                    "_hyper_bias.weight",
                    "_hyper_gate.weight",
                    "_hyper_gate.bias",
                )
            }
            gate = 1 / (1 + np.exp(-(own["_hyper_gate.weight"] @ context + own["_hyper_gate.bias"])))
            y = (own["_layer.weight"] @ y + own["_layer.bias"]) * gate + own["_hyper_bias.weight"] @ context
            y = np.tanh(y) if k + 1 < LAYERS else y
        x = x + end / steps * y
    return norm(2, x)


def given() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return torch.randn(2, WIDTH, generator=random), torch.randn(2, len(ATTRIBUTES), generator=random)


def test_it_is_the_published_formula() -> None:
    tensors = published()
    flow, (x, attributes) = styleflow_from_tensors(tensors, "a.pt"), given()
    found = flow(x, attributes)[1].numpy()
    near, far = (twin(tensors, x[1].double().numpy(), attributes[1].double().numpy(), n) for n in (400, 200))
    exact = 2 * near - far  # Euler's first error taken out
    assert np.abs(found - exact).max() < 1e-3 * np.abs(exact).max()
    assert np.abs(found - near).max() < np.abs(found - far).max()


def test_back_is_the_inverse_and_half_the_steps_will_do() -> None:
    flow, (x, attributes) = styleflow_from_tensors(published(), "a.pt"), given()
    code = flow(x, attributes)
    assert (flow(code, attributes, back=True) - x).abs().max() < 1e-3
    assert (flow(x, attributes, steps=20) - code).abs().max() < 1e-3
    assert (flow(code, attributes * 0.5, back=True) - x).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.pop("chain.0.step"), r"no file of StyleFlow: chain\.0\.step missing"),
        (lambda t: t.pop("chain.2.bias"), r"chain\.2\.bias missing"),
        (lambda t: t.update(more=torch.zeros(1)), "more unknown"),
        (lambda t: t.update({"chain.0.weight": torch.zeros(256)}), r"chain\.0\.weight is \(256,\), expected \(512,\)"),
        (lambda t: t.update({"chain.0.weight": torch.full((512,), torch.nan)}), "no finite number"),
    ],
)
def test_other_files_are_refused(change: object, sentence: str) -> None:
    tensors = published()
    change(tensors)  # type: ignore[operator]
    with pytest.raises(WeightsError, match=sentence):
        styleflow_from_tensors(tensors, "a.pt")


def test_the_file_has_as_many_numbers_as_published() -> None:
    assert sum(t.numel() for t in StyleFlow().state_dict().values()) == pytest.approx(1.692e6, rel=0.005)
