"""The two commands, in processes of their own too, with the networks that ship, on photos of every kind."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ostec.app.cli import main
from ostec.core.record import safe_name
from ostec.export.record import read_failures, read_record, read_records
from tests.app.conftest import Refuses, Said, assert_whole

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FAST = ("-i", "0", "--uv-size", "256")


def run(*words: object, program: tuple[str, ...] = ("-m", "ostec.app.cli"), cwd: Path = ROOT) -> Said:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *program, *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


def here(*words: object) -> Said:
    """The same in this process, which has loaded the libraries."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*map(str, words)])
    return Said(code, out.getvalue(), err.getvalue())


def astronaut() -> Image.Image:
    return Image.open(EXAMPLES / "astronaut.png").convert("RGB").crop((100, 0, 350, 300))


def landscape() -> Image.Image:
    """Sky over hills, with grain."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:300, :400].astype(np.float32)
    sky = np.stack([0.4 + y / 800, 0.6 + y / 900, 0.9 - y / 2000], axis=2)
    hills = (y > 180 + 25 * np.sin(x / 40) + 10 * np.sin(x / 9))[..., None]
    picture = np.where(hills, np.float32([0.2, 0.45, 0.15]), sky) + rng.normal(0, 0.03, (300, 400, 1))
    return Image.fromarray(np.uint8(np.clip(picture, 0, 1) * 255))


def five_faces() -> Image.Image:
    """The same face five times, the middle one larger."""
    picture = Image.new("RGB", (760, 560), "white")
    for left, top in ((0, 0), (560, 0), (0, 320), (560, 320)):
        picture.paste(astronaut().resize((200, 240)), (left, top))
    picture.paste(astronaut().resize((350, 420)), (205, 60))
    return picture


@dataclass(frozen=True)
class Batch:
    source: Path
    out: Path
    first: Said
    again: Said


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """A folder of difficult photos, completed twice."""
    source = tmp_path_factory.mktemp("batch") / "Fotos für später"
    source.mkdir()
    landscape().save(source / "landscape.png")
    five_faces().save(source / "five.png")
    Image.open(EXAMPLES / "astronaut.png").resize((140, 140)).save(source / "tiny.png")
    (source / "text.jpg").write_text("This is no picture.", encoding="utf-8")
    astronaut().save(source / "Jürgen Müller.jpg")
    astronaut().save(source / "twin.jpg")
    astronaut().transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(source / "twin.png")
    out = source.parent / "mit Lücken"
    command = ("complete", source, "--save-dir", out, "--face-model", "none", *FAST)
    return Batch(source, out, here(*command), here(*command))


def test_bad_photos_are_told_and_do_not_stop_the_others(batch: Batch) -> None:
    assert batch.first.code == 1
    failures = {Path(f.file).name: (f.stage, f.reason) for f in read_failures(batch.out)}
    assert set(failures) == {"landscape.png", "text.jpg"}
    assert failures["landscape.png"] == ("detect", "No face was found in the photo.")
    assert failures["text.jpg"][0] == "read"
    for _, reason in failures.values():
        assert reason in batch.first.err
    assert batch.first.out.splitlines()[-1].startswith("5 done, 0 skipped, 2 failed; open ")


def test_every_photo_has_its_own_files(batch: Batch) -> None:
    assert_whole(batch.out, {"five", "tiny", "Jürgen Müller", "twin", "twin_png"})
    yaws = {}
    for name in ("twin", "twin_png"):
        record = read_record(batch.out / f"{name}.json")
        assert record is not None
        yaws[record["source"]] = record["pose_deg"][2]
    assert yaws["twin.jpg"] * yaws["twin.png"] < 0  # the roll of the mirrored one is the other way round
    obj = (batch.out / "Jürgen Müller.obj").read_text("utf-8")
    assert f"mtllib {safe_name('Jürgen Müller.mtl')}\n" in obj
    assert (batch.out / safe_name("Jürgen Müller.mtl")).is_file()
    assert "Jürgen Müller" in (batch.out / "index.html").read_text("utf-8")


def test_warnings_reach_the_record_and_the_user(batch: Batch) -> None:
    records = read_records(batch.out)
    assert records["five"]["warnings"] == ["The photo has 5 faces; the largest was completed (--faces all does all)."]
    (small,) = records["tiny"]["warnings"]
    assert small.startswith("The face is only 2")
    for sentence in (*records["five"]["warnings"], small):
        assert batch.first.err.count(sentence) == 1
    assert records["twin"]["warnings"] == []


def test_run_again_skips_what_is_done_and_tries_the_rest(batch: Batch) -> None:
    assert batch.again.code == 1
    assert batch.again.out.splitlines()[-1].startswith("0 done, 5 skipped, 2 failed; open ")
    assert len((batch.out / "run.jsonl").read_text("utf-8").splitlines()) == 5


@pytest.mark.slow
def test_result_folder_may_be_the_folder_of_the_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    astronaut().save(tmp_path / "a.jpg")
    command = ["complete", str(tmp_path), "--save-dir", str(tmp_path), *FAST]
    assert main(command) == 0
    written = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.name.startswith("a")}
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 done, 1 skipped, 0 failed; open ")
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.name.startswith("a")} == written
    (tmp_path / "a.jpg").unlink()
    assert_whole(tmp_path, {"a"})


def test_what_cannot_start_is_one_sentence(tmp_path: Path, refuses: Refuses) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    astronaut().save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    for words, sentence in (
        ((tmp_path / "empty", "--save-dir", tmp_path / "out"), "No photo was found"),
        ((tmp_path / "a.png", "--save-dir", tmp_path), "would replace the source"),
        ((tmp_path / "a.png", "--save-dir", tmp_path / "file/out"), "file"),
        ((tmp_path / "a.png", "--save-dir", "/proc/out"), "/proc"),
        ((tmp_path / "a.png", "--save-dir", tmp_path / "out", "--prior", "none"), "prior"),
    ):
        refuses(sentence, "complete", *words, "-i", "0")
    assert (tmp_path / "a.png").read_bytes() == content


@pytest.mark.slow
def test_paper_command_with_its_own_options(tmp_path: Path) -> None:
    words = ("--source_dir", EXAMPLES, "--save_dir", tmp_path / "out", "-i", "0", "-f", "--uv_size", "256")
    said = run(*words, program=(str(ROOT / "run_ostec.py"),), cwd=tmp_path)
    assert said.code == 0
    assert_whole(tmp_path / "out", {"astronaut", "grace_hopper"})
    for record in read_records(tmp_path / "out").values():
        assert record["mode"] == "hard"
        assert any(file.endswith("_frontal.png") for file in record["files"])
    assert {json.loads(line)["name"] for line in (tmp_path / "out/run.jsonl").read_text("utf-8").splitlines()} == {
        "astronaut",
        "grace_hopper",
    }


@pytest.mark.slow
def test_all_faces_of_a_photo(tmp_path: Path) -> None:
    five_faces().save(tmp_path / "five.png")
    said = run("complete", tmp_path / "five.png", "--save-dir", tmp_path / "out", "--faces", "all", *FAST)
    assert said.code == 0
    assert "5 faces" in said.out
    assert_whole(tmp_path / "out", {f"five_face{number}" for number in range(1, 6)})
    boxes = [record["face_box"] for record in read_records(tmp_path / "out").values()]
    widths = [box[2] - box[0] for box in boxes]
    assert widths[0] > 1.5 * max(widths[1:])
    assert len({(box[0] > 300, box[1] > 300) for box in boxes[1:]}) == 4


@pytest.mark.slow
def test_killed_in_the_middle_of_writing_the_same_command_finishes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["complete", str(EXAMPLES), "--save-dir", str(out), "-i", "0", "-f"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ostec.app.cli", *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        end = time.monotonic() + 120
        while not (out / "grace_hopper.png").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not (out / "grace_hopper.json").exists()
    first = (out / "astronaut.json").stat().st_mtime_ns
    again = run(*command)
    assert again.code == 0
    assert again.out.splitlines()[-1].startswith("1 done, 1 skipped, 0 failed; open ")
    assert_whole(out, {"astronaut", "grace_hopper"})
    assert (out / "astronaut.json").stat().st_mtime_ns == first
    run(*command[:2], "--save-dir", tmp_path / "undisturbed", *command[4:])
    for path in (tmp_path / "undisturbed").iterdir():
        if path.name != "run.jsonl":
            assert (out / path.name).read_bytes() == path.read_bytes(), path.name
