"""A head whose texture in the project's layout is known: the mean face, coloured by the texture prior, as an OBJ."""

from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from ostec.core.types import FloatArray, TexturedFace, Topology
from ostec.eval.head.mesh import PartFiles
from ostec.heads.parts import Head, HeadPart
from ostec.io.images import write_png
from ostec.pipeline.models import Models, load_models
from ostec.pipeline.settings import CompleteSettings
from ostec.render.unwrap import enlarge_inside

SIZE = 512
TINT = np.float32([0.06, 0.03, -0.06])
"""Added on the image's left half of the face, taken from the right: nothing about it is symmetric."""


@lru_cache(maxsize=1)
def models() -> Models:
    """What ships, without a generator."""
    return load_models(torch.device("cpu"), CompleteSettings(iterations=0))


def planted_texture() -> FloatArray:
    """[SIZE, SIZE, 3] in [0, 1], without holes."""
    prior = models().prior
    assert prior is not None
    canvas = np.zeros((prior.size, prior.size, 3), np.float32)
    canvas[prior.inside] = prior.mean.numpy()
    large = enlarge_inside(canvas, prior.inside, SIZE)
    side = np.sign(0.5 - (np.arange(SIZE) + 0.5) / SIZE)[None, :, None].astype(np.float32)
    return np.clip(large + side * TINT, 0, 1).astype(np.float32)


def write_planted(folder: Path, unit: float = 1.0, shift: tuple[float, float, float] = (0, 0, 0)) -> PartFiles:
    """Write the head as OBJ and PNG, ``unit`` units per millimetre."""
    topology: Topology = models().topology
    points = (topology.operator @ topology.mean_landmarks) * unit + np.array(shift)
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in points]
    lines += [f"vt {u:.8f} {v:.8f}" for u, v in topology.uv]
    lines += ["f " + " ".join(f"{k + 1}/{k + 1}" for k in triangle) for triangle in topology.triangles]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "face.obj").write_text("\n".join(lines) + "\n")
    write_png(folder / "face.png", planted_texture())
    return PartFiles(folder / "face.obj", folder / "face.png")


class SameMesh:
    """Stands in for a ``HeadMaker``: a full head that is the default mesh itself, with ``more`` parts."""

    model = SimpleNamespace(name="toy")

    def __init__(self, *more: HeadPart) -> None:
        self.more = more
        self.made_with = {"model": "ab"}

    def __call__(self, textured: TexturedFace) -> Head:
        points, topology, none = textured.face.vertices, textured.topology, np.empty(0, np.float32)
        skin = textured.completed.colour
        face = HeadPart("face", points, points * 0, topology.triangles, topology.uv, (1, 1, 1), texture=skin)
        return Head("toy", "MIT", "", (face, *self.more), none, none, 0.0)
