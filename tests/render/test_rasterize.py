"""The rasteriser's signature on every device, its gradients, and reading attributes and textures off its result."""

import importlib.util
import sys

import pytest
import torch
from torch.autograd import gradcheck

from ostec.core.errors import BackendError
from ostec.render import rasterize as module
from ostec.render.geometry import orthographic_camera, rotation_from_pose
from ostec.render.rasterize import barycentrics, interpolate, rasterize, sample_texture
from tests.toy import toy_topology


def scene(dtype=torch.float32, width=9, height=7):
    """Two views of six vertices, two triangles, perspective: clip-space positions, triangles, size."""
    generator = torch.Generator().manual_seed(3)
    first = [[-0.9, -0.8, 0.1, 1], [0.8, -0.7, 0.2, 1], [-0.5, 0.9, 0.3, 1]]
    second = [[0.9, 0.9, 0.0, 1], [-0.9, 0.5, -0.2, 1], [0.7, -0.9, 0.1, 1]]
    position = torch.tensor([*first, *second], dtype=dtype)
    position = position * (1 + torch.rand(2, 6, 1, generator=generator, dtype=dtype))
    return position, torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32), (height, width)


def test_barycentrics_agree_with_the_zbuffer():
    position, triangles, size = scene()
    raster = rasterize(position, triangles, size)
    hit = raster[..., 3] > 0
    assert set(raster[..., 3].unique().tolist()) == {0.0, 1.0, 2.0}
    torch.testing.assert_close(barycentrics(position, triangles, raster)[hit], raster[..., :2][hit], atol=1e-5, rtol=0)


def test_gradients_change_nothing_in_the_values():
    position, triangles, size = scene()
    plain = rasterize(position, triangles, size)
    differentiable = rasterize(position.clone().requires_grad_(), triangles, size)
    assert differentiable.requires_grad
    assert not plain.requires_grad
    torch.testing.assert_close(differentiable.detach(), plain, atol=1e-5, rtol=0)
    assert not differentiable[..., :2][plain[..., 3] == 0].any()


def test_gradients_of_barycentrics():
    position, triangles, size = scene(torch.float64)
    raster = rasterize(position, triangles, size)
    hit = raster[..., 3] > 0
    assert gradcheck(lambda p: barycentrics(p, triangles, raster)[hit], position.requires_grad_(), fast_mode=True)


