"""From a finished face to a head: parts, textures, record and files; with the toy head, and ICT-FaceKit where it is."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ostec.core.errors import AssetError
from ostec.core.types import CompletedTexture, TexturedFace
from ostec.export.head import write_head
from ostec.heads.maker import MADE_EYES, MADE_MOUTH, NO_LAYOUT, HeadMaker, described
from ostec.heads.texture import sample
from ostec.load.morphable.read import READERS, read_morphable
from ostec.pipeline.completer import Completer
from ostec.pipeline.settings import CompleteSettings
from tests.toy import toy_face, toy_texture, toy_topology
from tests.toy_head import MM_PER_UNIT, toy_correspondence, toy_head_model

ROOT = Path(__file__).resolve().parents[2]
WITH_MOUTH = toy_topology()
TOPOLOGY = replace(WITH_MOUTH, regions={k: v for k, v in WITH_MOUTH.regions.items() if k != "mouth"})
"""Its lips' landmarks are places of the grid, far apart."""
MODEL = toy_head_model(TOPOLOGY)
MAKER = HeadMaker(MODEL, toy_correspondence(MODEL))


def _finished(size: int = 256) -> TexturedFace:
    completed = CompletedTexture({"colour": toy_texture(size)}, np.ones((size, size), np.uint8))
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
    np.testing.assert_allclose(made[100:156, 100:156], face.completed.colour[100:156, 100:156], atol=5e-3)
    back = parts["head"].texture
    assert back is not None
    inside = face.completed.colour.reshape(-1, 3)
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
    for name in READERS:
        assert CompleteSettings(face_model=name).face_model == name
    known = ", ".join(("none", *sorted(READERS)))
    with pytest.raises(ValueError, match=rf"^face_model must be one of {known}, got 'basel'\.$"):
        CompleteSettings(face_model="basel")


def test_head_that_ships_is_the_default_and_the_mask_alone_keeps_its_earlier_name() -> None:
    assert CompleteSettings().face_model == "head"
    assert CompleteSettings(face_model="facemesh") == CompleteSettings(face_model="none")


def test_model_without_layout_has_the_same_colours_at_its_vertices() -> None:
    bare = replace(MODEL, uv=np.empty((0, 2), np.float32), triangles_uv=np.empty((0, 3), np.int32))
    head = HeadMaker(bare, toy_correspondence(bare))(_finished())
    assert head.notes == ("A toy.", NO_LAYOUT)
    parts, textured = ({part.name: part for part in made.parts} for made in (head, MAKER(_finished())))
    assert set(parts) == set(textured)
    for name, part in parts.items():
        assert (part.uv.shape, part.texture) == ((0, 2), None)
        assert part.vertex_colours is not None
        assert part.vertex_colours.shape == part.vertices.shape
        assert 0 <= part.vertex_colours.min() <= part.vertex_colours.max() <= 1
        assert set(map(tuple, part.vertices)) == set(map(tuple, textured[name].vertices))
    # What the face's texture shows there, a little smoother, and an iris in the middle of the eye.
    face, known = parts["face"], textured["face"]
    assert known.texture is not None
    order = np.lexsort(known.vertices.T), np.lexsort(face.vertices.T)
    expected = sample(known.texture, known.uv)[order[0]]
    np.testing.assert_allclose(face.vertex_colours[order[1]].mean(0), expected.mean(0), atol=0.02)  # type: ignore[index]
    assert np.abs(face.vertex_colours[order[1]] - expected).mean() < 0.05  # type: ignore[index]
    eye = parts["eye_left"]
    front, back = eye.vertices[:, 2].argmax(), eye.vertices[:, 2].argmin()
    assert eye.vertex_colours[front].mean() < eye.vertex_colours[back].mean()  # type: ignore[index]


def test_open_mouth_of_a_model_without_its_inside_shows_what_the_face_does() -> None:
    head = MAKER(replace(_finished(), topology=WITH_MOUTH))
    assert [part.name for part in head.parts][-1] == "mouth"
    assert head.notes == ("A toy.", MADE_MOUTH)
    mouth = head.parts[-1]
    assert mouth.texture is not None
    assert len(mouth.texture) < 128
    filled = replace(MODEL, parts=MODEL.parts | {"gums": MODEL.parts["eye_left"]})
    parts = HeadMaker(filled, toy_correspondence(filled))(replace(_finished(), topology=WITH_MOUTH)).parts
    assert "mouth" not in {part.name for part in parts}


def test_face_that_lies_within_the_head_is_not_written_twice() -> None:
    both = np.concatenate([MODEL.parts["face"], MODEL.parts["head"]])
    nested = replace(MODEL, parts=MODEL.parts | {"head": both})
    assert set(HeadMaker(nested, toy_correspondence(nested)).parts) == {"head", "eye_left", "eye_right"}


def test_model_that_names_no_skin_is_a_head_without_its_eyes() -> None:
    unnamed = replace(MODEL, parts={name: ids for name, ids in MODEL.parts.items() if name.startswith("eye")})
    parts = HeadMaker(unnamed, toy_correspondence(unnamed)).parts
    assert set(parts) == {"head", "eye_left", "eye_right"}
    skin = len(MODEL.parts["face"]) + len(MODEL.parts["head"])
    assert len(parts["head"].triangles) == skin
    assert set(HeadMaker(replace(MODEL, parts={}), toy_correspondence(MODEL)).parts) == {"head"}


def test_hollow_eyes_get_eyeballs_that_are_said_to_be_made() -> None:
    skin = replace(MODEL, parts={name: MODEL.parts[name] for name in ("face", "head")}, hollow_eyes=True)
    maker = HeadMaker(skin, toy_correspondence(skin))
    head = maker(_finished())
    assert {part.name for part in head.parts} == {"face", "head", "eye_left", "eye_right"}
    assert head.notes == ("A toy.", MADE_EYES)
    assert set(maker.hashes) == {"face model ict", f"ict_{len(MODEL.mean)}_facemesh.npz"}
    for part in head.parts[2:]:
        ball = trimesh.Trimesh(part.vertices, part.triangles)
        assert ball.is_watertight
        assert part.texture is not None


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
    assert {"ict_26719_facemesh.npz", "face model ict"} <= set(record["weights"])
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
