import numpy as np
import pytest

from ostec.stitch.eyes import mirror_eyes
from ostec.stitch.settings import EyeSettings

SIZE = 128
LEFT, RIGHT = (40, 50), (88, 50)
HALF = 12


def openings() -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    inside = [((x - cx) / HALF) ** 2 + ((y - cy) / 6) ** 2 < 1 for cx, cy in (LEFT, RIGHT)]
    return (inside[0] | inside[1]).astype(np.float32)


def face(left_turn: float, right_turn: float, skin: float = 0.6) -> np.ndarray:
    """A face whose irises are moved to the right by so many texels."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    image = np.full((SIZE, SIZE, 3), skin, np.float32)
    image[openings() > 0] = 0.9
    for (cx, cy), turn in ((LEFT, left_turn), (RIGHT, right_turn)):
        image[((x - cx - turn) ** 2 + (y - cy) ** 2 < 16)] = 0.1
    return image


def iris(image: np.ndarray, where: tuple[int, int]) -> float:
    cx, cy = where
    dark = np.clip(0.5 - image[cy - 6 : cy + 6, cx - HALF : cx + HALF].mean(-1), 0, None).sum(0)
    return float((dark * (np.arange(2 * HALF) + 0.5 - HALF)).sum() / dark.sum())


def only(side: str) -> np.ndarray:
    trust = np.zeros((SIZE, SIZE), np.float32)
    trust[:, slice(0, 64) if side == "left" else slice(64, None)] = 1
    return trust


@pytest.mark.parametrize("turn", [-2.0, 0.0, 2.0])
@pytest.mark.parametrize("seen", ["left", "right"])
def test_both_eyes_look_the_same_way(turn: float, seen: str) -> None:
    photo, smudge = face(turn, turn), np.full((SIZE, SIZE, 3), 0.6, np.float32)
    eyes = mirror_eyes(photo, only(seen), smudge, openings(), lambda: face(0, 0), EyeSettings(turn=2, gain=(1, 1)))
    made, taken = eyes.fill, eyes.taken
    hidden = RIGHT if seen == "left" else LEFT
    assert iris(made, hidden) == pytest.approx(turn, abs=0.7)
    assert np.array_equal(taken, (openings() > 0.5) & (only(seen) == 0))
    assert np.array_equal(made[~taken], smudge[~taken])


def test_an_eye_takes_the_colour_of_the_fill_about_it() -> None:
    eyes = mirror_eyes(face(0, 0), only("left"), face(0, 0) * 0.7, openings(), lambda: face(0, 0))
    made, taken = eyes.fill, eyes.taken
    assert made[taken].mean() == pytest.approx((face(0, 0) * 0.7)[taken].mean(), rel=0.02)


@pytest.mark.parametrize("trust", [np.zeros((SIZE, SIZE), np.float32), np.ones((SIZE, SIZE), np.float32)])
def test_nothing_changes_where_both_or_none_are_seen(trust: np.ndarray) -> None:
    fill = face(0, 0)
    eyes = mirror_eyes(face(2, 2, 0.3), trust, fill, openings(), lambda: face(0, 0))
    assert np.array_equal(eyes.fill, fill)
    assert np.array_equal(eyes.photo, face(2, 2, 0.3))
    assert not eyes.taken.any()


def test_an_eye_of_which_a_part_is_covered_is_no_model_for_the_other() -> None:
    trust = only("left")
    trust[44:50, 28:52] = 0
    eyes = mirror_eyes(face(0, 0), trust, face(1, 1, 0.5), openings(), lambda: face(0, 0))
    assert not eyes.taken.any()
    assert np.array_equal(eyes.fill, face(1, 1, 0.5))


def test_a_half_hidden_eye_passes_smoothly_into_the_other_eyes_image() -> None:
    trust = only("right")
    trust[:, LEFT[0] :] = 1
    photo = face(0, 0)
    photo[:, :64] = np.clip(photo[:, :64] + 0.1, 0, 1)
    eyes = mirror_eyes(photo, trust, face(0, 0), openings(), lambda: face(0, 0), EyeSettings(gain=(1, 1)))
    row = (eyes.photo[LEFT[1]] * trust[LEFT[1], :, None] + eyes.fill[LEFT[1]] * (1 - trust[LEFT[1], :, None])).mean(-1)
    plain = (photo[LEFT[1]] * trust[LEFT[1], :, None] + eyes.fill[LEFT[1]] * (1 - trust[LEFT[1], :, None])).mean(-1)
    joint = slice(LEFT[0] - 1, LEFT[0] + 1)
    assert abs(np.diff(row[joint])) < 0.3 * abs(np.diff(plain[joint]))
