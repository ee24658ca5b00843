"""A head's files hold its parts, with textures and colours, in metres and millimetres."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ostec.core.record import safe_name
from ostec.export.head import write_head
from ostec.heads.parts import Head, HeadPart
from ostec.io.images import read_image
from ostec.render.colour import to_linear

CORNERS = np.array([[0, 0, 0], [10, 0, 0], [10, 20, 0], [0, 20, 5]], np.float32)
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def _part(name: str, at: float, colour: tuple[float, float, float], textured: bool) -> HeadPart:
    texture = np.zeros((16, 16, 3), np.float32)
    texture[:8] = (1.0, 0.2, 0.4)  # the upper half, v > 0.5
    return HeadPart(
        name=name,
        vertices=CORNERS + np.float32([at, 0, 0]),
        normals=np.tile(np.float32([0, 0, 1]), (4, 1)),
        triangles=TRIANGLES,
        uv=np.float32([[0, 0], [1, 0], [1, 1], [0, 1]]),
        colour=colour,
        roughness=0.25 if not textured else 1.0,
        texture=texture if textured else None,
    )


HEAD = Head(
    model="ict",
    licence="MIT",
    sha256="ab" * 32,
    parts=(_part("face", 0, (1, 1, 1), True), _part("teeth_upper", 30, (0.8, 0.5, 0.2), False)),
    identity=np.zeros(3, np.float32),
    expression=np.zeros(2, np.float32),
    error_mm=0.5,
)


def test_files_are_those_of_the_parts(tmp_path: Path) -> None:
    written = write_head(tmp_path, "a b", HEAD)
    named = [safe_name(f"a b_head{e}") for e in (".mtl", "_face.png")]
    assert {path.name for path in written} == {f"a b_head{e}" for e in (".glb", ".obj", ".mtl", "_face.png")} | {*named}
    assert f"mtllib {named[0]}\n" in (tmp_path / "a b_head.obj").read_text(encoding="utf-8")
    assert f"map_Kd {named[1]}\n" in (tmp_path / named[0]).read_text(encoding="utf-8")
    assert (tmp_path / named[1]).read_bytes() == (tmp_path / "a b_head_face.png").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in written}
    np.testing.assert_allclose(read_image(tmp_path / "a b_head_face.png")[2, 3], (1.0, 0.2, 0.4), atol=1e-3)


def test_glb_holds_named_parts_in_metres(tmp_path: Path) -> None:
    write_head(tmp_path, "a", HEAD)
    scene = trimesh.load(tmp_path / "a_head.glb")
    assert set(scene.geometry) == {"face", "teeth_upper"}
    for part in HEAD.parts:
        transform, name = scene.graph[part.name]
        mesh = scene.geometry[name]
        np.testing.assert_allclose(mesh.vertices, 0.001 * part.vertices, atol=1e-8)
        np.testing.assert_array_equal(transform, np.eye(4))
        np.testing.assert_array_equal(mesh.faces, part.triangles)
        np.testing.assert_allclose(mesh.visual.uv, part.uv, atol=1e-6)
        assert mesh.visual.material.name == part.name
        assert mesh.visual.material.roughnessFactor == pytest.approx(part.roughness)
    picture = np.asarray(scene.geometry["face"].visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(picture[2, 3], (255, 51, 102))
    colour = scene.geometry["teeth_upper"].visual.material.baseColorFactor
    np.testing.assert_allclose(np.asarray(colour)[:3] / 255, to_linear(np.array([0.8, 0.5, 0.2])), atol=0.005)


def test_part_without_layout_has_colours_at_its_vertices(tmp_path: Path) -> None:
    colours = np.float32([[1, 0, 0], [0, 0.5, 0], [0.2, 0.2, 1], [1, 1, 1]])
    bare = replace(HEAD.parts[0], uv=np.empty((0, 2), np.float32), texture=None, vertex_colours=colours)
    second = replace(bare, name="eye_left", vertex_colours=colours[::-1].copy())
    written = write_head(tmp_path, "a", replace(HEAD, parts=(bare, second)))
    assert {path.name for path in written} == {"a_head.glb", "a_head.obj", "a_head.mtl"}
    scene = trimesh.load(tmp_path / "a_head.glb")
    for name, expected in (("face", colours), ("eye_left", colours[::-1])):
        found = np.asarray(scene.geometry[name].visual.vertex_attributes["color"])
        np.testing.assert_allclose(found[:, :3] / 255, to_linear(expected), atol=0.003)
        assert (found[:, 3] == 255).all()
        assert scene.geometry[name].visual.material.name == name
    lines = (tmp_path / "a_head.obj").read_text(encoding="utf-8").splitlines()
    assert "v 10.00000 0.00000 0.00000 0.0000 0.5000 0.0000" in lines
    assert "f 5//5 6//6 7//7" in lines
    assert not any(line.startswith("vt ") for line in lines)


def test_obj_holds_the_same_parts_in_millimetres(tmp_path: Path) -> None:
    write_head(tmp_path, "a", HEAD)
    text = (tmp_path / "a_head.obj").read_text(encoding="utf-8")
    assert "# ict: MIT\n" in text
    assert text.count("\nv ") == text.count("\nvt ") == text.count("\nvn ") == 8
    assert [line for line in text.splitlines() if line[:2] in ("o ", "us")] == [
        *("o face", "usemtl face", "o teeth_upper", "usemtl teeth_upper")
    ]
    assert "f 5/5/5 6/6/6 7/7/7" in text  # the second part counts on
    material = (tmp_path / "a_head.mtl").read_text(encoding="utf-8")
    first, second = material.split("newmtl ")[1:]
    assert "map_Kd a_head_face.png" in first
    assert "Kd 0.8000 0.5000 0.2000" in second
    assert "map_Kd" not in second


def test_equal_heads_give_equal_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write_head(tmp_path / folder, "a", replace(HEAD))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_line_break_in_a_name_harms_no_file(tmp_path: Path) -> None:
    write_head(tmp_path, "a\nb", HEAD)
    assert (tmp_path / safe_name("a\nb_head_face.png")).is_file()
    assert "\n" not in safe_name("a\nb_head_face.png")


def test_linear_light_is_that_of_the_standard() -> None:
    expected = [0, 0.04 / 12.92, 0.21404, 1]
    np.testing.assert_allclose(to_linear(np.array([0, 0.04, 0.5, 1])), expected, atol=1e-5)
