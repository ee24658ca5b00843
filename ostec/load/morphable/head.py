"""The head model that ships: ``models/head.safetensors`` and its layout, ``topology/head.npz``.

``tools/make_head.py`` makes both. The file has the coarse mesh as one half and its mirror images, in bytes; the layout
has the linear operator that makes the mesh as it is used of it, one Catmull-Clark level with eyes and teeth.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from ostec.core.assets import asset_path, load_manifest, sha256_of, verified_path
from ostec.core.errors import AssetError
from ostec.core.morphable import Joints, MorphableModel
from ostec.core.types import Array, FloatArray, IntArray
from ostec.io.weights import read_safetensors
from ostec.load.morphable.files import checked
from ostec.load.topology import read_arrays

MANIFEST = "head"
_FILE = "head.safetensors"
_LAYOUT = "topology/head.npz"
_FACE_LAYOUT = "facemesh"
_FLIP = np.array([-1, 1, 1], np.float32)
_UNSEEN = ("eyeLook", "tongueOut")
"""Begins of the names of expressions that landmarks do not show."""


@dataclass(frozen=True)
class StoredHead:
    """The model on its C coarse vertices; the right half of each is the mirror image of the left, or its negative."""

    mean: FloatArray
    """[C, 3] canonical millimetres."""
    identity: FloatArray
    """[C, 3, K] per standard deviation."""
    parity: Array
    """[K]: 1 for a component that is its own mirror image, -1 for one that is the negative of it."""
    expression: FloatArray
    """[C, 3, E]."""
    joint_weights: FloatArray
    """[C, J]."""
    joint_places: FloatArray
    """[J, 3] of the mean head."""
    mirror: IntArray
    """[C]: the vertex on the other side."""

    def tensors(self) -> dict[str, Array]:
        """What the file holds: bases in bytes with a step for each component, those of half of the vertices."""
        half = np.flatnonzero(np.arange(len(self.mirror)) <= self.mirror)
        identity, identity_step = _bytes_of(self.identity[half])
        kept, of, flipped = self._pairs()
        expression, expression_step = _bytes_of(self.expression[:, :, kept])
        return {
            "mirror": self.mirror.astype(np.int32),
            "mean": self.mean[half].astype(np.float32),
            "identity": identity,
            "identity_step": identity_step,
            "parity": self.parity.astype(np.int8),
            "expression": expression,
            "expression_step": expression_step,
            "expression_of": np.array(of, np.int32),
            "expression_flipped": np.array(flipped, np.uint8),
            "joint_weights": np.rint(self.joint_weights * 255).astype(np.uint8),
            "joint_places": self.joint_places.astype(np.float32),
        }

    def _pairs(self) -> tuple[list[int], list[int], list[int]]:
        """Expressions to store; for each one which of those it is, and whether it is that one's mirror image."""
        kept: list[int] = []
        of, flipped = [], []
        mirrored = self.expression[self.mirror] * _FLIP[:, None]
        for k in range(self.expression.shape[2]):
            same = [j for j in kept if np.abs(self.expression[:, :, k] - mirrored[:, :, j]).max() < 1e-4]
            if not same:
                kept.append(k)
            of.append(kept.index(same[0] if same else k))
            flipped.append(int(bool(same)))
        return kept, of, flipped

    @classmethod
    def read(cls, tensors: Mapping[str, Any]) -> "StoredHead":
        """From what the file holds. Raises KeyError, IndexError or ValueError for something else."""
        mirror = tensors["mirror"]
        half = np.flatnonzero(np.arange(len(mirror)) <= mirror).astype(np.int32)
        parity = tensors["parity"].astype(np.float32)
        identity = tensors["identity"] * tensors["identity_step"]
        stored = tensors["expression"] * tensors["expression_step"]
        mirrored = stored[mirror] * _FLIP[:, None]
        pairs = zip(tensors["expression_of"], tensors["expression_flipped"], strict=True)
        weights = tensors["joint_weights"].astype(np.float32)
        return cls(
            mean=_whole(tensors["mean"][:, :, None], half, mirror, np.ones(1, np.float32))[:, :, 0],
            identity=_whole(identity, half, mirror, parity),
            parity=tensors["parity"],
            expression=np.stack([(mirrored if flip else stored)[:, :, k] for k, flip in pairs], axis=2),
            joint_weights=weights / np.maximum(weights.sum(1, keepdims=True), 1),
            joint_places=tensors["joint_places"],
            mirror=mirror,
        )


def _bytes_of(basis: FloatArray) -> tuple[Array, FloatArray]:
    step = np.maximum(np.abs(basis).max((0, 1)), 1e-9) / 127
    whole = np.rint(basis / step).astype(np.int8)
    return np.ascontiguousarray(whole), step.astype(np.float32)  # files are written from memory as it is


