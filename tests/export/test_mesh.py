"""What other programs read back from the files is the face that was written."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ostec.core.errors import OutputError
from ostec.core.types import Provenance, TexturedFace
from ostec.export import mesh, page
from ostec.io.images import read_image, read_palette_png
from tests.export.conftest import toy_result

HARMLESS = ["face", "Größe&Söhne", "a.b", "%20'x'"]
NAMES = [*HARMLESS, "Gräfin & Söhne #1", "-s", "a\\b", "a\nb", " ", "my photo"]


def colours_at(mesh_read: object, result: TexturedFace) -> np.ndarray:
    """Colours [V, 3] in [0, 1] that a reader finds at the vertices, by its own UV and its own picture."""
    visual = mesh_read.visual  # type: ignore[attr-defined]
    picture = getattr(visual.material, "image", None) or visual.material.baseColorTexture
    texture = np.asarray(picture.convert("RGB"), np.float32) / 255
    column = np.floor(visual.uv[:, 0] * texture.shape[1]).astype(int)
    row = np.floor((1 - visual.uv[:, 1]) * texture.shape[0]).astype(int)
    return texture[row, column]


def strictly_named(path: Path, keyword: str) -> str:
    """The file that a line refers to, read as the specification has it: words between blanks, # begins a comment."""
    lines = (line.split("#")[0].split() for line in path.read_text(encoding="utf-8").split("\n"))
    ((_, name),) = [words for words in lines if words[:1] == [keyword]]
    assert name[0] != "-"
    assert "\\" not in name
    return name


@pytest.mark.parametrize("name", NAMES)
def test_obj_loads_with_its_texture_the_right_way_up(tmp_path: Path, result: TexturedFace, name: str) -> None:
    import trimesh

    mesh.write_texture(tmp_path, name, result)
    files = mesh.write_obj(tmp_path, name, result.face, result.topology)
    assert [path.name for path in files][:2] == [f"{name}.obj", f"{name}.mtl"]
    assert len(files) == (2 if name in HARMLESS else 4)
    library, texture = strictly_named(files[0], "mtllib"), strictly_named(files[1], "map_Kd")
    assert (tmp_path / library).read_bytes() == files[1].read_bytes()
    assert (tmp_path / texture).read_bytes() == (tmp_path / f"{name}.png").read_bytes()
    assert {library, texture} == ({f"{name}.mtl", f"{name}.png"} if name in HARMLESS else {p.name for p in files[2:]})
    read = trimesh.load_mesh(files[0], process=False, maintain_order=True)
    np.testing.assert_allclose(read.vertices, result.face.vertices, atol=1e-4)
    np.testing.assert_array_equal(read.faces, result.topology.triangles)
    expected = np.concatenate([result.topology.uv, np.full((9, 1), 0.25)], axis=1)  # the toy's colour is its (u, v)
    np.testing.assert_allclose(colours_at(read, result), expected, atol=0.01)


def test_obj_is_what_was_worked_out_by_hand(tmp_path: Path, result: TexturedFace) -> None:
    obj, mtl = mesh.write_obj(tmp_path, "Jean-Luc", result.face, result.topology)
    lines = obj.read_text(encoding="utf-8").splitlines()
    assert lines[1] == "mtllib Jean-Luc.mtl"
    assert [line for line in lines if line.startswith("v ")][4] == "v 0.00000 0.00000 9.00000"
    assert [line for line in lines if line.startswith("vt ")][5] == "vt 0.9000000 0.5000000"
    assert next(line for line in lines if line.startswith("f ")) == "f 1/1/1 2/2/2 5/5/5"
    assert "usemtl face" in lines
    assert "map_Kd Jean-Luc.png" in mtl.read_text(encoding="utf-8").splitlines()


def test_obj_normals_point_outward(tmp_path: Path, result: TexturedFace) -> None:
    obj, _ = mesh.write_obj(tmp_path, "a", result.face, result.topology)
    rows = [line.split()[1:] for line in obj.read_text(encoding="utf-8").splitlines() if line.startswith("vn ")]
    normals = np.array(rows, float)
    assert normals.shape == (9, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-3)
    assert (normals[:, 2] > 0).all()


def test_copies_of_photos_with_similar_names_are_different_files(tmp_path: Path, result: TexturedFace) -> None:
    written: set[Path] = set()
    for name in ("a b", "a_b", "a#b", "a  b"):
        mesh.write_texture(tmp_path, name, result)
        files = mesh.write_obj(tmp_path, name, result.face, result.topology)
        assert written.isdisjoint(files)
        written |= {*files}


def test_glb_loads_whole_from_one_file_in_metres(tmp_path: Path, result: TexturedFace) -> None:
    import trimesh

    path = mesh.write_glb(tmp_path, "Gräfin 1", result)
    scene = trimesh.load_scene(path, process=False)
    read = scene.geometry["face"]
    np.testing.assert_allclose(read.vertices, result.face.vertices, atol=1e-5)
    np.testing.assert_array_equal(read.faces, result.topology.triangles)
    np.testing.assert_allclose(scene.bounds, scene.geometry["face"].bounds / 1000, atol=1e-8)
    material = read.visual.material
    assert material.metallicFactor == 0
    assert material.roughnessFactor == 1
    expected = np.concatenate([result.topology.uv, np.full((9, 1), 0.25)], axis=1)
    np.testing.assert_allclose(colours_at(read, result), expected, atol=0.01)


