"""Which terms of the projection look at whole pictures, given what is loaded, and what the record says of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ostec.core.types import FloatArray, ProjectedView
from ostec.nets.dlib_face import FaceRecogniser
from ostec.nets.facemesh import FaceMesh
from ostec.nets.stylegan2 import Discriminator
from ostec.project.identity import identity_crop, identity_loss
from ostec.project.objective import ProjectionTarget
from ostec.project.settings import ProjectionSettings
from ostec.project.terms import PictureTerm, landmark_term, realism_term

IDENTITY_EVERY = 5
"""Iterations between two looks of the recogniser: of ArcFace, one costs a CPU as much as ten of the generator."""
LEAST_SHOWN = 0.9
"""Share of the landmarks that a picture must show or guess: FaceMesh misplaces those of half a face."""
_NONE = "none"


@dataclass(frozen=True)
class Judging:
    """Builds the terms of a view."""

    facemesh: FaceMesh
    """Finds landmarks in what was generated."""
    recogniser: FaceRecogniser | None = None
    """Says who a face is."""
    judge: Discriminator | None = None
    """The generator's discriminator, if it judges whole pictures."""

    def terms(
        self,
        points: FloatArray,
        target: ProjectionTarget,
        settings: ProjectionSettings,
        identity: FloatArray | None = None,
    ) -> tuple[PictureTerm, ...]:
        """The terms whose weight is not zero and whose networks are there.

        Args:
            points: [468, >= 2] the face's landmarks in the picture, in its pixels.
            target: the picture.
            settings: the weights.
            identity: [K] whose face it is, from ``identity_of`` with the same network.
        """
        found = []
        network = self.recogniser
        if settings.landmarks > 0 and _shown(points, target) >= LEAST_SHOWN:
            where = torch.as_tensor(points[:, :2], device=target.image.device)[None]
            found.append(landmark_term(self.facemesh, target.image, where, settings.landmarks))
        # A code of another network, out of an older result, says nothing to this one.
        if settings.identity > 0 and network is not None and identity is not None and len(identity) == network.codes:
            size = target.image.shape[-1]
            shrunk = min(settings.side, size) / size  # to the pixels of what is compared
            crop = identity_crop(points * shrunk, network)
            wanted = torch.from_numpy(identity).to(target.image)
            loss = identity_loss(network, wanted, crop)
            found.append(PictureTerm("identity", settings.identity, loss, IDENTITY_EVERY))
        if settings.realism > 0 and self.judge is not None:
            found.append(realism_term(self.judge, settings.realism))
        return tuple(found)

    def described(self, views: Sequence[ProjectedView]) -> dict[str, str]:
        """Term -> the network that judged it in these views, ``none`` where nobody did: for NAME.json."""
        judges = {
            "landmarks": "FaceMesh",
            "identity": self.recogniser.name if self.recogniser is not None else _NONE,
            "realism": "the generator's discriminator",
        }
        return {term: name if any(term in v.losses for v in views) else _NONE for term, name in judges.items()}


def _shown(points: FloatArray, target: ProjectionTarget) -> float:
    """Share of the landmarks that lie where the picture is known or guessed."""
    x, y = np.floor(points[:, :2]).astype(int).T
    known = (target.trust + target.guessed)[0, 0].cpu().numpy()
    within = (x >= 0) & (y >= 0) & (x < known.shape[1]) & (y < known.shape[0])
    return float(np.where(within, known[y * within, x * within] > 0, False).mean())
