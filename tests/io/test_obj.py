"""OBJ meshes: polygons, materials, and lines that are not as the format demands."""

from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import AssetError
from ostec.io.obj import read_obj, read_vertices

MESH = """# a house
v 0 0 0
v 2 0 0 0.5 0.5 0.5
v 2 2 0
vt 0.25 0.75 0
v 0 2 0
v 1 3 0
vt 0.5 1
f 1/1/1 2/2/1 3/1/1 4/2/1 5/1/1
usemtl roof
f 4/2 3/1 5/2
usemtl wall
usemtl roof
f 1/1 2/1 3/1
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "house.obj"
    path.write_text(MESH, encoding="ascii")
    return path


def test_polygons_become_fans_that_remember_them(path: Path) -> None:
    mesh = read_obj(path)
    triangles, uv, polygon = mesh.triangulate()
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [3, 2, 4], [0, 1, 2]]
    assert uv.tolist() == [[0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert polygon.tolist() == [0, 0, 0, 1, 2]


def test_materials_are_those_in_force(path: Path) -> None:
    mesh = read_obj(path)
    assert [mesh.materials[k] for k in mesh.material] == ["", "roof", "roof"]


def test_only_the_first_numbers_count(path: Path) -> None:
    mesh = read_obj(path)
    assert mesh.vertices.tolist() == [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [1, 3, 0]]
    assert mesh.uv.tolist() == [[0.25, 0.75], [0.5, 1]]
    np.testing.assert_array_equal(read_vertices(path), mesh.vertices)


def test_corners_without_texture_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1//1 2//1 3//1\n", encoding="ascii")
    triangles, uv, _ = read_obj(path).triangulate()
    assert triangles.tolist() == [[0, 1, 2]]
    assert uv.shape == (0, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("v 2 2 0", "v 2 2", r"line 4, does not hold 3 numbers \('v 2 2'\)"),
        ("v 2 2 0", "v 2 x 0", r"line 4, does not hold 3 numbers \('v 2 x 0'\)"),
        ("v 2 2 0", "v 2 nan 0", "line 4, does not hold 3 numbers"),
        ("f 4/2 3/1 5/2", "f 4/2 3/1", r"line 11, has a face of fewer than three corners \('f 4/2 3/1'\)"),
        ("f 4/2 3/1 5/2", "f 4/2 3/1 6/2", "line 11, has a corner that does not exist"),
        ("f 4/2 3/1 5/2", "f 4/2 3/1 5/3", "line 11, has a corner that does not exist"),
        ("f 4/2 3/1 5/2", "f -6/2 3/1 5/2", "line 11, has a corner that does not exist"),
        ("f 4/2 3/1 5/2", "f a b c", "line 11, has a corner that is no number"),
    ],
)
def test_wrong_line_ends_in_a_sentence(path: Path, old: str, new: str, message: str) -> None:
    path.write_text(MESH.replace(old, new), encoding="ascii")
    with pytest.raises(AssetError, match=f"house.obj, {message}"):
        read_obj(path)


def test_file_without_a_mesh_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("hello\n", encoding="ascii")
    with pytest.raises(AssetError, match=r"a\.obj holds no faces"):
        read_obj(path)
    with pytest.raises(AssetError, match="cannot be read"):
        read_obj(tmp_path / "missing.obj")
