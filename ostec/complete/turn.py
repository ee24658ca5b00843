"""The whole photo as a relief that is turned to the front: head, hair, neck, clothes.

In the manner of HPEN (Zhu et al., High-Fidelity Pose and Expression Normalization, CVPR 2015) every pixel of the person
gets a depth: the fitted head's where that is, beyond its outline one that falls off backwards. The relief is turned to
the front, where what turns away lies behind, and what is stretched counts as not seen. Chest and shoulders keep the
photo's pose, as the picture's border does there: they are only shifted, so that they go on below the neck.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, map_coordinates

from ostec.complete.settings import TurnSettings
from ostec.core.types import Array, BoolArray, DoubleArray, FloatArray, IntArray, PhotoAround
from ostec.render.geometry import Camera, smoothstep
from ostec.render.rasterize import interpolate, rasterize

CHIN, FOREHEAD = 152, 10
"""FaceMesh ids."""
RIM = 3
"""Width in pixels of the head's edge, whose depth goes on beyond it."""
OVAL = 0.98
"""Size of the part of the face's outline within which depth is as sharp as the mesh."""
RAYS = 256


@dataclass(frozen=True)
class Frame:
    """A picture's parallel view of canonical space; lengths in millimetres, depth towards the viewer."""

    scale: float
    """Pixels per millimetre."""
    rotation: DoubleArray
    """[3, 3] canonical to the picture's axes: x to the right, y up, z towards the viewer."""
    offset: DoubleArray
    """[2]: the pixel of the canonical origin."""

    @classmethod
    def of(cls, matrix: DoubleArray) -> "Frame":
        """Of a camera [2 or 3, 4] without perspective: homogeneous canonical millimetres to pixels."""
        rows = np.asarray(matrix, np.float64)[:2]
        scale = float(np.linalg.norm(rows[0, :3]))
        x, y = rows[0, :3] / scale, -rows[1, :3] / scale
        return cls(scale, np.stack([x, y, np.cross(x, y)]), rows[:, 3])

    def pixels(self, points: DoubleArray) -> DoubleArray:
        """Points [..., 3] in this picture's axes, millimetres, to (x, y, depth): pixels and millimetres."""
        x, y, z = np.moveaxis(points, -1, 0)
        return np.stack([self.offset[0] + self.scale * x, self.offset[1] - self.scale * y, z], axis=-1)

    def points(self, pixels: DoubleArray) -> DoubleArray:
        """The inverse of :meth:`pixels`."""
        u, v, z = np.moveaxis(pixels, -1, 0)
        return np.stack([(u - self.offset[0]) / self.scale, (self.offset[1] - v) / self.scale, z], axis=-1)


@dataclass(frozen=True)
class Drawn:
    """A mesh's depth image."""

    depth: FloatArray
    """[H, W] millimetres towards the viewer; -inf where nothing is."""
    raster: torch.Tensor
    """[1, H, W, 4] as a rasteriser returns, rows from the top."""


def draw_depth(pixels: DoubleArray, triangles: IntArray, size: tuple[int, int]) -> Drawn:
    """Rasterise vertices ``pixels`` [V, 3] (x, y, depth) in a picture of ``size`` (height, width)."""
    height, width = size
    z = pixels[:, 2]
    low, high = float(z.min()), float(z.max()) + 1e-3
    flat = np.stack([2 * pixels[:, 0] / width - 1, 2 * pixels[:, 1] / height - 1], axis=1)
    nearness = 1 - 2 * (z - low) / (high - low)
    position = torch.from_numpy(np.c_[flat, 0.99 * nearness, np.ones(len(z))].astype(np.float32))
    raster = rasterize(position[None], torch.from_numpy(triangles), size)  # rows run down in both
    found = raster[0].numpy()
    depth = low + (1 - found[..., 2] / 0.99) / 2 * (high - low)
    return Drawn(np.where(found[..., 3] > 0, depth, -np.inf).astype(np.float32), raster)


@dataclass(frozen=True)
class Relief:
    """The person in a photo with a depth for each pixel of a grid; N x N vertices."""

    frame: Frame
    """Of the photo's crop."""
    step: int
    """Pixels of the crop between neighbours."""
    depth: FloatArray
    """[N, N] millimetres in the frame's axes."""
    still: FloatArray
    """[N, N] in [0, 1]: how far a point keeps the photo's pose."""
    chest: FloatArray
    """[N, N] in [0, 1]: how far a point lies below the neck."""


