"""Networks that judge: where they are found, what is refused, and what a completion makes of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.assets import Pin, expected_file, sha256_of
from ostec.core.errors import AssetError, WeightsError
from ostec.core.types import FittedFace, FloatArray
from ostec.io.download import write_pin
from ostec.io.images import read_image
from ostec.load import networks
from ostec.load.networks import load_arcface, load_parsing
from ostec.mask.parsing import LEAST_BARE, believed
from ostec.mask.skin import mask_guide
from ostec.nets.arcface import DEPTHS, TEMPLATE, ArcFace, arcface_from_tensors
from ostec.nets.parsing import BiSeNet, FacePart, bisenet_from_tensors
from ostec.pipeline import Completer, Models, load_models
from ostec.pipeline.observe import MASK_SIZE, Observer
from ostec.pipeline.settings import CompleteSettings
from ostec.project.identity import identity_crop, identity_loss, identity_of
from ostec.project.studio import TURNED
from tests.nets.judge_files import made_weights
from tests.toy import toy_face

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
QUICK = CompleteSettings(iterations=0, uv_size=256, face_model="none")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models with a small ArcFace and a BiSeNet of made weights."""
    folder = tmp_path_factory.mktemp("models")
    for name, network in (("arcface/r18.pth", "arcface_r18"), ("bisenet/79999_iter.pth", "bisenet")):
        (folder / name).parent.mkdir()
        torch.save(made_weights(network), folder / name)
    return folder


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, empty, as is the cache."""
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path / "own"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    (tmp_path / "own").mkdir()
    # The manifests know no checksum.
    monkeypatch.setattr(networks, "expected_file", lambda entry, _: replace(entry, sha256="", size=0))
    return tmp_path / "own"


def put(made: Path, own: Path, *names: str) -> None:
    for name in names:
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).hardlink_to(made / name)


@pytest.fixture(scope="module")
def models() -> Models:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ostec.pipeline.models.load_parsing", lambda _: None)
        return load_models(CPU, QUICK)


@pytest.fixture(scope="module")
def arcface() -> ArcFace:
    return arcface_from_tensors(made_weights("arcface_r18"), "made")


@pytest.fixture(scope="module")
def photo() -> FloatArray:
    return read_image(ROOT / "examples/astronaut.png")


@pytest.fixture(scope="module")
def face(models: Models, photo: FloatArray) -> FittedFace:
    return Completer(models, QUICK, CPU, [])(photo).textured.face


@pytest.mark.parametrize(
    ("load", "name"), [(load_arcface, "arcface/r18.pth"), (load_parsing, "bisenet/79999_iter.pth")]
)
def test_a_network_is_loaded_where_its_file_is_found(
    own: Path, made: Path, load: Callable[[torch.device], networks.Loaded[torch.nn.Module] | None], name: str
) -> None:
    assert load(CPU) is None
    put(made, own, name)
    found = load(CPU)
    assert found is not None
    assert list(found.hashes.values()) == [sha256_of(made / name)]
    assert found.network.name in ("ArcFace r18", "BiSeNet")


def test_another_network_in_the_right_name_is_refused(own: Path, made: Path) -> None:
    for wrong, right in (("arcface/r18.pth", "bisenet/79999_iter.pth"), ("bisenet/79999_iter.pth", "arcface/r18.pth")):
        (own / right).parent.mkdir()
        (own / right).hardlink_to(made / wrong)
    with pytest.raises(WeightsError, match=r"arcface/r18.pth is no ArcFace backbone: expected layer1 to layer4 .*\.$"):
        load_arcface(CPU)
    with pytest.raises(WeightsError, match=r"79999_iter.pth does not fit BiSeNet: .*\.$"):
        load_parsing(CPU)


def test_a_file_of_another_sum_is_not_read(own: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(made, own, "bisenet/79999_iter.pth")
    monkeypatch.setattr(networks, "read_state", lambda _: pytest.fail("it was read"))
    size = (made / "bisenet/79999_iter.pth").stat().st_size
    for changed, sentence in (
        (
            {"size": size, "sha256": "0" * 64},
            rf"is damaged \(sha256 [0-9a-f]{{64}}, expected {'0' * 64}\); remove it, or run: ostec models fetch",
        ),
        (
            {"size": 1, "sha256": "0" * 64},
            rf"is damaged \({size} bytes, expected 1\); remove it, or run: ostec models fetch",
        ),
    ):
        monkeypatch.setattr(networks, "expected_file", lambda entry, _, c=changed: replace(entry, **c))
        with pytest.raises(AssetError, match=sentence):
            load_parsing(CPU)


def test_weights_of_ones_own_are_taken_under_the_name_that_training_gives_them(
    own: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the checksums of the manifests as they are."""
    monkeypatch.setattr(networks, "expected_file", expected_file)
    put(made, own, "bisenet/79999_iter.pth")
    size = (made / "bisenet/79999_iter.pth").stat().st_size
    sentence = rf"79999_iter.pth is damaged \({size} bytes, .*; weights of your own are taken as (.*)$"
    with pytest.raises(AssetError, match=sentence) as refused:
        load_parsing(CPU)
    name = str(refused.value).rpartition(" ")[2]
    assert name == "bisenet/model_final_diss.pth"
    (own / "bisenet/79999_iter.pth").rename(own / name)
    found = load_parsing(CPU)
    assert found is not None
    assert found.hashes == {name: sha256_of(made / "bisenet/79999_iter.pth")}
    # Once pinned, another file in its place is refused.
    write_pin(own / name, Pin(size, found.hashes[name]))
    (own / name).unlink()
    (own / name).hardlink_to(made / "arcface/r18.pth")
    with pytest.raises(AssetError, match=r"model_final_diss.pth is damaged \("):
        load_parsing(CPU)


