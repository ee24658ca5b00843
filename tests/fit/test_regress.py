"""Crops of the published regressors, against values worked out by hand."""

import numpy as np
import pytest

from ostec.fit.regress import deep3d_crop, faceverse_crop


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
