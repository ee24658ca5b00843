"""Finished textures in the layouts of other models: the correspondence once, then every transfer is sampling."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ostec.core.assets import asset_path, cache_folder, sha256_of
from ostec.core.errors import AssetError, OutputError
from ostec.core.record import RunRecord
from ostec.core.settings import MAX_UV_MEGAPIXELS, MAX_UV_SIZE
from ostec.core.types import FloatArray, Topology
from ostec.export.mesh import read_npz
from ostec.export.record import read_record, versions
from ostec.heads.maker import EYES, HeadMaker, described
from ostec.heads.mouth import mouth_light
from ostec.heads.parts import Head
from ostec.heads.texels import Sheet, TileMap, map_tile, sheets_of
from ostec.heads.texture import Chart, FaceOnHead, FaceTexture, part_texture, surface_normals
from ostec.io.cache import Arrays, read_cache, why_stale, write_cache
from ostec.io.files import make_folder
from ostec.io.images import read_image, resize_image
from ostec.load.topology import read_topology
from ostec.pipeline.models import load_head_maker

METHOD = "1"
"""Changes with what the correspondence is computed by, so that older files in the cache are made anew."""
DENSITY = 1.5
"""Texels of the face's texture for each of the target's, at most: a larger one is averaged first, lest it alias."""
LEAST_SIDE = 64
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedResult:
    """What a transfer needs of a result of ``ostec complete``."""

    name: str
    texture: FloatArray
    """[S, S, 3] in [0, 1]."""
    vertices: FloatArray
    """[V, 3] of its mesh, canonical millimetres; the landmarks are the first of them."""
    hashes: dict[str, str]
    """Name of each file that was read -> SHA-256."""
    record: RunRecord
    """NAME.json."""


_FARTHEST_MM = 1e4
"""Of a vertex from the origin."""


def read_result(record: Path, topology: Topology) -> SavedResult:
    """Read ``NAME.json``, ``NAME.npz`` and ``NAME.png``.

    Raises:
        OutputError: the first two are missing, damaged or of something else, or belong to another topology.
        ImageError: the texture cannot be read.
    """
    about = read_record(record)
    if about is None:
        raise OutputError(f"{record} is no result of ostec complete.")
    mesh, picture = record.with_suffix(".npz"), record.with_suffix(".png")
    saved = read_npz(mesh)
    if saved.uv.shape != topology.uv.shape or not np.array_equal(saved.uv, topology.uv):
        raise OutputError(
            f"{mesh} has a mesh of {len(saved.uv)} texture coordinates that are not those of "
            f"topology/{topology.name}.npz; only textures in its layout can be transferred."
        )
    if saved.vertices.shape != (len(topology.uv), 3):
        raise OutputError(f"{mesh} has vertices of the shape {saved.vertices.shape}, not {(len(topology.uv), 3)}.")
    vertices = saved.vertices.astype(np.float32)
    if not np.abs(vertices).max() < _FARTHEST_MM or np.ptp(vertices, axis=0).max() < 1:
        raise OutputError(f"{mesh} has vertices that are no face's.")
    texture = read_image(picture, MAX_UV_MEGAPIXELS)
    if texture.shape[0] != texture.shape[1]:
        raise OutputError(f"{picture} is no texture: it has {texture.shape[1]} x {texture.shape[0]} texels.")
    hashes = {path.name: sha256_of(path) for path in (picture, mesh)}
    return SavedResult(record.stem, texture, vertices, hashes, about)


@dataclass(frozen=True)
class Laid:
    """A model laid over the mean face, its textures S texels a side."""

    vertices: FloatArray
    """[V, 3] canonical millimetres: the model's fit to the mean face."""
    skin: FaceOnHead
    """Of the skin's vertices."""
    tiles: dict[str, TileMap]
    """Of the textured parts."""


@dataclass(frozen=True)
class _Baking:
    """What all results of one size share."""

    laid: Laid
    charts: dict[str, Chart]
    """Of all parts with a picture, painted eyes too."""
    at: dict[str, FaceOnHead]
    """Of the textured parts' texels."""
    sheets: list[Sheet]
    largest: int
    """Side of the face's texture in texels beyond which it is averaged."""


