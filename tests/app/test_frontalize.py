"""``ostec frontalize``, on an example and a file that is no picture."""

import csv
from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.app.photos.frontalize import COLUMNS, TABLE, read_rows
from ostec.io.images import read_image

HEAD = ",".join(COLUMNS) + "\n"
HOPPER = Path(__file__).resolve().parents[2] / "examples/grace_hopper.jpg"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos in ``in``, and their portraits in ``out``."""
    place = tmp_path_factory.mktemp("frontalize")
    (place / "in").mkdir()
    (place / "in/hopper.jpg").write_bytes(HOPPER.read_bytes())
    (place / "in/bad.jpg").write_text("no picture")
    words = ["frontalize", str(place / "in"), "-o", str(place / "out"), "--size", "112", "--align", "arcface", "-q"]
    assert main(words) == 1  # one failed
    return place


def test_a_picture_its_mask_and_a_row_for_each_photo(folder: Path) -> None:
    picture, mask = (read_image(folder / f"out/hopper_{kind}.png") for kind in ("frontal", "guess"))
    assert picture.shape == mask.shape == (112, 112, 3)
    assert picture.std() > 0.1
    assert mask.mean() < 0.3
    with (folder / "out" / TABLE).open(encoding="utf-8") as stream:
        rows = {row["name"]: row for row in csv.DictReader(stream)}
    assert tuple(rows["hopper"]) == COLUMNS
    assert abs(float(rows["hopper"]["yaw_deg"])) < 20
    assert float(rows["hopper"]["confidence"]) > 0.9
    assert rows["hopper"]["way"] == "turned photo"
    np.testing.assert_allclose(float(rows["hopper"]["guessed"]), mask.mean(), atol=0.02)
    assert "not a picture" in rows["bad"]["reason"]


def test_the_same_command_does_nothing_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(folder / "in/hopper.jpg"), "-o", str(folder / "out"), "--size", "112", "--align", "arcface"]
    before = (folder / "out/hopper_frontal.png").stat().st_mtime_ns
    assert main(["frontalize", *words]) == 0
    assert "1 skipped" in capsys.readouterr().out
    assert (folder / "out/hopper_frontal.png").stat().st_mtime_ns == before
    assert main(["frontalize", str(folder / "out"), "-o", str(folder / "out")]) == 2  # results are no photos


def test_a_result_of_another_photo_is_not_replaced(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "hopper.jpg"
    other.write_bytes(HOPPER.read_bytes() + b" ")
    before = (folder / "out/hopper_frontal.png").read_bytes()
    assert main(["frontalize", str(other), "-o", str(folder / "out"), "-q"]) == 1
    assert (folder / "out/hopper_frontal.png").read_bytes() == before


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", f"{HEAD}hopper,too short\n", f"{HEAD}{'x' * 200_000},a\n"])
def test_a_damaged_table_has_no_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / TABLE).write_text(text)
    assert read_rows(tmp_path / TABLE) == {}
    assert read_rows(tmp_path / "missing.csv") == {}
