"""``ostec eval textures``: figures of a folder of UV textures."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ostec.core.errors import UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvalTextures:
    """Measure a folder of UV textures of one size: even light, spread of identities, detail, duplicates.

    Writes table.txt, textures.html with histograms and what stands out, contact_000.png and on with 100 textures each,
    and eval.json, for ostec eval compare. What is done already is kept.
    """

    folder: str
    """Results of ostec complete (NAME.png with NAME.json beside it), or any folder of pictures that are textures."""
    out: str
    """Folder of the results; made if it does not exist."""
    layout: Literal["default", "whole"] = "default"
    """default: the chart of this program's UV layout; whole: the whole square, for textures of other layouts."""
    mask: str | None = None
    """A picture in the same layout: white texels count, black ones do not."""
    workers: int = 0
    """Textures at a time; 0: one per core."""
    quiet: bool = False
    """Say nothing but warnings and errors."""
    verbose: bool = False
    """Say everything, and where unexpected errors come from."""

    def run(self) -> int:
        """Carry out the command; returns the exit code."""
        from ostec.app.console import say, set_up_logging, shown
        from ostec.app.evaluation import check_voice, check_workers, out_folder, run_shown
        from ostec.eval.jobs import Jobs, digest_of
        from ostec.eval.page import write_sheets, write_textures_page
        from ostec.eval.report import table, write_report
        from ostec.eval.textures import (
            TILE,
            TextureTask,
            evaluation_of,
            find_textures,
            read_thumb,
            settings_of,
            thumbs_folder,
        )

        set_up_logging(self.quiet, self.verbose)
        check_voice(self.quiet, self.verbose)
        check_workers(self.workers)
        source, mask = Path(self.folder), Path(self.mask) if self.mask else None
        files = find_textures(source)
        settings = settings_of(self.layout, mask)
        out = out_folder(self.out)
        if out.resolve() == source.resolve():
            raise UsageError(
                "--out must not be the folder of the textures: contact sheets would be taken for textures."
            )
        thumbs_folder(out)
        keys = {file.key: file for file in files}
        jobs = Jobs(tuple(keys), out, digest_of(settings))
        task = TextureTask(keys, self.layout, mask, out)
        outcomes = run_shown(jobs, task, self.workers, self.quiet, "textures")
        evaluation = evaluation_of(files, [outcomes[key] for key in keys], settings)
        by_name = {file.name: file for file in files}
        names = [row.item for row in evaluation.rows if row.pictures]
        logger.debug("Drawing the contact sheets of %d textures.", len(names))
        sheets = write_sheets(out, names, TILE, lambda number: read_thumb(out, by_name[names[number]]))
        write_textures_page(out, evaluation, table(evaluation), sheets, TILE)
        text = write_report(out, evaluation)
        if not self.quiet:
            say(shown(text, keep="\n").rstrip("\n"))
        return int(bool(evaluation.failures))
