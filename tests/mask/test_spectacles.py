"""Lines in a strip: what counts as one, and which way the best runs. What is found on a face: test_masks.py."""

import itertools

import numpy as np
import pytest

from ostec.mask.settings import SpectacleSettings
from ostec.mask.spectacles import (
    RimGuide,
    best_path,
    bridge_evidence,
    closed_path,
    find_rim,
    line_evidence,
    rim_texels,
    spectacles,
)

SIZE = 256
CENTRE = np.array([0.5, 0.5])


def test_a_line_differs_from_both_sides_and_an_edge_from_one():
    strip = np.zeros((1, 40, 3))
    strip[0, 12:14] = [-4, 0, 0]  # a line, two wide
    strip[0, 28:] = [-4, 0, 0]  # an edge
    evidence, width = line_evidence(strip, np.ones((1, 40), bool), contrast=4.0)
    assert evidence.shape == width.shape == (1, 24)
    assert evidence[0, 12 - 8] == pytest.approx(1)  # the first eight places are the margin
    assert width[0, 12 - 8] == 2
    assert evidence[0, 18 - 8] == 0
    np.testing.assert_allclose(evidence[0, 23 - 8 :], 0, atol=1e-6)


def test_evidence_is_the_root_of_the_contrast_with_the_more_like_side():
    strip = np.zeros((1, 17, 3))
    strip[0, 8] = [-9, 0, 0]
    strip[0, 9:] = [-5, 0, 0]  # 9 from one side, 4 from the other: 9 * 4 / 9
    evidence, _ = line_evidence(strip, np.ones((1, 17), bool), contrast=1.0)
    assert evidence[0, 0] == pytest.approx(2)


def test_a_bright_and_a_tinted_line_count_as_a_dark_one_does():
    for colour in ([4, 0, 0], [0, 4, 0], [0, 0, -4]):
        strip = np.zeros((1, 17, 3))
        strip[0, 8] = colour
        assert line_evidence(strip, np.ones((1, 17), bool), 4.0)[0][0, 0] == pytest.approx(1)


def test_there_is_no_evidence_beside_what_was_not_seen():
    strip = np.zeros((1, 17, 3))
    strip[0, 8] = [-4, 0, 0]
    known = np.ones((1, 17), bool)
    known[0, :7] = False
    assert line_evidence(strip, known, 4.0)[0][0, 0] == 0


def test_the_best_path_is_the_best_of_all():
    reward = np.random.default_rng(3).random((5, 4))
    gains = {
        path: sum(reward[t, c] for t, c in enumerate(path)) - 0.2 * sum(abs(a - b) for a, b in itertools.pairwise(path))
        for path in itertools.product(range(4), repeat=5)
    }
    assert tuple(best_path(reward, 0.2)) == max(gains, key=lambda path: gains[path])


def test_a_path_moves_by_three_at_most():
    reward = np.zeros((4, 9))
    reward[0, 0] = reward[3, 8] = 9
    reward[1, 8] = 1  # out of reach from 0
    path = best_path(reward, 0.0)
    assert path[0] == 0
    assert path[-1] == 8
    assert np.abs(np.diff(path)).max() <= 3


def test_a_closed_path_meets_itself():
    reward = np.zeros((12, 9))
    reward[np.arange(12), [1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2]] = 1
    path = closed_path(reward, 0.1)
    np.testing.assert_array_equal(path, [1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2])
    reward[0] = 0
    reward[0, 8] = 1.05  # more on its own, but too far from both neighbours
    assert closed_path(reward, 0.1)[0] < 5


def blank() -> RimGuide:
    none = np.zeros((SIZE, SIZE), bool)
    return RimGuide(~none, none, none, none, np.stack([CENTRE, CENTRE]))


def ring(radius: float, half: float, centre: np.ndarray = CENTRE) -> np.ndarray:
    at = (np.arange(SIZE) + 0.5) / SIZE
    distance = np.hypot(at[None] - centre[0], 1 - at[:, None] - centre[1])
    return np.abs(distance - radius) < half


@pytest.mark.parametrize("half", [0.006, 0.02])
def test_a_ring_is_found_whole_and_hardly_more(half):
    colour = np.zeros((SIZE, SIZE, 3), np.float32)
    planted = ring(0.12, half)
    colour[planted] = [-1.5, 0.1, 0]
    rim = find_rim(colour, np.ones((SIZE, SIZE), bool), CENTRE, blank(), SpectacleSettings())
    found = rim_texels(rim, SIZE, SpectacleSettings())
    assert found[planted].mean() > 0.97
    assert not found[~ring(0.12, half + 2.5 / SIZE)].any()


def test_half_a_ring_gives_half_a_rim():
    colour = np.zeros((SIZE, SIZE, 3), np.float32)
    planted = ring(0.12, 0.008)
    planted[SIZE // 2 :] = False
    colour[planted] = [-1.5, 0, 0]
    settings = SpectacleSettings()
    found = rim_texels(find_rim(colour, np.ones((SIZE, SIZE), bool), CENTRE, blank(), settings), SIZE, settings)
    assert found[planted].mean() > 0.9
    assert found[SIZE // 2 + 12 :].sum() == 0


def test_a_bridge_is_a_line_across_the_nose():
    colour = np.zeros((SIZE, SIZE, 3), np.float32)
    seen = np.ones((SIZE, SIZE), bool)
    assert bridge_evidence(colour, seen, blank(), SpectacleSettings()) == 0
    colour[124:127] = [-0.48, 0, 0]  # four deviations
    assert bridge_evidence(colour, seen, blank(), SpectacleSettings()) == pytest.approx(1, abs=0.05)
    colour[:, 128] = 0  # a gap of one column
    colour[:, :126] = 0  # half of it
    assert bridge_evidence(colour, seen, blank(), SpectacleSettings()) == 0


def frame(parts: str) -> np.ndarray:
    """Two rings and a bridge between them, each if its letter is among ``parts``."""
    planted = np.zeros((SIZE, SIZE), bool)
    for letter, u in (("l", 0.33), ("r", 0.67)):
        if letter in parts:
            planted |= ring(0.1, 0.008, np.array([u, 0.5]))
    if "b" in parts:
        planted[126:130, 108:148] = True
    return planted


@pytest.mark.parametrize(("parts", "proven"), [("lrb", True), ("lr", False), ("lb", False), ("b", False)])
def test_a_frame_that_colour_does_not_prove_needs_all_of_its_lines(parts, proven):
    none = np.zeros((SIZE, SIZE), bool)
    bridge = none.copy()
    bridge[116:140, 114:142] = True
    guide = RimGuide(~none, bridge, none, none, np.array([[0.33, 0.5], [0.67, 0.5]]))
    colour = np.zeros((SIZE, SIZE, 3), np.float32)
    planted = frame(parts)
    colour[planted] = [-0.4, 0, 0]
    unlike = np.full((SIZE, SIZE), 3, np.float32)  # short of what its colour would have to be
    found = spectacles(colour, unlike, guide)
    assert found.any() == proven
    if proven:
        assert (found[ring(0.1, 0.008, guide.centres[0])] > 0.5).all()
        unlike[:] = 1  # the bridge has the colour of skin: its lines have to be clearer still
        assert not spectacles(colour, unlike, guide, SpectacleSettings(frame=(9.0, 1.05))).any()


def test_nothing_seen_is_no_spectacles():
    zero = np.zeros((SIZE, SIZE), np.float32)
    guide = blank()
    guide.bridge[120:136, 120:136] = True
    assert not spectacles(np.zeros((SIZE, SIZE, 3), np.float32), zero, guide).any()
