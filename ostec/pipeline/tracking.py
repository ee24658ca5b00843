"""From a moving picture to a moving head: follow faces, learn each head once, fit pose and expression to each frame."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from ostec.core.assets import load_manifest
from ostec.core.device import threads
from ostec.core.errors import FaceError, UsageError
from ostec.core.record import RunRecord
from ostec.core.settings import NO_HEAD, to_json
from ostec.core.types import (
    EYES,
    ByteArray,
    CompletedTexture,
    DoubleArray,
    FaceBox,
    FaceLandmarks,
    FittedFace,
    FloatArray,
    TexturedFace,
    Topology,
)
from ostec.detect.faces import detect_faces
from ostec.detect.follow import Follower
from ostec.detect.iris import LIDS, eye_crop, iris_in
from ostec.export.mesh import read_npz
from ostec.export.record import versions
from ostec.export.track import TrackRow
from ostec.fit.dense import face_from_camera, fit_dense
from ostec.fit.symmetry import landmarks_by_symmetry
from ostec.fit.tracking import HeadTracker, OneEuro, OneEuroRotation, TrackedHead, View, both_ways
from ostec.heads.maker import HeadMaker, described
from ostec.heads.parts import EYE_JOINTS, Head
from ostec.heads.rig import ARKIT, JAW_OPEN
from ostec.io.images import as_picture
from ostec.io.video import Frame
from ostec.load.networks import load_iris
from ostec.load.tracking import MANIFEST, read_response
from ostec.nets.facemesh import FrozenFaceMesh
from ostec.nets.iris import INPUT_SIZE as IRIS_SIZE
from ostec.nets.tflite import scripted
from ostec.pipeline.completer import Completer
from ostec.pipeline.models import load_head_maker
from ostec.pipeline.observe import PhotoLike
from ostec.pipeline.settings import CompleteSettings, TrackSettings
from ostec.pipeline.transfer import read_result
from ostec.render.crops import warp_bytes
from ostec.render.geometry import smoothstep

logger = logging.getLogger(__name__)

_ABOVE = (3, 4, 5)
"""Places in an eye's outline on the middle of the upper lid; as far from the outline's end are those below them."""
INNER_LIPS = (13, 14)
LEFT_RIGHT = ("Right", "Left")
"""The head's side of each eye, the one on the image's left first."""
CLOSED, OPEN = 0.4, 0.7
"""Opening of the lids, as a share of that at rest, at which an eye is shut, and from which it does not blink."""
RESTING = 0.25
"""Value up to which an expression in the frames at rest is how the face is, rather than what it does."""
REST_FRAMES = 7
"""Frames whose mean is the face at rest."""
SEARCH_FOR_OTHERS_S = 1.0
FOCAL = 0.8
"""Focal length of the camera, in longer sides of the picture: as phones and webcams have it. The distance from the
camera depends on it, and how far a face beside the picture's middle is turned."""
IRIS_MM = 14.0
"""From the middle of an eyeball to its iris; outer eye corners are 90 mm apart, as nearly as in people."""
LOOK_DEG = {"Up": 25.0, "Down": 30.0, "Out": 35.0, "In": 35.0}
"""Angle of an eye at which ARKit's value is 1."""
REST_CUTOFF_HZ = 1.0
"""Cut-off at rest of a strength of 0.5."""
ROTATION_BETA, PLACE_BETA, EXPRESSION_BETA, EYES_BETA = 0.3, 0.1, 4.0, 0.1
"""Growth of the cut-off in Hz per degree, millimetre, unit and degree a second."""
BLINK_FACTOR = 10.0
"""Blinks last a tenth of a second: their cut-off is that much higher."""
HOLD_S, FADE_S = 0.3, 0.5
"""How long an unseen face stays as it was, and how long it takes to come to rest then."""


@dataclass
class _Seen:
    """What the follower found in a frame."""

    index: int
    time_s: float
    view: View
    landmarks: FaceLandmarks | None
    irises: tuple[DoubleArray | None, DoubleArray | None]
    """Middles in the picture, image-left eye first."""
    begins: bool
    """Whether it has nothing to do with the frame before."""


