"""From the picture to the layout and back, and what hides what."""

import dataclasses

import numpy as np
import pytest
import torch

from ostec.core.types import Topology
from ostec.render.geometry import Camera, camera_from_matrix, orthographic_camera, rotation_from_pose
from ostec.render.uv import UvLayout, bake_layout, render_textured, sample_image, view_surface
from tests.toy import toy_face, toy_photo, toy_texture, toy_topology

SIZE = 128


@pytest.fixture(scope="module")
def topology() -> Topology:
    return toy_topology()


@pytest.fixture(scope="module")
def layout(topology) -> UvLayout:
    return bake_layout(topology, SIZE)


def see(topology: Topology, layout: UvLayout, pose=(0.0, 0.0, 0.0), vertices=None, **camera):
    face = toy_face(topology, pose, **camera)
    vertices = face.vertices if vertices is None else vertices
    return view_surface(
        torch.from_numpy(vertices), camera_from_matrix(face.camera_matrix, face.rotation), layout, depth_side=384
    )


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(((a - b) ** 2).mean()))


def test_a_texel_of_the_layout_shows_its_own_uv(topology, layout):
    uv = layout.attribute(layout.uv)
    centre = (torch.arange(SIZE) + 0.5) / SIZE
    inside = layout.inside
    torch.testing.assert_close(uv[..., 0][inside], centre.expand(SIZE, SIZE)[inside], atol=1e-6, rtol=0)
    torch.testing.assert_close(uv[..., 1][inside], (1 - centre)[:, None].expand(SIZE, SIZE)[inside], atol=1e-6, rtol=0)
    assert not uv[~inside].any()


def test_the_chart_is_where_the_uv_are(layout):
    low, high = layout.uv.amin(0), layout.uv.amax(0)
    centre = (torch.arange(SIZE) + 0.5) / SIZE
    column, row = ((centre > low[k]) & (centre < high[k]) for k in range(2))
    assert torch.equal(layout.inside, row.flip(0)[:, None] & column[None])


@pytest.mark.parametrize("pose", [(0.0, 0.0, 0.0), (12.0, 30.0, -8.0), (-15.0, -45.0, 20.0)])
def test_uv_to_view_to_uv_is_the_identity_where_visible(topology, layout, pose):
    texture = toy_texture(SIZE)
    face = toy_face(topology, pose, scale=2.2, centre=(256.0, 180.0))
    photo = torch.from_numpy(toy_photo(topology, face, texture, (512, 512), background=(1.0, 0.0, 1.0)))
    view = see(topology, layout, pose, scale=2.2, centre=(256.0, 180.0))
    colour, within = sample_image(photo, view.pixel, layout.inside)
    good = (view.visible & within & (view.cosine > 0.3) & (view.margin_mm > 1)).numpy()
    assert good.mean() > 0.35
    assert psnr(colour.numpy()[good], texture[good]) > 42
    well_inside = good & (view.margin_mm > 3).numpy()
    assert np.abs(colour.numpy()[well_inside] - texture[well_inside]).max() < 0.03, "nothing of the background"


def test_perspective_too(topology, layout):
    texture = torch.from_numpy(toy_texture(SIZE))
    vertices = torch.from_numpy(topology.mean_landmarks)
    matrix = np.array([[900, 0, -256, 256 * 450], [0, -900, -180, 180 * 450], [0, 0, -1, 450]], np.float64)
    camera = camera_from_matrix(matrix, np.eye(3))
    photo = render_textured(vertices, layout, texture, camera, (512, 512), oversample=2).colour
    view = view_surface(vertices, camera, layout, depth_side=384)
    colour, within = sample_image(photo, view.pixel, layout.inside)
    good = view.visible & within & (view.cosine > 0.3) & (view.margin_mm > 1)
    assert good.float().mean() > 0.6
    assert psnr(colour[good].numpy(), texture[good].numpy()) > 42


