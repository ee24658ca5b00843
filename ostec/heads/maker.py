"""From a finished face to a full head: fit a morphable model, carry the texture over, put the parts together."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from ostec.core.assets import load_manifest
from ostec.core.correspondence import Correspondence, correspondence_file
from ostec.core.morphable import ModelShape, MorphableModel
from ostec.core.types import (
    EYE_CORNER_DISTANCE_MM,
    EYE_CORNERS,
    ORIGIN_SETBACK_MM,
    BoolArray,
    DoubleArray,
    FloatArray,
    IntArray,
    PhotoAround,
    TexturedFace,
    Topology,
)
from ostec.fit.morphable import FittedHead, HeadFitter, LandmarkModel, skin_triangles
from ostec.fit.settings import MorphableFitSettings
from ostec.fit.symmetry import landmarks_by_symmetry
from ostec.heads import texture as skin_over
from ostec.heads.around import HAIRLINE, SeenHead, seen_head
from ostec.heads.eyes import common_gaze, eye_opening, gaze, seen_eye, with_eyeballs
from ostec.heads.hair import EAR_TINT, ear_of, hair_contrast, painted, scalp_of, strands, usual_hair
from ostec.heads.iris import eye_turn, iris_texture
from ostec.heads.mouth import INSIDE, between_lips, close_lips, fading, mouth_light
from ostec.heads.parts import Head, HeadPart
from ostec.heads.rig import Rigger
from ostec.heads.settings import HeadTextureSettings
from ostec.heads.texture import AtVertices, FaceOnHead, FaceTexture, eyeball, for_vertices
from ostec.render.geometry import smoothstep

EYE_SIZE, MOST_EYE_SIZE = 256, 1024
"""Texels across an eyeball in its texture, and the side of that texture at most."""
Colour = tuple[float, float, float]
WHITE: Colour = (1.0, 1.0, 1.0)
FACE = "face"
TEXTURED = (FACE, "head")
"""Parts that get a texture of their own; of a model that names neither, all of it is the head."""
PLAIN: dict[str, tuple[Colour, float]] = {
    "mouth_socket": ((0.36, 0.14, 0.13), 0.6),
    "eye_socket_left": ((0.60, 0.36, 0.32), 0.8),
    "eye_socket_right": ((0.60, 0.36, 0.32), 0.8),
    "gums": ((0.63, 0.31, 0.30), 0.4),
    "tongue": ((0.66, 0.34, 0.33), 0.4),
    "teeth_upper": ((0.86, 0.82, 0.74), 0.25),
    "teeth_lower": ((0.84, 0.80, 0.72), 0.25),
}
"""Parts of one colour (sRGB), and their roughness."""
EYES = ("eye_left", "eye_right")
EYE_JOINTS = {"eye_left": "RightEye", "eye_right": "LeftEye"}
"""Parts are named by the picture's side, joints by the head's."""
EYE_ROUGHNESS, SKIN_ROUGHNESS = 0.15, 0.6
UNLIT_REACH_MM = 60.0
"""Length over which the light taken out of the face is taken out of what the photo shows round it."""
HAIR_REACH_MM = 40.0
"""How far what the photo shows of hair is carried, before it has become the usual."""
LASHES = "eyelashes_left"
NO_LAYOUT = "The model has no texture coordinates, so the head has colours at its vertices instead of a texture."
MADE_EYES = "The model's eyes are holes; eyeballs that are not the model's were put into them."
MADE_MOUTH = "The model has no inside of the mouth; what the face shows between the lips was put behind them."
LEFT_OUT = "Lashes and the transparent layers before the eyes are left out: they need the shaders of a film renderer."


@dataclass(frozen=True)
class PartGeometry:
    """A part without its material."""

    ids: IntArray
    """[V] the model's vertices."""
    triangles: IntArray
    uv: FloatArray
    """[V, 2]; [0, 2] where the model has no layout."""
    tile: tuple[int, int] = (0, 0)
    """Column and row of its tile in the model's layout."""
    polygons: IntArray | None = None
    """[F], as the model has them."""

    def chart(self, size: int) -> skin_over.Chart:
        """Its tile of ``size`` x ``size`` texels, or its vertices where there is no layout."""
        return skin_over.Chart(self.uv, self.triangles, size) if len(self.uv) else AtVertices(len(self.ids))


