"""The order of the stages for one photo; loads what they need. The only package that names two stages.

What it offers is loaded on use, so that ``ostec.pipeline.settings`` alone loads no network.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ostec.pipeline.completer import Completer
    from ostec.pipeline.fitting import FaceFitter
    from ostec.pipeline.inversion import InvertedFace, Inverter
    from ostec.pipeline.models import Models, load_models, load_prior
    from ostec.pipeline.result import CompletedFace

__all__ = [
    "CompletedFace",
    "Completer",
    "FaceFitter",
    "InvertedFace",
    "Inverter",
    "Models",
    "load_models",
    "load_prior",
]
_MODULES = {
    "CompletedFace": "result",
    "Completer": "completer",
    "FaceFitter": "fitting",
    "InvertedFace": "inversion",
    "Inverter": "inversion",
    "Models": "models",
    "load_models": "models",
    "load_prior": "models",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
