"""``ostec dataset stats``, ``sheet`` and ``export``: a dataset in numbers, in pictures, and for other programs."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from ostec.app.checks import out_path
from ostec.app.console import begin, say
from ostec.app.options import DatasetFolder, Flag, OutFolder, Quiet, option
from ostec.app.photos.runner import terminate_like_interrupt
from ostec.core.errors import ImageError, UsageError
from ostec.core.text import counted, shown
from ostec.dataset.files import write_json
from ostec.dataset.finished import FinishedDataset
from ostec.dataset.manifest import FIGURES
from ostec.dataset.records import PORTRAIT, TEXTURE
from ostec.dataset.stats import stats_of, title_of
from ostec.eval.report.page import histogram
from ostec.eval.report.pictures import Cell, sheet
from ostec.export.templates import render
from ostec.io.files import make_folder, whole_folder, write_atomic
from ostec.io.images import at_most, decode_image, write_png

logger = logging.getLogger(__name__)

_MOST_PICTURES = 1000
_COLUMN_LIMIT = 20
_MAX_MEGAPIXELS = 17.0


@dataclass(frozen=True)
class DatasetStats:
    """Count and measure a dataset: a table, and with --out stats.json, stats.txt and stats.html with histograms."""

    dataset: DatasetFolder
    """Folder of the dataset."""
    out: OutFolder = ""
    """Folder for stats.json, stats.txt and stats.html; without it the table alone is shown."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        begin(self.quiet, verbose=False)
        stats = stats_of(FinishedDataset(Path(self.dataset)).table())
        table = stats.as_table()
        if not self.quiet:
            say(table.rstrip("\n"))
        if not self.out:
            return 0
        out = make_folder(out_path(self.out))
        plots = []
        for name, known in stats.numbers.items():
            missing = [math.nan] * (stats.values["faces"] - len(known))
            plots.append(histogram([*known.to_pylist(), *missing], title_of(name)))
        write_atomic(out / "stats.html", render("stats.html.j2", title="Dataset", table=table, plots=plots))
        write_atomic(out / "stats.txt", table.encode("utf-8"))
        write_json(out / "stats.json", stats.values, indent=2, sort_keys=True)
        return 0


@dataclass(frozen=True)
class DatasetSheet:
    """Draw a page of textures as small pictures, taken evenly from the whole dataset."""

    dataset: DatasetFolder
    """Folder of the dataset."""
    out: Annotated[str, option(aliases=["-o"], metavar="FILE.png")]
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
        begin(quiet=False, verbose=False)
        out = out_path(self.out)
        if out.suffix.lower() != ".png":
            raise UsageError("--out must end in .png.")
        if not 1 <= self.count <= _MOST_PICTURES or not 16 <= self.side <= 1024:
            raise UsageError(f"--count must be from 1 to {_MOST_PICTURES}, --side from 16 to 1024.")
        source = FinishedDataset(Path(self.dataset))
        rows = self._ordered(source.faces_table())
        rows = rows.take(np.unique(np.linspace(0, len(rows) - 1, min(self.count, len(rows))).round().astype(int)))
        ending = PORTRAIT if self.frontal else TEXTURE
        columns = min(math.ceil(math.sqrt(len(rows))), _COLUMN_LIMIT)
        cells = [self._cell(source, row, ending) for row in rows.to_pylist()]
        missing = sum(cell.picture is None for cell in cells)
        if missing == len(cells):
            raise UsageError(f"No face of {self.dataset} has a {ending} that can be read.")
        if missing:
            logger.warning("%d of %s have no %s that can be read.", missing, counted(len(cells), "face"), ending)
        make_folder(out.parent)
        write_png(out, sheet([cells[k : k + columns] for k in range(0, len(cells), columns)], self.side))
        say(f"{shown(out)} shows {counted(len(rows), 'face')}.")
        return 0

    def _ordered(self, faces: Any) -> Any:
        """The faces to show; those whose figure is not known are left out."""
        import pyarrow.compute as pc

        if not len(faces):
            raise UsageError(f"{self.dataset} has no face to show.")
        if not self.sort:
            return faces
        if self.sort not in FIGURES:
            raise UsageError(f"--sort takes one of {', '.join(FIGURES)}, not {shown(self.sort)}.")
        known = faces.filter(pc.field(self.sort).is_valid())
        if not len(known):
            raise UsageError(f"The {self.sort} of no face of {self.dataset} is known; please name another --sort.")
        if len(known) < len(faces):
            logger.warning("Left out: %s whose %s is not known.", counted(len(faces) - len(known), "face"), self.sort)
        return known.take(pc.sort_indices(known, [(self.sort, "ascending"), ("key", "ascending")]))

    def _cell(self, source: FinishedDataset, row: dict[str, Any], ending: str) -> Cell:
        label = f"{self.sort.removesuffix('_deg')} {row[self.sort]:.3g}" if self.sort else str(row["key"])
        data = source.read(row, {ending}).get(ending, b"")
        try:
            return Cell(label, at_most(decode_image(data, f"{row['key']}.{ending}", _MAX_MEGAPIXELS), self.side))
        except ImageError as error:
            logger.debug("%s", error)
            return Cell(label, None)


@dataclass(frozen=True)
class DatasetExport:
    """Write the finished faces of a dataset in another layout; the folder appears whole or not at all."""

    dataset: DatasetFolder
    """Folder of the dataset."""
    out: OutFolder
    """Folder of the result; it must not exist, or be empty."""
    format: Literal["ffhq-uv", "folder", "webdataset", "parquet", "datasets"]
    """ffhq-uv: uv-maps, face-latents and meta-info.json; folder: files as of ostec complete; webdataset: tar files;
    parquet: pictures in tables, for load_dataset of Hugging Face; datasets: for its load_from_disk."""
    members: Annotated[tuple[str, ...], option(metavar="ENDING...")] = ()
    """Endings of what is taken along, such as uv.png json; all if not given. Not with ffhq-uv."""
    quiet: Quiet = False
    """Say nothing but warnings and errors."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.dataset.exports import export

        begin(self.quiet, verbose=False)
        out = out_path(self.out)
        source = FinishedDataset(Path(self.dataset))
        with terminate_like_interrupt(), whole_folder(out) as part:
            exported = export(source, part, self.format, self.members)
        for remark in exported.remarks:
            logger.warning("%s", remark)
        if not self.quiet:
            say(f"{counted(exported.faces, 'face is', 'faces are')} in {shown(out)}.")
        return 0