def test_gradients_reach_the_vertices_through_the_drawn_attribute():
    position, triangles, size = scene(torch.float64)
    attribute = torch.rand(1, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    raster = rasterize(position, triangles, size)

    def draw(p, a):
        found = torch.cat([barycentrics(p, triangles, raster), raster[..., 2:].double()], dim=-1)
        return interpolate(a, found, triangles)

    assert gradcheck(draw, (position.requires_grad_(), attribute.requires_grad_()), fast_mode=True)
    drawn = interpolate(attribute, rasterize(position, triangles, size), triangles)
    (gradient,) = torch.autograd.grad(drawn.sum(), position)
    assert gradient[..., :2].abs().amax(dim=(0, 2)).gt(0).all(), "every vertex is seen"


def test_gradients_of_texture_sampling():
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(2, 5, 6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    uv = torch.rand(2, 4, 4, 2, dtype=torch.float64, generator=generator).mul(0.6).add(0.2).requires_grad_()
    assert gradcheck(sample_texture, (texture, uv), fast_mode=True)


def test_interpolation_by_hand():
    raster = torch.tensor([[[[0.25, 0.5, 0.0, 2.0], [0.3, 0.3, 0.0, 0.0]]]])
    triangles = torch.tensor([[0, 1, 2], [3, 1, 0]], dtype=torch.int32)
    attribute = torch.tensor([[[8.0, 0.0], [4.0, 1.0], [99.0, 99.0], [16.0, 0.0]]])
    expected = torch.tensor([[[[0.25 * 16 + 0.5 * 4 + 0.25 * 8, 0.5], [0.0, 0.0]]]])
    torch.testing.assert_close(interpolate(attribute, raster, triangles), expected)


def test_one_set_of_attributes_serves_every_view():
    position, triangles, size = scene()
    raster = rasterize(position, triangles, size)
    attribute = torch.arange(12.0).reshape(1, 6, 2)
    both = interpolate(attribute.expand(2, -1, -1), raster, triangles)
    torch.testing.assert_close(interpolate(attribute, raster, triangles), both)


def test_texture_look_up_has_v_up_and_texel_centres_at_halves():
    # 2 x 3 texels; the first row is v = 1.
    texture = torch.tensor([[0.0, 1.0, 2.0], [10.0, 20.0, 30.0]])[None, ..., None]
    uv = torch.tensor([[1 / 6, 0.75], [5 / 6, 0.25], [0.5, 0.5], [1 / 3, 0.75], [0.0, 1.0], [2.0, -1.0]])
    found = sample_texture(texture, uv[None, None])[0, 0, :, 0]
    torch.testing.assert_close(found, torch.tensor([0.0, 30.0, 10.5, 0.5, 0.0, 30.0]))


def test_one_texture_serves_every_view():
    texture = torch.rand(1, 4, 4, 3, generator=torch.Generator().manual_seed(0))
    uv = torch.rand(2, 3, 3, 2, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(sample_texture(texture, uv), sample_texture(texture.expand(2, -1, -1, -1), uv))


@pytest.mark.parametrize(("position", "triangles"), [((6, 4), (2, 3)), ((1, 6, 3), (2, 3)), ((1, 6, 4), (2, 4))])
def test_wrong_shapes_are_refused(position, triangles):
    with pytest.raises(ValueError, match=r"expected \[B, V, 4\] and \[F, 3\], got "):
        rasterize(torch.zeros(position), torch.zeros(triangles, dtype=torch.int32), (4, 4))


def test_cuda_without_nvdiffrast_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvdiffrast.torch", None)
    monkeypatch.setitem(sys.modules, "nvdiffrast", None)
    with pytest.raises(BackendError, match=r"github\.com/NVlabs/nvdiffrast.*--device cpu"):
        module._cuda_context.__wrapped__()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.skipif(importlib.util.find_spec("nvdiffrast") is None, reason="nvdiffrast is not installed")
def test_nvdiffrast_draws_the_same():
    topology = toy_topology()
    vertices, triangles = torch.from_numpy(topology.mean_landmarks), torch.from_numpy(topology.triangles)
    poses = ((0.0, 0.0), (10.0, -35.0), (-15.0, 60.0))
    cameras = [orthographic_camera(rotation_from_pose(*pose), 0.5, (64.0, 50.0)) for pose in poses]
    position = torch.stack([camera.clip(vertices, (128, 128)) for camera in cameras])
    position = torch.cat([position, position * 2.5])  # the same pixels, another w
    here = rasterize(position, triangles, (128, 128))
    there = rasterize(position.cuda(), triangles.cuda(), (128, 128)).cpu()
    same = here[..., 3] == there[..., 3]
    assert same.float().mean() > 0.998, "but for pixels on an edge (nvdiffrast snaps vertices to 1/16 pixel)"
    torch.testing.assert_close(there[same][:, :2], here[same][:, :2], atol=2e-3, rtol=0)
    torch.testing.assert_close(there[same][:, 2], here[same][:, 2], atol=1e-4, rtol=0)
    wanted = position.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(rasterize(wanted, triangles, (128, 128))[..., :2][same].sum(), wanted)
    other = position.cuda().requires_grad_()
    found = rasterize(other, triangles.cuda(), (128, 128))[..., :2][same.cuda()]
    (elsewhere,) = torch.autograd.grad(found.sum(), other)
    torch.testing.assert_close(elsewhere.cpu(), gradient, atol=1e-2, rtol=1e-2)
