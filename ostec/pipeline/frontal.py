"""The frontal portrait of a finished face: the whole photo turned, or the head on plain ground where that cannot be."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ostec.complete.frontal import DrawnHead, FrontalPicture, frontal_picture
from ostec.complete.settings import TurnSettings
from ostec.core.device import threads
from ostec.core.types import FittedFace, FloatArray, PhotoAround, ProjectedView, Topology
from ostec.detect.iris import seen_eyes
from ostec.export.pictures import FRONTAL_SIZE, GROUND, FaceRenderer, camera_of_portrait
from ostec.export.surfaces import Surface, with_texture
from ostec.mask.person import photo_around
from ostec.pipeline.models import Models

logger = logging.getLogger(__name__)

TURNED, PLAIN, GENERATED = "turned photo", "plain ground", "generator"
"""How a portrait was made, as the record says it."""
NO_HEAD_REASON = "there is no head (--face-model none)"


@dataclass(frozen=True)
class Sitter:
    """Whose frontal portrait is made: from a completion or from its files."""

    face: FittedFace
    texture: FloatArray
    """[S, S, 3] in [0, 1] of the face."""
    topology: Topology
    head: Sequence[Surface] = ()
    """What is drawn of the head; nothing where there is none."""
    around: PhotoAround | None = None
    """What the photo shows round the face."""


@dataclass(frozen=True)
class Portrait:
    """A frontal portrait."""

    picture: FloatArray
    """[P, P, 3] in [0, 1]."""
    guess: FloatArray
    """[P, P] in [0, 1]: how far each pixel of the person is not the photo's."""
    way: str
    reason: str = ""
    """Why it has no hair and background."""

    @property
    def record(self) -> dict[str, Any]:
        """What NAME.json says of it."""
        said = {"way": self.way, "guessed": round(float(self.guess.mean()), 4)}
        return {**said, "reason": self.reason} if self.reason else said


@dataclass(frozen=True)
class FrontalSource:
    """What a projection contributed to a frontal portrait before face and head are drawn."""

    picture: FloatArray | None = None
    """[H, W, 3] in [0, 1]: the whole portrait, of a generator that draws such."""
    texture: FloatArray | None = None
    """[S, S, 3]: the face's texture as a projection corrected it for the portrait."""
    view: ProjectedView | None = None
    """The projection that made or corrected it, if there was one."""

    def portrait(
        self, renderer: FaceRenderer, sitter: Sitter, settings: TurnSettings, size: int = FRONTAL_SIZE
    ) -> Portrait:
        """The portrait of a face, of ``size`` x ``size`` pixels where it is not a generator's."""
        if self.picture is not None:
            return Portrait(self.picture, np.ones(self.picture.shape[:2], np.float32), GENERATED)
        if self.texture is not None:
            sitter = replace(sitter, texture=self.texture, head=with_texture(sitter.head, self.texture))
        return turned_portrait(renderer, sitter, settings, size)


@threads(1)
def look_around(models: Models, photo: FloatArray, face: FittedFace) -> PhotoAround | None:
    """What a photo [H, W, 3] shows round a face; None without the networks that look for it."""
    if models.person is None or models.iris is None:
        return None
    return replace(photo_around(photo, face, models.person), eyes=seen_eyes(photo, face, models.iris))


@threads(1)
def turned_portrait(renderer: FaceRenderer, sitter: Sitter, settings: TurnSettings, size: int) -> Portrait:
    """Turn the photo to the front; its head alone where the photo is turned too far, or there is none."""
    face = sitter.face
    drawn = renderer.portrait(face, sitter.texture, size=size, head=sitter.head)
    yaw = abs(face.pose_deg[1])
    reason = NO_HEAD_REASON if sitter.around is None or not sitter.head else ""
    if yaw > settings.most_yaw_deg:
        most = f"{settings.most_yaw_deg:.0f}"
        reason = f"the face is turned by {yaw:.0f} degrees, and hair and background are turned up to {most}"
    if reason or sitter.around is None:
        level = logging.INFO if reason == NO_HEAD_REASON else logging.WARNING
        logger.log(level, "The frontal portrait shows the person on plain ground: %s.", reason)
        shown = (np.abs(drawn - GROUND).max(-1) > 0).astype(np.float32)
        return Portrait(drawn, shown, PLAIN, reason)
    corners = np.concatenate([surface.corners for surface in sitter.head])
    mesh = face.vertices[sitter.topology.triangles]
    head = DrawnHead(camera_of_portrait(face, size=size), drawn, GROUND, corners, mesh)
    made: FrontalPicture = frontal_picture(sitter.around, face, head, settings)
    return Portrait(made.picture, made.guess, TURNED)
