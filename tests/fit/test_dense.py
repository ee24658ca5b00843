"""Planted poses are found again, and the canonical frame is what the conventions say."""

import dataclasses

import numpy as np
import pytest

from ostec.core.assets import asset_path
from ostec.core.errors import FaceError
from ostec.core.types import EYE_CORNERS, FaceLandmarks, FittedFace, Topology
from ostec.fit.dense import face_from_camera, fit_dense, weighted_similarity
from ostec.fit.settings import DenseFitSettings
from ostec.load.topology import read_topology
from ostec.render.geometry import rotation_from_pose
from tests.toy import toy_face, toy_topology

POSES = [(0.0, 0.0, 0.0), (12.0, -35.0, 20.0), (-25.0, 70.0, -130.0), (5.0, 1.0, 179.0)]


@pytest.fixture(scope="module")
def topology() -> Topology:
    return read_topology(asset_path("topology/facemesh.npz"))


def planted(topology: Topology, pose_deg=(12.0, -35.0, 20.0), scale=1.7, shape=None) -> FittedFace:
    """The mean face, or another shape [N, 3], as a photo shows it."""
    changed = topology if shape is None else dataclasses.replace(topology, mean_landmarks=shape)
    return toy_face(changed, pose_deg, scale, (431.0, 302.0))


def fit(face: FittedFace, topology: Topology) -> FittedFace:
    return fit_dense(FaceLandmarks(face.landmarks, 1.0), topology)


