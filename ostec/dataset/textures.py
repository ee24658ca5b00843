"""A finished dataset for PyTorch: by index, or as a stream of shards that workers and ranks divide among them."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info

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
        self._keys = faces["key"].to_numpy().astype(np.bytes_)  # few bytes: each worker of a loader has its own
        self.shards, of = np.unique(faces["shard"].to_numpy().astype(np.bytes_), return_inverse=True)
        self.shard_of = of.astype(np.int32)
        """Number of each face's shard [N]."""
        self._spans = np.stack([faces["offset"].to_numpy(), faces["size"].to_numpy()], axis=1)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Sample:
        """One face.

        Raises IndexError beyond the end, AssetError or ImageError if its shard is damaged, or lacks what was asked for.
        """
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"expected an index below {count}, got {index}")
        start, size = map(int, self._spans[index])
        shard = self._folder / self.shards[self.shard_of[index]].decode("ascii")
        place = FacePlace(self._keys[index].decode("ascii"), shard, start, size)
        found = read_face(place, {_MEMBERS[field] for field in self._fields})
        fields: Sample = {field: _decoded(field, need(found, _MEMBERS[field], place), place) for field in self._fields}
        return {"key": place.key, **fields}

    @property
    def keys(self) -> list[str]:
        """The keys ``ID_FACE`` of all faces."""
        return [key.decode("ascii") for key in self._keys]


class TextureStream(IterableDataset[Sample]):
    """The faces of a dataset as a stream: each rank, and each worker of its loader, reads shards of its own.

    Every face is given once an epoch by one of them. Ranks may be given different numbers of faces, since shards are
    not divided.
    """

    def __init__(
        self,
        folder: str | Path,
        fields: Sequence[Field] = ("texture",),
        seed: int | None = None,
        mix: int = 4,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        """Look up where the faces are.

        Args:
            folder: of the dataset.
            fields: what a sample holds besides its key.
            seed: of the order of shards and of faces; None keeps the order of the plan.
            mix: shards whose faces are shuffled with each other.
            rank: of this process; as torch.distributed says if None, and 0 without it.
            ranks: how many processes share the stream.

        Raises ValueError if a field, ``mix`` or a rank makes no sense, UsageError if there is no dataset, no face is
        finished, or a rank would have no shard, AssetError if it is damaged.
        """
        self._faces = TextureDataset(folder, fields)
        self._seed, self._mix, self._epoch = seed, mix, 0
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        one, all_ = (torch.distributed.get_rank(), torch.distributed.get_world_size()) if together else (0, 1)
        self._rank, self._ranks = one if rank is None else rank, all_ if ranks is None else ranks
        self._shards = len(self._faces.shards)
        if mix < 1:
            raise ValueError(f"expected mix of 1 or more, got {mix}")
        if not 0 <= self._rank < self._ranks:
            raise ValueError(f"expected a rank from 0 to {self._ranks - 1}, got {self._rank}")
        if self._shards < self._ranks:
            raise UsageError(f"{folder} has {self._shards} shards with faces, fewer than the {self._ranks} ranks.")

    def set_epoch(self, epoch: int) -> None:
        """Shuffle anew; before the loader starts its workers."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Sample]:
        """What falls to this rank and worker. Raises AssetError, ImageError."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        draw = None if self._seed is None else np.random.default_rng([self._seed, self._epoch])
        order = np.arange(self._shards) if draw is None else draw.permutation(self._shards)
        own = order[self._rank :: self._ranks][worker::workers]
        for first in range(0, len(own), self._mix):
            faces = np.concatenate([np.flatnonzero(self._faces.shard_of == s) for s in own[first : first + self._mix]])
            for index in faces if draw is None else draw.permutation(faces):
                yield self._faces[int(index)]


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
