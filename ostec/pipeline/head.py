"""From a finished face to a full head: fit a morphable model, carry the texture over, put the parts together."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ostec.core.assets import asset_path, load_manifest
from ostec.core.correspondence import Correspondence
from ostec.core.head import Head, HeadPart
from ostec.core.morphable import MorphableModel
from ostec.core.types import FloatArray, IntArray, TexturedFace
from ostec.fit.morphable import HeadFitter, skin_triangles
from ostec.io.correspondence import read_correspondence
from ostec.io.morphable import read_morphable
from ostec.stitch import head as skin_over
from ostec.stitch.head import FaceOnHead, FaceTexture, HeadTextureSettings

EYE_SIZE = 256
"""Side of an eyeball's texture in texels."""
Colour = tuple[float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0)
TEXTURED = ("face", "head")
"""Parts that get a texture of their own."""
PLAIN: dict[str, tuple[Colour, float]] = {
    "mouth_socket": ((0.36, 0.14, 0.13), 0.6),
    "eye_socket_left": ((0.60, 0.36, 0.32), 0.8),
    "eye_socket_right": ((0.60, 0.36, 0.32), 0.8),
    "gums": ((0.63, 0.31, 0.30), 0.4),
    "teeth_upper": ((0.86, 0.82, 0.74), 0.25),
    "teeth_lower": ((0.84, 0.80, 0.72), 0.25),
}
"""Parts of one colour (sRGB), and their roughness."""
EYES = ("eye_left", "eye_right")
EYE_ROUGHNESS = 0.15
LASHES = "eyelashes_left"
LEFT_OUT = "Lashes and the transparent layers before the eyes are left out: they need the shaders of a film renderer."


@dataclass(frozen=True)
class _Geometry:
    """A part without its material."""

    ids: IntArray
    """[V] the model's vertices."""
    triangles: IntArray
    uv: FloatArray


class HeadMaker:
    """Makes heads with one morphable model; holds what is computed once."""

    def __init__(
        self, model: MorphableModel, correspondence: Correspondence, settings: HeadTextureSettings | None = None
    ) -> None:
        self.model = model
        self.settings = settings or HeadTextureSettings()
        triangles = skin_triangles(model)
        self._skin = np.unique(triangles)
        self._skin_triangles = np.searchsorted(self._skin, triangles).astype(np.int32)
        self._fitter = HeadFitter(model, correspondence)
        self._parts = {name: _geometry(model, name) for name in (*TEXTURED, *PLAIN, *EYES) if name in model.parts}
        self.hashes = {f"{model.name}_facemesh.npz": correspondence.sha256, f"face model {model.name}": model.sha256}

    @classmethod
    def from_files(cls, name: str) -> "HeadMaker":
        """Read a model and its correspondence.

        Raises:
            AssetError: a file is missing or damaged; the sentence says which, or how to get it.
        """
        model = read_morphable(name)
        return cls(model, read_correspondence(asset_path(f"topology/{name}_facemesh.npz")))

    def __call__(self, textured: TexturedFace) -> Head:
        """The head of one finished face; its textures are as large as the face's."""
        face, topology = textured.face, textured.topology
        whole = textured.completed.texture
        inside = skin_over.bake_chart(topology.uv, topology.triangles, len(whole)).inside
        texture = skin_over.take_apart(whole, inside, topology, self.settings)
        fitted = self._fitter.fit(face.vertices[: len(face.landmarks)])
        normals = _normals(fitted.vertices, self.model.triangles)
        skin = self._skin
        on_head = skin_over.place_on_head(face, topology, fitted.vertices[skin], normals[skin], self.settings)
        base = self._carried(texture, fitted.vertices, on_head)
        iris = skin_over.iris_colour(texture.colour, topology)
        parts = []
        for name, geometry in self._parts.items():
            vertices = fitted.vertices[geometry.ids]
            made: FloatArray | None = None
            colour, roughness = PLAIN.get(name, (WHITE, 1.0))
            if name in TEXTURED:
                where = np.searchsorted(skin, geometry.ids).astype(np.int32)
                chart = skin_over.bake_chart(geometry.uv, geometry.triangles, len(texture.colour))
                made = skin_over.part_texture(chart, on_head.at(where), base[where], texture)
            elif name in EYES:
                chart = skin_over.bake_chart(geometry.uv, geometry.triangles, EYE_SIZE)
                made, roughness = skin_over.eye_texture(chart, vertices, iris), EYE_ROUGHNESS
            parts.append(
                HeadPart(
                    name, vertices, normals[geometry.ids], geometry.triangles, geometry.uv, colour, roughness, made
                )
            )
        return Head(
            self.model.name,
            self.model.licence,
            self.model.sha256,
            tuple(parts),
            fitted.identity,
            fitted.expression,
            fitted.error_mm,
            (*self.model.notes, *((LEFT_OUT,) if LASHES in self.model.parts else ())),
        )

    def _carried(self, texture: FaceTexture, vertices: FloatArray, on_head: FaceOnHead) -> FloatArray:
        """Colours [S, 3] of the skin's S vertices without detail."""
        known = skin_over.sample(texture.low, on_head.uv)
        weight = on_head.weight * on_head.own_colour
        return skin_over.carry_colour(
            vertices[self._skin], self._skin_triangles, known, weight, texture.skin, self.settings
        )


def described(head: Head | None) -> dict[str, Any]:
    """What the record says of the face model: name and licence, and of a head's its coefficients."""
    if head is None:
        return {"name": "facemesh", "licence": load_manifest("facemesh").short_licence}
    return {
        "name": head.model,
        "licence": head.licence,
        "sha256": head.sha256,
        "identity": [round(float(v), 4) for v in head.identity],
        "expression": [round(float(v), 4) for v in head.expression],
        "landmark_error_mm": round(head.error_mm, 3),
        "notes": list(head.notes),
    }


def _geometry(model: MorphableModel, name: str) -> _Geometry:
    """A part with vertices of its own, one for each pair of position and texture coordinate."""
    ids = model.parts[name]
    if name in EYES:  # the iris lies inside the eyeball, which is painted
        ids = np.setdiff1d(ids, model.parts.get(name.replace("eye", "iris"), np.empty(0, np.int32)))
    pairs = np.stack([model.triangles[ids].ravel(), model.triangles_uv[ids].ravel()], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    uv = model.uv[unique[:, 1]]
    uv = uv - np.floor(uv.mean(0))  # its own tile
    return _Geometry(
        unique[:, 0].astype(np.int32), inverse.reshape(-1, 3).astype(np.int32), np.clip(uv, 0, 1).astype(np.float32)
    )


def _normals(vertices: FloatArray, triangles: IntArray) -> FloatArray:
    """[V, 3] unit normals weighted by area."""
    corners = vertices[triangles].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)], axis=1
    )
    return (total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)).astype(np.float32)
