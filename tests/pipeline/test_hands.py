"""Hands before the face: what they cover is no photo's in the texture, and the record says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostec.core.types import FloatArray, Provenance
from ostec.pipeline import CompletedFace, Completer
from tests.mask.drawn_hand import draw_hand, hand_points

ASTRONAUT = Path(__file__).parents[2] / "examples/astronaut.png"
SKIN = (0.9, 0.68, 0.56)


@pytest.fixture(scope="module")
def blind(completer: Completer) -> Completer:
    """The same without the networks for hands."""
    return Completer(replace(completer.models, hands=None), completer.settings, completer.device, [])


@pytest.fixture(scope="module")
def bare(blind: Completer, astronaut: FloatArray) -> CompletedFace:
    return blind(astronaut)


def from_photo(face: CompletedFace) -> np.ndarray:
    return face.textured.completed.provenance == Provenance.PHOTO


def test_fingers_flat_on_the_cheek_are_taken_out_with_the_rest_kept(
    completer: Completer, blind: Completer, astronaut: FloatArray, bare: CompletedFace
) -> None:
    landmarks = bare.textured.face.landmarks
    height = float(np.ptp(landmarks[:, 1]))
    points = hand_points((landmarks[4, 0] + 0.5 * height, landmarks[4, 1] + 0.75 * height), 0.35 * height, -25)
    drawn = draw_hand(astronaut, points, SKIN)
    covered = (np.abs(drawn - astronaut).max(axis=2, keepdims=True) > 0).astype(np.float32)
    found, missed = completer(drawn), blind(drawn)
    assert found.record["occluders"] == ["hand"]
    assert "hand" not in missed.record["occluders"]
    # The layout of the hand, by the fit of the astronaut that shows it.
    hand = completer.observer.unwrapper.unwrap(covered, found.textured.face, 256)
    under = hand.visible & (hand.colour[..., 0] > 0.5) & (hand.cosine > 0.5)
    assert under.sum() > 500
    assert from_photo(missed)[under].mean() > 0.5
    assert from_photo(found)[under].mean() < 0.01
    away = hand.visible & (hand.colour[..., 0] == 0)
    assert from_photo(found)[away].mean() > from_photo(missed)[away].mean() - 0.1


def test_a_hand_beside_the_face_changes_nothing(
    completer: Completer, blind: Completer, astronaut: FloatArray, bare: CompletedFace
) -> None:
    landmarks = bare.textured.face.landmarks
    height = float(np.ptp(landmarks[:, 1]))
    points = hand_points((landmarks[4, 0] - 1.1 * height, landmarks[4, 1] + 0.6 * height), 0.3 * height)
    drawn = draw_hand(astronaut, points, SKIN)
    with_networks, without = completer(drawn), blind(drawn)
    assert with_networks.record["occluders"] == without.record["occluders"] == []
    np.testing.assert_array_equal(with_networks.textured.completed.colour, without.textured.completed.colour)


def test_the_record_names_the_weights(completer: Completer) -> None:
    assert "hands.safetensors" in completer.models.hashes