def angle_deg(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


@pytest.mark.parametrize("pose_deg", POSES)
@pytest.mark.parametrize("scale", [0.2, 6.0])
def test_a_planted_pose_is_found(topology, pose_deg, scale):
    truth = planted(topology, pose_deg, scale)
    # Landmarks in double precision: float32 pixels alone would cost 1e-4 degrees.
    exact = topology.mean_landmarks.astype(np.float64) @ truth.rotation.T * scale * [1, -1, -1] + [431, 302, 0]
    found = fit_dense(FaceLandmarks(exact, 1.0), topology)
    np.testing.assert_allclose(found.pose_deg, pose_deg, atol=1e-3)
    assert found.scale == pytest.approx(scale, rel=1e-5)
    np.testing.assert_allclose(found.vertices, topology.operator @ topology.mean_landmarks, atol=2e-3)
    np.testing.assert_allclose(found.camera_matrix, truth.camera_matrix, atol=1e-3 * scale)
    assert found.residual < 1e-3


def test_the_camera_matrix_maps_the_mesh_onto_the_landmarks(topology):
    # Also for a face that is not the mean one: its shape is in the mesh, not in the camera.
    rng = np.random.default_rng(0)
    shape = topology.mean_landmarks + rng.normal(0, 2, topology.mean_landmarks.shape).astype(np.float32)
    truth = planted(topology, shape=shape)
    found = fit(truth, topology)
    count = len(truth.landmarks)
    pixel = found.vertices[:count] @ found.camera_matrix[:2, :3].T + found.camera_matrix[:2, 3]
    np.testing.assert_allclose(pixel, truth.landmarks[:, :2], atol=2e-3)
    np.testing.assert_array_equal(found.camera_matrix[2], [0, 0, 0, 1])
    np.testing.assert_array_equal(found.landmarks, truth.landmarks)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_the_outer_eye_corners_lie_where_the_canonical_frame_wants_them(topology):
    shape = topology.mean_landmarks * np.float32([1.1, 0.9, 1.0]) + np.float32([0, 3, 5])
    found = fit(planted(topology, shape=shape), topology)
    left, right = (found.vertices[i].astype(np.float64) for i in EYE_CORNERS)
    assert np.linalg.norm(left - right) == pytest.approx(90, abs=1e-3)
    np.testing.assert_allclose((left + right) / 2, [0, 0, 60], atol=1e-3)
    assert left[0] < right[0]
    np.testing.assert_allclose(topology.mean_landmarks[list(EYE_CORNERS)], [[-45, 0, 60], [45, 0, 60]], atol=1e-3)


def test_scale_is_photo_pixels_per_millimetre(topology):
    narrow = topology.mean_landmarks * np.float32([0.8, 1, 1])
    found = fit(planted(topology, (0.0, 0.0, 0.0), 2.0, narrow), topology)
    apart = np.linalg.norm(found.landmarks[EYE_CORNERS[0], :2] - found.landmarks[EYE_CORNERS[1], :2])
    assert found.scale == pytest.approx(apart / 90, rel=1e-4)
    assert found.scale == pytest.approx(np.linalg.norm(found.camera_matrix[0, :3]))


def test_a_tenth_of_wild_landmarks_does_not_turn_the_head(topology):
    rng = np.random.default_rng(0)
    truth = planted(topology)
    points = truth.landmarks.copy()
    wild = np.setdiff1d(rng.choice(len(points), len(points) // 10, replace=False), EYE_CORNERS)
    points[wild] += rng.uniform(-60, 60, (len(wild), 3))
    found = fit_dense(FaceLandmarks(points, 1.0), topology)
    assert angle_deg(found.rotation, truth.rotation) < 0.2
    plain = fit_dense(FaceLandmarks(points, 1.0), topology, DenseFitSettings(robust_scale=1e6))
    assert angle_deg(plain.rotation, truth.rotation) > 5 * angle_deg(found.rotation, truth.rotation)


def test_an_open_mouth_does_not_nod_the_head(topology):
    shape = topology.mean_landmarks.copy()
    low = np.clip((-70 - shape[:, 1]) / 10, 0, 1)
    shape[:, 1] -= 18 * low
    shape[:, 2] -= 8 * low
    truth = planted(topology, (0.0, 20.0, 0.0), shape=shape)
    found = fit(truth, topology)
    assert angle_deg(found.rotation, truth.rotation) < 0.5
    assert found.vertices[:, 1].min() < topology.mean_landmarks[:, 1].min() - 15, "the chin is where it was seen"


def test_residual_is_in_per_cent_of_the_eye_distance(topology):
    rng = np.random.default_rng(0)
    shape = topology.mean_landmarks + rng.normal(0, 0.5, topology.mean_landmarks.shape).astype(np.float32)
    # 0.5 mm in each of three directions: 0.87 of 90 mm; heavy tails are clipped a little.
    assert fit(planted(topology, shape=shape), topology).residual == pytest.approx(0.96, abs=0.12)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda p: np.zeros_like(p),
        lambda p: np.full_like(p, 7.5),
        lambda p: np.where(np.arange(len(p))[:, None] == 200, np.nan, p),
        lambda p: np.where(np.arange(len(p))[:, None] == 0, np.inf, p),
        lambda p: np.where(np.isin(np.arange(len(p)), EYE_CORNERS)[:, None], p[33], p),
        lambda p: p[:, :1] * np.float32([1, 0.5, 0.2]),
    ],
    ids=["zero", "one place", "nan", "infinite", "eyes in one place", "on a line"],
)
def test_degenerate_landmarks_are_a_face_error(topology, spoil):
    points = spoil(planted(topology).landmarks).astype(np.float32)
    with pytest.raises(FaceError, match="degenerate"):
        fit_dense(FaceLandmarks(points, 1.0), topology)


@pytest.mark.parametrize("pose_deg", POSES)
def test_a_face_is_read_back_from_its_camera(topology, pose_deg):
    truth = fit(planted(topology, pose_deg), topology)
    found = face_from_camera(truth.vertices, truth.landmarks, truth.camera_matrix)
    np.testing.assert_allclose(found.rotation, truth.rotation, atol=1e-9)
    np.testing.assert_allclose(found.pose_deg, truth.pose_deg, atol=1e-7)
    assert found.scale == pytest.approx(truth.scale, rel=1e-12)
    assert found.vertices is truth.vertices
    assert found.landmarks is truth.landmarks
    assert found.camera_matrix is truth.camera_matrix
    assert np.isnan(found.residual)


def test_the_toy_face_is_fitted_like_any_other():
    topology = toy_topology()
    truth = toy_face(topology, (8.0, 20.0, -5.0))
    found = fit(truth, topology)
    np.testing.assert_allclose(found.pose_deg, truth.pose_deg, atol=1e-3)
    np.testing.assert_allclose(found.vertices, truth.vertices, atol=2e-3)


def test_weighted_similarity_ignores_what_has_no_weight():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(30, 3))
    rotation = rotation_from_pose(20, 130, -60)
    target = 2.5 * source @ rotation.T + [1, -2, 3]
    target[:10] += rng.normal(size=(10, 3)) * 50
    weight = np.r_[np.zeros(10), rng.uniform(0.1, 1, 20)]
    scale, found, offset = weighted_similarity(source, target, weight)
    assert scale == pytest.approx(2.5)
    np.testing.assert_allclose(found, rotation, atol=1e-12)
    np.testing.assert_allclose(offset, [1, -2, 3], atol=1e-12)


def test_weighted_similarity_never_mirrors():
    source = np.random.default_rng(0).normal(size=(30, 3))
    _, rotation, _ = weighted_similarity(source, source * [-1, 1, 1], np.ones(30))
    assert np.linalg.det(rotation) == pytest.approx(1)
