"""``ostec eval views``: what it refuses, what it leaves behind, and that it goes on where it was."""

from pathlib import Path

import numpy as np
import pytest

from ostec.app.cli import main
from ostec.eval.report.record import read_evaluation
from ostec.io.images import read_image, write_png
from tests.app.conftest import Refuses

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUICK = ("--generator", "none", "--workers", "1")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person, the same picture cut and under another light, and a wall."""
    folder = tmp_path_factory.mktemp("photos")
    image = read_image(ROOT / "examples/astronaut.png")
    write_png(folder / "a.png", image)
    light = np.float32([0.8, 0.7, 0.6]), np.float32(0.05)
    write_png(folder / "b.png", np.ascontiguousarray(image[9:400, 31:480]) * light[0] + light[1])
    write_png(folder / "wall.png", np.full((64, 64, 3), 0.5, np.float32))
    return folder


@pytest.fixture(scope="module")
def done(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ostec eval views`` of the three photos, and the first as the frontal truth."""
    out = tmp_path_factory.mktemp("views")
    names = [str(photos / name) for name in ("a.png", "b.png", "wall.png")]
    truth = ("--truth", names[0], "--yaws", "-20", "5", "0")
    assert main(["eval", "views", *names, *truth, "--out", str(out), *QUICK]) == 1
    return out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("a.png",), "Name at least two photos of the person, or one and --truth."),
        (("a.png", "b.png", "--yaws", "-30"), "--yaws must have one yaw per photo: 2, not 1."),
        (("a.png", "b.png", "--yaws", "0", "100"), "--yaws must be -90 to 90 degrees."),
        (("a.png", "c.png"), "The photo c.png does not exist."),
        (("a.png", "--truth", "c.png"), "The photo c.png does not exist."),
        (("a.png", "b.png", "./a.png"), "A photo is named twice."),
        (("a.png", "b.png", "--out", "."), "--out must be another folder than that of the photos."),
        (("a.png", "b.png", "--iterations", "-1"), "--iterations must be 0 or more, got -1."),
        (("a.png", "b.png", "--workers", "-1", "--generator", "none"), "--workers must be 0"),
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
    monkeypatch.chdir(photos)
    out = () if "--out" in words else ("--out", str(tmp_path / "out"))
    refuses(sentence, "eval", "views", *words, *out)
    assert not (tmp_path / "out/eval.json").exists()


def test_every_pair_has_a_row_and_every_failure_a_reason(done: Path) -> None:
    found = read_evaluation(done)
    assert found.kind == "views"
    assert [(row.item, row.method) for row in found.rows] == [
        ("a to b", "ostec"),
        ("a to a", "frontal"),
        ("b to a", "ostec"),
        ("b to a", "frontal"),
    ]
    assert {failure["item"] for failure in found.failures} == {"a to wall", "b to wall", "wall to *"}
    assert all("face" in failure["reason"] for failure in found.failures)
    assert set(found.models) == {"perceptual", "identity"}
    for row in found.rows:
        assert row.figures["psnr_face_light"] > 25
        assert 0 < row.figures["identity"] <= 1
        assert row.figures["psnr_seen_light"] > row.figures["psnr_seen"] - 0.05
        assert ("psnr_face_own" in row.figures) == (row.method == "ostec")
    pair = found.rows[0]
    assert pair.figures["psnr_face"] < 18
    assert pair.labels["input_yaw"] == pytest.approx(pair.labels["target_yaw"], abs=1)
    assert (pair.labels["input_yaw_known"], pair.labels["target_yaw_known"]) == (-20, 5)


def test_pictures_are_those_that_were_compared(done: Path) -> None:
    for row in read_evaluation(done).rows:
        made, truth, difference = (read_image(done / row.pictures[k]) for k in ("made", "truth", "difference"))
        assert np.abs(np.clip(0.5 + made - truth, 0, 1) - difference).max() < 2.1 / 255
        # Beside the face the made picture is the true one.
        assert np.array_equal(made[0, 0], truth[0, 0])
    sheet = read_image(done / "sheet.png")
    assert sheet.shape[1] > 3 * sheet.shape[0]
    assert (done / "table.txt").read_text().startswith("views: ")


def test_a_known_yaw_far_from_the_fit_is_warned_about(
    done: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the same command again does nothing again, to the same bytes."""
    files = [path for path in sorted(done.rglob("*")) if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
    names = [str(photos / name) for name in ("a.png", "b.png", "wall.png")]
    truth = ("--truth", names[0], "--yaws", "-20", "5", "0")
    assert main(["eval", "views", *names, *truth, "--out", str(done), *QUICK]) == 1
    for path, (content, when) in before.items():
        assert path.read_bytes() == content, path
        if path.parent.name in ("parts", "pictures"):
            assert path.stat().st_mtime_ns == when, path
    assert [path for path in sorted(done.rglob("*")) if path.is_file()] == files
    said = capsys.readouterr()
    assert "a.png is said to be at a yaw of -20 degrees" in said.err
    assert "b.png is said" not in said.err
    assert "Done before and kept: 2 of 3 photos." in said.err
    assert said.out.endswith((done / "table.txt").read_text())


def test_a_picture_that_has_gone_is_made_again(done: Path, photos: Path) -> None:
    row = read_evaluation(done).rows[0]
    picture = done / row.pictures["truth"]
    content = picture.read_bytes()
    picture.unlink()
    names = [str(photos / name) for name in ("a.png", "b.png", "wall.png")]
    truth = ("--truth", names[0], "--yaws", "-20", "5", "0")
    assert main(["eval", "views", *names, *truth, "--out", str(done), *QUICK]) == 1
    assert picture.read_bytes() == content
