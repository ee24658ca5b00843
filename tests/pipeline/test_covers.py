"""What covers a face: nothing of it colours the texture, the prior fills, the record and a warning say so."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.types import FloatArray
from ostec.pipeline import CompletedFace, Completer
from plant_covers import PHOTO_SHARE, TEMPLE_LEVELS, Painter, judge


@pytest.fixture(scope="module")
def bare(completer: Completer, astronaut: FloatArray) -> CompletedFace:
    return completer.complete_all(astronaut)[0]


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("mask_blue", {"mouth", "chin"}),
        ("mask_white", {"mouth", "chin"}),
        ("low_white", {"mouth", "chin"}),
        ("low_beige", {"mouth", "chin"}),
        ("scarf", {"mouth", "chin"}),
        ("phone", set()),
        ("veil", {"mouth", "chin"}),
        ("sunglasses", {"eyes"}),
        ("mosaic", {"eyes"}),
        ("lids", {"eyes"}),
        ("fringe", {"forehead"}),
    ],
)
def test_a_cover_is_no_face(
    completer: Completer, astronaut: FloatArray, bare: CompletedFace, kind: str, parts: set[str]
) -> None:
    covered, alpha = Painter(astronaut, bare.textured.face.landmarks, 0).kinds()[kind]()
    found = completer.complete_all(covered)[0]
    levels, share = judge(found, bare, alpha, completer.observer.unwrapper)
    assert levels < TEMPLE_LEVELS
    assert share < PHOTO_SHARE
    assert "cover" in found.record["occluders"]
    (sentence,) = [text for text in found.record["warnings"] if text.startswith("Something covers")]
    assert all(part in sentence for part in parts)


def test_nothing_is_found_on_a_bare_face(completer: Completer, astronaut: FloatArray, bare: CompletedFace) -> None:
    blind = Completer(replace(completer.models, covers=None), completer.settings, completer.device, [])
    without = blind.complete_all(astronaut)[0]
    assert "cover" not in bare.record["occluders"]
    np.testing.assert_array_equal(bare.textured.completed.colour, without.textured.completed.colour)


def test_the_record_names_the_weights(completer: Completer) -> None:
    assert "covers.safetensors" in completer.models.hashes
