"""Morphable models by name, found in the user's folders of models.

A model is a module of this folder with a reader, and a manifest in ``external/`` that says ``face_model = "NAME"``.
"""

import contextlib
import logging
from collections.abc import Callable

from ostec.core.assets import cache_folder, load_manifest
from ostec.core.errors import OutputError
from ostec.core.manifests import Manifest
from ostec.core.morphable import MorphableModel
from ostec.core.plain import read_plain
from ostec.io.files import make_folder, write_atomic
from ostec.load.morphable import bfm, faceverse, flame, head, hifi3d, ict, threeddfa

LOGGER = "ostec.licences"
"""Name of the logger; the commands show what it says."""
_log = logging.getLogger(LOGGER)

READERS: dict[str, tuple[str, Callable[[], MorphableModel]]] = {
    "head": (head.MANIFEST, head.read_head),
    "ict": (ict.MANIFEST, ict.read_ict),
    "3ddfa": (threeddfa.MANIFEST, threeddfa.read_3ddfa),
    "bfm": (bfm.MANIFEST, bfm.read_bfm),
    "faceverse": (faceverse.MANIFEST, faceverse.read_faceverse),
    "flame": (flame.MANIFEST, flame.read_flame),
    "hifi3d": (hifi3d.MANIFEST, hifi3d.read_hifi3d),
}
"""Name of each face model -> name of its manifest, and its reader; the recommended one first."""


def read_morphable(name: str) -> MorphableModel:
    """Read one of :data:`READERS`; its licence is said when it is first used.

    Raises ValueError if there is no such model, AssetError if its files are missing, damaged or do not fit each other;
    the sentence says which array, which shape was expected and found, or the command that leads to the files.
    """
    if name not in READERS:
        raise ValueError(f"expected one of {', '.join(READERS)}, got {name!r}")
    manifest, read = READERS[name]
    model = read()
    show_licence(load_manifest(manifest))
    for note in model.notes:
        logging.getLogger(__name__).info("%s: %s", name, note)
    return model


def show_licence(manifest: Manifest) -> None:
    """Say whose model this is and under which licence, unless that was said on this machine before.

    What was said is remembered in the user's cache folder; another licence is said again. Where nobody listens nothing
    is said, and nothing remembered.
    """
    if not _log.isEnabledFor(logging.INFO):
        return
    cache = cache_folder()
    said = None if cache is None else cache.parent / "licences" / f"{manifest.name}.txt"
    text = f"{manifest.purpose}\n{manifest.licence}\n{manifest.homepage}\n".encode()
    if said is not None:
        with contextlib.suppress(OSError):
            if read_plain(said, len(text)) == text:
                return
    _log.info("%s (%s). Licence: %s. Said once.", manifest.purpose, manifest.homepage, manifest.licence)
    if said is not None:
        with contextlib.suppress(OutputError):  # it will be said again
            make_folder(said.parent)
            write_atomic(said, text)
