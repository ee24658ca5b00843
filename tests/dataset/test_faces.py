"""The maker of a real build puts into a shard what ``ostec complete`` writes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import ImageError
from ostec.core.settings import CompleteSettings
from ostec.dataset.faces import FaceMaker, photo_figures
from ostec.dataset.loading import LoadFaceMaker
from ostec.dataset.manifest import row_of
from ostec.dataset.records import Photo
from ostec.pipeline import Completer

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "examples/astronaut.png"
SETTINGS = CompleteSettings(mode="soft", iterations=0, uv_size=256, frontalize=True)


@pytest.fixture(scope="module")
def completer() -> Completer:
    return Completer.from_pretrained(SETTINGS, "cpu")


def test_files_and_record_are_those_of_a_completion(completer: Completer, tmp_path: Path) -> None:
    stages = []
    photo = Photo(PHOTO.read_bytes(), "a/b.png", tmp_path / "scratch")
    (face,), seconds = FaceMaker(completer)(photo, lambda stage, _: stages.append(stage))
    json_path = completer(PHOTO).save(tmp_path, "x")
    whole = json.loads(json_path.read_text())
    assert list(face.files) == ["frontal.png", "mesh.npz", "provenance.png", "uv.png"]
    for ending, file in (("frontal.png", "x_frontal.png"), ("mesh.npz", "x.npz"), ("uv.png", "x.png")):
        assert face.files[ending] == (tmp_path / file).read_bytes(), ending
    different = {k for k in whole if k not in ("files", "kind") and whole[k] != face.record.get(k)}
    assert different == {"source"}
    assert face.record["source"] == "a/b.png"
    assert stages[0] == "read"
    assert {"detect", "stitch"} <= seconds.keys()
    row = row_of({**face.record, "id": "0", "face": 1, "faces": 1, "key": "0_1"})
    assert row["yaw_deg"] == whole["pose_deg"][1]
    assert 0.3 < row["brightness"] < 0.9


def test_bytes_that_are_no_picture_fail(completer: Completer, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^x\.jpg is not a picture"):
        FaceMaker(completer)(Photo(b"text", "x.jpg", tmp_path / "s"), lambda *_: None)


def test_views_and_head_files_get_endings_of_their_own(completer: Completer, tmp_path: Path) -> None:
    from ostec.dataset.faces import _ending

    assert [
        _ending(f"x{rest}") for rest in (".png", "_frontal.png", "_head_eye_left.png", "_views/left render.png")
    ] == [
        "uv.png",
        "frontal.png",
        "head_eye_left.png",
        "views.left_render.png",
    ]


def test_figures_of_a_hand_made_texture() -> None:
    texture = np.zeros((4, 4, 3), np.float32)
    texture[:, 2:] = 1.0
    seen = np.zeros((4, 4), bool)
    assert photo_figures(texture, seen) == {}
    seen[:, 1:3] = True  # a step from black to white between two columns
    figures = photo_figures(texture, seen)
    assert figures == {"brightness": 0.5, "contrast": 0.5, "sharpness": 2.0}
    assert photo_figures(texture[:, :2], seen[:, :2]) == {"brightness": 0.0, "contrast": 0.0}


def test_loading_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        LoadFaceMaker(replace(SETTINGS, prior=str(tmp_path / "nowhere.safetensors")), "cpu", 1)()
