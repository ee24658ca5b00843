"""``ostec track``, on a clip made of an example: the photo moves, is covered for a while, and breaks off."""

import csv
import json
import socket
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from ostec.app.cli import main
from ostec.io.video import Video, VideoWriter, is_video_file

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "astronaut.png"
FRAMES, SIDE = 48, 360
COVERED = range(34, 42)


def shown(k: int) -> np.ndarray:
    """The photo, moving to and fro; grey where it is covered. RGB."""
    if k in COVERED:
        return np.full((SIDE, SIDE, 3), 128, np.uint8)
    photo = cv2.cvtColor(cv2.imread(str(EXAMPLE)), cv2.COLOR_BGR2RGB)
    place = np.array([[0.8, 0, -10 + 12 * np.sin(k / 6)], [0, 0.8, 5 * np.sin(k / 9)]])
    return np.asarray(cv2.warpAffine(photo, place, (SIDE, SIDE), flags=cv2.INTER_AREA))


def rows_of(path: Path) -> list[dict[str, str]]:
    return [*csv.DictReader(path.read_text().splitlines())]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "a.webm"
    writer = VideoWriter(path, 25.0, SIDE, SIDE)
    for k in range(FRAMES):
        writer.write(shown(k))
    writer.close()
    return path


@pytest.fixture(scope="module")
def tracked(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[bytes]]]:
    """The folder of results, and what was sent."""
    folder, sent = tmp_path_factory.mktemp("tracked"), []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener, warnings.catch_warnings():
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        options = ["--preview", "--meshes", "ply", "--live-link", address, "--uv-size", "256", "--learn-frames", "20"]
        assert main(["track", str(clip), "-o", str(folder), *options, "-q"]) == 0
        sent = [listener.recv(4096)]
    return folder, sent


def test_there_is_a_row_for_every_frame_and_those_without_a_face_say_so(tracked: tuple[Path, list[bytes]]) -> None:
    rows = rows_of(tracked[0] / "a_track.csv")
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    assert [float(row["time_s"]) for row in rows] == pytest.approx([k / 25 for k in range(FRAMES)], abs=0.002)
    lost = {k for k, row in enumerate(rows) if row["ok"] == "0"}
    assert set(COVERED) <= lost <= set(range(COVERED.start, COVERED.stop + 6))
    assert rows[-1]["ok"] == "1"


def test_a_photo_that_moves_does_not_turn_or_grimace(tracked: tuple[Path, list[bytes]]) -> None:
    rows = [row for row in rows_of(tracked[0] / "a_track.csv") if row["ok"] == "1"]
    for name, spread in (
        ("yaw_deg", 1.5),
        ("pitch_deg", 1.5),
        ("roll_deg", 0.7),
        ("jawOpen", 0.03),
        ("eyeBlinkLeft", 0.1),
    ):
        assert np.std([float(row[name]) for row in rows]) < spread, name


def test_the_glb_moves_all_meshes_joints_and_the_whole(tracked: tuple[Path, list[bytes]]) -> None:
    content = (tracked[0] / "a_track.glb").read_bytes()
    length = struct.unpack("<I", content[12:16])[0]
    document = json.loads(content[20 : 20 + length])
    (animation,) = document["animations"]
    paths = [channel["target"]["path"] for channel in animation["channels"]]
    moving = sum("weights" in mesh for mesh in document["meshes"])
    assert paths.count("weights") == moving > 1
    turned = [channel["target"]["node"] for channel in animation["channels"] if channel["target"]["path"] == "rotation"]
    assert [document["nodes"][k]["name"] for k in turned] == ["Head", "LeftEye", "RightEye"]
    times = document["accessors"][animation["samplers"][0]["input"]]
    assert times["count"] == FRAMES
    weights = document["accessors"][animation["samplers"][0]["output"]]
    assert weights["count"] == FRAMES * 52


def test_the_record_lists_the_files_and_they_are_there(tracked: tuple[Path, list[bytes]]) -> None:
    folder = tracked[0]
    record = json.loads((folder / "a_track.json").read_text())
    assert record["kind"] == "ostec track"
    assert record["frames"]["count"] == FRAMES
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert set(record["files"]) == there
    assert sum(name.endswith(".ply") for name in there) == FRAMES


