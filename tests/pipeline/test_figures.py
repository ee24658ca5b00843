"""Figures of what a photo shows of a face."""

import numpy as np

from ostec.pipeline.figures import photo_figures


def test_figures_of_a_hand_made_texture() -> None:
    texture = np.zeros((4, 4, 3), np.float32)
    texture[:, 2:] = 1.0
    seen = np.zeros((4, 4), bool)
    assert photo_figures(texture, seen) == {}
    seen[:, 1:3] = True  # a step from black to white between two columns
    figures = photo_figures(texture, seen)
    assert figures == {"brightness": 0.5, "contrast": 0.5, "sharpness": 2.0}
    assert photo_figures(texture[:, :2], seen[:, :2]) == {"brightness": 0.0, "contrast": 0.0}
