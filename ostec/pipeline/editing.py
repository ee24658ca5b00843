"""What a generator's pictures show, and latents that are edited until they show what is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.device import threads
from ostec.core.errors import FaceError
from ostec.core.types import DoubleArray, FittedFace, FloatArray, Topology
from ostec.detect.landmarks import detect_landmarks_in, whole_image
from ostec.detect.settings import LandmarkSettings
from ostec.fit.dense import fit_dense
from ostec.fit.morphable import HeadFitter
from ostec.fit.settings import MorphableFitSettings
from ostec.light.estimate import AlbedoModel
from ostec.light.quick import grey_harmonics
from ostec.nets.dlib_face import FaceRecogniser
from ostec.nets.facemesh import FaceMesh
from ostec.nets.stylegan2 import Generator
from ostec.project.edit import ATTRIBUTES, LIGHT, Edits, wanted
from ostec.project.identity import identity_of
from ostec.project.likeness import like_before
from ostec.render.geometry import vertex_normals
from ostec.render.harmonics import harmonics
from ostec.render.unwrap import Unwrapper

MIN_CONFIDENCE = 0.5
"""FaceMesh's probability below which a picture shows no face."""
QUICK = LandmarkSettings(looks=1)
"""One look is enough where many pictures are measured."""
ROUNDS = 5
"""Times that an edit is measured and corrected."""
TOLERANCE = {"yaw_deg": 1.5, "pitch_deg": 1.5, "smile": 0.05, "open": 0.05, **dict.fromkeys(LIGHT, 0.1)}
"""Error of each attribute with which an edit is done: every further step costs the face contrast."""
VIEWS_DEG = {"front": (0.0, 0.0), "left": (0.0, 30.0), "right": (0.0, -30.0), "up": (25.0, 0.0), "down": (-12.0, 0.0)}
"""Pitch and yaw of the views of an edited face, named after what they reveal."""
NEUTRAL = {"smile": 0.0, "open": 0.0}
EVEN = dict.fromkeys(LIGHT, 0.0)


class AttributeReader:
    """Measures pose, expression and light of a picture that one upright face fills."""

    def __init__(self, facemesh: FaceMesh, topology: Topology, heads: HeadFitter, albedo: AlbedoModel) -> None:
        """Prepare; ``heads`` must fit a model with ARKit's expressions."""
        self._facemesh, self._topology, self._heads, self._albedo = facemesh, topology, heads, albedo
        self._unwrapper = Unwrapper(topology)
        names = heads.model.expression_names
        self._smile = [names.index(f"mouthSmile{side}") for side in ("Left", "Right")]
        self._open = names.index("jawOpen")
        mean = torch.from_numpy((topology.operator @ topology.mean_landmarks).astype(np.float32))
        normals = vertex_normals(mean, torch.as_tensor(topology.triangles)).numpy().astype(np.float64)
        self._terms = harmonics(normals[normals[:, 2] > 0.2])

    @threads(1)
    def read(self, picture: FloatArray) -> DoubleArray:
        """The attributes [A] of a picture [R, R, 3] in [0, 1]. Raises FaceError where it shows no face."""
        face = self.fitted(picture)
        shown = self._heads.coefficients(face.vertices[: len(face.landmarks)]).expression
        light = grey_harmonics(self._unwrapper.unwrap(picture, face, self._albedo.size), face.rotation, self._albedo)
        pitch, yaw, _ = face.pose_deg
        smile = float(np.mean(shown[self._smile]))
        of_light = light[1:] / max(float(light[0]), 1e-3)
        return np.array([yaw, pitch, smile, float(shown[self._open]), *of_light])

    def fitted(self, picture: FloatArray) -> FittedFace:
        """The face of a picture [R, R, 3] in [0, 1]. Raises FaceError where it shows none."""
        height, width = picture.shape[:2]
        found = detect_landmarks_in(picture, whole_image(width, height), self._facemesh, QUICK)
        if found.confidence < MIN_CONFIDENCE:
            raise FaceError("The generator's picture shows no face.")
        return fit_dense(found, self._topology)

    def unevenness(self, attributes: DoubleArray) -> float:
        """Deviation of the light over the face, relative to its mean."""
        shade = self._terms @ np.concatenate([[1.0], attributes[-len(LIGHT) :]])
        return float(shade.std() / max(float(shade.mean()), 1e-3))


