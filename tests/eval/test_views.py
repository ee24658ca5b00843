"""A completion against another photo of the same face: planted textures, lights and shapes."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from ostec.core.types import BoolArray, FittedFace, FloatArray, Topology
from ostec.eval.photos.sight import DETECTOR, Sight
from ostec.eval.photos.views import (
    Target,
    ViewPhoto,
    ViewsTask,
    compare,
    doubtful_yaws,
    light_figures,
    own_figures,
    target_of,
)
from ostec.eval.report.record import direction
from ostec.eval.scores import Compared, psnr
from ostec.pipeline.settings import CompleteSettings
from ostec.render.unwrap import Unwrapper
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology

SIZE = 128


@dataclass(frozen=True)
class Scene:
    """A face at two poses, under one texture."""

    topology: Topology
    unwrapper: Unwrapper
    face: FittedFace
    """The input's."""
    other: FittedFace
    shown: BoolArray
    """What the input saw."""

    def target(self, photo: FloatArray) -> Target:
        return target_of(photo, Sight(self.other, self.unwrapper.unwrap(photo, self.other, SIZE), DETECTOR))

    def compare(self, texture: FloatArray, target: Target, own: torch.Tensor | None = None) -> Compared:
        return compare(texture, self.shown, target, self.unwrapper.layout(16), own)


@pytest.fixture(scope="module")
def scene() -> Scene:
    topology = toy_topology()
    unwrapper = Unwrapper(topology)
    face = toy_face(topology, (0, -40, 0))
    other = toy_face(topology, (0, 40, 0), scale=1.0, centre=(110.0, 100.0))
    photo = toy_photo(topology, face, toy_texture(256))
    shown = Sight(face, unwrapper.unwrap(photo, face, SIZE), DETECTOR).shown
    return Scene(topology, unwrapper, face, other, shown)


def plain(value: float) -> FloatArray:
    return np.full((SIZE, SIZE, 3), value, np.float32)


def worst(image: FloatArray, truth: FloatArray, mask: BoolArray) -> float:
    return float(np.abs(image - truth)[mask].max()) if mask.any() else math.nan


def test_the_true_texture_is_the_other_photo(scene: Scene) -> None:
    target = scene.target(toy_photo(scene.topology, scene.other, toy_texture(256)))
    compared = scene.compare(toy_texture(SIZE), target)
    found = compared.figures(worst)
    assert all(found[f"psnr_{part}"] > 36 for part in ("face", "seen", "unseen"))
    assert [found[f"sharpness_{part}"] for part in ("face", "seen")] == pytest.approx([1, 1], abs=0.05)
    assert found["ssim_face"] > 0.99
    assert {direction(name) for name in found} == {"higher", "lower", "one"}


def test_the_parts_are_disjoint_and_make_up_the_face(scene: Scene) -> None:
    parts = scene.compare(plain(0.5), scene.target(toy_photo(scene.topology, scene.other, toy_texture(64)))).parts
    assert np.array_equal(parts["face"], parts["seen"] | parts["unseen"])
    assert not (parts["seen"] & parts["unseen"]).any()
    # The input is turned towards the image's left and shows the side on the image's right; the other is turned by 80
    # degrees to the right and shows more of the side on the image's left.
    middle = [np.flatnonzero(parts[name].any(0)).mean() for name in ("unseen", "seen")]
    assert middle[0] < middle[1]
    assert 0.05 < parts["unseen"].sum() / parts["face"].sum() < 0.5


def test_an_offset_gives_what_theory_says_and_counts_where_it_is(scene: Scene) -> None:
    grey = (0.5, 0.5, 0.5)  # behind the face too: nothing else is mixed into its rim
    target = scene.target(toy_photo(scene.topology, scene.other, plain(0.5), background=grey))
    everywhere = scene.compare(plain(0.6), target).figures(worst)
    assert [everywhere[f"psnr_{part}"] for part in ("face", "seen", "unseen")] == pytest.approx([20.0] * 3, abs=1e-3)
    half_wrong = np.where(scene.shown[..., None], plain(0.5), plain(0.7))
    found = scene.compare(half_wrong, target).figures(worst)
    assert found["psnr_seen"] > 25  # but for pixels on the border of both
    assert found["psnr_unseen"] == pytest.approx(-20 * math.log10(0.2), abs=0.5)
    assert found["perceptual_unseen"] == pytest.approx(0.2, abs=1e-3)


