"""A photo through the fitted mesh into the UV layout."""

import functools

import torch
from scipy.ndimage import distance_transform_edt
from torch.nn import functional

from ostec.core.types import BoolArray, FittedFace, FloatArray, Topology, UvObservation
from ostec.render.geometry import camera_from_matrix, vertex_normals
from ostec.render.uv import UvLayout, bake_layout, sample_image, view_surface

_DEPTH_SIDE = (256, 768)
"""Smallest and largest depth image; between them it follows the layout's size."""


class Unwrapper:
    """Brings pictures into the layout of one topology; keeps the baked charts, one for each size that was asked for."""

    def __init__(self, topology: Topology, device: torch.device | str = "cpu") -> None:
        self.topology = topology
        self.device = torch.device(device)
        self._layouts: dict[int, UvLayout] = {}

    def layout(self, size: int) -> UvLayout:
        """Return the chart baked at ``size`` texels."""
        if size not in self._layouts:
            self._layouts[size] = bake_layout(self.topology, size, self.device)
        return self._layouts[size]

    @functools.cached_property
    def on_cpu(self) -> "Unwrapper":
        """The same for what is computed on the CPU whatever the device: light and shape."""
        return self if self.device.type == "cpu" else Unwrapper(self.topology)

    def unwrap(self, image: FloatArray, face: FittedFace, size: int) -> UvObservation:
        """Read the photo at every texel.

        Args:
            image: [H, W, 3] in [0, 1], the photo that ``face`` was fitted to.
            face: mesh and camera.
            size: side S of the texture.

        Returns:
            What the photo shows; its mask is still the whole chart.
        """
        layout = self.layout(size)
        vertices = torch.as_tensor(face.vertices, device=self.device)
        camera = camera_from_matrix(face.camera_matrix, face.rotation, self.device)
        depth_side = min(max(_DEPTH_SIDE[0], size), _DEPTH_SIDE[1])
        view = view_surface(vertices, camera, layout, depth_side)
        picture = torch.as_tensor(image, device=self.device)
        colour, within = sample_image(picture, view.pixel, layout.inside)
        visible = view.visible & within
        normal = functional.normalize(layout.attribute(vertex_normals(vertices, layout.triangles)), dim=-1)
        inside = layout.inside
        return UvObservation(
            colour=(colour * visible[..., None]).cpu().numpy(),
            cosine=view.cosine.cpu().numpy(),
            visible=visible.cpu().numpy(),
            mask=inside.to(colour.dtype).cpu().numpy(),
            margin_mm=view.margin_mm.cpu().numpy(),
            normal=(normal @ camera.rotation.T).cpu().numpy(),
            inside=inside.cpu().numpy(),
        )


def resize_map(values: FloatArray, size: int) -> FloatArray:
    """Resample [S, S] or [S, S, C] to ``size``: averaged when smaller, bilinear when larger."""
    planes = torch.from_numpy(values.reshape(*values.shape[:2], -1)).permute(2, 0, 1)[None]
    if size < len(values):
        planes = functional.interpolate(planes, size=(size, size), mode="area")
    elif size > len(values):
        planes = functional.interpolate(planes, size=(size, size), mode="bilinear", align_corners=False)
    return planes[0].permute(1, 2, 0).reshape(size, size, *values.shape[2:]).numpy().copy()


def enlarge_inside(values: FloatArray, inside: BoolArray, size: int) -> FloatArray:
    """Resample [S, S, C] to a larger layout by cubic interpolation (bilinear shows its grid on smooth skin).

    The chart's border is repeated outwards first, so that no black leaks in.
    """
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    planes = torch.from_numpy(values[nearest[0], nearest[1]]).permute(2, 0, 1)[None]
    large = functional.interpolate(planes, size=(size, size), mode="bicubic", align_corners=False)
    return large[0].permute(1, 2, 0).numpy().copy()
