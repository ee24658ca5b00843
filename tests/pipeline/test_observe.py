"""Faces that are not upright in the photo, and landmarks that are not those of the detected face."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun
from ostec.core.types import FaceBox, FaceLandmarks, FloatArray
from ostec.detect.landmarks import detect_landmarks
from ostec.pipeline import Completer, observe
from ostec.pipeline.guesses import HARD
from ostec.pipeline.observe import DOUBTFUL, FoundFace, Observer, find_face


@pytest.fixture(scope="module")
def observer(completer: Completer) -> Observer:
    return completer.observer


@pytest.fixture(scope="module")
def photo(astronaut: FloatArray) -> FloatArray:
    """A photo that is wider than high, its face left of the middle."""
    return np.ascontiguousarray(astronaut[:260, 100:400])


@pytest.fixture(scope="module")
def upright(observer: Observer, photo: FloatArray) -> FoundFace:
    return found_in(photo, observer)


def found_in(photo: FloatArray, observer: Observer) -> FoundFace:
    (box,) = observer.detect(photo)
    return find_face(photo, box, observer.models, PhotoRun(None))


def roll_apart(one: FoundFace, other: FoundFace) -> float:
    """Degrees, 0 to 360."""
    return (one.face.pose_deg[2] - other.face.pose_deg[2]) % 360


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_turned_photo_gives_the_upright_texture(
    observer: Observer, photo: FloatArray, upright: FoundFace, turns: int
) -> None:
    turned = np.ascontiguousarray(np.rot90(photo, turns))
    found = found_in(turned, observer)
    assert abs(abs(roll_apart(found, upright)) - {1: 90, 2: 180, 3: 270}[turns]) < 2
    expected, seen = observer.unwrap(photo, upright.face), observer.unwrap(turned, found.face)
    both = expected.visible & seen.visible
    assert both.sum() > 0.98 * expected.visible.sum()
    error = ((expected.colour - seen.colour)[both] ** 2).mean()
    assert -10 * np.log10(error) > 30


def test_an_upright_face_is_not_looked_for_in_the_turned_photo(
    observer: Observer, photo: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "detect_turned_faces", lambda *_: pytest.fail("looked in the turned photo"))
    found = found_in(photo, observer)
    assert found.doubt < DOUBTFUL
    (box,) = observer.detect(photo)
    np.testing.assert_array_equal(found.box.box, box.box)


def test_a_face_that_is_detected_only_in_the_turned_photo_is_found(
    observer: Observer, photo: FloatArray, upright: FoundFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "detect_faces", lambda *_: [])
    height, width = photo.shape[:2]
    (box,) = observer.detect(np.ascontiguousarray(photo[::-1, ::-1]))
    x0, y0, x1, y1 = upright.box.box
    np.testing.assert_allclose(box.box, [width - x1, height - y1, width - x0, height - y0], atol=1e-3)


def test_a_doubtful_face_is_looked_for_turned_only_where_it_is(
    observer: Observer, photo: FloatArray, upright: FoundFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a large photo, its face upside down in one corner."""
    large = np.full((900, 1100, 3), 0.5, np.float32)
    large[600:860, 780:1080] = photo[::-1, ::-1]
    looked: list[tuple[int, ...]] = []
    detect = observe.detect_turned_faces

    def noted(image: FloatArray, *rest: Any) -> list[FaceBox]:
        looked.append(image.shape)
        return detect(image, *rest)

    monkeypatch.setattr(observe, "detect_turned_faces", noted)
    box = replace(
        upright.box,
        box=np.float32([1080, 860] * 2) - upright.box.box[[2, 3, 0, 1]],
        points=np.float32([1080, 860]) - upright.box.points[[4, 3, 2, 1, 0]],  # taken for an upright face
    )
    found = find_face(large, box, observer.models, PhotoRun(None))
    assert abs(roll_apart(found, upright) - 180) < 2
    expected = np.float32([1080, 860]) - upright.face.landmarks[:, :2]
    assert np.abs(found.face.landmarks[:, :2] - expected).max() < 0.02 * upright.box.side
    assert len(looked) == 3
    assert max(side for shape in looked for side in shape[:2]) <= 4 * upright.box.side + 2


