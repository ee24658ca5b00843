"""What covers a face: nothing of it colours the texture, the prior fills, the record and a warning say so."""

from dataclasses import replace

import numpy as np
import pytest

from ostec.core.errors import FaceError
from ostec.core.progress import PhotoRun
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
        ("mask_teal", {"mouth", "chin"}),
        ("mask_white", {"mouth", "chin"}),
        ("low_white", {"mouth", "chin"}),
        ("low_beige", {"mouth", "chin"}),
        ("scarf", {"mouth", "chin"}),
        ("phone", set()),
        ("veil", {"mouth", "chin"}),
        ("sunglasses", {"eyes"}),
        ("mosaic", {"eyes"}),
        ("lids", {"eyes"}),
        ("microphone", set()),
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


def test_a_face_of_which_hardly_anything_is_left_is_refused(completer: Completer, astronaut: FloatArray) -> None:
    from ostec.mask.covers import Cover

    observer = completer.observer
    hidden = Cover(np.zeros((256, 256), np.float32), ("eyes", "mouth", "nose", "chin"), 0.76)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostec.pipeline.observe.find_cover", lambda *_: hidden)
        with pytest.raises(FaceError, match=r"^Something covers nearly all of the face \(76 %\), or it is none\.$"):
            observer.observe(astronaut, observer.detect(astronaut)[0], PhotoRun(None))


def test_the_record_names_the_weights(completer: Completer) -> None:
    assert "covers.safetensors" in completer.models.hashes
