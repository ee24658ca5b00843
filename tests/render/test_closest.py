"""The compiled choice among candidates is the one in NumPy."""

import numpy as np
import pytest

from ostec.render.surface import closest_among, unit_normals
from tests.render.closest_plain import closest_among_plain


def _asked(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """50 triangles, among them a degenerate one, and 400 points with 6 candidates each and normals."""
    rng = np.random.default_rng(seed)
    corners = rng.normal(size=(50, 1, 3)) * 3 + rng.normal(size=(50, 3, 3))
    corners[7] = corners[7, :1]
    near = np.argsort(rng.random((400, 50)), axis=1)[:, :6]
    normals = rng.normal(size=(400, 3))
    return corners, near, rng.normal(size=(400, 3)) * 3, normals / np.linalg.norm(normals, axis=1, keepdims=True)


@pytest.mark.parametrize("least_cosine", [-2.0, 0.2, 0.7, 2.0])
def test_compiled_and_plain_agree(least_cosine: float) -> None:
    corners, near, points, normals = _asked()
    fast = closest_among(corners, near, points, normals, least_cosine)
    plain = closest_among_plain(corners, near, points, normals, least_cosine)
    np.testing.assert_array_equal(fast[0], plain[0])
    for one, other in zip(fast[1:], plain[1:], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_without_normals_every_candidate_counts() -> None:
    corners, near, points, _ = _asked(1)
    triangle, weights, distance = closest_among(corners, near, points)
    np.testing.assert_array_equal(triangle, closest_among_plain(corners, near, points)[0])
    at = (corners[triangle] * weights[..., None]).sum(1)
    np.testing.assert_allclose(np.linalg.norm(at - points, axis=1), distance, atol=1e-12)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)


def test_normal_of_a_triangle_follows_its_winding() -> None:
    corner = np.array([[[0.0, 0, 0], [2, 0, 0], [0, 3, 0]], [[0, 0, 0], [0, 3, 0], [2, 0, 0]], [[1, 1, 1]] * 3])
    np.testing.assert_allclose(unit_normals(corner), [[0, 0, 1], [0, 0, -1], [0, 0, 0]])
