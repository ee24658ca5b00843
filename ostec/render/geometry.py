"""Rotations, cameras, normals and polygons, in the conventions of :mod:`ostec.core.types`."""

from dataclasses import dataclass
from math import asin, atan2, cos, radians, sin

import numpy as np
import torch

from ostec.core.types import Array, BoolArray, DoubleArray


def smoothstep(values: Array, low: float, high: float) -> Array:
    """Smoothly from 0 at ``low`` to 1 at ``high``, by the cubic that is flat at both ends."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def rotation_from_pose(pitch_deg: float, yaw_deg: float, roll_deg: float = 0.0) -> DoubleArray:
    """Rotation [3, 3] that turns the canonical frame into camera axes: R = Rz(roll) Ry(yaw) Rx(-pitch)."""
    p, y, r = radians(pitch_deg), radians(yaw_deg), radians(roll_deg)
    rx = np.array([[1, 0, 0], [0, cos(p), sin(p)], [0, -sin(p), cos(p)]])
    ry = np.array([[cos(y), 0, sin(y)], [0, 1, 0], [-sin(y), 0, cos(y)]])
    rz = np.array([[cos(r), -sin(r), 0], [sin(r), cos(r), 0], [0, 0, 1]])
    return rz @ ry @ rx


def pose_from_rotation(rotation: DoubleArray) -> tuple[float, float, float]:
    """(pitch, yaw, roll) in degrees of a rotation, the inverse of :func:`rotation_from_pose`.

    Yaw is within [-90, 90] and the other two within [-180, 180]; at a yaw of exactly +-90 roll is set to zero.
    """
    r = np.asarray(rotation, np.float64)
    # R = Rz Ry Rx(-p): last row is (-sin y, -cos y sin p', cos y cos p') with p' = -pitch turned by Rx's sign.
    yaw = asin(float(np.clip(-r[2, 0], -1, 1)))
    if abs(cos(yaw)) < 1e-9:
        # Gimbal lock: only roll -+ pitch is determined.
        return float(np.degrees(atan2(r[1, 2], r[1, 1]))), float(np.degrees(yaw)), 0.0
    pitch = atan2(-r[2, 1], r[2, 2])
    roll = atan2(r[1, 0], r[0, 0])
    return float(np.degrees(pitch)), float(np.degrees(yaw)), float(np.degrees(roll))


@dataclass(frozen=True)
class Camera:
    """A scaled-orthographic or perspective camera looking along -z of its own axes."""

    matrix: torch.Tensor
    """[3, 4]: homogeneous canonical millimetres to homogeneous pixels; last row (0, 0, 0, 1) means orthography."""
    rotation: torch.Tensor
    """[3, 3]: canonical to camera axes."""

    @property
    def orthographic(self) -> bool:
        """Whether all view rays are parallel."""
        return bool(torch.all(self.matrix[2, :3] == 0))

    def project(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points [..., 3] to pixels [..., 2] and to height towards the viewer [...] (millimetres, larger is nearer)."""
        h = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        towards = points @ self.rotation[2] if self.orthographic else -h[..., 2]
        return h[..., :2] / h[..., 2:], towards

    def clip(self, points: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Clip-space [..., 4] of ``points`` [..., 3] for an image of ``size`` (height, width); y up, near is -1.

        The depth range is that of the given points, widened by one per cent, so nothing of the face is clipped.
        """
        height, width = size
        h = points @ self.matrix[:, :3].T + self.matrix[:, 3]
        w = h[..., 2]
        x = 2 * h[..., 0] / width - w
        y = w - 2 * h[..., 1] / height
        if self.orthographic:
            towards = points @ self.rotation[2]
            centre = (towards.max() + towards.min()) / 2
            reach = (towards.max() - towards.min()).clamp(min=1e-6) * 0.505
            z = (centre - towards) / reach
        else:
            near, far = float(w.min()) * 0.99, float(w.max()) * 1.01
            z = ((far + near) * w - 2 * far * near) / (far - near)
        return torch.stack([x, y, z, w.expand_as(x)], dim=-1)

    def towards_viewer(self, points: torch.Tensor) -> torch.Tensor:
        """Unit vectors [..., 3], in the canonical frame, from ``points`` to the camera."""
        if self.orthographic:
            return self.rotation[2].expand_as(points)
        centre = -torch.linalg.solve(self.matrix[:, :3], self.matrix[:, 3])
        return torch.nn.functional.normalize(centre - points, dim=-1)


def orthographic_camera(
    rotation: DoubleArray, scale: float, centre: tuple[float, float], device: torch.device | str = "cpu"
) -> Camera:
    """Camera that maps the canonical origin to ``centre`` (pixels) at ``scale`` pixels per millimetre."""
    matrix = orthographic_matrix(rotation, scale, centre)
    return camera_from_matrix(matrix, rotation, device)


def orthographic_matrix(rotation: DoubleArray, scale: float, centre: tuple[float, float]) -> DoubleArray:
    """The [3, 4] camera matrix of :func:`orthographic_camera`; image rows run down, so the second row is negated."""
    matrix = np.zeros((3, 4))
    matrix[0, :3] = scale * rotation[0]
    matrix[1, :3] = -scale * rotation[1]
    matrix[:2, 3] = centre
    matrix[2, 3] = 1.0
    return matrix


def centred_camera(
    pose_deg: tuple[float, float],
    centre: tuple[float, float, float],
    span: float,
    size: int,
    device: torch.device | str = "cpu",
) -> Camera:
    """Orthographic camera that keeps one point of the head in the middle of a square picture.

    Args:
        pose_deg: (pitch, yaw) of the head in the picture.
        centre: canonical point, millimetres.
        span: side of the picture, millimetres.
        size: side of the picture, pixels.
        device: of the camera.
    """
    rotation = rotation_from_pose(*pose_deg)
    scale = size / span
    x, y, _ = rotation @ np.asarray(centre)
    return orthographic_camera(rotation, scale, (size / 2 - scale * float(x), size / 2 + scale * float(y)), device)


def portrait_camera(
    eyes: DoubleArray, mouth: DoubleArray, pose_deg: tuple[float, float], size: int, device: torch.device | str = "cpu"
) -> Camera:
    """Camera that frames a face as FFHQ frames its portraits (Karras et al. 2019, aligned by eyes and mouth).

    Args:
        eyes: [2, 3] the eyes' centres in the canonical frame.
        mouth: [3] the mouth's centre.
        pose_deg: (pitch, yaw) of the face in the picture.
        size: side of the picture in pixels.
        device: of the camera.
    """
    between = eyes.mean(0)
    # FFHQ: half side = max(2.0 x eye distance, 1.8 x eye to mouth), centre a tenth of the way towards the mouth.
    half = max(2.0 * float(np.linalg.norm(eyes[1] - eyes[0])), 1.8 * float(np.linalg.norm(between - mouth)))
    scale = size / (2 * half)
    pitch, yaw = pose_deg
    # The frame follows the nod but turns about the head's axis, so that a profile stays in the picture.
    centre = rotation_from_pose(pitch, 0) @ (between + 0.1 * (mouth - between))
    offset = (size / 2 - scale * float(centre[0] * cos(radians(yaw))), size / 2 + scale * float(centre[1]))
    return orthographic_camera(rotation_from_pose(pitch, yaw), scale, offset, device)


def camera_from_matrix(matrix: DoubleArray, rotation: DoubleArray, device: torch.device | str = "cpu") -> Camera:
    """A :class:`Camera` from a record's arrays, in float32 on ``device``."""
    return Camera(
        torch.as_tensor(matrix, dtype=torch.float32, device=device),
        torch.as_tensor(rotation, dtype=torch.float32, device=device),
    )


def vertex_normals(vertices: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """Unit normals [..., V, 3], outward, weighted by triangle area; a vertex of degenerate triangles alone gets zero.

    Args:
        vertices: [..., V, 3].
        triangles: [F, 3], counter-clockwise from outside.
    """
    index = triangles.long()
    a, b, c = (vertices[..., index[:, k], :] for k in range(3))
    face = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals = normals.index_add(-2, index[:, k], face)
    return torch.nn.functional.normalize(normals, dim=-1, eps=1e-12)


def in_polygon(x: Array, y: Array, polygon: Array) -> BoolArray:
    """Whether points lie in a polygon: a ray from each to the right crosses an odd number of edges (even-odd rule).

    Args:
        x: coordinates of the points, any shape.
        y: the same shape.
        polygon: [K, 2] corners in order; the last is joined to the first.

    Returns:
        The shape of ``x``. Of two polygons that share an edge, a point on it lies in one alone.

    Raises:
        ValueError: the shapes differ, or the polygon is no [K, 2].
    """
    if x.shape != y.shape:
        raise ValueError(f"expected x and y of one shape, got {x.shape} and {y.shape}")
    if polygon.ndim != 2 or polygon.shape[1] != 2:
        raise ValueError(f"expected a polygon [K, 2], got {polygon.shape}")
    inside = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 != y1:
            crosses = (y0 > y) != (y1 > y)
            inside ^= crosses & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return inside
