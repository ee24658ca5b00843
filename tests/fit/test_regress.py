"""Crops, cameras and light of the published regressors, against values worked out by hand."""

import numpy as np
import pytest

from ostec.core.morphable import MorphableModel
from ostec.fit.regress import (
    DEEP3D_CAMERA,
    FACEVERSE_CAMERA,
    deep3d_crop,
    euler_matrix,
    faceverse_crop,
    harmonics,
    project_model,
    shade,
    turn_eyes,
)

NONE = np.zeros(3)
POINT = np.array([[0.4, -0.6, 1.0]], np.float32)


def test_deep3d_camera_looks_down_the_z_axis_from_ten_decimetres() -> None:
    found = project_model(DEEP3D_CAMERA, POINT, 100.0, NONE, NONE)
    # depth 10 - 1 = 9; x: 112 + 1015 * 0.4 / 9; y points up before the camera: 112 + 1015 * 0.6 / 9 from the top
    np.testing.assert_allclose(found, [[112 + 1015 * 0.4 / 9, 112 + 1015 * 0.6 / 9, 9]])


def test_deep3d_field_of_view_is_the_published_one() -> None:
    edge = np.array([[np.tan(np.radians(12.59363743) / 2) * 10, 0, 0]], np.float32)
    found = project_model(DEEP3D_CAMERA, edge, 100.0, NONE, NONE)
    assert found[0, 0] == pytest.approx(224, abs=0.01)


def test_faceverse_adds_the_distance_and_has_y_down() -> None:
    # before its camera the point is (0.4, 0.6, -1): depth 10 - 1, for ours is 10 above it in millimetres
    found = project_model(FACEVERSE_CAMERA, POINT * 100, 1.0, NONE, NONE)
    np.testing.assert_allclose(found, [[128 + 1000 * 0.4 / 9, 128 + 1000 * 0.6 / 9, 9]], rtol=1e-6)


@pytest.mark.parametrize(("camera", "sign"), [(DEEP3D_CAMERA, -1), (FACEVERSE_CAMERA, 1)])
def test_translation_is_decimetres_in_the_published_axes(camera, sign: int) -> None:
    found = project_model(camera, np.zeros((1, 3), np.float32), 10.0, NONE, np.array((0.1, 0.2, 0.5)))
    depth = 10 + sign * 0.5
    centre, along = camera.size / 2, camera.focal / depth
    np.testing.assert_allclose(found, [[centre + 0.1 * along, centre + sign * 0.2 * along, depth]])


