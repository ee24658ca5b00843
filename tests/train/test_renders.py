"""Training views: which texel a pixel shows, what imagined photos hide, what the textures keep."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from ostec.core.assets import asset_path
from ostec.core.types import Topology
from ostec.load.topology import read_topology
from ostec.render.geometry import centred_camera
from ostec.render.uv import bake_layout
from ostec.train.portraits import PortraitTexels
from ostec.train.prior import PriorModel
from ostec.train.renders import (
    HIDDEN_YAW_DEG,
    POSE_RANGE_DEG,
    PoseBank,
    hiding_patterns,
    make_pose_bank,
    make_training_textures,
    nearest_inside,
)
from tests.toy import toy_prior, toy_texture, toy_topology
from tests.train.toy_views import FRAME

SIDE = 64


@pytest.fixture(scope="module")
def topology() -> Topology:
    return toy_topology()


@pytest.fixture(scope="module")
def bank(topology: Topology) -> PoseBank:
    return make_pose_bank(topology, FRAME, SIDE, 5, seed=1)


@pytest.fixture(scope="module")
def patterns(topology: Topology) -> torch.Tensor:
    return hiding_patterns(topology, 64)


def render(bank: PoseBank, planes: torch.Tensor, mirrored: bool = False) -> torch.Tensor:
    """The same planes [C, S, S] at every pose."""
    count = len(bank.grid)
    return bank.render(planes.expand(count, -1, -1, -1), torch.arange(count), torch.full((count,), mirrored))


def test_pixels_show_the_texels_that_the_camera_projects_there(bank: PoseBank, topology: Topology) -> None:
    # The texture holds its own u and v; where a vertex that faces the viewer is projected, its uv must be read.
    size = 256
    u = ((torch.arange(size) + 0.5) / size).expand(size, size)
    pictures = render(bank, torch.stack([u, 1 - u.T]))
    vertices = torch.from_numpy(topology.mean_landmarks)
    interior = torch.from_numpy((np.abs(topology.uv - 0.5) < 0.25).all(1))
    for pose, picture in zip(bank.pose_deg.tolist(), pictures, strict=True):
        camera = centred_camera((pose[0], pose[1]), FRAME.centre_mm, FRAME.span_mm, SIDE)
        pixel = camera.project(vertices)[0][interior]
        found = functional.grid_sample(picture[None], pixel[None, None] / SIDE * 2 - 1, align_corners=False)
        error = (found[0, :, 0].T - torch.from_numpy(topology.uv)[interior]).abs().amax(1)
        assert len(error) > 100
        # The nose hides some of them when the head is turned.
        assert float((error < 0.015).float().mean()) > 0.85


def test_poses_are_within_their_range_and_drawn_by_the_seed(bank: PoseBank, topology: Topology) -> None:
    (low, high), (left, right) = POSE_RANGE_DEG
    pitch, yaw = bank.pose_deg.T
    assert low <= pitch.min() < pitch.max() <= high
    assert left <= yaw.min() < 0 < yaw.max() <= right
    again = make_pose_bank(topology, FRAME, SIDE, 5, seed=1)
    assert torch.equal(again.grid, bank.grid)
    assert not torch.equal(make_pose_bank(topology, FRAME, SIDE, 5, seed=2).pose_deg, bank.pose_deg)


def test_poses_as_latents_are_normal_quantiles_of_their_range(bank: PoseBank) -> None:
    (low, high), (left, right) = POSE_RANGE_DEG
    poses = torch.tensor([[(low + high) / 2, 0.0], [low + (high - low) * 0.841345, left + (right - left) * 0.158655]])
    found = replace(bank, pose_deg=poses).codes
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [1.0, -1.0]]), atol=1e-4, rtol=0)
    beyond = replace(bank, pose_deg=torch.tensor([[high + 5, left - 5]])).codes
    torch.testing.assert_close(beyond, torch.tensor([[2.3263, -2.3263]]), atol=1e-3, rtol=0)


def test_mirrored_render_is_the_render_of_the_flipped_texture(bank: PoseBank) -> None:
    texture = torch.from_numpy(toy_texture(32)).permute(2, 0, 1)
    # Equal but for the rounding of the sampler, which counts pixels from one side.
    torch.testing.assert_close(render(bank, texture, mirrored=True), render(bank, texture.flip(-1)), atol=1e-5, rtol=0)
    assert not torch.allclose(render(bank, texture), render(bank, texture, mirrored=True), atol=0.05)


def test_each_pose_and_texture_is_drawn_by_itself(bank: PoseBank) -> None:
    textures = torch.rand(3, 2, 16, 16)
    index, mirrored = torch.tensor([4, 0, 4]), torch.tensor([False, True, True])
    together = bank.render(textures, index, mirrored)
    for k in range(3):
        alone = bank.render(textures[k : k + 1], index[k : k + 1], mirrored[k : k + 1])
        torch.testing.assert_close(together[k : k + 1], alone)


def test_ground_is_empty_and_coverage_is_the_share_of_the_face(bank: PoseBank) -> None:
    white = render(bank, torch.ones(1, 32, 32))
    torch.testing.assert_close(white, bank.coverage, atol=1e-5, rtol=0)
    assert ((bank.coverage == 0).float().mean((1, 2, 3)) > 0.1).all()
    assert ((bank.coverage == 1).float().mean((1, 2, 3)) > 0.3).all()


def test_frame_holds_the_whole_head_at_every_pose() -> None:
    topology = read_topology(asset_path("topology/facemesh.npz"))
    vertices = torch.from_numpy((topology.operator @ topology.mean_landmarks).astype(np.float32))
    reach = []
    for pitch in np.linspace(*POSE_RANGE_DEG[0], 5):
        for yaw in np.linspace(*POSE_RANGE_DEG[1], 5):
            camera = centred_camera((float(pitch), float(yaw)), FRAME.centre_mm, FRAME.span_mm, 100)
            pixel, _ = camera.project(vertices)
            assert 0 < float(pixel.min()) < float(pixel.max()) < 100
            reach.append(float((pixel - 50).abs().max()))
    assert max(reach) > 45, "and no larger than it must be"


def test_hiding_patterns_mirror_each_other(patterns: torch.Tensor) -> None:
    assert patterns.shape == (2 * len(HIDDEN_YAW_DEG), 64, 64)
    assert 0 <= float(patterns.min()) < float(patterns.max()) <= 1
    for right, left in zip(patterns[0::2], patterns[1::2], strict=True):
        assert float((right - left.flip(-1)).abs().mean()) < 0.01


def test_a_photo_from_the_side_shows_one_side(patterns: torch.Tensor) -> None:
    # Positive yaw turns the nose to the image's right, so that the left of the picture, and of the layout, is seen.
    shown_left, shown_right = patterns[0::2, :, :32].mean((1, 2)), patterns[0::2, :, 32:].mean((1, 2))
    assert (shown_left > shown_right).all()
    assert (shown_right.diff() < 0).all(), "the more it is turned, the less is left"


@pytest.fixture(scope="module")
def inside(topology: Topology) -> np.ndarray:
    return bake_layout(topology, 64).inside.numpy()


@pytest.fixture(scope="module")
def model(topology: Topology) -> PriorModel:
    prior = toy_prior(bake_layout(topology, 16).inside.numpy())
    return PriorModel(prior.mean, prior.basis, prior.noise)


def texels(inside: np.ndarray, colour: np.ndarray, weight: np.ndarray) -> PortraitTexels:
    count = len(colour)
    names = tuple(f"us_{k}" for k in range(count))
    return PortraitTexels(
        names, colour, weight.astype(np.float16), np.zeros(count, bool), inside, np.arange(count, dtype=np.float32)
    )


def faces(inside: np.ndarray, hidden: np.ndarray) -> PortraitTexels:
    """Two faces near the toy prior's mean; of the second, the texels ``hidden`` [T] were not shown."""
    mean = toy_texture(len(inside))[inside]
    colour = np.uint8(np.round(np.stack([mean + 0.05, mean * 0.8]) * 255))
    weight = np.ones(colour.shape[:2])
    weight[1, hidden] = 0
    return texels(inside, colour, weight)


