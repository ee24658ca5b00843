"""Results of the toy face, as ``ostec complete`` writes them."""

from pathlib import Path

import numpy as np

from ostec.core.types import CompletedTexture, FloatArray, TexturedFace, Topology
from ostec.export.mesh import write_npz, write_texture
from ostec.export.record import write_record
from tests.toy import toy_face, toy_texture


def save_result(folder: Path, name: str, topology: Topology, texture: FloatArray | None = None) -> Path:
    """Write ``NAME.png``, ``NAME_provenance.png``, ``NAME.npz`` and ``NAME.json``, whose path is returned."""
    texture = toy_texture(256) if texture is None else texture
    completed = CompletedTexture({"colour": texture}, np.ones(texture.shape[:2], np.uint8))
    textured = TexturedFace(toy_face(topology), topology, completed)
    folder.mkdir(exist_ok=True)
    files = [path.name for path in (*write_texture(folder, name, textured), write_npz(folder, name, textured))]
    return write_record(folder, name, {"source": f"{name}.jpg", "files": [*files, f"{name}.json"]})