def _whole(half: FloatArray, ids: IntArray, mirror: IntArray, parity: FloatArray) -> FloatArray:
    """[C, 3, K] from the vertices ``ids``; what lies on the middle line is its own mirror image."""
    whole = np.zeros((len(mirror), 3, half.shape[2]), np.float32)
    whole[ids] = half
    other = np.setdiff1d(np.arange(len(mirror)), ids)
    whole[other] = half[np.searchsorted(ids, mirror[other])] * _FLIP[:, None] * parity
    middle = mirror == np.arange(len(mirror))
    whole[middle] = (whole[middle] + whole[middle] * _FLIP[:, None] * parity) / 2
    return whole


@dataclass(frozen=True)
class Layout:
    """The mesh of V vertices and F triangles, and what is named."""

    operator: sparse.csr_matrix
    """[V, C]."""
    triangles: IntArray
    """[F, 3]."""
    uv: FloatArray
    """[T, 2]: the face's tile is that of ``topology/facemesh.npz``; the others' lie beside it, u above 1."""
    triangles_uv: IntArray
    """[F, 3]."""
    polygons: IntArray
    """[F]: see :class:`MorphableModel`."""
    parts: Mapping[str, IntArray]
    """Triangle ids."""
    expression_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    joint_parents: IntArray

    def write(self, path: Path) -> None:
        """Write ``topology/head.npz``."""
        number = np.zeros(len(self.triangles), np.uint8)
        for k, ids in enumerate(self.parts.values()):
            number[ids] = k
        with path.open("wb") as stream:
            np.savez_compressed(
                stream,
                operator_data=self.operator.data.astype(np.float32),
                operator_indices=self.operator.indices.astype(np.int32),
                operator_indptr=self.operator.indptr.astype(np.int32),
                operator_columns=np.int32(self.operator.shape[1]),
                triangles=self.triangles.astype(np.int32),
                uv=self.uv.astype(np.float32),
                triangles_uv=self.triangles_uv.astype(np.int32),
                polygons=self.polygons.astype(np.int32),
                part=number,
                part_names=np.array(list(self.parts)),
                expression_names=np.array(self.expression_names),
                joint_names=np.array(self.joint_names),
                joint_parents=self.joint_parents.astype(np.int32),
            )


def read_layout(path: Path) -> tuple[Layout, str]:
    """Read ``topology/head.npz``, and its SHA-256. Raises AssetError if it is missing or damaged."""
    return read_arrays(path, "layout", lambda arrays, sha256: (_layout(arrays), sha256))


def _layout(arrays: Mapping[str, Any]) -> Layout:
    data, indices, starts = (arrays[f"operator_{name}"] for name in ("data", "indices", "indptr"))
    operator = sparse.csr_matrix((data, indices, starts), shape=(len(starts) - 1, int(arrays["operator_columns"])))
    operator.check_format(full_check=True)
    texts = {name: tuple(str(text) for text in arrays[name]) for name in ("part_names", "expression_names")}
    return Layout(
        operator=operator,
        triangles=arrays["triangles"],
        uv=arrays["uv"],
        triangles_uv=arrays["triangles_uv"],
        polygons=arrays["polygons"],
        parts={
            name: np.flatnonzero(arrays["part"] == k).astype(np.int32) for k, name in enumerate(texts["part_names"])
        },
        expression_names=texts["expression_names"],
        joint_names=tuple(str(text) for text in arrays["joint_names"]),
        joint_parents=arrays["joint_parents"],
    )


def read_head() -> MorphableModel:
    """Read the head model that ships.

    Raises AssetError if a file is missing or damaged, or does not fit the other.
    """
    path = verified_path(MANIFEST, _FILE)
    layout, sha256 = read_layout(asset_path(_LAYOUT))
    try:
        stored = StoredHead.read({name: tensor.numpy() for name, tensor in read_safetensors(path).items()})
        whole = hashlib.sha256((sha256_of(path) + sha256).encode()).hexdigest()
        model = model_of(stored, layout, whole)
    except (KeyError, IndexError, ValueError) as error:
        raise AssetError(f"{path} does not belong to {_LAYOUT} ({error}).") from error
    return checked(model, path)


def model_of(stored: StoredHead, layout: Layout, sha256: str) -> MorphableModel:
    """The model as it is used."""
    about = load_manifest(MANIFEST)
    return MorphableModel(
        name=about.face_model,
        licence=about.short_licence,
        sha256=sha256,
        mm_per_unit=1.0,
        mean=_fine(layout, stored.mean),
        identity=_fine(layout, stored.identity),
        expression=_fine(layout, stored.expression),
        expression_range=(0.0, 1.0),
        expression_names=layout.expression_names,
        unseen=tuple(name for name in layout.expression_names if name.startswith(_UNSEEN)),
        triangles=layout.triangles,
        face_layout=_FACE_LAYOUT,
        uv=layout.uv,
        triangles_uv=layout.triangles_uv,
        landmarks={},
        parts=dict(layout.parts),
        joints=Joints(
            layout.joint_names, stored.joint_places, layout.joint_parents, _fine(layout, stored.joint_weights)
        ),
        polygons=layout.polygons,
    )


def _fine(layout: Layout, values: FloatArray) -> FloatArray:
    """[V, ...] from [C, ...]."""
    flat = layout.operator @ values.reshape(len(values), -1)
    return np.ascontiguousarray(flat.reshape(-1, *values.shape[1:]), np.float32)
