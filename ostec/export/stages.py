"""The stages of an RGB fit -> pictures, maps, meshes and coefficients."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ostec.core.types import Array, FloatArray, Topology
from ostec.export.head import write_parts
from ostec.heads.parts import HeadPart
from ostec.io.files import write_atomic
from ostec.io.images import write_png
from ostec.render.geometry import vertex_normals


@dataclass(frozen=True)
class FitStage:
    """One stage of a fit."""

    number: int
    """From 1."""
    picture: FloatArray
    """[R, 2 R, 3] in [0, 1]: the photo, and the render on it."""
    texture: FloatArray | None
    """[S, S, 3] in [0, 1]: the decoder's map; None before there is one."""
    meshes: Mapping[str, FloatArray]
    """[V, 3] canonical millimetres: ``id`` without expression, ``exp`` with it."""
    arrays: Mapping[str, Array]
    """Coefficients, pose, light and latent by name."""
    losses: Mapping[str, tuple[float, ...]]
    """Weighted terms, one value a step; empty where nothing was iterated."""


def write_stages(directory: Path, name: str, stages: tuple[FitStage, ...], topology: Topology) -> list[Path]:
    """Write ``NAME_stageN.png``, ``_stageN_uv.png``, ``_stageN_id.obj``, ``_stageN_exp.obj`` and ``NAME_stages.npz``.

    The arrays are called ``stageN_WHAT``. Raises OutputError if a file cannot be written.
    """
    written: list[Path] = []
    arrays: dict[str, Any] = {}
    for stage in stages:
        stem = f"{name}_stage{stage.number}"
        written.append(directory / f"{stem}.png")
        write_png(written[-1], stage.picture)
        pictures = {}
        if stage.texture is not None:
            written.append(directory / f"{stem}_uv.png")
            write_png(written[-1], stage.texture)
            pictures["face"] = written[-1].name
        for kind, vertices in stage.meshes.items():
            normals = vertex_normals(torch.as_tensor(vertices), torch.as_tensor(topology.triangles)).numpy()
            part = HeadPart("face", vertices, normals, topology.triangles, topology.uv, (1.0, 1.0, 1.0))
            written += write_parts(directory, f"{stem}_{kind}", [part], pictures)
        arrays |= {f"stage{stage.number}_{what}": values for what, values in stage.arrays.items()}
        arrays |= {f"stage{stage.number}_loss_{what}": np.array(v, np.float32) for what, v in stage.losses.items()}
    written.append(directory / f"{name}_stages.npz")
    write_atomic(written[-1], lambda stream: np.savez_compressed(stream, **arrays))
    return list(dict.fromkeys(written))
