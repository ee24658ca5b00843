"""The compiled z-buffer against a slow rasteriser in plain NumPy, and against values worked out by hand."""

import numpy as np
import pytest

from ostec.render.zbuffer import rasterize_cpu


def reference(position: np.ndarray, triangles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One mesh [V, 4], one triangle after the other, every pixel of the image."""
    height, width = size
    out, depth = np.zeros((height, width, 4)), np.full((height, width), np.inf)
    px, py = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    for label, ids in enumerate(triangles, start=1):
        corner = position[ids].astype(np.float64)
        if (corner[:, 3] <= 0).any():
            continue
        screen = (corner[:, :2] / corner[:, 3:] + 1) / 2 * [width, height]
        matrix = np.stack([screen[:, 0], screen[:, 1], np.ones(3)])
        if abs(np.linalg.det(matrix)) < 1e-12:
            continue
        on_screen = np.tensordot(np.linalg.inv(matrix), np.stack([px, py, np.ones_like(px)]), 1)
        z = np.tensordot(corner[:, 2] / corner[:, 3], on_screen, 1)
        wins = (on_screen >= 0).all(0) & (np.abs(z) <= 1) & (z < depth)
        perspective = on_screen / corner[:, 3, None, None]
        perspective = perspective / perspective.sum(0)
        out[wins] = np.stack([*perspective[:2], z, np.full_like(z, label)], axis=-1)[wins]
        depth[wins] = z[wins]
    return out


def clip(points: list[tuple[float, float, float, float]]) -> np.ndarray:
    return np.array([points], np.float32)


def test_agrees_with_the_slow_rasteriser():
    rng = np.random.default_rng(0)
    position = rng.uniform(-1.3, 1.3, (3, 40, 4)).astype(np.float32)
    position[..., 3] = rng.uniform(0.5, 2.0, (3, 40))
    position[1, :, 3] = 1.0
    position[2, ::9, 3] *= -1  # behind the camera
    triangles = rng.integers(0, 40, (60, 3)).astype(np.int32)
    found = rasterize_cpu(position, triangles, (23, 37))
    assert found.shape == (3, 23, 37, 4)
    assert found.dtype == np.float32
    for one, image in zip(position, found, strict=True):
        expected = reference(one, triangles, (23, 37))
        assert len(np.unique(expected[..., 3])) > 10
        np.testing.assert_array_equal(image[..., 3], expected[..., 3])
        np.testing.assert_allclose(image, expected, atol=1e-5)


def test_rows_run_from_the_bottom_up():
    # One triangle in the lower left corner of a 4 x 4 image, with three pixel centres strictly inside.
    found = rasterize_cpu(clip([(-1, -1, 0, 1), (0.2, -1, 0, 1), (-1, 0.2, 0, 1)]), np.array([[0, 1, 2]]), (4, 4))
    drawn = np.zeros((4, 4))
    drawn[0, 0] = drawn[0, 1] = drawn[1, 0] = 1
    np.testing.assert_array_equal(found[0, ..., 3], drawn)


def test_barycentrics_by_hand():
    # Pixel centres of a 2 x 2 image are at -0.5 and 0.5. The triangle covers it all.
    points = clip([(-1, -1, 0.25, 1), (3, -1, 0.5, 1), (-1, 3, -0.5, 1)])
    found = rasterize_cpu(points, np.array([[0, 1, 2]]), (2, 2))[0]
    # At (0.5, -0.5), 1.5 / 4 of the way to the second vertex and 0.5 / 4 to the third.
    np.testing.assert_allclose(found[0, 1], [0.5, 0.375, 0.25 * 0.5 + 0.5 * 0.375 - 0.5 * 0.125, 1], atol=1e-7)
    np.testing.assert_allclose(found[1, 0], [0.5, 0.125, 0.25 * 0.5 + 0.5 * 0.125 - 0.5 * 0.375, 1], atol=1e-7)


def test_barycentrics_are_perspective_correct():
    # On the screen as above, but the second vertex is three times as far away: at (0.5, -0.5) the screen weights
    # (4, 3, 1) / 8 become (4, 3 / 3, 1) / 6, and z / w stays linear on the screen.
    points = clip([(-1, -1, 0.25, 1), (9, -3, 1.5, 3), (-1, 3, -0.5, 1)])
    found = rasterize_cpu(points, np.array([[0, 1, 2]]), (2, 2))[0]
    np.testing.assert_allclose(found[0, 1], [4 / 6, 1 / 6, 0.25, 1], atol=1e-7)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_the_nearer_triangle_wins_whatever_the_order(order):
    big = [(-1, -1), (3, -1), (-1, 3)]
    points = clip([(x, y, 0.5, 1) for x, y in big] + [(x, y, -0.5, 1) for x, y in big])
    triangles = np.array([[0, 1, 2], [3, 4, 5]])[order]
    found = rasterize_cpu(points, triangles, (3, 3))[0]
    assert (found[..., 2] == -0.5).all()
    assert (found[..., 3] == order.index(1) + 1).all()


def test_of_two_equally_near_the_first_wins():
    big = [(-1, -1, 0, 1), (3, -1, 0, 1), (-1, 3, 0, 1)]
    found = rasterize_cpu(clip(big + big), np.array([[3, 4, 5], [0, 1, 2]]), (3, 3))
    assert (found[..., 3] == 1).all()


def test_both_windings_are_drawn():
    points = clip([(-1, -1, 0, 1), (3, -1, 0, 1), (-1, 3, 0, 1)])
    ahead = rasterize_cpu(points, np.array([[0, 1, 2]]), (5, 5))
    behind = rasterize_cpu(points, np.array([[0, 2, 1]]), (5, 5))
    np.testing.assert_allclose(ahead[..., 1], 1 - behind[..., 0] - behind[..., 1], atol=1e-6)
    assert (behind[..., 3] == 1).all()


def test_what_is_outside_the_view_is_left_out():
    big = [(-1, -1), (3, -1), (-1, 3)]
    for z, w in ((1.5, 1.0), (-1.5, 1.0), (0.0, -1.0), (0.0, 0.0)):
        assert not rasterize_cpu(clip([(x, y, z, w) for x, y in big]), np.array([[0, 1, 2]]), (4, 4)).any()
    aside = [(x + 5, y, 0, 1) for x, y in big]
    assert not rasterize_cpu(clip(aside), np.array([[0, 1, 2]]), (4, 4)).any()


def test_a_triangle_without_area_draws_nothing():
    points = clip([(-1, -1, 0, 1), (0, 0, 0, 1), (1, 1, 0, 1)])
    assert not rasterize_cpu(points, np.array([[0, 1, 2], [0, 0, 1]]), (8, 8)).any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("reach", [2, 3, 5, 5.5, 13 / 2])
def test_no_pixel_falls_between_neighbours(seed, reach):
    # A fan whose spokes pass exactly through pixel centres, at fractions of their length that are no binary numbers.
    rng = np.random.default_rng(seed)
    side, spokes = 64, 200
    hub = rng.integers(-800, 800, 2) / 4096 + 1 / 8192
    pixel = rng.integers(0, side, (spokes, 2))
    through = (pixel + 0.5) / side * 2 - 1
    order = np.argsort(np.arctan2(*(through - hub).T))
    rim = hub + reach * (through - hub)[order]
    position = np.concatenate([[hub], rim])
    position = np.concatenate([position, np.zeros((spokes + 1, 1)), np.ones((spokes + 1, 1))], axis=1)
    assert np.array_equal(position.astype(np.float32), position), "the coordinates are exact"
    ring = np.arange(spokes)
    triangles = np.stack([np.zeros(spokes, int), ring + 1, (ring + 1) % spokes + 1], axis=1)
    triangles[1::2] = triangles[1::2][:, [2, 0, 1]]  # so that third corners face each other across a spoke
    found = rasterize_cpu(position[None].astype(np.float32), triangles, (side, side))
    assert (found[0, pixel[:, 1], pixel[:, 0], 3] > 0).all()


def test_an_empty_batch_or_mesh_gives_an_empty_image():
    assert rasterize_cpu(np.zeros((0, 3, 4), np.float32), np.array([[0, 1, 2]]), (2, 3)).shape == (0, 2, 3, 4)
    assert not rasterize_cpu(np.zeros((1, 0, 4), np.float32), np.zeros((0, 3), np.int32), (2, 3)).any()