def test_cosine_by_hand_on_a_plane():
    # A square of 100 mm, turned by 60 degrees: every cosine is 1/2, everything is seen, and it looks half as wide.
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    topology = dataclasses.replace(
        toy_topology(), uv=0.5 + 0.375 * corner, triangles=np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    )
    vertices = torch.from_numpy(np.concatenate([50 * corner, np.zeros((4, 1), np.float32)], axis=1))
    camera = orthographic_camera(rotation_from_pose(0, 60), 2.0, (100.0, 100.0))
    layout = bake_layout(topology, 32)
    view = view_surface(vertices, camera, layout)
    inside = layout.inside
    assert int(inside.sum()) == 24 * 24
    torch.testing.assert_close(view.cosine[inside], torch.full((576,), 0.5))
    assert torch.equal(view.visible, inside)
    torch.testing.assert_close(view.pixel[inside].amin(0), torch.tensor([52.0833, 4.1667]), atol=1e-3, rtol=0)
    # From the middle it is 25 mm in the picture to the nearer border; in the outermost texel 1/48 of that.
    assert float(view.margin_mm[15:17, 15:17].mean()) == pytest.approx(24, abs=0.3)
    assert float(view.margin_mm[16, 4]) == pytest.approx(25 / 24, abs=0.3)
    assert not view.margin_mm[~inside].any()


def test_seen_from_behind_nothing_is_visible(topology, layout):
    view = see(topology, layout, (0.0, 180.0, 0.0))
    assert not view.visible.any()
    assert view.cosine[layout.inside].max() < 0
    square_on = see(topology, layout)
    assert square_on.visible[layout.inside].all(), "no part of the toy faces away from the front"


def test_a_bump_hides_what_is_behind_it(topology, layout):
    # A tall bump on the cheek on the image's left: it hides skin that the smooth face shows.
    vertices = topology.mean_landmarks.copy()
    normal_vertices = vertices.copy()
    distance = ((vertices[:, :2] - [-30, -40]) ** 2).sum(1)
    vertices[:, 2] += 45 * np.exp(-distance / 8**2)
    pose = (0.0, 45.0, 0.0)
    smooth = see(topology, layout, pose, vertices=normal_vertices)
    bumpy = see(topology, layout, pose, vertices=vertices)
    hidden = smooth.visible & ~bumpy.visible & (bumpy.cosine > 0.2)
    assert hidden.sum() > 20, "facing the viewer, but behind the bump"
    points = layout.attribute(torch.from_numpy(vertices))[hidden]
    assert points[:, 0].min() > -30, "with the nose to the right, the viewer stands at the bump's left"
    top = (layout.attribute(torch.from_numpy(vertices))[..., :2] - torch.tensor([-30.0, -40.0])).norm(dim=-1) < 2
    assert bumpy.visible[top & layout.inside & (bumpy.cosine > 0)].all(), "its top is seen"


def test_margin_grows_inwards_in_millimetres(topology, layout):
    near, far = (see(topology, layout, scale=scale) for scale in (0.5, 3.0))
    inside = layout.inside
    torch.testing.assert_close(near.margin_mm[inside], far.margin_mm[inside], atol=0.3, rtol=0)
    points = layout.attribute(torch.from_numpy(topology.mean_landmarks))
    rim = torch.from_numpy(topology.mean_landmarks)[_border(topology)][:, :2]
    distance = torch.cdist(points[inside][:, :2], rim).amin(1)
    # The rim's vertices are up to 11 mm apart, so the true distance may be smaller, never larger.
    assert (near.margin_mm[inside] - distance).max() < 1.5
    assert float((near.margin_mm[inside] - distance).abs().mean()) < 1.0


