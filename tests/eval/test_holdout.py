"""What is hidden, what is scored, and that what is hidden reaches nobody who fills it."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from ostec.core.errors import FaceError
from ostec.core.types import FittedFace, FloatArray, Topology
from ostec.eval.photos import holdout
from ostec.eval.photos.holdout import (
    LEAST_PART,
    MARGIN_UV,
    SIZE,
    HoldoutPhoto,
    HoldoutPlan,
    HoldoutTask,
    evenly,
    fill_hidden,
    half_mask,
    hide,
    holdout_study,
    profile_mask,
    random_mask,
    score,
)
from ostec.eval.photos.sight import DETECTOR, WHOLE_PICTURE, Sight
from ostec.eval.scores import psnr
from ostec.eval.study import Loaded
from ostec.pipeline import Completer, Models
from ostec.pipeline.settings import CompleteSettings
from ostec.prior.linear import prior_weight
from ostec.render.geometry import orthographic_camera, rotation_from_pose, vertex_normals
from ostec.render.unwrap import Unwrapper
from ostec.render.uv import view_surface
from tests.toy import toy_face, toy_photo, toy_prior, toy_topology

SETTINGS = CompleteSettings(generator="none", mode="soft", uv_size=SIZE)


@dataclass(frozen=True)
class Toy:
    topology: Topology
    unwrapper: Unwrapper
    face: FittedFace
    photo: FloatArray
    sight: Sight
    loaded: Loaded


@pytest.fixture(scope="module")
def toy() -> Toy:
    """A photo of a face of the prior's own making, of which all in front is known."""
    topology = toy_topology()
    unwrapper = Unwrapper(topology)
    prior = toy_prior(unwrapper.layout(64).inside.numpy(), noise=1e-5)
    # Skin: one tint, lighter and darker, for the border of a face is held to that.
    tint = torch.tensor([0.7, 0.5, 0.4])
    prior = replace(prior, mean=tint.expand_as(prior.mean), basis=0.5 * tint[:, None] * prior.basis[:, :1])
    face = toy_face(topology)
    z = torch.linspace(-1.5, 1.5, prior.basis.shape[-1])
    texture = np.where(prior.inside[..., None], prior.image(prior.mean + prior.basis @ z), 0.5).astype(np.float32)
    nearest = ndimage.distance_transform_edt(~prior.inside, return_distances=False, return_indices=True)
    photo = toy_photo(topology, face, texture[nearest[0], nearest[1]])
    models = Models(None, None, topology, prior, None, False, {})  # type: ignore[arg-type]
    completer = Completer(models, SETTINGS, torch.device("cpu"), [])
    seen = unwrapper.unwrap(photo, face, SIZE)
    return Toy(topology, unwrapper, face, photo, Sight(face, seen, DETECTOR), Loaded(models, completer, judges()))


def judges() -> SimpleNamespace:
    return SimpleNamespace(
        perceptual=lambda image, truth, mask: float(np.abs(image - truth)[mask].max()),
        identity=lambda texture, truth, weight: float((np.abs(texture - truth).mean(2) * weight).sum()),
    )


def test_a_half_is_one_side_of_the_middle_line() -> None:
    assert half_mask(6, "right").all(0).tolist() == [False] * 3 + [True] * 3
    assert np.array_equal(half_mask(6, "left"), ~half_mask(6, "right"))


@pytest.mark.parametrize("side", ["left", "right"])
def test_of_a_half_what_is_well_seen_and_away_from_the_middle_is_scored(toy: Toy, side: str) -> None:
    hidden = hide(toy.sight, half_mask(SIZE, side))  # type: ignore[arg-type]
    seen = toy.sight.seen
    u = (np.arange(SIZE) + 0.5) / SIZE - 0.5
    well = prior_weight(seen.cosine, seen.visible, seen.margin_mm) * seen.mask > 0.5
    expected = well & ((u > 0) == (side == "right")) & (np.abs(u) > MARGIN_UV)
    assert np.array_equal(hidden.scored, expected)
    assert expected.sum() > 5000


def test_nothing_hidden_is_left_in_what_is_shown_and_the_rest_is_untouched(toy: Toy) -> None:
    mask = random_mask(toy.sight.seen.inside, "anybody", 0)
    shown, seen = hide(toy.sight, mask).shown, toy.sight.seen
    assert not shown.colour[mask].any()
    assert not shown.visible[mask].any()
    assert not shown.mask[mask].any()
    for name in ("colour", "visible", "mask"):
        assert np.array_equal(getattr(shown, name)[~mask], getattr(seen, name)[~mask])


def test_what_is_scored_lies_inside_of_what_is_hidden(toy: Toy) -> None:
    mask = random_mask(toy.sight.seen.inside, "anybody", 0)
    hidden = hide(toy.sight, mask)
    reach = int(MARGIN_UV * SIZE)
    y, x = np.ogrid[-reach : reach + 1, -reach : reach + 1]
    near = ndimage.binary_dilation(toy.sight.seen.inside & ~mask, x * x + y * y <= reach * reach)
    assert not (hidden.scored & near).any()
    assert hidden.scored.sum() > 1000


