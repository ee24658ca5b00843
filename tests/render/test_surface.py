"""Closest points agree with a dense search; the Laplacian knows planes and areas."""

import numpy as np

from ostec.render.surface import border_edges, closest_points, cotangent_laplacian
from tests.render.closest_plain import barycentric_of_closest

TRIANGLE = np.array([[0.0, 0, 0], [4, 0, 0], [0, 2, 0]])


def test_closest_point_of_one_triangle_inside_on_an_edge_and_at_a_corner() -> None:
    asked = np.array([[1, 0.5, 3], [2, -1, 0], [-1, -1, 2], [2, 3, 0], [9, 0, 0]])
    weights = barycentric_of_closest(np.broadcast_to(TRIANGLE, (5, 3, 3)), asked)
    # On the slanted edge: (2, 3) lies off (4, 0) + t (-4, 2) with t = (8 + 6) / 20.
    expected = [[0.5, 0.25, 0.25], [0.5, 0.5, 0], [1, 0, 0], [0, 0.3, 0.7], [0, 1, 0]]
    np.testing.assert_allclose(weights, expected, atol=1e-12)


def _bumpy() -> tuple[np.ndarray, np.ndarray]:
    """A grid of 15 x 11 vertices with a bump, and its triangles."""
    x, y = np.meshgrid(np.linspace(-3, 4, 15), np.linspace(-2, 3, 11))
    points = np.stack([x, y, np.exp(-(x**2) - (y - 0.5) ** 2)], axis=-1).reshape(-1, 3)
    a = (np.arange(10)[:, None] * 15 + np.arange(14)).ravel()
    triangles = np.concatenate([np.stack([a, a + 1, a + 16], 1), np.stack([a, a + 16, a + 15], 1)])
    return points, triangles.astype(np.int32)


def test_closest_points_of_a_mesh_agree_with_a_dense_search() -> None:
    points, triangles = _bumpy()
    asked = np.random.default_rng(0).uniform([-4, -3, -1], [5, 4, 2], (60, 3))
    found = closest_points(points, triangles, asked)
    at = (points[found.vertices] * found.weights[..., None]).sum(1)
    np.testing.assert_allclose(np.linalg.norm(at - asked, axis=1), found.distance, atol=1e-5)
    np.testing.assert_array_equal(triangles[found.triangles], found.vertices)
    corners = np.broadcast_to(points[triangles], (60, len(triangles), 3, 3))
    weights = barycentric_of_closest(corners, asked[:, None])
    every = np.linalg.norm((weights[..., None] * corners).sum(-2) - asked[:, None], axis=-1)
    np.testing.assert_allclose(found.distance, every.min(1), atol=1e-5)


def test_sheet_that_faces_away_is_not_taken_where_another_is_near() -> None:
    lower = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points = np.concatenate([lower, lower + np.array([0, 0, 0.3])])
    triangles = np.array([[0, 2, 1], [3, 4, 5]], np.int32)  # the lower one looks down
    asked = np.array([[0.2, 0.2, 0.1]])
    assert closest_points(points, triangles, asked).triangles.tolist() == [0]
    up = np.array([[0.0, 0, 1]])
    assert closest_points(points, triangles, asked, up).triangles.tolist() == [1]
    assert closest_points(points, triangles, asked, -up).triangles.tolist() == [0]


def test_laplacian_of_a_plane_vanishes_inside_and_areas_add_up() -> None:
    points, triangles = _bumpy()
    flat = points * [1, 1, 0]
    stiffness, area = cotangent_laplacian(flat, triangles)
    assert np.isclose(area.sum(), 7 * 5)
    assert abs(stiffness - stiffness.T).max() < 1e-12
    inner = np.zeros((11, 15), bool)
    inner[1:-1, 1:-1] = True
    linear = flat @ [2.0, -3.0, 0] + 1
    np.testing.assert_allclose((stiffness @ linear)[inner.ravel()], 0, atol=1e-9)
    # Dirichlet's energy of a linear function: gradient squared times area.
    assert np.isclose(linear @ stiffness @ linear, 13 * 35)


def test_border_of_two_triangles_is_all_but_the_shared_edge() -> None:
    found = border_edges(np.array([[3, 1, 2], [1, 3, 7]], np.int32))
    assert found.tolist() == [[1, 2], [1, 7], [2, 3], [3, 7]]
    assert len(border_edges(np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], np.int32))) == 0  # a closed surface
