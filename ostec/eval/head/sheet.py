"""One sheet of pictures for a head: what was put in, what came out, what is true."""

from pathlib import Path

from ostec.eval.head.run import HeadSettings, Input
from ostec.eval.report.pictures import SHEET, Cell, cell_of, path_of, sheet
from ostec.eval.report.record import OSTEC
from ostec.io.images import write_png

CELL_PX = 240
MOST_ROWS = 12
"""More inputs than this are not shown: first those of other lights go, then those of other pitches."""
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
    path = folder / SHEET
    write_png(path, sheet([_row(folder, settings, pose) for pose in shown_inputs(settings)], CELL_PX))
    return path


def _row(folder: Path, settings: HeadSettings, pose: Input) -> list[Cell]:
    key, light = pose.key, pose.light

    def cell(name: str, label: str, crop: float = 0.0) -> Cell:
        return cell_of(folder, path_of(name), label, crop)

    cells = [
        cell(key, f"{light}, pitch {pose.pitch_deg}, yaw {pose.yaw_deg}", _CROP),
        cell(f"{key}_{OSTEC}", "completed"),
        cell(f"true_{light}", "true"),
        cell(f"{key}_unseen", "unseen"),
    ]
    for target in settings.targets_of(pose.yaw_deg):
        cells.append(cell(f"{key}_to{target}_{OSTEC}", f"completed, to {target}", _CROP))
        cells.append(cell(f"true_{light}_to{target}", f"true, {target}", _CROP))
    return cells
