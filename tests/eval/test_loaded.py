"""The face of a photo, by the detector or in the whole picture, and outcomes that are read back."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import FaceError
from ostec.core.types import FloatArray
from ostec.eval.jobs import Jobs
from ostec.eval.photos.sight import DETECTOR, WHOLE_PICTURE, look
from ostec.eval.study import Loaded, Study, content_of, load, rows_of
from ostec.io.images import read_image
from ostec.pipeline import observe
from ostec.pipeline.settings import CompleteSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load(CompleteSettings(generator="none", mode="soft", uv_size=256))


@pytest.fixture(scope="module")
def portrait() -> FloatArray:
    """A picture that the face fills."""
    return np.ascontiguousarray(read_image(ROOT / "examples/astronaut.png")[40:210, 140:310])


def test_an_aligned_portrait_is_found_without_the_detector(
    loaded: Loaded, portrait: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(portrait, loaded.observer)
    assert found.region == DETECTOR
    for detector in ("detect_faces", "detect_turned_faces"):
        monkeypatch.setattr(observe, detector, lambda *_: [])
    with pytest.raises(FaceError, match=r"No face was found in the photo\."):
        look(portrait, loaded.observer)
    again = look(portrait, loaded.observer, aligned=True)
    assert again.region == WHOLE_PICTURE
    # The same face: the landmarks moved by less than 2 % of the distance of the eyes' corners.
    moved = np.linalg.norm((again.face.landmarks - found.face.landmarks)[:, :2], axis=1)
    assert np.median(moved) < 0.02 * 90 * found.face.scale
    with pytest.raises(FaceError, match=r"No face was found in the photo\."):
        look(np.full((96, 96, 3), 0.5, np.float32), loaded.observer, aligned=True)


def test_what_is_shown_is_visible_flat_and_bare(loaded: Loaded, portrait: FloatArray) -> None:
    sight = look(portrait, loaded.observer)
    seen = sight.seen
    assert np.array_equal(sight.shown, seen.visible & (seen.cosine > 0.2) & (seen.mask > 0.5))
    assert 0.3 < sight.shown[seen.inside].mean() < 1
    assert not sight.weight[~seen.visible].any()
    assert 0.9 < sight.weight.max() <= 1


def test_failures_of_jobs_and_of_single_rows(loaded: Loaded, tmp_path: Path) -> None:
    single = {"item": "a to b", "method": "frontal", "reason": "No face."}
    outcomes = {"a": {"rows": [], "failures": [single]}, "b": {"error": "Damaged."}}
    items = {"a": "a to *", "b": "b to *"}
    study = Study("views", tmp_path, lambda _: {}, items, (), loaded, (), {"seed": 1}, lambda _: [])
    found = study.evaluation(outcomes)
    assert found.failures == (single, {"item": "b to *", "method": "", "reason": "Damaged."})
    assert found.rows == rows_of(outcomes) == ()
    assert found.settings == {"seed": 1, "weights": loaded.models.hashes}
    assert found.models == loaded.judges.described()
    assert study.jobs().keys == ("a", "b")
    other = replace(loaded.judges, perceptual=replace(loaded.judges.perceptual, name="another"))
    changed = (replace(study, decisive=(1,)), replace(study, loaded=replace(loaded, judges=other)))
    assert len({each.jobs().digest for each in (study, *changed)}) == 3


def test_outcomes_without_their_pictures_are_not_found(tmp_path: Path) -> None:
    jobs = Jobs(("whole", "gone", "none"), tmp_path, "digest")
    (tmp_path / "parts").mkdir()
    (tmp_path / "whole.png").write_bytes(b"")
    for key in ("whole", "gone"):
        outcome = {"rows": [{"pictures": {"made": f"{key}.png"}}]}
        jobs.path(key).write_text(json.dumps({"digest": "digest", "outcome": outcome}))
    assert jobs.found("whole") is not None
    assert jobs.found("gone") is None


def test_a_photo_that_cannot_be_read_has_a_content_too(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    assert content_of(tmp_path / "empty").startswith("e3b0c44298fc1c14")
    assert content_of(tmp_path / "missing") == "unreadable"