def test_texture_provenance_and_frontal_are_written(tmp_path: Path, result: TexturedFace) -> None:
    files = mesh.write_texture(tmp_path, "a", result)
    assert [path.name for path in files] == ["a.png", "a_provenance.png", "a_frontal.png"]
    np.testing.assert_allclose(read_image(files[0]), result.completed.colour, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(read_palette_png(files[1]), result.completed.provenance)
    assert read_image(files[2]).shape == (64, 48, 3)
    without = dataclasses.replace(result, frontal=None)
    assert len(mesh.write_texture(tmp_path, "b", without)) == 2


def test_every_source_of_texels_has_a_colour_of_its_own() -> None:
    palette = mesh.provenance_palette()
    assert palette.shape == (len(Provenance), 3)
    assert len(np.unique(palette, axis=0)) == len(Provenance)
    assert tuple(palette[Provenance.PRIOR]) == mesh.PROVENANCE_COLOURS[Provenance.PRIOR]


def test_npz_has_the_documented_fields_and_reads_back(tmp_path: Path, result: TexturedFace) -> None:
    path = mesh.write_npz(tmp_path, "a", result)
    with np.load(path) as arrays:
        kinds = {key: (arrays[key].shape, arrays[key].dtype.str) for key in arrays.files}
    assert kinds == {
        "vertices": ((9, 3), "<f4"),
        "triangles": ((8, 3), "<i4"),
        "uv": ((9, 2), "<f4"),
        "triangles_uv": ((8, 3), "<i4"),
        "landmarks": ((468, 3), "<f4"),
        "camera_matrix": ((3, 4), "<f8"),
        "pose_deg": ((3,), "<f8"),
        "w_front": ((18, 2), "<f4"),
    }
    saved = mesh.read_npz(path)
    np.testing.assert_array_equal(saved.vertices, result.face.vertices)
    np.testing.assert_array_equal(saved.camera_matrix, result.face.camera_matrix)
    np.testing.assert_array_equal(saved.latents["front"], result.latents["front"])
    assert saved.pose_deg.tolist() == [4.0, -12.0, 1.5]


def test_npz_holds_who_the_face_is_only_where_somebody_said_so(tmp_path: Path, result: TexturedFace) -> None:
    assert mesh.read_npz(mesh.write_npz(tmp_path, "unknown", result)).identity is None
    identity = np.random.default_rng(0).normal(size=512).astype(np.float32)
    identity /= np.linalg.norm(identity)
    path = mesh.write_npz(tmp_path, "known", dataclasses.replace(result, identity=identity))
    with np.load(tmp_path / "unknown.npz") as without, np.load(path) as arrays:
        assert set(arrays.files) - set(without.files) == {"identity"}
        assert (arrays["identity"].shape, arrays["identity"].dtype.str) == ((512,), "<f4")
    saved = mesh.read_npz(path)
    np.testing.assert_array_equal(saved.identity, identity)
    np.testing.assert_array_equal(saved.latents["front"], result.latents["front"])


def test_damaged_npz_is_one_sentence(tmp_path: Path, result: TexturedFace) -> None:
    path = mesh.write_npz(tmp_path, "a", result)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OutputError, match=r"a\.npz cannot be read back"):
        mesh.read_npz(path)
    np.savez(path, vertices=np.zeros(3))
    with pytest.raises(OutputError, match=r"a\.npz cannot be read back"):
        mesh.read_npz(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vertices", np.zeros((9, 2), np.float32)),
        ("vertices", np.full((9, 3), np.nan, np.float32)),
        ("vertices", np.float32(0)),
        ("triangles", np.full((8, 3), 9, np.int32)),
        ("triangles_uv", np.full((8, 3), -1, np.int32)),
        ("triangles", np.zeros((8, 3))),
        ("uv", np.zeros(9, np.float32)),
        ("landmarks", np.zeros((467, 3), np.float32)),
        ("camera_matrix", np.zeros((4, 4))),
        ("pose_deg", np.zeros(2)),
    ],
)
def test_arrays_that_are_no_faces_are_one_sentence(
    tmp_path: Path, result: TexturedFace, name: str, value: np.ndarray
) -> None:
    path = mesh.write_npz(tmp_path, "a", result)
    with np.load(path) as arrays:
        fields = dict(arrays)
    np.savez(path, **{**fields, name: value})
    with pytest.raises(OutputError, match=r"a\.npz cannot be read back"):
        mesh.read_npz(path)


def write_all(folder: Path) -> None:
    result = toy_result()
    mesh.write_texture(folder, "a", result)
    mesh.write_obj(folder, "a", result.face, result.topology)
    mesh.write_glb(folder, "a", result)
    mesh.write_npz(folder, "a", result)
    page.write_page(folder, "a", result, {"source": "a.jpg"})


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    write_all(folders[0])
    program = "import sys, pathlib; from tests.export.test_mesh import write_all; write_all(pathlib.Path(sys.argv[1]))"
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", program, str(folders[1])], cwd=root, check=True)
    names = sorted(path.name for path in folders[0].iterdir())
    assert len(names) == 8
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name