class HeadMaker:
    """Makes heads with one morphable model; holds what is computed once."""

    def __init__(
        self,
        model: MorphableModel,
        correspondence: Correspondence,
        settings: HeadTextureSettings | None = None,
        fit: MorphableFitSettings | None = None,
    ) -> None:
        self.hashes = {f"face model {model.name}": model.sha256}
        if correspondence.sha256 != model.sha256:
            self.hashes[correspondence_file(model.name, len(model.mean))] = correspondence.sha256
        self._made_eyes = model.hollow_eyes
        if self._made_eyes:
            model = with_eyeballs(model, correspondence)
            correspondence = replace(correspondence, vertex_count=len(model.mean))
        self.model = model
        self.settings = settings or HeadTextureSettings()
        if model.face_layout:
            seam = self.settings.seam_mm
            self.settings = replace(self.settings, rim_mm=seam, colour_mm=seam, dark=0.0)
        triangles = skin_triangles(model)
        self._skin = np.unique(triangles)
        self._skin_triangles = np.searchsorted(self._skin, triangles).astype(np.int32)
        self.correspondence = correspondence
        self._fitter = HeadFitter(model, correspondence, fit)
        self._rigger = Rigger(model, correspondence)
        self._layouts: dict[int, tuple[Topology, BoolArray, BoolArray]] = {}
        self.parts = {name: _geometry(model, name, ids) for name, ids in _chosen(model).items()}
        mean = _canonical(model, correspondence)
        self._mean = mean[self._skin]
        face = np.unique(model.triangles[model.parts[FACE]]) if FACE in model.parts else np.empty(0, np.int32)
        self._own = np.isin(self._skin, face)
        self._scalp, ear = scalp_of(self._mean, mean[face]), ear_of(self._mean)
        self._tint = 1 + ear[:, None] * (EAR_TINT - 1)
        self._mirror = cKDTree(self._mean).query(self._mean * np.array([-1, 1, 1]))[1]
        self._strands: dict[tuple[str, int], FloatArray] = {}

    def __call__(
        self,
        textured: TexturedFace,
        shape: ModelShape | None = None,
        photo: PhotoAround | None = None,
        hair: bool = True,
    ) -> Head:
        """The head of one finished face; its textures are as large as the face's.

        Args:
            textured: the face.
            shape: the model's coefficients, if a network read them from the photo.
            photo: what it shows round the face; without it, skin beyond the face continues the face's.
            hair: whether the photo's hair is painted on the scalp.
        """
        face, topology = textured.face, textured.topology
        whole = textured.completed.colour
        texture = self.apart(whole, topology)
        fitted = self.fit(landmarks_by_symmetry(face, topology), shape)
        on_head = self.placed(face.vertices, topology, fitted.vertices)
        seen = None if photo is None else self._seen(photo, fitted)
        if seen is not None and "albedo" in textured.completed.layers:
            seen = self._unlit(seen, texture, fitted.vertices, on_head)
        base = self.carried(texture, fitted.vertices, on_head, seen)
        grown = self._hair(fitted, seen) if seen is not None and hair else None
        skins = {}
        texture = self.as_read(texture, on_head)
        for name in self.textured:
            if name == FACE and self._has_layout_of(topology):
                skins[name] = whole
                continue
            where, chart = self.rows(name), self.parts[name].chart(len(whole))
            at = skin_over.over_texels(chart, on_head.at(where))
            made = skin_over.part_texture(chart, at, base[where], texture)
            if photo is not None and seen is not None:
                made = self._surroundings(made, name, chart, photo, seen, grown)
            skins[name] = made
        eyes = self.eyes(fitted, face.vertices, topology, whole)
        seen_eyes, turns = ({}, {}) if photo is None else self._seen_eyes(fitted, photo)
        head = self.assembled(fitted, skins | eyes | seen_eyes, mouth_light(whole, topology, face.vertices), turns)
        head = replace(head, shares_texture=self._has_layout_of(topology))
        return self._with_mouth(head, face.vertices, topology, whole)

    def _seen(self, photo: PhotoAround, fitted: FittedHead) -> SeenHead:
        """What the photo shows of the skin."""
        vertices = fitted.vertices.astype(np.float64)
        return seen_head(photo, vertices, self.model.triangles, self._skin, self._scalp, self._own)

    def _unlit(self, seen: SeenHead, texture: FaceTexture, vertices: FloatArray, on_head: FaceOnHead) -> SeenHead:
        """The same without the light that the face's texture is without: its factor is carried on from the face."""
        known = np.log(np.maximum(skin_over.sample(texture.low, on_head.uv), 0.02) / np.maximum(seen.colour, 0.02))
        held = on_head.weight * on_head.own_colour * seen.weight
        mean = np.average(known, axis=0, weights=held + 1e-6)
        factor = skin_over.screened(
            vertices[self._skin], self._skin_triangles, known, held, mean[None].repeat(len(held), 0), UNLIT_REACH_MM
        )
        unlit = np.exp(np.clip(factor, -1, 1)).astype(np.float32)
        return replace(seen, colour=np.clip(seen.colour * unlit, 0, 1).astype(np.float32), unlit=unlit)

    def _hair(self, fitted: FittedHead, seen: SeenHead) -> FloatArray | None:
        """[V, 4] at the skin's vertices: how far there is hair, and its colour; None where there is none."""
        if seen.hair_colour is None:
            return None
        usual = usual_hair(seen, self._scalp, self._mean)[:, None]
        target = np.concatenate([usual, usual * seen.hair_colour], axis=1)
        known = seen.hair[:, None] * np.c_[np.ones(len(seen.hair)), seen.colour]
        other = 0.5 * seen.weight[self._mirror] > seen.weight  # the other side says more
        known = np.where(other[:, None], known[self._mirror], known)
        held = np.where(other, 0.5 * seen.weight[self._mirror], seen.weight)
        triangles, vertices = self._skin_triangles, fitted.vertices[self._skin]
        made = skin_over.screened(vertices, triangles, known, held, target, HAIR_REACH_MM)
        colour = made[:, 1:] / np.maximum(made[:, :1], 1e-3)
        cover = np.clip(made[:, 0], 0, 1) * smoothstep(self._scalp, 0, HAIRLINE[1])
        return np.c_[cover, np.clip(colour, 0, 1)].astype(np.float32)

    def _seen_eyes(
        self, fitted: FittedHead, photo: PhotoAround
    ) -> tuple[dict[str, FloatArray], dict[str, DoubleArray]]:
        """Eyeballs' textures that look straight ahead, and how the balls are turned, where the photo shows irises."""
        textures: dict[str, FloatArray] = {}
        turns: dict[str, DoubleArray] = {}
        for name, eye in zip(EYES, photo.eyes, strict=True):
            if eye is None or name not in self.parts:
                continue
            ball = fitted.vertices[self.parts[name].ids]
            turn = eye_turn(eye, ball)
            made = None if turn is None else iris_texture(self.parts[name].chart(self._eye_size(name)), ball, eye, turn)
            if turn is not None and made is not None:
                textures[name], turns[name] = made, turn
        return textures, turns

    def _surroundings(
        self,
        made: FloatArray,
        name: str,
        chart: skin_over.Chart,
        photo: PhotoAround,
        seen: SeenHead,
        grown: FloatArray | None,
    ) -> FloatArray:
        """A part's texture with hair where there is some, and with what the photo itself shows of it."""
        where, size = self.rows(name), len(made)
        sharp = seen.sharp if grown is not None else seen.sharp * (1 - seen.hair)
        at = chart.attribute(np.c_[seen.pixel[where] / len(photo.person), sharp[where]])
        shown = skin_over.sample(photo.colour, np.stack([at[..., 0], 1 - at[..., 1]], axis=-1))
        if seen.unlit is not None:
            shown = np.clip(shown * chart.attribute(seen.unlit[where]), 0, 1)
        if grown is not None:
            hair = chart.attribute(grown[where])
            if (name, size) not in self._strands and chart.inside.ndim == 2:
                self._strands[name, size] = strands(chart.attribute(self._mean[where]), chart.inside)
            strand = self._strands.get((name, size), np.zeros(hair.shape[:-1], np.float32))
            made = painted(made, hair[..., 0], hair[..., 1:], strand, hair_contrast(photo.colour, seen))
        return chart.padded(made + (shown - made) * at[..., 2:])

    def _has_layout_of(self, topology: Topology) -> bool:
        """Whether a texture in this layout is the face part's as it is."""
        return self.model.face_layout == topology.name and FACE in self.parts

    def apart(self, texture: FloatArray, topology: Topology) -> FaceTexture:
        """A face's texture taken apart; where skin is plain in its layout is found once for each size."""
        size = len(texture)
        if size not in self._layouts or self._layouts[size][0] is not topology:
            inside = skin_over.Chart(topology.uv, topology.triangles, size).inside
            self._layouts[size] = topology, inside, skin_over.plain_skin(inside, topology)
        _, inside, plain = self._layouts[size]
        return skin_over.take_apart(texture, inside, plain, self.settings)

    def _with_mouth(self, head: Head, face: FloatArray, topology: Topology, texture: FloatArray) -> Head:
        """The head with what the face shows between open lips, where the model has nothing there."""
        filled = any(name in self.model.parts for name in INSIDE)
        mouth = None if filled else between_lips(face, topology, texture, self.has_layout)
        if mouth is None:
            return head
        return replace(head, parts=(*head.parts, mouth), notes=(*head.notes, MADE_MOUTH))

    def fit(self, landmarks: FloatArray, shape: ModelShape | None = None) -> FittedHead:
        """Fit the model to landmarks [N, 3] in canonical millimetres; see :meth:`HeadFitter.fit`."""
        return self._fitter.fit(close_lips(landmarks), shape)

    def landmark_model(self, fitted: FittedHead) -> LandmarkModel:
        """How a fitted head's landmarks move with its coefficients."""
        return self._fitter.landmark_model(fitted)

    @property
    def has_layout(self) -> bool:
        """Whether the model has texture coordinates."""
        return len(self.model.uv) > 0

    @property
    def textured(self) -> tuple[str, ...]:
        """Names of the parts that get a texture of their own, painted eyes apart."""
        return tuple(name for name in self.parts if name in TEXTURED)

    @property
    def made_with(self) -> dict[str, str]:
        """What decides where a given face lies on the model: hashes and settings."""
        return {
            "model": self.model.sha256,
            "correspondence": self.correspondence.sha256,
            "settings": f"{self.settings!r} {self._fitter.settings!r}",
        }

    def rows(self, name: str) -> IntArray:
        """[V]: which of the skin's vertices the vertices of a textured part are."""
        return np.searchsorted(self._skin, self.parts[name].ids).astype(np.int32)

    def as_read(self, texture: FaceTexture, on_head: FaceOnHead) -> FaceTexture:
        """The face's texture as the parts read it: where there is no layout, without what lies between vertices."""
        return texture if self.has_layout else for_vertices(texture, on_head, self._skin_triangles)

    def placed(self, face: FloatArray, topology: Topology, vertices: FloatArray) -> FaceOnHead:
        """Where the skin's vertices lie on a face's mesh ``face`` [W, 3]; ``vertices`` [V, 3] are the whole head's."""
        skin = self._skin
        normals = skin_over.surface_normals(vertices, self.model.triangles)
        return skin_over.place_on_head(face, topology, vertices[skin], normals[skin], self.settings)

    def eyes(
        self, fitted: FittedHead, face: FloatArray, topology: Topology, texture: FloatArray, size: int | None = None
    ) -> dict[str, FloatArray]:
        """The eyeballs' textures by name, [size, size, 3]; [V, 3] where the model has no layout.

        Args:
            fitted: the head.
            face: [W, 3] vertices of the face mesh that it was fitted to.
            topology: of that mesh.
            texture: [S, S, 3] in its layout.
            size: side in texels; None: as many as give the eyeball :data:`EYE_SIZE` in its tile.
        """
        iris = skin_over.iris_colour(texture, topology)
        balls = {name: fitted.vertices[self.parts[name].ids] for name in EYES if name in self.parts}
        openings = {name: eye_opening(face, topology, name) for name in balls}
        towards = common_gaze([gaze(openings[name], texture, *eyeball(ball)) for name, ball in balls.items()])
        return {
            name: seen_eye(
                self.parts[name].chart(size or self._eye_size(name)), ball, iris, towards, texture, openings[name]
            )
            for name, ball in balls.items()
        }

    def _eye_size(self, name: str) -> int:
        uv = self.parts[name].uv
        extent = float(np.ptp(uv, axis=0).max()) if len(uv) else 1.0
        return min(round(EYE_SIZE / max(extent, 1e-3)), MOST_EYE_SIZE)

    def assembled(
        self,
        fitted: FittedHead,
        pictures: Mapping[str, FloatArray],
        light: Colour = WHITE,
        turns: Mapping[str, DoubleArray] | None = None,
    ) -> Head:
        """The head put together.

        Args:
            fitted: its shape.
            pictures: [S, S, 3] by name of the :attr:`textured` parts and the eyes; [V, 3] where there is no layout.
            light: inside the mouth, RGB in [0, 1].
            turns: [3, 3] by name of the eyes that do not look straight ahead.
        """
        turns = turns or {}
        normals = skin_over.surface_normals(fitted.vertices, self.model.triangles)
        parts = []
        for name, geometry in self.parts.items():
            vertices, made = fitted.vertices[geometry.ids], pictures.get(name)
            colour, roughness = PLAIN.get(name, (WHITE, EYE_ROUGHNESS if name in EYES else SKIN_ROUGHNESS))
            if name in INSIDE:
                colour = (colour[0] * light[0], colour[1] * light[1], colour[2] * light[2])
            part = HeadPart(name, vertices, normals[geometry.ids], geometry.triangles, geometry.uv, colour, roughness)
            part = replace(part, ids=geometry.ids, polygons=geometry.polygons)
            if name in turns:
                middle = eyeball(vertices)[0]
                turned = ((vertices - middle) @ turns[name].T + middle).astype(np.float32)
                part = replace(part, vertices=turned, normals=(part.normals @ turns[name].T).astype(np.float32))
            part = replace(part, texture=made) if self.has_layout else replace(part, vertex_colours=made)
            if name in INSIDE:
                faded = fading(name, vertices, part.normals, part.triangles, self._front(fitted.vertices))
                part = replace(part, vertex_colours=faded)
            parts.append(part)
        said = (
            (not self.has_layout, NO_LAYOUT),
            (self._made_eyes, MADE_EYES),
            (LASHES in self.model.parts, LEFT_OUT),
        )
        return Head(
            self.model.name,
            self.model.licence,
            self.model.sha256,
            tuple(parts),
            fitted.identity,
            fitted.expression,
            fitted.error_mm,
            (*self.model.notes, *(note for applies, note in said if applies)),
            rig=replace(self._rigger(fitted), turns={EYE_JOINTS[name]: turn for name, turn in turns.items()}),
        )

    def _front(self, vertices: FloatArray) -> float:
        """The z of the foremost vertex of the teeth, or of what else is inside the mouth."""
        within = [name for name in INSIDE if name in self.parts]
        teeth = [name for name in within if name.startswith("teeth")]
        return max(float(vertices[self.parts[name].ids, 2].max()) for name in teeth or within)

    def carried(
        self, texture: FaceTexture, vertices: FloatArray, on_head: FaceOnHead, seen: SeenHead | None = None
    ) -> FloatArray:
        """Colours [S, 3] of the skin's S vertices without detail; ``vertices`` [V, 3] are the whole head's.

        They hold on to the face's and, where that ends, to what the photo shows; ears are redder.
        """
        known = skin_over.sample(texture.low, on_head.uv)
        weight = on_head.weight * on_head.own_colour
        if seen is not None:
            also = smoothstep(seen.weight * seen.skin, 0.3, 0.8) * (1 - weight)
            known = (known * weight[:, None] + seen.colour * also[:, None]) / np.maximum(weight + also, 1e-6)[:, None]
            weight = weight + also
        skin = texture.skin * self._tint
        return skin_over.carry_colour(vertices[self._skin], self._skin_triangles, known, weight, skin, self.settings)