@dataclass(frozen=True)
class Transferred:
    """A finished face in another model's layout."""

    head: Head
    sheets: tuple[tuple[str, ...], ...]
    """Names of the parts that share a picture; none where the model has no layout."""
    known: dict[str, FloatArray]
    """[S, S] in [0, 1] by name of the textured part: how far a texel has the face's own detail; none without layout."""
    size: int | None
    """S; None without layout."""


class TextureTransfer:
    """Brings faces into the layout of one model; holds what is computed once."""

    def __init__(self, maker: HeadMaker, topology: Topology, cache: Path | None = None) -> None:
        """``cache`` is the folder of the correspondences; None keeps none."""
        self.maker, self.topology, self.cache = maker, topology, cache
        self.cached: dict[int, bool] = {}
        """Size -> whether its correspondence was found in the cache."""
        self._baking: dict[int, _Baking] = {}

    @classmethod
    def from_files(cls, name: str) -> "TextureTransfer":
        """Read a model, its correspondence and the face's topology; correspondences go to the user's cache folder.

        Raises:
            AssetError: a file is missing or damaged; the sentence says which, or how to get it.
        """
        models = cache_folder()
        cache = None if models is None else models.parent / "transfer"
        return cls(load_head_maker(name), read_topology(asset_path("topology/facemesh.npz")), cache)

    @property
    def made_with(self) -> dict[str, str]:
        """What decides the correspondence, apart from its size."""
        return {**self.maker.made_with, "topology": self.topology.sha256, "method": METHOD}

    @property
    def digest(self) -> str:
        """One SHA-256 of :attr:`made_with`."""
        return hashlib.sha256(json.dumps(self.made_with, sort_keys=True).encode()).hexdigest()

    def record(self, result: SavedResult, made: Transferred, files: Sequence[str]) -> dict[str, Any]:
        """What NAME_MODEL.json holds; nothing in it differs between two equal runs.

        Args:
            result: that was transferred.
            made: what became of it.
            files: names of all files written.
        """
        return {
            "source": result.record.get("source"),
            "result": result.hashes,
            "face_model": described(made.head),
            "size": made.size,
            "settings": asdict(self.maker.settings),
            "made_with": self.digest,
            "pictures": [list(parts) for parts in made.sheets],
            "weights": {**self.maker.hashes, f"{self.topology.name}.npz": self.topology.sha256},
            "versions": versions(),
            "files": list(files),
        }

    def __call__(self, result: SavedResult, size: int | None = None) -> Transferred:
        """Transfer one result.

        Args:
            result: the face.
            size: side of the textures in texels; None takes that of the face's texture.

        Raises:
            FaceError: its landmarks are not finite.
        """
        size = size or len(result.texture)
        baking = self._prepared(size)
        texture = self._apart(result.texture, baking.largest)
        base = self.maker.carried(texture, baking.laid.vertices, baking.laid.skin)
        texture = self.maker.as_read(texture, baking.laid.skin)
        skins = {
            name: part_texture(baking.charts[name], at, base[self.maker.rows(name)], texture)
            for name, at in baking.at.items()
        }
        maker, sheets = self.maker, baking.sheets
        fitted = maker.fit(result.vertices[: self.topology.operator.shape[1]])
        together = any(len(sheet.parts) > 1 for sheet in sheets)  # painted eyes are as large as what they lie in, then
        eyes = maker.eyes(fitted, result.vertices, self.topology, result.texture, *([size] if together else []))
        pictures = skins | eyes
        for sheet in sheets:
            pictures |= dict.fromkeys(sheet.parts, sheet.joined(pictures, baking.charts))
        known = {name: at.weight for name, at in baking.at.items()} if maker.has_layout else {}
        shared = tuple(sheet.parts for sheet in sheets)
        head = maker.assembled(fitted, pictures, mouth_light(result.texture, self.topology, result.vertices))
        return Transferred(head, shared, known, size if maker.has_layout else None)

    def _apart(self, texture: FloatArray, largest: int) -> FaceTexture:
        if len(texture) > largest:
            texture = resize_image(texture, largest, largest, "area")
        return self.maker.apart(texture, self.topology)

    def _prepared(self, size: int) -> _Baking:
        if size not in self._baking:
            maker = self.maker
            charts = {name: maker.parts[name].chart(size) for name in maker.textured}
            laid = self.laid(size, charts)
            steps = [tile.step for tile in laid.tiles.values() if tile.step > 0]
            largest = max(LEAST_SIDE, round(DENSITY / min(steps))) if steps else MAX_UV_SIZE
            at = {name: tile.unpacked() for name, tile in laid.tiles.items()}
            sheets: list[Sheet] = []
            if maker.has_layout:
                charts |= {name: maker.parts[name].chart(size) for name in EYES if name in maker.parts}
                sheets = sheets_of(charts, {name: maker.parts[name].tile for name in charts})
            self._baking[size] = _Baking(laid, charts, at, sheets, largest)
        return self._baking[size]

    def laid(self, size: int, charts: dict[str, Chart]) -> Laid:
        """The model on the mean face, from the cache if it is there; ``charts`` of the textured parts at that size."""
        path = None if self.cache is None else self.cache / f"{self.maker.model.name}-{size}.npz"
        key = {**self.made_with, "size": str(size)}
        if path is not None:
            found = self._read(path, key, charts)
            if found is not None:
                self.cached[size] = True
                return found
        self.cached[size] = False
        laid = self._lay(charts)
        if path is not None:
            try:
                make_folder(path.parent)
                write_cache(path, key, _to_arrays(laid))
            except OutputError as error:
                _log.info("The correspondence is not kept for next time: %s", error)
        return laid

    def _lay(self, charts: dict[str, Chart]) -> Laid:
        mean = (self.topology.operator @ self.topology.mean_landmarks).astype(np.float32)
        vertices = self.maker.fit(self.topology.mean_landmarks).vertices
        normals = surface_normals(vertices, self.maker.model.triangles)
        tiles = {}
        for name, chart in charts.items():
            ids = self.maker.parts[name].ids
            tiles[name] = map_tile(chart, mean, self.topology, vertices[ids], normals[ids], self.maker.settings)
        return Laid(vertices, self.maker.placed(mean, self.topology, vertices), tiles)

    def _read(self, path: Path, key: dict[str, str], charts: dict[str, Chart]) -> Laid | None:
        reason = why_stale(path, key)
        try:
            if reason is None:
                return _from_arrays(read_cache(path), charts)
        except (AssetError, KeyError, ValueError):
            reason = "is damaged"
        level = logging.WARNING if reason == "is damaged" else logging.INFO
        _log.log(level, "The correspondence %s %s, so it is computed.", path, reason)
        return None


