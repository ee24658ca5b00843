"""Several photos, or a video, of one person: drawn from a completed face, so that what they show is known."""

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy import ndimage

from ostec.core.assets import sha256_of_all
from ostec.core.errors import FaceError, ImageError, UsageError
from ostec.core.types import BoolArray, FloatArray, Provenance, kinds_of
from ostec.io.images import read_image, read_palette_png, to_bytes, write_png
from ostec.pipeline import CompletedFace, Completer
from ostec.pipeline.several import stranger_among
from ostec.render.colour import from_linear, to_linear

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
HOPPER = ROOT / "examples/grace_hopper.jpg"
LIGHTS = {-35: (0.7, (1.1, 1.0, 0.85)), 0: (1.0, (1.0, 1.0, 1.0)), 35: (1.25, (0.92, 1.0, 1.1))}
"""Yaw -> exposure and tint."""


@pytest.fixture(scope="module")
def truth(completer: Completer) -> CompletedFace:
    return completer(read_image(ASTRONAUT))


@pytest.fixture(scope="module")
def freckled(truth: CompletedFace) -> FloatArray:
    """[S, S, 3] its texture with freckles, which no prior knows of."""
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=truth.texture.shape[:2]), 2.5)
    return np.float32(np.clip(truth.texture * (1 - 0.08 * np.clip(noise / noise.std(), 0, 3))[..., None], 0, 1))


@pytest.fixture(scope="module")
def draw(completer: Completer, truth: CompletedFace, freckled: FloatArray) -> Callable[[float], FloatArray]:
    """The freckled face from a side."""
    return lambda yaw: completer._renderer.portrait(truth.textured.face, freckled, (0.0, yaw), 400)


