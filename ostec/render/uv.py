"""Between picture and UV: the layout's texels on the surface, visibility, view angle, unwrapping and textured views."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional

from ostec.core.types import FloatArray, IntArray, Topology
from ostec.render.geometry import Camera, vertex_normals
from ostec.render.rasterize import interpolate, rasterize, sample_texture

VISIBILITY_SIDE = 768
"""Longer side in pixels of the depth image that decides what hides what."""
FOLD_MM = 9.0
"""Step in depth from a pixel of the depth image to the next that is a fold: a turned nose before its cheek. What lies
beside it in the photo is the other surface's where the landmarks err a little."""
FOLD_MARGIN = 2.0
"""Distance from a fold over the distance from the outline of the mesh that is as good."""
DEPTH_TOLERANCE_MM = 1.2
"""How far behind the nearest surface a texel may lie and still count as seen; a lip's or nostril's wall is thicker."""


@dataclass(frozen=True)
class UvLayout:
    """A topology's chart baked at one size: which point of the surface each texel shows."""

    size: int
    raster: torch.Tensor
    """[1, S, S, 4] as a rasteriser returns, but rows from the top, as in images."""
    triangles: torch.Tensor
    """[F, 3] int32."""
    uv: torch.Tensor
    """[V, 2]."""

    @property
    def inside(self) -> torch.Tensor:
        """[S, S] bool: texels whose centre lies in the chart."""
        return self.raster[0, ..., 3] > 0

    def attribute(self, per_vertex: torch.Tensor) -> torch.Tensor:
        """Bring a per-vertex attribute [V, C] to the texels [S, S, C]; zero outside the chart."""
        return interpolate(per_vertex[None], self.raster, self.triangles)[0]


def bake_layout(topology: Topology, size: int, device: torch.device | str = "cpu") -> UvLayout:
    """Rasterise a topology's UV chart at ``size`` x ``size`` texels."""
    return bake_chart(topology.uv, topology.triangles, size, device)


def bake_chart(uv: FloatArray, triangles: IntArray, size: int, device: torch.device | str = "cpu") -> UvLayout:
    """Rasterise any chart: ``uv`` [V, 2] in [0, 1], ``triangles`` [F, 3] at ``size`` x ``size`` texels."""
    flat, ids = torch.as_tensor(uv, device=device), torch.as_tensor(triangles, device=device)
    position = torch.cat([flat * 2 - 1, torch.zeros_like(flat[:, :1]), torch.ones_like(flat[:, :1])], dim=1)
    raster = rasterize(position[None].contiguous(), ids, (size, size))
    return UvLayout(size, raster.flip(1).contiguous(), ids, flat)


@dataclass(frozen=True)
class SurfaceView:
    """How a camera sees the surface point of each texel."""

    pixel: torch.Tensor
    """[S, S, 2] photo pixels (x, y)."""
    cosine: torch.Tensor
    """[S, S] cosine of the angle between normal and the direction to the viewer."""
    visible: torch.Tensor
    """[S, S] bool: in the chart, facing the viewer, nothing of the face in front."""
    margin_mm: torch.Tensor
    """[S, S] distance in the picture from the outline of the whole mesh, or twice that from a fold within it if that is
    less, in millimetres; 0 outside the chart."""


def view_surface(
    vertices: torch.Tensor,
    camera: Camera,
    layout: UvLayout,
    depth_side: int = VISIBILITY_SIDE,
    fold_mm: float = FOLD_MM,
) -> SurfaceView:
    """Where, at what angle and whether a camera sees each texel.

    Args:
        vertices: [V, 3] canonical frame.
        camera: of the picture.
        layout: the baked chart.
        depth_side: longer side in pixels of the depth image that decides what hides what.
        fold_mm: step in depth that is a fold. Of a picture that was drawn of this very surface nothing is uncertain
            beside one: infinite.
    """
    points = layout.attribute(vertices)
    normals = functional.normalize(layout.attribute(vertex_normals(vertices, layout.triangles)), dim=-1)
    cosine = (normals * camera.towards_viewer(points)).sum(-1)
    pixel, towards = camera.project(points)
    nearest, unit = _depth_image(vertices, camera, layout.triangles, depth_side, fold_mm)
    grid = unit.to_grid(pixel)
    seen = functional.grid_sample(
        nearest[None, None], grid[None], mode="nearest", padding_mode="border", align_corners=False
    )[0, 0]
    # One pixel of the depth image spans more depth where the surface is steep.
    slope = torch.sqrt((1 - cosine**2).clamp(min=0)) / cosine.clamp(min=0.1)
    tolerance = DEPTH_TOLERANCE_MM + unit.millimetres * slope
    visible = layout.inside & (cosine > 0) & (towards > seen - tolerance)
    outline = functional.grid_sample(
        unit.margin[None, None], grid[None], mode="bilinear", padding_mode="zeros", align_corners=False
    )[0, 0]
    return SurfaceView(pixel, cosine * layout.inside, visible, outline * layout.inside)


@dataclass(frozen=True)
class _DepthFrame:
    """The window of the photo that the depth image covers."""

    low: torch.Tensor
    span: torch.Tensor
    millimetres: float
    """Per pixel of the depth image."""
    margin: torch.Tensor
    """[h, w] distance from the outline of the mesh and its folds, millimetres."""

    def to_grid(self, pixel: torch.Tensor) -> torch.Tensor:
        return (pixel - self.low) / self.span * 2 - 1


