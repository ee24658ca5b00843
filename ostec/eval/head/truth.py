"""Ground truth from a textured head: its pictures at any pose, and its texture in the project's UV layout.

The true texture in the UV layout is found in three steps:

1. Every view of a grid goes through detector, dense landmarks and fit as a photo does, which says which texel lies
   where in the picture; the picture's map of true positions turns that into a point of the head per texel and view.
2. The points of all views are averaged, weighted by a power of the cosine of the view angle, and put back onto the
   head.
3. The colours are read where that point is in each view, with the same weights from the true normals. All views show
   the same point of the same head, so the average does not blur; under a light too, since the lamp turns with the head.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional

from ostec.core.assets import load_manifest, sha256_of
from ostec.core.errors import AssetError, FaceError, UsageError
from ostec.core.types import EYE_CORNER_DISTANCE_MM, EYE_CORNERS, ORIGIN_SETBACK_MM, BoolArray, FittedFace, FloatArray
from ostec.detect.faces import detect_faces, largest
from ostec.detect.landmarks import detect_landmarks
from ostec.eval.head.mesh import Head, PartFiles
from ostec.eval.jobs import digest_of, program_digest
from ostec.eval.report.drawing import LIGHTS, SEEN_TOLERANCE_MM, SIDE, HeadView, look_up, render_head, seen_by
from ostec.fit.dense import fit_dense
from ostec.io.arrays import NUMBERS, TEXTS, read_npz
from ostec.io.files import write_atomic
from ostec.pipeline.models import Models
from ostec.render.geometry import Camera, camera_from_matrix, orthographic_camera, rotation_from_pose
from ostec.render.uv import bake_layout, sample_image, view_surface

logger = logging.getLogger(__name__)

FACE_HEIGHT = 350.0
"""Height in pixels of the box around the landmarks of the frontal picture."""
GRID_YAWS_DEG = (-60, -40, -20, 0, 20, 40, 60)
GRID_PITCHES_DEG = (-20, 0, 20)
POSE_TOLERANCE_DEG = 20.0
"""A view whose fitted yaw is further off than this is left out of the truth: its landmarks are wrong."""
COSINE_POWER = 6.0
SNAP_MM = 6.0
"""An averaged point this far from the head is not trusted: inside a nostril, or landmarks that disagree."""
MOUTH_MARGIN = 0.012
"""Texels this near to the opening of the mouth, in UV, have no truth: views of a closed mouth disagree about them."""
UV_SIZE = 512
CACHE = "truth.npz"
_KEPT = ("position", "normal", "valid", "skin")


@dataclass(frozen=True)
class UvTruth:
    """What is true of each texel of the project's layout. S is the layout's side."""

    textures: Mapping[str, FloatArray]
    """Light -> [S, S, 3] in [0, 1]; as the views' fits show it where not valid, and the nearest colour outside the
    chart."""
    position: FloatArray
    """[S, S, 3] on the head; meaningless where not valid."""
    normal: FloatArray
    """[S, S, 3] unit; meaningless where not valid."""
    valid: BoolArray
    """[S, S]: inside the chart but not between the lips, shown by some view, and found on the head."""
    skin: BoolArray
    """[S, S]: valid and away from eyes and mouth."""
    views: int
    """How many views of the grid have a face that could be fitted."""

    def unseen(self, view: HeadView) -> BoolArray:
        """[S, S]: texels with a truth that ``view`` does not show."""
        seen = seen_by(view, torch.from_numpy(self.position), torch.from_numpy(self.normal))
        return self.valid & ~seen.numpy()


class FaceReader:
    """The way of a photo as far as the fit: detector, dense landmarks, mesh; and the UV layout."""

    def __init__(self, models: Models, size: int = UV_SIZE) -> None:
        """Take built networks on the CPU, and bake the layout at ``size`` x ``size`` texels."""
        self._models = models
        self.topology = models.topology
        self.layout = bake_layout(models.topology, size)

    def fit(self, image: FloatArray) -> FittedFace:
        """Fit the mesh to the largest face of [H, W, 3]. Raises FaceError where there is none."""
        face = largest(detect_faces(image, self._models.mtcnn))
        if face is None:
            raise FaceError("No face was found.")
        return fit_dense(detect_landmarks(image, face, self._models.facemesh), self.topology)


def camera_of(face: FittedFace) -> Camera:
    """The camera of a fit."""
    return camera_from_matrix(face.camera_matrix, face.rotation)


@dataclass(frozen=True)
class Studio:
    """A head in millimetres and the frame of its pictures."""

    head: Head
    scale: float
    """Pixels per millimetre."""
    centre: tuple[float, float]
    """Pixel of the head's origin."""

    def shoot(self, pitch_deg: float, yaw_deg: float, lights: Sequence[str] = ("unlit",)) -> HeadView:
        """Draw the head at a pose."""
        camera = orthographic_camera(rotation_from_pose(pitch_deg, yaw_deg), self.scale, self.centre)
        return render_head(self.head, camera, lights)


