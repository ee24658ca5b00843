"""The figures of tools/measure_head.py are what theory says."""

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from ostec.render.geometry import orthographic_camera, rotation_from_pose
from ostec.render.uv import sample_image, view_surface

TOOLS = Path(__file__).resolve().parents[1] / "tools"


@pytest.fixture
def truth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("headtruth")


@pytest.fixture
def tool(truth: ModuleType) -> ModuleType:
    return importlib.import_module("measure_head")


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 0.8, shape).astype(np.float32)


def sphere(truth: ModuleType, radius: float) -> Any:
    """A grey ball of 48 x 24 quads around the origin."""
    v, u = np.meshgrid(np.linspace(0, 1, 25), np.linspace(0, 1, 49), indexing="ij")
    y, ring = -np.cos(np.pi * v), np.sin(np.pi * v)
    points = np.stack([ring * np.sin(2 * np.pi * u), y, ring * np.cos(2 * np.pi * u)], -1).reshape(-1, 3)
    a = (np.arange(24)[:, None] * 49 + np.arange(48)).ravel()
    quads = np.concatenate([np.stack([a, a + 1, a + 50], 1), np.stack([a, a + 50, a + 49], 1)])
    normals = torch.from_numpy(points.astype(np.float32))
    uv = torch.from_numpy(np.stack([u, v], -1).reshape(-1, 2).astype(np.float32))
    triangles = torch.from_numpy(quads.astype(np.int32))
    return truth.Head(normals * radius, normals, uv, triangles, torch.full((8, 8, 3), 0.25))


def test_equal_pictures_score_perfectly(tool: ModuleType) -> None:
    image, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    assert tool.psnr(image, image, mask) == math.inf
    assert tool.ssim(image, image, mask, mask) == pytest.approx(1, abs=1e-4)
    assert tool.sharpness(image, image, mask, mask) == pytest.approx(1)


def test_psnr_of_a_constant_offset_is_its_logarithm(tool: ModuleType) -> None:
    image, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    assert tool.psnr(image + np.float32(0.1), image, mask) == pytest.approx(20, abs=1e-4)
    half = image.copy()
    half[:20] += 0.1
    assert tool.psnr(half, image, mask) == pytest.approx(20 + 10 * math.log10(2), abs=1e-4)


def test_figures_look_at_the_mask_alone(tool: ModuleType) -> None:
    truth, mask = noise(40, 50, 3), np.zeros((40, 50), bool)
    mask[5:30, 10:40] = True
    image = np.where(mask[..., None], truth, noise(40, 50, 3, seed=1))
    assert tool.psnr(image, truth, mask) == math.inf
    assert tool.ssim(image, truth, mask, mask) == pytest.approx(1, abs=1e-4)
    assert tool.sharpness(image, truth, mask, mask) == pytest.approx(1, abs=1e-5)
    nothing = np.zeros_like(mask)
    assert math.isnan(tool.psnr(image, truth, nothing))
    assert math.isnan(tool.ssim(image, truth, nothing, mask))


def test_halved_contrast_has_a_quarter_of_the_gradient_energy(tool: ModuleType) -> None:
    truth, mask = noise(40, 50, 3), np.ones((40, 50), bool)
    assert tool.sharpness(truth / 2 + np.float32(0.3), truth, mask, mask) == pytest.approx(0.25, abs=1e-4)


def test_unseen_part_of_a_sphere_is_beyond_the_limiting_angle(truth: ModuleType) -> None:
    rotation = rotation_from_pose(0, 30)
    view = truth.render_head(sphere(truth, 60.0), orthographic_camera(rotation, 2.0, (150, 150)), 300)
    normal = torch.nn.functional.normalize(torch.from_numpy(noise(4000, 3) - np.float32(0.5)), dim=-1)
    seen = truth.seen_by(view, normal * 60, normal)
    cosine = normal @ torch.from_numpy(rotation[2].astype(np.float32))
    clear = (cosine - 0.2).abs() > 0.02
    assert torch.equal(seen[clear], (cosine > 0.2)[clear])
    assert not seen[cosine < 0].any()


def test_a_point_behind_another_surface_is_unseen(truth: ModuleType) -> None:
    view = truth.render_head(sphere(truth, 60.0), orthographic_camera(np.eye(3), 2.0, (150, 150)), 300)
    points = torch.tensor([[0.0, 0.0, 60.0], [0.0, 0.0, 50.0], [0.0, 0.0, -80.0]])
    facing = torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3)
    assert truth.seen_by(view, points, facing).tolist() == [True, False, False]


def test_the_render_is_antialiased_and_knows_its_surface(truth: ModuleType) -> None:
    view = truth.render_head(
        sphere(truth, 60.0), orthographic_camera(rotation_from_pose(10, -20), 2.0, (160, 140)), 300
    )
    assert view.image[140, 160] == pytest.approx(0.25, abs=1e-6)
    assert view.image[2, 2] == pytest.approx(0.5)
    assert view.hit.float().sum() == pytest.approx(math.pi * 120**2, rel=0.01)
    assert view.position[view.hit].norm(dim=-1).numpy() == pytest.approx(60, rel=0.01)
    pixel, _ = view.camera.project(view.position[100, 180])
    assert pixel.numpy() == pytest.approx([180.5, 100.5], abs=1e-2)


def test_drawing_on_the_true_pictures_mesh_undoes_a_known_shift(tool: ModuleType, truth: ModuleType) -> None:
    """A texture unwrapped from one picture, drawn on the mesh fitted to the shifted picture, gives that picture."""
    y, x = np.mgrid[:600, :600] / 600
    photo = np.stack([0.5 + 0.4 * np.sin(9 * x), 0.5 + 0.4 * np.cos(7 * y), x * y], -1).astype(np.float32)
    shift = (23, -14)
    moved = np.roll(photo, (shift[1], shift[0]), (0, 1))
    reader = truth.FaceReader(256)
    vertices = torch.from_numpy(reader.topology.operator @ reader.topology.mean_landmarks).float()
    first = orthographic_camera(np.eye(3), 2.0, (300, 300))
    second = orthographic_camera(np.eye(3), 2.0, (300 + shift[0], 300 + shift[1]))
    surface = view_surface(vertices, first, reader.layout)
    texture, _ = sample_image(torch.from_numpy(photo), surface.pixel, reader.layout.inside)
    mesh = tool.draw_mesh(vertices, second, reader.layout)
    drawn, inner = mesh.draw(texture.numpy()), ndimage.binary_erosion(mesh.covered, iterations=8)
    assert inner.sum() > 50_000
    assert tool.psnr(drawn, moved, inner) > 38
    assert tool.psnr(drawn, photo, inner) < 25
