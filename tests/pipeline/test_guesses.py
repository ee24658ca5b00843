"""A sentence for every guess, and none without one."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import FaceBox, FloatArray, ObservedFace, Topology
from ostec.fit.dense import stretch_of
from ostec.mask.covers import Cover
from ostec.pipeline import Completer
from ostec.pipeline.guesses import far_half, guesses, outside_share


@pytest.fixture(scope="module")
def observed(completer: Completer, astronaut: FloatArray) -> ObservedFace:
    from ostec.core.progress import PhotoRun

    observer = completer.observer
    return observer.observe(astronaut, observer.detect(astronaut)[0], PhotoRun(None))


def told(observed: ObservedFace, topology: Topology, **changes: object) -> list[str]:
    given: dict = {
        "face": observed.face,
        "box": observed.box,
        "doubt": 1.0,
        "size": observed.photo.shape[:2],
        "seen": observed.seen,
        "cover": Cover(),
        "topology": topology,
        "pictures_px": 128,
    }
    return guesses(**{**given, **changes})


def test_a_good_portrait_has_none(observed: ObservedFace, completer: Completer) -> None:
    assert told(observed, completer.models.topology, pictures_px=64) == []


def test_each_guess_is_told(observed: ObservedFace, completer: Completer) -> None:
    topology, face = completer.models.topology, observed.face
    small = FaceBox(np.array([0, 0, 60, 70], np.float32), 1.0, observed.box.points)
    dark = replace(observed.seen, colour=observed.seen.colour * 0.1)
    wide = replace(face, landmarks=face.landmarks * np.array([2, 1, 1], np.float32))
    low = int(face.landmarks[:, 1].max() - 0.25 * np.ptp(face.landmarks[:, 1]))
    cases = {
        "only 70 pixels": {"box": small},
        "pictures 512": {"pictures_px": 512},
        "outside the picture": {"size": (low, observed.photo.shape[1])},
        "covers the mouth and chin (20 %": {"cover": Cover(observed.seen.mask, ("mouth", "chin"), 0.2)},
        "deep shadow": {"seen": dark},
        "times too wide": {"face": wide},
        "may not be this face's": {"doubt": 8.0},
    }
    for words, changes in cases.items():
        sentences = told(observed, topology, **{"pictures_px": 64, **changes})
        assert len(sentences) == 1, (words, sentences)
        assert words in sentences[0]


@pytest.mark.parametrize(("yaw_deg", "sentences"), [(-50.0, 1), (50.0, 1), (44.0, 0)])
def test_of_a_texture_the_far_half_is_a_guess(observed: ObservedFace, yaw_deg: float, sentences: int) -> None:
    said = far_half(replace(observed.face, pose_deg=(0.0, yaw_deg, 0.0)))
    assert said == ["The face is turned by 50 degrees: the far half of the texture is a guess."][:sentences]


def test_a_stretch_is_seen_however_the_head_is_turned(completer: Completer) -> None:
    topology = completer.models.topology
    mean = topology.mean_landmarks.astype(np.float64)
    for yaw in (0.0, 0.5):
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        points = (mean @ turn.T * [1, -1, -1]).astype(np.float32)
        assert stretch_of(points, topology) == pytest.approx(1, abs=1e-3)
        assert stretch_of(points * np.array([1.5, 1, 1], np.float32), topology) == pytest.approx(1.5, abs=1e-3)


def test_the_share_outside_is_that_of_the_vertices(observed: ObservedFace) -> None:
    height, width = observed.photo.shape[:2]
    assert outside_share(observed.face, (height, width)) == 0
    assert outside_share(observed.face, (1, 1)) == 1