@dataclass(frozen=True)
class EditedFace:
    """A latent after an edit."""

    latent: FloatArray
    """[num_ws, W]."""
    picture: FloatArray
    """[R, R, 3] in [0, 1]."""
    before: dict[str, float]
    """Attributes as measured before, ``unevenness`` of the light among them."""
    after: dict[str, float]
    rounds: int
    """Times that the latent was moved to the best one."""
    likeness: float | None = None
    """Cosine of who is seen to who was seen before; None where nothing says who that is."""


@dataclass(frozen=True)
class LatentEditor:
    """Edits latents of one generator."""

    generator: Generator
    edits: Edits
    reader: AttributeReader
    rounds: int = ROUNDS
    recogniser: FaceRecogniser | None = None
    """Brings the person back after an edit; None leaves it at what the edit made."""
    device: torch.device | str = "cpu"
    """Of the generator and the recogniser."""

    def draw(self, latent: FloatArray) -> FloatArray:
        """[num_ws, W] -> [R, R, 3] in [0, 1]."""
        with torch.no_grad():
            picture = self.generator.synthesis(torch.from_numpy(latent)[None].to(self.device))[0]
        return (picture.permute(1, 2, 0) / 2 + 0.5).clamp(0, 1).cpu().numpy()

    def edit(
        self, latent: FloatArray, asked: Mapping[str, float], unmeasured: Mapping[str, float] | None = None
    ) -> EditedFace:
        """Move a latent until its picture measures what is asked for, or keep the best of all rounds.

        Each round adds g(asked) - g(measured), so that what the last one left is corrected by the next.

        Args:
            latent: [num_ws, W].
            asked: some of ``ATTRIBUTES``.
            unmeasured: attributes that are not measured, such as ``glasses``; edited first, once.

        Raises:
            FaceError: its picture shows no face.
            WeightsError: the edits have no direction for one that is not measured.
        """
        if unmeasured:
            latent = latent + self.edits.unmeasured(latent, self.reader.read(self.draw(latent)), unmeasured)
        tried = list(self._rounds(latent, asked))
        best = min(range(len(tried)), key=lambda k: tried[k][2])
        (moved, measured, _), (_, first, _) = tried[best], tried[0]
        if best and self.recogniser is not None:
            moved, measured = self._like_before(latent, moved, measured, wanted(measured, asked))
        picture, likeness = self.draw(moved), None
        if self.recogniser is not None:
            likeness = round(float(self._person(self.draw(latent)) @ self._person(picture)), 4)
        return EditedFace(moved, picture, self.told(first), self.told(measured), best, likeness)

    def _person(self, picture: FloatArray) -> FloatArray:
        found = identity_of(self.recogniser, picture, self.reader.fitted(picture))
        assert found is not None
        return found

    def _like_before(
        self, before: FloatArray, edited: FloatArray, measured: DoubleArray, target: DoubleArray
    ) -> tuple[FloatArray, DoubleArray]:
        """A latent that shows the person again, and what it measures; the edited one where that loses the edit."""
        assert self.recogniser is not None
        points = self.reader.fitted(self.draw(edited)).landmarks
        moved = like_before(self.generator, edited, self._person(self.draw(before)), points, self.recogniser)
        try:
            found = self.reader.read(self.draw(moved))
        except FaceError:
            return edited, measured
        allowed = np.maximum(2 * np.array([TOLERANCE[name] for name in ATTRIBUTES]), np.abs(target - measured))
        asked = target != measured
        kept = (np.abs(target - found) <= allowed)[asked].all()
        return (moved, found) if kept else (edited, measured)

    def told(self, attributes: DoubleArray) -> dict[str, float]:
        """Attributes by name."""
        values = dict(zip(ATTRIBUTES, attributes.tolist(), strict=True))
        return {name: round(v, 4) for name, v in (*values.items(), ("unevenness", self.reader.unevenness(attributes)))}

    def _rounds(
        self, latent: FloatArray, asked: Mapping[str, float]
    ) -> Iterator[tuple[FloatArray, DoubleArray, float]]:
        """Latents, what they measure, and how far that is from what is asked for, in deviations."""
        spread, tolerance = self.edits.spread, np.array([TOLERANCE[name] for name in ATTRIBUTES])
        for number in range(self.rounds + 1):
            try:
                measured = self.reader.read(self.draw(latent))
            except FaceError:
                if number == 0:
                    raise
                return
            target = wanted(measured, asked)
            yield latent, measured, float((((target - measured) / spread) ** 2).sum())
            if (np.abs(target - measured) <= tolerance).all():
                return
            latent = latent + self.edits.shift(latent, measured, target)


def attribute_settings() -> MorphableFitSettings:
    """How the head is fitted whose expression is read: with fewer rounds than a head that is shown."""
    return MorphableFitSettings(iterations=4)
