"""A face without light under another one: diffuse with the face's own shadows, and a highlight by GGX.

Light is a set of lamps far away, each with a colour, and even light. The highlight is that of glTF's material: GGX
(Walter et al. 2007), Schlick's Fresnel, Smith's visibility as Karis 2013 shortens it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import Array, DoubleArray, FloatArray, IntArray
from ostec.light.transfer import lamp_directions, light_transfer
from ostec.render.colour import from_linear, to_linear
from ostec.render.geometry import Camera, vertex_normals
from ostec.render.harmonics import harmonics, radiance_of
from ostec.render.rasterize import interpolate, rasterize, sample_texture
from ostec.render.uv import UvLayout

AROUND = 200
"""Lamps that stand in for light from all sides."""
SHINING = 24
"""Lamps whose highlights are drawn: the brightest."""
F0 = 0.028
"""Of skin."""
OVERSAMPLE = 2


@dataclass(frozen=True)
class Surroundings:
    """Light from outside."""

    directions: DoubleArray
    """[D, 3] unit, towards the lamps, in the canonical frame."""
    lamps: DoubleArray
    """[D, 3]: linear RGB; what a white surface that faces the lamp scatters."""
    even: DoubleArray
    """[3]: light from everywhere."""


def one_lamp(yaw_deg: float, pitch_deg: float, colour: Array, even: float = 0.2) -> Surroundings:
    """A lamp of an sRGB colour [3], to the image's right by ``yaw_deg`` and up by ``pitch_deg``, with a little fill."""
    yaw, pitch = np.radians([yaw_deg, pitch_deg])
    towards = np.array([[np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)]])
    linear: DoubleArray = np.asarray(to_linear(np.asarray(colour, np.float64)), np.float64)
    return Surroundings(towards, linear[None], even * linear)


def from_harmonics(coefficients: Array) -> Surroundings:
    """Lamps all round whose scattered light has the coefficients [9, 3]."""
    directions = lamp_directions(AROUND, -1.0)
    radiance = np.maximum(harmonics(directions) @ radiance_of(np.asarray(coefficients, np.float64)), 0)
    return Surroundings(directions, radiance * (4 * np.pi / AROUND), np.zeros(3))


def from_panorama(picture: Array) -> Surroundings:
    """Lamps of a panorama [H, 2 H, 3] in linear light: its middle lies before the face, its left at the image's left.

    Its brightness is set so that a white surface that faces forwards scatters 1 at most in green.
    """
    height, width = picture.shape[:2]
    pitch = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    yaw = 2 * np.pi * ((np.arange(width) + 0.5) / width - 0.5)
    directions = lamp_directions(AROUND, -1.0)
    lamps = np.zeros((AROUND, 3))
    for row, up in zip(picture, pitch, strict=True):  # all at once would take 1.6 kB a pixel
        at = np.stack([np.sin(yaw) * np.cos(up), np.full(width, np.sin(up)), np.cos(yaw) * np.cos(up)], axis=-1)
        nearest = (at @ directions.T).argmax(1)
        share = np.cos(up) * (np.pi / height) * (2 * np.pi / width) / np.pi * row
        lamps += np.stack([np.bincount(nearest, channel, AROUND) for channel in share.T], axis=1)
    facing = np.maximum(directions[:, 2:], 0)
    return Surroundings(directions, lamps / max(float((lamps * facing).sum(0)[1]), 1e-9), np.zeros(3))


@dataclass(frozen=True)
class Material:
    """Maps of S x S texels."""

    albedo: FloatArray
    """[S, S, 3] sRGB."""
    normal: FloatArray
    """[S, S, 3], OpenGL."""
    orm: FloatArray
    """[S, S, 3]."""
    specular: FloatArray
    """[S, S, 1] or [S, S, 3]."""


def draw_relit(
    vertices: FloatArray, layout: UvLayout, material: Material, light: Surroundings, camera: Camera, size: int
) -> FloatArray:
    """Picture [size, size, 4] of a face under a light: sRGB and coverage, in [0, 1].

    Args:
        vertices: [V, 3].
        layout: gives triangles and UV.
        material: of the face.
        light: on it.
        camera: in pixels of ``size``.
        size: side of the picture.
    """
    points, triangles = torch.from_numpy(vertices), layout.triangles
    passed = light_on(vertices, triangles.numpy(), light)
    normals = vertex_normals(points, triangles)
    large = Camera(torch.diag(torch.tensor([OVERSAMPLE, OVERSAMPLE, 1.0])) @ camera.matrix, camera.rotation)
    side = size * OVERSAMPLE
    raster = rasterize(large.clip(points, (side, side))[None], triangles, (side, side)).flip(1)
    values = torch.cat([layout.uv, normals, torch.from_numpy(passed), points], dim=1)
    drawn = interpolate(values[None], raster, triangles)
    hit = raster[0, ..., 3] > 0
    maps = np.dstack([to_linear(material.albedo), material.normal, material.orm, material.specular[..., :1]])
    texels = sample_texture(torch.from_numpy(maps.astype(np.float32))[None], drawn[..., :2])[0][hit]
    pixel = drawn[0][hit]
    plain = functional.normalize(pixel[:, 2:5], dim=-1)
    bent = _bent(plain, pixel[:, 8:11], pixel[:, :2], hit, texels[:, 3:6] * 2 - 1)
    viewer = large.towards_viewer(pixel[:, 8:11])
    seen = LitPixels(texels[:, :3], pixel[:, 5:8], plain, bent, viewer, texels[:, 7:8], texels[:, 9:10])
    colour = shade(seen, light)
    picture = torch.zeros(side, side, 4)
    picture[hit] = torch.cat([colour, torch.ones_like(colour[:, :1])], dim=1)
    pooled = functional.avg_pool2d(picture.permute(2, 0, 1)[None], OVERSAMPLE)[0].permute(1, 2, 0).numpy()
    cover = pooled[..., 3:]
    shown = from_linear(np.clip(pooled[..., :3] / np.maximum(cover, 1e-6), 0, 1))
    return np.asarray(np.dstack([shown, cover]), np.float32)


