"""A full head beside the default mesh: its regions, how it is drawn, and equal figures where both are the same mesh."""

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ostec.core.errors import AssetError
from ostec.core.types import CompletedTexture, FittedFace, TexturedFace
from ostec.eval.head.full import (
    BELOW_JAW_MM,
    RIM_PX,
    FullHeadJudge,
    HeadRegions,
    draw_full_head,
    find_regions,
    full_head_judge,
    pixel_area,
)
from ostec.eval.head.scores import Target
from ostec.eval.head.truth import UvTruth, camera_of
from ostec.eval.report.drawing import HeadView, draw_mesh
from ostec.heads.parts import Head, HeadPart
from ostec.pipeline.settings import CompleteSettings
from ostec.render.geometry import orthographic_camera, rotation_from_pose
from ostec.render.uv import bake_layout
from tests.eval.planted import SIZE, SameMesh, models, planted_texture
from tests.toy import toy_face

SKIN = (0.8, 0.6, 0.5)
REGIONS = HeadRegions(
    lip=-20.0,
    jaw=np.float32([0, 1, 0, -60]),
    ears=0.0,
    brows=20.0,
    hairline=60.0,
    skin=np.float32(SKIN),
)


def _part(name: str, corners: list[list[float]], triangles: list[list[int]], **others: Any) -> HeadPart:
    points = np.float32(corners)
    uv = others.pop("uv", np.zeros((len(points), 2), np.float32))
    colour = others.pop("colour", (1.0, 1.0, 1.0))
    return HeadPart(name, points, points * 0 + np.float32([0, 0, 1]), np.int32(triangles), uv, colour, **others)


def _head(*parts: HeadPart) -> Head:
    none = np.empty(0, np.float32)
    return Head("toy", "MIT", "", parts, none, none, 0.0)


def _wall(size: int = 200, tilt_deg: float = 0.0) -> HeadView:
    """A wall of skin round the origin, one pixel per millimetre, turned by ``tilt_deg`` about the vertical."""
    camera = orthographic_camera(np.eye(3), 1.0, (size / 2, size / 2))
    x, y = np.meshgrid(np.arange(size) + 0.5 - size / 2, size / 2 - np.arange(size) - 0.5)
    position = torch.from_numpy(np.stack([x, y, x * 0 + 5], axis=-1).astype(np.float32))
    slant = math.radians(tilt_deg)
    normal = torch.tensor([math.sin(slant), 0, math.cos(slant)]).expand(size, size, 3)
    image = np.tile(np.float32(SKIN), (size, size, 1))
    return HeadView(camera, {"unlit": image}, position, normal, torch.ones(size, size, dtype=torch.bool))


def test_regions_lie_between_their_heights() -> None:
    view = _wall()
    view.images["unlit"][:, :50] = 0.1  # type: ignore[index] # hair on the image's left
    found = REGIONS.of(view)
    y, x = (np.nonzero(found["jaw"])[axis] for axis in (0, 1))
    # Heights -20 to -60 are rows 120 to 160, less the rim.
    assert (y.min(), y.max()) == (120 + RIM_PX, 159 - RIM_PX)
    assert (x.min(), x.max()) == (RIM_PX, 199 - RIM_PX)
    y, x = (np.nonzero(found["forehead"])[axis] for axis in (0, 1))
    assert (y.min(), y.max()) == (40 + RIM_PX, 79 - RIM_PX)
    assert x.min() == 50 + RIM_PX
    behind = replace(REGIONS, ears=10.0).of(view)
    assert not any(mask.any() for mask in behind.values())


def test_area_grows_with_the_slant() -> None:
    np.testing.assert_allclose(pixel_area(_wall()), 0.01)
    np.testing.assert_allclose(pixel_area(_wall(tilt_deg=60)), 0.02, rtol=1e-5)
    np.testing.assert_allclose(pixel_area(_wall(tilt_deg=89)), 0.05, rtol=1e-5)  # as at a cosine of 0.2


def test_regions_of_the_mean_face_are_at_its_landmarks() -> None:
    topology = models().topology
    mean = topology.mean_landmarks
    layout = bake_layout(topology, 256)
    position = layout.attribute(torch.from_numpy((topology.operator @ mean).astype(np.float32))).numpy()
    inside = layout.inside.numpy()
    truth = UvTruth({"unlit": np.tile(np.float32(SKIN), (256, 256, 1))}, position, position, inside, inside, 1)
    found = find_regions(truth, topology)
    assert found.lip == pytest.approx(mean[17, 1], abs=1)
    assert found.brows == pytest.approx((mean[105, 1] + mean[334, 1]) / 2, abs=1)
    assert found.hairline - found.brows == pytest.approx(found.brows - mean[2, 1], abs=2)
    assert found.ears == pytest.approx((mean[234, 2] + mean[454, 2]) / 2, abs=2)
    np.testing.assert_allclose(found.skin, SKIN)
    np.testing.assert_allclose(np.linalg.norm(found.jaw[:3]), 1, atol=1e-5)
    for landmark in (152, 172, 397):
        assert found.jaw[:3] @ mean[landmark] - found.jaw[3] == pytest.approx(BELOW_JAW_MM, abs=1.5)
    assert found.jaw[:3] @ mean[4] > found.jaw[3]  # the nose is above


