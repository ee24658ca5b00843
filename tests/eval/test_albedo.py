"""Figures of an albedo against the truth, and the lights that are drawn at random."""

import numpy as np
import pytest
import torch

from ostec.eval.head.albedo import TONES, AlbedoTruth, toned_head
from ostec.eval.head.lamps import lit_share, random_lamps
from ostec.eval.head.mesh import Head
from ostec.eval.report.drawing import light_of, render_head
from ostec.render.geometry import orthographic_camera, vertex_normals


def wall_and_post() -> Head:
    """A wall of 200 mm that faces the viewer, and before it a square of 40 mm, 60 mm nearer."""

    def square(half: float, z: float) -> np.ndarray:
        return np.array([[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]], np.float32)

    vertices = torch.from_numpy(np.concatenate([square(100, 0), square(20, 60)]))
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], dtype=torch.int32)
    normals = vertex_normals(vertices, triangles)
    return Head(vertices, normals, torch.full((8, 2), 0.5), triangles, torch.full((4, 4, 3), 0.5))


def test_a_lamp_casts_a_shadow_where_its_rays_are_stopped() -> None:
    head = wall_and_post()
    towards = torch.nn.functional.normalize(torch.tensor([1.0, 0.0, 1.0]), dim=0)
    points = torch.tensor([[-60.0, 0, 0], [60.0, 0, 0], [0.0, 0, 60.0]])  # 60 mm behind and 60 mm to the left
    np.testing.assert_allclose(lit_share(head, points, towards), [0, 1, 1], atol=0.01)


def test_random_lights_are_the_same_again_and_differ_from_each_other() -> None:
    assert random_lamps(3) == light_of("lamps3")
    assert random_lamps(3) != random_lamps(4)
    with pytest.raises(KeyError):
        light_of("lamps")


def test_a_picture_under_random_light_has_shade_and_ground() -> None:
    camera = orthographic_camera(np.eye(3), 0.4, (50.0, 50.0))
    image = render_head(wall_and_post(), camera, ("lamps1",), side=100).images["lamps1"]
    assert image[2, 2].tolist() == pytest.approx([0.5] * 3)  # ground
    assert image[15:85, 15:85].std() > 0.02


def test_gains_cost_nothing_and_a_lit_half_does() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.2, 0.6, (32, 32, 3)).astype(np.float32)
    truth = AlbedoTruth(true, np.ones((32, 32), bool))
    same = truth.figures(true * np.float32([0.9, 0.8, 0.7]))
    assert same["psnr_albedo"] > 60
    lit = true.copy()
    lit[:, :16] *= 0.6
    assert truth.figures(lit)["psnr_albedo"] < 25
    assert truth.figures(lit)["halves"] - truth.figures(true)["halves"] == pytest.approx(-np.log(0.6), abs=0.06)


def test_tones_darken_blue_most() -> None:
    head = wall_and_post()
    dark = toned_head(head, "dark").atlas[0, 0]
    assert dark[0] > dark[1] > dark[2]
    assert toned_head(head, "own") is head
    assert set(TONES) == {"own", "light", "tan", "brown", "dark"}
