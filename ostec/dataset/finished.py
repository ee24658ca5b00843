"""What is finished of a dataset, for those who read it: nothing is written, and a build may go on meanwhile."""

import itertools
import logging
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, UsageError
from ostec.core.plain import open_plain
from ostec.core.text import counted
from ostec.core.types import FloatArray
from ostec.dataset.files import told_if_damaged
from ostec.dataset.manifest import Row, check_table, join_tables, read_tables
from ostec.dataset.plan import LICENCES, Build, DatasetConfig, need_config, read_builds
from ostec.dataset.records import MESH
from ostec.dataset.store import Store
from ostec.io.arrays import decode_npz
from ostec.io.shards import read_member, read_members

logger = logging.getLogger(__name__)

LATENT_PREFIX = "w_"  # of the arrays in ``mesh.npz``
FRONTAL = "views.frontal.npz"
"""The projection of ``--frontalize``, which only ``--save-views`` keeps; its array is ``w``."""
FRONT = "front"
_MAX_SUMS = 1 << 30


@dataclass(frozen=True)
class FacePlace:
    """Where the members of a face lie."""

    key: str
    shard: Path
    start: int  # of the first header, in bytes from the beginning of the shard
    size: int  # bytes of all members


class FinishedDataset:
    """A dataset's finished shards: those with a list in ``state/sealed``, or, without any, those of the manifest."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageError if there is no dataset in the folder, AssetError if it is damaged."""
        self.folder = folder
        self.config: DatasetConfig = need_config(folder)
        self._store = Store(folder, self.config.shard_size)
        self._checked: set[int] = set()
        sealed = self._store.state / "sealed"
        self._sealed = sorted(int(p.stem) for p in sealed.glob("*.jsonl") if p.stem.isdecimal())
        if not self._sealed and not (folder / "manifest.parquet").exists():
            raise UsageError(f"{folder} has no finished shard yet.")
        unknown = {int(p.stem) for p in self._store.shards.glob("*.tar") if p.stem.isdecimal()} - set(self._sealed)
        if self._sealed and unknown:
            logger.warning("Left out: %s not finished.", counted(len(unknown), "shard that is", "shards that are"))

    def tables(self) -> Iterator[Any]:
        """The manifest's rows as tables of Arrow, failures and copies too, in the plan's order. Raises AssetError."""
        if self._sealed:
            yield from map(self._store.table, self._sealed)
            return
        path = self.folder / "manifest.parquet"
        for table in read_tables(path):
            with told_if_damaged(path):
                check_table(table)
            yield table

    def table(self) -> Any:
        """All of them as one table: at 100,000 rows some 30 MB. Raises AssetError."""
        return join_tables(self.tables())

    def faces_table(self) -> Any:
        """The rows of the faces that are there. Raises AssetError."""
        import pyarrow.compute as pc

        return self.table().filter(pc.field("status") == "done")

    def faces(self) -> Iterator[Row]:
        """The same one by one. Raises AssetError."""
        return (row for table in self.tables() for row in table.to_pylist() if row["status"] == "done")

    def checked_shards(self) -> Iterator[tuple[int, list[Row]]]:
        """The faces of each shard that has any, after its bytes were compared with its checksum (once).

        Raises AssetError if a shard is missing, damaged or has no checksum.
        """
        for number, group in itertools.groupby(self.faces(), lambda row: int(row["item"]) // self.config.shard_size):
            rows = list(group)
            path = self._store.shard_path(number)
            if any(self.place(row).shard != path for row in rows):
                raise AssetError(f"The manifest of {self.folder} is damaged (it names another shard than {path.name}).")
            if number not in self._checked and not (path.is_file() and sha256_of(path) == self.checksum(number)):
                raise AssetError(f"{path} is damaged; please run: ostec dataset verify {self.folder} --repair")
            self._checked.add(number)
            yield number, rows

    def checksum(self, shard: int) -> str:
        """The SHA-256 that was written down of a shard; empty if none was. Raises AssetError."""
        if self._sealed:
            return self._store.read_sealed(shard).sha256
        path = self._store.shards / "SHA256SUMS"
        with told_if_damaged(path, "{path} cannot be read ({error})."), open_plain(path) as stream:
            lines = stream.read(_MAX_SUMS).decode("ascii").splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        return sums.get(self._store.shard_path(shard).name, "")

    def place(self, row: Row) -> FacePlace:
        """Where a face's members lie; rows are checked when they are read."""
        return FacePlace(row["key"], self._store.shards / row["shard"], row["offset"], row["size"])

    def read(self, row: Row, endings: Collection[str] | None = None) -> dict[str, bytes]:
        """The members of a face, as :func:`read_face`."""
        return read_face(self.place(row), endings)

    def builds(self) -> list[Build]:
        """What was planned, with the licences; none where neither plan nor licences were kept. Raises AssetError."""
        return read_builds(self.folder / LICENCES)


def read_face(place: FacePlace, endings: Collection[str] | None = None) -> dict[str, bytes]:
    """The members of a face by ending, in the order of the shard: all, or those of ``endings`` that it has.

    Raises AssetError if the shard cannot be read or is damaged, or another face lies there.
    """
    found = {}
    for member in read_members(place.shard, place.start, place.start + place.size):
        if member.key != place.key:
            raise AssetError(f"{place.shard} is damaged (expected the face {place.key}, found {member.key}).")
        if endings is None or member.ending in endings:
            found[member.ending] = read_member(place.shard, member)
    return found


def need(found: dict[str, Any], ending: str, place: FacePlace) -> Any:
    """A member that must be there. Raises AssetError if it is not."""
    if ending not in found:
        raise AssetError(f"{place.shard} has no {place.key}.{ending}.")
    return found[ending]


def read_latents(found: Mapping[str, bytes], place: FacePlace) -> dict[str, FloatArray]:
    """View name -> W+ [num_ws, W] of the projected views among a face's members.

    ``front`` is the view from the front, which mode hard projects; without it, the projection of ``--frontalize``,
    where it was kept. Raises AssetError if a member is damaged.
    """
    latents: dict[str, FloatArray] = {}
    if MESH in found:
        latents = decode_npz(found[MESH], LATENT_PREFIX, f"{place.shard}: {place.key}.{MESH}")
    if FRONT not in latents and FRONTAL in found:
        arrays = decode_npz(found[FRONTAL], "w", f"{place.shard}: {place.key}.{FRONTAL}")
        latents |= {FRONT: arrays[""]} if "" in arrays else {}
    return {view: latent.astype(np.float32) for view, latent in latents.items()}
