"""Photos: seconds by stage and photos per hour, by a completer whose times are known."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.photos import measure_photos
from bench_pipeline import main, table
from ostec.core.errors import FaceError, OstecError


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Face:
    time: Time
    seconds: dict[str, float]
    saved: list[str]

    def save(self, directory: Path, name: str) -> Path:
        self.time.now += 1
        self.saved.append(name)
        return directory / name


@dataclass
class Completer:
    """Reads in 1 s, detects in 2 s, and fits each face in 4 s; the very first photo takes 100 s longer."""

    time: Time
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - cannot be changed
    broken: Sequence[str] = ()
    calls: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)

    def complete_all(self, photo: Path) -> list[Any]:
        self.calls.append(photo.name)
        if photo.name in self.broken:
            raise FaceError("No face was found in the photo.")
        shared = {"read": 1.0, "detect": 2.0 + (100.0 if len(self.calls) == 1 else 0.0)}
        count = 2 if photo.name == "two.jpg" else 1
        self.time.now += sum(shared.values()) + 4 * count
        return [Face(self.time, {**shared, "fit": 4.0}, self.saved) for _ in range(count)]


def test_stages_and_photos_per_hour(tmp_path: Path) -> None:
    time = Time()
    completer = Completer(time)
    found = measure_photos(completer, [Path("one.jpg"), Path("two.jpg")], tmp_path, 2, print, time)
    assert completer.calls == ["one.jpg", "one.jpg", "two.jpg", "one.jpg", "two.jpg"]
    assert found["first_s"] == 108
    assert list(found["stages"]) == ["read", "detect", "fit", "save"], "in their order"
    assert found["stages"]["detect"] == {"median_s": 2, "least_s": 2, "most_s": 2}, "shared by two faces, counted once"
    assert found["stages"]["fit"] == {"median_s": 6, "least_s": 4, "most_s": 8}
    assert found["stages"]["save"] == {"median_s": 1.5, "least_s": 1, "most_s": 2}
    assert found["s_per_photo"]["median_s"] == (8 + 13) / 2
    assert found["photos_per_hour"] == pytest.approx(3600 / 10.5)
    assert completer.saved[-2:] == ["photo0", "photo1"]
    text = table({**found, "load_s": 3.0})
    assert "343 photos an hour (343 to 343 over 2 rounds of 2); loading 3.0 s, the very first photo 108.0 s." in text


def test_photos_that_fail_are_named_and_left_out(tmp_path: Path) -> None:
    time, told = Time(), []
    completer = Completer(time, broken=("none.jpg", "late.jpg"))
    photos = [Path("none.jpg"), Path("one.jpg"), Path("late.jpg")]
    found = measure_photos(completer, photos, tmp_path, 1, told.append, time)
    assert [entry["file"] for entry in found["failed"]] == ["none.jpg", "late.jpg"]
    assert found["failed"][0]["reason"] == "No face was found in the photo."
    assert found["photos"] == 1
    assert "none.jpg is left out: No face was found in the photo." in told
    assert "; 2 failed" in table({**found, "load_s": 3.0})


def test_nothing_that_could_be_done_is_an_error(tmp_path: Path) -> None:
    time = Time()
    with pytest.raises(OstecError, match=r"No photo could be completed: No face was found in the photo\."):
        measure_photos(Completer(time, broken=("a.jpg",)), [Path("a.jpg")], tmp_path, 1, print, time)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--repeats", "2"), "Name a photo, or a folder of photos."),
        (("nowhere.jpg",), "nowhere.jpg"),
        (("PHOTO", "--repeats", "0"), "--repeats must be 1 or more, not 0."),
        (("PHOTO", "--generator", "nowhere.pkl"), "The generator's file nowhere.pkl does not exist."),
    ],
)
def test_wrong_use_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"not read")
    assert main([*(word.replace("PHOTO", "photo.jpg") for word in words)]) == 2
    assert sentence in capsys.readouterr().err
