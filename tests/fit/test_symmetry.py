"""Landmarks of turned faces: what is seen stays, what is not follows it."""

import numpy as np
import pytest

from ostec.core.assets import asset_path
from ostec.core.types import FittedFace
from ostec.fit.symmetry import landmarks_by_symmetry
from ostec.load.topology import read_topology

TOPOLOGY = read_topology(asset_path("topology/facemesh.npz"))
NOSE, LEFT_CHEEK, RIGHT_CHEEK = 1, 50, 280


def _face(yaw_deg: float, moved: dict[int, tuple[float, float, float]]) -> FittedFace:
    """The mean face turned by ``yaw_deg``, some of its landmarks moved."""
    points = TOPOLOGY.mean_landmarks.astype(np.float64)
    for landmark, by in moved.items():
        points[landmark] += by
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    rotation = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    vertices = (TOPOLOGY.operator @ points).astype(np.float32)
    return FittedFace(
        vertices=vertices,
        landmarks=points.astype(np.float32),
        rotation=rotation,
        camera_matrix=np.eye(3, 4),
        pose_deg=(0.0, yaw_deg, 0.0),
        scale=1.0,
        residual=0.0,
    )


def test_frontal_face_stays_as_it_is() -> None:
    face = _face(0, {NOSE: (3, 0, 0), RIGHT_CHEEK: (0, 2, 5)})
    np.testing.assert_allclose(landmarks_by_symmetry(face, TOPOLOGY), face.vertices[:468], atol=0.05)


@pytest.mark.parametrize("yaw_deg", [45.0, -45.0])
def test_turned_face_is_what_its_visible_side_shows(yaw_deg: float) -> None:
    # Positive yaw turns the nose to the image's right: then the left cheek is seen.
    seen, unseen = (LEFT_CHEEK, RIGHT_CHEEK) if yaw_deg > 0 else (RIGHT_CHEEK, LEFT_CHEEK)
    face = _face(yaw_deg, {unseen: (0, 6, 9), NOSE: (4, 0, 0), seen: (0, 1, 2)})
    found = landmarks_by_symmetry(face, TOPOLOGY)
    np.testing.assert_allclose(found, found[TOPOLOGY.mirror_landmarks] * [-1, 1, 1], atol=1e-4)
    assert abs(found[NOSE, 0]) < 1e-4
    far = {side: np.linalg.norm(found[side] - face.vertices[side]) for side in (seen, unseen)}
    assert far[seen] < far[unseen]


def test_the_more_it_is_turned_the_less_its_sides_differ() -> None:
    skew = [
        abs(float(landmarks_by_symmetry(_face(yaw, {NOSE: (4, 0, 0)}), TOPOLOGY)[NOSE, 0])) for yaw in (0, 20, 30, 45)
    ]
    assert skew == sorted(skew, reverse=True)
    assert skew[0] == pytest.approx(4, abs=1e-3)
