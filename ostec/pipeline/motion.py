"""A track as a moving head: an animated GLB, meshes, and a preview over the frames."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from ostec.core.types import ByteArray, DoubleArray, FloatArray, IntArray
from ostec.export.gltf import head_glb
from ostec.export.track import TrackRow
from ostec.fit.tracking import View
from ostec.heads.moving import MovingHead
from ostec.heads.parts import EYE_JOINTS, HEAD_JOINT, Head, Motion, Rig
from ostec.heads.rig import ARKIT, as_neutral
from ostec.io.files import make_folder, write_atomic
from ostec.io.images import encode_png
from ostec.io.video import Frame, VideoWriter
from ostec.render.geometry import camera_from_matrix, rotation_from_pose

DRAWN_SIDE = 320
"""Side in pixels that the head is drawn at in a preview, at most."""
PREVIEW_SIDE = 854
"""Longest side of a preview."""


def write_moving(folder: Path, stem: str, head: Head, rows: Sequence[TrackRow], meshes: str = "none") -> list[str]:
    """Write ``STEM.glb``, the head with its motion, and the meshes of all frames; returns the files' names."""
    if head.rig is None:
        raise ValueError("expected a head with a rig")
    pictures = {part.name: encode_png(part.texture) for part in head.parts if part.texture is not None}
    content = head_glb(stem.removesuffix("_track"), as_neutral(head), pictures, motion=motion_of(rows, head.rig))
    write_atomic(folder / f"{stem}.glb", content)
    names = [f"{stem}.glb"]
    if meshes != "none":
        moving = MovingHead(head)
        for row in rows:
            points = moving.shape(*pose_of(row, head.rig)) @ row.rotation.T + row.place
            names.append(f"{stem}_meshes/{row.index:06}.{meshes}")
            path = make_folder(folder / f"{stem}_meshes") / f"{row.index:06}.{meshes}"
            write_atomic(path, mesh_file(points.astype(np.float32), moving.triangles, meshes))
    return names


def pose_of(row: TrackRow, rig: Rig) -> tuple[FloatArray, dict[str, DoubleArray]]:
    """Values of a rig's expressions and rotations of its eyes, as a row has them; the head itself is not turned."""
    values = np.array([row.expression[ARKIT.index(name)] if name in ARKIT else 0.0 for name in rig.targets], np.float32)
    turns = {
        joint: rotation_from_pose(*eye)
        for joint, eye in zip(EYE_JOINTS, row.eyes_deg, strict=True)
        if joint in rig.joints.names
    }
    return values, turns


def motion_of(rows: Sequence[TrackRow], rig: Rig) -> Motion:
    """A track as an animation: expressions, the joint of the head, the eyes; the whole moves from its first place."""
    names = rig.joints.names
    pivot = rig.joints.places[names.index(HEAD_JOINT)].astype(np.float64) if HEAD_JOINT in names else np.zeros(3)
    turned = [pose_of(row, rig) for row in rows]
    places = np.array([row.place - pivot + row.rotation @ pivot for row in rows])
    first = next((k for k, row in enumerate(rows) if row.seen), 0)
    turns = {HEAD_JOINT: [row.rotation for row in rows]} if HEAD_JOINT in names else {}
    turns |= {joint: [eyes[joint] for _, eyes in turned] for joint in EYE_JOINTS if joint in names}
    return Motion(
        np.array([row.time_s for row in rows], np.float32),
        np.array([values for values, _ in turned], np.float32),
        (places - places[first]).astype(np.float32),
        {joint: Rotation.from_matrix(np.array(all_)).as_quat().astype(np.float32) for joint, all_ in turns.items()},
    )


def mesh_file(vertices: FloatArray, triangles: IntArray, kind: str) -> bytes:
    """An OBJ or a binary PLY."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    made = mesh.export(file_type=kind)
    return made.encode() if isinstance(made, str) else bytes(made)


def write_preview(
    path: Path, frames: Iterable[Frame], fps: float, head: Head, rows: Sequence[TrackRow], focal: float
) -> None:
    """Write a video of the head over the frames that it was tracked in.

    Args:
        path: of the WebM.
        frames: the same as were tracked.
        fps: of the video.
        head: that moves.
        rows: of the track.
        focal: the camera's focal length in longer sides of the frame.

    Raises:
        OutputError: it cannot be written.
    """
    moving, known = MovingHead(head), {row.index: row for row in rows}
    writer: VideoWriter | None = None
    size = (0, 0)
    try:
        for frame in frames:
            image = _at_most(frame.image, PREVIEW_SIDE)
            if writer is None:
                size = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
                writer = VideoWriter(path, fps, size[1], size[0])
            row = known.get(frame.index)
            if row is not None and row.seen:
                view = View(focal * max(image.shape[:2]), (image.shape[1] / 2, image.shape[0] / 2))
                image = over(image, moving, row, view)
            writer.write(_fitted(image, size))
        if writer is not None:
            writer.close()
    finally:
        if writer is not None:
            writer.drop()


def over(image: ByteArray, moving: MovingHead, row: TrackRow, view: View) -> ByteArray:
    """A frame [H, W, 3] with the head drawn where it was seen."""
    import cv2

    points = moving.shape(*pose_of(row, moving.rig))
    there = points @ row.rotation.T + row.place
    pixels = there[:, :2] * [1, -1] * view.focal / -there[:, 2:] + view.middle
    height, width = image.shape[:2]
    low = np.clip(np.floor(pixels.min(0)).astype(int), 0, [width - 1, height - 1])
    high = np.clip(np.ceil(pixels.max(0)).astype(int), low + 1, [width, height])
    zoom = min(1.0, DRAWN_SIDE / float((high - low).max()))
    size = np.maximum(np.round((high - low) * zoom).astype(int), 1)
    shown = (size / (high - low)) @ np.eye(2)
    inner = np.array(
        [
            [view.focal * shown[0], 0, (view.middle[0] - low[0]) * shown[0]],
            [0, view.focal * shown[1], (view.middle[1] - low[1]) * shown[1]],
            [0, 0, 1],
        ]
    )
    flip = np.diag([1.0, -1.0, -1.0])
    matrix = inner @ np.hstack([flip @ row.rotation, (flip @ row.place)[:, None]])
    picture, hit = moving.draw(points, camera_from_matrix(matrix, row.rotation), (int(size[1]), int(size[0])))
    whole = (int(high[0] - low[0]), int(high[1] - low[1]))
    drawn = cv2.resize(np.dstack([picture, hit.astype(np.float32)]), whole, interpolation=cv2.INTER_LINEAR)
    share, result = drawn[..., 3:], image.copy()
    part = result[low[1] : high[1], low[0] : high[0]]
    part[:] = np.clip(part * (1 - share) + drawn[..., :3] * 255, 0, 255).astype(np.uint8)
    return result


def _at_most(image: ByteArray, side: int) -> ByteArray:
    import cv2

    share = side / max(image.shape[:2])
    return image if share >= 1 else cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)


def _fitted(image: ByteArray, size: tuple[int, int]) -> ByteArray:
    """A frame of the video's size: cut, or filled up with black."""
    frame = np.zeros((*size, 3), np.uint8)
    part = image[: size[0], : size[1]]
    frame[: len(part), : part.shape[1]] = part
    return frame
