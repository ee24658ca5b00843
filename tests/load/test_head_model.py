"""The head model that ships is mirror-symmetric, moves as ARKit's names say, and has FaceMesh's layout on its face."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ostec.core.assets import asset_path
from ostec.core.errors import AssetError
from ostec.core.types import FloatArray, IntArray
from ostec.fit.morphable import HeadFitter
from ostec.heads.rig import ARKIT
from ostec.load.correspondence import correspondence_of
from ostec.load.morphable import head as reader
from ostec.load.morphable.head import StoredHead, read_head, read_layout
from ostec.load.topology import read_topology

MODEL = read_head()
LAYOUT, _ = read_layout(asset_path("topology/head.npz"))
FACEMESH = read_topology(asset_path("topology/facemesh.npz"))
FLIP = np.array([-1, 1, 1], np.float32)


def _vertices(part: str) -> IntArray:
    return np.unique(MODEL.triangles[MODEL.parts[part]])


def _expression(name: str) -> FloatArray:
    return MODEL.expression[:, :, MODEL.expression_names.index(name)]


def test_file_is_small() -> None:
    assert asset_path("models/head.safetensors").stat().st_size < 3_000_000


def test_every_triangle_is_of_one_part() -> None:
    count = np.zeros(len(MODEL.triangles), int)
    for ids in MODEL.parts.values():
        count[ids] += 1
    assert (count == 1).all()
    assert {"face", "head", "mouth_socket", "gums", "tongue", "teeth_upper", "teeth_lower"} < set(MODEL.parts)


def test_polygons_are_fans_mostly_of_two_triangles() -> None:
    assert MODEL.polygons is not None
    assert (np.diff(MODEL.polygons) >= 0).all()
    _, starts, sides = np.unique(MODEL.polygons, return_index=True, return_counts=True)
    assert sides.max() == 2
    assert (sides == 2).mean() > 0.85  # eyeballs are triangles
    pairs = starts[sides == 2]
    np.testing.assert_array_equal(MODEL.triangles[pairs, 0], MODEL.triangles[pairs + 1, 0])
    np.testing.assert_array_equal(MODEL.triangles[pairs, 2], MODEL.triangles[pairs + 1, 1])


def test_outer_eye_corners_are_where_the_canonical_frame_has_them() -> None:
    corners = correspondence_of(MODEL).points(MODEL.mean)[[33, 263]]
    np.testing.assert_allclose(corners, [[-45, 0, 60], [45, 0, 60]], atol=6)
    assert MODEL.mm_per_unit == 1


def test_every_identity_is_its_own_mirror_image_or_the_negative_of_it() -> None:
    stored = _stored()
    np.testing.assert_array_equal(stored.mirror[stored.mirror], np.arange(len(stored.mirror)))
    np.testing.assert_allclose(stored.mean[stored.mirror] * FLIP, stored.mean, atol=1e-4)
    mirrored = stored.identity[stored.mirror] * FLIP[:, None]
    np.testing.assert_allclose(mirrored * stored.parity, stored.identity, atol=1e-5)
    assert set(stored.parity) == {-1, 1}


def _stored() -> StoredHead:
    from ostec.io.weights import read_safetensors

    tensors = read_safetensors(asset_path("models/head.safetensors"))
    return StoredHead.read({name: tensor.numpy() for name, tensor in tensors.items()})


def test_what_is_stored_comes_back() -> None:
    stored = _stored()
    again = StoredHead.read(stored.tensors())
    np.testing.assert_array_equal(again.mean, stored.mean)
    np.testing.assert_allclose(again.identity, stored.identity, atol=1e-5)
    np.testing.assert_allclose(again.expression, stored.expression, atol=1e-4)
    np.testing.assert_allclose(again.joint_weights, stored.joint_weights, atol=0.01)


def test_expressions_have_arkits_names_and_are_mirror_images() -> None:
    assert MODEL.expression_names == ARKIT
    stored = _stored()
    for name in ("mouthSmileLeft", "eyeBlinkLeft", "browDownLeft", "jawLeft"):
        k, other = ARKIT.index(name), ARKIT.index(name.replace("Left", "Right"))
        np.testing.assert_array_equal(stored.expression[stored.mirror, :, other] * FLIP, stored.expression[:, :, k])


def test_left_is_the_heads_left() -> None:
    for name in ("mouthSmile", "eyeBlink", "browOuterUp", "cheekSquint"):
        far = np.linalg.norm(_expression(name + "Left"), axis=1)
        assert MODEL.mean[np.argmax(far), 0] > 10  # the image's right


def test_jaw_moves_the_lower_teeth_and_nothing_moves_upper_teeth_or_eyeballs() -> None:
    lower, upper = _vertices("teeth_lower"), _vertices("teeth_upper")
    assert _expression("jawOpen")[lower, 1].mean() < -5
    assert np.abs(MODEL.expression[upper]).max() < 0.5
    assert np.abs(_expression("mouthFunnel")[lower]).max() == 0
    for eye in ("eye_left", "eye_right"):
        assert np.abs(MODEL.expression[_vertices(eye)]).max() == 0


@pytest.mark.parametrize("eye", ["eye_left", "eye_right"])
def test_eyeballs_are_closed_spheres_behind_the_lids(eye: str) -> None:
    ball = trimesh.Trimesh(MODEL.mean, MODEL.triangles[MODEL.parts[eye]])
    assert ball.is_watertight
    assert ball.volume > 0
    points = MODEL.mean[_vertices(eye)]
    radius = np.linalg.norm(points - points.mean(0), axis=1)
    assert np.ptp(radius) < 0.02 * radius.mean()
    assert (points.mean(0)[0] < 0) == (eye == "eye_left")


def test_joints_hang_together_and_share_every_vertex() -> None:
    joints = MODEL.joints
    assert joints is not None
    assert joints.names == ("Chest", "Neck", "Head", "Jaw", "LeftEye", "RightEye")
    np.testing.assert_array_equal(joints.parents, [-1, 0, 1, 2, 2, 2])
    np.testing.assert_allclose(joints.weights.sum(1), 1, atol=1e-4)
    assert joints.weights.min() >= -1e-6
    for eye, joint in (("eye_left", "RightEye"), ("eye_right", "LeftEye")):
        k = joints.names.index(joint)
        np.testing.assert_allclose(joints.weights[_vertices(eye), k], 1, atol=1e-4)
        np.testing.assert_allclose(joints.places[k], MODEL.mean[_vertices(eye)].mean(0), atol=0.5)
    np.testing.assert_allclose(joints.weights[_vertices("teeth_lower"), 3], 1, atol=1e-4)
    assert joints.places[0, 1] < joints.places[1, 1] < joints.places[2, 1] < joints.places[4, 1]


def test_face_has_facemeshs_layout() -> None:
    ids = MODEL.parts["face"]
    place = np.full((len(MODEL.mean), 2), np.nan, np.float32)
    place[MODEL.triangles[ids]] = MODEL.uv[MODEL.triangles_uv[ids]]
    found = correspondence_of(MODEL)
    here = (place[found.vertices] * found.weights[..., None]).sum(1)
    on_face = np.isfinite(here).all(1)
    assert on_face.sum() > 400  # the outermost 8 mm belong to the head
    apart = np.linalg.norm(here - FACEMESH.uv[:468], axis=1)[on_face]
    assert np.median(apart) < 0.002  # two texels of 1024
    assert np.quantile(apart, 0.95) < 0.012
    np.testing.assert_allclose(np.nanmin(place), 0, atol=0.15)
    assert np.nanmax(place) < 1


def test_hardly_a_triangle_of_the_layout_is_flipped_or_without_area() -> None:
    for part, most in (("face", 0.03), ("head", 0.01)):
        a, b, c = (MODEL.uv[MODEL.triangles_uv[MODEL.parts[part], k]].astype(float) for k in range(3))
        area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        assert (area <= 0).mean() < most


def test_fits_the_mean_face_and_no_gaze_or_tongue() -> None:
    head = HeadFitter(MODEL, correspondence_of(MODEL)).fit(FACEMESH.mean_landmarks)
    assert head.error_mm < 1
    for name, value in zip(MODEL.expression_names, head.expression, strict=True):
        assert value >= 0
        assert value == 0 or name not in MODEL.unseen
    assert {"tongueOut", "eyeLookUpLeft"} <= set(MODEL.unseen)


def test_layout_of_another_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smaller = replace(LAYOUT, operator=LAYOUT.operator[:, :-1].tocsr())
    smaller.write(tmp_path / "head.npz")
    monkeypatch.setattr(reader, "asset_path", lambda _: tmp_path / "head.npz")
    with pytest.raises(AssetError, match=r"head\.safetensors does not belong to topology/head\.npz"):
        read_head()


def test_damaged_layout_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "head.npz"
    shutil.copy(asset_path("topology/head.npz"), path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(AssetError, match=r"head\.npz is no layout file"):
        read_layout(path)
