"""What is drawn of a head: its parts' triangles and colours, the same from the record and from its files.

Numbers are those of ``NAME_head.obj`` and of the PNGs, so that a picture added later is the one made at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ostec.core.errors import AssetError, ImageError, OutputError
from ostec.core.plain import read_plain
from ostec.core.record import is_file_of, safe_name
from ostec.core.settings import MAX_UV_MEGAPIXELS
from ostec.core.text import shown
from ostec.core.types import Array, FloatArray
from ostec.export.head import ENDING
from ostec.heads.parts import Head, HeadPart
from ostec.io.images import read_image, to_bytes
from ostec.io.obj import read_obj
from ostec.render.geometry import Camera
from ostec.render.rasterize import rasterize, sample_texture

_OVERSAMPLE = 2
_MAX_BYTES = 512 << 20


@dataclass(frozen=True)
class Surface:
    """F triangles of one part, unlit, each with corners of its own."""

    corners: FloatArray
    """[F, 3, 3] canonical millimetres."""
    tints: FloatArray
    """[F, 3, 3] RGB in [0, 1] by which the picture is multiplied."""
    uv: FloatArray | None = None
    """[F, 3, 2], v up."""
    picture: FloatArray | None = None
    """[S, S, 3] in [0, 1]; None for tints alone."""
    of_face: bool = False
    """The picture is the face's texture as it is."""


def surfaces_of(head: Head) -> list[Surface]:
    """The parts of a head as its files have them."""
    return [_surface(part, head.shares_texture and part.name == "face") for part in head.parts]


def surface_of(part: HeadPart) -> Surface:
    """One part whose picture is the face's texture."""
    return _surface(part, of_face=True)


def _surface(part: HeadPart, of_face: bool) -> Surface:
    ids = part.triangles
    tints = np.ones((*ids.shape, 3), np.float32) * _written(np.array(part.colour), 4)
    if part.vertex_colours is not None:
        tints = _written(part.vertex_colours, 4)[ids] * tints
    corners = _written(part.vertices, 5)[ids]
    if part.texture is None:
        return Surface(corners, tints)
    picture = to_bytes(part.texture).astype(np.float32) / np.float32(255)
    return Surface(corners, tints, _written(part.uv, 7)[ids], picture, of_face)


def _written(values: Array, digits: int) -> FloatArray:
    """Numbers as text of so many decimals has them."""
    return np.round(values.astype(np.float64), digits).astype(np.float32)


def read_surfaces(directory: Path, name: str) -> list[Surface]:
    """The parts of the head in ``NAME_head.obj`` and the files that it names. Raises OutputError: one is damaged."""
    path = directory / f"{name}{ENDING}.obj"
    try:
        mesh = read_obj(path)
        lines = read_plain(path, _MAX_BYTES).splitlines()
        materials = _read_materials(path.with_suffix(".mtl"))
        files = {file for _, file in materials.values() if file is not None}
        foreign = sorted(file for file in files if not is_file_of(name, file))
        if foreign:  # the head may be somebody else's, and a name be a path
            raise ValueError(f"{shown(foreign[0])} is no file of this result")
        pictures = {file: read_image(directory / file, MAX_UV_MEGAPIXELS) for file in files}
        tints = np.array([line.split()[4:7] or (1, 1, 1) for line in lines if line.startswith(b"v ")], np.float32)
        if not np.isfinite(tints).all():
            raise ValueError("a colour is no number")
        triangles, triangles_uv, polygon = mesh.triangulate()
        own = {safe_name(f"{name}.png"), f"{name}.png"}
        found = []
        for k, material in enumerate(mesh.materials):
            colour, file = materials[material]
            chosen = mesh.material[polygon] == k
            ids = triangles[chosen]
            surface = Surface(mesh.vertices[ids], tints[ids] * colour)
            if file is not None:
                uv = mesh.uv[triangles_uv[chosen]]
                surface = replace(surface, uv=uv, picture=pictures[file], of_face=file in own)
            found.append(surface)
        return found
    except (AssetError, ImageError, OSError, ValueError, LookupError) as error:
        raise OutputError(f"{path} cannot be read back ({error}); please make it again with --overwrite.") from error


def _read_materials(path: Path) -> dict[str, tuple[FloatArray, str | None]]:
    """Colour and picture of each material of an MTL file."""
    found: dict[str, tuple[FloatArray, str | None]] = {}
    current = ""
    for line in read_plain(path, _MAX_BYTES).decode("utf-8", "surrogateescape").splitlines():
        key, _, rest = line.partition(" ")
        if key == "newmtl":
            current = rest
            found[current] = np.ones(3, np.float32), None
        elif key == "Kd":
            found[current] = np.array(rest.split(), np.float32), None
        elif key == "map_Kd":
            found[current] = found[current][0], rest
    return found


def with_texture(surfaces: Sequence[Surface], texture: FloatArray) -> list[Surface]:
    """A head whose face shows another texture of its layout; nothing if no part shows the face's texture as it is."""
    if not any(surface.of_face for surface in surfaces):
        return []
    return [replace(surface, picture=texture) if surface.of_face else surface for surface in surfaces]


def draw(surfaces: Sequence[Surface], camera: Camera, size: int, ground: float) -> FloatArray:
    """Picture [size, size, 3] in [0, 1], unlit, on plain grey; edges are smoothed."""
    side = _OVERSAMPLE * size
    zoom = torch.diag(torch.tensor([_OVERSAMPLE, _OVERSAMPLE, 1.0]))
    points = _tensor(np.concatenate([surface.corners for surface in surfaces]).reshape(-1, 3))
    triangles = torch.arange(len(points), dtype=torch.int32).reshape(-1, 3)
    clip = Camera(zoom @ camera.matrix, camera.rotation).clip(points, (side, side))
    raster = rasterize(clip[None], triangles, (side, side))[0].flip(0)
    hit = raster[..., 3] > 0
    seen, first = raster[hit][:, 3].long() - 1, raster[hit][:, :2]
    weights = torch.cat([first, 1 - first.sum(1, keepdim=True)], dim=1)[..., None]  # [N, 3, 1]
    colours = torch.empty(len(seen), 3)
    start = 0
    for surface in surfaces:
        chosen = ((seen >= start) & (seen < start + len(surface.corners))).nonzero()[:, 0]
        of, shares = seen[chosen] - start, weights[chosen]
        colour = (_tensor(surface.tints)[of] * shares).sum(1)
        if surface.picture is not None and surface.uv is not None:
            uv = (_tensor(surface.uv)[of] * shares).sum(1)
            colour = colour * sample_texture(_tensor(surface.picture)[None], uv[None, None])[0, 0]
        colours[chosen] = colour
        start += len(surface.corners)
    picture = torch.full((side, side, 3), ground)
    picture[hit] = colours
    small = torch.nn.functional.avg_pool2d(picture.permute(2, 0, 1), _OVERSAMPLE)
    return small.permute(1, 2, 0).clamp(0, 1).contiguous().numpy()


def _tensor(values: Array) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
