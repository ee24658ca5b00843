"""Finished faces under another light, from their files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ostec.core.errors import OutputError, UsageError
from ostec.core.plain import read_json
from ostec.core.types import EYES, MOUTH_CORNERS, FloatArray, Topology
from ostec.export.pictures import FRONTAL_SIZE, GROUND
from ostec.io.images import named_colour, read_image, read_radiance
from ostec.light.relight import Material, Surroundings, draw_relit, from_harmonics, from_panorama, one_lamp
from ostec.pipeline.transfer import read_result
from ostec.render.geometry import portrait_camera
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
        return one_lamp(float(yaw), float(pitch), np.array(named_colour(colour.strip())))
    except ValueError as error:
        raise UsageError(
            f"--light must be YAW,PITCH,COLOUR as 45,30,white, a file .json or a panorama .hdr, not {asked!r}."
        ) from error


def _coefficients(path: Path) -> FloatArray:
    try:
        values = read_json(path)
        found = np.asarray(values.get("light", values)["harmonics"], np.float64)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} has no harmonics of a light.") from error
    if found.shape != (9, 3) or not np.isfinite(found).all():
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
        material = Material(**{kind: read_image(path) for kind, path in maps.items()})
        landmarks = result.vertices[: self.topology.operator.shape[1]]
        eyes = np.stack([landmarks[list(pair)].mean(0) for pair in EYES])
        camera = portrait_camera(eyes, landmarks[list(MOUTH_CORNERS)].mean(0), (0.0, 0.0), FRONTAL_SIZE)
        drawn = draw_relit(result.vertices, bake_layout(self.topology, 8), material, self.light, camera, FRONTAL_SIZE)
        return np.asarray(drawn[..., :3] * drawn[..., 3:] + GROUND * (1 - drawn[..., 3:]), np.float32)
