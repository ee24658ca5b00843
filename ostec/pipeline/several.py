"""Several photos, or a video, of one person: observed, of one head, those of other people left out, the best first."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ostec.core.assets import sha256_of, sha256_of_all
from ostec.core.errors import FaceError, ImageError, UsageError
from ostec.core.progress import PhotoRun
from ostec.core.record import RunRecord
from ostec.core.types import (
    EYE_CORNERS,
    ByteArray,
    FaceLandmarks,
    FittedFace,
    FloatArray,
    ObservedFace,
    Provenance,
)
from ostec.fit.dense import fit_dense
from ostec.fit.joint import JointFitter
from ostec.io.video import is_video_file
from ostec.nets.dlib_face import FaceRecogniser
from ostec.pipeline.figures import photo_figures
from ostec.pipeline.keyframes import choose_keyframes
from ostec.pipeline.observe import Observer, PhotoBytes, PhotoLike, ReadPhoto, Tried, read_photo
from ostec.project.identity import identity_of

logger = logging.getLogger(__name__)

MOST_PICTURES = 64
"""Photos that are fused at most: more add next to nothing."""
SAME_PERSON = 0.55
"""Median cosine to the other pictures' identities below which a face seems to be somebody else's. With dlib's network
one head has 0.71 or more between yaws of -45 and 45 degrees, and at most 0.41 to the two people in examples/."""
_LIPS = (13, 14)
_OPEN_MOUTH = 0.08
_ROOM = 0.15
"""What is kept of a photo round the mesh, in sides of its box."""


@dataclass(frozen=True)
class Picture:
    """One picture of the person."""

    photo: PhotoLike
    """As it was given, to be read again; of a video the frame itself."""
    source: dict[str, str]
    """``source`` and ``source_sha256``."""
    observed: ObservedFace
    """With the photo cut to the face, and its maps at the prior's size."""
    score: float
    """How good a reference it is."""


@dataclass(frozen=True)
class SeveralNetworks:
    """What only several pictures need; loaded on use."""

    fitter: Callable[[], JointFitter]
    recogniser: Callable[[], FaceRecogniser]


@dataclass(frozen=True)
class Several:
    """The pictures that are fused, the reference first, and what the user should know."""

    pictures: tuple[Picture, ...]
    warnings: tuple[str, ...]
    source: dict[str, str]
    """``source``, the reference's name, and ``source_sha256``, one for all that was given."""


def with_photos(record: RunRecord, several: Several, provenance: ByteArray) -> RunRecord:
    """The record of what was fused with the list of its photos, the legend of the provenance."""
    inside = provenance[(provenance != Provenance.OUTSIDE) & (provenance != Provenance.PADDING)]
    photos = []
    for number, one in enumerate(several.pictures):
        index = Provenance.PADDING + number if number else Provenance.PHOTO
        pose = [round(v, 2) for v in one.observed.face.pose_deg]
        share = round(float(np.mean(inside == index)), 4)
        photos.append({"provenance": int(index), **one.source, "pose_deg": pose, "share": share})
    return {**record, "photos": photos}


def is_video(photo: PhotoLike) -> bool:
    """Whether a photo is a path to a video."""
    return isinstance(photo, str | Path) and is_video_file(Path(photo))


def _digest_of(photo: PhotoLike) -> str:
    """The SHA-256 of what was given, whether it could be used or not; empty for what is not there."""
    if isinstance(photo, str | Path):
        return sha256_of(Path(photo)) if Path(photo).is_file() else ""
    if isinstance(photo, bytes | PhotoBytes):
        return hashlib.sha256(photo if isinstance(photo, bytes) else photo.data).hexdigest()
    return read_photo(photo).source["source_sha256"]


def _name_of(photo: PhotoLike) -> str:
    if isinstance(photo, PhotoBytes):
        return photo.name
    return Path(photo).name if isinstance(photo, str | Path) else "A picture"


