"""FFHQ-UV's recipe as a build, limits by quantile, and the light and attributes of an exported face."""

import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ostec.core.errors import UsageError
from ostec.core.text import shown
from ostec.dataset.stats import values_of
from ostec.io.files import make_folder, write_atomic

if TYPE_CHECKING:
    from ostec.pipeline import Completer
    from ostec.pipeline.settings import CompleteSettings

RECIPES = ("complete", "ffhq-uv")
FILTER = (
    "--where 'symmetry<=90%' 'valid_area>=10%' 'residual_smile<=90%' 'uneven_after<=90%' 'fit_residual_percent<=90%'"
)
"""What leaves out the worst tenth by each of the recipe's figures."""
_SHARE = re.compile(r"([^=<>!]+)(<=|>=|<|>)\s*([0-9.]+)\s*%")
_LIGHT = tuple(f"light{k}" for k in range(1, 9))


def load(recipe: str, edits: str, settings: "CompleteSettings", device: str) -> "Completer":
    """What makes a dataset's faces. Raises AssetError, BackendError."""
    from ostec.pipeline import Completer
    from ostec.pipeline.normalise import Normaliser

    if recipe == RECIPES[0]:
        return Completer.from_pretrained(settings, device)
    return Normaliser.with_edits(settings, device, edits)


def resolved(conditions: Sequence[str], faces: Any, tell: Callable[[str], None]) -> list[str]:
    """Conditions with every share, as in ``symmetry<=90%``, replaced by that quantile of the faces, which is told.

    Raises UsageError where no face has such a number.
    """
    found = []
    for text in conditions:
        match = _SHARE.fullmatch(text.strip())
        if match is None:
            found.append(text)
            continue
        name, relation, share = match[1].strip(), match[2], float(match[3]) / 100
        known = [float(v) for v in values_of(faces, [name])[name] if isinstance(v, int | float)]
        if not known or share > 1:
            raise UsageError(f"{shown(text)} asks for a share of what no face has, or of more than all.")
        value = float(np.quantile(known, share))
        tell(f"{name} {relation} {value:g}: the quantile of {100 * share:g} % of {len(known)} faces.")
        found.append(f"{name}{relation}{value!r}")
    return found


def write_measures(out: Path, name: str, attributes: Mapping[str, Any]) -> None:
    """``lights/NAME.npy`` [1, 9, 1, 1], over the light of order 0, and ``attributes/NAME.json``, if measured."""
    if not all(light in attributes for light in _LIGHT):
        return
    stream = io.BytesIO()
    np.save(stream, np.array([1.0, *(attributes[light] for light in _LIGHT)], np.float32).reshape(1, 9, 1, 1))
    write_atomic(make_folder(out / "lights") / f"{name}.npy", stream.getvalue())
    told = json.dumps(dict(attributes), indent=1, sort_keys=True) + "\n"
    write_atomic(make_folder(out / "attributes") / f"{name}.json", told.encode("ascii"))
