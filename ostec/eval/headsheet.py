"""One sheet of pictures for a head: what was put in, what came out, what is true."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ostec.core.errors import ImageError
from ostec.core.types import FloatArray
from ostec.eval.drawing import SIDE
from ostec.eval.head import OSTEC, PICTURES, HeadSettings, Input
from ostec.eval.pictures import fit_cell, sheet
from ostec.io.images import read_image, write_png

FILE = "sheet.png"
CELL_PX = 240
MOST_ROWS = 12
"""More inputs than this are not shown: first those of other lights go, then those of other pitches."""
_LABEL_PX = 22
_CROP = 0.12
"""Share of a picture of the head that is cut off at each side, where there is no face."""


def shown_inputs(settings: HeadSettings) -> list[Input]:
    """The inputs that have a row: those of the first light; where they are too many, those of the pitch next to 0."""
    inputs = [pose for pose in settings.inputs.values() if pose.light == settings.lights[0]]
    if len(inputs) > MOST_ROWS:
        level = min((pose.pitch_deg for pose in inputs), key=abs)
        inputs = [pose for pose in inputs if pose.pitch_deg == level]
    return inputs[:MOST_ROWS]


def write_sheet(folder: Path, settings: HeadSettings) -> Path:
    """Write ``sheet.png`` from the pictures of an evaluation; a picture that is not there is a cell that says so.

    A row per input: the input, the completed texture, the true one, what of it the input does not show (the rest dark),
    then for each target the completed face in the true picture, beside the true picture.

    Raises:
        OutputError: it cannot be written.
    """
    rows = []
    for pose in shown_inputs(settings):
        key, light = pose.key, pose.light
        cells = [
            (f"{light}, pitch {pose.pitch_deg}, yaw {pose.yaw_deg}", f"{key}.png"),
            ("completed", f"{key}_{OSTEC}.png"),
            ("true", f"true_{light}.png"),
            ("unseen", f"{key}_unseen.png"),
        ]
        for target in settings.targets_of(pose.yaw_deg):
            cells.append((f"to {target}", f"{key}_to{target}_{OSTEC}.png"))
            cells.append((f"true {target}", f"true_{light}_to{target}.png"))
        rows.append([_cell(folder / PICTURES / file, label) for label, file in cells])
    path = folder / FILE
    write_png(path, sheet(_filled(rows), CELL_PX + _LABEL_PX))
    return path


def _cell(path: Path, label: str) -> FloatArray:
    """A picture below its label, square."""
    import cv2

    side = CELL_PX + _LABEL_PX
    cell = np.ones((side, side, 3), np.float32)
    try:
        picture = read_image(path)
        if len(picture) == SIDE:
            picture = picture[round(_CROP * SIDE) : -round(_CROP * SIDE), round(_CROP * SIDE) : -round(_CROP * SIDE)]
        cell[_LABEL_PX:, _LABEL_PX // 2 : _LABEL_PX // 2 + CELL_PX] = fit_cell(picture, CELL_PX)
    except ImageError:
        label += ": none"
    words = np.full((_LABEL_PX, side, 3), 255, np.uint8)
    cv2.putText(words, label, (_LABEL_PX // 2, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    cell[:_LABEL_PX] = words.astype(np.float32) / 255
    return cell


def _filled(rows: Sequence[Sequence[FloatArray]]) -> list[list[FloatArray]]:
    """Rows of one length: with pairs, inputs have targets of different number."""
    widest = max(len(row) for row in rows)
    blank = np.ones((CELL_PX, CELL_PX, 3), np.float32)
    return [[*row, *(blank for _ in range(widest - len(row)))] for row in rows]
