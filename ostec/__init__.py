"""ostec: from one photo of a face to a complete UV texture on a textured 3D mesh."""

from typing import Any

__version__ = "0.1.0.dev0"
__all__ = ["CompleteSettings", "Completer", "__version__"]


def __getattr__(name: str) -> Any:
    """Give ``ostec.Completer`` and ``ostec.CompleteSettings``, loaded on use: ``import ostec`` itself stays light."""
    if name == "Completer":
        from ostec.pipeline import Completer

        return Completer
    if name == "CompleteSettings":
        from ostec.pipeline.settings import CompleteSettings

        return CompleteSettings
    raise AttributeError(f"module 'ostec' has no attribute {name!r}")
