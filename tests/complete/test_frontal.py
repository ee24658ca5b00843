"""The photo turned to the front: a ball with a face for a head, before a striped wall."""

import numpy as np
import pytest
import torch

from ostec.complete.frontal import DrawnHead, FrontalPicture, frontal_picture, without_ears
from ostec.complete.matte import background, person_colours, refined_matte
from ostec.complete.turn import Frame, draw_depth, pulled
from ostec.core.assets import asset_path
from ostec.core.types import FittedFace, FloatArray, PhotoAround
from ostec.load.topology import read_topology
from ostec.render.geometry import orthographic_camera, orthographic_matrix, rotation_from_pose

SIZE, SIDE, ZOOM = 384, 160, 1.0
RADIUS = 85.0
SKIN, HAIR, WALL = (0.8, 0.6, 0.5), (0.15, 0.1, 0.1), (0.2, 0.5, 0.9)


def ball() -> FloatArray:
    """[F, 3, 3]: triangles of a ball."""
    turn, tilt = np.meshgrid(np.linspace(0, 2 * np.pi, 49), np.linspace(-np.pi / 2, np.pi / 2, 25))
    points = RADIUS * np.stack([np.cos(tilt) * np.sin(turn), np.sin(tilt), np.cos(tilt) * np.cos(turn)], -1)
    a, b, c, d = points[:-1, :-1], points[:-1, 1:], points[1:, 1:], points[1:, :-1]
    both = [np.stack([a, b, c], -2).reshape(-1, 3, 3), np.stack([a, c, d], -2).reshape(-1, 3, 3)]
    return np.concatenate(both).astype(np.float32)


BALL = ball()
TOPOLOGY = read_topology(asset_path("topology/facemesh.npz"))


def colour_of(points: FloatArray) -> FloatArray:
    """Hair above and behind, skin else, a red spot on either cheek."""
    x, y, z = np.moveaxis(points, -1, 0)
    hair = (y > 40) | (z < -20)
    spot = np.hypot(np.abs(x) - 35, y + 20) < 10
    made = np.where(hair[..., None], HAIR, np.where((spot & (z > 0))[..., None], (0.9, 0.1, 0.1), SKIN))
    return made.astype(np.float32)


