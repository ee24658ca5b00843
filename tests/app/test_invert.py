"""``ostec invert``: photos, masks and what is done already, with the networks that ship and hardly any iterations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ostec.app.cli import main
from ostec.app.photos.inversions import find_masks
from ostec.app.photos.results import INVERSION_ENDINGS
from ostec.app.photos.sources import find_photos
from ostec.core.record import INVERSION
from ostec.export.record import read_record
from ostec.pipeline import InvertedFace, Inverter
from ostec.pipeline.settings import InvertSettings
from tests.app.conftest import Refuses, Said, assert_whole

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
Invert = Callable[..., Said]


@pytest.fixture(scope="module")
def loaded() -> Inverter:
    return Inverter.from_pretrained(InvertSettings(), "cpu")


@pytest.fixture(scope="module")
def made() -> dict[Any, InvertedFace]:
    """What was inverted already: equal runs give equal results (tests/pipeline/test_inversion.py)."""
    return {}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with one photo, the current one being its parent."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.open(ASTRONAUT).convert("RGB").crop((100, 0, 350, 300)).save(folder / "a.png")
    return folder


@pytest.fixture
def invert(
    loaded: Inverter,
    made: dict[Any, InvertedFace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Invert:
    """``ostec invert WORDS... --iterations 1`` with networks that were loaded before."""
    call = Inverter.__call__

    def load(settings: InvertSettings, device: str) -> Inverter:
        return Inverter(loaded.models, settings, torch.device(device), [])

    def remembering(self: Inverter, photo: Path, mask: Path | None, progress: Any) -> InvertedFace:
        mask_key = None if mask is None else (mask.name, mask.read_bytes())
        key = (photo.name, photo.read_bytes(), mask_key, self.settings)
        if key not in made:
            made[key] = call(self, photo, mask, progress)
        return made[key]

    monkeypatch.setattr(Inverter, "from_pretrained", load)
    monkeypatch.setattr(Inverter, "__call__", remembering)
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Said:
        iterations = () if "--iterations" in words else ("--iterations", "1")
        code = main(["invert", *map(str, words), *iterations, "--device", "cpu"])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


def record_of(path: Path) -> dict[str, Any]:
    record = read_record(path, (INVERSION,))
    assert record is not None
    return record


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(stem: str) -> set[str]:
    return {stem + ending for ending in INVERSION_ENDINGS}


def save_mask(path: Path, size: tuple[int, int] = (250, 300), value: int = 255) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("L", size, value).save(path)


# --- results ---------------------------------------------------------------------------------------------------------


def test_each_photo_has_its_files_and_bad_ones_do_not_stop_the_others(
    invert: Invert, photos: Path, tmp_path: Path
) -> None:
    (photos / "text.jpg").write_text("This is no picture.", encoding="utf-8")
    Image.new("RGB", (300, 200), "grey").save(photos / "b_empty.png")
    Image.open(photos / "a.png").save(photos / "z.jpg")
    said = invert("in", "--save-dir", "out")
    assert said.code == 1
    assert set(files_of(tmp_path / "out")) == names("a") | names("z")
    errors = said.err.splitlines()
    assert len(errors) == 2
    assert errors[0] == "ostec: error: in/b_empty.png failed (detect): No face was found in the photo."
    assert errors[1].startswith("ostec: error: in/text.jpg failed (read): ")
    assert said.out.splitlines()[-1] == "2 done, 0 skipped, 2 failed; the pictures are in out."


def test_done_photos_are_skipped_and_other_settings_are_told(invert: Invert, photos: Path, tmp_path: Path) -> None:
    assert invert("in", "--save-dir", "out").code == 0
    before = files_of(tmp_path / "out")
    again = invert("in", "--save-dir", "out")
    assert (again.code, again.err) == (0, "")
    assert again.out.splitlines()[-1].startswith("0 done, 1 skipped, 0 failed")
    other = invert("in", "--save-dir", "out", "--iterations", "2")
    assert other.code == 0
    assert (
        "Made before with other settings (iterations 1, asked for 2) and kept: 1; --overwrite redoes them." in other.err
    )
    assert files_of(tmp_path / "out") == before
    redone = invert("in", "--save-dir", "out", "--iterations", "2", "--overwrite")
    assert redone.out.splitlines()[-1].startswith("1 done, 0 skipped, 0 failed")
    assert record_of(tmp_path / "out/a.json")["iterations"] == 2
    invert("in", "--save-dir", "out", "--overwrite")
    assert files_of(tmp_path / "out") == before  # equal runs give equal bytes


def test_damaged_and_foreign_results(invert: Invert, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    invert("in", "--save-dir", "out")
    before = files_of(out)
    (out / "a_trust.png").unlink()
    assert "a.png is done again: files of its result are missing." in invert("in", "--save-dir", "out").err
    (out / "a.json").write_text("{", encoding="utf-8")
    assert "a.png is done again: a.json is damaged." in invert("in", "--save-dir", "out").err
    (out / "a.json").unlink()
    assert invert("in", "--save-dir", "out").code == 0
    assert files_of(out) == before
    Image.open(photos / "a.png").rotate(3).save(photos / "a.png")
    edited = invert("in", "--save-dir", "out")
    assert edited.code == 1
    assert "a.json belongs to another photo, or this one has been edited since; redo it with --overwrite" in edited.err
    (out / "a.json").write_text("[]", encoding="utf-8")
    assert "a.json is in the way, which no earlier run has made; redo it" in invert("in", "--save-dir", "out").err


def test_results_of_complete_are_not_replaced(invert: Invert, photos: Path, tmp_path: Path) -> None:
    save_mask(tmp_path / "out/a.png")
    text = json.dumps({"kind": "ostec result", "files": ["a.png", "a.json"], "settings": {}})
    (tmp_path / "out/a.json").write_text(text, encoding="utf-8")
    before = files_of(tmp_path / "out")
    for words in ((), ("--overwrite",)):
        said = invert("in", "--save-dir", "out", *words)
        assert said.code == 1
        assert "a.json belongs to a completed face; choose another --save-dir." in said.err
    assert files_of(tmp_path / "out") == before


def test_complete_does_not_take_an_inversion_for_its_own(
    invert: Invert, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    invert("in", "--save-dir", "out")
    assert main(["complete", "in", "--save-dir", "out", "--dry-run"]) == 0
    assert "would fail (a.json belongs to an inversion)" in capsys.readouterr().out


def test_results_are_no_sources(invert: Invert, photos: Path) -> None:
    Image.open(photos / "a.png").save(photos / "a.jpg")
    (photos / "a.png").unlink()
    assert invert("in", "--save-dir", "in").code == 0
    assert [path.name for path in find_photos(["in"])] == ["a.jpg"]
    (photos / "a.json").unlink()
    (photos / ".a.ostec-pending").write_text('{"names": ["a"]}', encoding="utf-8")  # as after a kill
    assert [path.name for path in find_photos(["in"])] == ["a.jpg"]
    assert invert("in", "--save-dir", "in").code == 0
    assert {path.name for path in photos.iterdir()} == names("a") | {"a.jpg"}


def test_photos_whose_results_would_share_a_file_get_other_names(
    invert: Invert, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def fail(self: Inverter, photo: Path, mask: Path | None, progress: Any) -> InvertedFace:
        calls.append(photo.name)
        raise KeyError("nose")

    monkeypatch.setattr(Inverter, "__call__", fail)
    Image.open(photos / "a.png").save(photos / "a_target.jpg")
    said = invert("in", "--save-dir", "out")
    assert calls == ["a.png", "a_target.jpg"]
    assert said.err.count("failed (read): Unexpected KeyError: 'nose'") == 2
    from ostec.app.photos.sources import assign_names

    assert [photo.name for photo in assign_names(find_photos(["in"]), INVERSION_ENDINGS)] == [
        "a", "a_target_jpg"
    ]  # fmt: skip


def test_ctrl_c_keeps_what_is_done(
    invert: Invert, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.open(photos / "a.png").save(photos / "b.png")
    call = Inverter.__call__

    def interrupted(self: Inverter, photo: Path, *rest: Any) -> InvertedFace:
        if photo.name == "b.png":
            raise KeyboardInterrupt
        return call(self, photo, *rest)

    monkeypatch.setattr(Inverter, "__call__", interrupted)
    said = invert("in", "--save-dir", "out")
    assert said.code == 130
    assert said.out.splitlines()[-1] == "1 done, 0 skipped, 0 failed, 1 not tried; the pictures are in out."
    assert "Interrupted" in said.err
    assert set(files_of(tmp_path / "out")) == names("a")


# --- masks -----------------------------------------------------------------------------------------------------------


def test_masks_are_found_by_stem(invert: Invert, photos: Path, tmp_path: Path) -> None:
    Image.open(photos / "a.png").save(photos / "b.jpg")
    Image.open(photos / "a.png").save(photos / "c.png")
    save_mask(tmp_path / "masks/a.png")
    save_mask(tmp_path / "masks/b.bmp", (10, 20))
    said = invert("in", "--save-dir", "out", "--mask-dir", "masks")
    assert said.code == 1
    assert set(files_of(tmp_path / "out")) == names("a") | names("c")
    assert "in/b.jpg failed (read): The mask b.bmp has 10 x 20 pixels and its photo 250 x 300; they must be" in said.err
    warning = "There is no mask for c.png: all of its face is trusted."
    assert said.err.count(f"ostec: warning: {warning}") == 1
    first, third = (record_of(tmp_path / f"out/{name}.json") for name in "ac")
    assert (first["mask"]["file"], first["warnings"]) == ("a.png", [])
    assert (third["mask"], third["warnings"]) == (None, [warning])


def test_a_changed_mask_counts_as_other_settings(invert: Invert, photos: Path, tmp_path: Path) -> None:
    said = "Made before with other masks and kept: 1"
    assert said not in invert("in", "--save-dir", "out").err
    save_mask(tmp_path / "masks/a.png")
    masked = ("in", "--save-dir", "out", "--mask-dir", "masks")
    assert said in invert(*masked).err
    invert(*masked, "--overwrite")
    assert said not in invert(*masked).err
    save_mask(tmp_path / "masks/a.png", value=254)
    assert said in invert(*masked).err


def test_masks_below_the_photos_are_no_photos(invert: Invert, photos: Path, tmp_path: Path) -> None:
    save_mask(photos / "masks/a.png")
    assert invert("in", "--save-dir", "out", "--mask-dir", "in/masks").code == 0
    assert set(files_of(tmp_path / "out")) == names("a")


def test_a_png_comes_before_other_masks_of_the_same_stem(tmp_path: Path) -> None:
    for name in ("a.bmp", "a.png", "b.webp", "c.txt"):
        (tmp_path / name).touch()
    assert {stem: path.name for stem, path in find_masks(tmp_path, tmp_path / "out").items()} == {
        "a": "a.png",
        "b": "b.webp",
    }


# --- wrong use -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "--save-dir DIR must be given"),
        (("--save-dir", "out"), "Name at least one photo, folder or glob to invert."),
        (("in", "--save-dir", ""), "--save-dir is empty."),
        (("in", "--save-dir", "out", "-i", "-1"), "--iterations must be 0 or more, got -1"),
        (("in", "--save-dir", "out", "--seed", "1"), "Unrecognized options: --seed"),
        (("in", "--save-dir", "out", "--generator", "none"), "--generator must be default or a file, got 'none'"),
        (
            ("in", "--save-dir", "out", "--generator", "no.safetensors"),
            "generator's file no.safetensors does not exist",
        ),
        (("in", "--save-dir", "out", "--mask-dir", "no"), "--mask-dir must be a folder, and 'no' is none."),
        (("in", "--save-dir", "out", "--mask-dir", "out/../out"), "--mask-dir must be a folder"),
        (("in", "--save-dir", "masks", "--mask-dir", "in/../masks"), "--save-dir and --mask-dir must be two folders"),
        (
            ("in/a.png", "--save-dir", "out", "--mask-dir", "in"),
            "No photo was found apart from what lies in --mask-dir.",
        ),
        (("no.jpg", "--save-dir", "out"), "There is no file or folder no.jpg."),
        (("in", "--save-dir", "in"), "would replace the source"),
        (("in", "--save-dir", "in/a.png"), "in/a.png is a file, not a folder."),
        (("in", "--save-dir", "/proc/out"), "/proc/out"),
    ],
)
def test_wrong_use_is_one_sentence(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuses: Refuses,
    words: tuple[str, ...],
    sentence: str,
) -> None:
    (tmp_path / "masks").mkdir()
    monkeypatch.chdir(tmp_path)
    content = files_of(photos)
    refuses(sentence, "invert", *words)
    assert files_of(photos) == content
    assert {path.name for path in tmp_path.iterdir()} == {"in", "masks"}


def test_a_generator_that_is_none_is_one_sentence(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.safetensors").write_text("no weights", encoding="utf-8")
    assert main(["invert", "in", "--save-dir", "out", "--generator", "g.safetensors"]) == 2
    said = capsys.readouterr().err.removeprefix("ostec: Loading models ...\n")  # on a slow machine
    assert said == "ostec: error: g.json, which belongs to g.safetensors, cannot be read.\n"
    assert {path.name for path in tmp_path.iterdir()} == {"in", "g.safetensors"}  # no empty folder
    (tmp_path / "out").mkdir()
    assert main(["invert", "in", "--save-dir", "out", "--generator", "g.safetensors"]) == 2
    assert (tmp_path / "out").is_dir()  # which was there before


def test_help_names_what_belongs_to_this_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["invert", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "SOURCE...",
        "--save-dir DIR",
        "--mask-dir DIR",
        "--generator default|NAME|FILE",
        "-i INT",
        "-q",
        "-v",
    ):
        assert option in text
    assert "--uv-size" not in text


def test_mask_picture_with_colours_is_taken_for_grey(loaded: Inverter, photos: Path) -> None:
    pixels = np.full((300, 250, 3), 255, np.uint8)
    pixels[:, :, 2] = 0  # yellow: two thirds, which is trusted
    Image.fromarray(pixels).save(photos / "yellow.png")
    assert Inverter(loaded.models, InvertSettings(iterations=0), loaded.device, [])(
        photos / "a.png", photos / "yellow.png"
    ).view.trust.any()


def test_complete_that_overwrites_an_inversion_leaves_none_of_its_pictures(ostec: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_text("ok", encoding="utf-8")
    for name in names("a"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text("older", encoding="utf-8")
    record = {"kind": INVERSION, "files": sorted(names("a"))}
    (tmp_path / "out/a.json").write_text(json.dumps(record), encoding="utf-8")
    assert ostec("complete", "in", "--save-dir", "out").code == 1
    assert ostec("complete", "in", "--save-dir", "out", "--overwrite").code == 0
    assert_whole(tmp_path / "out", {"a"})
