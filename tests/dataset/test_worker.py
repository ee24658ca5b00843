"""The maker of a real build puts into a shard what ``ostec complete`` writes."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ostec.complete import generator
from ostec.core.errors import FaceError, ImageError
from ostec.dataset.manifest import row_of
from ostec.dataset.records import Made, Photo
from ostec.dataset.worker import FaceMaker, LoadFaceMaker
from ostec.io.images import encode_png, read_image
from ostec.pipeline import Completer
from ostec.pipeline import completer as module
from ostec.pipeline.observe import PhotoBytes
from ostec.pipeline.settings import CompleteSettings
from ostec.project.invert import Projection, project_each
from ostec.project.studio import TURNED

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "examples/astronaut.png"
SETTINGS = CompleteSettings(mode="soft", iterations=0, uv_size=256, frontalize=True, face_model="none")


@pytest.fixture(scope="module")
def completer() -> Completer:
    return Completer.from_pretrained(SETTINGS, "cpu")


def test_files_and_record_are_those_of_a_completion(completer: Completer, tmp_path: Path) -> None:
    photo = Photo(PHOTO.read_bytes(), "a/b.png", tmp_path / "scratch")
    (made,) = FaceMaker(completer)([photo])
    (face,), seconds = made.faces, made.seconds
    json_path = completer(PHOTO).save(tmp_path, "x")
    whole = json.loads(json_path.read_text())
    assert list(face.files) == ["frontal.png", "mesh.npz", "provenance.png", "uv.png"]
    for ending, file in (("frontal.png", "x_frontal.png"), ("mesh.npz", "x.npz"), ("uv.png", "x.png")):
        assert face.files[ending] == (tmp_path / file).read_bytes(), ending
    different = {k for k in whole if k not in ("files", "kind") and whole[k] != face.record.get(k)}
    assert different == {"source"}
    assert face.record["source"] == "a/b.png"
    assert (made.stage, made.error) == ("export", None)
    assert {"detect", "stitch"} <= seconds.keys()
    assert sum(seconds.values()) - seconds["total"] <= seconds["total"]
    row = row_of({**face.record, "id": "0", "face": 1, "faces": 1, "key": "0_1"})
    assert row["yaw_deg"] == whole["pose_deg"][1]
    assert 0.3 < row["brightness"] < 0.9


def test_bytes_that_are_no_picture_fail(completer: Completer, tmp_path: Path) -> None:
    (made,) = FaceMaker(completer)([Photo(b"text", "x.jpg", tmp_path / "s")])
    assert (made.faces, made.stage) == ((), "read")
    assert isinstance(made.error, ImageError)
    assert str(made.error).startswith("x.jpg is not a picture")


def test_loading_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="nowhere"):
        LoadFaceMaker(replace(SETTINGS, prior=str(tmp_path / "nowhere.safetensors")), "cpu", 1)()


@pytest.fixture(scope="module")
def projecting() -> Completer:
    return Completer.from_pretrained(CompleteSettings(mode="soft", iterations=1, uv_size=256, face_model="none"), "cpu")


@pytest.fixture
def two_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """For speed."""
    monkeypatch.setattr(generator, "waves_of", lambda *_: [(view,) for view in TURNED[:2]])


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """The example, something without a face, and the example's mirror image."""
    image = read_image(PHOTO)
    pictures = {"a.png": PHOTO.read_bytes(), "grey.png": encode_png(np.full((64, 64, 3), 0.5, np.float32))}
    pictures["b.png"] = encode_png(np.ascontiguousarray(image[:, ::-1]))
    return [Photo(data, name, tmp_path / name) for name, data in pictures.items()]


def picture(made: Made, tmp_path: Path) -> np.ndarray:
    (tmp_path / "t.png").write_bytes(made.faces[0].files["uv.png"])
    return read_image(tmp_path / "t.png")


@pytest.mark.usefixtures("two_views")
@pytest.mark.slow
def test_photos_side_by_side_are_done_as_alone(projecting: Completer, photos: list[Photo], tmp_path: Path) -> None:
    maker, sizes = FaceMaker(projecting), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator, "project_each", lambda *a: sizes.append(len(a[1].image)) or project_each(*a))
        made = maker(photos)
        assert sizes == [2] * 2
        alone = [maker([photo])[0] for photo in photos]
        assert sizes == [2] * 2 + [1] * 4
    assert [type(one.error) for one in made] == [type(None), FaceError, type(None)]
    assert [one.stage for one in made] == ["export", "detect", "export"]
    assert made[1].error is not None
    assert str(made[1].error) == str(alone[1].error)
    for both, own in zip(made[::2], alone[::2], strict=True):
        assert np.abs(picture(both, tmp_path) - picture(own, tmp_path)).max() < 2.5 / 255
        assert both.seconds.keys() == own.seconds.keys()
        assert both.faces[0].record["losses"].keys() == own.faces[0].record["losses"].keys()
    assert np.abs(picture(made[0], tmp_path) - picture(made[2], tmp_path)).max() > 0.1


@pytest.mark.usefixtures("two_views")
@pytest.mark.slow
def test_a_shared_projection_that_fails_is_done_again_one_by_one(
    projecting: Completer, photos: list[Photo], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def narrow(*given: Any) -> Projection:
        if len(given[1].image) > 1:
            raise MemoryError
        return project_each(*given)

    maker = FaceMaker(projecting)
    alone = [maker([photo])[0] for photo in photos[::2]]
    monkeypatch.setattr(generator, "project_each", narrow)
    with caplog.at_level("WARNING"):
        made = maker(photos)
    told = "ompleting 2 faces at once failed (MemoryError), so they were done one by one."
    assert [record.getMessage() for record in caplog.records] == [f"a.png, b.png: c{told}"]
    assert isinstance(made[1].error, FaceError)
    for one, own in zip(made[::2], alone, strict=True):
        assert one.faces[0].files == own.faces[0].files
        assert one.faces[0].record["warnings"] == [*own.faces[0].record["warnings"], f"C{told}"]


def test_large_photos_are_not_in_memory_at_once(
    monkeypatch: pytest.MonkeyPatch, photos: list[Photo], projecting: Completer
) -> None:
    text = PhotoBytes(b"text", "x.jpg")
    a, grey, b = (PhotoBytes(p.data, p.source) for p in photos)  # 512 x 512, 64 x 64, 512 x 512
    monkeypatch.setattr("ostec.pipeline.observe.Observer.detect", lambda *_: [object()])
    for most, sizes in ((512 * 512, [1, 1, 2]), (512 * 512 + 64 * 64, [2, 2]), (10**9, [4]), (1, [1, 1, 1, 1])):
        monkeypatch.setattr(module, "MOST_PIXELS", most)
        works = [module._Work(photo, projecting, True, None) for photo in (a, grey, b, text)]
        assert [len(part) for part in module._portions(works)] == sizes


def test_the_time_of_a_failed_batch_is_shared_once(monkeypatch: pytest.MonkeyPatch, projecting: Completer) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])

    def make(faces: Any) -> list[str]:
        now[0] += 8 if len(faces) > 1 else 3
        if len(faces) > 1:
            raise MemoryError
        return ["made"]

    monkeypatch.setattr(projecting, "_make", make)
    faces = [
        SimpleNamespace(
            work=SimpleNamespace(results=[], failure=None, seconds=0.0, name=name), run=SimpleNamespace(warnings=[])
        )
        for name in "ab"
    ]
    projecting._complete_faces(faces)  # type: ignore[arg-type]
    assert [face.work.results for face in faces] == [["made"], ["made"]]
    assert [face.work.seconds for face in faces] == [4 + 3, 4 + 3]
