"""A fitted head's expressions and joints: it is itself again with its own values, and turns where a head turns."""

from dataclasses import replace

import numpy as np

from ostec.core.morphable import Joints, MorphableModel
from ostec.fit.morphable import FittedHead
from ostec.heads.parts import Head, HeadPart
from ostec.heads.rig import ARKIT, WITH_NORMALS, Rigger, as_neutral
from tests.toy_head import EYES, JAW_MM, MM_PER_UNIT, toy_arkit_model, toy_correspondence, toy_head_model

MODEL = toy_arkit_model()
RIGGER = Rigger(MODEL, toy_correspondence(MODEL))
VALUES = np.float32([0.2, 0.5, 0.6, 0.1])


def fitted(model: MorphableModel = MODEL, values: np.ndarray = VALUES, size: float = 1.1) -> FittedHead:
    """A head a little larger than the mean one, turned by a right angle about y, and moved."""
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    identity = np.float32([0.5, 0, 0, 0, 0])
    shape = model.shape(identity, values) @ turn.T * (MM_PER_UNIT * size) + (1, 2, 3)
    vertices = (shape + np.float32([0, 0.5, 0])).astype(np.float32)  # what the model cannot say
    offset = np.array([1.0, 2, 3])
    return FittedHead(vertices, shape.astype(np.float32), identity, values, MM_PER_UNIT * size, turn, offset, 0.5)


def test_names_are_arkits_52_in_order() -> None:
    assert len(set(ARKIT)) == len(ARKIT) == 52
    assert (ARKIT[0], ARKIT[7], ARKIT[17], ARKIT[23], ARKIT[-1]) == (
        *("eyeBlinkLeft", "eyeBlinkRight", "jawOpen", "mouthSmileLeft", "tongueOut"),
    )
    assert set(WITH_NORMALS) < set(ARKIT)


def test_blend_shapes_get_arkits_names_and_halves_are_put_together() -> None:
    rig = RIGGER(fitted())
    assert rig.targets == ("jawOpen", "browInnerUp")
    np.testing.assert_allclose(rig.values, [0.5, 0.4])
    for k, halves in enumerate(([1], [0, 2])):
        lengths = 1.1 * MM_PER_UNIT * np.linalg.norm(MODEL.expression[:, :, halves].sum(2), axis=1)
        np.testing.assert_allclose(np.linalg.norm(rig.offsets[:, :, k], axis=1), lengths, atol=1e-4)


def test_components_keep_their_count_and_get_numbers() -> None:
    model = replace(MODEL, expression_names=())
    rig = Rigger(model, toy_correspondence(model))(fitted())
    assert rig.targets == ("expression001", "expression002", "expression003", "expression004")
    np.testing.assert_allclose(rig.values, VALUES)
    assert rig.turned == {}
    assert "Jaw" not in rig.joints.names
    named = toy_head_model()
    assert Rigger(named, toy_correspondence(named)).targets == ("chin", "brows")


def test_head_with_its_own_values_is_the_fitted_one() -> None:
    head = fitted()
    rig = RIGGER(head)
    np.testing.assert_allclose(rig.neutral + rig.offsets @ rig.values, head.vertices, atol=1e-4)
    even = RIGGER(fitted(values=np.float32([0.4, 0.5, 0.4, 0])))  # no halves apart, nothing that has no name
    np.testing.assert_allclose(even.neutral, fitted(values=np.zeros(4, np.float32)).vertices, atol=1e-4)


def test_normals_turn_with_the_jaw() -> None:
    rig = RIGGER(fitted())
    assert set(rig.turned) == {"jawOpen"}
    changed = np.linalg.norm(rig.turned["jawOpen"], axis=1) > 0.05
    assert changed.any()
    assert not changed[np.linalg.norm(rig.offsets[:, :, 0], axis=1) == 0].all()
    np.testing.assert_allclose(np.linalg.norm(rig.normals + rig.turned["jawOpen"], axis=1), 1, atol=1e-5)


