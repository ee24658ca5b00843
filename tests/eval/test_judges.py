"""Judges: what they do not look at, planted answers, and whether they tell people apart."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from ostec.core.assets import load_manifest
from ostec.core.types import BoolArray, FloatArray
from ostec.eval.judges import MAX_SIDE, IdentityJudge, Judges, PerceptualJudge, load_judges
from ostec.io.images import read_image
from ostec.load import networks
from ostec.load.networks import Loaded
from ostec.nets.arcface import arcface_from_tensors
from ostec.nets.perceptual import Lpips, LpipsTensors
from ostec.pipeline import Models, load_models
from ostec.train.portraits import collect_texels
from tests.nets.judge_files import made_weights
from tests.nets.lpips_files import backbone_tensors, linear_tensors
from tests.toy import toy_texture

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def substitute(models: Models) -> Judges:
    """The judges of a machine without backbones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "load_lpips", lambda *_: None)
        patch.setattr(networks, "load_arcface", lambda _: None)
        return load_judges(models)


@pytest.fixture(scope="module")
def lpips() -> Lpips:
    return Lpips("alexnet", LpipsTensors("made", backbone_tensors("alexnet"), linear_tensors("alexnet")))


def lpips_judge(lpips: Lpips) -> PerceptualJudge:
    return PerceptualJudge(lpips.name, lpips, (lpips.min_side, MAX_SIDE))


@pytest.fixture(params=["substitute", "lpips"])
def judge(request: pytest.FixtureRequest, substitute: Judges, lpips: Lpips) -> PerceptualJudge:
    return substitute.perceptual if request.param == "substitute" else lpips_judge(lpips)


@pytest.fixture(scope="module")
def truth() -> FloatArray:
    return read_image(ROOT / "examples/astronaut.png")[:220, 120:360]


@pytest.fixture(scope="module")
def mask(truth: FloatArray) -> BoolArray:
    """An ellipse off the middle, 140 x 120 px."""
    y, x = np.indices(truth.shape[:2])
    return ((y - 110) / 70) ** 2 + ((x - 100) / 60) ** 2 < 1


def blurred(image: FloatArray, sigma: float) -> FloatArray:
    return ndimage.gaussian_filter(image, (sigma, sigma, 0))


def test_equal_pictures_are_0_apart_and_blur_drives_them_apart(
    judge: PerceptualJudge, truth: FloatArray, mask: BoolArray
) -> None:
    values = [judge(blurred(truth, sigma), truth, mask) for sigma in (0.0, 1.0, 3.0, 9.0)]
    assert values[0] == 0
    assert (np.diff(values) > 0).all()


def test_what_is_outside_the_mask_is_not_seen(judge: PerceptualJudge, truth: FloatArray, mask: BoolArray) -> None:
    image = blurred(truth, 2)
    expected = judge(image, truth, mask)
    for beside in (np.nan, 0.0, 1.0):
        assert judge(np.where(mask[..., None], image, np.float32(beside)), truth, mask) == expected
    assert judge(truth, truth, mask) == judge(np.where(mask[..., None], truth, image), truth, mask) == 0


def test_an_empty_mask_has_no_figure(judge: PerceptualJudge, truth: FloatArray) -> None:
    assert math.isnan(judge(truth, truth, np.zeros(truth.shape[:2], bool)))


def test_where_the_face_lies_in_the_picture_does_not_matter(
    judge: PerceptualJudge, truth: FloatArray, mask: BoolArray
) -> None:
    image = blurred(truth, 2)
    moved = [np.roll(x, (17, -20), (0, 1)) for x in (image, truth, mask)]
    assert judge(*moved) == judge(image, truth, mask)
    cropped = [x[40:180, 30:170] for x in (image, truth, mask)]  # the square, 140 px, exactly
    assert judge(*cropped) == judge(image, truth, mask)


def test_a_square_that_does_not_fit_counts_what_the_picture_has(
    judge: PerceptualJudge, truth: FloatArray, mask: BoolArray
) -> None:
    """Of a picture 64 px wide the mask is 140 px high: what is continued beyond the border weighs nothing."""
    image = blurred(truth, 2)
    narrow = [x[:, 70:134] for x in (image, truth, mask)]
    wide_mask = np.zeros_like(mask)
    wide_mask[:, 70:134] = mask[:, 70:134]
    # In the whole picture the same pixels count, between others instead of a continued border.
    assert judge(*narrow) == pytest.approx(judge(image, truth, wide_mask), rel=0.25)
    assert judge(*narrow) > 0