def test_the_preview_has_every_frame_and_shows_the_head(tracked: tuple[Path, list[bytes]]) -> None:
    frames = [frame.image for frame in Video(tracked[0] / "a_track.webm")]
    assert len(frames) == FRAMES
    assert np.abs(frames[10].astype(int) - shown(10)).mean() > 5
    assert np.abs(frames[COVERED[0] + 2].astype(int) - 128).mean() < 8


def test_frames_are_sent_to_who_listens(tracked: tuple[Path, list[bytes]]) -> None:
    assert tracked[1][0][:5] == struct.pack("<I", 6) + b"$"


def test_what_is_done_is_skipped(
    tracked: tuple[Path, list[bytes]], clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tracked[0] / "a_track.json").stat().st_mtime_ns
    assert main(["track", str(clip), "-o", str(tracked[0])]) == 0
    assert "skipped" in capsys.readouterr().out
    assert (tracked[0] / "a_track.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--vmc", "nowhere"], "--vmc must be HOST:PORT, got 'nowhere'."),
        (["--smooth", "2"], "--smooth must be 0 to 1, got 2.0"),
        (["--neutral", "first"], "--neutral must be auto or the number of a frame, got 'first'"),
        (["--texture", "nowhere.json"], "The result nowhere.json does not exist."),
    ],
)
def test_wrong_use_is_one_sentence(
    clip: Path, tmp_path: Path, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["track", str(clip), "-o", str(tmp_path), *words]) == 2
    assert sentence in capsys.readouterr().err.replace("\n", " ")


def test_a_camera_has_no_clip_to_fuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["track", "camera:0", "-o", str(tmp_path), "--texture", "clip"]) == 2
    sentence = "--texture clip is for videos and pictures: a camera's frames are not kept."
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_text_is_no_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_text("#EXTM3U\nhttp://example.org/x.ts\n")
    assert not is_video_file(tmp_path / "a.mp4")
    assert main(["track", str(tmp_path / "a.mp4"), "-o", str(tmp_path / "out")]) == 2
    assert "neither a video nor a picture" in capsys.readouterr().err


def test_a_video_that_breaks_off_is_kept_as_far_as_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole.avi"
    writer = cv2.VideoWriter(str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 25, (SIDE, SIDE))
    for k in range(24):
        writer.write(np.ascontiguousarray(shown(k)[:, :, ::-1]))
    writer.release()
    (tmp_path / "cut.avi").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert main(["track", str(tmp_path / "cut.avi"), "-o", str(tmp_path / "out"), "--uv-size", "256"]) == 1
    assert "breaks off after" in capsys.readouterr().err
    assert (tmp_path / "out" / "cut_track.csv").is_file()


def test_pictures_of_a_folder_are_frames_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in (2, 0, 1):
        cv2.imwrite(str(folder / f"{k}.png"), np.ascontiguousarray(shown(COVERED[0] if k == 1 else k)[:, :, ::-1]))
    assert main(["track", str(folder), "-o", str(tmp_path / "out"), "-q", "--uv-size", "256"]) == 0
    rows = rows_of(tmp_path / "out" / "pictures_track.csv")
    assert [row["ok"] for row in rows] == ["1", "0", "1"]


def test_the_texture_may_be_fused_of_the_whole_clip(clip: Path, tmp_path: Path) -> None:
    options = ["--texture", "clip", "--uv-size", "256", "--learn-frames", "20", "-q"]
    assert main(["track", str(clip), "-o", str(tmp_path), *options]) == 0
    record = json.loads((tmp_path / "a_track.json").read_text())
    assert len(record["photos"]) > 1
    assert all(one["source"].startswith("a.webm at ") for one in record["photos"])
    assert record["frames"]["texture"] == -1
    assert record["focal"] == 0.8
    assert len(rows_of(tmp_path / "a_track.csv")) == FRAMES