@dataclass
class Person:
    """One face of the recording: what was learnt of it, and its rows."""

    number: int
    follower: Follower
    waiting: list[_Seen] = field(default_factory=list)
    """Frames before the head is known."""
    best: tuple[float, int, FaceLandmarks, ByteArray] | None = None
    """The best frame so far: how good, which, its landmarks, its picture."""
    neutral: list[tuple[float, FaceLandmarks]] = field(default_factory=list)
    """Frames of a face at rest: how good, landmarks."""
    head: Head | None = None
    eyes: dict[str, DoubleArray] = field(default_factory=dict)
    """Middle of each eyeball [3], canonical millimetres, by its joint's name."""
    ahead: DoubleArray = field(default_factory=lambda: np.zeros((2, 2)))
    """[2, 2] degrees of both eyes as found when the face was at rest."""
    texture_frame: int = -1
    """Frame that was completed."""
    tracker: HeadTracker | None = None
    open_eyes: DoubleArray = field(default_factory=lambda: np.ones(2))
    """[2]: opening of each eye at rest, as a share of its width."""
    rows: list[TrackRow] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Tracker:
    """Tracks the faces of one recording; feed it frame by frame."""

    def __init__(
        self, completer: Completer, maker: HeadMaker, settings: TrackSettings, finished: TexturedFace | None = None
    ) -> None:
        """Prepare.

        Args:
            completer: has detector and landmarks, and completes the best frame.
            maker: of the heads.
            settings: of the run.
            finished: the face whose head moves, in place of the best frame's.

        Raises:
            UsageError: the face model has no expressions of ARKit's.
        """
        if JAW_OPEN not in maker.model.expression_names:
            raise UsageError(f"The face model {maker.model.name} has none of ARKit's expressions: take head or ict.")
        self.models, self.maker, self.settings = completer.models, maker, settings
        self._completer, self._finished = completer, finished
        self._fused: RunRecord = {}
        iris = load_iris(torch.device("cpu")).to(memory_format=torch.channels_last)
        self._iris = scripted(iris, torch.zeros(1, 3, IRIS_SIZE, IRIS_SIZE).to(memory_format=torch.channels_last))
        self._network = FrozenFaceMesh(self.models.facemesh)
        self._live = Smoother(settings.smooth) if settings.smooth else None
        self.response = read_response()
        self.people: list[Person] = []
        self._searched = -np.inf
        self._histogram: FloatArray | None = None

    @classmethod
    def from_pretrained(cls, settings: TrackSettings, device: str = "auto", result: str | None = None) -> "Tracker":
        """Load what is needed, and the finished face of ``result`` (NAME.json), if there is one.

        Raises:
            AssetError, BackendError: as :meth:`Completer.from_pretrained`.
            OutputError, ImageError: the result cannot be read.
            UsageError: the face model cannot be tracked.
        """
        made = CompleteSettings(
            iterations=0, face_model=NO_HEAD, uv_size=settings.uv_size, faces=settings.faces, observe=settings.observe
        )
        completer = Completer.from_pretrained(made, device)
        finished = (
            None if result is None else finished_face(Path(result).with_suffix(".json"), completer.models.topology)
        )
        return cls(completer, load_head_maker(settings.face_model), settings, finished)

    def take_texture(self, photos: Sequence[PhotoLike]) -> None:
        """Fuse and complete the recording's best frames before it is tracked; their texture is everybody's.

        Raises:
            FaceError, ImageError: none can be used.
        """
        made = self._completer.fuse(photos)
        self._finished, self._fused = made.textured, made.record

    @threads(1)
    def feed(self, frame: Frame, live: bool = False) -> list[TrackRow | None]:
        """Track one frame; a row for each person, None while its head is not known yet.

        Args:
            frame: later than the one before.
            live: whether rows are steadied at once, by those before them.
        """
        image = frame.image
        view = View(FOCAL * max(image.shape[:2]), (image.shape[1] / 2, image.shape[0] / 2))
        cut = self._is_cut(image)
        if cut:
            for person in self.people:
                person.follower.drop()
            self._searched = -np.inf
        self._search(frame)
        found: list[TrackRow | None] = []
        for person in self.people:
            begins = cut or person.follower.fresh
            landmarks = person.follower(image)
            irises = (None, None) if landmarks is None else self._irises(image, landmarks)
            row = self._learn(person, frame, _Seen(frame.index, frame.time_s, view, landmarks, irises, begins))
            if row is not None and live and self._live is not None and person is self.people[0]:
                row = person.rows[-1] = self._live.live(row)
            found.append(row)
        return found

    def finish(self) -> None:
        """No frame follows: heads that are not known yet are made of what was seen."""
        for person in self.people:
            if person.tracker is None and person.best is not None:
                self._calibrate(person, person.best)

    def smoothed(self, person: Person) -> list[TrackRow]:
        """A whole recording's rows, steadied without lag."""
        return Smoother(self.settings.smooth).whole(person.rows) if self.settings.smooth else person.rows

    # --- following ---

    def _is_cut(self, image: ByteArray) -> bool:
        """Whether the scene changes: by the histogram of every 16th pixel's green."""
        shown = image[::16, ::16, 1]
        histogram = np.bincount(shown.ravel() >> 3, minlength=32) / shown.size
        last, self._histogram = self._histogram, histogram.astype(np.float32)
        return last is not None and np.abs(histogram - last).sum() / 2 > self.settings.follow.cut

    def _search(self, frame: Frame) -> None:
        """Look for faces where one is lost, or none has been found."""
        follow, everybody = self.settings.follow, self.settings.faces == "all"
        lost = [person for person in self.people if person.follower.lost]
        due = follow.search_s if lost or not self.people else SEARCH_FOR_OTHERS_S
        if not (lost or not self.people or everybody) or frame.time_s - self._searched < due:
            return
        self._searched = frame.time_s
        boxes = self._detect(frame.image)
        taken = [person.follower.middle for person in self.people if not person.follower.lost]
        boxes = [box for box in boxes if not any(_holds(box, middle) for middle in taken if middle is not None)]
        for person in lost:
            if boxes:
                person.follower.begin(boxes.pop(0))
        if everybody or not self.people:
            for box in boxes if everybody else boxes[:1]:
                self.people.append(Person(len(self.people) + 1, Follower(self._network, follow)))
                self.people[-1].follower.begin(box)

    def _detect(self, image: ByteArray) -> list[FaceBox]:
        """Faces, largest first."""
        settings = self.settings.observe.detect
        side = self.settings.follow.search_side
        small = replace(settings, max_side=side, min_face_size=max(settings.min_face_size, side / 20))
        faces = detect_faces(as_picture(image), self.models.mtcnn, small)
        return sorted(faces, key=lambda face: -face.area)

    # --- learning a head ---

    def _learn(self, person: Person, frame: Frame, seen: _Seen) -> TrackRow | None:
        if person.tracker is None:
            person.waiting.append(seen)
            if seen.landmarks is not None:
                self._remember(person, frame, seen.landmarks)
            known = len(person.neutral) >= self.settings.learn_frames
            if person.best is not None and (known or len(person.waiting) >= self.settings.learn_at_most):
                self._calibrate(person, person.best)
                return person.rows[-1]
            return None
        return self._add(person, seen)

    def _remember(self, person: Person, frame: Frame, landmarks: FaceLandmarks) -> None:
        """Keep what is worth learning from."""
        try:
            face = fit_dense(landmarks, self.models.topology, self.settings.observe.mesh)
        except FaceError:
            return
        pitch, yaw, _ = face.pose_deg
        apart = np.linalg.norm(face.landmarks[INNER_LIPS[0]] - face.landmarks[INNER_LIPS[1]]) / face.scale
        turned = float(np.hypot(yaw, pitch))
        rest = (
            landmarks.confidence
            - turned / 60
            - float(apart) / 20
            + 0.5 * min(float(lid_openings(face.landmarks).min()), 0.3)
        )
        wanted = self.settings.neutral
        if wanted == "auto" or int(wanted) == frame.index:
            person.neutral.append((rest, landmarks))
        score = rest + 0.1 * float(np.log1p(_sharpness(frame.image, face)))
        if person.best is None or score > person.best[0]:
            person.best = score, frame.index, landmarks, frame.image

    def _calibrate(self, person: Person, best: tuple[float, int, FaceLandmarks, ByteArray]) -> None:
        """Complete the face of the best frame, make its head, and track the frames that waited for that."""
        _, index, landmarks, image = best
        person.neutral.sort(key=lambda one: -one[0])
        rest = [one for _, one in person.neutral[:REST_FRAMES]] or [landmarks]
        if not person.neutral:
            person.warnings.append(f"Frame {self.settings.neutral} does not show the face, so others were its rest.")
        faces = [fit_dense(one, self.models.topology, self.settings.observe.mesh) for one in rest]
        points = np.mean([landmarks_by_symmetry(face, self.models.topology) for face in faces], axis=0)
        textured = self._finished or self._completed(person, image, landmarks)
        if self._finished is None:
            shaped = replace(textured.face, vertices=(self.models.topology.operator @ points).astype(np.float32))
            textured = replace(textured, face=shaped)
        person.head, person.texture_frame = self.maker(textured), index
        rig = person.head.rig
        if rig is None:
            raise ValueError("expected a head with a rig")
        joints = rig.joints
        person.eyes = {
            name: joints.places[joints.names.index(name)].astype(np.float64)
            for name in EYE_JOINTS
            if name in joints.names
        }
        shown = np.maximum(rig.values - RESTING, 0) if self.settings.neutral == "auto" else 0 * rig.values
        moved = self.maker.correspondence.points(rig.offsets @ shown)
        person.open_eyes = np.median([lid_openings(face.landmarks) for face in faces], axis=0)
        rigid = self.models.topology.rigid_weight
        person.tracker = HeadTracker(points - moved, rigid, self.response, self.settings.fit)
        waiting, person.waiting = person.waiting, []
        logger.info("The head was learnt from %d frames; its texture is that of frame %d.", len(rest), index)
        rest_of = {id(one) for one in rest}
        gazes = [
            self._add(person, seen).eyes_deg
            for seen in waiting
            if seen.landmarks is not None
            and id(seen.landmarks) in rest_of
            and any(iris is not None for iris in seen.irises)
        ]
        # At rest a face looks ahead: what the eyes of this head show then is where its irises are.
        person.ahead = np.median(gazes, axis=0) if gazes else person.ahead
        person.rows.clear()
        person.tracker.forget()
        for seen in waiting:
            self._add(person, seen)

    def _completed(self, person: Person, image: ByteArray, landmarks: FaceLandmarks) -> TexturedFace:
        """The face of this person in a picture, completed."""
        middle = landmarks.points[:, :2].mean(0)
        faces = self._completer.complete_all(as_picture(image))
        nearest = min(faces, key=lambda one: float(np.linalg.norm(one.textured.face.landmarks[:, :2].mean(0) - middle)))
        person.warnings.extend(nearest.warnings)
        return nearest.textured

    # --- rows ---

    def _add(self, person: Person, seen: _Seen) -> TrackRow:
        """The row of one frame."""
        if person.tracker is None:
            raise ValueError("expected a head that is known")
        if seen.begins:
            person.tracker.forget()
        if seen.landmarks is None:
            row = _held(person.rows, seen)
        else:
            tracked = person.tracker(seen.landmarks.points, seen.view, seen.time_s)
            row = self._row(person, seen, seen.landmarks, tracked)
        person.rows.append(row)
        return row

    def _row(self, person: Person, seen: _Seen, landmarks: FaceLandmarks, tracked: TrackedHead) -> TrackRow:
        values = tracked.expression.astype(np.float32)
        closed = 1 - smoothstep(lid_openings(landmarks.points) / person.open_eyes, CLOSED, OPEN)
        for side, blink in zip(LEFT_RIGHT, closed, strict=True):
            k = ARKIT.index(f"eyeBlink{side}")
            values[k] = max(values[k], blink)
        eyes = self._gaze(person, seen, tracked)
        _look(values, eyes)
        return TrackRow(
            seen.index, seen.time_s, True, landmarks.confidence, tracked.rotation, tracked.place, values, eyes
        )

    def _irises(self, image: ByteArray, landmarks: FaceLandmarks) -> tuple[DoubleArray | None, DoubleArray | None]:
        """Middle of each iris [2] in the picture, image-left eye first; None where it was not found."""
        found: list[DoubleArray | None] = []
        for which in (0, 1):
            crop = eye_crop(landmarks.points, which, IRIS_SIZE)
            if crop is None:
                found.append(None)
                continue
            with torch.inference_mode():
                shown = warp_bytes(image, crop).to(memory_format=torch.channels_last)
                iris = iris_in(shown, self._iris, which)
            found.append(None if iris is None else np.asarray(crop.points_to_photo(iris[:2])))
        return found[0], found[1]

    def _gaze(self, person: Person, seen: _Seen, tracked: TrackedHead) -> DoubleArray:
        """[2, 2] pitch and yaw of the head's left and right eye; unseen as the other one, or as before."""
        turned: list[DoubleArray | None] = []
        for joint, iris in zip(EYE_JOINTS, reversed(seen.irises), strict=True):
            middle = person.eyes.get(joint)
            turned.append(None if iris is None or middle is None else _towards(iris, middle, tracked, seen.view))
        last = person.rows[-1].eyes_deg if person.rows else np.zeros((2, 2))
        eyes = [None if one is None else one - ahead for one, ahead in zip(turned, person.ahead, strict=True)]
        other = next((one for one in eyes if one is not None), None)
        return np.array(
            [
                one if one is not None else before if other is None else other
                for one, before in zip(eyes, last, strict=True)
            ]
        )

    def record(self, person: Person) -> RunRecord:
        """What NAME_track.json says of a person's track."""
        fused: RunRecord = {"photos": self._fused["photos"]} if "photos" in self._fused else {}
        return {
            **fused,
            "settings": to_json(self.settings),
            "device": str(self._completer.device),
            "threads": 1,
            "versions": versions(),
            "weights": {
                **self._completer.weights,
                **self.maker.hashes,
                MANIFEST: load_manifest(MANIFEST).files[0].sha256,
            },
            "face_model": described(person.head),
            "frames": {
                "count": len(person.rows),
                "seen": sum(row.seen for row in person.rows),
                "texture": -1 if self._finished is not None else person.texture_frame,
            },
            "focal": FOCAL,
            "warnings": [*self._fused.get("warnings", ()), *person.warnings],
        }


