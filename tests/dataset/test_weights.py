"""All faces of a dataset are made with the same weights; the first face decides which."""

import subprocess
import sys
from pathlib import Path

import pytest

from ostec.core.errors import AssetError
from ostec.dataset.build import Dataset
from ostec.dataset.store import Store
from ostec.dataset.verify import verify
from ostec.dataset.worker import WeightsPin, difference
from tests.dataset.toy import Loop, ToyMaker, build, content, finish, many_photos, other_weights, plan, write_photos

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("done", ["sealed", "staged"])
def test_other_weights_than_those_of_the_first_face_are_refused(tmp_path: Path, done: str) -> None:
    photos = write_photos(tmp_path / "in", {"0.jpg": "noface", "1.jpg": "one", "2.jpg": "two"})
    if done == "staged":
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "ds", photos, limit=2)
    else:
        build(tmp_path / "ds", photos)
    pin = WeightsPin(Store(tmp_path / "ds", 8))
    pin.require(ToyMaker().weights)
    with pytest.raises(AssetError, match=r"toy\.safetensors is another file than .* with 11111111, not 00000000"):
        pin.require(other_weights().weights)


def test_without_a_face_the_first_that_loads_decides(tmp_path: Path) -> None:
    build(tmp_path / "ds", write_photos(tmp_path / "in", {"0.jpg": "noface"}))
    pin = WeightsPin(Store(tmp_path / "ds", 8))
    pin.require(other_weights().weights, "one")
    with pytest.raises(AssetError, match=r"toy\.safetensors on two is another file"):
        pin.require(ToyMaker().weights, "two")


def test_files_that_came_or_went_are_named() -> None:
    known = {"a": "1", "b": "2"}
    assert difference(known, dict(reversed(known.items()))) == ""
    assert difference(known, {"b": "2"}) == "The dataset was begun with a, which is not found any more."
    assert difference(known, {**known, "c": "3"}, "n1") == "The dataset was begun without c, which is found on n1."


def test_faces_that_were_made_with_different_weights_are_found(tmp_path: Path) -> None:
    build(tmp_path / "ds", write_photos(tmp_path / "one", {"a.jpg": "one"}))
    dataset = Dataset.open(tmp_path / "ds")
    plan(dataset, write_photos(tmp_path / "two", {"b.jpg": "two"}))
    finish(dataset, Loop(dataset, make=other_weights))
    (problem,) = verify(tmp_path / "ds", repair=False).problems
    assert "made with different weights" in problem
    assert problem.endswith("has another toy.safetensors.")


@pytest.mark.slow
def test_a_worker_with_other_weights_does_nothing(tmp_path: Path) -> None:
    build(tmp_path / "ds", many_photos(tmp_path / "in", 10))
    before = content(tmp_path / "ds")
    more = write_photos(tmp_path / "more", {"x.jpg": "new"})
    words = [sys.executable, "-m", "tests.dataset.ray_build", str(tmp_path / "ds"), str(more)]
    run = subprocess.run([*words, "other_weights", "1", "0"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout.startswith("toy.safetensors is another file")) == (1, True), run.stderr
    after = content(tmp_path / "ds")
    assert {name for name in after if before.get(name) != after[name]} == {"licences.json"}  # the photo is planned
    run = subprocess.run([*words, "ToyMaker", "1", "0"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
