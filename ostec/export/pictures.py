"""Pictures of a finished face: the frontal portrait, the turntable, the projected views, the stages on the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ostec.core.types import (
    EYES,
    MOUTH_CORNERS,
    FittedFace,
    FloatArray,
    IntArray,
    ProjectedView,
    TexturedFace,
    Topology,
    UvObservation,
)
from ostec.export.mesh import face_part
from ostec.export.surfaces import Surface, draw, surface_of
from ostec.heads.parts import OUTSIDE, Head
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import write_png
from ostec.render.geometry import Camera, portrait_camera
from ostec.render.surface import border_edges

GROUND = 0.5
"""Grey behind rendered faces."""
FRONTAL_SIZE = 512
FACE_REACH_DEG, HEAD_REACH_DEG, HEAD_ZOOM = 50.0, 80.0, 0.75
"""How far the turntable turns to both sides, and how much smaller than a portrait a head is drawn there."""
FRONT_VIEW = "View from yaw 0"
"""Title of the page's picture that is the result's thumbnail, too."""
_MARK = (0.25, 1.0, 0.85)
"""Colour of what is drawn over the photo: no skin has it."""


def canonical_landmarks(face: FittedFace) -> FloatArray:
    """[468, 3]: the landmarks in the canonical frame; subdivision keeps them as the first vertices."""
    return face.vertices[: len(face.landmarks)]


def camera_of_portrait(
    face: FittedFace, pose_deg: tuple[float, float] = (0.0, 0.0), size: int = FRONTAL_SIZE
) -> Camera:
    """What frames a face at (pitch, yaw) as FFHQ does, in ``size`` x ``size`` pixels."""
    landmarks = canonical_landmarks(face)
    eyes = np.stack([landmarks[list(pair)].mean(0) for pair in EYES])
    return portrait_camera(eyes, landmarks[list(MOUTH_CORNERS)].mean(0), pose_deg, size)


class FaceRenderer:
    """Draws one topology's textured faces, or the heads made with them, on the CPU."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology

    def portrait(
        self,
        face: FittedFace,
        texture: FloatArray,
        pose_deg: tuple[float, float] = (0.0, 0.0),
        size: int = FRONTAL_SIZE,
        head: Sequence[Surface] = (),
        zoom: float = 1.0,
    ) -> FloatArray:
        """Picture [size, size, 3] in [0, 1] at (pitch, yaw) in FFHQ's framing, unlit, on plain grey.

        Args:
            texture: [S, S, 3] of the face.
            head: drawn in place of the face alone.
            zoom: how much larger than FFHQ's all is.
        """
        camera = camera_of_portrait(face, pose_deg, size)
        middle = torch.tensor([[zoom, 0, (1 - zoom) * size / 2], [0, zoom, (1 - zoom) * size / 2], [0, 0, 1]])
        shown = head or [surface_of(face_part(face, self._topology, texture))]
        return draw(shown, Camera(middle @ camera.matrix, camera.rotation), size, GROUND)

    def turntable(
        self, face: FittedFace, texture: FloatArray, head: Sequence[Surface] = (), count: int = 32
    ) -> FloatArray:
        """Frames [N, 384, 384, 3] of the face or the head turning left and right and back, to be played in a loop."""
        reach, zoom = (HEAD_REACH_DEG, HEAD_ZOOM) if head else (FACE_REACH_DEG, 1.0)
        turns = reach * np.sin(np.arange(count) * 2 * np.pi / count)
        return np.stack([self.portrait(face, texture, (0.0, float(yaw)), 384, head, zoom) for yaw in turns])


@dataclass(frozen=True)
class _CloseUp:
    """The photo round some points."""

    canvas: FloatArray
    """[side, side, 3]."""
    points: IntArray
    """[V, 2]: the points in it, 1/16 pixels, as cv2 draws them."""


def _close_up(image: FloatArray, vertices: FloatArray, face: FittedFace, side: int) -> _CloseUp:
    """The photo round the points ``vertices`` [V, 3] of the canonical frame, as the face's camera sees them."""
    import cv2

    pixels = (np.c_[vertices, np.ones(len(vertices))] @ face.camera_matrix.T)[:, :2]
    low, high = pixels.min(0), pixels.max(0)
    half = 0.65 * float((high - low).max())
    origin = (low + high) / 2 - half
    zoom = side / (2 * half)
    matrix = np.array([[zoom, 0, -origin[0] * zoom], [0, zoom, -origin[1] * zoom]])
    canvas = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT)
    return _CloseUp(canvas, np.round((pixels - origin) * zoom * 16).astype(np.int32))