@pytest.fixture(scope="module")
def views(draw: Callable[[float], FloatArray], tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Yaw -> photo, each under its own exposure and tint."""
    folder, found = tmp_path_factory.mktemp("views"), {}
    for yaw, (exposure, tint) in LIGHTS.items():
        picture = from_linear(np.float32(to_linear(draw(yaw)) * exposure * np.float32(tint)))
        found[yaw] = folder / f"yaw{yaw}.png"
        write_png(found[yaw], picture)
    return found


@pytest.fixture(scope="module")
def fused(completer: Completer, views: dict[int, Path]) -> CompletedFace:
    return completer.fuse([*views.values()])


def believed(*faces: CompletedFace) -> BoolArray:
    return np.all([kinds_of(face.provenance) == Provenance.PHOTO for face in faces], axis=0)


def psnr(one: FloatArray, other: FloatArray, where: BoolArray) -> float:
    return float(-10 * np.log10(max(((one - other)[where] ** 2).mean(), 1e-10)))


def alike(one: FloatArray, other: FloatArray, where: BoolArray) -> float:
    """Correlation of the detail."""
    fine = [(x.mean(-1) - ndimage.gaussian_filter(x.mean(-1), 5))[where] for x in (one, other)]
    return float(np.corrcoef(*fine)[0, 1])


def test_one_photo_is_what_complete_makes_of_it(completer: Completer, views: dict[int, Path]) -> None:
    for photo in (HOPPER, views[0]):
        alone, single = completer(photo), completer.fuse([photo])
        np.testing.assert_array_equal(single.texture, alone.texture)
        np.testing.assert_array_equal(single.provenance, alone.provenance)
        np.testing.assert_array_equal(single.vertices, alone.vertices)
        assert single.record == alone.record


def test_three_sides_show_more_than_one(
    completer: Completer, freckled: FloatArray, views: dict[int, Path], fused: CompletedFace
) -> None:
    front = completer(views[0])
    assert believed(fused).sum() > 1.05 * believed(front).sum()
    more = believed(fused) & ~believed(front)
    assert alike(fused.texture, freckled, more) > 0.4  # the freckles there are the person's own
    both = believed(fused, front)
    assert psnr(fused.texture, freckled, both) > psnr(front.texture, freckled, both) - 1.0
    assert fused.record["source"] == "yaw0.png"


@pytest.mark.slow
def test_neither_order_nor_doubles_matter(
    completer: Completer, views: dict[int, Path], fused: CompletedFace, tmp_path: Path
) -> None:
    double = tmp_path / "copy.png"
    double.write_bytes(views[35].read_bytes())
    other = completer.fuse([views[35], double, views[0], views[-35]])
    np.testing.assert_array_equal(other.texture, fused.texture)
    np.testing.assert_array_equal(other.provenance, fused.provenance)
    kept = {name: value for name, value in other.record.items() if name != "photos"}
    assert kept == {name: value for name, value in fused.record.items() if name != "photos"}


def test_provenance_names_the_photo_and_the_record_has_the_legend(fused: CompletedFace, tmp_path: Path) -> None:
    fused.save(tmp_path, "anna")
    record = json.loads((tmp_path / "anna.json").read_text(encoding="utf-8"))
    labels = read_palette_png(tmp_path / "anna_provenance.png")
    legend = {photo["provenance"]: photo["source"] for photo in record["photos"]}
    assert legend[Provenance.PHOTO] == "yaw0.png"
    assert sorted(legend) == [1, 11, 12]
    assert set(np.unique(labels)) - {int(p) for p in Provenance} == {11, 12}
    half = labels.shape[1] // 2
    for index in (11, 12):  # a face turned to the image's left shows its other half
        left, right = (labels[:, :half] == index).sum(), (labels[:, half:] == index).sum()
        assert (left > right) == (legend[index] == "yaw35.png")
    assert sum(photo["share"] for photo in record["photos"]) == pytest.approx(record["texel_shares"]["photo"], abs=1e-3)
    assert "photo 2" in (tmp_path / "anna.html").read_text(encoding="utf-8")


def test_what_cannot_be_used_is_left_out_with_a_line(
    completer: Completer, views: dict[int, Path], tmp_path: Path
) -> None:
    grey, text = tmp_path / "grey.png", tmp_path / "text.png"
    write_png(grey, np.full((64, 64, 3), 0.5, np.float32))
    text.write_text("no picture", encoding="utf-8")
    face = completer.fuse([grey, views[0], text])
    assert [w for w in face.warnings if "was left out" in w] == face.warnings[:2]
    assert "grey.png was left out: No face was found" in face.warnings[0]
    np.testing.assert_array_equal(face.texture, completer(views[0]).texture)
    with pytest.raises((FaceError, ImageError)):
        completer.fuse([grey, text])
    with pytest.raises(ValueError, match="at least one photo"):
        completer.fuse([])


@pytest.mark.slow
def test_reference_decides_light_and_pose(completer: Completer, views: dict[int, Path]) -> None:
    face = completer.fuse([*views.values()], reference=views[-35])
    assert face.pose_deg[1] < -15
    assert face.record["source"] == "yaw-35.png"
    with pytest.raises(UsageError, match="none of the photos"):
        completer.fuse([views[0], views[35]], reference=HOPPER)


def test_the_face_that_is_unlike_the_others_is_somebody_elses() -> None:
    rng = np.random.default_rng(5)
    person, stranger = rng.normal(size=(2, 128))
    own = [person + 0.4 * rng.normal(size=128) for _ in range(4)]

    def told(*faces: np.ndarray, keep_first: bool = False) -> int | None:
        given = np.float32(faces)
        return stranger_among(given / np.linalg.norm(given, axis=1, keepdims=True), keep_first)

    assert told(*own) is None
    assert told(*own[:2], stranger, *own[2:]) == 2
    assert told(own[0], stranger, own[1]) == 1
    assert told(own[0], stranger) is None
    assert told(stranger, *own) == 0
    assert told(stranger, *own[:2], keep_first=True) in (1, 2)


def test_one_digest_for_several_files() -> None:
    assert sha256_of_all(["b", "a"]) == sha256_of_all(["a", "b", "b"]) != sha256_of_all(["a"])
    assert sha256_of_all(["a", "a"]) == "a"


def write_video(path: Path, frames: Sequence[FloatArray]) -> Path:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 4.0, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(to_bytes(frame)[..., ::-1]))
    writer.release()
    return path


def turned_in_player(path: Path, upright: Path) -> Path:
    """A copy whose header asks to be shown turned by 90 degrees clockwise, as phones write it."""
    data = bytearray(upright.read_bytes())
    at = data.index(b"tkhd") + 4
    matrix = at + (52 if data[at] else 40)
    (height,) = struct.unpack(">I", data[matrix + 40 : matrix + 44])
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, height, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path


@pytest.fixture(scope="module")
def clip(draw: Callable[[float], FloatArray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The head turning from one side to the other, 2 seconds."""
    frames = [draw(yaw) for yaw in np.linspace(-35, 35, 8)]
    return write_video(tmp_path_factory.mktemp("clip") / "turning.mp4", frames)


@pytest.mark.slow
def test_a_video_is_as_good_as_its_stills(
    completer: Completer, freckled: FloatArray, clip: Path, fused: CompletedFace
) -> None:
    face = completer.fuse([clip])
    photos = face.record["photos"]
    assert 3 <= len(photos) <= 16
    assert all(photo["source"].startswith("turning.mp4 at ") for photo in photos)
    yaws = [photo["pose_deg"][1] for photo in photos]
    assert min(yaws) < -20
    assert max(yaws) > 20
    both = believed(face, fused)
    assert psnr(face.texture, freckled, both) > psnr(fused.texture, freckled, both) - 1.5
    assert believed(face).sum() > 0.95 * believed(fused).sum()


@pytest.mark.slow
def test_a_video_that_phones_turn_is_seen_upright(completer: Completer, clip: Path, tmp_path: Path) -> None:
    lying = [np.rot90(frame) for frame in frames_of(clip)]
    stored = write_video(tmp_path / "stored.mp4", [np.ascontiguousarray(frame) for frame in lying])
    face = completer.fuse([turned_in_player(tmp_path / "phone.mp4", stored)])
    assert abs(face.record["photos"][0]["pose_deg"][2]) < 10
    assert len(face.record["photos"]) >= 3


def frames_of(path: Path) -> list[FloatArray]:
    capture, found = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        found.append(np.float32(read[1][..., ::-1]) / 255)
    return found


def test_a_damaged_video_is_a_sentence(completer: Completer, clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"cut\.mp4"):
        completer.fuse([cut])
