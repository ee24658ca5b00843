"""Rasterisation with one signature on every device, and what is read off its result: attributes and textures.

On the CPU the z-buffer of :mod:`ostec.render.zbuffer` draws; on CUDA nvdiffrast does. Both return which triangle is
seen; barycentrics are then recomputed from the vertices in plain torch, so that gradients reach them in the same way on
both.
"""

from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional

from ostec.core.errors import BackendError
from ostec.render.zbuffer import rasterize_cpu

_BAND_BYTES = 32 << 20


@lru_cache(maxsize=1)
def _cuda_context() -> Any:
    try:
        import nvdiffrast.torch as dr
    except ImportError as error:
        raise BackendError(
            "Rasterising on CUDA needs nvdiffrast: install it from https://github.com/NVlabs/nvdiffrast, or use "
            "--device cpu."
        ) from error
    return dr, dr.RasterizeCudaContext()


def rasterize(position: torch.Tensor, triangles: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Which triangle each pixel sees, and where in it.

    Args:
        position: [B, V, 4] clip-space vertices, float32.
        triangles: [F, 3] int32 on the same device.
        size: (height, width) in pixels.

    Returns:
        [B, H, W, 4] float32 (u, v, z/w, triangle + 1) in nvdiffrast's format; u and v carry gradients to ``position``.

    Raises:
        BackendError: the tensors are on CUDA and nvdiffrast is not installed.
        ValueError: shapes are not those above.
    """
    if position.ndim != 3 or position.shape[-1] != 4 or triangles.ndim != 2 or triangles.shape[-1] != 3:
        raise ValueError(f"expected [B, V, 4] and [F, 3], got {tuple(position.shape)} and {tuple(triangles.shape)}")
    if position.is_cuda:
        dr, context = _cuda_context()
        found, _ = dr.rasterize(context, position.detach(), triangles, resolution=list(size), grad_db=False)
    else:
        found = torch.from_numpy(rasterize_cpu(position.detach().numpy(), triangles.numpy(), size))
    if not position.requires_grad:
        return found
    uv = barycentrics(position, triangles, found)
    return torch.cat([torch.where(found[..., 3:] > 0, uv, 0.0), found[..., 2:]], dim=-1)


def barycentrics(position: torch.Tensor, triangles: torch.Tensor, raster: torch.Tensor) -> torch.Tensor:
    """Perspective-correct (u, v) [B, H, W, 2] of every pixel in the triangle it sees, differentiable in ``position``.

    Args:
        position: [B, V, 4] clip-space vertices.
        triangles: [F, 3].
        raster: [B, H, W, 4] as returned by :func:`rasterize`; pixels that hit nothing get meaningless values.
    """
    height, width = raster.shape[1:3]
    corners = _corners(position, raster, triangles)  # [B, H, W, 3, 4]
    y = (torch.arange(height, device=position.device, dtype=position.dtype) + 0.5) * 2 / height - 1
    x = (torch.arange(width, device=position.device, dtype=position.dtype) + 0.5) * 2 / width - 1
    # Edge functions in homogeneous coordinates (Olano and Greer 1997) stay linear: no division by w is needed.
    dx = corners[..., 0] - x[None, None, :, None] * corners[..., 3]
    dy = corners[..., 1] - y[None, :, None, None] * corners[..., 3]
    a = dx[..., 1] * dy[..., 2] - dx[..., 2] * dy[..., 1]
    b = dx[..., 2] * dy[..., 0] - dx[..., 0] * dy[..., 2]
    c = dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]
    total = a + b + c
    total = torch.where(total == 0, torch.ones_like(total), total)
    return torch.stack([a / total, b / total], dim=-1)


def interpolate(attribute: torch.Tensor, raster: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Vertex attributes at every pixel, differentiable in both.

    Args:
        attribute: [B, V, C] or [1, V, C].
        raster: [B, H, W, 4].
        triangles: [F, 3].

    Returns:
        [B, H, W, C], zero where nothing was hit.
    """
    row = 3 * len(raster) * raster.shape[2] * attribute.shape[-1] * attribute.element_size()
    bands = raster.split(max(1, _BAND_BYTES // max(row, 1)), dim=1)  # the corners of a large raster are large
    return torch.cat([_interpolated(attribute, band, triangles) for band in bands], dim=1)


def _interpolated(attribute: torch.Tensor, raster: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    corners = _corners(attribute.expand(len(raster), -1, -1), raster, triangles)  # [B, H, W, 3, C]
    u, v = raster[..., 0:1], raster[..., 1:2]
    value = corners[..., 0, :] * u + corners[..., 1, :] * v + corners[..., 2, :] * (1 - u - v)
    return value * (raster[..., 3:] > 0)


def sample_texture(texture: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    """Bilinear look-up, differentiable in both; outside [0, 1] the border is repeated.

    Args:
        texture: [B, H, W, C] or [1, H, W, C], first row at v = 1.
        uv: [B, h, w, 2] with v up.

    Returns:
        [B, h, w, C].
    """
    grid = torch.stack([uv[..., 0] * 2 - 1, 1 - uv[..., 1] * 2], dim=-1)
    planes = texture.permute(0, 3, 1, 2).expand(len(uv), -1, -1, -1)
    out = functional.grid_sample(planes, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.permute(0, 2, 3, 1)


def _corners(values: torch.Tensor, raster: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """[B, H, W, 3, C]: the values [B, V, C] at the corners of each pixel's triangle; of the first where it has none."""
    seen = (raster[..., 3].long() - 1).clamp(min=0)
    rows = values[:, triangles.long()].flatten(2)  # [B, F, 3 C]: whole rows are picked several times faster
    picked = [own.index_select(0, pixels) for own, pixels in zip(rows, seen.flatten(1), strict=True)]
    return torch.stack(picked).reshape(*seen.shape, 3, values.shape[-1])
