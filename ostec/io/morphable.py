"""Morphable models by name, found in the user's folders of models.

A model is a module ``ostec/io/morphable_NAME.py`` with ``MANIFEST``, the name of its manifest in ``external/``, and
``read_NAME()``; the manifest says ``face_model = "NAME"``. Nothing else names it.
"""

import logging
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

import ostec.io
from ostec.core.assets import load_manifest
from ostec.core.morphable import MorphableModel
from ostec.io.licences import show_licence

RECOMMENDED = "ict"
_PREFIX = "morphable_"
_log = logging.getLogger(__name__)


def _readers() -> dict[str, tuple[str, Callable[[], MorphableModel]]]:
    found = {}
    for each in pkgutil.iter_modules(ostec.io.__path__, f"{ostec.io.__name__}."):
        name = each.name.rpartition(".")[2].removeprefix(_PREFIX)
        if f"{ostec.io.__name__}.{_PREFIX}{name}" == each.name:
            module = import_module(each.name)
            read = getattr(module, f"read_{name}", None)
            if read is not None:
                found[name] = (module.MANIFEST, read)
    return dict(sorted(found.items(), key=lambda item: (item[0] != RECOMMENDED, item[0])))


READERS: Mapping[str, tuple[str, Callable[[], MorphableModel]]] = MappingProxyType(_readers())
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
