"""A photo projected into the generator that ships: few iterations, for speed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.assets import sha256_of
from ostec.core.errors import FaceError, ImageError, OutputError, UsageError
from ostec.core.progress import STAGES
from ostec.core.record import INVERSION
from ostec.core.settings import to_json
from ostec.core.types import FloatArray
from ostec.detect.faces import detect_faces
from ostec.export.record import read_record
from ostec.io.images import encode_png, read_image, resize_image
from ostec.nets.checkpoint import natural_generator
from ostec.nets.stylegan2 import Generator, GeneratorShape
from ostec.pipeline import InvertedFace, Inverter
from ostec.pipeline.observe import FoundFace
from ostec.pipeline.settings import InvertSettings

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
SETTINGS = InvertSettings(iterations=2)
ENDINGS = {".png", "_target.png", "_trust.png", ".npz", ".json"}


@pytest.fixture(scope="module")
def inverter() -> Inverter:
    """With what ships, even where published networks lie on this machine."""
    loaded = Inverter.from_pretrained(SETTINGS, "cpu")
    return Inverter(replace(loaded.models, perceptual=None, recogniser=None, parsing=None), SETTINGS, loaded.device, [])


@pytest.fixture(scope="module")
def inverted(inverter: Inverter) -> InvertedFace:
    return inverter(ASTRONAUT)


@pytest.fixture(scope="module")
def image() -> FloatArray:
    return read_image(ASTRONAUT)


@pytest.fixture(scope="module")
def right_half(image: FloatArray, inverted: InvertedFace) -> FloatArray:
    """The mask that hides what lies left of the middle of the face."""
    x0, _, x1, _ = inverted.record["face_box"]
    mask = np.ones(image.shape[:2], np.float32)
    mask[:, : round((x0 + x1) / 2)] = 0
    return mask


@pytest.fixture(scope="module")
def masked(inverter: Inverter, image: FloatArray, right_half: FloatArray) -> InvertedFace:
    return inverter(image, right_half)


@pytest.fixture
def same_fit(inverter: Inverter, image: FloatArray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every photo's face lies where the astronaut's does: detector and landmarks look at hidden pixels too."""
    from ostec.pipeline import observe

    (box,) = detect_faces(image, inverter.models.mtcnn)
    found: list[FoundFace] = []

    def find(picture: FloatArray, *rest: Any) -> FoundFace:
        if not found:
            found.append(original(image, *rest))
        return found[0]

    original = observe.find_face
    monkeypatch.setattr(observe, "find_face", find)
    monkeypatch.setattr(observe, "detect_faces", lambda *_: [box])


def with_settings(inverter: Inverter, **changed: Any) -> Inverter:
    return Inverter(inverter.models, replace(SETTINGS, **changed), inverter.device, [])


