"""FFHQ-UV's recipe on the example that ships."""

import numpy as np
import pytest

from ostec.core.types import FloatArray, Provenance
from ostec.pipeline.normalise import Normaliser
from ostec.pipeline.settings import CompleteSettings


@pytest.fixture(scope="module")
def normaliser() -> Normaliser:
    settings = CompleteSettings(face_model="none", iterations=20, uv_size=256, materials="gltf")
    return Normaliser.with_edits(settings, "cpu", "default")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ostec.core.errors.OstecWarning")
def test_a_photo_becomes_an_even_neutral_texture_of_three_views(normaliser: Normaliser, astronaut: FloatArray) -> None:
    made = normaliser(astronaut)
    about, attributes = made.record["normalised"], made.record["attributes"]
    assert abs(about["after"]["yaw_deg"]) < 3
    assert about["after"]["smile"] < 0.5 * about["before"]["smile"]
    assert about["after"]["unevenness"] < 0.5 * about["before"]["unevenness"]
    assert about["views"]["left"]["yaw_deg"] == pytest.approx(30, abs=4)
    assert about["views"]["right"]["yaw_deg"] == pytest.approx(-30, abs=4)
    assert about["likeness"] > 0.8
    assert {"front", "left", "right"} == set(made.textured.latents)
    assert attributes["valid_area"] > 0.6
    assert attributes["symmetry"] < 8
    assert made.albedo is not None
    assert {Provenance.PRIOR, Provenance.FRONT, Provenance.LEFT, Provenance.RIGHT} <= set(np.unique(made.provenance))
    assert made.vertices.shape[1] == 3
    again = normaliser(astronaut)
    assert np.array_equal(again.texture, made.texture)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ostec.core.errors.OstecWarning")
def test_photos_of_one_person_are_views_themselves(normaliser: Normaliser, astronaut: FloatArray) -> None:
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    made = normaliser.fuse([astronaut, mirrored])
    assert [photo["provenance"] for photo in made.record["photos"]] == [Provenance.PHOTO, Provenance.PADDING + 1]
    assert made.record["attributes"]["valid_area"] > 0.5
    assert (made.provenance == Provenance.PHOTO).any()
