"""Linear blend skinning on a made rig whose poses can be worked out by hand."""

import numpy as np
import pytest

from ostec.core.morphable import Skinning
from ostec.fit.flame import pose_head, rotation_matrix

VERTICES = np.array([(0, 0, 0), (0, 1, 0), (1, 1, 0), (0, 2, 0)], np.float32)


def rig(corrections: np.ndarray | None = None, weights: np.ndarray | None = None) -> Skinning:
    """Two joints, at vertex 0 and, hanging on it, at vertex 1; vertices 2 and 3 follow the second."""
    joints = np.zeros((2, 4), np.float32)
    joints[0, 0] = joints[1, 1] = 1
    default = np.array([(1, 0), (1, 0), (0, 1), (0, 1)], np.float32)
    return Skinning(
        joints=joints,
        parents=np.array([-1, 0], np.int32),
        corrections=np.zeros((4, 3, 9), np.float32) if corrections is None else corrections,
        weights=default if weights is None else weights,
        names=("root", "jaw"),
    )


def test_unposed_head_stays() -> None:
    np.testing.assert_allclose(pose_head(VERTICES, rig(), np.zeros((2, 3))), VERTICES, atol=1e-7)


def test_joint_turns_what_follows_it_about_its_own_place() -> None:
    posed = pose_head(VERTICES, rig(), np.array([(0, 0, 0), (0, 0, np.pi / 2)]))
    np.testing.assert_allclose(posed, [(0, 0, 0), (0, 1, 0), (0, 2, 0), (-1, 1, 0)], atol=1e-6)


def test_first_joint_turns_everything_and_the_second_adds_to_it() -> None:
    quarter = (0, 0, np.pi / 2)
    posed = pose_head(VERTICES, rig(), np.array([quarter, quarter]))
    # the second joint is carried to (-1, 0); what was right of it is turned by 180 degrees
    np.testing.assert_allclose(posed, [(0, 0, 0), (-1, 0, 0), (-2, 0, 0), (-1, -1, 0)], atol=1e-6)


def test_vertex_between_joints_goes_to_the_weighted_mean() -> None:
    weights = np.array([(1, 0), (1, 0), (0, 1), (0.75, 0.25)], np.float32)
    posed = pose_head(VERTICES, rig(weights=weights), np.array([(0, 0, 0), (0, 0, np.pi / 2)]))
    np.testing.assert_allclose(posed[3], 0.75 * np.array((0, 2, 0)) + 0.25 * np.array((-1, 1, 0)), atol=1e-6)


def test_corrections_are_of_the_rotation_row_by_row_and_come_before_the_turn() -> None:
    corrections = np.zeros((4, 3, 9), np.float32)
    corrections[2, 2, 1] = 3.0  # z of vertex 2, per unit of row 0, column 1
    angle = 0.5
    posed = pose_head(VERTICES, rig(corrections), np.array([(0, 0, 0), (0, 0, angle)]))
    assert posed[2, 2] == pytest.approx(3 * -np.sin(angle), abs=1e-6)


def test_rotation_is_right_handed() -> None:
    np.testing.assert_allclose(rotation_matrix(np.array((np.pi / 2, 0, 0))) @ (0, 1, 0), (0, 0, 1), atol=1e-12)
    np.testing.assert_allclose(rotation_matrix(np.array((0, np.pi / 2, 0))) @ (0, 0, 1), (1, 0, 0), atol=1e-12)
    turn = rotation_matrix(np.array((0.3, -0.7, 0.2)))
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


def test_shapes_are_the_callers_mistake() -> None:
    with pytest.raises(
        ValueError, match=r"expected \(4, 3\) vertices and \(2, 3\) rotations, got \(4, 3\) and \(3, 3\)"
    ):
        pose_head(VERTICES, rig(), np.zeros((3, 3)))
