"""Morphable models by name, found in the user's folders of models.

Adding one takes a reader, a manifest in ``external/`` and a line here.
"""

import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from ostec.core.assets import load_manifest
from ostec.core.morphable import MorphableModel
from ostec.io import morphable_bfm, morphable_faceverse, morphable_flame, morphable_hifi3d, morphable_ict

READERS: Mapping[str, tuple[str, Callable[[], MorphableModel]]] = MappingProxyType(
    {
        "ict": (morphable_ict.MANIFEST, morphable_ict.read_ict),
        "bfm": (morphable_bfm.MANIFEST, morphable_bfm.read_bfm),
        "flame": (morphable_flame.MANIFEST, morphable_flame.read_flame),
        "faceverse": (morphable_faceverse.MANIFEST, morphable_faceverse.read_faceverse),
        "hifi3d": (morphable_hifi3d.MANIFEST, morphable_hifi3d.read_hifi3d),
    }
)
"""Name of each face model -> name of its manifest, and its reader; the recommended one first."""
_log = logging.getLogger(__name__)


def read_morphable(name: str) -> MorphableModel:
    """Read a morphable model and log its licence.

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
    _log.info("%s: %s", name, load_manifest(manifest).licence)
    for note in model.notes:
        _log.info("%s: %s", name, note)
    return model