def _depth_image(
    vertices: torch.Tensor, camera: Camera, triangles: torch.Tensor, side: int, fold_mm: float
) -> tuple[torch.Tensor, _DepthFrame]:
    """Height towards the viewer [h, w] of the nearest surface, first row on top; -inf where there is none."""
    pixel, towards = camera.project(vertices)
    low, high = pixel.amin(0), pixel.amax(0)
    zoom = side / float((high - low).max())
    size = [max(1, round(float(v) * zoom)) for v in (high - low)]
    shifted = camera.matrix.clone()
    shift = torch.eye(3, device=vertices.device, dtype=vertices.dtype)
    shift[0, 0], shift[1, 1] = size[0] / float(high[0] - low[0]), size[1] / float(high[1] - low[1])
    shift[:2, 2] = -low * shift.diagonal()[:2]
    window = Camera(shift @ shifted, camera.rotation)
    raster = rasterize(window.clip(vertices, (size[1], size[0]))[None], triangles, (size[1], size[0]))
    depth = interpolate(towards[None, :, None], raster, triangles)[0, ..., 0]
    depth = torch.where(raster[0, ..., 3] > 0, depth, -torch.inf).flip(0)
    # Millimetres per pixel of the depth image: how far the surface moves per pixel across the axes of the camera.
    millimetres = float((vertices @ camera.rotation[0]).max() - (vertices @ camera.rotation[0]).min()) / size[0]
    # A frame of one empty pixel, so that the window's own edge counts as outline.
    covered = functional.pad(torch.isfinite(depth).cpu(), (1, 1, 1, 1)).numpy()
    distance, folds = distance_transform_edt(covered)[1:-1, 1:-1], _folds(depth, fold_mm).cpu().numpy()
    if folds.any():
        distance = np.minimum(distance, FOLD_MARGIN * distance_transform_edt(~folds))
    margin = torch.from_numpy(distance).to(depth) * millimetres
    return depth, _DepthFrame(low, high - low, millimetres, margin)


def _folds(depth: torch.Tensor, least: float) -> torch.Tensor:
    """[h, w] bool: pixels beside which the surface steps back, as a nose before its cheek."""
    fold = torch.zeros_like(depth, dtype=torch.bool)
    for axis in (0, 1):
        apart = depth.diff(dim=axis).abs()
        step = (apart > least) & apart.isfinite()  # at the outline one side is infinitely far
        one, other = fold.narrow(axis, 0, fold.shape[axis] - 1), fold.narrow(axis, 1, fold.shape[axis] - 1)
        one |= step
        other |= step
    return fold


def sample_image(image: torch.Tensor, pixel: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a picture at photo pixels, without aliasing where it is finer than the texels.

    Args:
        image: [H, W, C].
        pixel: [S, S, 2] (x, y).
        inside: [S, S] bool, the texels that matter.

    Returns:
        Colours [S, S, C] and whether the pixel lies inside the picture [S, S].
    """
    height, width = image.shape[:2]
    size = torch.tensor([width, height], device=image.device, dtype=image.dtype)
    within = ((pixel >= 0) & (pixel <= size)).all(-1)
    planes = image.permute(2, 0, 1)[None]
    step = _pixels_per_texel(pixel, inside)
    if step > 1.0:
        # One box-filtered level for the whole face: its texels differ in density by less than two.
        smaller = (max(1, round(height / step)), max(1, round(width / step)))
        # Plane by plane: PyTorch works on a copy.
        each = [functional.interpolate(plane, size=smaller, mode="area") for plane in planes.split(1, dim=1)]
        planes = torch.cat(each, dim=1)
    grid = pixel / size * 2 - 1
    colour = functional.grid_sample(planes, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    return colour[0].permute(1, 2, 0), within


def _pixels_per_texel(pixel: torch.Tensor, inside: torch.Tensor) -> float:
    """Median distance in the photo between neighbouring texels of the chart."""
    both = inside[:, 1:] & inside[:, :-1]
    steps = (pixel[:, 1:] - pixel[:, :-1]).norm(dim=-1)[both]
    return float(steps.median()) if steps.numel() else 0.0


@dataclass(frozen=True)
class TexturedView:
    """A rendered picture of a textured mesh; images have their first row on top."""

    colour: torch.Tensor
    """[H, W, 3] in [0, 1], black where nothing was hit."""
    coverage: torch.Tensor
    """[H, W] in [0, 1]."""
    uv: torch.Tensor
    """[H, W, 2] of the pixel centres at the drawn size, zero where nothing was hit."""


def render_textured(
    vertices: torch.Tensor,
    layout: UvLayout,
    texture: torch.Tensor,
    camera: Camera,
    size: tuple[int, int],
    oversample: int = 1,
) -> TexturedView:
    """Draw a textured mesh without light, differentiable in the texture.

    Args:
        vertices: [V, 3] canonical frame.
        layout: gives triangles and UV; its baked size does not matter.
        texture: [S, S, 3].
        camera: in pixels of ``size``.
        size: (height, width).
        oversample: draw that many times larger and average, which smooths edges.
    """
    height, width = size[0] * oversample, size[1] * oversample
    zoom = torch.diag(torch.tensor([oversample, oversample, 1.0], device=vertices.device))
    large = Camera(zoom @ camera.matrix, camera.rotation)
    raster = rasterize(large.clip(vertices, (height, width))[None], layout.triangles, (height, width)).flip(1)
    uv = interpolate(layout.uv[None], raster, layout.triangles)
    hit = (raster[..., 3:] > 0).to(texture.dtype)
    colour = sample_texture(texture[None], uv) * hit
    if oversample > 1:
        pool = torch.nn.AvgPool2d(oversample)
        colour, cover = (pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for x in (colour, hit))
        return TexturedView(colour[0], cover[0, ..., 0], uv[0])
    return TexturedView(colour[0], hit[0, ..., 0], uv[0])
