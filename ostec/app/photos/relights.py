"""Results under another light: which, and where their pictures go."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ostec.app.console import say, shown
from ostec.app.photos.options import RunOptions
from ostec.app.photos.transfers import find_results, need_different_names
from ostec.core.assets import asset_path
from ostec.core.errors import OstecError
from ostec.io.files import make_folder
from ostec.io.images import write_png

logger = logging.getLogger(__name__)
ENDING = "_relit.png"


def relight_results(results: Sequence[str], light: str, save_dir: str, options: RunOptions) -> int:
    """Draw all results that are named under a light; return the exit code, 1 if some failed.

    Raises OstecError where nothing could start.
    """
    from ostec.load.topology import read_topology
    from ostec.pipeline.relight import Relighter, read_light

    records, folder = find_results(results), Path(save_dir)
    need_different_names(records, "--save-dir")
    relighter = Relighter(read_topology(asset_path("topology/facemesh.npz")), read_light(light))
    failed = 0
    for record in records:
        path = folder / f"{record.stem}{ENDING}"
        if options.dry_run or (path.exists() and not options.overwrite):
            logger.info("%s: %s", record.stem, "is there already" if path.exists() else "would be drawn")
            continue
        try:
            picture = relighter(record)
            write_png(make_folder(folder) / path.name, picture)
        except OstecError as error:
            failed += 1
            logger.error("%s: %s", record.stem, error)
    if not options.quiet and not options.dry_run:
        say(f"{len(records) - failed} of {len(records)} are in {shown(folder)}.")
    return 1 if failed else 0