def _canonical(model: MorphableModel, correspondence: Correspondence) -> FloatArray:
    """[V, 3]: the mean head in canonical millimetres."""
    marks = correspondence.points(model.mean)[list(EYE_CORNERS)]
    unit = EYE_CORNER_DISTANCE_MM / float(np.linalg.norm(marks[1] - marks[0]))
    return ((model.mean - marks.mean(0)) * unit + np.array([0, 0, ORIGIN_SETBACK_MM])).astype(np.float32)


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


def _chosen(model: MorphableModel) -> dict[str, IntArray]:
    """Triangle ids by name of the parts that make up a head; no triangle of the skin is in two of them."""
    skins = {name: model.parts[name] for name in TEXTURED if name in model.parts}
    if len(skins) == len(TEXTURED) and np.isin(skins["face"], skins["head"]).any():  # the face is a part of the head
        del skins["face"]
    others = {name: model.parts[name] for name in (*PLAIN, *EYES) if name in model.parts}
    if not skins:
        rest = np.concatenate([np.empty(0, np.int32), *others.values()])
        skins["head"] = np.setdiff1d(np.arange(len(model.triangles)), rest).astype(np.int32)
    return {**skins, **others}


def _geometry(model: MorphableModel, name: str, ids: IntArray) -> PartGeometry:
    """A part with vertices of its own, one for each pair of position and texture coordinate."""
    if name in EYES:  # the iris lies inside the eyeball, which is painted
        ids = np.setdiff1d(ids, model.parts.get(name.replace("eye", "iris"), np.empty(0, np.int32)))
    polygons = None if model.polygons is None else model.polygons[ids]
    if not len(model.uv):
        own, inverse = np.unique(model.triangles[ids], return_inverse=True)
        bare = np.empty((0, 2), np.float32)
        return PartGeometry(own, inverse.reshape(-1, 3).astype(np.int32), bare, polygons=polygons)
    pairs = np.stack([model.triangles[ids].ravel(), model.triangles_uv[ids].ravel()], axis=1)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    uv = model.uv[unique[:, 1]]
    column, row = np.floor(uv.mean(0))
    uv = uv - np.array([column, row], np.float32)  # its own tile
    return PartGeometry(
        unique[:, 0].astype(np.int32),
        inverse.reshape(-1, 3).astype(np.int32),
        np.clip(uv, 0, 1).astype(np.float32),
        (int(column), int(row)),
        polygons,
    )
