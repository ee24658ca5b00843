"""From a photo to observed faces: read, detect, fit, unwrap, mask. Completing, inverting and evaluating begin here."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from scipy import ndimage

from ostec.core.assets import sha256_of
from ostec.core.device import threads
from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun
from ostec.core.types import BoolArray, FaceBox, FittedFace, FloatArray, ObservedFace, UvObservation
from ostec.detect.faces import detect_faces, detect_turned_faces
from ostec.detect.landmarks import detect_landmarks
from ostec.detect.settings import DetectSettings
from ostec.fit.dense import fit_dense
from ostec.io.images import as_picture, count_frames, decode_image, read_image
from ostec.mask.covers import Cover, find_cover
from ostec.mask.hands import detect_hands, hand_mask
from ostec.mask.mosaic import find_mosaic
from ostec.mask.parsing import ParsedFace, bare_face, believed
from ostec.mask.skin import face_mask, mask_guide, surround_colours
from ostec.pipeline.guesses import DOUBTFUL, HARD, guesses
from ostec.pipeline.models import Models
from ostec.pipeline.settings import ObserveSettings
from ostec.project.identity import identity_of
from ostec.render.crops import five_points
from ostec.render.unwrap import Unwrapper, resize_map

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage

MIN_CONFIDENCE = 0.5
"""FaceMesh's probability below which a detected box is taken for no face, unless the detector is certain."""
CERTAIN = 0.95
"""The detector's probability from which a face may be one that FaceMesh does not know: it misses the mouth under a
mask. Of 101 pictures without a face none has more than 0.87."""
MAX_YAW_DEG = 62.0
"""Fitted yaw beyond which the face counts as a full profile. FaceMesh turns too little: a head drawn at 45, 60, 70, 80
and 90 degrees is fitted at 38, 51, 58, 64 and 64."""
OTHER_TURNS = (2, 1, 3)
"""Quarter turns of the photo in which faces are looked for when those of the photo as it is are doubtful."""
NEAR = 2.0
"""Sides of a doubtful detection from its middle to the border of what is looked at turned."""
REFUSED = 20.0
"""Doubt above which the best landmarks are refused. A head turned by 60 degrees has 12, a portrait stretched to twice
its width 17, a face at a roll of 45 degrees up to 18; landmarks across two heads have 36 or more."""
REFUSED_FITTING = 25.0
"""The same where the mesh fits as it does in good portraits: covers move the detector's points. The mesh that lies
across two heads does not fit (2.8 % or more in 40 pictures)."""
FITTING = 2.5
"""Residual up to which it does, in per cent of the distance between the eyes."""
MOST_COVERED = 0.7
"""Covered share from which a face without eyes, nose and mouth is refused."""
WHOLE_MEGAPIXELS = 25.0
"""Larger photos are read at half their size: 100 megapixels would take 3.6 GB."""
MASK_SIZE = 256
HIDDEN = 0.5
"""Least trust in a pixel that is looked at, where somebody else says how far each is trusted."""
RETREAT = 5 / 256
"""Width in UV of the neighbourhood that a hidden texel takes with it."""
FRAMES_TRIED = 12
"""Further frames of an animation in which a face is looked for if the first has none."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class ReadPhoto:
    """A photo and what its record says of where it came from."""

    image: FloatArray
    """[H, W, 3] in [0, 1]."""
    source: dict[str, str]
    """``source`` and ``source_sha256``."""
    notes: tuple[str, ...] = ()
    """What the user should know of how it was read, one sentence each."""


@dataclass(frozen=True)
class PhotoBytes:
    """A photo's file."""

    data: bytes
    name: str
    """For the record and for errors."""


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo in the layout, and what of it is bare face."""

    seen: UvObservation
    occluders: tuple[str, ...] = ()
    """Names of what was found in front of the face."""
    parsing: str = "none"
    """Which network parsed the photo."""
    warnings: tuple[str, ...] = ()
    """What the user should know of that."""
    cover: Cover = field(default_factory=Cover)
    """What hides the face."""


@dataclass(frozen=True)
class FoundFace:
    """One face of a photo."""

    box: FaceBox
    confidence: float
    """FaceMesh's, 0 to 1."""
    face: FittedFace

    @property
    def deviation(self) -> float:
        """Root mean square distance of the landmarks from the detector's five points, in sides of its box."""
        apart = five_points(self.face.landmarks)[:, :2] - self.box.points
        return float(np.sqrt((apart**2).sum(axis=1).mean())) / self.box.side

    @property
    def doubt(self) -> float:
        """The deviation in per cent times the fit's residual: 2 or 3 in portraits, 10 or more if the face is missed."""
        return 100 * self.deviation * self.face.residual

    @property
    def sure(self) -> bool:
        """Whether both networks are sure that it is a face."""
        return self.confidence >= MIN_CONFIDENCE and self.box.confidence >= DetectSettings.thresholds[-1]


