"""From a finished face to a head: parts, textures, record and files; with the toy head, and ICT-FaceKit where it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ostec.core.errors import AssetError
from ostec.core.settings import CompleteSettings
from ostec.core.types import CompletedTexture, TexturedFace
from ostec.export.head import write_head
from ostec.io.morphable import read_morphable
from ostec.pipeline.completer import Completer
from ostec.pipeline.head import HeadMaker, described
from tests.toy import toy_face, toy_texture, toy_topology
from tests.toy_head import MM_PER_UNIT, toy_correspondence, toy_head_model

ROOT = Path(__file__).resolve().parents[2]
TOPOLOGY = toy_topology()
MODEL = toy_head_model(TOPOLOGY)
MAKER = HeadMaker(MODEL, toy_correspondence(MODEL))


def _finished(size: int = 256) -> TexturedFace:
    completed = CompletedTexture(toy_texture(size), np.ones((size, size), np.uint8))
    return TexturedFace(toy_face(TOPOLOGY, (5.0, -10.0, 3.0)), TOPOLOGY, completed)


def test_head_has_every_part_with_its_material() -> None:
    head = MAKER(_finished())
    assert (head.model, head.licence, head.notes) == ("ict", "MIT", ("A toy.",))
    parts = {part.name: part for part in head.parts}
    assert set(parts) == {"face", "head", "eye_left", "eye_right"}
    for name, part in parts.items():
        assert len(part.triangles) == len(MODEL.parts[name])
        assert part.uv.min() >= 0
        assert part.uv.max() <= 1
        np.testing.assert_allclose(np.linalg.norm(part.normals, axis=1), 1, atol=1e-5)
        assert part.texture is not None
        assert 0 <= part.texture.min() <= part.texture.max() <= 1
    assert parts["face"].texture is not None
    assert parts["face"].texture.shape == (256, 256, 3)
    # The face that was fitted is the model's mean, in the canonical frame.
    ids = np.unique(MODEL.triangles[MODEL.parts["face"]])
    np.testing.assert_allclose(parts["face"].vertices, MODEL.mean[ids] * MM_PER_UNIT, atol=0.1)


def test_middle_of_the_face_keeps_its_texture_and_the_back_has_skin() -> None:
    face = _finished()
    parts = {part.name: part for part in MAKER(face).parts}
    made = parts["face"].texture
    assert made is not None
    np.testing.assert_allclose(made[100:156, 100:156], face.completed.texture[100:156, 100:156], atol=5e-3)
    back = parts["head"].texture
    assert back is not None
    inside = face.completed.texture.reshape(-1, 3)
    assert (back.mean((0, 1)) > inside.min(0)).all()
    assert (back.mean((0, 1)) < inside.max(0)).all()
    assert back.std((0, 1)).max() < inside.std(0).max()


def test_equal_faces_give_equal_heads() -> None:
    one, other = MAKER(_finished()), MAKER(_finished())
    for a, b in zip(one.parts, other.parts, strict=True):
        np.testing.assert_array_equal(a.vertices, b.vertices)
        np.testing.assert_array_equal(a.texture, b.texture)


def test_record_says_model_and_licence() -> None:
    assert described(None)["name"] == "facemesh"
    assert "Apache" in described(None)["licence"]
    found = json.loads(json.dumps(described(MAKER(_finished()))))
    assert (found["name"], found["licence"], found["sha256"]) == ("ict", "MIT", "ab" * 32)
    assert len(found["identity"]) == 5
    assert len(found["expression"]) == 2
    assert found["landmark_error_mm"] < 0.1
    assert found["notes"] == ["A toy."]


def test_files_of_the_toy_head_load_back(tmp_path: Path) -> None:
    write_head(tmp_path, "a", MAKER(_finished()))
    scene = trimesh.load(tmp_path / "a_head.glb")
    assert set(scene.geometry) == {"face", "head", "eye_left", "eye_right"}
    height = 0.001 * MM_PER_UNIT * np.ptp(MODEL.mean[:, 1])
    assert np.ptp(scene.bounds[:, 1]) == pytest.approx(height, rel=0.02)


def test_without_the_files_one_sentence_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(AssetError, match=r"is not on this machine; please run: ostec models fetch ict_facekit$"):
        Completer.from_pretrained(CompleteSettings(iterations=0, face_model="ict"))


def test_unknown_face_model_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^face_model must be one of facemesh, ict, got 'head'\.$"):
        CompleteSettings(face_model="head")  # type: ignore[arg-type]


def test_photo_gets_a_full_head(tmp_path: Path) -> None:
    try:
        read_morphable("ict")
    except AssetError as error:
        pytest.skip(str(error))
    settings = CompleteSettings(iterations=0, uv_size=512, face_model="ict")
    result = Completer.from_pretrained(settings, "cpu")(ROOT / "examples/grace_hopper.jpg")
    record = json.loads(result.save(tmp_path, "a").read_text(encoding="utf-8"))
    assert {"a_head.glb", "a_head.obj", "a_head.mtl", "a_head_face.png"} <= set(record["files"])
    assert (record["face_model"]["name"], record["face_model"]["licence"]) == ("ict", "MIT")
    assert record["face_model"]["landmark_error_mm"] < 2
    assert {"ict_facemesh.npz", "face model ict"} <= set(record["weights"])
    scene = trimesh.load(tmp_path / "a_head.glb")
    assert {"face", "head", "eye_left", "eye_right", "teeth_upper", "teeth_lower", "gums"} <= set(scene.geometry)
    for mesh in scene.geometry.values():
        assert mesh.visual.uv.min() >= 0
        assert mesh.visual.uv.max() <= 1
    for name in ("eye_left", "eye_right", "teeth_upper", "teeth_lower"):  # closed in the model, seams aside
        mesh = scene.geometry[name]
        whole = trimesh.Trimesh(mesh.vertices, mesh.faces)
        assert whole.is_watertight
        assert whole.volume > 0
    # Chin and crown lie beyond the face mesh, ears beside it.
    face = trimesh.load(tmp_path / "a.glb")
    assert scene.extents[0] > face.extents[0] + 0.02
    assert scene.bounds[1, 1] > face.bounds[1, 1] + 0.03
    assert scene.bounds[0, 1] < face.bounds[0, 1] - 0.03
    eyes = [scene.geometry[name].vertices.mean(0) for name in ("eye_left", "eye_right")]
    assert eyes[0][0] < 0 < eyes[1][0]
