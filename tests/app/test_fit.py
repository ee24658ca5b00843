"""``ostec fit`` with a fake fitter: its results are skipped, told from completions, and refused as others are."""

from collections.abc import Callable
from pathlib import Path

from ostec.export.record import read_record
from tests.app.conftest import Refuses, Run, assert_whole

Photos = Callable[..., Path]


def test_photos_are_fitted_once(ostec: Run, photos: Photos, calls: Callable[[], list[str]], tmp_path: Path) -> None:
    folder = photos({"a.jpg": "face", "b.jpg": "noface"})
    said = ostec("fit", folder, "-o", "out", "--published", "--rgb.steps", "50")
    assert said.code == 1
    assert "No face was found." in said.err
    (folder / "b.jpg").unlink()
    calls()
    assert "1 skipped" in ostec("fit", folder, "-o", "out", "--published", "--rgb.steps", "50").out
    assert calls() == []
    record = read_record(tmp_path / "out/a.json")
    assert record is not None
    assert record["settings"]["published"] is True
    assert record["settings"]["rgb"]["steps"] == 50
    assert_whole(tmp_path / "out", {"a"})


def test_other_settings_are_told(ostec: Run, photos: Photos) -> None:
    folder = photos({"a.jpg": "face"})
    ostec("fit", folder, "-o", "out")
    assert "rgb.steps 200, asked for 7" in ostec("fit", folder, "-o", "out", "--rgb.steps", "7").err


def test_a_completion_is_not_taken_for_a_fit(ostec: Run, photos: Photos) -> None:
    folder = photos({"a.jpg": "face"})
    assert ostec("complete", folder, "-o", "out", "-i", "0", "--materials", "gltf").code == 0
    said = ostec("fit", folder, "-o", "out")
    assert said.code == 1
    assert "a.json belongs to a completed face" in said.err
    assert ostec("fit", folder, "-o", "out", "--overwrite").code == 0


def test_the_fit_needs_a_face_model(refuses: Refuses, photos: Photos, tmp_path: Path) -> None:
    refuses("must not be none", "fit", photos({"a.jpg": "x"}), "-o", tmp_path / "out", "--face-model", "none")