def test_a_file_that_is_broken_off_is_refused(own: Path, made: Path) -> None:
    content = (made / "bisenet/79999_iter.pth").read_bytes()
    (own / "bisenet").mkdir()
    (own / "bisenet/79999_iter.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(AssetError, match=r"79999_iter.pth [^\n]*\.$"):
        load_parsing(CPU)


def test_models_without_a_generator_have_parsing_alone(own: Path, made: Path) -> None:
    put(made, own, "arcface/r18.pth", "bisenet/79999_iter.pth")
    found = load_models(CPU, QUICK)
    assert found.parsing is not None
    assert found.recogniser is None  # of use in projections alone
    assert found.hashes["bisenet/79999_iter.pth"] == sha256_of(made / "bisenet/79999_iter.pth")
    assert "arcface/r18.pth" not in found.hashes


def test_the_identity_of_a_photo_does_not_depend_on_where_and_how_large_its_face_is(
    arcface: ArcFace, models: Models, face: FittedFace, photo: FloatArray
) -> None:
    found = identity_of(arcface, photo, face)
    assert found.shape == (512,)
    assert float(np.linalg.norm(found)) == pytest.approx(1, abs=1e-5)
    moved = replace(face, landmarks=face.landmarks - np.float32([40, 10, 0]))
    torch.testing.assert_close(identity_of(arcface, photo[10:, 40:].copy(), moved), found, atol=2e-3, rtol=0)
    doubled = replace(face, landmarks=face.landmarks * 2)
    twice = np.kron(photo, np.ones((2, 2, 1), np.float32))
    assert float(identity_of(arcface, twice, doubled) @ found) > 0.99
    elsewhere = replace(face, landmarks=face.landmarks + np.float32([150, 200, 0]))
    assert float(identity_of(arcface, photo, elsewhere) @ found) < 0.99


def test_the_crop_brings_the_mean_face_near_the_template(models: Models) -> None:
    """FaceMesh's mean face and insightface's mean points are of different people and detectors: within 6 px of 112."""
    landmarks = toy_face(models.topology, scale=0.7).landmarks
    crop = identity_crop(landmarks, ArcFace(DEPTHS["r18"]))
    eyes = [landmarks[[33, 133]].mean(0), landmarks[[362, 263]].mean(0)]
    placed = crop.points_to_crop(np.stack([*eyes, *landmarks[[61, 291]]])[:, :2])
    assert abs(placed - TEMPLATE[[0, 1, 3, 4]]).max() < 6


def test_the_identity_loss_is_0_for_the_photo_itself_and_its_gradient_lowers_it(
    arcface: ArcFace, face: FittedFace, photo: FloatArray
) -> None:
    who = identity_of(arcface, photo, face)
    assert who is not None
    loss = identity_loss(arcface, torch.from_numpy(who), identity_crop(face.landmarks, arcface))
    itself = torch.from_numpy(photo).permute(2, 0, 1)[None].contiguous() * 2 - 1
    random = torch.Generator().manual_seed(0)
    other = (itself + 0.3 * torch.randn(itself.shape, generator=random)).clamp(-1, 1)
    found = loss(torch.cat([itself, other]))
    assert found.shape == (2,)
    assert float(found[0]) == pytest.approx(0, abs=1e-5)
    picture = other.requires_grad_(True)
    before = loss(picture)[0]
    before.backward()
    assert picture.grad is not None
    step = picture.grad * (0.01 * picture.detach().norm() / picture.grad.norm())
    assert float(loss(picture.detach() - step)) < before.item() - 1e-4
    assert (picture.grad[0, :, :20, :20] == 0).all()  # beside the face


class Halved(BiSeNet):
    """Calls one half of every picture hair, or all of it."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(1, 19, *images.shape[2:])
        scores[:, FacePart.SKIN] = 20
        scores[..., : int(self.share * images.shape[3])][:, FacePart.HAIR] = 40
        return scores


def test_what_is_parsed_as_hair_leaves_the_mask(models: Models, face: FittedFace, photo: FloatArray) -> None:
    observer = Observer(models, QUICK.uv_size)
    seen = observer.unwrap(photo, face)
    plain = observer.mask(photo, face, seen)
    halved = Observer(replace(models, parsing=Halved(0.5)), QUICK.uv_size).mask(photo, face, seen)
    assert (plain.parsing, halved.parsing) == ("none", "BiSeNet")
    assert halved.warnings == ()
    u = (np.arange(seen.size) + 0.5) / seen.size
    left, right = u < 0.4, u > 0.6
    assert (halved.seen.mask[:, left] * seen.visible[:, left]).max() == 0
    skin = plain.seen.mask[:, right] > 0.5  # beside it, hair that the stub calls skin may look like it to half a face
    assert (halved.seen.mask[:, right][skin] > 0.5).mean() > 0.98


def test_parsing_that_misses_the_face_is_left_out_in_one_sentence(
    models: Models, face: FittedFace, photo: FloatArray
) -> None:
    observer = Observer(replace(models, parsing=Halved(1.0)), QUICK.uv_size)
    seen = observer.unwrap(photo, face)
    found = observer.mask(photo, face, seen)
    plain = Observer(models, QUICK.uv_size).mask(photo, face, seen)
    np.testing.assert_array_equal(found.seen.mask, plain.seen.mask)
    assert found.parsing == "none"
    assert found.warnings == (
        "The face parsing (BiSeNet) calls only 0 % of cheeks, nose and forehead bare skin, so it was not used.",
    )


def test_parsing_is_believed_from_a_share_of_the_seen_skin(models: Models, photo: FloatArray, face: FittedFace) -> None:
    observer = Observer(models, MASK_SIZE)
    seen = observer.unwrap(photo, face)
    guide = mask_guide(models.topology, seen.inside)
    core = np.flatnonzero(seen.visible & guide.core)
    for share, name in ((LEAST_BARE - 0.01, "none"), (LEAST_BARE + 0.01, "BiSeNet")):
        bare = np.zeros(seen.inside.shape, np.float32)
        bare.flat[core[: round(share * len(core))]] = 0.75
        found = believed(bare, seen, guide, "BiSeNet")
        assert found.name == name
        assert found.bare is None or found.bare.max() == 1
    hidden = replace(seen, visible=np.zeros_like(seen.visible))
    assert believed(np.zeros(seen.inside.shape, np.float32), hidden, guide, "BiSeNet").name == "BiSeNet"


def test_a_completion_with_made_networks_completes_and_its_record_names_them(
    own: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights say nothing of a face, so the parsing may well be left out; then a sentence says so."""
    put(made, own, "arcface/r18.pth", "bisenet/79999_iter.pth")
    monkeypatch.setattr("ostec.complete.generator.waves_of", lambda *_: [(view,) for view in TURNED[:2]])
    completer = Completer.from_pretrained(CompleteSettings(iterations=1, uv_size=256, face_model="none"), "cpu")
    record = json.loads(completer(ROOT / "examples/astronaut.png").save(tmp_path / "out").read_text())
    assert record["weights"]["arcface/r18.pth"] == sha256_of(made / "arcface/r18.pth")
    assert record["weights"]["bisenet/79999_iter.pth"] == sha256_of(made / "bisenet/79999_iter.pth")
    left_out = [text for text in record["warnings"] if text.startswith("The face parsing (BiSeNet) calls only")]
    assert (record["parsing"], len(left_out)) in (("BiSeNet", 0), ("none", 1))
    assert record["identity"] == "ArcFace r18"
    assert len(record["losses"]) == 2
    assert all(0 <= row["identity"] <= 2 * 0.05 for row in record["losses"].values())


def test_a_completion_without_them_says_none(own: Path, tmp_path: Path) -> None:
    completer = Completer.from_pretrained(QUICK, "cpu")
    record = json.loads(completer(ROOT / "examples/astronaut.png").save(tmp_path / "out").read_text())
    assert (record["parsing"], record["identity"]) == ("none", "none")


def test_made_weights_of_bisenet_run_at_the_published_size() -> None:
    network = bisenet_from_tensors(made_weights("bisenet"), "made")
    with torch.no_grad():
        assert network.probabilities(torch.rand(1, 3, 512, 512)).shape == (1, 19, 512, 512)
