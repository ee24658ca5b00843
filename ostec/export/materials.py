"""Layers of a face's material -> ``NAME_albedo.png``, ``_normal.png``, ``_orm.png``, ``_specular.png``.

Normals are OpenGL's (+Y up); orm holds occlusion, roughness and metallic (0) in red, green and blue, as glTF reads
them; specular is F0 relative to that of skin, grey. All but the albedo are linear values.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ostec.core.types import FloatArray
from ostec.io.files import write_atomic
from ostec.io.images import encode_png
from ostec.render.colour import from_linear


def write_materials(directory: Path, name: str, layers: Mapping[str, FloatArray], for_directx: bool) -> list[Path]:
    """Write the maps; ``for_directx`` also ``NAME_normal_directx.png``. Raises OutputError if one cannot be written."""
    pictures = {
        "albedo": layers["albedo"],
        "normal": layers["normal"],
        "orm": _orm(layers),
        "specular": np.repeat(layers["specular"], 3, axis=2),
    }
    if for_directx:
        pictures["normal_directx"] = np.abs(layers["normal"] - np.array([0, 1, 0], np.float32))  # +Y down
    written = []
    for kind, picture in pictures.items():
        written.append(directory / f"{name}_{kind}.png")
        write_atomic(written[-1], encode_png(picture))
    return written


def map_pictures(layers: Mapping[str, FloatArray]) -> dict[str, bytes]:
    """The maps beside the albedo as :func:`ostec.export.gltf.head_glb` takes them."""
    specular = from_linear(np.repeat(layers["specular"], 3, axis=2))
    pictures = {"normal": layers["normal"], "orm": _orm(layers), "specular": specular}
    return {kind: encode_png(picture) for kind, picture in pictures.items()}


def _orm(layers: Mapping[str, FloatArray]) -> FloatArray:
    return np.dstack([layers["occlusion"], layers["roughness"], np.zeros_like(layers["roughness"])])