def make(data: PortraitTexels, model: PriorModel, topology: Topology, inside: np.ndarray):
    coarse = bake_layout(topology, 16).inside.numpy()
    return make_training_textures(data, model, coarse, topology, 2, seed=4)


def test_shown_texels_are_kept_and_nothing_else_is_hidden(
    topology: Topology, model: PriorModel, inside: np.ndarray
) -> None:
    hidden = np.nonzero(inside)[1] > 40
    data = faces(inside, hidden)
    made = make(data, model, topology, inside)
    assert len(made) == 2
    assert (made.colour.shape, made.guess.shape, made.pattern.shape) == ((2, 3, 64, 64), (2, 2, 3, 16, 16), (2, 2))
    shown = made.shown[:, 0].numpy()[:, inside]
    np.testing.assert_array_equal(shown, np.where(data.weight > 0.5, 255, 0))
    assert (made.shown[:, 0].numpy()[:, ~inside] == 0).all()
    kept = made.colour.permute(0, 2, 3, 1).numpy()[:, inside]
    np.testing.assert_array_equal(kept[0], data.colour[0])
    np.testing.assert_array_equal(kept[1, ~hidden], data.colour[1, ~hidden])


def test_what_was_not_shown_is_filled_by_the_prior(topology: Topology, model: PriorModel, inside: np.ndarray) -> None:
    hidden = np.nonzero(inside)[1] > 40
    data = faces(inside, hidden)
    truth = data.colour[1, hidden].astype(float)
    data.colour[1, hidden] = 255
    filled = make(data, model, topology, inside).colour[1].permute(1, 2, 0).numpy()[inside][hidden]
    assert np.abs(filled - truth).mean() < 0.1 * 255
    assert np.abs(filled - truth).mean() < 0.4 * np.abs(255 - truth).mean()