def _border(topology: Topology) -> np.ndarray:
    edges = np.concatenate([topology.triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    unique, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def test_sampling_by_hand():
    image = torch.tensor([[0.0, 1.0, 2.0], [4.0, 8.0, 16.0]])[..., None]
    pixel = torch.tensor([[[0.5, 0.5], [1.0, 0.5]], [[2.5, 1.5], [2.5, 2.1]]])
    colour, within = sample_image(image, pixel, torch.zeros(2, 2, dtype=torch.bool))
    torch.testing.assert_close(colour[..., 0], torch.tensor([[0.0, 0.5], [16.0, 16.0]]))
    assert within.tolist() == [[True, True], [True, False]]


def test_sampling_does_not_alias_where_the_photo_is_finer():
    # A checkerboard of single pixels, read at every fourth: grey, not black or white.
    image = ((torch.arange(64)[:, None] + torch.arange(64)) % 2).float()[..., None]
    pixel = torch.stack(torch.meshgrid(torch.arange(16) * 4 + 2.5, torch.arange(16) * 4 + 2.5, indexing="xy"), dim=-1)
    colour, _ = sample_image(image, pixel, torch.ones(16, 16, dtype=torch.bool))
    torch.testing.assert_close(colour, torch.full_like(colour, 0.5))


def test_oversampling_keeps_the_picture_and_smooths_its_edge(topology, layout):
    face = toy_face(topology, scale=0.5, centre=(60.0, 45.0))
    camera = camera_from_matrix(face.camera_matrix, face.rotation)
    vertices, texture = torch.from_numpy(face.vertices), torch.from_numpy(toy_texture(SIZE))
    plain = render_textured(vertices, layout, texture, camera, (120, 120))
    fine = render_textured(vertices, layout, texture, camera, (120, 120), oversample=4)
    assert plain.colour.shape == fine.colour.shape == (120, 120, 3)
    assert plain.uv.shape == (120, 120, 2)
    assert fine.uv.shape == (480, 480, 2)
    assert set(plain.coverage.unique().tolist()) == {0.0, 1.0}
    edge = (fine.coverage > 0) & (fine.coverage < 1)
    assert edge.any()
    torch.testing.assert_close(plain.colour[~edge], fine.colour[~edge], atol=0.02, rtol=0)
    assert not plain.colour[plain.coverage == 0].any()


def test_a_picture_has_gradients_to_the_texture(topology, layout):
    face = toy_face(topology, scale=0.5, centre=(60.0, 45.0))
    texture = torch.from_numpy(toy_texture(32)).requires_grad_()
    camera = camera_from_matrix(face.camera_matrix, face.rotation)
    view = render_textured(torch.from_numpy(face.vertices), layout, texture, camera, (120, 120), oversample=2)
    (gradient,) = torch.autograd.grad(view.colour.sum(), texture)
    # Every drawn pixel reads weights that sum to one.
    assert float(gradient.sum()) == pytest.approx(3 * float(view.coverage.sum()), rel=1e-4)


def test_the_head_may_reach_over_the_photos_border(topology, layout):
    view = see(topology, layout, centre=(0.0, 90.0))
    _, within = sample_image(torch.zeros(256, 256, 3), view.pixel, layout.inside)
    points = layout.attribute(torch.from_numpy(topology.mean_landmarks))
    assert torch.equal(within[layout.inside], (points[..., 0] >= 0)[layout.inside])
    assert view.visible[layout.inside].all(), "the surface is visible, though not in the picture"


def test_camera_records_are_float32():
    camera = camera_from_matrix(np.zeros((3, 4)), np.eye(3))
    assert isinstance(camera, Camera)
    assert camera.matrix.dtype == camera.rotation.dtype == torch.float32


@pytest.mark.parametrize(("step", "fold"), [(30.0, True), (5.0, False)])
def test_a_fold_within_the_mesh_counts_half_as_far_as_the_outline(step: float, fold: bool) -> None:
    """A square of 40 mm ``step`` before one of 120 mm, seen square on; each has half of the layout."""
    corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
    place = np.concatenate([corner * 0.2 + [0.25, 0.5], corner * 0.2 + [0.75, 0.5]]).astype(np.float32)
    sides = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    topology = dataclasses.replace(toy_topology(), uv=place, triangles=np.concatenate([sides, sides + 4]))
    heights = np.repeat([[step], [0.0]], 4, axis=0)
    points = np.concatenate([np.concatenate([20 * corner, 60 * corner]), heights], axis=1)
    vertices, layout = torch.from_numpy(points.astype(np.float32)), bake_layout(topology, 64)
    view = view_surface(vertices, orthographic_camera(rotation_from_pose(0, 0), 2.0, (200.0, 200.0)), layout)
    x, y = layout.attribute(vertices)[..., :2].abs().unbind(-1)
    across = torch.maximum(x, y)  # from the middle of both
    front = layout.inside & (torch.arange(64) < 32)[None]
    to_outline, to_fold = 60 - across, (across - 20).abs()
    # Beside the corners of the front square the nearest point of the fold is its corner, not its side.
    near = layout.inside & view.visible & (front | (torch.minimum(x, y) < 15))
    expected = torch.minimum(to_outline, 2 * to_fold) if fold else to_outline
    assert near.sum() > 200
    torch.testing.assert_close(view.margin_mm[near], expected[near], atol=0.6, rtol=0)