def test_landmarks_of_another_place_are_refused(
    observer: Observer, photo: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(image: FloatArray, box: FaceBox, *rest: Any) -> FaceLandmarks:
        found = detect_landmarks(image, box, *rest)
        return replace(found, points=found.points + np.float32([0.3 * box.side, 0, 0]))

    monkeypatch.setattr(observe, "detect_landmarks", elsewhere)
    sentence = (
        r"^The landmarks do not match the detected face \(they deviate by (29|30|31) % of its size, the fit by "
        r"\d\.\d % of the distance between the eyes\); something may cover the face\.$"
    )
    with pytest.raises(FaceError, match=sentence):
        found_in(photo, observer)


def test_doubt_is_deviation_times_residual(upright: FoundFace) -> None:
    exact = replace(upright.box, points=observe.five_points(upright.face.landmarks)[:, :2])
    apart = replace(exact, points=exact.points + exact.side * np.array([0.03, 0.04]))
    face = replace(upright.face, residual=3.0)
    assert replace(upright, box=exact, face=face).doubt == 0
    moved = replace(upright, box=apart, face=face)
    assert moved.deviation == pytest.approx(0.05)
    assert moved.doubt == pytest.approx(15)


@pytest.mark.parametrize(
    ("residual", "doubt", "refused"), [(2.4, 24.0, False), (2.4, 26.0, True), (2.6, 24.0, True), (2.6, 19.0, False)]
)
def test_more_doubt_is_allowed_where_the_mesh_fits(
    observer: Observer,
    upright: FoundFace,
    photo: FloatArray,
    monkeypatch: pytest.MonkeyPatch,
    residual: float,
    doubt: float,
    refused: bool,
) -> None:
    exact = observe.five_points(upright.face.landmarks)[:, :2]
    away = np.float32([doubt / 100 / residual * upright.box.side, 0])
    given = replace(upright, box=replace(upright.box, points=exact + away))
    given = replace(given, face=replace(given.face, residual=residual))
    monkeypatch.setattr(observe, "_fit_face", lambda *_: given)
    monkeypatch.setattr(observe, "turned_faces", lambda *_: [])
    if refused:
        with pytest.raises(FaceError, match=r"^The landmarks do not match"):
            found_in(photo, observer)
    else:
        assert found_in(photo, observer).doubt == pytest.approx(doubt)


@pytest.mark.parametrize(("detector", "refused"), [(0.94, True), (0.96, False)])
def test_a_face_that_facemesh_does_not_know_counts_if_the_detector_is_certain(
    observer: Observer,
    upright: FoundFace,
    photo: FloatArray,
    monkeypatch: pytest.MonkeyPatch,
    detector: float,
    refused: bool,
) -> None:
    def unknown(*arguments: Any) -> FaceLandmarks:
        return replace(detect_landmarks(*arguments), confidence=0.3)

    monkeypatch.setattr(observe, "detect_landmarks", unknown)
    monkeypatch.setattr(observe, "turned_faces", lambda *_: [])
    box = replace(upright.box, confidence=detector)
    if refused:
        with pytest.raises(FaceError, match=r"does not look like a face \(confidence 0\.30\)"):
            observer.observe(photo, box, PhotoRun(None))
    else:
        assert observer.observe(photo, box, PhotoRun(None)).warnings == (HARD,)


def test_what_might_be_a_face_is_looked_at_where_there_is_no_other(
    observer: Observer, upright: FoundFace, photo: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cascade gives the face only at the lower thresholds."""
    weak = replace(upright.box, confidence=0.5)

    def half_sure(image: FloatArray, networks: Any, settings: Any, *_: Any) -> list[FaceBox]:
        return [weak] if settings.thresholds == settings.weak else []

    monkeypatch.setattr(observe, "detect_faces", half_sure)
    monkeypatch.setattr(observe, "turned_faces", lambda *_: [])
    assert observer.detect(photo) == [weak]
