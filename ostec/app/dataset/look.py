"""``ostec dataset stats`` and ``sheet``: a dataset in numbers and pictures."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from tyro.conf import Positional

from ostec.app.checks import out_path
from ostec.app.console import begin, say
from ostec.app.options import Flag, Folder, Quiet, option
from ostec.core.errors import ImageError, UsageError
from ostec.core.text import counted, shown

logger = logging.getLogger(__name__)

_MOST_PICTURES = 1000
_COLUMN_LIMIT = 20
_MAX_MEGAPIXELS = 17.0


@dataclass(frozen=True)
class DatasetStats:
    """Count and measure a dataset: a table, and with --out stats.json, stats.txt and stats.html with histograms."""

    dataset: Annotated[str, Positional, option(metavar="DS")]
    """Folder of the dataset."""
    out: Folder = ""
    """Folder for stats.json, stats.txt and stats.html; without it the table alone is shown."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.stats import as_json, as_table, gather, title_of
        from ostec.eval.report.page import histogram
        from ostec.export.templates import render
        from ostec.io.files import make_folder, write_atomic

        begin(self.quiet, verbose=False)
        stats = gather(FinishedDataset(Path(self.dataset)).rows())
        table = as_table(stats)
        if not self.quiet:
            say(table.rstrip("\n"))
        if not self.out:
            return 0
        out = make_folder(out_path(self.out))
        plots = [histogram(stats.column(name).tolist(), title_of(name)) for name in stats.values]
        text = json.dumps(as_json(stats), indent=2, sort_keys=True) + "\n"
        write_atomic(out / "stats.html", render("stats.html.j2", title="Dataset", table=table, plots=plots))
        write_atomic(out / "stats.txt", table.encode("utf-8"))
        write_atomic(out / "stats.json", text.encode("ascii"))
        return 0


@dataclass(frozen=True)
class DatasetSheet:
    """Draw a page of textures as small pictures, taken evenly from the whole dataset."""

    dataset: Annotated[str, Positional, option(metavar="DS")]
    """Folder of the dataset."""
    out: Annotated[str, option(metavar="FILE.png")]
    """Picture that is written, FILE.png."""
    count: int = 100
    """Textures on the page, up to 1000."""
    side: int = 160
    """Side of each in pixels."""
    sort: Annotated[str, option(metavar="COLUMN")] = ""
    """Column of the manifest that gives order and labels, such as yaw_deg; without it, order of the plan and keys."""
    frontal: Flag = False
    """Show the frontal portraits, where there are any, instead of the textures."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.finished import FinishedDataset
        from ostec.dataset.members import PORTRAIT, TEXTURE
        from ostec.eval.report.pictures import sheet
        from ostec.io.files import make_folder
        from ostec.io.images import write_png

        begin(quiet=False, verbose=False)
        out = out_path(self.out)
        if out.suffix.lower() != ".png":
            raise UsageError("--out must end in .png.")
        if not 1 <= self.count <= _MOST_PICTURES or not 16 <= self.side <= 1024:
            raise UsageError(f"--count must be from 1 to {_MOST_PICTURES}, --side from 16 to 1024.")
        source = FinishedDataset(Path(self.dataset))
        rows = list(source.faces())
        if not rows:
            raise UsageError(f"{self.dataset} has no face to show.")
        rows = _evenly(self._ordered(rows), self.count)
        ending = PORTRAIT if self.frontal else TEXTURE
        columns = min(max(math.ceil(math.sqrt(len(rows))), 1), _COLUMN_LIMIT)
        cells = [_cell(source, row, ending, self._label(row), self.side) for row in rows]
        missing = sum(cell.picture is None for cell in cells)
        if missing == len(cells):
            raise UsageError(f"No face of {self.dataset} has a {ending} that can be read.")
        if missing:
            logger.warning("%d of %s have no %s that can be read.", missing, counted(len(cells), "face"), ending)
        make_folder(out.parent)
        write_png(out, sheet([cells[k : k + columns] for k in range(0, len(cells), columns)], self.side))
        say(f"{shown(out)} shows {counted(len(rows), 'face')}.")
        return 0

    def _ordered(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not self.sort:
            return rows
        from ostec.dataset.stats import FIGURES

        if self.sort not in FIGURES:
            raise UsageError(f"--sort takes one of {', '.join(FIGURES)}, not {shown(self.sort)}.")
        known = [row for row in rows if row.get(self.sort) is not None]
        if not known:
            raise UsageError(f"The {self.sort} of no face of {self.dataset} is known; please name another --sort.")
        if len(known) < len(rows):
            logger.warning("Left out: %s whose %s is not known.", counted(len(rows) - len(known), "face"), self.sort)
        return sorted(known, key=lambda row: (row[self.sort], row["key"]))

    def _label(self, row: dict[str, Any]) -> str:
        return f"{self.sort.removesuffix('_deg')} {row[self.sort]:.3g}" if self.sort else str(row["key"])


def _evenly(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """``count`` of the rows, at equal distances; all where there are no more."""
    if len(rows) <= count:
        return rows
    return [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))]


def _cell(source: Any, row: dict[str, Any], ending: str, label: str, side: int) -> Any:
    from ostec.eval.report.pictures import Cell
    from ostec.io.images import at_most, decode_image

    data = source.read(row, {ending}).get(ending)
    if data is None:
        return Cell(label, None)
    try:
        return Cell(label, at_most(decode_image(data, f"{row['key']}.{ending}", _MAX_MEGAPIXELS), side))
    except ImageError as error:
        logger.debug("%s", error)
        return Cell(label, None)