def seen(matrix: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """A ball's colours [size, size, 3], and where it is."""
    frame = Frame.of(matrix)
    points = BALL.reshape(-1, 3).astype(np.float64) @ frame.rotation.T
    ids = np.arange(len(points), dtype=np.int32).reshape(-1, 3)
    depth = draw_depth(frame.pixels(points), ids, (size, size)).depth
    rows, columns = np.indices(depth.shape) + 0.5
    hit = np.isfinite(depth)
    at = frame.points(np.stack([columns, rows, np.where(hit, depth, 0)], -1)) @ frame.rotation
    return colour_of(at.astype(np.float32)), hit.astype(np.float32)


def turned(yaw_deg: float) -> tuple[FrontalPicture, FloatArray, FloatArray]:
    """The portrait from a photo at a yaw, the true one, and where the ball is in it."""
    rotation = rotation_from_pose(0, yaw_deg)
    matrix = orthographic_matrix(rotation, ZOOM, (SIZE / 2, SIZE / 2))
    colour, person = seen(matrix, SIZE)
    photo = np.where(person[..., None] > 0, colour, WALL).astype(np.float32)
    around = PhotoAround(photo, person, matrix[:2], np.ones((SIZE, SIZE), np.float32))
    front = orthographic_camera(np.eye(3), SIDE / 250, (SIDE / 2, SIDE / 2))
    truth, covered = seen(front.matrix.double().numpy(), SIDE)
    vertices = (TOPOLOGY.operator @ TOPOLOGY.mean_landmarks).astype(np.float32)
    pose = (0.0, yaw_deg, 0.0)
    face = FittedFace(vertices, TOPOLOGY.mean_landmarks, rotation, matrix, pose, ZOOM, 0.0)
    drawn = np.where(covered[..., None] > 0, truth, 0.5).astype(np.float32)
    mesh = BALL[(BALL[..., 2] > 30).all(1)]
    return frontal_picture(around, face, DrawnHead(front, drawn, 0.5, BALL, mesh)), truth, covered


@pytest.mark.parametrize("yaw_deg", [0.0, 20.0, -35.0])
def test_a_turned_photo_becomes_the_frontal_one(yaw_deg: float) -> None:
    made, truth, covered = turned(yaw_deg)
    inner = covered > 0
    inner[:, :30] = inner[:, -30:] = False
    error = np.abs(made.picture - truth).mean(-1)
    assert np.median(error[inner]) < 0.02
    assert np.quantile(error[inner], 0.9) < 0.2
    assert np.abs(made.picture[5:20, 5:20] - WALL).max() < 0.05


def test_what_is_guessed_grows_with_yaw_and_lies_on_the_side_that_is_turned_away() -> None:
    shares = {yaw: turned(yaw)[0].guess for yaw in (0.0, 20.0, 35.0, -35.0)}
    assert shares[0.0].mean() < 0.02
    assert shares[0.0].mean() < shares[20.0].mean() < shares[35.0].mean()
    half = SIDE // 2
    assert shares[35.0][:, half:].sum() > 2 * shares[35.0][:, :half].sum()  # the nose points to the right
    assert shares[-35.0][:, :half].sum() > 2 * shares[-35.0][:, half:].sum()


def test_the_same_photo_gives_the_same_picture() -> None:
    one, other = (turned(20.0)[0] for _ in range(2))
    assert one.picture.tobytes() == other.picture.tobytes()


def test_frame_and_its_inverse_return_the_points() -> None:
    frame = Frame.of(orthographic_matrix(rotation_from_pose(10, 30, 5), 1.7, (20.0, 50.0)))
    points = np.random.default_rng(0).normal(size=(5, 3)) * 50
    np.testing.assert_allclose(frame.points(frame.pixels(points)), points)
    np.testing.assert_allclose(frame.rotation, rotation_from_pose(10, 30, 5), atol=1e-12)


def test_pulled_keeps_what_is_known_and_fills_with_what_is_near() -> None:
    values, weight = np.zeros((32, 48, 1), np.float32), np.zeros((32, 48), np.float32)
    values[:, :8], weight[:, :8] = 0.2, 1
    values[:, 40:], weight[:, 40:] = 0.8, 1
    found = pulled(values, weight)[..., 0]
    assert np.array_equal(found[:, :8], values[:, :8, 0])
    assert (np.diff(found[16, 8:40]) >= -1e-3).all()
    assert found.min() >= 0.2
    assert found.max() <= 0.81


def test_ears_are_pressed_onto_the_head() -> None:
    sides = np.array(
        [[[70, 0, 20], [-70, 0, 20], [70, -30, 20]], [[90, 0, -30], [-95, 0, -30], [0, 0, -30]]], np.float32
    )
    found = without_ears(sides)
    assert np.array_equal(found[0], sides[0])
    np.testing.assert_allclose(found[1, :, 0], [72, -72, 0])


def test_person_and_background_come_apart() -> None:
    colour, person = seen(orthographic_matrix(np.eye(3), ZOOM, (SIZE / 2, SIZE / 2)), SIZE)
    speck = person.copy()
    speck[10:16, 10:16] = 1
    mixed = (colour * person[..., None] + np.array(WALL) * (1 - person[..., None])).astype(np.float32)
    photo = PhotoAround(mixed, speck, np.eye(2, 4), np.ones((SIZE, SIZE), np.float32))
    matte = refined_matte(photo)
    assert matte[10:16, 10:16].max() == 0
    assert np.abs(matte - person).mean() < 0.02
    plate = background(photo, matte)
    assert np.abs(plate - np.array(WALL)).max() < 0.05
    own = person_colours(photo, matte, plate)
    assert np.abs(own[person > 0] - colour[person > 0]).mean() < 0.02
    assert torch.isfinite(torch.from_numpy(own)).all()