def test_a_photo_that_shows_nothing_of_what_is_hidden_is_refused(toy: Toy) -> None:
    with pytest.raises(FaceError, match="too little of the part that was to be hidden"):
        hide(toy.sight, np.zeros((SIZE, SIZE), bool))


def test_a_photo_of_which_nothing_is_left_is_refused(toy: Toy) -> None:
    hidden = hide(toy.sight, np.ones((SIZE, SIZE), bool))
    with pytest.raises(FaceError, match="shows nothing beside the part"):
        fill_hidden(("ostec",), toy.photo, hidden, toy.loaded)


def test_a_profile_hides_what_turns_away(toy: Toy) -> None:
    layout = toy.unwrapper.layout(SIZE)
    right = profile_mask(toy.face, layout, "right")
    normals = layout.attribute(vertex_normals(torch.from_numpy(toy.face.vertices), layout.triangles)).numpy()
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), 1e-9)
    cosine = normals @ rotation_from_pose(0, 60)[2]  # of the angle to a viewer who sees the face turned by 60 degrees
    inside = layout.inside.numpy()
    assert right[inside & (cosine <= 0.199)].all()
    assert not right[~inside].any()
    assert not right[inside & (cosine > 0.201)].any()
    u = (np.arange(SIZE) + 0.5) / SIZE
    assert right[:, u > 0.75].sum() > 0.9 * inside[:, u > 0.75].sum()
    assert right[:, u < 0.4].sum() < 0.05 * inside[:, u < 0.4].sum()
    left = profile_mask(toy.face, layout, "left")
    assert np.mean(left != right[:, ::-1]) < 0.005


def test_in_profile_a_long_nose_hides_the_cheek_behind_it(toy: Toy) -> None:
    layout = toy.unwrapper.layout(SIZE)
    x, y, _ = toy.face.vertices.T
    reach = np.exp(-(x**2 + (y + 30) ** 2) / 300)
    longer = replace(toy.face, vertices=toy.face.vertices + np.float32([0, 0, 50]) * reach[:, None].astype(np.float32))
    more = profile_mask(longer, layout, "right") & ~profile_mask(toy.face, layout, "right")
    point = layout.attribute(torch.from_numpy(longer.vertices)).numpy()
    behind = more & (point[..., 0] > 25)  # beside the nose, towards the hidden side
    assert behind.sum() > 300


def test_in_profile_no_speck_of_the_far_side_is_left(toy: Toy) -> None:
    """A bump on the far cheek, of which one side would face the viewer."""
    layout = toy.unwrapper.layout(SIZE)
    x, y, _ = toy.face.vertices.T
    bump = 22 * np.exp(-((x - 62) ** 2 + (y + 20) ** 2) / 60)
    bumpy = replace(toy.face, vertices=toy.face.vertices + np.float32([0, 0, 1]) * bump[:, None].astype(np.float32))
    camera = orthographic_camera(rotation_from_pose(0, 60), 1.0, (0.0, 0.0))
    view = view_surface(torch.from_numpy(bumpy.vertices), camera, layout)
    facing = (layout.inside & view.visible & (view.cosine > 0.2)).numpy()
    assert ndimage.label(facing)[1] > 1
    shown = layout.inside.numpy() & ~profile_mask(bumpy, layout, "right")
    assert ndimage.label(shown)[1] == 1
    assert not (shown & ~facing).any()


@pytest.mark.parametrize("name", ["ada", "grace", "uk_10089", "ü"])
def test_blobs_cover_about_a_third_and_none_is_tiny(toy: Toy, name: str) -> None:
    inside = toy.sight.seen.inside
    mask = random_mask(inside, name, 3)
    assert not mask[~inside].any()
    assert 0.25 < mask[inside].mean() < 0.4
    label, count = ndimage.label(mask)
    assert count >= 1
    assert np.bincount(label.ravel())[1:].min() >= LEAST_PART * inside.sum()
    assert np.array_equal(mask, random_mask(inside, name, 3))
    for other in (random_mask(inside, name, 4), random_mask(inside, name + "x", 3)):
        assert np.mean(mask != other) > 0.1


