"""Heads and fitted meshes drawn with parallel rays: pictures under a light, and what is true at each pixel.

Lengths are those of the canonical frame of ``ostec/core/types.py``: the outer eye corners are 90 mm apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ostec.core.types import BoolArray, FloatArray
from ostec.eval.head.lamps import GAMMA, Lamps, random_lamps
from ostec.eval.head.mesh import Head
from ostec.render.geometry import Camera
from ostec.render.rasterize import interpolate, rasterize, sample_texture
from ostec.render.uv import UvLayout

SIDE = 600
"""Side of a picture in pixels."""
BACKGROUND = 0.5
OVERSAMPLE = 2
COVERED = 0.999
"""Coverage from which a pixel lies wholly on a mesh."""
SEEN_COSINE = 0.2
"""A point counts as seen above this cosine of the view angle, if nothing is in front of it."""
SEEN_TOLERANCE_MM = 2.0
LAMPS = "lamps"
"""Names of lights drawn at random: lamps0, lamps1, ..."""


@dataclass(frozen=True)
class Light:
    """Ambient light and one lamp far away, both fixed to the head, on a surface that scatters evenly (Lambert).

    A texel's colour is multiplied by (ambient + lamp max(0, n . l)) ** (1 / 2.2) and clipped at 1; the head casts no
    shadow on itself. Since the lamp turns with the head, the lit texture is the same at every pose.
    """

    ambient: float
    lamp: float
    towards: tuple[float, float, float]
    """l, from the head to the lamp in the head's own frame; made a unit vector."""

    def shade(self, normal: torch.Tensor) -> torch.Tensor:
        """Factor [..., 1] of the colours where the unit normals are [..., 3]."""
        towards = functional.normalize(torch.tensor(self.towards, dtype=normal.dtype), dim=0)
        intensity = self.ambient + self.lamp * (normal @ towards).clamp(min=0)
        return intensity[..., None] ** (1 / GAMMA)


LIGHTS: dict[str, Light] = {
    "unlit": Light(1.0, 0.0, (0.0, 0.0, 1.0)),
    "mild": Light(0.55, 0.6, (0.2, 0.6, 0.77)),
    "hard": Light(0.15, 1.1, (0.9, 0.25, 0.35)),
}
"""By name; factors of the colours:

mild: a lamp above in front and much ambient light; 1.07 towards the lamp, 1.00 towards a frontal viewer, 0.76 below the
jaw. hard: a lamp from the image's right of a frontal picture and little ambient light; 1.11 towards the lamp, 0.75
towards the viewer, 0.42 on the other side.
"""


def light_of(name: str) -> Light | Lamps:
    """The light of a name: one of ``LIGHTS``, or a random one, ``lamps7``. Raises KeyError where there is none."""
    number = name.removeprefix(LAMPS)
    return random_lamps(int(number)) if number != name and number.isdecimal() else LIGHTS[name]


@dataclass(frozen=True)
class HeadView:
    """A picture of the head and what is true at each of its pixels."""

    camera: Camera
    images: Mapping[str, FloatArray]
    """Light -> [H, W, 3] in [0, 1]."""
    position: torch.Tensor
    """[H, W, 3] of the surface at the pixel's centre; zero where the head is not."""
    normal: torch.Tensor
    """[H, W, 3] unit."""
    hit: torch.Tensor
    """[H, W] bool."""

    @property
    def towards(self) -> torch.Tensor:
        """[H, W] height of the surface towards the viewer; -inf where the head is not."""
        return torch.where(self.hit, self.position @ self.camera.rotation[2], -torch.inf)

    @property
    def millimetres(self) -> float:
        """Of a pixel."""
        return 1 / float(self.camera.matrix[0, :3].norm())


def render_head(head: Head, camera: Camera, lights: Sequence[str] = ("unlit",), side: int = SIDE) -> HeadView:
    """Draw the head in ``side`` x ``side`` pixels under each of the lights (:func:`light_of`), antialiased, on grey."""
    values = torch.cat([head.uv, head.vertices, head.normals], dim=1)
    fine, plain = (
        draw_surface(head.vertices, head.triangles, values, camera, (side, side), zoom) for zoom in (OVERSAMPLE, 1)
    )
    colour, normal = fine.colours(head.atlas), functional.normalize(fine.values[..., 5:], dim=-1)
    lit = {}
    for name in lights:
        light = light_of(name)
        if isinstance(light, Light):
            lit[name] = (colour * light.shade(normal)).clamp(max=1)
        else:
            lit[name] = light.draw(head, colour, normal, fine.values[..., 2:5], camera.rotation[2])
    images = {name: _pool(torch.where(fine.hit > 0, image, BACKGROUND)) for name, image in lit.items()}
    position, normal = plain.values[0, ..., 2:5], functional.normalize(plain.values[0, ..., 5:], dim=-1)
    return HeadView(camera, images, position, normal, plain.hit[0, ..., 0] > 0)