def observe_several(
    observer: Observer,
    photos: Sequence[PhotoLike],
    networks: SeveralNetworks,
    reference: "PhotoLike | None",
    run: PhotoRun,
) -> Several:
    """Observe the largest face of each photo and the keyframes of each video; all get the depth of one shared head.

    What cannot be used is left out, with a sentence. Neither order nor doubles change what comes out. The reference is
    observed once more, whole and at the texture's size.

    Args:
        observer: of the completion.
        photos: one or more.
        networks: what is loaded where there are several pictures.
        reference: the one of the photos whose light and expression count; the best frontal one if None.
        run: told how far it is; a video is observed in the stage ``read``.

    Raises:
        FaceError, ImageError: no photo can be used; the first one's error.
        UsageError: the reference cannot be used.
    """
    run.enter("read")
    found, left_out, errors = _observed(observer, photos, run)
    left_out.sort()
    if not found:
        raise errors[0]
    found.sort(key=lambda one: (-one.score, one.source["source_sha256"], one.source["source"]))
    if len(found) > MOST_PICTURES:
        left_out.append(f"{len(found) - MOST_PICTURES} pictures were left out: the {MOST_PICTURES} best are enough.")
        del found[MOST_PICTURES:]
    if reference is not None:
        wanted = read_photo(reference).source["source_sha256"]
        first = [one for one in found if one.source["source_sha256"] == wanted]
        if not first:
            raise UsageError(f"The reference cannot be used: it is none of the photos. {' '.join(left_out)}".rstrip())
        found = [*first[:1], *(one for one in found if one is not first[0])]
    run.enter("fit")
    if len(found) > 1:
        found, strangers = _of_one_person(found, networks, observer, keep_first=reference is not None)
        left_out += [f"{one.source['source']} was left out: it seems to show another person." for one in strangers]
    run.enter("unwrap")
    whole = _whole(found[0], observer, one_of_several=len(found) > 1)
    digest = sha256_of_all([_digest_of(photo) for photo in photos])
    return Several((whole, *found[1:]), tuple(left_out), {**whole.source, "source_sha256": digest})


def _whole(picture: Picture, observer: Observer, one_of_several: bool) -> Picture:
    """A picture observed once more, its photo not cut and its maps at the texture's size."""
    depth = picture.observed.face.landmarks[:, 2]
    whole = _picture(picture.photo, observer, PhotoRun(None), small=False)
    return replace(whole, observed=with_depth(whole.observed, depth, observer)) if one_of_several else whole


def _observed(
    observer: Observer, photos: Sequence[PhotoLike], run: PhotoRun
) -> tuple[list[Picture], list[str], list[Exception]]:
    """The pictures that show a face, and of the others a sentence and the error each."""
    found: list[Picture] = []
    left_out: list[str] = []
    errors: list[Exception] = []
    known: set[str] = set()
    for number, photo in enumerate(photos):

        def report(share: float, number: int = number) -> None:
            run.advance((number + share) / len(photos))

        try:
            pictures = _pictures(photo, observer, report, left_out)
        except (FaceError, ImageError) as error:
            errors.append(error)
            left_out.append(f"{_name_of(photo)} was left out: {error}")
            continue
        new = [one for one in pictures if one.source["source_sha256"] not in known]
        known |= {one.source["source_sha256"] for one in new}
        found += new
    return found, left_out, errors


def _pictures(photo: PhotoLike, observer: Observer, report: Callable[[float], None], notes: list[str]) -> list[Picture]:
    """A photo's picture, or those of a video. Raises FaceError, ImageError."""
    if not is_video(photo):
        report(0.0)
        return [_picture(photo, observer, PhotoRun(None))]
    assert isinstance(photo, str | Path)
    path = Path(photo)
    chosen = choose_keyframes(path, observer.models, lambda share: report(share / 2))
    if chosen.broken:
        notes.append(f"{path.name} breaks off before its end; what there is of it was used.")
    digest, found = sha256_of(path), []
    for number, frame in enumerate(chosen.frames):
        report(0.5 + number / len(chosen.frames) / 2)
        image = frame.image.astype(np.float32) / np.float32(255)
        read = ReadPhoto(image, {"source": f"{path.name} at {frame.time_s:.2f} s", "source_sha256": digest})
        try:
            found.append(_picture(read, observer, PhotoRun(None)))
        except FaceError as error:
            logger.debug("%s was left out: %s", read.source["source"], error)
    if not found:
        raise FaceError(f"No frame of {path.name} shows a face well.")
    return found


def _picture(photo: PhotoLike, observer: Observer, run: PhotoRun, small: bool = True) -> Picture:
    """Observe the largest face that can be. Raises FaceError, ImageError."""
    read, boxes = observer.open(photo, run)
    tried = Tried[ObservedFace](boxes, 1)
    for box in tried:
        with tried.attempt():
            tried.results.append(observer.observe(read.image, box, run))
    if not tried.results:
        raise tried.errors[0]
    (observed,) = tried.results
    score = _score(observed)
    if small:
        cut, corner = _cut(observed)
        observed = replace(observed, photo=cut, face=_moved(observed.face, corner), seen=observed.coarse)
    return Picture(photo, read.source, observed, score)


