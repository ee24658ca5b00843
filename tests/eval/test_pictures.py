"""Pictures for the eye: differences round grey, and cells that keep their shape."""

from pathlib import Path

import numpy as np
import pytest

from ostec.eval.report.pictures import (
    GAP_PX,
    LABEL_PX,
    Cell,
    cell_of,
    difference,
    fit_cell,
    label_strip,
    path_of,
    sheet,
    write_pictures,
)
from ostec.io.images import read_image


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
    black, red = Cell("", np.zeros((8, 8, 3), np.float32)), Cell("", np.tile(np.float32([1, 0, 0]), (8, 8, 1)))
    found = sheet([[black, red], [red]], 100)
    assert found.shape == (2 * (100 + LABEL_PX) + GAP_PX, 200 + GAP_PX, 3)
    top, below, right = 50 + LABEL_PX, 150 + 2 * LABEL_PX + GAP_PX, 150 + GAP_PX
    corners = [found[top, 50], found[top, right], found[below, 50], found[below, right]]
    assert [c.tolist() for c in corners] == [[0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]]
    assert sheet([[black] * 40], 256).shape[1] <= 6000


def test_a_sheet_labels_its_pictures_and_says_what_is_not_there() -> None:
    white = Cell("one", np.ones((8, 8, 3), np.float32))
    found = sheet([[white, Cell("two", None)]], 100)
    for left, text in ((0, "one"), (100 + GAP_PX, "two: none")):
        assert np.array_equal(found[:LABEL_PX, left : left + 100], label_strip(text, 100))
    assert (found[LABEL_PX:] == 1).all()


def test_a_label_fits_its_picture() -> None:
    for text in ("a" * 200, "W" * 30, "Jürgen über alles und noch viel länger als das"):
        strip = label_strip(text, 160)
        assert strip.shape == (LABEL_PX, 160, 3)
        assert (strip[:, -1] > 0.9).all(), "it does not run out of the strip"
        assert (strip < 0.5).any()
    assert np.array_equal(label_strip("Jürgen ß", 100), label_strip("Jurgen ?", 100))


def test_a_sheet_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected pictures, got none"):
        sheet([], 100)


def test_pictures_are_written_where_rows_say_they_are(tmp_path: Path) -> None:
    picture = np.zeros((10, 20, 3), np.float32)
    picture[2:8, 4:16] = (2.0, 0.5, -1.0)
    written = write_pictures(tmp_path, {"a b": picture})
    assert written == {"a b": "pictures/a b.png"} == {"a b": path_of("a b")}
    assert np.allclose(read_image(tmp_path / written["a b"]), np.clip(picture, 0, 1), atol=1 / 255)
    cut = cell_of(tmp_path, written["a b"], "x", crop=0.2)
    assert cut.picture is not None
    assert cut.picture.shape == (6, 12, 3)
    assert np.allclose(cut.picture, (1.0, 0.5, 0.0), atol=1 / 255)
    assert write_pictures(tmp_path, {"a": picture}, small=True) == {"a": "pictures/a.jpg"}
    assert cell_of(tmp_path, path_of("gone"), "x") == Cell("x", None)
