"""A finished dataset for PyTorch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from ostec.core.errors import AssetError, UsageError
from ostec.dataset.finished import LATENT_PREFIX, FacePlace, FinishedDataset, need, read_face
from ostec.dataset.records import MESH, PROVENANCE, RECORD, TEXTURE
from ostec.io.arrays import decode_npz
from ostec.io.images import decode_image, decode_palette_png

Field = Literal["texture", "provenance", "record", "latents"]
"""What a sample may hold besides its ``key``.

* ``texture``: float32 [3, S, S], RGB in [0, 1].
* ``provenance``: uint8 [S, S], the values of ``ostec.core.types.Provenance``.
* ``record``: what KEY.json says, a dictionary.
* ``latents``: view name -> float32 [num_ws, W], W+ of the generator; empty where no view was projected.

PyTorch's own collation of batches takes the first two; for the others give the loader a ``collate_fn``.
"""
Sample = dict[str, Any]

_MEMBERS: dict[str, str] = {"texture": TEXTURE, "provenance": PROVENANCE, "record": RECORD, "latents": MESH}
_MAX_MEGAPIXELS = 17.0


class TextureDataset(Dataset[Sample]):
    """The faces of a dataset by index, in the order of the plan.

    ``dataset[k]`` is a dictionary with ``key`` and what ``fields`` asks for (see :data:`Field`). It needs no Ray. What
    a build finishes later is not seen.
    """

    def __init__(self, folder: str | Path, fields: Sequence[Field] = ("texture",)) -> None:
        """Look up where the faces are; ``fields``: what a sample holds besides its key.

        Raises ValueError if a field is unknown, UsageError if there is no dataset, or no face is finished, AssetError
        if it is damaged.
        """
        unknown = [field for field in fields if field not in _MEMBERS]
        if unknown or not fields:
            raise ValueError(f"expected fields out of {', '.join(_MEMBERS)}, got {', '.join(unknown) or 'none'}")
        faces = FinishedDataset(Path(folder)).faces_table()
        if not len(faces):
            raise UsageError(f"{folder} has no face in a finished shard.")
        self._fields, self._folder = tuple(fields), Path(folder) / "shards"
        self._faces = faces.select(["key", "shard", "offset", "size"]).combine_chunks()

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, index: int) -> Sample:
        """One face.

        Raises IndexError beyond the end, AssetError or ImageError if its shard is damaged, or lacks what was asked for.
        """
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"expected an index below {count}, got {index}")
        (row,) = self._faces.slice(index % count, 1).to_pylist()
        place = FacePlace(row["key"], self._folder / row["shard"], row["offset"], row["size"])
        found = read_face(place, {_MEMBERS[field] for field in self._fields})
        fields: Sample = {field: _decoded(field, need(found, _MEMBERS[field], place), place) for field in self._fields}
        return {"key": place.key, **fields}

    @property
    def keys(self) -> list[str]:
        """The keys ``ID_FACE`` of all faces."""
        return list(self._faces["key"].to_pylist())


def _decoded(field: Field, data: bytes, place: FacePlace) -> Any:
    name = f"{place.shard}: {place.key}.{_MEMBERS[field]}"
    if field == "texture":
        image = decode_image(data, name, _MAX_MEGAPIXELS)
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    if field == "provenance":
        return torch.from_numpy(decode_palette_png(data, name))
    if field == "latents":
        arrays = decode_npz(data, LATENT_PREFIX, name)
        return {view: torch.from_numpy(array.astype(np.float32)) for view, array in arrays.items()}
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AssetError(f"{name} is damaged ({error}).") from error