def _score(observed: ObservedFace) -> float:
    """How good a reference a picture is: frontal, sharp, whole, sure and with a closed mouth."""
    pitch, yaw, _ = np.radians(observed.face.pose_deg)
    shown = observed.coarse.visible & (observed.coarse.mask > 0.5)
    sharpness = photo_figures(observed.coarse.colour, shown).get("sharpness", 0.0)
    points = observed.face.landmarks
    apart = [float(np.linalg.norm(points[a] - points[b])) for a, b in (_LIPS, EYE_CORNERS)]
    closed = 1 / (1 + (apart[0] / max(apart[1], 1e-6) / _OPEN_MOUTH) ** 2)
    whole = float(shown.sum() / max(observed.coarse.inside.sum(), 1))
    return float(np.cos(yaw) ** 4 * np.cos(pitch) ** 2 * sharpness * whole * observed.confidence * closed)


def _cut(observed: ObservedFace) -> tuple[FloatArray, FloatArray]:
    """The photo round the mesh, and where its top-left corner lies, (x, y)."""
    face, size = observed.face, np.array(observed.photo.shape[1::-1])
    pixel = face.vertices @ face.camera_matrix[:2, :3].T + face.camera_matrix[:2, 3]
    room = _ROOM * float((pixel.max(0) - pixel.min(0)).max())
    low, high = (np.clip(edge, 0, size).astype(int) for edge in (pixel.min(0) - room, pixel.max(0) + room))
    return np.ascontiguousarray(observed.photo[low[1] : high[1], low[0] : high[0]]), low.astype(np.float32)


def _moved(face: FittedFace, corner: FloatArray) -> FittedFace:
    """A face in a photo that was cut at a corner (x, y)."""
    camera = face.camera_matrix.copy()
    camera[:2, 3] -= corner
    return replace(face, landmarks=face.landmarks - np.array([*corner, 0], np.float32), camera_matrix=camera)


def _of_one_person(
    pictures: Sequence[Picture], networks: SeveralNetworks, observer: Observer, keep_first: bool
) -> tuple[list[Picture], list[Picture]]:
    """The pictures of the person that most of them show, with the depth of the shared head; and those of others."""
    kept, strangers = list(pictures), list[Picture]()
    topology = observer.models.topology
    identities = [_identity(one.observed, networks.recogniser) for one in kept]
    while (worst := stranger_among(np.stack(identities), keep_first)) is not None:
        strangers.append(kept.pop(worst))
        del identities[worst]
    if len(kept) == 1:
        return kept, strangers
    depths = networks.fitter().fit([one.observed.face for one in kept], topology).depths
    return [_with_depth(one, depth, observer) for one, depth in zip(kept, depths, strict=True)], strangers


def stranger_among(identities: FloatArray, keep_first: bool = False) -> int | None:
    """The picture that is least likely of the person that most of the others show, if it seems to be somebody else's.

    Two pictures say nothing about which of them is meant.

    Args:
        identities: [P, K] of unit length, as the recogniser gives them.
        keep_first: the first one counts as the person.
    """
    if len(identities) < 3:
        return None
    cosine = identities @ identities.T
    likeness = np.array([np.median(np.delete(row, k)) for k, row in enumerate(cosine)])
    if keep_first:
        likeness[0] = 1.0
    worst = int(likeness.argmin())
    return worst if likeness[worst] < SAME_PERSON else None


def _identity(observed: ObservedFace, recogniser: Callable[[], FaceRecogniser]) -> FloatArray:
    found = observed.identity
    if found is None:
        found = identity_of(recogniser(), observed.photo, observed.face)
    assert found is not None
    return found


def _with_depth(picture: Picture, depth: FloatArray, observer: Observer) -> Picture:
    observed = with_depth(picture.observed, depth, observer)
    return replace(picture, observed=observed)


def with_depth(observed: ObservedFace, depth: FloatArray, observer: Observer) -> ObservedFace:
    """An observed face whose landmarks have another depth [N], in pixels: what it hides and how it slants changes."""
    points = np.column_stack([observed.face.landmarks[:, :2], depth]).astype(np.float32)
    face = fit_dense(FaceLandmarks(points, observed.confidence), observer.models.topology)
    seen, coarse = (
        replace(observer.unwrapper.unwrap(observed.photo, face, one.size), mask=one.mask)
        for one in (observed.seen, observed.coarse)
    )
    return replace(observed, face=face, seen=seen, coarse=coarse)