@dataclass
class Tried(Generic[_T]):
    """The faces of a photo, tried in order until as many are done as are wanted.

    A false detection can be larger than the face: the next one is tried then.
    """

    boxes: Sequence[FaceBox]
    wanted: int
    results: list[_T] = field(default_factory=list)
    errors: list[FaceError] = field(default_factory=list)
    """Of those that could not be done."""

    def __iter__(self) -> Iterator[FaceBox]:
        """The faces that are still to be tried."""
        for box in self.boxes:
            if len(self.results) >= self.wanted:
                return
            yield box

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Try one: what cannot be done is noted."""
        try:
            yield
        except FaceError as error:
            self.errors.append(error)


PhotoLike: TypeAlias = "str | Path | bytes | FloatArray | torch.Tensor | PilImage | PhotoBytes | ReadPhoto"
"""What a photo may be: a path, a file's bytes, a PIL image, a NumPy array or a tensor (``io.images.as_picture``)."""


def read_photo(photo: PhotoLike, frame: int = 0) -> ReadPhoto:
    """Read a photo, of a file with several frames one; or take it as it is if it was read before.

    Raises:
        ImageError: the file cannot be read.
        TypeError, ValueError: as ``io.images.as_picture``.
    """
    if isinstance(photo, ReadPhoto):
        return photo
    notes: list[str] = []
    if isinstance(photo, bytes):
        photo = PhotoBytes(photo, "bytes")
    if isinstance(photo, PhotoBytes):
        digest = hashlib.sha256(photo.data).hexdigest()
        image = decode_image(photo.data, photo.name, whole_megapixels=WHOLE_MEGAPIXELS, frame=frame, notes=notes)
        return ReadPhoto(image, {"source": photo.name, "source_sha256": digest}, tuple(notes))
    if isinstance(photo, str | Path):
        path = Path(photo)
        image = read_image(path, whole_megapixels=WHOLE_MEGAPIXELS, frame=frame, notes=notes)
        return ReadPhoto(image, {"source": path.name, "source_sha256": sha256_of(path)}, tuple(notes))
    picture = as_picture(photo)
    digest = hashlib.sha256(np.ascontiguousarray(picture).tobytes()).hexdigest()
    return ReadPhoto(picture, {"source": "array", "source_sha256": digest})


def further_frames(photo: PhotoLike) -> list[int]:
    """Numbers of the frames behind a photo's first in which a face may be looked for, evenly spread."""
    if isinstance(photo, PhotoBytes):
        photo = photo.data
    count = (
        count_frames(Path(photo) if isinstance(photo, str) else photo) if isinstance(photo, str | Path | bytes) else 1
    )
    return sorted({*np.linspace(1, count - 1, FRAMES_TRIED, dtype=int).tolist()}) if count > 1 else []