def finished_face(record: Path, topology: Topology) -> TexturedFace:
    """A result of ``ostec complete``, as far as a head is made of it. Raises OutputError or ImageError."""
    saved = read_result(record, topology)
    mesh = read_npz(record.with_suffix(".npz"))
    provenance = np.zeros(saved.texture.shape[:2], np.uint8)
    return TexturedFace(
        face_from_camera(saved.vertices, mesh.landmarks, mesh.camera_matrix),
        topology,
        CompletedTexture({"colour": saved.texture}, provenance),
    )


def lid_openings(points: FloatArray) -> DoubleArray:
    """[2]: how far each eye is open, as a share of its width, by landmarks [N, 3]; image-left eye first."""
    found = []
    for outline, corners in zip(LIDS, EYES, strict=True):
        width = np.linalg.norm(points[corners[0]] - points[corners[1]])
        gaps = [np.linalg.norm(points[outline[k]] - points[outline[-k]]) for k in _ABOVE]
        found.append(float(np.mean(gaps)) / max(float(width), 1e-6))
    return np.array(found)


def _towards(iris: DoubleArray, middle: DoubleArray, tracked: TrackedHead, view: View) -> DoubleArray:
    """Pitch and yaw [2] in degrees, against the head, of an eye whose iris is seen at a place [2] of the picture."""
    ball = tracked.rotation @ middle + tracked.place
    ray = np.array([*((iris - np.array(view.middle)) * [1, -1] / view.focal), -1.0])
    ray /= np.linalg.norm(ray)
    nearest = float(ray @ ball)
    aside = nearest * ray - ball
    depth = np.sqrt(max(IRIS_MM**2 - float(aside @ aside), 0.0))
    x, y, z = tracked.rotation.T @ (aside - depth * ray)
    return np.degrees([np.arctan2(y, np.hypot(x, z)), np.arctan2(x, z)])


