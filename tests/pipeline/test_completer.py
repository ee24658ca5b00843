"""The whole way of one photo with the weights that ship, on the two example photos."""

import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from ostec.core.assets import sha256_of
from ostec.core.errors import AssetError, FaceError, ImageError, OstecWarning
from ostec.core.progress import STAGES, PhotoRun
from ostec.core.record import safe_name
from ostec.core.settings import to_json
from ostec.core.types import BoolArray, FaceBox, FloatArray, ObservedFace, Provenance
from ostec.detect.faces import detect_faces
from ostec.export.mesh import read_npz
from ostec.export.record import read_record
from ostec.io.images import read_image, read_palette_png, to_bytes
from ostec.pipeline import CompletedFace, Completer, load_models
from ostec.pipeline.models import load_head_maker
from ostec.pipeline.settings import CompleteSettings
from ostec.render.geometry import camera_from_matrix
from ostec.render.uv import bake_layout, render_textured

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
HOPPER = ROOT / "examples/grace_hopper.jpg"
SETTINGS = CompleteSettings(iterations=0, uv_size=256, face_model="none")
ENDINGS = {".png", ".obj", ".mtl", ".glb", "_provenance.png", ".json", ".npz", ".html", "_thumbnail.webp"}

Make = Callable[..., Completer]


@pytest.fixture(scope="module")
def with_settings(completer: Completer) -> Make:
    """A completer of other settings that shares the networks."""

    def make(**changed: object) -> Completer:
        settings = replace(SETTINGS, **changed)  # type: ignore[arg-type]
        heads = load_head_maker(settings.face_model, settings.head) if settings.face_model != "none" else None
        return Completer(completer.models, settings, completer.device, [], heads)

    return make


@dataclass(frozen=True)
class Result:
    photo: Path
    face: CompletedFace
    folder: Path

    @property
    def name(self) -> str:
        return self.photo.stem

    @property
    def inside(self) -> BoolArray:
        return inside(self.face)