@threads(1)
def find_face(
    image: FloatArray, box: FaceBox, models: Models, run: PhotoRun, settings: ObserveSettings | None = None
) -> FoundFace:
    """Fit the mesh to what was detected; the stages landmarks and fit.

    MTCNN also detects faces that lie on their side or upside down, but takes them for upright ones, and the landmarks
    follow. If detector, landmarks and fit disagree, the face is detected again in the photo turned by 180, 90 and 270
    degrees, and the turn where they agree best counts.

    Raises:
        FaceError: it is no face, or seen nearly from the side, or the landmarks are not those of the detected face.
    """
    settings = settings or ObserveSettings()
    tried = Tried[FoundFace]([box], 1)
    with tried.attempt():
        tried.results.append(_fit_face(image, box, models, run, settings))
    if not tried.results or tried.results[0].doubt > DOUBTFUL:
        run.enter("landmarks")
        for other in turned_faces(image, models, settings, box):
            if not _overlap(box, other):
                continue
            with tried.attempt():
                tried.results.append(_fit_face(image, other, models, run, settings))
    if not tried.results:
        raise tried.errors[0]
    found = min(tried.results, key=lambda face: face.doubt)
    yaw = found.face.pose_deg[1]
    if abs(yaw) > MAX_YAW_DEG:
        raise FaceError(
            f"The face is nearly in profile (yaw {abs(yaw):.0f} degrees; at most {MAX_YAW_DEG:.0f} can be used)."
        )
    if found.doubt > (REFUSED_FITTING if found.face.residual <= FITTING else REFUSED):
        raise FaceError(
            f"The landmarks do not match the detected face (they deviate by {100 * found.deviation:.0f} % of its "
            f"size, the fit by {found.face.residual:.1f} % of the distance between the eyes); something may cover the "
            "face."
        )
    return found


def _fit_face(image: FloatArray, box: FaceBox, models: Models, run: PhotoRun, settings: ObserveSettings) -> FoundFace:
    """Fit the mesh to one detection. Raises FaceError: it is no face."""
    run.enter("landmarks")
    landmarks = detect_landmarks(image, box, models.facemesh, settings.landmarks)
    if landmarks.confidence < MIN_CONFIDENCE and box.confidence < CERTAIN:
        raise FaceError(f"What was detected does not look like a face (confidence {landmarks.confidence:.2f}).")
    run.enter("fit")
    return FoundFace(box, landmarks.confidence, fit_dense(landmarks, models.topology, settings.mesh))


def turned_faces(
    image: FloatArray, models: Models, settings: ObserveSettings, near: FaceBox | None = None
) -> list[FaceBox]:
    """What the detector finds in the photo turned by 180, 90 and 270 degrees, in the frame of the photo as it is.

    Args:
        image: [H, W, 3] in [0, 1].
        models: with the detector.
        settings: of the detector.
        near: look only about this detection; a crowd has many that are doubtful.
    """
    corner = np.zeros(2, np.float32)
    if near is not None:
        size = np.array(image.shape[1::-1])
        middle = (near.box[:2] + near.box[2:]) / 2
        low = np.clip(np.floor(middle - NEAR * near.side), 0, size - 1).astype(int)
        high = np.clip(np.ceil(middle + NEAR * near.side), low + 1, size).astype(int)
        image, corner = image[low[1] : high[1], low[0] : high[0]], low.astype(np.float32)
    faces = [face for turns in OTHER_TURNS for face in detect_turned_faces(image, models.mtcnn, settings.detect, turns)]
    return [replace(face, box=face.box + np.tile(corner, 2), points=face.points + corner) for face in faces]


def _overlap(one: FaceBox, other: FaceBox) -> bool:
    """Whether the centre of either box lies in the other."""

    def holds(box: FloatArray, corners: FloatArray) -> bool:
        centre = (corners[:2] + corners[2:]) / 2
        return bool((box[:2] <= centre).all() and (centre <= box[2:]).all())

    return holds(one.box, other.box) or holds(other.box, one.box)


