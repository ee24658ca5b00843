import numpy as np
import pytest

from ostec.stitch.grain import skin_grain
from ostec.stitch.settings import GrainSettings

SIZE = 256


def noise(deviation: float = 0.02) -> np.ndarray:
    return np.random.default_rng(3).normal(0, deviation, (SIZE, SIZE, 3)).astype(np.float32)


def left() -> np.ndarray:
    plain = np.zeros((SIZE, SIZE), bool)
    plain[:, : SIZE // 2] = True
    return plain


def test_grain_has_the_deviation_of_the_skin_that_was_seen() -> None:
    detail = noise() * left()[..., None]
    grain = skin_grain(detail, left(), ~left())
    inner = grain[16:-16, SIZE // 2 + 16 : -16]
    assert inner.std() == pytest.approx(0.02, rel=0.15)
    assert abs(inner.mean()) < 1e-3
    assert not grain[left()].any()


def test_a_mole_is_not_copied() -> None:
    detail = noise(0.01) * left()[..., None]
    detail[100:104, 40:44] = -0.4
    assert np.abs(skin_grain(detail, left(), ~left())).max() < 0.1


@pytest.mark.parametrize("plain", [np.zeros((SIZE, SIZE), bool), np.eye(SIZE, dtype=bool)])
def test_without_plain_skin_there_is_none(plain: np.ndarray) -> None:
    assert not skin_grain(noise(), plain, ~plain).any()


def test_the_same_skin_gives_the_same_grain() -> None:
    first, second = (skin_grain(noise(), left(), ~left(), GrainSettings()) for _ in range(2))
    assert np.array_equal(first, second)