@pytest.fixture(scope="module", params=[ASTRONAUT, HOPPER], ids=["astronaut", "hopper"])
def result(request: pytest.FixtureRequest, completer: Completer, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Both example photos, completed and saved in the three lines of the README."""
    folder = tmp_path_factory.mktemp("saved") / "made" / "on the way"
    face = completer(request.param)
    assert face.save(folder) == folder / f"{request.param.stem}.json"
    return Result(request.param, face, folder)


@pytest.fixture(scope="module")
def astronaut(completer: Completer) -> CompletedFace:
    """Completed from its pixels."""
    return completer(read_image(ASTRONAUT))


@pytest.fixture(scope="module")
def turned(completer: Completer, astronaut: CompletedFace) -> FloatArray:
    """A photo of a face turned to the image's left: the completed face, drawn."""
    face = astronaut.textured.face
    return completer._renderer.portrait(face, astronaut.textured.completed.colour, (0.0, -50.0), 512)


def texture(face: CompletedFace) -> FloatArray:
    return face.textured.completed.colour


def provenance(face: CompletedFace) -> np.ndarray:
    return face.textured.completed.provenance


def inside(face: CompletedFace) -> BoolArray:
    return bake_layout(face.textured.topology, len(texture(face))).inside.numpy()


def psnr(a: FloatArray, b: FloatArray, where: BoolArray) -> float:
    return float(-10 * np.log10(max(((a[where] - b[where]) ** 2).mean(), 1e-10)))


# --- files -----------------------------------------------------------------------------------------------------------


def test_save_writes_the_files_that_the_record_lists_and_no_other(result: Result) -> None:
    expected = {result.name + ending for ending in ENDINGS}
    assert {p.name for p in result.folder.iterdir()} == expected
    record = read_record(result.folder / f"{result.name}.json")
    assert record is not None
    assert record["files"] == sorted(expected)


def test_every_texel_of_the_layout_has_an_origin_and_a_colour(result: Result) -> None:
    origin = provenance(result.face)
    assert ((origin >= Provenance.PHOTO) & (origin <= Provenance.RIGHT)).tolist() == result.inside.tolist()
    assert set(np.unique(origin[~result.inside])) == {Provenance.OUTSIDE, Provenance.PADDING}
    found = set(np.unique(origin[result.inside]))
    assert {Provenance.PHOTO, Provenance.PRIOR} <= found <= {Provenance.PHOTO, Provenance.PRIOR, Provenance.MIRRORED}
    # The examples look at the camera: hardly anything was seen on one side only.
    assert (origin == Provenance.MIRRORED).sum() < 0.1 * result.inside.sum()
    assert texture(result.face).shape == (256, 256, 3)
    assert texture(result.face).dtype == np.float32
    assert np.isfinite(texture(result.face)).all()
    assert 0 <= texture(result.face).min() <= texture(result.face).max() <= 1
    assert texture(result.face).min(axis=2)[origin == Provenance.PADDING].mean() > 0.1  # no black round the border


def test_pictures_hold_what_the_result_holds(result: Result) -> None:
    np.testing.assert_array_equal(read_image(result.folder / f"{result.name}.png"), texture(result.face))
    np.testing.assert_array_equal(
        read_palette_png(result.folder / f"{result.name}_provenance.png"), provenance(result.face)
    )


def test_arrays_have_the_shapes_and_types_that_are_promised(result: Result) -> None:
    with np.load(result.folder / f"{result.name}.npz", allow_pickle=False) as arrays:
        shapes = {name: (arrays[name].shape, arrays[name].dtype.str) for name in arrays.files}
        camera, pose = arrays["camera_matrix"], arrays["pose_deg"]
        np.testing.assert_array_equal(arrays["triangles"], arrays["triangles_uv"])
        assert arrays["triangles"].max() == len(arrays["vertices"]) - 1
    vertices, triangles = shapes["vertices"][0][0], shapes["triangles"][0][0]
    assert shapes == {
        "vertices": ((vertices, 3), "<f4"),
        "triangles": ((triangles, 3), "<i4"),
        "uv": ((vertices, 2), "<f4"),
        "triangles_uv": ((triangles, 3), "<i4"),
        "landmarks": ((468, 3), "<f4"),
        "camera_matrix": ((3, 4), "<f8"),
        "pose_deg": ((3,), "<f8"),
    }
    np.testing.assert_array_equal(camera[2], [0, 0, 0, 1])
    np.testing.assert_allclose(pose, result.face.record["pose_deg"], atol=0.005)


def test_camera_matrix_puts_the_mesh_on_the_photos_landmarks(result: Result) -> None:
    saved = read_npz(result.folder / f"{result.name}.npz")
    pixels = saved.vertices[:468] @ saved.camera_matrix[:2, :3].T + saved.camera_matrix[:2, 3]
    np.testing.assert_allclose(pixels, saved.landmarks[:, :2], atol=0.01)
    eyes = saved.vertices[[33, 263]]
    np.testing.assert_allclose(np.linalg.norm(eyes[0] - eyes[1]), 90, atol=1e-3)
    np.testing.assert_allclose(eyes.mean(0), [0, 0, 60], atol=1e-3)


def test_rendered_over_the_photo_the_face_gives_the_photo_back(result: Result) -> None:
    image = read_image(result.photo)
    face = result.face.textured
    layout = bake_layout(face.topology, 8)
    camera = camera_from_matrix(face.face.camera_matrix, face.face.rotation)

    def draw(values: FloatArray) -> FloatArray:
        tensor = torch.from_numpy(np.ascontiguousarray(values))
        view = render_textured(
            torch.from_numpy(face.face.vertices), layout, tensor, camera, image.shape[:2], oversample=2
        )
        return view.colour.numpy()

    from_photo = (provenance(result.face) == Provenance.PHOTO).astype(np.float32)
    seen = draw(np.repeat(from_photo[..., None], 3, axis=2))[..., 0] > 0.99
    assert seen.sum() > 4000
    assert psnr(draw(texture(result.face)), image, seen) > 28


def test_saved_again_under_another_name(result: Result, tmp_path: Path) -> None:
    path = result.face.save(tmp_path, "somebody else")
    assert json.loads(path.read_text("utf-8"))["source"] == result.photo.name
    copies = [safe_name("somebody else.mtl"), safe_name("somebody else.png")]
    assert {p.name for p in tmp_path.iterdir()} == {*(f"somebody else{ending}" for ending in ENDINGS), *copies}
    assert f"map_Kd {copies[1]}" in (tmp_path / "somebody else.mtl").read_text("utf-8")
    record = read_record(path)  # which names the copies, is one of ours
    assert record is not None
    assert set(copies) <= set(record["files"])


# --- the record ------------------------------------------------------------------------------------------------------


def test_record_says_how_the_result_was_made(result: Result) -> None:
    record = read_record(result.folder / f"{result.name}.json")
    assert record is not None
    assert record["source"] == result.photo.name
    assert record["source_sha256"] == sha256_of(result.photo)
    assert record["settings"] == json.loads(json.dumps(to_json(SETTINGS)))
    assert "seed" not in record  # nothing is drawn
    assert {"ostec", "python", "torch", "numpy"} <= set(record["versions"])
    for path in (
        ROOT / "models/prior.safetensors",
        ROOT / "models/facemesh.safetensors",
        ROOT / "topology/facemesh.npz",
    ):
        assert record["weights"][path.name] == sha256_of(path)
    assert sum("net" in name for name in record["weights"]) == 3
    assert [abs(angle) < 5 for angle in record["pose_deg"]] == [True] * 3
    assert (record["mode"], record["warnings"]) == ("soft", [])
    assert "within 30" in record["mode_reason"]
    assert sum(record["texel_shares"].values()) == pytest.approx(1, abs=1e-3)
    for share in record["texel_shares"].items():
        value = Provenance[share[0].upper()]
        assert share[1] == pytest.approx((provenance(result.face) == value).sum() / result.inside.sum(), abs=1e-4)


@pytest.mark.parametrize("left", [{"generator": "none"}, {"iterations": 0}])
def test_nothing_that_could_fill_is_refused_in_one_sentence(left: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*with prior none leaves nothing that could fill unseen texels\.$"):
        CompleteSettings(prior="none", **left)


def test_a_generator_is_loaded_only_for_iterations(completer: Completer) -> None:
    assert completer.models.generator is None
    assert not any("generator" in name for name in completer.models.hashes)
    assert load_models(torch.device("cpu"), CompleteSettings(generator="none")).generator is None


def test_prior_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes((ROOT / "models/prior.safetensors").read_bytes())
    with pytest.raises(AssetError, match=r"a\.json.*cannot be read"):
        Completer.from_pretrained(CompleteSettings(prior=str(tmp_path / "a.safetensors")), "cpu")
    (tmp_path / "a.json").write_text('{"topology_sha256": "00"}', encoding="utf-8")
    with pytest.raises(AssetError, match="another UV layout"):
        Completer.from_pretrained(CompleteSettings(prior=str(tmp_path / "a.safetensors")), "cpu")


def test_progress_never_falls_names_every_stage_and_ends(completer: Completer) -> None:
    calls: list[tuple[str, float]] = []
    completer(HOPPER, progress=lambda stage, done: calls.append((stage, done)))
    stages, fractions = zip(*calls, strict=True)
    assert list(dict.fromkeys(stages)) == [stage for stage in STAGES if stage != "project"]
    assert list(fractions) == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


# --- the same again --------------------------------------------------------------------------------------------------


def test_another_process_writes_the_same_bytes(completer: Completer, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    completer(HOPPER).save(here)
    words = ["complete", str(HOPPER), "--save-dir", str(there), "-i", "0", "--uv-size", "256", "--device", "cpu"]
    words += ["--face-model", "none"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run([sys.executable, "-m", "ostec.app.cli", *words], cwd=ROOT, env=environment, check=True)
    for path in here.iterdir():
        assert (there / path.name).read_bytes() == path.read_bytes(), path.name
    assert {p.name for p in there.iterdir()} == {p.name for p in here.iterdir()} | {
        "index.html",
        "run.jsonl",
        "failures.jsonl",
    }


@pytest.mark.parametrize("model", ["none", pytest.param("head", marks=pytest.mark.slow)])
def test_frontal_portrait_and_turntable_added_later_are_those_made_at_once(
    with_settings: Make, tmp_path: Path, model: str
) -> None:
    at_once, later = tmp_path / "once", tmp_path / "later"
    with_settings(frontalize=True, turntable=True, face_model=model)(HOPPER).save(at_once)
    plain = with_settings(face_model=model)
    plain(HOPPER).save(later)
    assert len(list(at_once.iterdir())) == len(list(later.iterdir())) + 2
    plain.extend(later, "grace_hopper", HOPPER, frontalize=True, turntable=False)
    plain.extend(later, "grace_hopper", HOPPER, frontalize=False, turntable=True)
    for path in at_once.iterdir():
        assert (later / path.name).read_bytes() == path.read_bytes(), path.name
    assert read_image(later / "grace_hopper_frontal.png").shape == (512, 512, 3)
    with Image.open(later / "grace_hopper_turntable.webp") as turning:
        assert turning.n_frames == 32  # type: ignore[attr-defined]


# --- settings --------------------------------------------------------------------------------------------------------


def test_hard_without_iterations_has_no_texel_of_the_photo(with_settings: Make) -> None:
    face = with_settings(mode="hard")(HOPPER)
    assert (face.record["mode"], face.record["mode_reason"]) == ("hard", "asked for")
    soft = with_settings(mode="soft")(HOPPER)
    assert face.record["figures"] == soft.record["figures"]  # they are the photo's
    assert 0.2 < face.record["figures"]["brightness"] < 0.9
    assert set(np.unique(provenance(face)[inside(face)])) == {Provenance.PRIOR}
    assert face.record["texel_shares"] == {"prior": 1.0}
    assert texture(face)[inside(face)].std() > 0.05


def test_texture_of_a_size_that_is_no_power_of_two(with_settings: Make, astronaut: CompletedFace) -> None:
    face = with_settings(uv_size=1000)(ASTRONAUT)
    assert texture(face).shape == (1000, 1000, 3)
    origin = provenance(face)
    assert (((origin >= 1) & (origin <= 9)) == inside(face)).all()
    small = np.asarray(Image.fromarray(np.uint8(texture(face) * 255)).resize((256, 256), Image.Resampling.BOX))
    assert psnr(small.astype(np.float32) / 255, texture(astronaut), inside(astronaut)) > 32


def test_all_faces_or_the_largest(with_settings: Make, completer: Completer, astronaut: CompletedFace) -> None:
    image = read_image(ASTRONAUT)[:300, 100:350]
    smaller = np.asarray(Image.fromarray(np.uint8(image * 255)).resize((200, 240)), np.float32) / 255
    pair = np.ones((300, 500, 3), np.float32)
    pair[:240, :200] = smaller
    pair[:, 250:] = image
    (largest,) = completer.complete_all(pair)
    assert largest.record["face_box"][0] > 250
    assert largest.record["warnings"] == ["The photo has 2 faces; the largest was completed (--faces all does all)."]
    calls: list[float] = []
    both = with_settings(faces="all").complete_all(pair, lambda _, done: calls.append(done))
    assert [face.record["face_box"][0] > 250 for face in both] == [True, False]
    assert both[0].record["warnings"] == []
    np.testing.assert_array_equal(texture(both[0]), texture(largest))
    assert calls == sorted(calls)
    assert calls[-1] == 1
    assert psnr(texture(both[0]), texture(astronaut), inside(astronaut)) > 28


def test_a_false_detection_larger_than_the_face_is_not_called_completed(
    completer: Completer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.ones((512, 1024, 3), np.float32)
    image[:, :512] = read_image(ASTRONAUT)[..., :3]
    (true,) = detect_faces(image, completer.models.mtcnn)
    false = replace(
        true, box=np.float32([560, 40, 1000, 480]), confidence=0.9, points=true.points + np.float32([560, 0])
    )
    monkeypatch.setattr("ostec.pipeline.observe.detect_faces", lambda *_: [false, true])
    face = completer(image)
    assert face.record["face_box"][0] < 512
    said, why = face.record["warnings"]
    assert said == "2 faces were detected; the largest that could be completed was (--faces all tries all)."
    assert why.startswith("1 of 2 detected faces could not be completed: What was detected does not look like a face")


# --- photos ----------------------------------------------------------------------------------------------------------


def test_photo_given_as_an_array(completer: Completer, astronaut: CompletedFace, tmp_path: Path) -> None:
    np.testing.assert_array_equal(texture(astronaut), texture(completer(str(ASTRONAUT))))
    assert astronaut.save(tmp_path).name == "array.json"


def _with_alpha(photo: Image.Image) -> bytes:
    return _encoded(photo.convert("RGBA"), "PNG")


def _cmyk(photo: Image.Image) -> bytes:
    return _encoded(photo.convert("CMYK"), "TIFF")


def _lying_on_its_side(photo: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    return _encoded(photo.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=97, subsampling=0, exif=exif)


def _with_profile(photo: Image.Image) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return _encoded(photo, "WEBP", lossless=True, icc_profile=profile)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize("encode", [_with_alpha, _cmyk, _lying_on_its_side, _with_profile])
def test_the_same_photo_in_another_format_gives_the_same_texture(
    completer: Completer, astronaut: CompletedFace, tmp_path: Path, encode: Callable[[Image.Image], bytes]
) -> None:
    with Image.open(ASTRONAUT) as photo:
        (tmp_path / "photo").write_bytes(encode(photo.convert("RGB")))
    face = completer(tmp_path / "photo")
    assert psnr(texture(face), texture(astronaut), inside(astronaut)) > 33


def test_grey_photos_of_8_and_16_bit_give_the_same_texture(completer: Completer, tmp_path: Path) -> None:
    with Image.open(ASTRONAUT) as photo:
        grey = photo.convert("L")
    grey.save(tmp_path / "8.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "16.png")
    shallow, deep = completer(tmp_path / "8.png"), completer(tmp_path / "16.png")
    assert psnr(texture(shallow), texture(deep), inside(shallow)) > 45
    spread = np.ptp(texture(shallow), axis=2)[inside(shallow)]
    assert np.percentile(spread, 90) < 0.06  # what the prior adds is nearly grey, too


def test_mirrored_photo_gives_the_mirrored_texture(
    completer: Completer, with_settings: Make, astronaut: CompletedFace, turned: FloatArray
) -> None:
    mirrored = completer(np.ascontiguousarray(read_image(ASTRONAUT)[:, ::-1]))
    assert psnr(texture(mirrored)[:, ::-1], texture(astronaut), inside(astronaut)) > 25
    left, right = completer(turned), completer(np.ascontiguousarray(turned[:, ::-1]))
    yaws = left.record["pose_deg"][1], right.record["pose_deg"][1]
    assert -60 < yaws[0] < -30
    assert 30 < yaws[1] < 60
    assert abs(yaws[0] + yaws[1]) < 4
    assert psnr(texture(right)[:, ::-1], texture(left), inside(left)) > 22


def test_turned_face_is_told_from_a_frontal_one_and_mirrored(completer: Completer, turned: FloatArray) -> None:
    record = completer(turned).record
    assert record["mode"] == "soft"
    assert "generator" in record["mode_reason"]
    assert record["texel_shares"]["mirrored"] > 0.15


def test_photo_without_a_face(completer: Completer) -> None:
    noise = np.random.default_rng(0).random((200, 300, 3), np.float32)
    with pytest.raises(FaceError, match=r"^No face was found in the photo\.$") as found:
        completer(noise)
    assert found.value.stage == "detect"


def test_errors_say_in_which_stage_they_arose(completer: Completer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError) as found:
        completer(b"no picture")
    assert found.value.stage == "read"
    monkeypatch.setattr("ostec.pipeline.observe.MIN_CONFIDENCE", 2.0)
    monkeypatch.setattr("ostec.pipeline.observe.CERTAIN", 2.0)
    with pytest.raises(FaceError, match="does not look like a face") as found:
        completer(HOPPER)
    assert found.value.stage == "landmarks"
    (outcome,) = completer.complete_many([HOPPER])
    assert outcome.stage == "landmarks"


def test_the_stage_is_that_of_the_error_which_is_told(
    completer: Completer, astronaut: CompletedFace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest face fails when it is unwrapped, the other one before that."""
    boxes = completer.observer.detect(astronaut.photo) * 2
    stages = iter(("unwrap", "landmarks"))

    def failing(photo: FloatArray, box: FaceBox, run: PhotoRun) -> ObservedFace:
        run.enter(next(stages))
        raise FaceError(f"It failed when {run.stage} was due.")

    monkeypatch.setattr(completer.observer, "detect", lambda _: boxes)
    monkeypatch.setattr(completer.observer, "observe", failing)
    with pytest.raises(FaceError, match="when unwrap was due") as found:
        completer(HOPPER)
    assert found.value.stage == "unwrap"


def test_a_face_is_looked_for_in_further_frames(completer: Completer, astronaut: CompletedFace, tmp_path: Path) -> None:
    face = Image.fromarray(to_bytes(astronaut.photo)).resize((256, 256))
    empty = Image.new("RGB", (256, 256), "grey")
    empty.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (256, 256), "white"), face])
    with pytest.warns(OstecWarning, match=r"^The first frame shows no face, so frame 3 was taken\.$"):
        found = completer(tmp_path / "a.gif")
    assert np.abs(found.photo - np.asarray(face, np.float32) / 255).mean() < 0.03
    with pytest.warns(OstecWarning, match="frame 3 was taken"):
        again = completer((tmp_path / "a.gif").read_bytes())
    np.testing.assert_array_equal(again.texture, found.texture)
    empty.save(tmp_path / "b.gif", save_all=True, append_images=[Image.new("RGB", (256, 256), "white")])
    with pytest.raises(FaceError, match="No face was found"):
        completer(tmp_path / "b.gif")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.skipif(importlib.util.find_spec("nvdiffrast") is None, reason="nvdiffrast is not installed")
def test_cuda_gives_nearly_the_texture_of_the_cpu(completer: Completer) -> None:
    """Landmarks differ in the last bits and a texel at a silhouette may fall either way: 40 dB is the tolerance."""
    there = Completer.from_pretrained(SETTINGS, "cuda")(ASTRONAUT)
    here = completer(ASTRONAUT)
    assert there.record["device"] == "cuda"
    np.testing.assert_allclose(there.textured.face.vertices, here.textured.face.vertices, atol=0.05)
    difference = there.textured.completed.colour - here.textured.completed.colour
    assert -10 * np.log10(float((difference**2).mean())) > 40
