"""Morphable models by name, found in the user's folders of models.

A model is a module of this folder with a reader, and a manifest in ``external/`` that says ``face_model = "NAME"``.
"""

import logging
from collections.abc import Callable

from ostec.core.assets import load_manifest
from ostec.core.morphable import MorphableModel
from ostec.load.licences import show_licence
from ostec.load.morphable import bfm, faceverse, flame, hifi3d, ict, threeddfa

_log = logging.getLogger(__name__)

READERS: dict[str, tuple[str, Callable[[], MorphableModel]]] = {
    "ict": (ict.MANIFEST, ict.read_ict),
    "3ddfa": (threeddfa.MANIFEST, threeddfa.read_3ddfa),
    "bfm": (bfm.MANIFEST, bfm.read_bfm),
    "faceverse": (faceverse.MANIFEST, faceverse.read_faceverse),
    "flame": (flame.MANIFEST, flame.read_flame),
    "hifi3d": (hifi3d.MANIFEST, hifi3d.read_hifi3d),
}
"""Name of each face model -> name of its manifest, and its reader; the recommended one first."""


def read_morphable(name: str) -> MorphableModel:
    """Read a morphable model; its licence is said when it is first used.

    Args:
        name: one of :data:`READERS`.

    Raises:
        ValueError: there is no model of that name.
        AssetError: its files are missing, damaged or do not fit each other; the sentence says which array, the shape
            that was expected and the one found, or the command that leads to the files.
    """
    if name not in READERS:
        raise ValueError(f"expected one of {', '.join(READERS)}, got {name!r}")
    manifest, read = READERS[name]
    model = read()
    show_licence(load_manifest(manifest))
    for note in model.notes:
        _log.info("%s: %s", name, note)
    return model