def relief_of(
    photo: PhotoAround, matte: FloatArray, corners: FloatArray, landmarks: FloatArray, settings: TurnSettings
) -> Relief:
    """Give every pixel of a photo's person a depth.

    Args:
        photo: the head with its surroundings.
        matte: [S, S] in [0, 1]: how far each pixel is the person's.
        corners: [F, 3, 3] triangles of the head, canonical millimetres.
        landmarks: [468, 3] canonical millimetres.
        settings: of the relief.
    """
    import cv2

    side, frame = len(matte), Frame.of(photo.camera)
    half, mm = side // 2, 2 / frame.scale
    head = frame.pixels(corners.reshape(-1, 3).astype(np.float64) @ frame.rotation.T) * (0.5, 0.5, 1)
    drawn = draw_depth(head, np.arange(len(head), dtype=np.int32).reshape(-1, 3), (half, half)).depth
    hit = np.isfinite(drawn)
    marks = frame.pixels(landmarks.astype(np.float64) @ frame.rotation.T)
    away = cv2.distanceTransform((~hit).astype(np.uint8), cv2.DIST_L2, 5)
    rim = hit & (cv2.distanceTransform(hit.astype(np.uint8), cv2.DIST_L2, 5) < RIM)
    outside = pulled(np.where(rim, drawn, 0)[..., None], rim.astype(np.float32))[..., 0] - settings.fall * away * mm
    whole = np.where(hit, drawn, outside).astype(np.float32)
    soft = cv2.GaussianBlur(whole, (0, 0), settings.soft / mm)
    face = smoothstep(cv2.GaussianBlur(_oval(marks[:, :2] / 2, half), (0, 0), settings.soft / mm / 2), 0.3, 0.7)
    grid = np.arange(0, side + 1, settings.step)
    at = np.stack(np.meshgrid(grid / 2, grid / 2, indexing="ij"))
    middle = frame.pixels(frame.rotation @ np.array(settings.middle))[1::-1] / 2
    tall = float(np.linalg.norm(marks[CHIN, :2] - marks[FOREHEAD, :2])) / 2
    below = _below_hair(at, hit, matte[::2, ::2], middle, tall, settings)
    at = below + (at - below) * map_coordinates(face, at - 0.5, order=1, mode="nearest") - 0.5
    depth = map_coordinates(soft + (whole - soft) * face, at, order=1, mode="nearest")
    rows = np.broadcast_to((grid[:, None] - marks[CHIN, 1]) / frame.scale, depth.shape)
    aside = np.abs(grid[None, :] - frame.pixels(frame.rotation @ np.array(settings.neck))[0]) / frame.scale
    chest = smoothstep(rows, *settings.below_chin)
    still = np.maximum(chest, smoothstep(aside, *settings.beside))
    return Relief(frame, settings.step, depth.astype(np.float32), still.astype(np.float32), chest.astype(np.float32))


def _oval(marks: DoubleArray, side: int) -> FloatArray:
    """[S, S]: 1 in the hull of the landmarks [N, 2], slightly smaller."""
    import cv2

    middle = marks.mean(0)
    hull = cv2.convexHull(((marks - middle) * OVAL + middle).astype(np.float32)).round().astype(np.int32)
    return np.asarray(cv2.fillConvexPoly(np.zeros((side, side), np.float32), hull, 1.0))


def _below_hair(
    at: DoubleArray, hit: BoolArray, matte: FloatArray, middle: DoubleArray, tall: float, settings: TurnSettings
) -> DoubleArray:
    """Where places take their depth from: hair that stands out is the head's surface moved outwards.

    Along every ray from the head's middle, what lies between the face's border and the outline of the hair is mapped
    onto what lies between that border and the outline of the head.

    Args:
        at: [2, N, N] rows and columns.
        hit: [S, S] where the head is.
        matte: [S, S] in [0, 1]: where the person is.
        middle: [2] row and column of the head's middle.
        tall: height of the face in pixels.
        settings: of the relief.

    Returns:
        [2, N, N] rows and columns.
    """
    angles = np.linspace(-np.pi, np.pi, RAYS, endpoint=False)
    steps = np.arange(0, 1.5 * tall)
    way = np.stack([np.sin(angles), np.cos(angles)])
    rays = middle[:, None, None] + way[..., None] * steps  # [2, RAYS, steps]

    def reach(picture: "Array | BoolArray") -> DoubleArray:
        """How far along each ray the picture stays above a half."""
        values = map_coordinates(picture.astype(np.float32), rays - 0.5, order=1, cval=0)
        out = (values < 0.5) & (steps > 0.15 * tall)
        return np.where(out.any(1), out.argmax(1), len(steps) - 1).astype(np.float64)

    of_head = reach(hit)
    thick = np.clip(reach(matte) - of_head, 0, settings.thickest * tall) * smoothstep(-way[0], *settings.upwards)
    relative = at - middle[:, None, None]
    radius = np.hypot(*relative)
    turn = ((np.arctan2(relative[0], relative[1]) + np.pi) / (2 * np.pi) * RAYS)[None]
    rim, grown = (
        map_coordinates(gaussian_filter1d(values, width, mode="wrap"), turn, order=1, mode="grid-wrap")
        for values, width in ((of_head, 2), (thick, 4))
    )
    start = settings.face_share * rim
    moved = np.where(radius > start, start + (radius - start) * (rim - start) / (rim - start + grown), radius)
    moved = np.where(radius > rim + grown, radius - grown, moved)
    return np.asarray(middle[:, None, None] + relative * (moved / np.maximum(radius, 1e-6)))


