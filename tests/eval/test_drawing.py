"""Pictures of a ball: what they see of it, how they are lit, and that drawing undoes a known shift."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from ostec.eval.head.mesh import Head
from ostec.eval.report.drawing import LIGHTS, SEEN_COSINE, Light, draw_mesh, look_up, render_head, seen_by
from ostec.eval.scores import psnr
from ostec.render.geometry import orthographic_camera, rotation_from_pose
from ostec.render.uv import bake_layout, sample_image, view_surface
from tests.eval.planted import models


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 0.8, shape).astype(np.float32)


def ball(radius: float) -> Head:
    """A grey ball of 48 x 24 quads around the origin."""
    v, u = np.meshgrid(np.linspace(0, 1, 25), np.linspace(0, 1, 49), indexing="ij")
    y, ring = -np.cos(np.pi * v), np.sin(np.pi * v)
    points = np.stack([ring * np.sin(2 * np.pi * u), y, ring * np.cos(2 * np.pi * u)], -1).reshape(-1, 3)
    a = (np.arange(24)[:, None] * 49 + np.arange(48)).ravel()
    quads = np.concatenate([np.stack([a, a + 1, a + 50], 1), np.stack([a, a + 50, a + 49], 1)])
    normals = torch.from_numpy(points.astype(np.float32))
    uv = torch.from_numpy(np.stack([u, v], -1).reshape(-1, 2).astype(np.float32))
    triangles = torch.from_numpy(quads.astype(np.int32))
    return Head(normals * radius, normals, uv, triangles, torch.full((8, 8, 3), 0.25))


def test_unseen_part_of_a_ball_is_beyond_the_limiting_angle() -> None:
    rotation = rotation_from_pose(0, 30)
    view = render_head(ball(60.0), orthographic_camera(rotation, 2.0, (150, 150)), side=300)
    normal = functional.normalize(torch.from_numpy(noise(4000, 3) - np.float32(0.5)), dim=-1)
    seen = seen_by(view, normal * 60, normal)
    cosine = normal @ torch.from_numpy(rotation[2].astype(np.float32))
    clear = (cosine - SEEN_COSINE).abs() > 0.02
    assert torch.equal(seen[clear], (cosine > SEEN_COSINE)[clear])
    assert not seen[cosine < 0].any()


def test_a_point_behind_another_surface_is_unseen() -> None:
    view = render_head(ball(60.0), orthographic_camera(np.eye(3), 2.0, (150, 150)), side=300)
    points = torch.tensor([[0.0, 0.0, 60.0], [0.0, 0.0, 50.0], [0.0, 0.0, -80.0]])
    facing = torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3)
    assert seen_by(view, points, facing).tolist() == [True, False, False]


def test_the_picture_is_antialiased_and_knows_its_surface() -> None:
    view = render_head(ball(60.0), orthographic_camera(rotation_from_pose(10, -20), 2.0, (160, 140)), side=300)
    image = view.images["unlit"]
    assert image[140, 160] == pytest.approx(0.25, abs=1e-6)
    assert image[2, 2] == pytest.approx(0.5)
    assert np.unique(image).size > 2  # mixed at the rim
    assert view.hit.float().sum() == pytest.approx(math.pi * 120**2, rel=0.01)
    assert view.position[view.hit].norm(dim=-1).numpy() == pytest.approx(60, rel=0.01)
    pixel, _ = view.camera.project(view.position[100, 180])
    assert pixel.numpy() == pytest.approx([180.5, 100.5], abs=1e-2)


def test_shade_is_lamberts() -> None:
    light = Light(0.2, 0.8, (0.0, 3.0, 4.0))
    normal = torch.tensor([[0.0, 0.6, 0.8], [0.0, 0.8, -0.6], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    expected = np.array([1.0, 0.2, 0.84, 0.2]) ** (1 / 2.2)
    assert light.shade(normal)[:, 0].numpy() == pytest.approx(expected, abs=1e-6)


def test_the_lights_do_what_they_say() -> None:
    ways = torch.tensor([[0.2, 0.6, 0.77], [0.0, -1.0, 0.0], [0.9, 0.25, 0.35], [-0.9, 0.25, 0.35], [0.0, 0.0, 1.0]])
    way = functional.normalize(ways, dim=-1)
    found = {name: light.shade(way)[:, 0].tolist() for name, light in LIGHTS.items()}
    assert found["unlit"] == [1.0] * 5
    assert found["mild"][:2] == pytest.approx([1.066, 0.762], abs=2e-3)
    assert found["mild"][4] == pytest.approx(1.0, abs=0.01)  # a face from in front keeps its colours
    assert found["hard"][2:4] == pytest.approx([1.107, 0.422], abs=2e-3)
    assert found["hard"][4] == pytest.approx(0.753, abs=2e-3)


def test_a_light_turns_with_the_head() -> None:
    points = functional.normalize(torch.tensor([[0.1, 0.2, 1.0], [0.5, 0.0, 1.0], [-0.3, -0.4, 1.0]]), dim=-1)
    expected = 0.25 * LIGHTS["hard"].shade(points)[:, 0].numpy()
    for yaw in (-30, 0, 25):
        camera = orthographic_camera(rotation_from_pose(5, yaw), 2.0, (150, 150))
        view = render_head(ball(60.0), camera, ("hard", "unlit"), 300)
        found = look_up(torch.from_numpy(view.images["hard"]), camera.project(points * 60)[0], "bilinear")[:, 0]
        assert found.numpy() == pytest.approx(expected, abs=3e-3)
    assert list(view.images) == ["hard", "unlit"]


def test_drawing_on_the_true_pictures_mesh_undoes_a_known_shift() -> None:
    """A texture unwrapped from one picture, drawn on the mesh fitted to the shifted picture, gives that picture."""
    y, x = np.mgrid[:600, :600] / 600
    photo = np.stack([0.5 + 0.4 * np.sin(9 * x), 0.5 + 0.4 * np.cos(7 * y), x * y], -1).astype(np.float32)
    shift = (23, -14)
    moved = np.roll(photo, (shift[1], shift[0]), (0, 1))
    topology = models().topology
    layout = bake_layout(topology, 256)
    vertices = torch.from_numpy(topology.operator @ topology.mean_landmarks).float()
    first = orthographic_camera(np.eye(3), 2.0, (300, 300))
    second = orthographic_camera(np.eye(3), 2.0, (300 + shift[0], 300 + shift[1]))
    surface = view_surface(vertices, first, layout)
    texture, _ = sample_image(torch.from_numpy(photo), surface.pixel, layout.inside)
    mesh = draw_mesh(vertices, second, layout)
    drawn, inner = mesh.draw(texture.numpy()), ndimage.binary_erosion(mesh.covered, iterations=8)
    assert inner.sum() > 50_000
    assert psnr(drawn, moved, inner) > 38
    assert psnr(drawn, photo, inner) < 25
