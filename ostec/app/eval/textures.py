"""``ostec eval textures``: figures of a folder of UV textures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from ostec.app.eval.options import RunOptions
from ostec.app.options import Flat, OutFolder, option
from ostec.core.errors import UsageError


@dataclass(frozen=True)
class EvalTextures:
    """Measure a folder of UV textures of one size: even light, spread of identities, detail, duplicates.

    Writes table.txt, textures.html with histograms and what stands out, contact_000.png and on with 100 textures each,
    and eval.json, for ostec eval compare. What is done already is kept.
    """

    folder: Annotated[str, Positional, option(metavar="DIR")]
    """Results of ostec complete (NAME.png with NAME.json beside it), or any folder of pictures that are textures."""
    out: OutFolder
    """Folder of the results; made if it does not exist."""
    layout: Literal["default", "whole"] = "default"
    """default: the chart of this program's UV layout; whole: the whole square, for textures of other layouts."""
    mask: Annotated[str | None, option(metavar="FILE")] = None
    """A picture in the same layout: white texels count, black ones do not."""
    running: Flat[RunOptions] = field(default_factory=RunOptions)

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        self.running.begin()

        from ostec.app.eval.run import finish, out_folder, run_shown
        from ostec.eval.report.page import write_sheets, write_textures_page
        from ostec.eval.report.record import table
        from ostec.eval.textures import run

        source, mask = Path(self.folder), Path(self.mask) if self.mask else None
        files = run.find_textures(source)
        settings = run.settings_of(self.layout, mask)
        if self.out and Path(self.out).resolve() == source.resolve():
            raise UsageError("--out must not be the folder of the textures, or contact sheets would be taken for some.")
        out = out_folder(self.out, run.KIND)
        task = run.TextureTask({file.key: file for file in files}, self.layout, mask, out)
        names = {key: file.name for key, file in task.files.items()}
        outcomes = run_shown(run.texture_jobs(task, settings), task, self.running, "textures", names)
        evaluation = run.evaluation_of(files, list(outcomes.values()), settings)
        pictured = {row.item for row in evaluation.rows if row.pictures}
        shown = [file for file in files if file.name in pictured]
        sheets = write_sheets(out, [f.name for f in shown], run.TILE, lambda k: run.read_thumb(out, shown[k]))
        write_textures_page(out, evaluation, table(evaluation), sheets, run.TILE)
        return finish(out, evaluation, (), self.running)