def half(picture: FloatArray, side: str) -> FloatArray:
    """The face's columns of one side, a sixteenth from the middle and what lies outside the face left out."""
    size = len(picture)
    rows = slice(size // 4, size * 3 // 4)
    columns = slice(size // 4, size * 7 // 16) if side == "left" else slice(size * 9 // 16, size * 3 // 4)
    return picture[rows, columns]


# --- result and files ------------------------------------------------------------------------------------------------


def test_files_are_those_that_the_record_lists(inverted: InvertedFace, tmp_path: Path) -> None:
    path = inverted.save(tmp_path / "made" / "on the way")
    assert path.name == "astronaut.json"
    record = read_record(path, (INVERSION,))
    assert record is not None
    assert read_record(path) is None  # ostec complete must not take it for its own
    names = {f"astronaut{ending}" for ending in ENDINGS}
    assert {p.name for p in path.parent.iterdir()} == names == set(record["files"])
    assert {k: v for k, v in record.items() if k not in ("files", "kind")} == json.loads(json.dumps(inverted.record))


def test_pictures_and_latents_in_the_files_are_those_found(inverted: InvertedFace, tmp_path: Path) -> None:
    inverted.save(tmp_path, "x")
    view = inverted.view
    for ending, picture in (("", view.generated), ("_target", view.render), ("_trust", view.trust[..., None])):
        written = read_image(tmp_path / f"x{ending}.png")
        np.testing.assert_allclose(written, np.broadcast_to(picture, written.shape), atol=0.51 / 255)
    with np.load(tmp_path / "x.npz") as arrays:
        assert set(arrays.files) == {"w", "pose_deg"}
        assert arrays["w"].dtype == np.float32
        np.testing.assert_array_equal(arrays["w"], view.latent)
        np.testing.assert_array_equal(arrays["pose_deg"], inverted.pose_deg)


def test_latents_draw_the_picture(inverter: Inverter, inverted: InvertedFace) -> None:
    model = inverter.models.generator
    assert model is not None
    assert inverted.view.latent.shape == (model.generator.shape.num_ws, model.generator.shape.w_dim)
    with torch.no_grad():
        drawn = model.generator.synthesis(torch.from_numpy(inverted.view.latent)[None])
    picture = (drawn[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(picture, inverted.view.generated, atol=1e-5)


def test_target_is_the_photos_face(inverted: InvertedFace, image: FloatArray) -> None:
    """A nearly frontal face on the mean shape: its cheeks, brow and chin have the photo's mean colour."""
    x0, y0, x1, y1 = (round(v) for v in inverted.record["face_box"])
    width, height = x1 - x0, y1 - y0
    photo = image[y0 + height // 4 : y1 - height // 4, x0 + width // 4 : x1 - width // 4].mean((0, 1))
    size = len(inverted.view.render)
    middle = slice(size * 3 // 8, size * 5 // 8)
    np.testing.assert_allclose(inverted.view.render[middle, middle].mean((0, 1)), photo, atol=0.06)
    assert inverted.view.trust[middle, middle].mean() > 0.8
    assert inverted.view.trust[0, 0] == 1  # plain ground, as the generator's training faces stood on


def test_record_says_how_the_result_was_made(inverter: Inverter, inverted: InvertedFace) -> None:
    record = inverted.record
    assert record["source"] == "astronaut.png"
    assert record["source_sha256"] == sha256_of(ASTRONAUT)
    assert record["mask"] is None
    assert record["settings"] == to_json(SETTINGS)
    assert record["weights"] == inverter.models.hashes
    assert {"generator.safetensors", "prior.safetensors", "facemesh.safetensors"} <= set(record["weights"])
    assert record["features"] == "encoder (no perceptual network)"
    assert (record["landmarks"], record["identity"], record["realism"]) == ("FaceMesh", "none", "none")
    assert record["iterations"] == 2
    assert record["warnings"] == []
    assert abs(record["pose_deg"][1]) < 10
    assert record["view_pose_deg"] == record["pose_deg"][:2]
    terms = {"pixel", "ms_ssim", "latent", "start", "features", "landmarks"}
    assert record["losses"]["total"] == pytest.approx(sum(record["losses"][term] for term in terms), abs=1e-4)


def test_loss_falls_with_the_iterations(inverter: Inverter, inverted: InvertedFace) -> None:
    start, more = (with_settings(inverter, iterations=k)(ASTRONAUT).record for k in (0, 10))
    assert start["iterations"] == 0
    assert start["losses"]["total"] == start["losses"]["start_total"] == inverted.record["losses"]["start_total"]
    assert more["losses"]["total"] < 0.95 * inverted.record["losses"]["total"]
    assert inverted.record["losses"]["total"] < start["losses"]["total"]


def test_twice_is_the_same_to_the_byte_and_progress_never_falls_and_ends(
    inverter: Inverter, inverted: InvertedFace, tmp_path: Path
) -> None:
    inverted.save(tmp_path / "a")
    calls: list[tuple[str, float]] = []
    again = with_settings(inverter)(str(ASTRONAUT), progress=lambda stage, done: calls.append((stage, done)))
    again.save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    stages, fractions = zip(*calls, strict=True)
    assert list(dict.fromkeys(stages)) == [stage for stage in STAGES if stage != "stitch"]
    assert list(fractions) == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)


# --- masks -----------------------------------------------------------------------------------------------------------


def test_a_hidden_half_is_not_trusted_and_the_other_is(inverted: InvertedFace, masked: InvertedFace) -> None:
    assert half(masked.view.trust, "left").max() == 0
    assert half(masked.view.trust, "right").mean() > 0.9 * half(inverted.view.trust, "right").mean() > 0.7


@pytest.mark.usefixtures("same_fit")
@pytest.mark.slow
def test_hidden_pixels_have_no_say(
    inverter: Inverter, image: FloatArray, masked: InvertedFace, right_half: FloatArray
) -> None:
    painted = image.copy()
    painted[right_half == 0] = np.random.default_rng(0).random((int((right_half == 0).sum()), 3), np.float32)
    other = inverter(painted, right_half)
    for name in ("render", "trust", "generated", "latent"):
        np.testing.assert_array_equal(getattr(masked.view, name), getattr(other.view, name))
    shown = image.copy()
    shown[right_half == 1] *= 0.8
    assert np.abs(inverter(shown, right_half).view.generated - masked.view.generated).mean() > 0.01


@pytest.mark.usefixtures("same_fit")
def test_a_white_mask_changes_nothing(inverter: Inverter, inverted: InvertedFace, image: FloatArray) -> None:
    masked = inverter(image, np.ones(image.shape[:2], np.float32))
    np.testing.assert_array_equal(masked.view.latent, inverted.view.latent)


def test_mask_of_a_file_is_in_the_record(
    inverter: Inverter, masked: InvertedFace, right_half: FloatArray, tmp_path: Path
) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(encode_png(np.repeat(right_half[..., None], 3, axis=2)))
    found = inverter(ASTRONAUT, path)
    assert found.record["mask"] == {"file": "mask.png", "sha256": sha256_of(path)}
    np.testing.assert_array_equal(found.view.latent, masked.view.latent)


def test_a_mask_that_does_not_fit_is_refused(inverter: Inverter, image: FloatArray, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="array has 40 x 30 pixels and its photo 512 x 512"):
        inverter(image, np.ones((30, 40), np.float32))
    with pytest.raises(ImageError, match=r"no\.png does not exist"):
        inverter(image, tmp_path / "no.png")
    with pytest.raises(ValueError, match=r"float32 mask \[H, W\], got float32 \(512, 512, 3\)"):
        inverter(image, image)
    with pytest.raises(FaceError, match="The mask leaves nothing of the face"):
        inverter(image, np.full(image.shape[:2], 0.4, np.float32))


# --- faces, generators, settings -------------------------------------------------------------------------------------


def test_no_face_and_two_faces(inverter: Inverter, image: FloatArray) -> None:
    with pytest.raises(FaceError, match="No face was found in the photo"):
        inverter(np.full((200, 300, 3), 0.5, np.float32))
    pair = np.ones((300, 500, 3), np.float32)
    pair[:, :250], pair[:240, 300:] = image[:300, 100:350], resize_image(image[:300, 100:350], 200, 240)
    found = inverter(pair)
    assert found.record["face_box"][2] < 250
    assert found.record["warnings"] == ["The photo has 2 faces; the largest was inverted."]


def test_a_pose_beyond_the_generators_is_clamped_and_told(
    inverter: Inverter, inverted: InvertedFace, image: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ostec.pipeline import observe

    original = observe.find_face

    def turned(*arguments: Any) -> FoundFace:
        found = original(*arguments)
        return replace(found, face=replace(found.face, pose_deg=(-20.0, 55.0, 0.0)))

    monkeypatch.setattr(observe, "find_face", turned)
    found = inverter(image)
    assert found.record["pose_deg"] == [-20.0, 55.0, 0.0]
    assert found.record["view_pose_deg"] == [-12.0, 45.0]
    (warning,) = found.record["warnings"]  # none of a texture's far half
    assert "pitch -20 and yaw 55, more than the generator draws: it is inverted at -12 and 45" in warning
    assert np.abs(found.view.render - inverted.view.render).mean() > 0.05


def test_without_a_generator_nothing_can_be_inverted(inverter: Inverter) -> None:
    with pytest.raises(ValueError, match="models with a generator"):
        Inverter(replace(inverter.models, generator=None), SETTINGS, inverter.device, [])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"iterations": -1}, "iterations must be 0 or more, got -1"),
        ({"generator": "none"}, "generator must be default or a file, got 'none'"),
    ],
)
def test_settings_out_of_range(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        InvertSettings(**changed)


def test_a_folder_that_cannot_be_written(inverted: InvertedFace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(OutputError, match="file"):
        inverted.save(tmp_path / "file")
    (tmp_path / "astronaut.npz").mkdir()  # cannot be replaced: there must be no record then
    with pytest.raises(OutputError, match=r"astronaut\.npz cannot be written"):
        inverted.save(tmp_path)
    assert not (tmp_path / "astronaut.json").exists()


class _Constant(torch.nn.Module):
    """Stands in for e4e's encoder."""

    seen: list[torch.Size]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen = [images.shape]
        return torch.arange(18 * 512).reshape(1, 18, 512) / 1e5


def test_e4e_gives_the_latent_in_one_pass(inverter: Inverter, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = GeneratorShape(resolution=1024, z_dim=8, w_dim=512, mapping_layers=1, channel_base=2048, channel_max=4)
    torch.manual_seed(0)
    natural = natural_generator(Generator(shape).eval().requires_grad_(False))
    network = _Constant()
    found = network, torch.full((18, 512), 0.25), {"e4e.pt": "0" * 64}
    monkeypatch.setattr("ostec.pipeline.inversion.load_e4e", lambda _: found)
    settings = InvertSettings(generator="e4e", encoder="e4e", iterations=0)
    one = Inverter(replace(inverter.models, generator=natural), settings, torch.device("cpu"))
    made = one(ASTRONAUT)
    assert network.seen == [(1, 3, 256, 256)]
    assert made.view.latent == pytest.approx(np.arange(18 * 512).reshape(18, 512) / 1e5 + 0.25, abs=1e-6)
    assert made.record["weights"]["e4e.pt"] == "0" * 64
    with pytest.raises(UsageError, match=r"W\+ of \[18, 512\]"):
        Inverter(inverter.models, settings, torch.device("cpu"))


def test_e4e_is_of_no_other_generator() -> None:
    with pytest.raises(ValueError, match="needs a StyleGAN2 of FFHQ"):
        InvertSettings(encoder="e4e")
    with pytest.raises(ValueError, match="encoder must be"):
        InvertSettings(encoder="pSp")  # type: ignore[arg-type]
