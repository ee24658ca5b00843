"""Poses, expressions and filters of tracking."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ostec.core.assets import asset_path
from ostec.core.types import DoubleArray, Topology
from ostec.fit.settings import TrackFitSettings
from ostec.fit.tracking import HeadTracker, OneEuro, OneEuroRotation, View, both_ways, rigid_pose
from ostec.heads.rig import ARKIT
from ostec.load.topology import read_topology
from ostec.load.tracking import read_response
from ostec.pipeline.models import load_head_maker
from ostec.render.geometry import pose_from_rotation, rotation_from_pose

VIEW = View(900.0, (320.0, 240.0))
TIMES = np.arange(90) / 30


@pytest.fixture(scope="module")
def topology() -> Topology:
    return read_topology(asset_path("topology/facemesh.npz"))


def seen_from(points: DoubleArray, rotation: DoubleArray, place: DoubleArray) -> DoubleArray:
    """Landmarks in the photo frame, with depths in the pixels of the face's middle."""
    there = points @ rotation.T + place
    per_mm = VIEW.focal / -there[:, 2:]
    depth = -(there[:, 2:] - place[2]) * VIEW.focal / -place[2]
    return np.column_stack([there[:, :2] * [1, -1] * per_mm + VIEW.middle, depth])


@pytest.mark.parametrize("pose", [(0, 0, 0), (12, -30, 5), (-15, 35, -20), (5, 10, 170)])
def test_a_face_in_perspective_is_found_where_it_is(topology: Topology, pose: tuple[float, float, float]) -> None:
    points, place = topology.mean_landmarks.astype(np.float64), np.array([120.0, -60.0, -700.0])
    seen = seen_from(points, rotation_from_pose(*pose), place)
    rigid = topology.rigid_weight.astype(np.float64)
    rotation, there = rigid_pose(points, seen, rigid, VIEW, TrackFitSettings(pose_steps=10))
    assert np.degrees(Rotation.from_matrix(rotation @ rotation_from_pose(*pose).T).magnitude()) < 0.5
    assert np.abs(there - place).max() < 0.02 * 700


@pytest.mark.parametrize("names", [("jawOpen",), ("mouthSmileLeft", "mouthSmileRight"), ("mouthFunnel",)])
def test_landmarks_that_the_head_model_moves_are_read_as_that_expression(
    topology: Topology, names: tuple[str, ...]
) -> None:
    maker, neutral = load_head_maker("head"), topology.mean_landmarks.astype(np.float64)
    which = [maker.model.expression_names.index(name) for name in names]
    moved = 0.8 * maker.correspondence.points(maker.model.expression[:, :, which].sum(2))
    tracker = HeadTracker(neutral, topology.rigid_weight, read_response(), TrackFitSettings())
    seen = seen_from(neutral + moved, np.eye(3), np.array([0.0, 0.0, -700.0]))
    found = tracker(seen.astype(np.float32), VIEW, 0.0).expression
    strongest = {ARKIT[k] for k in np.argsort(-found)[: len(names)]}
    assert strongest == set(names)


def test_a_face_at_rest_shows_nothing(topology: Topology) -> None:
    neutral = topology.mean_landmarks.astype(np.float64)
    tracker = HeadTracker(neutral, topology.rigid_weight, read_response(), TrackFitSettings())
    found = tracker(seen_from(neutral, np.eye(3), np.array([0, 0, -700.0])).astype(np.float32), VIEW, 0.0)
    assert found.expression.max() < 0.25
    assert np.abs(pose_from_rotation(found.rotation)).max() < 4  # less what FaceMesh is known to err by


def test_a_still_value_is_steadied_and_a_jump_is_followed() -> None:
    noise = np.random.default_rng(0).normal(0, 0.02, (90, 1))
    passed = np.array([*map(OneEuro(1.0, 4.0), noise, TIMES)])
    assert passed[30:].std() < 0.5 * noise[30:].std()
    jump = np.array([*map(OneEuro(1.0, 4.0), (TIMES > 1)[:, None].astype(float), TIMES)])
    assert jump[TIMES > 1.2].min() > 0.8


def test_a_whole_recording_is_filtered_without_lag() -> None:
    wave = np.sin(2 * np.pi * TIMES / 1.5)[:, None]
    causal = np.array([*map(OneEuro(1.0, 0.0), wave, TIMES)])
    whole = both_ways(OneEuro(1.0, 0.0), wave, TIMES)
    lags = [int(np.argmax(np.correlate(one[20:70, 0], wave[20:70, 0], "full"))) - 49 for one in (causal, whole)]
    assert lags[0] > 0
    assert lags[1] == 0


def test_times_count_not_frames() -> None:
    slow, fast = OneEuro(1.0, 0.0), OneEuro(1.0, 0.0)
    for value, time_s in ((0.0, 0.0), (1.0, 0.2)):
        far = slow(np.array([value]), time_s)
    for value, time_s in ((0.0, 0.0), (1.0, 0.02)):
        near = fast(np.array([value]), time_s)
    assert far[0] > 3 * near[0]


def test_rotations_are_filtered_across_half_a_turn() -> None:
    turns = [rotation_from_pose(0, 0, roll) for roll in (170, 175, 180, -175, -170)]
    passed = [*map(OneEuroRotation(2.0, 0.0), turns, TIMES[:5])]
    rolls = [pose_from_rotation(one)[2] % 360 for one in passed]
    assert rolls == sorted(rolls)
    assert 170 <= rolls[0] < rolls[-1] < 190