def test_parts_are_drawn_with_texture_colour_or_colours_of_vertices() -> None:
    square = [[0, 1, 2], [0, 2, 3]]
    uv = np.float32([[0, 0], [1, 0], [1, 1], [0, 1]])
    picture = np.zeros((8, 8, 3), np.float32) + np.float32([0.1, 0.2, 0.3])
    other = np.zeros((4, 4, 3), np.float32) + np.float32([0.9, 0.8, 0.7])

    def at(x: float, z: float = 0.0) -> list[list[float]]:
        return [[x - 10, -10, z], [x + 10, -10, z], [x + 10, 10, z], [x - 10, 10, z]]

    drawn = draw_full_head(
        _head(
            _part("face", at(-60), square, uv=uv, texture=picture),
            _part("eye_left", at(-20), square, uv=uv, texture=other),
            _part("gums", at(20), square, colour=(0.6, 0.3, 0.2)),
            _part("head", at(60), square, vertex_colours=np.float32([[0.5, 0, 0]] * 4)),
            _part("teeth_upper", at(20, -5), square, colour=(1.0, 1.0, 1.0)),  # behind the gums
        ),
        orthographic_camera(np.eye(3), 3.0, (300.0, 300.0)),
    )
    for x, colour in ((-60, picture[0, 0]), (-20, other[0, 0]), (20, (0.6, 0.3, 0.2)), (60, (0.5, 0, 0))):
        column = 300 + 3 * x
        shown = drawn.picture[290:310, column - 25 : column + 25]
        np.testing.assert_allclose(shown, np.broadcast_to(np.float32(colour), shown.shape), atol=1e-5)
    assert drawn.covered.sum() == pytest.approx(4 * 60 * 60, rel=0.08)
    np.testing.assert_allclose(drawn.picture[0, 0], 0.5)


@pytest.fixture(scope="module")
def scene() -> Callable[[Any], Any]:
    """Judges a completion of the planted texture in a picture of a wall, with a maker."""
    topology = models().topology
    layout = bake_layout(topology, SIZE)
    fit = toy_face(topology, scale=2.0, centre=(300.0, 250.0))
    camera = camera_of(fit)
    mesh = draw_mesh(torch.from_numpy(fit.vertices), camera, layout)
    view = _wall(600)
    points = torch.from_numpy(fit.vertices)
    assert camera.project(points)[0].min() > 0
    texture = planted_texture()
    # The wall in the frame of the fit: two pixels per millimetre.
    wall = replace(view, camera=camera, position=_unprojected(fit))
    target = Target(wall, fit, mesh, mesh.covered)
    made = TexturedFace(fit, topology, CompletedTexture({"colour": texture}, np.ones((SIZE, SIZE), np.uint8)))

    def judge(maker: Any) -> Any:
        judge = FullHeadJudge(maker, replace(REGIONS, lip=-75.0, jaw=np.float32([0, 1, 0, -130])))
        return judge.judge(made, maker(made), target, mesh, "unlit").figures

    return judge


def _unprojected(fit: FittedFace) -> torch.Tensor:
    """[600, 600, 3]: the plane z = 5 behind each pixel of a frontal fit."""
    row, column = np.meshgrid(np.arange(600) + 0.5, np.arange(600) + 0.5, indexing="ij")
    x, y = (column - 300) / fit.scale, (250 - row) / fit.scale
    return torch.from_numpy(np.stack([x, y, x * 0 + 5], axis=-1).astype(np.float32))


def test_the_same_mesh_has_the_same_figures(scene: Callable[[Any], Any]) -> None:
    figures = scene(SameMesh())
    assert set(figures) == {"ostec", "ostec toy"}
    for name, value in figures["ostec"].items():
        assert figures["ostec toy"][name] == pytest.approx(value, rel=1e-3), name
    assert math.isnan(figures["ostec toy"]["psnr_beyond_own"])
    assert 0 < figures["ostec"]["coverage_jaw_own"] < 0.7
    # A wall of 300 mm: jaw of 55 mm, forehead of 40 mm, both less the rim of 1 mm.
    assert figures["ostec"]["surface_jaw_own"] < 0.7 * 30 * 5.5


def test_a_larger_head_covers_more_and_is_judged_there(scene: Callable[[Any], Any]) -> None:
    corners = [[-140.0, -140.0, -60.0], [140.0, -140.0, -60.0], [140.0, 110.0, -60.0], [-140.0, 110.0, -60.0]]
    behind = _part("head", corners, [[0, 1, 2], [0, 2, 3]], colour=tuple(np.float32(SKIN) + np.float32(0.1)))
    figures = scene(SameMesh(behind))
    for region in ("jaw", "forehead"):
        assert figures["ostec toy"][f"coverage_{region}_own"] > 0.9
        assert figures["ostec toy"][f"coverage_{region}_own"] > figures["ostec"][f"coverage_{region}_own"] + 0.2
    assert figures["ostec toy"]["psnr_beyond_own"] == pytest.approx(20, abs=0.01)  # 0.1 off
    assert figures["ostec toy"]["psnr_both_own"] == pytest.approx(figures["ostec"]["psnr_both_own"], abs=0.05)


def test_no_face_model_no_judge_and_a_missing_one_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    assert full_head_judge(CompleteSettings(face_model="none"), SimpleNamespace(), models().topology) is None  # type: ignore[arg-type]
    monkeypatch.setenv("OSTEC_MODELS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(AssetError, match="ict_facekit"):
        full_head_judge(CompleteSettings(face_model="ict"), SimpleNamespace(), models().topology)  # type: ignore[arg-type]


def test_rotated_view_measures_along_its_own_axis() -> None:
    rotation = rotation_from_pose(0, 60)
    camera = orthographic_camera(rotation, 2.0, (100.0, 100.0))
    facing = torch.from_numpy(rotation[2].astype(np.float32)).expand(200, 200, 3)
    turned = replace(_wall(), camera=camera, normal=facing)
    np.testing.assert_allclose(pixel_area(turned), 0.0025, rtol=1e-5)
