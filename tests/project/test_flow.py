import numpy as np
import pytest

from ostec.core.errors import WeightsError
from ostec.core.types import FloatArray
from ostec.nets.styleflow import styleflow_from_tensors
from ostec.project.edit import ATTRIBUTES, wanted
from ostec.project.flow import FlowEdits, published_attributes, to_dpr
from tests.nets.test_styleflow import published

A = len(ATTRIBUTES)


@pytest.fixture(scope="module")
def edits() -> FlowEdits:
    return FlowEdits(styleflow_from_tensors(published(), "a.pt"), steps=4)


def latent() -> FloatArray:
    return np.random.default_rng(0).normal(size=(18, 512)).astype(np.float32)


def test_light_keeps_its_direction_in_the_published_basis() -> None:
    above, right, front = np.zeros((3, 9))
    above[[0, 2]], right[[0, 1]], front[[0, 3]] = 1, 1, 1
    linear = (2 / 3 * 3**0.5) ** -1  # the constants of order 0 over those of order 1
    assert to_dpr(above) == pytest.approx([1, 0, linear, 0, *[0] * 5], abs=1e-9)
    assert to_dpr(right) == pytest.approx([1, 0, 0, linear, *[0] * 5], abs=1e-9)
    assert to_dpr(front) == pytest.approx([1, -linear, 0, 0, *[0] * 5], abs=1e-9)


def test_attributes_stand_where_the_flow_has_them() -> None:
    measured = np.zeros(A)
    measured[:3] = (12, -7, 0.4)
    found = published_attributes(measured)
    assert found[[11, 12, 16]] == pytest.approx([12, -7, 0.4])
    assert found[:9] == pytest.approx([0.854, *[0] * 8])
    assert found[15] == 30.5


def test_the_published_rows_change_and_nothing_asked_changes_none(edits: FlowEdits) -> None:
    before = np.full(A, 0.1)

    def rows(**asked: float) -> list[int]:
        moved = edits.shift(latent(), before, wanted(before, asked))
        return np.flatnonzero(np.abs(moved).max(1) > 1e-6).tolist()

    assert rows() == []
    assert rows(yaw_deg=5.0) == [0, 1, 2, 3]
    assert rows(light2=0.4) == [7, 8, 9, 10, 11]
    assert rows(smile=0.0) == list(range(18))


def test_glasses_and_hair_change_their_published_rows_alone(edits: FlowEdits) -> None:
    def rows(**asked: float) -> list[int]:
        return np.flatnonzero(np.abs(edits.unmeasured(latent(), np.zeros(A), asked)).max(1) > 1e-6).tolist()

    assert rows(glasses=0.0) == [2, 3]
    assert rows(baldness=1.0) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(WeightsError, match="has"):
        edits.unmeasured(np.zeros((12, 256), np.float32), np.zeros(A), {"glasses": 0.0})


def test_another_generators_latents_are_refused(edits: FlowEdits) -> None:
    with pytest.raises(WeightsError, match=r"\[18, 512\], and this generator has \[12, 256\]"):
        edits.shift(np.zeros((12, 256), np.float32), np.zeros(A), np.ones(A))