def overlay_mesh(image: FloatArray, face: FittedFace, topology: Topology, side: int = 512) -> FloatArray:
    """The photo round the face with the mesh's outer edge and the landmarks drawn over it, [side, side, 3]."""
    import cv2

    shown = _close_up(image, face.vertices, face, side)
    canvas, points = shown.canvas, shown.points
    cv2.polylines(canvas, list(points[border_edges(topology.triangles)]), False, _MARK, 2, cv2.LINE_AA, 4)
    for point in points[: len(face.landmarks)]:
        cv2.circle(canvas, point.tolist(), 24, _MARK, -1, cv2.LINE_AA, 4)
    return np.clip(canvas, 0, 1).astype(np.float32)


def overlay_head(image: FloatArray, face: FittedFace, head: Head, side: int = 512) -> FloatArray:
    """The photo round a full head with those edges of its mesh drawn over it that face the viewer, [side, side, 3]."""
    import cv2

    parts = [part for part in head.parts if part.name in OUTSIDE]
    shown = _close_up(image, np.concatenate([part.vertices for part in parts]), face, side)
    lines, first = shown.canvas.copy(), 0
    for part in parts:
        corners = shown.points[part.triangles + first]
        one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        front = corners[one[:, 0] * other[:, 1] < one[:, 1] * other[:, 0]]  # rows run down
        cv2.polylines(lines, list(front), True, _MARK, 1, cv2.LINE_AA, 4)
        first += len(part.vertices)
    return np.clip((shown.canvas + lines) / 2, 0, 1).astype(np.float32)


def stage_pictures(
    image: FloatArray,
    seen: UvObservation,
    model: FloatArray | None,
    result: TexturedFace,
    renderer: FaceRenderer,
    head: Sequence[Surface] = (),
) -> dict[str, FloatArray]:
    """Pictures of the stages for the page, title -> [H, W, 3]: fit, unwrapped photo, prior, projections, renders.

    Args:
        seen: the photo in the layout.
        model: [s, s, 3] what the prior alone makes of it, if there is one.
        head: drawn in the renders in place of the face alone.
    """
    step = max(1, seen.size // 512)
    masked = seen.colour * (0.25 + 0.75 * seen.mask[..., None])
    pictures = {
        "Fitted mesh": overlay_mesh(image, result.face, result.topology),
        "Photo in UV, what is no face darkened": masked[::step, ::step],
    }
    if model is not None:
        pictures["Prior"] = model
    for view in result.views:
        seen_part = view.render * (0.25 + 0.75 * view.trust[..., None])
        title = f"{view.name.replace('_', ' ').capitalize()}: render, untrusted darkened; generated"
        pictures[title] = np.concatenate([seen_part, view.generated], axis=1)
    for yaw in (-40, 0, 40):
        pictures[f"View from yaw {yaw}"] = renderer.portrait(
            result.face, result.completed.colour, (0.0, yaw), 384, head
        )
    return pictures


def write_views(directory: Path, name: str, views: Sequence[ProjectedView]) -> list[Path]:
    """Write every projected view into NAME_views/: VIEW_render.png, VIEW_trust.png, VIEW_generated.png, VIEW.npz.

    The NPZ holds ``w``: W+ [num_ws, W]. Raises OutputError if a file cannot be written.
    """
    folder = make_folder(directory / f"{name}_views")
    written = []
    for view in views:
        trust = np.repeat(view.trust[..., None], 3, axis=2)
        for kind, picture in (("render", view.render), ("trust", trust), ("generated", view.generated)):
            written.append(folder / f"{view.name}_{kind}.png")
            write_png(written[-1], picture)
        written.append(folder / f"{view.name}.npz")
        latent = view.latent.astype(np.float32)
        write_atomic(written[-1], lambda stream, w=latent: np.savez_compressed(stream, w=w))  # type: ignore[misc]
    return written