def _look(values: FloatArray, eyes_deg: DoubleArray) -> None:
    """ARKit's eight values of where eyes look, from the eyes' angles, written into ``values`` [52]."""
    for side, (pitch, yaw) in zip(("Left", "Right"), eyes_deg, strict=True):
        out = yaw if side == "Left" else -yaw
        for name, angle in (("Up", pitch), ("Down", -pitch), ("Out", out), ("In", -out)):
            values[ARKIT.index(f"eyeLook{name}{side}")] = min(max(angle / LOOK_DEG[name], 0.0), 1.0)


def _held(rows: Sequence[TrackRow], seen: _Seen) -> TrackRow:
    """The row of a frame without the face: as before, then fading to rest."""
    last = next((row for row in reversed(rows) if row.seen), None)
    if last is None:
        return TrackRow(
            seen.index,
            seen.time_s,
            False,
            0.0,
            np.eye(3),
            np.zeros(3),
            np.zeros(len(ARKIT), np.float32),
            np.zeros((2, 2)),
        )
    share = 1 - smoothstep(np.array(seen.time_s - last.time_s), HOLD_S, HOLD_S + FADE_S)
    expression = (last.expression * share).astype(np.float32)
    return replace(last, index=seen.index, time_s=seen.time_s, seen=False, confidence=0.0, expression=expression)