def _to_arrays(laid: Laid) -> Arrays:
    skin = laid.skin
    arrays: Arrays = {
        "vertices": laid.vertices,
        "skin": np.c_[skin.uv, skin.weight, skin.own_colour, skin.shade].astype(np.float32),
    }
    for name, tile in laid.tiles.items():
        arrays |= {f"{name}_reached": tile.reached, f"{name}_place": tile.place, f"{name}_share": tile.share}
    return arrays


def _from_arrays(arrays: Arrays, charts: dict[str, Chart]) -> Laid:
    """The record. Raises KeyError for a missing array, and ValueError for one of another shape or type."""
    tiles = {}
    for name, chart in charts.items():
        reached = _checked(arrays[f"{name}_reached"], "b", chart.inside.shape)
        count = int(reached.sum())
        place = _checked(arrays[f"{name}_place"], "u", (count, 2))
        tiles[name] = TileMap(reached, place, _checked(arrays[f"{name}_share"], "u", (count, 3)))
    skin = arrays["skin"]
    skin = _checked(skin, "f", (len(skin), 5))
    vertices = _checked(arrays["vertices"], "f", (len(arrays["vertices"]), 3))
    return Laid(vertices, FaceOnHead(skin[:, :2], skin[:, 2], skin[:, 3], skin[:, 4]), tiles)


def _checked(values: Any, kind: str, shape: tuple[int, ...]) -> Any:
    if values.dtype.kind != kind or values.shape != shape:
        raise ValueError(f"expected {shape} of kind {kind}, got {values.shape} of {values.dtype}")
    return values
