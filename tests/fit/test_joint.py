"""A planted person, seen from several sides with depths that are guessed, is found again."""

from dataclasses import replace

import numpy as np

from ostec.core.types import FaceLandmarks, FittedFace, FloatArray
from ostec.fit.dense import fit_dense
from ostec.fit.joint import JointFitter
from ostec.render.geometry import rotation_from_pose
from tests.toy import toy_topology
from tests.toy_head import MM_PER_UNIT, toy_correspondence, toy_head_model

MODEL, TOPOLOGY = toy_head_model(), toy_topology()
FITTER = JointFitter(MODEL, toy_correspondence(MODEL))
IDENTITY = np.float32([1.0, -0.8, 0.5, 1.2, -0.7])


def seen(identity: FloatArray, expression: list[float], yaw_deg: float, flat: float = 1.0) -> FittedFace:
    """A picture of a person; depths are ``flat`` times the true ones."""
    shape = MODEL.shape(identity, np.float32(expression))[:468] * MM_PER_UNIT
    turned = 2.0 * shape @ rotation_from_pose(0, yaw_deg).T
    points = turned * [1, -1, -flat] + [300, 300, 0]
    return fit_dense(FaceLandmarks(points.astype(np.float32), 1.0), TOPOLOGY)


def test_depth_comes_from_the_other_sides() -> None:
    faces = [seen(IDENTITY, [0.0, 0.0], yaw, flat=0.8) for yaw in (-40, 0, 40)]
    found = FITTER.fit(faces, TOPOLOGY)
    truth = MODEL.shape(IDENTITY, np.zeros(2, np.float32))[:468] * MM_PER_UNIT

    def error(depth: FloatArray) -> float:
        true = -2.0 * truth[:, 2]
        return float(np.std(depth - true))

    assert error(found.depths[1]) < 0.6 * error(faces[1].landmarks[:, 2])
    assert max(found.errors_mm) < 1.5


def test_expressions_are_each_pictures_own() -> None:
    faces = [seen(IDENTITY, expression, yaw) for expression, yaw in (([0.0, 0.0], 0), ([0.7, 0.0], 20))]
    found = FITTER.fit(faces, TOPOLOGY)
    assert max(found.errors_mm) < 1.5


def test_another_person_lies_far_from_the_shared_head() -> None:
    faces = [seen(IDENTITY, [0.0, 0.0], yaw) for yaw in (-30, -10, 10, 30)]
    stranger = seen(-2 * IDENTITY, [0.0, 0.0], 0)
    errors = FITTER.fit([*faces, stranger], TOPOLOGY).errors_mm
    assert errors[4] > 1.6 * np.median(errors)


def test_the_order_of_pictures_changes_next_to_nothing() -> None:
    faces = [seen(IDENTITY, [0.2, 0.0], yaw) for yaw in (-30, 0, 25)]
    one, other = FITTER.fit(faces, TOPOLOGY), FITTER.fit(faces[::-1], TOPOLOGY)
    for a, b in zip(one.depths, other.depths[::-1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-2)
    assert replace(one).identity.shape == (MODEL.identity.shape[2],)