@dataclass(frozen=True)
class TurnedRelief:
    """A relief seen from the front, h x w pixels."""

    places: FloatArray
    """[h, w, 2]: which pixel (x, y) of the crop is seen; meaningless where nothing is."""
    depth: FloatArray
    """[h, w] canonical millimetres towards the viewer; -inf where nothing is."""
    stretch: FloatArray
    """[h, w]: how much longer than in the photo, at the same scale, the photo's picture is at most."""


def turn(relief: Relief, front: Camera, size: int, settings: TurnSettings) -> TurnedRelief:
    """Draw a relief in a frontal view of ``size`` x ``size`` pixels, without the triangles that turn away."""
    count = len(relief.depth)
    grid = np.arange(count) * float(relief.step)
    x, y = np.meshgrid(grid, grid)
    pixels = np.stack([x, y, relief.depth], axis=-1)
    points, there = relief.frame.points(pixels), Frame.of(front.matrix.double().numpy())
    turned = points @ relief.frame.rotation
    neck = np.array(settings.neck)
    shifted = points + neck - relief.frame.rotation @ neck
    still = relief.still[..., None]
    moved = there.pixels(turned + (shifted - turned) * still).reshape(-1, 3)
    ids = np.arange(count * count, dtype=np.int32).reshape(count, count)
    a, b, c, d = ids[:-1, :-1], ids[:-1, 1:], ids[1:, 1:], ids[1:, :-1]
    triangles = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    whole = there.scale / relief.frame.scale
    facing, stretch = _stretch(pixels.reshape(-1, 3)[:, :2], moved[:, :2], triangles)
    kept = facing & (stretch < settings.torn * whole)
    triangles, stretch = np.ascontiguousarray(triangles[kept]), stretch[kept] / whole
    drawn = draw_depth(moved, triangles, (size, size))
    uses = np.bincount(triangles.ravel(), minlength=len(moved))
    shared = np.bincount(triangles.ravel(), np.repeat(stretch, 3), len(moved)) / np.maximum(uses, 1)
    each = torch.from_numpy(np.c_[pixels.reshape(-1, 3)[:, :2], shared].astype(np.float32))
    found = interpolate(each[None], drawn.raster, torch.from_numpy(triangles))[0].numpy()
    stretched = np.where(np.isfinite(drawn.depth), found[..., 2], np.inf)
    return TurnedRelief(np.ascontiguousarray(found[..., :2]), drawn.depth, stretched.astype(np.float32))


def _stretch(before: DoubleArray, after: DoubleArray, triangles: IntArray) -> tuple[BoolArray, DoubleArray]:
    """Whether triangles keep their side up, and the larger singular value of the map from before to after, [F]."""
    p, q = (points[triangles[:, 1:]] - points[triangles[:, :1]] for points in (before, after))  # [F, 2, 2] rows
    det = p[:, 0, 0] * p[:, 1, 1] - p[:, 0, 1] * p[:, 1, 0]
    inverse = np.stack([p[:, 1, 1], -p[:, 0, 1], -p[:, 1, 0], p[:, 0, 0]], -1).reshape(-1, 2, 2) / det[:, None, None]
    jacobian = inverse @ q
    area = jacobian[:, 0, 0] * jacobian[:, 1, 1] - jacobian[:, 0, 1] * jacobian[:, 1, 0]
    total = (jacobian**2).sum((1, 2))
    larger = np.sqrt((total + np.sqrt(np.maximum(total**2 - 4 * area**2, 0))) / 2)
    return area > 0, larger


def pulled(values: Array, weight: Array) -> FloatArray:
    """Values [H, W, C] kept where the weight [H, W] is 1, and smoothly filled elsewhere (pull-push)."""
    import cv2

    levels = [np.dstack([values * weight[..., None], weight]).astype(np.float32)]
    while min(levels[-1].shape[:2]) > 2:
        levels.append(cv2.pyrDown(levels[-1]))
    coarse: Array = levels[-1][..., :-1] / np.maximum(levels[-1][..., -1:], 1e-6)
    for level in reversed(levels[:-1]):
        up = cv2.pyrUp(coarse, dstsize=level.shape[1::-1]).reshape(*level.shape[:2], -1)
        share = np.clip(level[..., -1:], 0, 1)
        own = level[..., :-1] / np.maximum(level[..., -1:], 1e-6)
        sure = np.clip(share * 4, 0, 1) if level is not levels[0] else share
        coarse = up + (own - up) * sure
    return np.asarray(coarse)
