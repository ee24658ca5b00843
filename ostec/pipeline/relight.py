"""Finished faces under another light, from their files."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ostec.core.errors import OutputError, UsageError
from ostec.core.plain import read_json
from ostec.core.settings import MAX_UV_MEGAPIXELS
from ostec.core.types import EYES, MOUTH_CORNERS, FloatArray, Topology
from ostec.export.head import ENDING
from ostec.export.pictures import FRONTAL_SIZE, GROUND
from ostec.export.surfaces import Surface, draw, read_surfaces, with_texture
from ostec.io.images import named_colour, read_image, read_radiance
from ostec.light.materials import SKIN
from ostec.light.relight import (
    LitPixels,
    Material,
    Surroundings,
    draw_relit,
    from_harmonics,
    from_panorama,
    light_on,
    one_lamp,
    shade,
)
from ostec.pipeline.transfer import read_result
from ostec.render.colour import from_linear, to_linear
from ostec.render.geometry import Camera, portrait_camera, vertex_normals
from ostec.render.uv import bake_layout


def read_light(asked: str) -> Surroundings:
    """The light of ``YAW,PITCH,COLOUR``, a JSON with ``harmonics`` [9, 3] (or such under ``light``), or a panorama.

    Raises UsageError for what is none of them, ImageError where a panorama cannot be read.
    """
    path = Path(asked)
    if path.suffix.lower() == ".hdr":
        return from_panorama(read_radiance(path))
    if path.suffix.lower() == ".json":
        return from_harmonics(_coefficients(path))
    yaw, pitch, colour = [*asked.split(","), "white", "white"][:3]
    try:
        angles = float(yaw), float(pitch)
        if not np.isfinite(angles).all():
            raise ValueError("expected angles")
        return one_lamp(*angles, np.array(named_colour(colour.strip())))
    except ValueError as error:
        raise UsageError(
            f"--light must be YAW,PITCH,COLOUR as 45,30,white, a file .json or a panorama .hdr, not {asked[:80]!r}."
        ) from error


_BRIGHTEST = 1e6
"""Of a light's harmonics, where 1 is a white surface that is fully lit."""


def _coefficients(path: Path) -> FloatArray:
    try:
        values = read_json(path)
        found = np.asarray(values.get("light", values)["harmonics"], np.float64)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise UsageError(f"{path} has no harmonics of a light.") from error
    if found.shape != (9, 3) or not (np.abs(found) < _BRIGHTEST).all():
        raise UsageError(f"{path}: harmonics of a light are [9, 3] numbers, got {list(found.shape)}.")
    return found.astype(np.float32)


@dataclass(frozen=True)
class Relighter:
    """Draws results of one topology under a light."""

    topology: Topology
    light: Surroundings

    def __call__(self, record: Path) -> FloatArray:
        """The frontal portrait [H, W, 3] of the result of a NAME.json, on grey.

        Raises OutputError where the result has no materials or cannot be read, ImageError where a map cannot.
        """
        result = read_result(record, self.topology)
        maps = {kind: record.with_name(f"{record.stem}_{kind}.png") for kind in ("albedo", "normal", "orm", "specular")}
        if not all(path.is_file() for path in maps.values()):
            raise OutputError(f"{record} has no materials; ostec complete --materials gltf makes them.")
        material = Material(**{kind: read_image(path, MAX_UV_MEGAPIXELS) for kind, path in maps.items()})
        shapes = {values.shape for values in vars(material).values()}
        if len(shapes) > 1 or material.albedo.shape[0] != material.albedo.shape[1]:
            raise OutputError(f"{record} has materials that are not squares of one size.")
        landmarks = result.vertices[: self.topology.operator.shape[1]]
        eyes = np.stack([landmarks[list(pair)].mean(0) for pair in EYES])
        camera = portrait_camera(eyes, landmarks[list(MOUTH_CORNERS)].mean(0), (0.0, 0.0), FRONTAL_SIZE)
        if record.with_name(f"{record.stem}{ENDING}.obj").is_file():
            return draw_head(read_surfaces(record.parent, record.stem), material, self.light, camera)
        drawn = draw_relit(result.vertices, bake_layout(self.topology, 8), material, self.light, camera, FRONTAL_SIZE)
        return np.asarray(drawn[..., :3] * drawn[..., 3:] + GROUND * (1 - drawn[..., 3:]), np.float32)


def draw_head(surfaces: Sequence[Surface], material: Material, light: Surroundings, camera: Camera) -> FloatArray:
    """Picture [H, W, 3] of a head under a light, on grey.

    The face has its albedo, roughness and specular; hair, ears, neck and eyes, which have none, the colours that the
    photo gave them.
    """
    corners = np.concatenate([surface.corners for surface in surfaces])  # [F, 3, 3]
    vertices, ids = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    triangles = ids.reshape(-1, 3).astype(np.int32)
    came = light_on(vertices, triangles, light)
    normals = vertex_normals(torch.from_numpy(vertices), torch.from_numpy(triangles)).numpy()
    skin = np.full((1, 1, 3), [1, SKIN, 1], np.float32)
    glossy = [surface if surface.of_face else replace(surface, picture=skin) for surface in _white(surfaces)]
    glossy = with_texture(glossy, np.dstack([material.orm[..., :2], material.specular[..., :1]])) or glossy

    def carried(values: FloatArray) -> torch.Tensor:
        """What each pixel [N, 3] has of the vertices' values [V, 3]."""
        parts = np.split(values[triangles], np.cumsum([len(surface.corners) for surface in surfaces])[:-1])
        plain = [Surface(surface.corners, part) for surface, part in zip(surfaces, parts, strict=True)]
        return _pixels(draw(plain, camera, FRONTAL_SIZE, 0.0))

    most = max(1.0, float(came.max()))
    normal = functional.normalize(carried(np.asarray(normals * 0.5 + 0.5, np.float32)) * 2 - 1, dim=-1)
    low, high = vertices.min(0), vertices.max(0)
    place = carried(((vertices - low) / (high - low)).astype(np.float32)) * torch.from_numpy(
        high - low
    ) + torch.from_numpy(low)
    cover = carried(np.ones_like(vertices))[:, :1]
    albedo = draw(with_texture(surfaces, material.albedo) or surfaces, camera, FRONTAL_SIZE, GROUND)
    maps = _pixels(draw(glossy, camera, FRONTAL_SIZE, 0.0))
    seen = LitPixels(
        albedo=_pixels(to_linear(albedo)),
        came=carried(came / most) * most,
        plain=normal,
        bent=normal,
        viewer=camera.towards_viewer(place),
        roughness=maps[:, 1:2],
        specular=maps[:, 2:],
    )
    lit = from_linear(shade(seen, light).clamp(0, 1).numpy()).reshape(FRONTAL_SIZE, FRONTAL_SIZE, 3)
    share = cover.numpy().reshape(FRONTAL_SIZE, FRONTAL_SIZE, 1)
    return np.asarray(lit * share + GROUND * (1 - share), np.float32)


def _white(surfaces: Sequence[Surface]) -> list[Surface]:
    return [replace(surface, tints=np.ones_like(surface.tints)) for surface in surfaces]


def _pixels(picture: FloatArray) -> torch.Tensor:
    """[H, W, 3] as [N, 3]."""
    return torch.from_numpy(np.ascontiguousarray(picture, np.float32)).reshape(-1, 3)
