"""``ostec`` from Python: what a photo may be, what a finished face offers, and your own completer."""

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ostec
from ostec import CompletedFace, Completer, CompleteSettings, OstecWarning
from ostec.complete.completer import OnProgress, unwatched
from ostec.core.errors import FaceError
from ostec.core.types import CompletedTexture, Completion, Evidence, FloatArray, Provenance, ViewFrame
from ostec.io.images import as_picture
from ostec.project.objective import LatentSpace, ProjectionTarget

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "examples/astronaut.png"
SETTINGS = CompleteSettings(iterations=0, uv_size=256, face_model="none")


@pytest.fixture(scope="module")
def face(completer: Completer) -> CompletedFace:
    return completer(ASTRONAUT)


KINDS: dict[str, Callable[[FloatArray], object]] = {
    "path": lambda _: ASTRONAUT,
    "text": lambda _: str(ASTRONAUT),
    "bytes": lambda _: ASTRONAUT.read_bytes(),
    "pil": lambda _: Image.open(ASTRONAUT),
    "floats": lambda image: image,
    "doubles": lambda image: image.astype(np.float64),
    "uint8": lambda image: np.round(image * 255).astype(np.uint8),
    "tensor": torch.from_numpy,
    "channels first": lambda image: torch.from_numpy(image).permute(2, 0, 1),
    "opaque": lambda image: np.dstack([image, np.ones_like(image[..., :1])]),
}


