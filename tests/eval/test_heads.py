"""Any OBJ of a textured mesh is read the same way, and one that cannot be used is refused in a sentence."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.errors import AssetError, ImageError, UsageError
from ostec.eval.head.mesh import PartFiles, load_head, read_surface
from ostec.io.images import write_png
from ostec.render.rasterize import sample_texture

PYRAMID = """# base of four corners seen from below, four sides
v -1 0 -1
v 1 0 -1
v 1 0 1
v -1 0 1
v 0 2 0
vt 0 0
vt 1 0
vt 1 0.5
vt 0 0.5
vt 0.5 1
f 1/1 2/2 3/3 4/4
f 4/4 3/3 5/5
f 3/3 2/2 5/5
f 2/2 1/1 5/5
f 1/1 4/4 5/5
"""


def write(folder: Path, text: str, name: str = "mesh.obj") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_a_quad_becomes_a_fan(tmp_path: Path) -> None:
    mesh = read_surface(write(tmp_path, PYRAMID))
    assert mesh.corners[:2, :, 0].tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.corners.shape == (6, 3, 2)
    assert mesh.vertices[4].tolist() == [0, 2, 0]
    assert mesh.uv[2].tolist() == [1, 0.5]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("4/4 3/3 5/5", "-2/-2 -3/-3 -1/-1"),
        lambda text: text.replace("f 1/1 2/2", "vn 0 1 0\ng head\ns 1\nusemtl skin\nf 1/1/1 2/2/1"),
        lambda text: text.replace("f 4/4 3/3", "f 4/4 \\\n3/3"),
        lambda text: text.replace("v 0 2 0", "v 0 2 0 0.5 0.5 0.5").replace("vt 0.5 1", "vt 0.5 1 0"),
        lambda text: text + "# é\n".encode("latin-1").decode("latin-1"),
    ],
    ids=["CRLF", "from the end", "normals and groups", "continued line", "colours", "comment"],
)
def test_the_same_surface_written_otherwise(tmp_path: Path, change: object) -> None:
    plain, other = read_surface(write(tmp_path, PYRAMID)), read_surface(write(tmp_path, change(PYRAMID), "other.obj"))  # type: ignore[operator]
    for name in ("vertices", "uv", "corners"):
        assert np.array_equal(getattr(plain, name), getattr(other, name))


def test_a_mesh_that_runs_clockwise_is_turned_round(tmp_path: Path) -> None:
    flipped = "\n".join(
        " ".join(["f", *reversed(line.split()[1:])]) if line.startswith("f") else line for line in PYRAMID.splitlines()
    )
    mesh = read_surface(write(tmp_path, flipped))
    points = mesh.vertices[mesh.corners[..., 0]]
    outward = np.cross(points[:, 1] - points[:, 0], points[:, 2] - points[:, 0])
    assert ((points.mean(1) - [0, 0.5, 0]) * outward).sum(1).min() > 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("v 0 0 0\n", "holds no faces"),
        ("\x00\x01binary", "holds no faces"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f 4 3 5"), "line 13, has a corner without texture coordinates"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f 4//1 3//1 5//1"), "line 13, has a corner without texture coordinates"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f 4/4 3/3 9/5"), "line 13, has a corner that does not exist"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f 4/4 3/3 -6/5"), "line 13, has a corner that does not exist"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f 0/4 3/3 5/5"), "line 13, has a corner that does not exist"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f a/4 3/3 5/5"), "line 13, has a corner that is no number"),
        (PYRAMID.replace("f 4/4 3/3 5/5", "f 4/4 3/3"), "line 13, has a face of fewer than three corners"),
        (PYRAMID.replace("v 0 2 0", "v 0 2"), "line 6, does not hold 3 numbers"),
        (PYRAMID.replace("v 0 2 0", "v 0 nan 0"), "line 6, does not hold 3 numbers"),
        (PYRAMID.replace("v 0 2 0", "v 0 1e39 0"), "line 6, does not hold 3 numbers"),
        (PYRAMID.replace("vt 1 0\n", "vt 2 0\n"), "texture coordinates outside 0 to 1"),
    ],
)
def test_what_is_no_textured_mesh_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(AssetError, match=f"mesh.obj.*{sentence}"):
        read_surface(write(tmp_path, text))


def test_what_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match=r"none.obj cannot be read"):
        read_surface(tmp_path / "none.obj")
    with pytest.raises(AssetError, match="cannot be read"):
        read_surface(tmp_path)


def test_parts_share_an_atlas_in_which_each_keeps_its_colours(tmp_path: Path) -> None:
    mesh = write(tmp_path, PYRAMID)
    rng = np.random.default_rng(0)
    sizes = {"wide.png": (4, 8), "high.png": (6, 2)}
    images = {name: (rng.integers(0, 256, (*size, 3)) / 255).astype(np.float32) for name, size in sizes.items()}
    for name, image in images.items():
        write_png(tmp_path / name, image)
    names = ["wide.png", "high.png", "wide.png"]
    head = load_head([PartFiles(mesh, tmp_path / name) for name in names])
    assert head.atlas.shape == (6, 16, 3)
    assert len(head.triangles) == 18
    # The sides' corners see other texture vertices than the base's only where UVs differ: five corners a part.
    assert len(head.vertices) == 15
    inner = torch.tensor([[0.3, 0.4], [0.7, 0.6]])
    for k, name in enumerate(names):
        corner = read_surface(mesh).uv
        own = head.uv[5 * k : 5 * k + 5]
        # Affine from the part's own texture coordinates to the atlas, read off three corners.
        origin, across, up = own[0], own[1] - own[0], (own[3] - own[0]) / corner[3, 1]
        there = origin + inner[:, :1] * across + inner[:, 1:] * up
        expected = sample_texture(torch.from_numpy(images[name])[None], inner[None, None])
        assert torch.allclose(sample_texture(head.atlas[None], there[None, None]), expected, atol=1e-5)


def test_normals_are_smooth_across_texture_seams(tmp_path: Path) -> None:
    write_png(tmp_path / "t.png", np.full((4, 4, 3), 0.5, np.float32))
    seam = PYRAMID.replace("vt 0.5 1\n", "vt 0.5 1\nvt 0.25 1\n").replace("f 1/1 4/4 5/5", "f 1/1 4/4 5/6")
    head = load_head([PartFiles(write(tmp_path, seam), tmp_path / "t.png")])
    top = (head.vertices == torch.tensor([0.0, 2.0, 0.0])).all(1)
    assert top.sum() == 2
    assert head.normals[top].numpy() == pytest.approx(np.array([[0, 1, 0], [0, 1, 0]]), abs=1e-6)


def test_heads_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    mesh = write(tmp_path, PYRAMID)
    with pytest.raises(ImageError, match=r"none.png does not exist"):
        load_head([PartFiles(mesh, tmp_path / "none.png")])
    write_png(tmp_path / "a.png", np.zeros((1, 100, 3), np.float32))
    flat = write(tmp_path, PYRAMID.replace("v 0 2 0", "v 0 0 0"), "flat.obj")
    with pytest.raises(UsageError, match="is flat"):
        load_head([PartFiles(flat, tmp_path / "a.png")])