def test_guess_knows_only_what_its_photo_shows(topology: Topology, model: PriorModel, inside: np.ndarray) -> None:
    data = faces(inside, np.zeros(int(inside.sum()), bool))
    one = make(data, model, topology, inside)
    assert one.patterns.shape == (8, 64, 64)
    assert 0 <= int(one.pattern.min()) <= int(one.pattern.max()) < 8
    for photo in range(2):
        pattern = one.patterns[one.pattern[0, photo]].numpy()[inside]
        spoilt = data.colour.copy()
        spoilt[0, pattern == 0] = 255 - spoilt[0, pattern == 0]
        other = make(texels(inside, spoilt, data.weight), model, topology, inside)
        assert (pattern == 0).mean() > 0.02
        assert torch.equal(other.guess[0, photo], one.guess[0, photo])
        assert not torch.equal(other.colour[0], one.colour[0])


def test_texels_beside_the_chart_repeat_its_border(topology: Topology, model: PriorModel, inside: np.ndarray) -> None:
    made = make(faces(inside, np.zeros(int(inside.sum()), bool)), model, topology, inside).colour[0]
    nearest = nearest_inside(inside)
    assert torch.equal(made[:, nearest[0], nearest[1]], made)
    assert inside[nearest[0].numpy(), nearest[1].numpy()].all()
    assert not inside.all()


def test_codes_are_the_coefficients_of_face_and_mirror_image(
    topology: Topology, model: PriorModel, inside: np.ndarray
) -> None:
    made = make(faces(inside, np.zeros(int(inside.sum()), bool)), model, topology, inside)
    count = model.basis.shape[-1]
    assert made.codes.shape == (2, 2, count)
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(inside.sum())
    mirror = index[:, ::-1][inside]
    data = faces(inside, np.zeros(int(inside.sum()), bool))
    flipped = make(texels(inside, data.colour[:, mirror], data.weight), model, topology, inside)
    torch.testing.assert_close(flipped.codes, made.codes.flip(1), atol=1e-3, rtol=1e-3)
    # They explain the face: better than the mean does.
    coarse = bake_layout(topology, 16).inside.numpy()
    truth = functional.avg_pool2d(made.colour.float() / 255, 4)[:, :, torch.from_numpy(coarse)].transpose(1, 2)
    drawn = model.mean + torch.einsum("tck,bk->btc", model.basis, made.codes[:, 0])
    assert (drawn - truth).abs().mean() < 0.8 * (model.mean - truth).abs().mean()


def test_same_seed_same_textures(topology: Topology, model: PriorModel, inside: np.ndarray) -> None:
    data = faces(inside, np.nonzero(inside)[1] > 40)
    one, other = make(data, model, topology, inside), make(data, model, topology, inside)
    for name in ("colour", "shown", "guess", "pattern"):
        assert torch.equal(getattr(one, name), getattr(other, name))