def test_lpips_of_a_square_mask_is_that_of_the_square(lpips: Lpips, truth: FloatArray) -> None:
    image = blurred(truth, 2)
    square = np.zeros(truth.shape[:2], bool)
    square[50:150, 30:130] = True
    planes = [torch.from_numpy(x[50:150, 30:130].copy()).permute(2, 0, 1)[None] * 2 - 1 for x in (image, truth)]
    expected = float(lpips(*planes, torch.ones(1, 1, 100, 100)))
    assert lpips_judge(lpips)(image, truth, square) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("side", [9, 500])
def test_lpips_takes_small_and_large_masks(lpips: Lpips, side: int) -> None:
    random = np.random.default_rng(0)
    image, truth = random.random((2, 520, 520, 3), np.float32)
    mask = np.zeros((520, 520), bool)
    mask[10 : 10 + side, 5 : 5 + side] = True
    assert 0 < lpips_judge(lpips)(image, truth, mask) < 10


def test_shapes_must_fit(substitute: Judges, truth: FloatArray, mask: BoolArray) -> None:
    with pytest.raises(ValueError, match=r"expected three of one size, got \(220, 240, 3\), \(220, 240, 3\) and mask"):
        substitute.perceptual(truth, truth, mask[1:])
    with pytest.raises(ValueError, match=r"expected three of one size, got \(220, 220, 3\)"):
        substitute.identity(truth[:, :220], truth, mask.astype(np.float32))


def test_without_published_networks_those_that_ship_judge_and_are_named(substitute: Judges) -> None:
    (entry,) = load_manifest("identity").files
    assert substitute.described() == {
        "perceptual": "EfficientNet-Lite0 features",
        "identity": f"dlib face ResNet ({entry.sha256[:8]})",
    }