def test_centimetres_and_decimetres_meet_in_the_same_picture() -> None:
    angles, shift = np.array((0.1, -0.2, 0.3)), np.array((0.1, 0, 0.2))
    expected = project_model(DEEP3D_CAMERA, POINT, 100.0, angles, shift)
    for mm_per_unit in (1.0, 10.0, 1000.0):
        found = project_model(DEEP3D_CAMERA, POINT * np.float32(100 / mm_per_unit), mm_per_unit, angles, shift)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_rotation_is_about_x_first_and_z_last() -> None:
    quarter = np.pi / 2
    # y to z (about x), z to x (about y), x to y (about z)
    np.testing.assert_allclose(euler_matrix(np.array((quarter, quarter, quarter))) @ (0, 1, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(euler_matrix(np.array((quarter, quarter, 0))) @ (0, 1, 0), (1, 0, 0), atol=1e-12)
    np.testing.assert_allclose(euler_matrix(np.array((quarter, 0, 0))) @ (0, 1, 0), (0, 0, 1), atol=1e-12)


def test_deep3d_crop_brings_the_template_to_its_own_place() -> None:
    """Five points that are the template at 50 pixels a decimetre: the crop enlarges by 102 / 50 about its origin."""
    template = np.array(
        [
            [-0.31148657, 0.29036078],
            [0.30979887, 0.28972036],
            [0.0032535, -0.04617932],
            [-0.25216928, -0.38133916],
            [0.2484662, -0.38128236],
        ]
    )
    points = (np.array((200.5, 149.5)) + 50 * template * (1, -1)).astype(np.float32)  # (200, 150) up, from centres
    found = deep3d_crop(points, 400, 300)
    assert found[0, 0] == 816 / 400  # int(400 * 2.04) pixels
    assert found[1, 1] == 612 / 300
    np.testing.assert_allclose(found @ (200.5, 149.5, 1), (112, 112), atol=1.5)
    assert found[0, 2] == -(816 // 2 - 112)
    assert found[1, 2] == -(612 // 2 - 112)
    assert found[0, 1] == found[1, 0] == 0


def test_deep3d_crop_follows_the_face() -> None:
    points = np.array([(60, 80), (100, 82), (82, 100), (66, 121), (97, 122)], np.float32)
    near = deep3d_crop(points, 640, 480)
    moved = deep3d_crop(points + np.float32((100, 50)), 640, 480)
    np.testing.assert_allclose(near @ (60, 80, 1), moved @ (160, 130, 1), atol=1.01)
    twice = deep3d_crop(points * 2, 1280, 960)
    np.testing.assert_allclose(near @ (100, 82, 1), twice @ (200, 164, 1), atol=3)


def test_faceverse_crop_is_higher_above_than_below() -> None:
    landmarks = np.array([(100, 200), (200, 220), (150, 400)], np.float32)  # 100 wide, 200 high: centre (150, 300)
    found = faceverse_crop(landmarks)
    np.testing.assert_allclose(found @ (150 - 130, 300 - 140, 1), (0, 0), atol=1e-9)
    np.testing.assert_allclose(found @ (150 + 130, 300 + 120, 1), (256, 256), atol=1e-9)
    with pytest.raises(ValueError, match="expected landmarks apart from each other"):
        faceverse_crop(np.ones((3, 2), np.float32))


def test_light_functions_are_those_of_the_published_code() -> None:
    a, c = np.pi, 1 / np.sqrt(4 * np.pi)
    found = harmonics(np.array([(0.0, 0.0, 1.0), (0.6, 0.8, 0.0)]))
    assert found[0, 0] == pytest.approx(a * c)
    one, two = 2 * np.pi / np.sqrt(3) * np.sqrt(3 / (4 * np.pi)), 2 * np.pi / np.sqrt(8) * 3 * np.sqrt(5 / (12 * np.pi))
    np.testing.assert_allclose(found[0], [a * c, 0, one, 0, 0, 0, two / np.sqrt(3), 0, 0], atol=1e-12)
    expected = [a * c, -0.8 * one, 0, -0.6 * one, 0.48 * two, 0, -two / (2 * np.sqrt(3)), 0, (0.36 - 0.64) / 2 * two]
    np.testing.assert_allclose(found[1], expected, atol=1e-12)


def test_ambient_light_is_there_without_coefficients_and_colours_stay_apart() -> None:
    normals, albedo = np.array([(0.0, 0.0, 1.0)]), np.array([(0.5, 0.25, 1.0)], np.float32)
    base = 0.8 * np.pi / np.sqrt(4 * np.pi)
    np.testing.assert_allclose(shade(albedo, normals, np.zeros((9, 3))), albedo * base)
    light = np.zeros((9, 3))
    light[2, 1] = 1.0  # green from the front
    bright = shade(albedo, normals, light) - albedo * base
    assert bright[0, 0] == bright[0, 2] == 0
    assert bright[0, 1] == pytest.approx(0.25 * harmonics(normals)[0, 2])


def eyed_model() -> MorphableModel:
    """Two triangles: the head's left eye at x = 30, its right eye at x = -30; looking along z."""
    eye = np.array([(0, 0, 12), (5, 0, -6), (-5, 0, -6)], np.float32)
    mean = np.concatenate([eye + np.float32((30, 0, 0)), eye - np.float32((30, 0, 0))])
    empty = np.zeros((6, 3, 1), np.float32)
    return MorphableModel(
        name="faceverse",
        licence="",
        mm_per_unit=1.0,
        mean=mean,
        identity=empty,
        expression=empty,
        expression_range=(-1, 1),
        expression_names=(),
        triangles=np.array([(0, 1, 2), (3, 4, 5)], np.int32),
        uv=np.empty((0, 2), np.float32),
        triangles_uv=np.empty((0, 3), np.int32),
        albedo_mean=None,
        albedo=None,
        landmarks={},
        parts={"eye_right": np.array([0], np.int32), "eye_left": np.array([1], np.int32)},
        sha256="",
    )


@pytest.mark.parametrize(
    ("eyes", "moved", "direction"),
    [
        ((0.2, 0, 0, 0), 0, (0, -np.sin(0.2), np.cos(0.2))),  # the head's left eye about x
        ((0, 0.2, 0, 0), 0, (-np.sin(0.2), 0, np.cos(0.2))),  # then about y, whose sign differs between the axes
        ((0, 0, 0.2, 0), 3, (0, -np.sin(0.2), np.cos(0.2))),  # then the head's right eye
        ((0, 0, 0, 0.2), 3, (-np.sin(0.2), 0, np.cos(0.2))),
    ],
)
def test_eyes_come_in_the_order_left_x_left_y_right_x_right_y(eyes: tuple, moved: int, direction: tuple) -> None:
    model = eyed_model()
    turned = turn_eyes(model, model.mean, np.zeros(1, np.float32), np.array(eyes))
    centre = np.array((30.0 if moved == 0 else -30.0, 0, 0))
    np.testing.assert_allclose(turned[moved], centre + 12 * np.array(direction), atol=1e-5)
    other = slice(3, 6) if moved == 0 else slice(0, 3)
    np.testing.assert_array_equal(turned[other], model.mean[other])


def test_head_without_eyeballs_is_the_callers_mistake() -> None:
    model = eyed_model()
    model.parts.clear()
    with pytest.raises(ValueError, match="faceverse has no eyeballs of their own"):
        turn_eyes(model, model.mean, np.zeros(1, np.float32), np.zeros(4))
