"""Poses, cameras and normals against values worked out by hand."""

import numpy as np
import pytest
import torch

from ostec.render.geometry import (
    Camera,
    camera_from_matrix,
    centred_camera,
    orthographic_camera,
    orthographic_matrix,
    pose_from_rotation,
    rotation_from_pose,
    vertex_normals,
)
from ostec.render.rasterize import interpolate, rasterize
from tests.toy import toy_topology

NOSE, CROWN, RIGHT = np.eye(3)[2], np.eye(3)[1], np.eye(3)[0]


def perspective_camera(focal: float, centre: tuple[float, float], distance: float) -> Camera:
    """A camera ``distance`` in front of the origin, looking at it; not turned."""
    x, y = centre
    matrix = np.array([[focal, 0, -x, x * distance], [0, -focal, -y, y * distance], [0, 0, -1, distance]])
    return camera_from_matrix(matrix, np.eye(3))


@pytest.mark.parametrize("pitch", [-80.0, -30.0, 0.0, 12.5, 75.0])
@pytest.mark.parametrize("yaw", [-89.0, -40.0, 0.0, 5.0, 60.0])
@pytest.mark.parametrize("roll", [-179.0, -20.0, 0.0, 33.0, 120.0])
def test_pose_to_rotation_and_back(pitch, yaw, roll):
    rotation = rotation_from_pose(pitch, yaw, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(pose_from_rotation(rotation), (pitch, yaw, roll), atol=1e-9)


def test_random_rotation_to_pose_and_back():
    rng = np.random.default_rng(0)
    for _ in range(200):
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        rotation *= np.linalg.det(rotation)
        np.testing.assert_allclose(rotation_from_pose(*pose_from_rotation(rotation)), rotation, atol=1e-9)


@pytest.mark.parametrize("yaw", [-90.0, 90.0])
def test_full_profile_has_no_roll_and_still_the_same_rotation(yaw):
    rotation = rotation_from_pose(20.0, yaw, 35.0)
    pitch, found, roll = pose_from_rotation(rotation)
    assert found == pytest.approx(yaw, abs=1e-5)
    assert roll == 0
    np.testing.assert_allclose(rotation_from_pose(pitch, found, roll), rotation, atol=1e-7)


def test_positive_yaw_turns_the_nose_to_the_images_right():
    np.testing.assert_allclose(rotation_from_pose(0, 30) @ NOSE, [0.5, 0, np.sqrt(3) / 2], atol=1e-12)


def test_positive_pitch_turns_the_nose_up():
    np.testing.assert_allclose(rotation_from_pose(30, 0) @ NOSE, [0, 0.5, np.sqrt(3) / 2], atol=1e-12)


def test_positive_roll_turns_the_head_counter_clockwise_in_the_image():
    # The crown tips over to the image's left, and what was on the right goes up.
    rotation = rotation_from_pose(0, 0, 30)
    np.testing.assert_allclose(rotation @ CROWN, [-0.5, np.sqrt(3) / 2, 0], atol=1e-12)
    np.testing.assert_allclose(rotation @ RIGHT, [np.sqrt(3) / 2, 0.5, 0], atol=1e-12)


def test_pitch_is_applied_before_yaw_and_yaw_before_roll():
    # Pitch 90 sends the nose straight up, where yaw leaves it; roll 90 then lays it to the left.
    np.testing.assert_allclose(rotation_from_pose(90, 40, 90) @ NOSE, [-1, 0, 0], atol=1e-12)


def test_orthographic_pixels_by_hand():
    # Yaw 90: the canonical z axis lies along the image's x axis, the right ear (x) points away from the viewer.
    camera = orthographic_camera(rotation_from_pose(0, 90), 2.0, (100.0, 50.0))
    assert camera.orthographic
    pixel, towards = camera.project(torch.tensor([[5.0, 3.0, 7.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(pixel, torch.tensor([[114.0, 44.0], [100.0, 50.0]]))
    torch.testing.assert_close(towards, torch.tensor([-5.0, 0.0]))


def test_perspective_pixels_by_hand():
    camera = perspective_camera(400.0, (60.0, 40.0), 200.0)
    assert not camera.orthographic
    # Twice as near means twice as far from the principal point.
    pixel, towards = camera.project(torch.tensor([[10.0, 5.0, 0.0], [10.0, 5.0, 100.0]]))
    torch.testing.assert_close(pixel, torch.tensor([[80.0, 30.0], [100.0, 20.0]]))
    torch.testing.assert_close(towards, torch.tensor([-200.0, -100.0]))


@pytest.mark.parametrize("perspective", [False, True])
def test_clip_space_and_pixels_agree(perspective):
    points = torch.from_numpy(np.random.default_rng(0).uniform(-80, 80, (50, 3)).astype(np.float32))
    camera = perspective_camera(300.0, (70.0, 40.0), 400.0)
    if not perspective:
        camera = orthographic_camera(rotation_from_pose(10, -25, 5), 0.4, (70.0, 40.0))
    pixel, towards = camera.project(points)
    clip = camera.clip(points, (90, 130))
    screen = clip[:, :3] / clip[:, 3:]
    torch.testing.assert_close((screen[:, 0] + 1) / 2 * 130, pixel[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close((1 - screen[:, 1]) / 2 * 90, pixel[:, 1], atol=1e-3, rtol=0)
    assert screen[:, 2].abs().max() < 1, "everything lies between the clipping planes"
    assert torch.equal(screen[:, 2].argsort(), (-towards).argsort()), "nearer means a smaller z"


@pytest.mark.parametrize("perspective", [False, True])
def test_project_says_where_the_rasteriser_draws(perspective):
    # Canonical x, y, z are drawn as attributes; projecting what a pixel shows must return its centre.
    topology = toy_topology()
    vertices = torch.from_numpy(topology.mean_landmarks)
    triangles = torch.from_numpy(topology.triangles)
    camera = perspective_camera(260.0, (50.0, 40.0), 500.0)
    if not perspective:
        camera = orthographic_camera(rotation_from_pose(-10, 35, 8), 0.45, (50.0, 40.0))
    height, width = 110, 100
    raster = rasterize(camera.clip(vertices, (height, width))[None], triangles, (height, width)).flip(1)
    hit = raster[0, ..., 3] > 0
    pixel, _ = camera.project(interpolate(vertices[None], raster, triangles)[0][hit])
    row, column = torch.nonzero(hit, as_tuple=True)
    assert len(row) > 1500
    torch.testing.assert_close(pixel, torch.stack([column, row], dim=1) + 0.5, atol=2e-3, rtol=0)


def test_direction_to_the_viewer():
    points = torch.tensor([[0.0, 0.0, 0.0], [30.0, 0.0, 160.0]])
    torch.testing.assert_close(
        orthographic_camera(rotation_from_pose(0, -30), 1.0, (0.0, 0.0)).towards_viewer(points),
        torch.tensor([[0.5, 0.0, 0.75**0.5]]).expand(2, 3),
    )
    # The camera stands at (0, 0, 200): from the second point it is 30 to the left and 40 in front.
    torch.testing.assert_close(
        perspective_camera(300.0, (7.0, 9.0), 200.0).towards_viewer(points),
        torch.tensor([[0.0, 0.0, 1.0], [-0.6, 0.0, 0.8]]),
    )


def test_camera_matrix_has_rows_down():
    matrix = orthographic_matrix(np.eye(3), 3.0, (10.0, 20.0))
    np.testing.assert_array_equal(matrix, [[3, 0, 0, 10], [0, -3, 0, 20], [0, 0, 0, 1]])


def test_normals_of_a_roof_by_hand():
    # Two slopes of 45 degrees that meet in the edge 0-1; the left one has twice the area.
    vertices = torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [-2.0, 0.0, -2.0], [1.0, 0.0, -1.0], [9.0, 9.0, 9.0]])
    triangles = torch.tensor([[0, 1, 2], [1, 0, 3]], dtype=torch.int32)
    normals = vertex_normals(vertices, triangles)
    left, right = torch.tensor([-1.0, 0.0, 1.0]) / 2**0.5, torch.tensor([1.0, 0.0, 1.0]) / 2**0.5
    torch.testing.assert_close(normals[2], left)
    torch.testing.assert_close(normals[3], right)
    torch.testing.assert_close(normals[0], torch.nn.functional.normalize(2 * left + right, dim=0))
    torch.testing.assert_close(normals[4], torch.zeros(3), msg="no triangle, no normal")
    batch = vertex_normals(torch.stack([vertices, 3 * vertices]), triangles)
    torch.testing.assert_close(batch, normals.expand(2, -1, -1))


def test_normals_of_the_toy_face_point_outwards():
    topology = toy_topology()
    normals = vertex_normals(torch.from_numpy(topology.mean_landmarks), torch.from_numpy(topology.triangles))
    assert normals[:, 2].min() > 0
    torch.testing.assert_close(normals.norm(dim=1), torch.ones(len(normals)))


@pytest.mark.parametrize("pose", [(0.0, 0.0), (30.0, 0.0), (-5.0, 40.0), (15.0, -30.0)])
def test_centred_camera_keeps_its_point_in_the_middle(pose):
    centre = (3.0, -31.0, 45.0)
    camera = centred_camera(pose, centre, 186.0, 128)
    pixel, _ = camera.project(torch.tensor([centre]))
    torch.testing.assert_close(pixel, torch.tensor([[64.0, 64.0]]), atol=1e-4, rtol=0)
    np.testing.assert_allclose(camera.rotation, rotation_from_pose(*pose), atol=1e-6)


def test_centred_camera_by_hand():
    # 200 mm over 100 px: two millimetres a pixel. Frontal: 10 mm to the right and 20 mm up are 5 px right, 10 px up.
    camera = centred_camera((0.0, 0.0), (1.0, 2.0, 3.0), 200.0, 100)
    pixel, towards = camera.project(torch.tensor([[11.0, 22.0, 3.0], [1.0, 2.0, 63.0]]))
    torch.testing.assert_close(pixel, torch.tensor([[55.0, 40.0], [50.0, 50.0]]))
    assert towards[1] - towards[0] == 60
    # Yaw 90: the nose is on the right, so that 10 mm forwards are 5 px right and 10 mm to the right are 10 mm away.
    camera = centred_camera((0.0, 90.0), (1.0, 2.0, 3.0), 200.0, 100)
    pixel, towards = camera.project(torch.tensor([[1.0, 2.0, 13.0], [11.0, 2.0, 3.0]]))
    torch.testing.assert_close(pixel, torch.tensor([[55.0, 50.0], [50.0, 50.0]]), atol=1e-4, rtol=0)
    assert float(towards[0] - towards[1]) == pytest.approx(10, abs=1e-4)


def test_centred_camera_spans_the_picture():
    camera = centred_camera((20.0, -35.0), (0.0, -31.0, 45.0), 186.0, 128)
    across = rotation_from_pose(20.0, -35.0)[0] * 93.0  # half of the picture, along its x axis
    pixel, _ = camera.project(torch.tensor(np.array([0.0, -31.0, 45.0]) + across, dtype=torch.float32)[None])
    torch.testing.assert_close(pixel, torch.tensor([[128.0, 64.0]]), atol=1e-3, rtol=0)