def test_jaw_turns_where_jaw_open_turns_it() -> None:
    joints = RIGGER.joints
    jaw = joints.names.index("Jaw")
    np.testing.assert_allclose(joints.places[jaw] * MM_PER_UNIT, JAW_MM, atol=0.05)
    follows = joints.weights[:, jaw] / (1 - joints.weights[:, 0])  # what does not follow the neck
    moved = MM_PER_UNIT * np.linalg.norm(MODEL.expression[:, :, 1], axis=1)
    assert follows[moved > 3].min() > 0.95
    assert (follows[moved == 0] == 0).all()


def test_eyes_turn_about_their_middles_and_left_is_the_heads() -> None:
    joints = RIGGER.joints
    assert joints.names == ("Neck", "Head", "Jaw", "LeftEye", "RightEye")
    assert joints.parents.tolist() == [-1, 0, 1, 1, 1]
    for name, part in (("LeftEye", "eye_right"), ("RightEye", "eye_left")):
        joint = joints.names.index(name)
        np.testing.assert_allclose(joints.places[joint] * MM_PER_UNIT, EYES[part], atol=1e-3)
        own = np.unique(MODEL.triangles[MODEL.parts[part]])
        assert (joints.weights[own, joint] == 1).all()
        assert joints.weights[:, joint].sum() == len(own)
    np.testing.assert_allclose(joints.weights.sum(1), 1, atol=1e-6)


def test_neck_bends_below_the_chin_and_the_face_follows_the_head() -> None:
    long = replace(MODEL, mean=MODEL.mean.copy(), expression_names=())
    below = 468
    long.mean[below] = (0, -25, -5)
    joints = Rigger(long, toy_correspondence(long)).joints
    assert joints.weights[below, 0] == 1
    assert (joints.weights[:468, 0][long.mean[:468, 1] > -2] == 0).all()
    neck, head = joints.places[:2] * MM_PER_UNIT
    assert neck[1] < -100 < head[1] < 0
    assert head[2] < 0


def test_joints_move_with_the_fitted_head() -> None:
    head = fitted(values=np.zeros(4, np.float32))
    joints = RIGGER(head).joints
    for name, part in (("LeftEye", "eye_right"), ("RightEye", "eye_left")):
        own = head.vertices[np.unique(MODEL.triangles[MODEL.parts[part]])]
        np.testing.assert_allclose(joints.places[joints.names.index(name)], (own.min(0) + own.max(0)) / 2, atol=0.3)


def test_joints_of_the_model_are_used_where_it_has_some() -> None:
    own = Joints(("Root",), np.float32([[0, 1, 0]]), np.int32([-1]), np.ones((len(MODEL.mean), 1), np.float32))
    model = replace(MODEL, joints=own)
    rigger = Rigger(model, toy_correspondence(model))
    assert rigger.joints is own
    identity = replace(fitted(), rotation=np.eye(3), offset=np.zeros(3), scale=MM_PER_UNIT)
    still = replace(identity, vertices=MODEL.mean * MM_PER_UNIT, expression=np.zeros(4, np.float32))
    np.testing.assert_allclose(rigger(still).joints.places, [[0, MM_PER_UNIT, 0]], atol=1e-5)


def test_neutral_head_has_no_expression_and_nothing_between_its_lips() -> None:
    rig = RIGGER(fitted())
    ids = np.int32([3, 1, 2])
    none = np.empty((0, 2), np.float32)
    triangle, white = np.int32([[0, 1, 2]]), (1.0, 1.0, 1.0)
    part = HeadPart("face", fitted().vertices[ids], rig.normals[ids], triangle, none, white, ids=ids)
    mouth = replace(part, name="mouth", ids=None)
    head = Head("ict", "MIT", "ab" * 32, (part, mouth), np.zeros(5), VALUES, 0.5, rig=rig)
    calm = as_neutral(head)
    assert [part.name for part in calm.parts] == ["face"]
    np.testing.assert_array_equal(calm.parts[0].vertices, rig.neutral[ids])
    assert calm.rig is not None
    assert not calm.rig.values.any()
    np.testing.assert_array_equal(calm.expression, VALUES)  # what the photo showed stays in the record
    bare = replace(head, rig=None)
    assert as_neutral(bare) is bare
