"""What settings may be, and their way to and from the JSON beside a result."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ostec.core.assets import face_models

Mode = Literal["auto", "soft", "hard"]
Schedule = Literal["progressive", "waves"]
Fit = Literal["landmarks", "deep3d", "faceverse"]
Encoder = Literal["default", "e4e"]
Way = Literal["auto", "prior", "generator", "diffusion"]
Faces = Literal["largest", "all"]
Expression = Literal["photo", "neutral"]
Hair = Literal["painted", "none"]
Materials = Literal["none", "gltf", "unreal"]
Device = Literal["auto", "cpu", "cuda"]
NO_HEAD = "none"
FACE_MODELS = (NO_HEAD, *face_models())
"""None but the face's own mesh, and every morphable model that a manifest names."""
if TYPE_CHECKING:
    FaceModel = str
else:  # the command line offers what the manifests name
    FaceModel = Literal[FACE_MODELS]

MAX_SAMPLES = 16
MIN_UV_SIZE = 256
MAX_UV_SIZE = 4096
MAX_UV_MEGAPIXELS = MAX_UV_SIZE**2 / 1e6
"""No finished texture has more."""

_T = TypeVar("_T")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def to_json(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values, by field name."""
    return dataclasses.asdict(settings)


def from_json(kind: type[_T], values: Mapping[str, Any]) -> _T:
    """Build the settings dataclass ``kind`` from :func:`to_json`'s values; fields it does not know are left out."""
    hints = get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)} & values.keys()  # type: ignore[arg-type]
    return kind(**{name: _typed(hints[name], values[name]) for name in known})


def _typed(hint: Any, value: Any) -> Any:
    """A value of a JSON as the field's type: groups become records, lists tuples."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and isinstance(value, Mapping):
        return from_json(hint, value)
    if get_origin(hint) is tuple and isinstance(value, list | tuple):
        return tuple(_typed(get_args(hint)[0], one) for one in value)
    return value


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """:func:`to_json`'s values with the names of groups before those of their settings: ``project.ms_ssim``."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found
