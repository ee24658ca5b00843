"""The way of a photo as far as its face in the layout."""

from dataclasses import dataclass

from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun
from ostec.core.types import BoolArray, FittedFace, FloatArray, UvObservation
from ostec.detect.landmarks import detect_landmarks_in, whole_image
from ostec.eval.report.drawing import SEEN_COSINE
from ostec.fit.dense import fit_dense
from ostec.pipeline.observe import MAX_YAW_DEG, MIN_CONFIDENCE, FoundFace, Observer, Tried, find_face
from ostec.prior.linear import prior_weight

DETECTOR, WHOLE_PICTURE = "detector", "whole picture"
BARE = 0.5
"""Mask above which a texel counts as bare face."""


@dataclass(frozen=True)
class Sight:
    """A photo's face and what of it the photo shows."""

    face: FittedFace
    seen: UvObservation
    """Its mask says what is bare face."""
    region: str
    """Where the landmarks were looked for: ``DETECTOR`` or ``WHOLE_PICTURE``."""

    @property
    def shown(self) -> BoolArray:
        """[S, S]: texels that the photo shows, not too steeply, as bare face."""
        seen = self.seen
        return seen.visible & (seen.cosine > SEEN_COSINE) & (seen.mask > BARE)

    @property
    def weight(self) -> FloatArray:
        """[S, S] in [0, 1]: trust in each texel, as the prior sees it."""
        seen = self.seen
        return prior_weight(seen.cosine, seen.visible, seen.margin_mm) * seen.mask


def look(image: FloatArray, observer: Observer, aligned: bool = False) -> Sight:
    """Find the face of a photo and bring it into the layout, at the observer's size. Raises FaceError.

    Args:
        image: [H, W, 3] in [0, 1].
        observer: with the networks.
        aligned: take the whole picture for the face where the detector finds none, as in a portrait that it fills.
    """
    face, region = _find(image, observer, aligned)
    return Sight(face, observer.mask(image, face, observer.unwrap(image, face)).seen, region)


def _find(image: FloatArray, observer: Observer, aligned: bool) -> tuple[FittedFace, str]:
    models = observer.models
    try:
        tried = Tried[FoundFace](observer.detect(image), 1)
        for box in tried:
            with tried.attempt():
                tried.results.append(find_face(image, box, models, PhotoRun(None), observer.settings))
        if not tried.results:
            raise tried.errors[0]
        return tried.results[0].face, DETECTOR
    except FaceError:
        if not aligned:
            raise
    landmarks = detect_landmarks_in(image, whole_image(image.shape[1], image.shape[0]), models.facemesh)
    if landmarks.confidence < MIN_CONFIDENCE:
        raise FaceError("No face was found in the photo.")
    face = fit_dense(landmarks, models.topology)
    if abs(face.pose_deg[1]) > MAX_YAW_DEG:
        raise FaceError(f"The face is nearly in profile (yaw {abs(face.pose_deg[1]):.0f} degrees).")
    return face, WHOLE_PICTURE
