"""Heads are drawn with all their parts, the same from the record and from their files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import OutputError
from ostec.core.types import CompletedTexture, TexturedFace
from ostec.export.head import write_head
from ostec.export.pictures import GROUND, FaceRenderer
from ostec.export.surfaces import Surface, draw, read_surfaces, surfaces_of, with_texture
from ostec.heads.maker import HeadMaker
from ostec.heads.parts import Head
from ostec.io.images import to_bytes, write_png
from ostec.render.geometry import centred_camera
from tests.toy import toy_face, toy_texture, toy_topology
from tests.toy_head import toy_arkit_model, toy_correspondence

TOPOLOGY = toy_topology()
TEXTURE = (to_bytes(toy_texture(256)) / np.float32(255)).astype(np.float32)
FACE = TexturedFace(toy_face(TOPOLOGY), TOPOLOGY, CompletedTexture({"colour": TEXTURE}, np.ones((256, 256), np.uint8)))
CAMERA = centred_camera((0.0, 0.0), (0.0, 0.0, 0.0), 200.0, 100)
"""Half a pixel for each millimetre, the origin in the middle."""


def toy_head(layout: str = "toy", uv: bool = True) -> Head:
    model = replace(toy_arkit_model(TOPOLOGY), face_layout=layout)
    if not uv:
        none = {"uv": np.empty((0, 2), np.float32), "triangles_uv": np.empty((0, 3), np.int32)}
        model = replace(model, face_layout="", **none)
    return HeadMaker(model, toy_correspondence(model))(FACE)


def triangle(depth: float, colour: tuple[float, float, float]) -> Surface:
    corners = np.float32([[[-60, -60, depth], [60, -60, depth], [0, 60, depth]]])
    return Surface(corners, np.ones((1, 3, 3), np.float32) * np.float32(colour))


def test_the_nearer_surface_hides_the_other_in_any_order() -> None:
    near, far = triangle(20, (1, 0, 0)), triangle(-20, (0, 1, 0))
    for surfaces in ([near, far], [far, near]):
        picture = draw(surfaces, CAMERA, 100, GROUND)
        np.testing.assert_allclose(picture[50, 50], (1, 0, 0), atol=1e-6)
        np.testing.assert_allclose(picture[2, 2], GROUND, atol=1e-6)


def test_a_picture_is_seen_through_its_texture_coordinates_and_tints() -> None:
    picture = np.zeros((2, 2, 3), np.float32)
    picture[0, 1] = 1  # u = 0.75, v = 0.75
    uv = np.full((1, 3, 2), 0.75, np.float32)
    drawn = draw([replace(triangle(0, (1, 0.5, 0.25)), uv=uv, picture=picture)], CAMERA, 100, GROUND)
    np.testing.assert_allclose(drawn[50, 50], (1, 0.5, 0.25), atol=1e-6)


@pytest.mark.parametrize("head", [toy_head(), toy_head("other"), toy_head(uv=False)], ids=["own", "other", "colours"])
def test_files_are_drawn_as_the_head_that_they_hold(head: Head, tmp_path: Path) -> None:
    name = "my photo"
    write_png(tmp_path / f"{name}.png", TEXTURE)
    write_head(tmp_path, name, head)
    renderer, made, read = FaceRenderer(TOPOLOGY), surfaces_of(head), read_surfaces(tmp_path, name)
    assert [surface.of_face for surface in read] == [surface.of_face for surface in made]
    one, other = (renderer.portrait(FACE.face, TEXTURE, (5.0, 30.0), 96, surfaces) for surfaces in (made, read))
    np.testing.assert_array_equal(one, other)
    alone = renderer.portrait(FACE.face, TEXTURE, (5.0, 30.0), 96)
    assert (np.abs(one - alone).max(-1) > 0.05).sum() > 20  # there is more than the face


def test_head_is_drawn_with_another_texture_where_it_shows_the_faces() -> None:
    black = np.zeros_like(TEXTURE)
    shown = with_texture(surfaces_of(toy_head()), black)
    assert [surface.of_face for surface in shown].count(True) == 1
    (face,) = (surface for surface in shown if surface.of_face)
    assert face.picture is black
    assert with_texture(surfaces_of(toy_head("other")), black) == []
    assert with_texture([], black) == []


@pytest.mark.parametrize("file", ["a_head.obj", "a_head.mtl", "a_head_head.png"])
@pytest.mark.parametrize("damage", ["gone", "other"])
def test_damaged_files_are_one_sentence(tmp_path: Path, file: str, damage: str) -> None:
    write_png(tmp_path / "a.png", TEXTURE)
    write_head(tmp_path, "a", toy_head())
    (tmp_path / file).unlink()
    if damage == "other":
        (tmp_path / file).write_text("newmtl other\nf 1 2\n")
    with pytest.raises(OutputError, match=r"a_head\.obj cannot be read back"):
        read_surfaces(tmp_path, "a")


@pytest.mark.parametrize("named", ["{folder}/private.png", "../private.png", "private.png", "b_head.png"])
def test_a_material_names_no_picture_but_those_of_its_result(tmp_path: Path, named: str) -> None:
    """The files may be somebody else's, and what a material names be drawn and handed on."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path in (tmp_path / "private.png", folder / "private.png", folder / "b_head.png", folder / "a.png"):
        write_png(path, TEXTURE)
    write_head(folder, "a", toy_head())
    materials = folder / "a_head.mtl"
    text = materials.read_text()
    assert "map_Kd a_head_head.png" in text
    materials.write_text(text.replace("map_Kd a_head_head.png", f"map_Kd {named.format(folder=tmp_path)}"))
    with pytest.raises(OutputError, match=r"private\.png is no file of this result|b_head\.png is no file"):
        read_surfaces(folder, "a")
    materials.write_text(text)
    assert read_surfaces(folder, "a")


def test_turntable_of_a_head_shows_both_profiles() -> None:
    frames = FaceRenderer(TOPOLOGY).turntable(FACE.face, TEXTURE, surfaces_of(toy_head()), count=4)
    assert frames.shape == (4, 384, 384, 3)
    front, left, back, right = frames
    np.testing.assert_allclose(front, back, atol=1e-6)
    assert np.abs(left - right[:, ::-1]).mean() < np.abs(left - front).mean()
