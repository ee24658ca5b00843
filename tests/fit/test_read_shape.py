"""A published network's coefficients take the place of those that landmarks decide."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ostec.core.morphable import ModelShape
from ostec.fit.morphable import HeadFitter
from ostec.fit.regress import cut_out, read_shape
from ostec.nets.regressor import DEEP3D, FACEVERSE, Coefficients, Regressor, RegressorLayout
from ostec.pipeline.settings import CompleteSettings
from tests.toy_head import MM_PER_UNIT, toy_correspondence, toy_head_model


class Fixed(Regressor):
    """Reads the mean colours of what it is shown."""

    def __init__(self, layout: RegressorLayout) -> None:
        super().__init__(layout)
        self.shown: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor):
        self.shown.append(images)
        sizes = dict(self.layout.heads)
        return Coefficients(*(images.mean().expand(1, sizes[name]) for name in ("identity", "expression")))


def test_a_cut_is_what_its_matrix_says() -> None:
    photo = np.zeros((40, 60, 3), np.float32)
    photo[10:20, 30:40] = (0.2, 0.4, 0.6)
    crop = np.array([[3.2, 0, -30 * 3.2], [0, 3.2, -10 * 3.2]])
    cut = cut_out(photo, crop, 32)
    np.testing.assert_allclose(cut[0].permute(1, 2, 0)[4:28, 4:28], np.full((24, 24, 3), (0.2, 0.4, 0.6)), atol=1e-5)
    beyond = cut_out(photo, np.array([[3.2, 0, 5 * 3.2], [0, 3.2, 5 * 3.2]]), 32)  # 5 px beyond the corner
    assert float(beyond[..., :14].abs().max()) == 0


@pytest.mark.parametrize("layout", [DEEP3D, FACEVERSE], ids=lambda layout: layout.name)
def test_what_is_read_is_the_face(layout: RegressorLayout, models) -> None:
    photo = np.full((300, 400, 3), 0.1, np.float32)
    landmarks = (models.topology.mean_landmarks[:, :2] * [1, -1] + [200, 150]).astype(np.float32)
    low, high = landmarks.min(0).astype(int), landmarks.max(0).astype(int)
    photo[low[1] : high[1], low[0] : high[0]] = (0.5, 0.7, 0.9)
    network = Fixed(layout)
    shape = read_shape(network, photo, landmarks)
    assert network.shown[0].shape == (1, 3, layout.size, layout.size)
    middle = network.shown[0][0, :, layout.size // 2, layout.size // 2]
    np.testing.assert_allclose(middle, (0.5, 0.7, 0.9), atol=0.02)
    sizes = dict(layout.heads)
    assert (len(shape.identity), len(shape.expression)) == (sizes["identity"], sizes["expression"])


def test_given_coefficients_stay_and_the_rest_is_fitted() -> None:
    model = toy_head_model()
    fitter = HeadFitter(model, toy_correspondence(model))
    wanted = ModelShape(np.float32([1.0, -0.8, 0.5, 1.2, -0.7]), np.float32([0.4, 0.0]))
    head = 1.07 * MM_PER_UNIT * model.shape(wanted.identity, wanted.expression) + np.float32([3, -5, 8])
    found = fitter.fit(head[:468], wanted)
    np.testing.assert_array_equal(found.identity, wanted.identity)
    np.testing.assert_array_equal(found.expression, wanted.expression)
    np.testing.assert_allclose(found.modelled, head, atol=1e-3)
    other = ModelShape(-wanted.identity, np.float32([0.0, 0.5]))
    held = fitter.fit(head[:468], other)
    np.testing.assert_array_equal(held.identity, other.identity)
    assert held.error_mm > found.error_mm + 1  # of the model's own shape; the residual draws the skin to the landmarks
    with pytest.raises(ValueError, match="coefficients for"):
        fitter.fit(head[:468], replace(wanted, identity=np.zeros(6, np.float32)))


def test_a_network_belongs_to_its_model() -> None:
    assert CompleteSettings(fit="deep3d", face_model="bfm").fit == "deep3d"
    with pytest.raises(ValueError, match="fit deep3d reads bfm, so face_model must be that"):
        CompleteSettings(fit="deep3d")