@dataclass(frozen=True)
class LitPixels:
    """What N pixels show of a surface, and the light that comes to it."""

    albedo: torch.Tensor
    """[N, 3] linear RGB."""
    came: torch.Tensor
    """[N, 3]: what a white surface there scatters, its shadows included."""
    plain: torch.Tensor
    """[N, 3]: unit normals of the mesh."""
    bent: torch.Tensor
    """[N, 3]: the same with fine detail."""
    viewer: torch.Tensor
    """[N, 3]: unit, towards the viewer."""
    roughness: torch.Tensor
    """[N, 1]."""
    specular: torch.Tensor
    """[N, 1]: F0 in units of skin's."""


def light_on(vertices: FloatArray, triangles: IntArray, light: Surroundings) -> FloatArray:
    """What white vertices [V, 3] scatter of a light, with the shadows of the mesh, [V, 3]."""
    passed = light_transfer(vertices, triangles, light.directions).scattered @ light.lamps
    if light.even.any():  # its occlusion is that of all directions
        passed = passed + light_transfer(vertices, triangles).open[:, None] * light.even
    return np.asarray(passed, np.float32)


def shade(pixels: LitPixels, light: Surroundings) -> torch.Tensor:
    """Linear RGB [N, 3]: scattered light and highlights."""
    lamps, directions = (torch.from_numpy(x.astype(np.float32)) for x in (light.lamps, light.directions))
    even = torch.from_numpy(light.even.astype(np.float32))

    def open_light(normal: torch.Tensor) -> torch.Tensor:
        return (normal @ directions.T).clamp(min=0) @ lamps + even + 0.02

    came = pixels.came.clamp(min=0)
    detail = (open_light(pixels.bent) / open_light(pixels.plain)).clamp(0.5, 2)
    share = (came.mean(-1, keepdim=True) / open_light(pixels.plain).mean(-1, keepdim=True)).clamp(0, 1)
    glossy = _highlights(pixels.bent, pixels.viewer, directions, lamps, pixels.roughness, pixels.specular)
    return pixels.albedo * came * detail + glossy * share


def _bent(
    normal: torch.Tensor,
    point: torch.Tensor,
    uv: torch.Tensor,
    hit: torch.Tensor,
    map_: torch.Tensor,
) -> torch.Tensor:
    """Normals [N, 3] with the detail of a tangent-space map [N, 3]; tangents from differences between pixels."""
    place, chart = torch.zeros(*hit.shape, 3), torch.zeros(*hit.shape, 2)
    place[hit], chart[hit] = point, uv
    dp = [torch.gradient(place, dim=k)[0][hit] for k in (0, 1)]
    dt = [torch.gradient(chart, dim=k)[0][hit] for k in (0, 1)]
    # Columns of the inverse Jacobian give the directions in which u and v grow on the surface.
    area = dt[0][:, 0] * dt[1][:, 1] - dt[1][:, 0] * dt[0][:, 1]
    sign = torch.where(area < 0, -1.0, 1.0)[:, None]
    along_u = sign * (dt[1][:, 1:] * dp[0] - dt[0][:, 1:] * dp[1])
    tangent = functional.normalize(along_u - (along_u * normal).sum(-1, keepdim=True) * normal, dim=-1)
    bitangent = torch.linalg.cross(normal, tangent)
    return functional.normalize(tangent * map_[:, :1] + bitangent * map_[:, 1:2] + normal * map_[:, 2:], dim=-1)


def _highlights(
    normal: torch.Tensor,
    viewer: torch.Tensor,
    directions: torch.Tensor,
    lamps: torch.Tensor,
    roughness: torch.Tensor,
    specular: torch.Tensor,
) -> torch.Tensor:
    """[N, 3]: linear light of the brightest lamps' highlights."""
    alpha = roughness.clamp(min=0.05) ** 2
    facing = (normal * viewer).sum(-1, keepdim=True).clamp(min=1e-3)
    out = torch.zeros_like(normal)
    for k in lamps.sum(-1).argsort(descending=True)[:SHINING].tolist():
        lit = (normal @ directions[k])[:, None].clamp(min=0)
        half = functional.normalize(directions[k] + viewer, dim=-1)
        n_h = (normal * half).sum(-1, keepdim=True).clamp(min=0)
        v_h = (viewer * half).sum(-1, keepdim=True).clamp(min=0)
        spread = alpha**2 / (n_h**2 * (alpha**2 - 1) + 1) ** 2  # times pi, which the lamp's unit takes out again
        fresnel = F0 * specular + (1 - F0 * specular) * (1 - v_h) ** 5
        k_s = alpha / 2
        visible = 1 / ((lit * (1 - k_s) + k_s) * (facing * (1 - k_s) + k_s))
        out += spread * fresnel * visible / 4 * lit * lamps[k]
    return out