def set_up(head: Head, reader: FaceReader) -> Studio:
    """Bring a head of any unit into the canonical frame, by the landmarks of its frontal picture, and frame its face.

    Raises UsageError where no face is found on the head.
    """
    low, high = head.vertices.amin(0), head.vertices.amax(0)
    scale = 0.9 * SIDE / float((high - low).max())
    middle = ((low + high) / 2 * scale).tolist()
    camera = orthographic_camera(np.eye(3), scale, (SIDE / 2 - middle[0], SIDE / 2 + middle[1]))
    view = render_head(head, camera)
    try:
        landmarks = torch.from_numpy(reader.fit(view.images["unlit"]).landmarks)
        corners = look_up(view.position, landmarks[list(EYE_CORNERS), :2], "bilinear")
        distance = float((corners[0] - corners[1]).norm())
    except FaceError:
        distance = 0.0
    if not distance > 0:
        raise UsageError("No face was found on the head; it has to look along +z with y up, and to have its texture.")
    unit = EYE_CORNER_DISTANCE_MM / distance
    origin = corners.mean(0) - torch.tensor([0, 0, ORIGIN_SETBACK_MM / unit])
    box = landmarks[:, :2].amin(0), landmarks[:, :2].amax(0)
    zoom = FACE_HEIGHT / float(box[1][1] - box[0][1])
    offset = (camera.project(origin)[0] - (box[0] + box[1]) / 2) * zoom + SIDE / 2
    moved = replace(head, vertices=(head.vertices - origin) * unit)
    return Studio(moved, scale * zoom / unit, (float(offset[0]), float(offset[1])))


@dataclass(frozen=True)
class _Unwrapped:
    """A view of the grid, with the point of the head that it puts each texel on."""

    view: HeadView
    colours: dict[str, torch.Tensor]
    position: torch.Tensor
    weight: torch.Tensor


def uv_truth(studio: Studio, reader: FaceReader) -> UvTruth:
    """The head's texture under each light, positions and normals in the project's layout; see the module.

    Raises UsageError where no view of the grid has a face that can be fitted.
    """
    found = [u for pitch in GRID_PITCHES_DEG for yaw in GRID_YAWS_DEG if (u := _unwrap(studio, reader, pitch, yaw))]
    if not found:
        raise UsageError("No view of the head has a face that can be fitted.")
    views, weights = [u.view for u in found], [u.weight for u in found]
    average, total = _weighted([u.position for u in found], weights)
    position, normal = _onto_head(average, views)
    valid = reader.layout.inside & (total > 1e-4) & ((position - average).norm(dim=-1) < SNAP_MM)
    textures, shown = gathered_colours(position, normal, views)
    valid &= shown > 1e-4
    regions, size = reader.topology.regions, reader.layout.size
    valid &= ~torch.from_numpy(_polygon(regions["mouth"], size))
    empty = (~valid & (total < 1e-4)).numpy()
    nearest = tuple(ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True))
    for light, texture in textures.items():
        direct, _ = _weighted([u.colours[light] for u in found], weights)
        textures[light] = torch.where(valid[..., None], texture, direct)
    features = np.any([_polygon(regions[k], size) for k in ("eye_left", "eye_right", "lips")], axis=0)
    spread, known = {light: texture.numpy()[nearest] for light, texture in textures.items()}, valid.numpy()
    return UvTruth(spread, position.numpy(), normal.numpy(), known, known & ~features, len(found))


def _unwrap(studio: Studio, reader: FaceReader, pitch: int, yaw: int) -> _Unwrapped | None:
    """A view of the grid; none where no face is found or its fit is off."""
    view = studio.shoot(pitch, yaw, tuple(LIGHTS))
    try:
        face = reader.fit(view.images["unlit"])
    except FaceError:
        logger.info("Left out of the truth: the view at pitch %d, yaw %d has no face.", pitch, yaw)
        return None
    if abs(face.pose_deg[1] - yaw) > POSE_TOLERANCE_DEG:
        logger.info("Left out of the truth: pitch %d, yaw %d is fitted at yaw %.0f.", pitch, yaw, face.pose_deg[1])
        return None
    surface = view_surface(torch.from_numpy(face.vertices), camera_of(face), reader.layout)
    inside = ((surface.pixel >= 0) & (surface.pixel <= SIDE)).all(-1)
    hit = look_up(view.hit[..., None].float(), surface.pixel, "bilinear")[..., 0] > 0.999
    weight = surface.cosine.clamp(min=0) ** COSINE_POWER * (surface.visible & hit & inside)
    images = {light: torch.from_numpy(image) for light, image in view.images.items()}
    colours = {light: sample_image(image, surface.pixel, reader.layout.inside)[0] for light, image in images.items()}
    return _Unwrapped(view, colours, look_up(view.position, surface.pixel, "bilinear"), weight)