def test_what_the_other_photo_does_not_show_as_bare_face_is_not_compared(scene: Scene) -> None:
    photo = toy_photo(scene.topology, scene.other, plain(0.5))
    seen = scene.unwrapper.unwrap(photo, scene.other, SIZE)
    v = 1 - (np.arange(SIZE)[:, None] + 0.5) / SIZE
    hair = np.broadcast_to(v > 0.6, seen.mask.shape)
    sight = Sight(scene.other, replace(seen, mask=np.where(hair, 0, seen.mask).astype(np.float32)), DETECTOR)
    wrong = np.where(hair[..., None], plain(0.9), plain(0.5))
    both = [scene.compare(wrong, target) for target in (scene.target(photo), target_of(photo, sight))]
    assert 0.3 < both[1].face.sum() / both[0].face.sum() < 0.8
    inner = ndimage.binary_erosion(both[1].face, iterations=2)  # texels of both mix on the border
    assert psnr(both[1].made, both[1].truth, inner) > 60
    assert psnr(both[0].made, both[0].truth, both[0].face) < 15


def test_another_exposure_costs_the_plain_figure_alone(scene: Scene) -> None:
    photo = toy_photo(scene.topology, scene.other, toy_texture(256))
    dim = (photo * np.float32([0.7, 0.8, 0.9]) + np.float32(0.05)).astype(np.float32)
    compared = scene.compare(toy_texture(SIZE), scene.target(dim))
    found = compared.figures(worst) | light_figures(compared)
    for part in ("face", "seen", "unseen"):
        assert found[f"psnr_{part}"] < 26
        assert found[f"psnr_{part}_light"] > 36


def test_the_light_is_fitted_where_the_input_saw(scene: Scene) -> None:
    """What is wrong in the unseen part alone stays wrong."""
    target = scene.target(toy_photo(scene.topology, scene.other, toy_texture(256)))
    wrong = np.where(scene.shown[..., None], toy_texture(SIZE), np.clip(toy_texture(SIZE) + 0.2, 0, 1))
    found = light_figures(scene.compare(wrong.astype(np.float32), target))
    assert found["psnr_seen_light"] > 25
    assert found["psnr_unseen_light"] == pytest.approx(-20 * math.log10(0.2), abs=1)


def test_nothing_seen_gives_no_light(scene: Scene) -> None:
    target = scene.target(toy_photo(scene.topology, scene.other, toy_texture(64)))
    nothing = compare(toy_texture(64), np.zeros((64, 64), bool), target, scene.unwrapper.layout(16))
    assert all(math.isnan(value) for value in light_figures(nothing).values())
    found = nothing.figures(worst)
    assert math.isnan(found["psnr_seen"])
    assert found["psnr_unseen"] == found["psnr_face"]


def test_the_warp_hides_a_wrong_shape_and_own_shows_it(scene: Scene) -> None:
    target = scene.target(toy_photo(scene.topology, scene.other, toy_texture(256)))
    right = torch.from_numpy(scene.face.vertices)
    wrong = right * torch.tensor([1.0, 0.85, 1.2])
    own = [own_figures(scene.compare(toy_texture(SIZE), target, vertices), worst) for vertices in (right, wrong)]
    warped = scene.compare(toy_texture(SIZE), target).figures(worst)
    # A toy face is as rigid as can be: its own mesh at the other's pose is the other's.
    assert own[0]["psnr_face_own"] == pytest.approx(warped["psnr_face"], abs=0.01)
    assert own[1]["psnr_face_own"] < own[0]["psnr_face_own"] - 10
    names = {"psnr_face_own", "psnr_seen_own", "psnr_unseen_own"}
    assert set(own[0]) == names | {f"{kind}_face_own" for kind in ("ssim", "perceptual", "sharpness")}


def test_blur_loses_sharpness_and_the_pictures_own_resampling_does_not(scene: Scene) -> None:
    rng = np.random.default_rng(0)
    texture = np.clip(toy_texture(256) + ndimage.gaussian_filter(rng.normal(0, 0.8, (256, 256, 1)), (2, 2, 0)), 0, 1)
    texture = texture.astype(np.float32)
    target = scene.target(toy_photo(scene.topology, scene.other, texture))
    again = scene.compare(target.truth, target).figures(worst)
    assert again["sharpness_face"] == pytest.approx(1)
    blurred = ndimage.gaussian_filter(target.truth, (2, 2, 0))
    assert scene.compare(blurred, target).figures(worst)["sharpness_face"] < 0.6


def test_a_fit_far_from_the_known_yaw_is_told(tmp_path: Path) -> None:
    yaws = {"a": -30.0, "b": 0.0, "c": None, "d": 40.0}
    photos = {name: ViewPhoto(name, tmp_path / f"{name}.png", yaw) for name, yaw in yaws.items()}
    task = ViewsTask(photos, None, CompleteSettings(), tmp_path)
    outcomes = {"a": {"yaw": -14.0}, "b": {"yaw": 14.9}, "c": {"yaw": 60.0}, "d": {"error": "No face."}}
    assert doubtful_yaws(task, outcomes) == ["a.png is said to be at a yaw of -30 degrees, and the fit says -14."]
