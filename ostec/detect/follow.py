"""One face followed from picture to picture: the landmarks of one say where to look in the next."""

import numpy as np

from ostec.core.types import ByteArray, DoubleArray, FaceBox, FaceLandmarks
from ostec.detect.landmarks import crop_around_landmarks
from ostec.detect.settings import FollowSettings
from ostec.nets.facemesh import INPUT_SIZE, FrozenFaceMesh
from ostec.render.crops import Crop, crop_around_face, warp_bytes


class Follower:
    """Follows one face; where it is lost, somebody must detect it again."""

    def __init__(self, network: FrozenFaceMesh, settings: FollowSettings) -> None:
        """Follow nothing yet."""
        self._network, self._settings = network, settings
        self._crop: Crop | None = None
        self._misses = 0
        self.fresh = True
        """Whether the next picture is the first after a detection."""

    @property
    def lost(self) -> bool:
        """Whether nothing is followed."""
        return self._crop is None

    @property
    def middle(self) -> DoubleArray | None:
        """[2] of where the face is looked for; None where nothing is followed."""
        return None if self._crop is None else np.array(self._crop.center)

    def begin(self, face: FaceBox) -> None:
        """Follow what was detected."""
        self._crop, self._misses, self.fresh = crop_around_face(face, self._settings.expand_box, INPUT_SIZE), 0, True

    def drop(self) -> None:
        """Follow nothing any more."""
        self._crop = None

    def __call__(self, image: ByteArray) -> FaceLandmarks | None:
        """The landmarks in the next picture [H, W, 3]; None where the face cannot be seen."""
        crop, landmarks = self._crop, None
        for _ in range(2 if self.fresh else 1):  # the detector's box says less than landmarks do
            if crop is None:
                return None
            landmarks, crop = self._look(image, crop)
        if landmarks is None or crop is None or not self._inside(image, crop):
            self._misses += 1
            if self._misses >= self._settings.patience:
                self._crop = None
            return None
        self._crop, self._misses, self.fresh = crop, 0, False
        return landmarks

    def _look(self, image: ByteArray, crop: Crop) -> tuple[FaceLandmarks | None, Crop | None]:
        found = self._network(warp_bytes(image, crop))
        confidence = float(found.confidence)
        if not confidence >= self._settings.confidence:
            return None, None
        points = (found.points[0].double().numpy() @ crop.axes.T + crop.offset).astype(np.float32)
        return FaceLandmarks(points, confidence), crop_around_landmarks(points, self._settings.expand)

    @staticmethod
    def _inside(image: ByteArray, crop: Crop) -> bool:
        """Whether the middle of the region is still in the picture."""
        x, y = crop.center
        return 0 <= x <= image.shape[1] and 0 <= y <= image.shape[0]
