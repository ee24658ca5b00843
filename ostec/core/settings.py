"""What settings may be, and their way to and from the JSON beside a result."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ostec.core.assets import face_models

Mode = Literal["auto", "soft", "hard"]
Schedule = Literal["progressive", "waves"]
Faces = Literal["largest", "all"]
Device = Literal["auto", "cpu", "cuda"]
FACE_MODELS = ("facemesh", *face_models())
"""The default mesh, and every morphable model that a manifest names."""
if TYPE_CHECKING:
    FaceModel = str
else:  # the command line offers what the manifests name
    FaceModel = Literal[FACE_MODELS]

MIN_UV_SIZE = 256
MAX_UV_SIZE = 4096

_T = TypeVar("_T")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def to_json(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain values, by field name."""
    return dataclasses.asdict(settings)


def from_json(kind: type[_T], values: dict[str, Any]) -> _T:
    """Build the settings dataclass ``kind`` from :func:`to_json`'s values; fields it does not know are left out."""
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**{k: v for k, v in values.items() if k in known})
