"""UV-IDM's files: the checkpoint of its networks, and the layout that its textures have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError
from ostec.core.types import BoolArray, FloatArray, IntArray
from ostec.io.arrays import read_npy
from ostec.io.weights import read_state
from ostec.load.morphable.files import need, read_mat
from ostec.load.networks import load_parsing, load_regressor
from ostec.nets.parsing import BiSeNet
from ostec.nets.regressor import Regressor
from ostec.nets.uv_idm import SIZE, UvIdm, UvIdmShape, uv_idm_from_tensors

MANIFEST = "uv_idm"
CENTRE = (-0.003226267, 0.045060683, 0.75983167)
"""Decimetres: what the release takes off the mean shape, which is the mean vertex of the front."""


@dataclass(frozen=True)
class UvIdmLayout:
    """The Basel Face Model of V vertices and its chart of 256 x 256 texels; F of the vertices are the front."""

    mean: FloatArray
    """[V, 3] decimetres, recentred; x to the image's right, y up, z towards the viewer."""
    identity: FloatArray
    """[V, 3, K]."""
    expression: FloatArray
    """[V, 3, E]."""
    colour: FloatArray
    """[V, 3] in 0 to 255."""
    colours: FloatArray
    """[V, 3, A]."""
    triangles: IntArray
    """[G, 3] of all vertices."""
    corners: IntArray
    """[256, 256, 3] vertices of the triangle that a texel lies in."""
    shares: FloatArray
    """[256, 256, 3] of these vertices; zero outside the chart."""
    front: IntArray
    """[F] vertices."""
    front_triangles: IntArray
    """[H, 3] into ``front``."""
    front_uv: FloatArray
    """[F, 2] in [0, 1], v up."""

    @property
    def inside(self) -> BoolArray:
        """[256, 256] the chart."""
        return np.asarray(self.shares.sum(-1) > 0)


@dataclass(frozen=True)
class UvIdmModels:
    """All that a run needs."""

    network: UvIdm
    layout: UvIdmLayout
    regressor: Regressor
    parsing: BiSeNet
    hashes: dict[str, str]
    """Name -> SHA-256 of each file."""


def load_uv_idm(averaged: bool, device: torch.device, shape: UvIdmShape | None = None) -> UvIdmModels:
    """Read the user's copy of the release, with Deep3DFaceRecon's network and BiSeNet.

    Args:
        averaged: take the running mean of the U-Net's weights.
        device: where the networks shall run.
        shape: the published one if None.

    Raises:
        AssetError: a file is missing, damaged or another's; the sentence says how to get it.
    """
    path = need(MANIFEST, "uv_idm/ldm.ckpt")
    network = uv_idm_from_tensors(read_state(path), str(path), shape, averaged)
    layout, files = read_layout()
    regressor, parsing = load_regressor("deep3d", device), load_parsing(device)
    if parsing is None:
        raise AssetError("UV-IDM needs BiSeNet's 79999_iter.pth; please run: ostec models show bisenet")
    hashes = {file.name: sha256_of(file) for file in (path, *files)} | regressor.hashes | parsing.hashes
    return UvIdmModels(network.to(device), layout, regressor.network, parsing.network, hashes)


def read_layout() -> tuple[UvIdmLayout, list[Path]]:
    """Read the model and the chart, and where they were. Raises AssetError as :func:`load_uv_idm`."""
    names = ("BFM_model_front_5w.mat", "example1.mat", "triangle_buffer.npy", "barycentric_weight.npy", "BFM_UV.npy")
    whole, example, buffer, weight, table = paths = [need(MANIFEST, f"uv_idm/{name}") for name in names]
    front_file, front_ids = need("bfm2009", "bfm2009/BFM_model_front.mat"), need(MANIFEST, "uv_idm/BFM_front_idx.mat")
    arrays = read_mat(whole, ("meanshape", "meantex", "idBase", "exBase", "texBase"))
    mean = arrays.points("meanshape")
    count = len(mean)
    given = read_mat(example, ("full_triangles",))
    first = int(np.asarray(given.raw("full_triangles")).min()) if "full_triangles" in given else 0
    triangles = given.ids("full_triangles", count, None, 3, base=min(max(first, 0), 1))
    of_texel = _square(buffer, read_npy(buffer), 1)[..., 0].astype(np.int64)
    shares = _square(weight, read_npy(weight), 3).astype(np.float32)
    outside = (of_texel < 0) | (of_texel >= len(triangles)) | ~np.isfinite(shares).all(-1)
    front = read_mat(front_ids, ("idx",)).ids("idx", count, None, base=1)
    front_arrays = read_mat(front_file, ("tri",))
    uv = read_npy(table)
    if uv.ndim != 2 or len(uv) != count or uv.shape[1] < 2:
        raise AssetError(f"{table} cannot be used: expected {count} x 2 numbers, got {uv.shape}.")
    layout = UvIdmLayout(
        mean - np.array(CENTRE, np.float32),
        arrays.offsets("idBase", count),
        arrays.offsets("exBase", count),
        arrays.points("meantex", count),
        arrays.offsets("texBase", count),
        triangles,
        triangles[np.where(outside, 0, of_texel)],
        np.where(outside[..., None], 0, shares).astype(np.float32),
        front,
        front_arrays.ids("tri", len(front), None, 3, base=1),
        uv[front, :2].astype(np.float32),
    )
    return layout, [*paths, front_file, front_ids]


def _square(path: Path, values: np.ndarray, channels: int) -> np.ndarray:
    """A chart of ``SIZE`` x ``SIZE`` texels, however its rows are laid out."""
    if values.size != SIZE * SIZE * channels:
        raise AssetError(f"{path} cannot be used: expected {SIZE} x {SIZE} x {channels} numbers, got {values.shape}.")
    return values.reshape(SIZE, SIZE, channels)