def test_equal_textures_score_best_and_an_offset_what_theory_says(toy: Toy) -> None:
    hidden = hide(toy.sight, half_mask(SIZE, "right"))
    same = score(toy.sight.seen.colour, hidden, toy.loaded.judges)
    assert same["psnr_unseen"] == np.inf
    assert same["ssim_unseen"] == pytest.approx(1, abs=1e-6)
    assert same["sharpness_unseen"] == pytest.approx(1)
    assert same["perceptual_unseen"] == same["identity"] == 0
    moved = score((toy.sight.seen.colour + 0.1).astype(np.float32), hidden, toy.loaded.judges)
    assert moved["psnr_unseen"] == pytest.approx(20, abs=1e-4)
    assert moved["sharpness_unseen"] == pytest.approx(1, abs=1e-3)
    wrong = np.where(hidden.scored[..., None], toy.sight.seen.colour, 1 - toy.sight.seen.colour).astype(np.float32)
    assert score(wrong, hidden, toy.loaded.judges)["psnr_unseen"] == np.inf  # what is not scored does not count


def test_a_planted_texture_is_found_again_and_cheap_fills_do_worse(toy: Toy) -> None:
    hidden = hide(toy.sight, half_mask(SIZE, "right"))
    made = fill_hidden(("ostec", "median", "mirror", "inpaint"), toy.photo, hidden, toy.loaded)
    found = {name: psnr(texture, toy.sight.seen.colour, hidden.scored) for name, texture in made.items()}
    assert found["ostec"] > 45
    assert max(found[name] for name in ("median", "mirror", "inpaint")) < found["ostec"] - 8
    kept = hidden.shown.visible & (hidden.shown.cosine > 0.4)
    for name in ("median", "mirror", "inpaint"):
        assert np.array_equal(made[name][kept], toy.sight.seen.colour[kept])
    mirrored = ~kept & kept[:, ::-1]
    assert np.array_equal(made["mirror"][mirrored], toy.sight.seen.colour[:, ::-1][mirrored])


def test_hidden_colours_reach_nobody(toy: Toy) -> None:
    """The same face with other colours where it is hidden is filled in the same way, to the bit."""
    mask = half_mask(SIZE, "left")
    photo = toy.photo.copy()
    # Left of the picture's middle by more than a texel of the prior, which spans 4 pixels.
    photo[:, :118] = np.random.default_rng(0).random((256, 118, 3), np.float32)
    changed = replace(toy.sight, seen=toy.unwrapper.unwrap(photo, toy.face, SIZE))
    methods = ("ostec", "median", "mirror", "inpaint")
    before, after = (
        fill_hidden(methods, image, hide(sight, mask), toy.loaded)
        for image, sight in ((toy.photo, toy.sight), (photo, changed))
    )
    assert not np.array_equal(toy.sight.seen.colour, changed.seen.colour)
    for method in methods:
        assert np.array_equal(before[method], after[method]), method


def test_who_fills_follows_from_what_is_there() -> None:
    full = CompleteSettings(mode="soft", uv_size=SIZE)
    assert HoldoutPlan("half", full).methods == ("ostec", "prior")
    assert HoldoutPlan("half", SETTINGS).methods == ("ostec",)  # the prior alone already
    assert HoldoutPlan("half", replace(full, prior="none")).methods == ("ostec",)
    assert HoldoutPlan("half", full, baselines=True).methods == ("ostec", "prior", "median", "mirror", "inpaint")


@pytest.mark.parametrize("settings", [CompleteSettings(uv_size=SIZE), CompleteSettings(mode="soft")])
def test_a_plan_wants_a_mode_and_its_own_size(settings: CompleteSettings) -> None:
    with pytest.raises(ValueError, match="expected mode soft or hard at 256 texels"):
        HoldoutPlan("half", settings)


def test_photos_are_chosen_evenly_with_both_ends() -> None:
    paths = [Path(f"{k}.jpg") for k in range(10)]
    assert [p.stem for p in evenly(paths, 4)] == ["0", "3", "6", "9"]
    assert evenly(paths, 0) == evenly(paths, 10) == evenly(paths, 99) == paths
    assert evenly([], 3) == []


def test_portraits_without_a_detected_face_are_named_in_the_header(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    described = SimpleNamespace(described=lambda: {"identity": "a judge"})  # as a new record each time
    monkeypatch.setattr(holdout, "load", lambda _: replace(toy.loaded, judges=described))
    photos = {name: HoldoutPhoto(name, Path(f"{name}.png"), "left") for name in "abc"}
    task = HoldoutTask(photos, HoldoutPlan("half", SETTINGS), Path("out"))
    row = {"item": "a", "method": "ostec", "figures": {}, "pictures": {}}
    outcomes = {
        name: {"rows": [{**row, "item": name, "labels": {"found_by": how}}]}
        for name, how in (("a", DETECTOR), ("b", WHOLE_PICTURE))
    }
    study = holdout_study(task)
    found = study.evaluation({**outcomes, "c": {"error": "No face."}})
    expected = "whole picture where the detector found none (1 of 3 photos)"
    assert found.models == {"identity": "a judge", "face": expected}
    assert found.failures == ({"item": "c half left", "method": "", "reason": "No face."},)
    del outcomes["b"]
    assert study.evaluation(outcomes).models == {"identity": "a judge"}
