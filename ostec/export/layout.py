"""A face in another model's layout -> ``NAME_MODEL.png``, ``NAME_MODEL_known.png``, and OBJ and GLB of the model."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ostec.core.types import FloatArray
from ostec.export.head import safe_name, write_head
from ostec.heads.parts import Head
from ostec.io.files import write_atomic
from ostec.io.images import encode_png

KNOWN = "_known"
"""What follows a picture's stem in the name of the one that says which of its texels come from the face."""
_GEOMETRY = (".obj", ".mtl", ".glb")

Sheets = Sequence[Sequence[str]]
"""Names of the parts that share a picture."""


def picture_stems(stem: str, sheets: Sheets, skins: Collection[str]) -> dict[str, str]:
    """Stem of the picture of each part: NAME_MODEL where one picture has all the skin, else NAME_MODEL_PART.

    Args:
        stem: NAME_MODEL.
        sheets: of the model; the first part of each gives its name.
        skins: names of the parts that are skin, which have a map of what is known.
    """
    of_skin = [parts for parts in sheets if not set(skins).isdisjoint(parts)]
    return {part: stem if [parts] == of_skin else f"{stem}_{parts[0]}" for parts in sheets for part in parts}


def files_of(stem: str, sheets: Sheets, skins: Collection[str]) -> list[str]:
    """Names of all files that :func:`write_transfer` writes; arguments as of :func:`picture_stems`."""
    stems = picture_stems(stem, sheets, skins)
    named = {f"{stem}.mtl", *(f"{name}.png" for name in stems.values())}
    known, geometry = (f"{stems[p]}{KNOWN}.png" for p in skins), (f"{stem}{e}" for e in _GEOMETRY)
    return sorted({*named, *map(safe_name, named), *known, *geometry})


def write_transfer(directory: Path, stem: str, head: Head, sheets: Sheets, known: Mapping[str, FloatArray]) -> None:
    """Write a head in another model's layout.

    Args:
        stem: NAME_MODEL.
        head: with one picture for the parts of each sheet.
        sheets: of the head; none where the model has no layout.
        known: [S, S] in [0, 1] by name of the part that is skin.

    Raises OutputError if a file cannot be written.
    """
    stems = picture_stems(stem, sheets, known)
    write_head(directory, stem, head, "", stems)
    for part, share in known.items():
        write_atomic(directory / f"{stems[part]}{KNOWN}.png", encode_png(np.repeat(share[..., None], 3, axis=2)))
