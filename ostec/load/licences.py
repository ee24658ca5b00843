"""The licence of a model that somebody else made is said where the model is first used on a machine."""

import contextlib
import logging

from ostec.core.assets import cache_folder
from ostec.core.errors import OutputError
from ostec.core.manifests import Manifest
from ostec.io.files import make_folder, write_atomic

LOGGER = "ostec.licences"
"""Name of the logger; the commands show what it says."""
_log = logging.getLogger(LOGGER)


def show_licence(manifest: Manifest) -> None:
    """Say whose model this is and under which licence, unless that was said on this machine before.

    What was said is remembered in the user's cache folder; another licence is said again. Where nobody listens nothing
    is said, and nothing remembered.

    Args:
        manifest: of the model.
    """
    if not _log.isEnabledFor(logging.INFO):
        return
    cache = cache_folder()
    said = None if cache is None else cache.parent / "licences" / f"{manifest.name}.txt"
    text = f"{manifest.purpose}\n{manifest.licence}\n{manifest.homepage}\n".encode()
    if said is not None:
        with contextlib.suppress(OSError):
            if said.read_bytes() == text:
                return
    _log.info("%s (%s). Licence: %s. Said once.", manifest.purpose, manifest.homepage, manifest.licence)
    if said is not None:
        with contextlib.suppress(OutputError):  # it will be said again
            make_folder(said.parent)
            write_atomic(said, text)