def test_with_a_backbone_lpips_judges_and_is_named(
    models: Models, lpips: Lpips, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def load(device: torch.device, backbones: tuple[str, ...]) -> Loaded[Lpips]:
        asked.append(backbones)
        return Loaded(lpips, {})

    monkeypatch.setattr(networks, "load_lpips", load)
    found = load_judges(models)
    assert found.described()["perceptual"] == "LPIPS (alexnet)"
    assert asked == [("alexnet", "vgg16")]


def test_judges_do_not_depend_on_what_is_judged(
    models: Models, substitute: Judges, truth: FloatArray, mask: BoolArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models with the user's own prior, or with the generator that ships, are judged by the same networks."""
    monkeypatch.setattr(networks, "load_lpips", lambda *_: None)
    monkeypatch.setattr(networks, "load_arcface", lambda _: None)
    assert models.prior is not None
    other = replace(models.prior, mean=models.prior.mean + 0.1, noise=models.prior.noise * 3)
    changed = replace(models, prior=other, hashes={**models.hashes, "prior.safetensors": "0" * 64})
    size = models.prior.size
    textures = toy_texture(size), toy_texture(size)[::-1]
    for found in (load_judges(changed), load_judges(load_models(CPU))):
        assert found.perceptual(blurred(truth, 2), truth, mask) == substitute.perceptual(blurred(truth, 2), truth, mask)
        whole = np.ones((size, size), np.float32)
        assert found.identity(*textures, whole) == substitute.identity(*textures, whole)


@pytest.fixture(scope="module")
def arcface_judge(models: Models) -> IdentityJudge:
    """Made weights: they tell textures apart, though not people."""
    assert models.prior is not None
    network = arcface_from_tensors(made_weights("arcface_r18"), "made")
    return IdentityJudge(network, models.topology, models.prior, "made")


def test_with_a_backbone_arcface_judges_and_is_named(
    models: Models, substitute: Judges, arcface_judge: IdentityJudge, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Loaded(arcface_judge.network, {"arcface/r18.pth": "0123456789abcdef" * 4})
    monkeypatch.setattr(networks, "load_lpips", lambda *_: None)
    monkeypatch.setattr(networks, "load_arcface", lambda _: found)
    loaded = load_judges(models)
    assert loaded.described()["identity"] == "ArcFace r18 (01234567)"
    texture, truth, weight = toy_texture(64), toy_texture(64)[::-1].copy(), np.ones((64, 64), np.float32)
    assert loaded.identity(texture, truth, weight) == pytest.approx(arcface_judge(texture, truth, weight), abs=1e-6)


def test_identity_takes_textures_of_any_size(arcface_judge: IdentityJudge) -> None:
    textures = toy_texture(64), toy_texture(64)[::-1].copy()
    large = [np.kron(x, np.ones((3, 3, 1), np.float32)) for x in textures]
    found = arcface_judge(*large, np.ones((192, 192), np.float32))
    assert found == pytest.approx(arcface_judge(*textures, np.ones((64, 64), np.float32)), abs=0.02)


def test_arcface_sees_the_same_face_as_the_same_and_more_noise_as_less_alike(arcface_judge: IdentityJudge) -> None:
    texture = toy_texture(256)
    noise = np.random.default_rng(0).normal(size=texture.shape).astype(np.float32)
    weight = np.ones((256, 256), np.float32)
    found = [arcface_judge(texture + sigma * noise, texture, weight) for sigma in (0.0, 0.1, 0.4)]
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert found[0] > found[1] > found[2] > -1


def test_arcface_hears_only_what_is_weighed(arcface_judge: IdentityJudge) -> None:
    texture, truth = toy_texture(128), toy_texture(128)[::-1].copy()
    weight = np.zeros((128, 128), np.float32)
    weight[:, :60] = 0.7
    spoilt = np.where(weight[..., None] > 0, texture, np.float32(np.nan))
    assert arcface_judge(spoilt, truth, weight) == arcface_judge(texture, truth, weight)
    assert arcface_judge(texture, truth, weight) > arcface_judge(texture, truth, np.ones_like(weight))
    assert math.isnan(arcface_judge(texture, truth, np.zeros_like(weight)))
    with pytest.raises(ValueError, match=r"expected three of one size, got \(128, 128, 3\), \(64, 128, 3\)"):
        arcface_judge(texture, truth[:64], weight)


def test_arcface_is_shown_the_mean_face_in_the_middle_of_its_picture(
    models: Models, arcface_judge: IdentityJudge
) -> None:
    """Eyes at two thirds of the template's height, level; the prior's mean face, for nothing else is weighed."""
    shown: list[torch.Tensor] = []
    assert models.prior is not None
    watched = IdentityJudge(arcface_judge.network, models.topology, models.prior, "watched")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(watched.network), "embed", lambda _, x: (shown.append(x), torch.eye(1, 2))[1])
        weight = np.full((64, 64), 1e-6, np.float32)
        watched(toy_texture(64), toy_texture(64), weight)
    pictures = torch.cat(shown)
    assert pictures.shape == (2, 3, 112, 112)
    torch.testing.assert_close(pictures[0], pictures[1])
    mirrored = (pictures[0] - pictures[0].flip(2)).abs().mean()
    assert mirrored < 0.05  # the mean face is nearly symmetric
    skin, eye = pictures[0, :, 72:80, 30:36].mean(), pictures[0, :, 49:54, 34:44].mean()
    assert skin > eye + 0.1


@pytest.mark.slow
def test_identity_judge_tells_halves_of_one_face_from_those_of_others(
    models: Models, substitute: Judges, tmp_path: Path
) -> None:
    """The left half of each face against the mirrored right half of all: no pixel is in both.

    Portraits that the prior was not trained on. Each pair of halves is of one photo, so that its light is a help, and a
    hindrance where it comes from one side.
    """
    portraits, photos = DATA / "portraits/images", sorted((DATA / "photos").glob("*.jpg"))
    if not portraits.is_dir() or not photos:
        pytest.skip("needs ../shared/data/portraits and photos")
    for photo in photos[:10]:
        for path in portraits.glob(f"*_{photo.stem}.jpg"):
            shutil.copy(path, tmp_path)
    prior = models.prior
    assert prior is not None
    found = collect_texels((tmp_path,), frozenset(), models.facemesh, models.topology, prior.size)
    textures = [prior.image(torch.from_numpy(c.astype(np.float32) / 255)) for c in found.colour]
    weights = [prior.image(torch.from_numpy(w.astype(np.float32))[:, None])[..., 0] for w in found.weight]
    weight = np.median([np.minimum(w, w[:, ::-1]) for w in weights], 0)
    weight[:, prior.size // 2 :] = 0
    others = [np.ascontiguousarray(texture[:, ::-1]) for texture in textures]
    cosines = np.array([[substitute.identity(a, b, weight) for b in others] for a in textures])
    same = np.diag(cosines)
    unlike = cosines[~np.eye(len(cosines), dtype=bool)]
    assert same.mean() > 0.3 > 0.1 > abs(unlike.mean())
    assert (same[:, None] > unlike).mean() > 0.95
    assert (cosines.argmax(1) == np.arange(len(same))).mean() > 0.7