class Observer:
    """Brings the faces of photos into one topology's layout; holds what is computed once."""

    def __init__(
        self, models: Models, size: int, device: torch.device | str = "cpu", settings: ObserveSettings | None = None
    ) -> None:
        """Observe with the networks of ``models``, at ``size`` texels."""
        self.models, self.size = models, size
        self.unwrapper = Unwrapper(models.topology, device)
        self.settings = settings or ObserveSettings()
        self._guide = mask_guide(models.topology, self.unwrapper.layout(MASK_SIZE).inside.cpu().numpy())
        prior = models.prior
        self.guide = self._guide if prior is None else mask_guide(models.topology, prior.inside)
        """What the layout knows of faces, at the prior's size if there is one."""

    @threads(1)
    def detect(self, photo: FloatArray) -> list[FaceBox]:
        """The faces of a photo, largest first; if none is upright, those in the photo turned, then what might be one.

        Raises:
            FaceError: there is none.
        """
        boxes = detect_faces(photo, self.models.mtcnn, self.settings.detect)
        if not boxes:
            for face in sorted(turned_faces(photo, self.models, self.settings), key=lambda face: -face.confidence):
                if not any(_overlap(face, kept) for kept in boxes):
                    boxes.append(face)
        if not boxes:
            weak = replace(self.settings.detect, thresholds=self.settings.detect.weak)
            boxes = detect_faces(photo, self.models.mtcnn, weak)
        if not boxes:
            raise FaceError("No face was found in the photo.")
        return sorted(boxes, key=lambda face: -face.area)

    def open(self, photo: PhotoLike, run: PhotoRun) -> tuple[ReadPhoto, list[FaceBox]]:
        """Read a photo and find its faces; the stages read and detect. Of several frames the first with a face counts.

        Raises:
            ImageError, TypeError, ValueError: as :func:`read_photo`.
            FaceError: as :meth:`detect`.
        """
        run.enter("read")
        read = read_photo(photo)
        run.enter("detect")
        try:
            return read, self.detect(read.image)
        except FaceError:
            for frame in further_frames(photo):
                read = read_photo(photo, frame)
                with suppress(FaceError):
                    boxes = self.detect(read.image)
                    note = f"The first frame shows no face, so frame {frame + 1} was taken."
                    return replace(read, notes=(*read.notes, note)), boxes
            raise

    def observe(
        self, photo: FloatArray, box: FaceBox, run: PhotoRun, trusted: FloatArray | None = None
    ) -> ObservedFace:
        """Fit, unwrap and mask one face; the stages landmarks, fit, unwrap and mask.

        Args:
            photo: [H, W, 3] in [0, 1].
            box: what was detected.
            run: told how far it is.
            trusted: [H, W, 1] in [0, 1], how far somebody else trusts each pixel; what is not trusted is not looked at
                once the face is found.

        Raises:
            FaceError: as :func:`find_face`, or ``trusted`` or what covers it leaves nothing of the face.
        """
        found = find_face(photo, box, self.models, run, self.settings)
        shown = photo if trusted is None else without_hidden(photo, trusted)
        run.enter("unwrap")
        seen = self.unwrap(shown, found.face)
        run.enter("mask")
        masked = self.mask(shown, found.face, seen, trusted)
        if trusted is not None and not ((masked.seen.mask > HIDDEN) & seen.visible).any():
            raise FaceError("The mask leaves nothing of the face.")
        if masked.cover.share > MOST_COVERED and {"eyes", "nose", "mouth"} <= set(masked.cover.parts):
            raise FaceError(
                f"Something covers nearly all of the face ({100 * masked.cover.share:.0f} %), or it is none."
            )
        generator = self.models.generator
        said = guesses(
            found.face,
            found.box,
            found.doubt,
            photo.shape[:2],
            masked.seen,
            masked.cover,
            self.models.topology,
            generator.generator.shape.resolution if generator is not None else 0,
        )
        return ObservedFace(
            photo=shown,
            box=found.box,
            confidence=found.confidence,
            face=found.face,
            seen=masked.seen,
            coarse=self.coarse(shown, found.face, masked.seen),
            occluders=masked.occluders,
            parsing=masked.parsing,
            identity=identity_of(self.models.recogniser, shown, found.face),
            warnings=(*(() if found.sure else (HARD,)), *said, *masked.warnings),
        )

    def unwrap(self, photo: FloatArray, face: FittedFace) -> UvObservation:
        """Read the photo at every texel; its mask is still the whole chart."""
        return self.unwrapper.unwrap(photo, face, self.size)

    def coarse(self, photo: FloatArray, face: FittedFace, seen: UvObservation) -> UvObservation:
        """The photo in the layout at the prior's size, with the mask of ``seen``."""
        small = self.unwrapper.unwrap(photo, face, len(self.guide.inside))
        return replace(small, mask=resize_map(seen.mask, small.size))

    def mask(
        self, image: FloatArray, face: FittedFace, seen: UvObservation, trusted: FloatArray | None = None
    ) -> MaskedPhoto:
        """Find out what of the unwrapped photo is bare face.

        Args:
            image: the photo.
            face: its face.
            seen: the photo in the layout.
            trusted: [H, W, 1] in [0, 1], how far somebody else trusts each pixel; what is not is not looked at.
        """
        small = self.unwrapper.unwrap(image, face, MASK_SIZE)
        pixels = (face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]).astype(np.float32)
        up = face.camera_matrix[:2, 1].astype(np.float32)
        surround = surround_colours(image, pixels, up)
        allowed = np.ones_like(small.mask)
        free = self._free_of_hands(image, face)
        if free is not None:
            trusted = free if trusted is None else trusted * free
        if trusted is not None:
            allowed = retreated(self.unwrapper.unwrap(trusted, face, MASK_SIZE))
            small = replace(small, visible=small.visible & (allowed >= HIDDEN))
            surround = surround[surround_colours(trusted, pixels, up)[:, 0] >= HIDDEN]
        parsed = self._parsed(image, face, small)
        if parsed.bare is not None:
            allowed = np.minimum(allowed, parsed.bare)
            small = replace(small, visible=small.visible & (parsed.bare >= HIDDEN))
        squares = self._squares(image, face)
        with threads(1):
            cover = find_cover(small, self._guide, self.models.covers, self.settings.covers, squares)
        if cover.free is not None:
            allowed = np.minimum(allowed, cover.free)
            small = replace(small, visible=small.visible & (cover.free >= HIDDEN))
        found = face_mask(small, self._guide, surround, self.settings.mask)
        seen = replace(seen, mask=resize_map(found.mask * allowed, seen.size) * seen.inside)
        named = {"spectacles": found.spectacles.any(), "hand": free is not None, "cover": cover.free is not None}
        return MaskedPhoto(seen, tuple(k for k, v in named.items() if v), parsed.name, parsed.warnings, cover)

    @threads(1)
    def _free_of_hands(self, image: FloatArray, face: FittedFace) -> FloatArray | None:
        """How far no hand lies on each pixel, [H, W, 1] in [0, 1]; None if none lies on the face."""
        if self.models.hands is None:
            return None
        hands = detect_hands(image, face.landmarks, self.models.hands, self.settings.hands)
        if not hands:
            return None
        free = 1 - hand_mask(image.shape[:2], hands, self.settings.hands)[..., None]
        shown = self.unwrapper.unwrap(free, face, MASK_SIZE)
        return free if (shown.visible & (shown.colour[..., 0] < HIDDEN)).any() else None

    def _squares(self, image: FloatArray, face: FittedFace) -> BoolArray | None:
        """Texels [S, S] in which the photo is a mosaic; None if there are none."""
        found = find_mosaic(image, face.landmarks, self.settings.mosaic)
        if not found.any():
            return None
        shown = self.unwrapper.unwrap(np.repeat(found[..., None], 3, -1).astype(np.float32), face, MASK_SIZE)
        return np.asarray(shown.colour[..., 0] > HIDDEN)

    def _parsed(self, image: FloatArray, face: FittedFace, small: UvObservation) -> ParsedFace:
        """What the parsing says of the texels that the photo shows; nothing where there is none, or where it errs."""
        network = self.models.parsing
        if network is None:
            return ParsedFace()
        bare = bare_face(image, five_points(face.landmarks), network)
        return believed(retreated(self.unwrapper.unwrap(bare, face, MASK_SIZE)), small, self._guide, network.name)


def retreated(trusted: UvObservation) -> FloatArray:
    """A picture of trust [S, S] in the layout, stepped back from what is not trusted, in steps of 1 / 255.

    Where trusted and other pixels mix in one texel its colour is between both. What was not seen is as its neighbours.
    """
    if not trusted.visible.any():
        return np.zeros(trusted.inside.shape, np.float32)
    nearest = ndimage.distance_transform_edt(~trusted.visible, return_distances=False, return_indices=True)
    values = np.round(trusted.colour[nearest[0], nearest[1], 0] * 255) / 255
    return np.asarray(ndimage.minimum_filter(values, round(RETREAT * trusted.size) | 1), np.float32)


def without_hidden(image: FloatArray, trusted: FloatArray) -> FloatArray:
    """The photo with the mean of its other pixels where it is not trusted: nothing there can have a say."""
    hidden = trusted[..., 0] == 0
    rest = image[~hidden]
    return np.where(hidden[..., None], rest.mean(0) if len(rest) else HIDDEN, image).astype(np.float32)
