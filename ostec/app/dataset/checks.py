"""What a build of a dataset needs, looked for before anything is written; no network is loaded for it."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ostec.core.errors import AssetError, UsageError
from ostec.core.settings import Device, from_json, to_json
from ostec.core.text import shown
from ostec.pipeline.settings import CompleteSettings

logger = logging.getLogger(__name__)


def absolute(settings: CompleteSettings) -> CompleteSettings:
    """Settings whose files are found from any folder. Raises UsageError where one is missing."""
    for name in ("generator", "prior"):
        value = getattr(settings, name)
        if value in ("default", "none"):
            continue
        if not Path(value).is_file():
            raise UsageError(f"--{name} {value} does not exist.")
        settings = from_json(CompleteSettings, {**to_json(settings), name: str(Path(value).absolute())})
    return settings


def need_here(settings: CompleteSettings, device: Device, address: str) -> None:
    """See that the workers can load on this machine, if that is where they run: with no cluster's address.

    Raises:
        AssetError: a file of a model is missing or damaged; the sentence says how to get it.
        BackendError: there is no GPU, and one was asked for.
    """
    from ostec.core.assets import find_model, load_manifest
    from ostec.load.morphable.read import READERS, read_morphable

    if address:
        return
    if settings.prior not in ("default", "none") and not Path(settings.prior).with_suffix(".json").is_file():
        raise AssetError(f"{Path(settings.prior).with_suffix('.json')}, which belongs to the prior, is missing.")
    if settings.face_model in READERS:
        name = READERS[settings.face_model][0]
        if any(find_model(name, entry.name) is None for entry in load_manifest(name).files):
            read_morphable(settings.face_model)  # knows which of them it can do without
    if device == "cuda":  # else PyTorch need not be imported
        from ostec.core.device import pick_device

        pick_device(device)


def need_photos(sources: Sequence[str], output: Path) -> None:
    """See that there is anything that may be a photo; a source without any is named.

    Args:
        sources: as on the command line.
        output: the dataset's folder.

    Raises:
        UsageError: none of the sources has one, or one cannot be read.
    """
    from ostec.app.photos.results import listed_files
    from ostec.dataset.sources import Search

    empty = Search(listed_files, output).empty(sources)
    sentence = f"There is no photo in {', '.join(map(shown, empty))}."
    if len(empty) == len(sources):
        raise UsageError(sentence)
    if empty:
        logger.warning("%s", sentence)
