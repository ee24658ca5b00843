"""ostec: from one photo of a face to a complete UV texture on a textured 3D mesh.

Everything that is named here is loaded on use, so that ``import ostec`` itself stays light.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostec.complete.completer import TextureCompleter
    from ostec.core.errors import FaceError, ImageError, OstecError, OstecWarning
    from ostec.pipeline.completer import Completer
    from ostec.pipeline.inversion import InvertedFace, Inverter
    from ostec.pipeline.result import CompletedFace
    from ostec.pipeline.settings import CompleteSettings, InvertSettings

__version__ = "0.2.0"
__all__ = [
    "CompleteSettings",
    "CompletedFace",
    "Completer",
    "FaceError",
    "ImageError",
    "InvertSettings",
    "InvertedFace",
    "Inverter",
    "OstecError",
    "OstecWarning",
    "TextureCompleter",
    "__version__",
]
_MODULES = {
    "CompleteSettings": "pipeline.settings",
    "CompletedFace": "pipeline.result",
    "Completer": "pipeline.completer",
    "FaceError": "core.errors",
    "ImageError": "core.errors",
    "InvertSettings": "pipeline.settings",
    "InvertedFace": "pipeline.inversion",
    "Inverter": "pipeline.inversion",
    "OstecError": "core.errors",
    "OstecWarning": "core.errors",
    "TextureCompleter": "complete.completer",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"ostec.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'ostec' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that are there on use, too."""
    return sorted({*globals(), *__all__})
