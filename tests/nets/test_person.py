"""The networks for the full head: the person in a photo, and irises against the TFLite interpreter."""

import numpy as np
import pytest
import torch

from ostec.load.networks import load_iris, load_person

CPU = torch.device("cpu")
NOISE = [[35.337, 28.999], [37.543, 28.227], [35.002, 26.655], [32.979, 29.691], [35.698, 31.255]]
"""Of ai-edge-litert with iris_landmark.tflite on ``default_rng(0).random((1, 64, 64, 3))``."""


def test_irises_are_those_of_tflite_within_two_hundredths_of_a_pixel() -> None:
    crops = np.random.default_rng(0).random((1, 64, 64, 3)).astype(np.float32)
    found = load_iris(CPU)(torch.from_numpy(crops).permute(0, 3, 1, 2))
    np.testing.assert_allclose(found[0].numpy(), NOISE, atol=0.02)


def test_plain_picture_shows_no_person() -> None:
    found = load_person(CPU)(torch.full((1, 3, 256, 256), 0.5))
    assert found.shape == (1, 1, 256, 256)
    assert float(found.mean()) < 0.2


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected pictures \[B, 3, 256, 256\]"):
        load_person(CPU)(torch.zeros(1, 3, 128, 128))
    with pytest.raises(ValueError, match=r"expected crops \[B, 3, 64, 64\]"):
        load_iris(CPU)(torch.zeros(1, 3, 32, 32))
