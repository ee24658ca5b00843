"""Files of a transfer: names by picture, one for parts that share it, and what is known beside each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from ostec.export.layout import files_of, picture_stems, write_transfer
from ostec.heads.parts import Head, HeadPart
from ostec.io.images import read_image

SHEETS = (("face", "eye_left"), ("head",))


def _part(name: str, grey: float) -> HeadPart:
    corners = np.float32([[0, 0, 0], [20, 0, 0], [0, 30, 0]])
    normals = np.tile(np.float32([0, 0, 1]), (3, 1))
    uv = np.float32([[0, 0], [1, 0], [0, 1]])
    picture = np.full((8, 8, 3), grey, np.float32)
    return HeadPart(name, corners, normals, np.array([[0, 1, 2]], np.int32), uv, (1, 1, 1), texture=picture)


def _head() -> Head:
    parts = (_part("face", 0.2), replace(_part("eye_left", 0.2)), _part("head", 0.6))
    plain = replace(_part("gums", 0), texture=None, colour=(0.5, 0.25, 0.25))
    return Head("flame", "a licence", "ab" * 32, (*parts, plain), np.zeros(2, np.float32), np.zeros(1, np.float32), 0.5)


def test_one_picture_has_the_models_name_and_several_those_of_their_parts() -> None:
    assert picture_stems("a_flame", [("head", "eye_left")], ["head"]) == {"head": "a_flame", "eye_left": "a_flame"}
    apart = picture_stems("a_hifi3d", [("head",), ("eye_left",)], ["head"])
    assert apart == {"head": "a_hifi3d", "eye_left": "a_hifi3d_eye_left"}
    stems = picture_stems("a_ict", SHEETS, ("face", "head"))
    assert stems == {"face": "a_ict_face", "eye_left": "a_ict_face", "head": "a_ict_head"}
    assert picture_stems("a_faceverse", [], ()) == {}


@pytest.mark.parametrize("stem", ["a_ict", "a b_ict", "a\nb_ict"])
def test_files_are_those_that_were_announced(tmp_path: Path, stem: str) -> None:
    known = {"face": np.full((8, 8), 0.4, np.float32), "head": np.zeros((8, 8), np.float32)}
    write_transfer(tmp_path, stem, _head(), SHEETS, known)
    announced = files_of(stem, SHEETS, ("face", "head"))
    assert sorted(path.name for path in tmp_path.iterdir()) == announced
    assert f"{stem}_face_known.png" in announced
    np.testing.assert_allclose(read_image(tmp_path / f"{stem}_face_known.png"), 0.4, atol=1e-6)
    np.testing.assert_allclose(read_image(tmp_path / f"{stem}_head.png"), 0.6, atol=1e-6)


def test_parts_that_share_a_picture_name_the_same_file(tmp_path: Path) -> None:
    write_transfer(
        tmp_path, "a_ict", _head(), SHEETS, {part: np.zeros((8, 8), np.float32) for part in ("face", "head")}
    )
    text = (tmp_path / "a_ict.mtl").read_text("utf-8")
    maps = {
        block.split()[0]: "map_Kd " in block and block.split("map_Kd ")[1].split()[0]
        for block in text.split("newmtl ")[1:]
    }
    assert maps == {"face": "a_ict_face.png", "eye_left": "a_ict_face.png", "head": "a_ict_head.png", "gums": False}
    scene = trimesh.load(tmp_path / "a_ict.glb")
    assert set(scene.geometry) == {"face", "eye_left", "head", "gums"}
    np.testing.assert_allclose(scene.extents, [0.02, 0.03, 0], atol=1e-7)
    assert scene.geometry["eye_left"].visual.material.baseColorTexture.getpixel((3, 3)) == (51, 51, 51)
