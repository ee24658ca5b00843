"""Points in polygons: hand-worked shapes, shared edges, and what is refused."""

import numpy as np
import pytest

from ostec.render.geometry import in_polygon

L_SHAPE = np.array([[0, 0], [4, 0], [4, 1], [1, 1], [1, 3], [0, 3]], np.float32)


def test_points_of_an_l_lie_in_its_two_arms_and_not_in_its_corner() -> None:
    x = np.array([[0.5, 3.0, 3.0], [0.5, -0.5, 4.5]])
    y = np.array([[2.5, 0.5, 2.0], [3.5, 0.5, 0.5]])
    expected = [[True, True, False], [False, False, False]]
    assert in_polygon(x, y, L_SHAPE).tolist() == expected
    assert in_polygon(x, y, L_SHAPE[::-1]).tolist() == expected  # either way round


def test_the_share_of_a_fine_grid_is_the_area() -> None:
    centres = (np.arange(400) + 0.5) / 100
    x, y = np.meshgrid(centres, centres)
    assert in_polygon(x, y, L_SHAPE).mean() == pytest.approx(6 / 16, abs=1e-9)


def test_a_star_that_crosses_itself_is_empty_in_the_middle() -> None:
    turns = np.arange(5) * 2 * np.pi * 2 / 5
    star = np.stack([np.sin(turns), np.cos(turns)], axis=1)
    assert in_polygon(np.array([0.0, 0.0]), np.array([0.0, 0.7]), star).tolist() == [False, True]


def test_every_point_lies_in_one_of_two_polygons_that_share_an_edge() -> None:
    """Also those on the edge, which runs through many points of the grid."""
    x, y = np.meshgrid(np.arange(1, 9) / 8 - 0.0625, np.arange(1, 9) / 8 - 0.0625)
    below = in_polygon(x, y, np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]))
    above = in_polygon(x, y, np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    assert (below ^ above).all()


def test_no_point_lies_in_a_line_or_in_nothing() -> None:
    x, y = np.array([0.5, 1.0]), np.array([0.5, 1.0])
    assert not in_polygon(x, y, np.array([[0.0, 0.0], [1.0, 1.0]])).any()
    assert not in_polygon(x, y, np.zeros((0, 2))).any()


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected x and y of one shape, got \(2,\) and \(3,\)"):
        in_polygon(np.zeros(2), np.zeros(3), L_SHAPE)
    with pytest.raises(ValueError, match=r"expected a polygon \[K, 2\], got \(2, 6\)"):
        in_polygon(np.zeros(2), np.zeros(2), L_SHAPE.T)