class Looked(Exception):
    """The detector was reached."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_photo_is_the_same_however_it_is_handed_over(
    completer: Completer, astronaut: FloatArray, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    seen: list[FloatArray] = []

    def look(photo: FloatArray, *_: object) -> list[object]:
        seen.append(photo)
        raise Looked

    monkeypatch.setattr("ostec.pipeline.observe.detect_faces", look)
    with pytest.raises(Looked):
        completer(KINDS[kind](astronaut))  # type: ignore[call-overload]
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0], astronaut)


def test_grey_and_transparent_arrays() -> None:
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    expected = np.repeat(np.array([[0, 0.2], [0.4, 1]], np.float32)[..., None], 3, axis=2)
    for given in (grey, grey[..., None], torch.from_numpy(grey)[None]):
        np.testing.assert_allclose(as_picture(given), expected, atol=1e-7)
    clear = np.array([[[0.5, 0.25, 0.0, 0.0], [0.5, 0.25, 0.0, 0.5]]], np.float32)
    np.testing.assert_allclose(as_picture(clear), [[[1, 1, 1], [0.75, 0.625, 0.5]]])  # on white


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (np.full((4, 4, 3), 255.0), ValueError, r"floats in \[0, 1\], got 255 to 255; hand 0 to 255 over as uint8"),
        (np.full((4, 4, 3), -0.5, np.float32), ValueError, r"floats in \[0, 1\], got -0.5 to -0.5"),
        (np.full((4, 4, 3), np.nan), ValueError, r"floats in \[0, 1\], got nan"),
        (np.zeros((4, 4, 3), np.int64), TypeError, "of uint8 or of floats in .0, 1., got int64"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"got the shape \(4, 4, 2\)"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"got the shape \(0, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"got the shape \(2, 4, 4, 3\)"),
        (7, TypeError, "a path, bytes, a PIL image, an array or a tensor, got an int"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_sentence(
    completer: Completer, given: object, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        completer(given)  # type: ignore[call-overload]


def test_a_list_gives_a_list(completer: Completer, face: CompletedFace) -> None:
    first, second = completer([ASTRONAUT.read_bytes(), np.ascontiguousarray(face.photo[:, ::-1])])
    np.testing.assert_array_equal(first.texture, face.texture)
    np.testing.assert_array_equal(second.photo, face.photo[:, ::-1])


def test_a_finished_face_tells_what_it_is(face: CompletedFace, astronaut: FloatArray) -> None:
    assert face.texture.shape == (256, 256, 3)
    assert face.albedo is None
    assert face.frontal is None
    assert face.vertices.shape == (len(face.uv), 3)
    assert face.triangles.max() == len(face.vertices) - 1
    np.testing.assert_array_equal(face.photo, astronaut)
    np.testing.assert_array_equal(np.asarray(face.to_pil()), np.round(face.texture * 255).astype(np.uint8))
    np.testing.assert_array_equal(face.mesh.faces, face.triangles)
    np.testing.assert_allclose(face.mesh.visual.uv, face.uv)
    assert repr(face).startswith("<CompletedFace of 'astronaut.png': texture 256 x 256, soft, yaw ")
    assert len(repr(face)) < 120
    assert face._repr_html_().startswith('<iframe width="100%"')
    png = io.BytesIO()
    face.to_pil().save(png, "PNG")
    assert png.getvalue().startswith(b"\x89PNG")


def test_show_opens_one_page_without_network(face: CompletedFace, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    face.show()
    (address,) = opened
    page = Path(address.removeprefix("file://")).read_text()
    assert "<canvas" in page or "three" in page.lower()
    assert 'src="http' not in page


def test_settings_by_name() -> None:
    made = Completer.from_pretrained(iterations=0, uv_size=512, face_model="none", device="cpu")
    assert (made.settings.iterations, made.settings.uv_size) == (0, 512)
    assert Completer.from_pretrained(SETTINGS, "cpu", mode="hard").settings.uv_size == 256
    with pytest.raises(TypeError, match="iteration"):
        Completer.from_pretrained(iteration=0)
    with pytest.raises(ValueError, match="mode must be one of"):
        Completer.from_pretrained(mode="hrad")


def test_warnings_are_warned_of(completer: Completer, astronaut: FloatArray) -> None:
    small = astronaut[::4, ::4]
    with pytest.warns(OstecWarning, match="pixels large, so the result is blurred"):
        found = completer(small)
    assert found.warnings == found.record["warnings"]
    assert repr(found).endswith("2 warnings>")


class Grey:
    """Fills with grey what the photo does not show."""

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        made = []
        for one in evidence:
            seen = one.seen.visible & (one.seen.mask > 0.5)
            colour = np.where(seen[..., None], one.seen.colour, 0.5).astype(np.float32)
            provenance = np.where(seen, Provenance.PHOTO, Provenance.PRIOR).astype(np.uint8)
            texture = CompletedTexture({"colour": colour}, provenance * one.seen.inside)
            made.append(Completion(texture, seen, "soft", "it knows no other"))
        return made


def test_your_own_completer_takes_the_place_of_ours(tmp_path: Path) -> None:
    face = Completer.from_pretrained(SETTINGS, "cpu", completer=Grey())(ASTRONAUT)
    assert set(np.unique(face.provenance)) == {Provenance.OUTSIDE, Provenance.PHOTO, Provenance.PRIOR}
    assert np.abs(face.texture[face.provenance == Provenance.PRIOR] - 0.5).max() < 0.01
    assert face.record["mode_reason"] == "it knows no other"
    face.save(tmp_path)
    assert (tmp_path / "astronaut.glb").is_file()


class Failing(Grey):
    """Names a stage of its own, and fails there if it shall."""

    def __init__(self, stage: str, fails: bool) -> None:
        self.stage, self.fails = stage, fails

    def complete(self, evidence: Sequence[Evidence], on_progress: OnProgress = unwatched) -> list[Completion]:
        if self.stage:
            on_progress(self.stage, 0.5)
        if self.fails:
            raise FaceError("It fails.")
        return super().complete(evidence, on_progress)


def test_your_own_completer_names_its_own_stages() -> None:
    seen: list[tuple[str, float]] = []
    face = Completer.from_pretrained(SETTINGS, "cpu", completer=Failing("dreaming", False))(
        ASTRONAUT, lambda stage, share: seen.append((stage, share))
    )
    assert "dreaming" in face.seconds
    assert "dreaming" in {stage for stage, _ in seen}
    assert [share for _, share in seen] == sorted(share for _, share in seen)
    for stage in ("dreaming", ""):
        made = Completer.from_pretrained(SETTINGS, "cpu", completer=Failing(stage, True))
        with pytest.raises(FaceError, match="It fails") as error:
            made(ASTRONAUT)
        assert error.value.stage == (stage or "prior")


def test_the_names_that_stay_are_all_there_and_loaded_on_use() -> None:
    for name in ostec.__all__:
        assert getattr(ostec, name) is not None
    assert set(ostec.__all__) <= set(dir(ostec))
    with pytest.raises(AttributeError, match="no attribute 'Complete'"):
        ostec.Complete  # noqa: B018
    assert (Path(ostec.__file__).parent / "py.typed").is_file()
    program = "import sys, ostec; ostec.CompleteSettings(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "False"


class Sun:
    """A generator of faces that draws every picture in one colour: its latent, a number per channel."""

    frame = ViewFrame(own_shape=False, ffhq_crop=False)
    resolution = 64

    @property
    def space(self) -> LatentSpace:
        def synthesise(ws: torch.Tensor) -> torch.Tensor:
            return torch.tanh(ws.mean(1))[:, :, None, None].expand(-1, -1, self.resolution, self.resolution)

        return LatentSpace(synthesise, torch.zeros(2, 3), torch.ones(2, 3))

    def start(self, target: ProjectionTarget, pose_deg: tuple[float, float], face: FloatArray) -> torch.Tensor | None:
        return None


def test_your_own_generator_takes_the_place_of_ours() -> None:
    own = Completer.from_pretrained(SETTINGS, "cpu", face_generator=Sun(), iterations=3)
    assert own.models.generator is None
    face = own(ASTRONAUT)
    assert face.record["completer"] == "generator (Sun)"
    drawn = [view.generated for view in face.textured.views]
    assert len(drawn) == 5
    assert all(np.ptp(picture, axis=(0, 1)).max() == 0 for picture in drawn)
    assert {Provenance.LEFT, Provenance.RIGHT} <= set(np.unique(face.provenance))
