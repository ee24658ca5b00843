"""A planted texture is found again, whatever the head's unit, and kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from ostec.core.errors import UsageError
from ostec.eval.head import truth
from ostec.eval.head.mesh import Head, PartFiles, load_head
from ostec.eval.head.truth import FaceReader, Studio, UvTruth, cached_uv_truth, set_up, uv_truth
from ostec.eval.jobs import program_digest
from ostec.eval.report.drawing import LIGHTS
from ostec.eval.scores import psnr
from ostec.render.geometry import vertex_normals
from tests.eval.planted import models, planted_texture, write_planted


@dataclass(frozen=True)
class Planted:
    part: PartFiles
    reader: FaceReader
    studio: Studio
    found: UvTruth


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    part = write_planted(tmp_path_factory.mktemp("planted"))
    reader = FaceReader(models())
    studio = set_up(load_head([part]), reader)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "GRID_YAWS_DEG", (-40, 0, 40))
        patch.setattr(truth, "GRID_PITCHES_DEG", (0,))
        return Planted(part, reader, studio, uv_truth(studio, reader))


def test_the_planted_texture_is_found_again(planted: Planted) -> None:
    found, texture = planted.found, planted_texture()
    inside = planted.reader.layout.inside.numpy()
    assert found.views == 3
    assert not (found.valid & ~inside).any()
    assert found.valid.sum() > 0.9 * inside.sum()
    assert psnr(found.textures["unlit"], texture, found.valid) > 32
    assert psnr(found.textures["unlit"], texture[:, ::-1], found.valid) < 28  # the other way round
    eyes = planted.reader.topology.regions["eye_left"] * [1, -1] + [0, 1]
    middle = (eyes.mean(0) * len(texture)).astype(int)
    assert found.valid[middle[1], middle[0]]
    assert not found.skin[middle[1], middle[0]]


def test_points_lie_where_the_mesh_has_them(planted: Planted) -> None:
    topology, found = planted.reader.topology, planted.found
    vertices = torch.from_numpy(topology.operator @ topology.mean_landmarks).float()
    position = planted.reader.layout.attribute(vertices).numpy()
    # Landmarks of a drawn face differ by some per cent of its width from the mesh that was drawn.
    assert np.median(np.linalg.norm(found.position - position, axis=-1)[found.valid]) < 4
    normal = planted.reader.layout.attribute(vertex_normals(vertices, planted.reader.layout.triangles)).numpy()
    assert np.median((normal * found.normal).sum(-1)[found.valid]) > 0.97


def test_a_light_multiplies_the_true_texture(planted: Planted) -> None:
    found = planted.found
    shade = LIGHTS["hard"].shade(torch.from_numpy(found.normal)).numpy()
    lit = np.clip(found.textures["unlit"] * shade, 0, 1)
    assert psnr(found.textures["hard"], lit, found.valid) > 35
    assert psnr(found.textures["hard"], found.textures["unlit"], found.valid) < 20


def test_a_view_from_the_side_does_not_see_the_other(planted: Planted) -> None:
    unseen = planted.found.unseen(planted.studio.shoot(0, 40))
    half = unseen.shape[1] // 2
    valid = planted.found.valid
    # The nose turns to the image's right, so the face's image-right side is hidden.
    assert unseen[:, half:].sum() > 0.3 * valid[:, half:].sum()
    assert unseen[:, :half].sum() < 0.05 * valid[:, :half].sum()
    assert not (unseen & ~valid).any()


def test_the_unit_and_the_place_of_a_head_do_not_matter(planted: Planted, tmp_path: Path) -> None:
    other = set_up(load_head([write_planted(tmp_path, 0.013, (5.0, -2.0, 40.0))]), planted.reader)
    assert other.head.vertices.numpy() == pytest.approx(planted.studio.head.vertices.numpy(), abs=0.5)
    assert other.scale == pytest.approx(planted.studio.scale, rel=0.01)
    assert other.centre == pytest.approx(planted.studio.centre, abs=1.0)
    corners = [33, 263]  # subdivision keeps the landmarks as the first vertices
    assert float((other.head.vertices[corners[0]] - other.head.vertices[corners[1]]).norm()) == pytest.approx(90, abs=4)


def test_a_head_without_a_face_is_refused(planted: Planted) -> None:
    vertices = torch.tensor([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.1], [-1.0, 1.0, 0.0]])
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    normals = vertex_normals(vertices, triangles)
    plain = Head(vertices, normals, vertices[:, :2] / 2 + 0.5, triangles, torch.full((4, 4, 3), 0.4))
    with pytest.raises(UsageError, match="No face was found on the head"):
        set_up(plain, planted.reader)
    studio = Studio(plain, 100.0, (300.0, 300.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(truth, "GRID_YAWS_DEG", (0,))
        patch.setattr(truth, "GRID_PITCHES_DEG", (0,))
        with pytest.raises(UsageError, match="No view of the head"):
            uv_truth(studio, planted.reader)


def test_the_truth_is_kept_while_what_it_depends_on_lasts(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(studio: Studio, reader: FaceReader) -> UvTruth:
        made.append(studio)
        return planted.found

    monkeypatch.setattr(truth, "uv_truth", make)
    part, cache = write_planted(tmp_path / "head"), tmp_path / "truth.npz"

    def found() -> UvTruth:
        return cached_uv_truth(planted.studio, planted.reader, [part], cache)

    first, second = found(), found()
    assert len(made) == 1
    assert {light: texture.tolist() for light, texture in second.textures.items()} == {
        light: texture.tolist() for light, texture in first.textures.items()
    }
    for name in ("position", "normal", "valid", "skin", "views"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    cache.write_bytes(cache.read_bytes()[:1000])  # damaged
    assert found().views == 3
    part.mesh.write_text(part.mesh.read_text() + "# another file\n")
    assert found().views == 3
    assert len(made) == 3
    monkeypatch.setattr(truth, "program_digest", lambda: "another program")
    found()
    assert len(made) == 4


def test_the_program_is_known_by_its_files(tmp_path: Path) -> None:
    for name in ("render/uv.py", "app/cli.py"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("1")
    first = program_digest(tmp_path)
    assert program_digest(tmp_path) == first
    (tmp_path / "app/cli.py").write_text("2")  # no figure comes out of it
    assert program_digest(tmp_path) == first
    (tmp_path / "render/uv.py").write_text("2")
    assert program_digest(tmp_path) != first
