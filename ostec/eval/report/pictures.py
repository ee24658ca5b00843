"""Pictures that an evaluation leaves for the eye: differences, and sheets of many pictures with their labels."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostec.core.errors import ImageError
from ostec.core.types import BoolArray, FloatArray
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import encode_jpeg, encode_png, read_image, resize_image

PICTURES = "pictures"
"""Folder of the pictures, below the evaluation's."""
SHEET = "sheet.png"
GROUND = 0.5
"""Grey where nothing is compared, and where two pictures are equal."""
GAP_PX = 6
LABEL_PX = 20
"""Height of the line of text above a picture."""
WIDEST_PX = 6000
"""A sheet's cells shrink before it grows wider than this."""
LEAST_CELL_PX = 96


@dataclass(frozen=True)
class Cell:
    """A picture of a sheet."""

    label: str
    picture: FloatArray | None
    """[H, W, 3] in [0, 1], or None where there is none."""


def difference(made: FloatArray, truth: FloatArray, mask: BoolArray) -> FloatArray:
    """Grey plus ``made`` less ``truth``, [H, W, 3] in [0, 1]; plain grey outside ``mask`` [H, W]."""
    found: FloatArray = np.where(mask[..., None], np.clip(GROUND + made - truth, 0, 1), GROUND).astype(np.float32)
    return found


def path_of(name: str, small: bool = False) -> str:
    """Path of a picture, by its file name without its ending, from the evaluation's folder."""
    return f"{PICTURES}/{name}.{'jpg' if small else 'png'}"


def write_pictures(
    folder: Path, pictures: Mapping[str, FloatArray], small: bool = False, stem: str = ""
) -> dict[str, str]:
    """Write pictures [H, W, 3], clipped to [0, 1], into the folder ``pictures`` of an evaluation.

    Takes and returns them by file name after ``stem`` and without its ending; returned are paths relative to
    ``folder``. ``small`` ones, where there are very many, are JPEGs. Raises OutputError.
    """
    make_folder(folder / PICTURES)
    paths = {name: path_of(stem + name, small) for name in pictures}
    for name, picture in pictures.items():
        clean = np.clip(picture, 0, 1).astype(np.float32)
        write_atomic(folder / paths[name], encode_jpeg(clean, 92) if small else encode_png(clean))
    return paths


def cell_of(folder: Path, path: str, label: str, crop: float = 0.0) -> Cell:
    """The picture of an evaluation at a relative path; of one that cannot be read, a cell that says so.

    ``crop`` is the share of it that is cut off at each side.
    """
    try:
        picture = read_image(folder / path)
    except ImageError:
        return Cell(label, None)
    y, x = (round(crop * length) for length in picture.shape[:2])
    return Cell(label, np.ascontiguousarray(picture[y : len(picture) - y, x : picture.shape[1] - x]))


def sheet(rows: Sequence[Sequence[Cell]], side: int) -> FloatArray:
    """Pictures in rows, each below its label in a square of at most ``side`` pixels, on white; ValueError for none."""
    columns = max((len(row) for row in rows), default=0)
    if not columns:
        raise ValueError("expected pictures, got none")
    side = max(min(side, WIDEST_PX // columns - GAP_PX), LEAST_CELL_PX)
    step_x, step_y = side + GAP_PX, LABEL_PX + side + GAP_PX
    canvas = np.ones((len(rows) * step_y - GAP_PX, columns * step_x - GAP_PX, 3), np.float32)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            x, y, top = j * step_x, i * step_y, i * step_y + LABEL_PX
            canvas[y:top, x : x + side] = label_strip(cell.label + ": none" * (cell.picture is None), side)
            if cell.picture is not None:
                canvas[top : top + side, x : x + side] = fit_cell(cell.picture, side)
    return canvas


def fit_cell(picture: FloatArray, side: int) -> FloatArray:
    """A picture [H, W, 3] as large as it fits into a white square of ``side`` pixels."""
    height, width = picture.shape[:2]
    zoom = side / max(height, width)
    size = max(1, round(width * zoom)), max(1, round(height * zoom))
    cell = np.ones((side, side, 3), np.float32)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    small = resize_image(picture, *size, "area" if zoom < 1 else "bilinear")
    cell[top : top + size[1], left : left + size[0]] = small
    return cell


def label_strip(text: str, width: int) -> FloatArray:
    """A line of dark text on white, [``LABEL_PX``, width, 3]; long ones lose their middle, letters their accents.

    What is no ASCII then is shown as ``?``.
    """
    import cv2

    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.4
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    plain = shown = "".join(c if " " <= c <= "~" else "?" for c in bare)
    half = len(plain) // 2
    while half > 1 and cv2.getTextSize(shown, font, size, 1)[0][0] > width - 4:
        half -= 1
        shown = f"{plain[:half]}..{plain[-half:]}"
    strip = np.full((LABEL_PX, width, 3), 255, np.uint8)
    cv2.putText(strip, shown, (1, 14), font, size, (25, 25, 25), 1, cv2.LINE_AA)
    return strip.astype(np.float32) / np.float32(255)