def _holds(box: FaceBox, point: DoubleArray) -> bool:
    return bool((box.box[:2] <= point).all() and (point <= box.box[2:]).all())


def _sharpness(image: ByteArray, face: FittedFace) -> float:
    """Mean square of the Laplacian of the face's green."""
    low = np.maximum(face.landmarks[:, :2].min(0).astype(int), 0)
    high = face.landmarks[:, :2].max(0).astype(int)
    part = image[low[1] : high[1], low[0] : high[0], 1].astype(np.float32)
    if min(part.shape) < 3:
        return 0.0
    around = part[:-2, 1:-1] + part[2:, 1:-1] + part[1:-1, :-2] + part[1:-1, 2:]
    return float(((around - 4 * part[1:-1, 1:-1]) ** 2).mean())


class Smoother:
    """Steadies what is tracked: rotation, place and expressions, each by a filter of its own."""

    def __init__(self, strength: float) -> None:
        """``strength`` is 0 (not at all) to 1."""
        cutoff = max(REST_CUTOFF_HZ * (1 - strength) / max(strength, 1e-3), 0.1)
        blinks = np.array([BLINK_FACTOR if name.startswith("eyeBlink") else 1.0 for name in ARKIT])
        self.rotation = OneEuroRotation(cutoff, ROTATION_BETA)
        self.place = OneEuro(cutoff, PLACE_BETA)
        self.expression = OneEuro((cutoff * blinks).astype(np.float32), EXPRESSION_BETA)
        self.eyes = OneEuro(cutoff, EYES_BETA)

    def live(self, row: TrackRow) -> TrackRow:
        """A row steadied by those before it."""
        return replace(
            row,
            rotation=self.rotation(row.rotation, row.time_s),
            place=self.place(row.place, row.time_s),
            expression=np.asarray(self.expression(row.expression.astype(np.float64), row.time_s), np.float32),
            eyes_deg=self.eyes(row.eyes_deg, row.time_s),
        )

    def whole(self, rows: Sequence[TrackRow]) -> list[TrackRow]:
        """A recording steadied without lag."""
        if not rows:
            return []
        times = np.array([row.time_s for row in rows])
        rotations = both_ways(self.rotation, np.array([row.rotation for row in rows]), times)
        places = both_ways(self.place, np.array([row.place for row in rows]), times)
        expressions = both_ways(self.expression, np.array([row.expression for row in rows], np.float64), times)
        expressions = np.clip(expressions, 0, 1).astype(np.float32)
        eyes = both_ways(self.eyes, np.array([row.eyes_deg for row in rows]), times)
        return [
            replace(row, rotation=rotation, place=place, expression=expression, eyes_deg=turned)
            for row, rotation, place, expression, turned in zip(rows, rotations, places, expressions, eyes, strict=True)
        ]