def seen_by(view: HeadView, position: torch.Tensor, normal: torch.Tensor) -> torch.Tensor:
    """Whether ``view`` sees points [..., 3] of the head whose unit normals are ``normal`` [..., 3]: bool [...].

    Seen: the cosine of the true view angle is above ``SEEN_COSINE`` and nothing lies in front, by the depth of the true
    mesh.
    """
    pixel, towards = view.camera.project(position)
    cosine = normal @ view.camera.rotation[2]
    nearest = look_up(view.towards[..., None], pixel, "nearest")[..., 0]
    # Half a pixel away the depth differs by the slope.
    slope = torch.sqrt((1 - cosine**2).clamp(min=0)) / cosine.clamp(min=SEEN_COSINE)
    return (cosine > SEEN_COSINE) & (towards > nearest - SEEN_TOLERANCE_MM - slope * view.millimetres)


def look_up(image: torch.Tensor, pixel: torch.Tensor, mode: str) -> torch.Tensor:
    """Values [..., C] of ``image`` [H, W, C] at pixels [..., 2]; ``mode`` is ``nearest`` or ``bilinear``."""
    size = torch.tensor([image.shape[1], image.shape[0]], dtype=pixel.dtype)
    grid = (pixel / size * 2 - 1).reshape(1, -1, 1, 2)
    planes = image.permute(2, 0, 1)[None]
    found = functional.grid_sample(planes, grid, mode=mode, padding_mode="border", align_corners=False)
    return found[0, :, :, 0].T.reshape(*pixel.shape[:-1], -1)


@dataclass(frozen=True)
class DrawnMesh:
    """A mesh in front of a camera, ready to be drawn with any texture."""

    values: torch.Tensor
    """[1, h, w, C] at the oversampled size: what was given of each vertex; u and v come first."""
    hit: torch.Tensor
    """[1, h, w, 1] of the same: 1 where the mesh is."""

    @property
    def share(self) -> FloatArray:
        """[H, W, 1]: how much of the pixel the mesh fills."""
        return _pool(self.hit)

    @property
    def covered(self) -> BoolArray:
        """[H, W]: the mesh fills the pixel."""
        return np.asarray(self.share[..., 0] > COVERED)

    def colours(self, texture: torch.Tensor) -> torch.Tensor:
        """[1, h, w, C] of a texture [T, S, C]."""
        return sample_texture(texture[None], self.values[..., :2])

    def draw(self, texture: FloatArray) -> FloatArray:
        """Draw texels [T, S, C]: [H, W, C], zero around the mesh."""
        return self.pooled(self.colours(torch.from_numpy(texture)))

    def pooled(self, colours: torch.Tensor) -> FloatArray:
        """[1, h, w, C] to [H, W, C], zero around the mesh."""
        return _pool(colours * self.hit)


def draw_mesh(
    vertices: torch.Tensor, camera: Camera, layout: UvLayout, size: tuple[int, int] = (SIDE, SIDE)
) -> DrawnMesh:
    """Put a mesh [V, 3] of the layout in front of a camera whose picture has ``size`` (height, width) pixels."""
    return draw_surface(vertices, layout.triangles, layout.uv, camera, size)


def draw_surface(
    vertices: torch.Tensor,
    triangles: torch.Tensor,
    values: torch.Tensor,
    camera: Camera,
    size: tuple[int, int] = (SIDE, SIDE),
    zoom: int = OVERSAMPLE,
) -> DrawnMesh:
    """The same for any mesh: ``vertices`` [V, 3], ``triangles`` [F, 3] int32, ``values`` [V, C], u and v first."""
    large = (size[0] * zoom, size[1] * zoom)
    zoomed = Camera(torch.diag(torch.tensor([zoom, zoom, 1.0])) @ camera.matrix, camera.rotation)
    raster = rasterize(zoomed.clip(vertices, large)[None], triangles, large).flip(1)
    return DrawnMesh(interpolate(values[None], raster, triangles), (raster[..., 3:] > 0).float())


def _pool(image: torch.Tensor) -> FloatArray:
    """[1, H, W, C] at the oversampled size to [h, w, C]."""
    pooled: FloatArray = functional.avg_pool2d(image.permute(0, 3, 1, 2), OVERSAMPLE)[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(pooled)
