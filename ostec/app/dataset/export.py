"""``ostec dataset export``: a dataset in the layouts of other programs."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from ostec.app.console import begin, say
from ostec.app.options import OutFolder, Quiet, option
from ostec.core.text import counted, shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DatasetExport:
    """Write the finished faces of a dataset in another layout; the folder appears whole or not at all."""

    dataset: Annotated[str, Positional, option(metavar="DS")]
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
        from ostec.app.checks import out_path
        from ostec.app.photos.runner import terminate_like_interrupt
        from ostec.dataset.exports import export
        from ostec.dataset.finished import FinishedDataset
        from ostec.io.files import whole_folder

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