def _weighted(values: Sequence[torch.Tensor], weights: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean of [S, S, C] by [S, S], and the sum of the weights."""
    summed, total = torch.zeros_like(values[0]), torch.stack(list(weights)).sum(0)
    for value, weight in zip(values, weights, strict=True):
        summed += value * weight[..., None]
    return summed / total.clamp(min=1e-9)[..., None], total


def _polygon(corners: FloatArray, size: int) -> BoolArray:
    """Texels [S, S] of a polygon [K, 2] in UV, and those within ``MOUTH_MARGIN`` of it."""
    import cv2

    pixels = (corners * [1, -1] + [0, 1]) * size
    canvas = np.zeros((size, size), np.uint8)
    cv2.fillPoly(canvas, [np.round(pixels).astype(np.int32)], 1)
    return np.asarray(ndimage.binary_dilation(canvas > 0, iterations=round(MOUTH_MARGIN * size)))


def _onto_head(position: torch.Tensor, views: list[HeadView]) -> tuple[torch.Tensor, torch.Tensor]:
    """Put points near the head onto it, along the rays of the view that faces each most: (position, normal)."""
    best = torch.full(position.shape[:-1], -torch.inf)
    snapped, normal = torch.zeros_like(position), torch.zeros_like(position)
    for view in views:
        pixel, towards = view.camera.project(position)
        there = look_up(view.normal, pixel, "nearest")
        near = (towards - look_up(view.towards[..., None], pixel, "nearest")[..., 0]).abs() < 4 * SEEN_TOLERANCE_MM
        score = torch.where(near, there @ view.camera.rotation[2], -1.0)
        better = (score > best)[..., None]
        best = torch.maximum(score, best)
        snapped = torch.where(better, look_up(view.position, pixel, "bilinear"), snapped)
        normal = torch.where(better, functional.normalize(look_up(view.normal, pixel, "bilinear"), dim=-1), normal)
    return snapped, normal


def gathered_colours(
    position: torch.Tensor, normal: torch.Tensor, views: list[HeadView]
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Weighted colours [S, S, 3] by light of points of the head in all views that see them; sum of weights [S, S]."""
    colours = {light: torch.zeros_like(position) for light in views[0].images}
    total = torch.zeros(position.shape[:-1])
    everywhere = torch.ones(position.shape[:-1], dtype=torch.bool)
    for view in views:
        weight = (normal @ view.camera.rotation[2]).clamp(min=0) ** COSINE_POWER * seen_by(view, position, normal)
        pixel = view.camera.project(position)[0]
        for light, image in view.images.items():
            colours[light] += sample_image(torch.from_numpy(image), pixel, everywhere)[0] * weight[..., None]
        total += weight
    return {light: c / total.clamp(min=1e-9)[..., None] for light, c in colours.items()}, total


def cached_uv_truth(studio: Studio, reader: FaceReader, parts: Sequence[PartFiles], cache: Path) -> UvTruth:
    """:func:`uv_truth`, kept in ``cache`` (.npz) while the head's files, topology, networks and program last.

    Raises as that, and OutputError where the cache cannot be written.
    """
    files = [sha256_of(path) for part in parts for path in (part.mesh, part.texture)]
    weights = [entry.sha256 for name in ("mtcnn", "facemesh") for entry in load_manifest(name).files]
    key = digest_of(reader.topology.sha256, weights, files, program_digest())
    try:
        stored = read_npz(cache, kinds=NUMBERS + TEXTS)
        if str(stored["key"]) == key:
            textures = {light: stored[f"texture_{light}"] for light in LIGHTS}
            position, normal, valid, skin = (stored[name] for name in _KEPT)
            return UvTruth(textures, position, normal, valid, skin, int(stored["views"]))
    except (AssetError, ValueError, KeyError):
        pass  # missing or damaged: it is made anew
    truth = uv_truth(studio, reader)
    arrays: dict[str, Any] = {f"texture_{light}": texture for light, texture in truth.textures.items()}
    arrays |= {name: getattr(truth, name) for name in (*_KEPT, "views")} | {"key": np.array(key)}
    write_atomic(cache, lambda stream: np.savez(stream, **arrays))
    return truth
