"""Pictures for the eye: differences round grey, and cells that keep their shape."""

import numpy as np
import pytest

from ostec.eval.pictures import GAP_PX, difference, fit_cell, sheet


def test_a_difference_is_grey_where_pictures_are_equal_or_not_compared() -> None:
    made, truth = (np.full((2, 3, 3), v, np.float32) for v in (0.9, 0.2))
    truth[0, 0] = 0.9
    mask = np.array([[True, True, False], [False, True, True]])
    found = difference(made, truth, mask)
    assert np.allclose(found[0, 0], 0.5)
    assert np.allclose(found[~mask], 0.5)
    assert np.allclose(found[1, 2], 1)  # 0.5 + 0.7, clipped
    assert np.allclose(difference(truth, made, mask)[1, 2], 0)


def test_a_cell_holds_the_whole_picture_in_its_shape() -> None:
    cell = fit_cell(np.zeros((30, 60, 3), np.float32), 40)
    dark = (cell < 0.5).all(2)
    assert cell.shape == (40, 40, 3)
    assert np.flatnonzero(dark.any(1)).tolist() == list(range(10, 30))
    assert dark.any(0).all()
    assert (fit_cell(np.zeros((5, 5, 3), np.float32), 40) == 0).all()


def test_a_sheet_puts_pictures_in_rows_and_shrinks_before_it_grows_too_wide() -> None:
    black, red = np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 3), np.float32) + np.float32([1, 0, 0])
    found = sheet([[black, red], [red]], 100)
    assert found.shape == (200 + GAP_PX, 200 + GAP_PX, 3)
    corners = [found[50, 50], found[50, 150 + GAP_PX], found[150 + GAP_PX, 50], found[150 + GAP_PX, 150 + GAP_PX]]
    assert [c.tolist() for c in corners] == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]]
    assert sheet([[black] * 40], 256).shape[1] <= 6000


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pictures, got none"):
        sheet([], 100)
