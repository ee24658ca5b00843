"""Fit without a morphable model: the dense landmarks themselves are the shape; only the rigid pose is estimated."""

import numpy as np

from ostec.core.errors import FaceError
from ostec.core.types import (
    EYE_CORNER_DISTANCE_MM,
    EYE_CORNERS,
    ORIGIN_SETBACK_MM,
    DoubleArray,
    FaceLandmarks,
    FittedFace,
    FloatArray,
    Topology,
)
from ostec.fit.settings import DenseFitSettings
from ostec.render.geometry import orthographic_matrix, pose_from_rotation


def fit_dense(landmarks: FaceLandmarks, topology: Topology, settings: DenseFitSettings | None = None) -> FittedFace:
    """Turn dense landmarks into a face mesh in the canonical frame, with the scaled-orthographic camera that saw it.

    The similarity that takes the mean face onto the landmarks is found by Umeyama's closed form (1991) inside
    iteratively reweighted least squares (Cauchy weights times the topology's rigid weights), so that an open mouth or a
    raised brow does not turn the head.

    Raises:
        FaceError: the landmarks are degenerate (not finite, on a line, or the eye corners in one place).
    """
    settings = settings or DenseFitSettings()
    seen = np.asarray(landmarks.points, np.float64) * [1, -1, -1]  # photo frame -> camera axes
    mean = np.asarray(topology.mean_landmarks, np.float64)
    corners = np.linalg.norm(seen[EYE_CORNERS[0]] - seen[EYE_CORNERS[1]])
    if not np.isfinite(seen).all() or corners < 1e-6 or _on_a_line(seen):
        raise FaceError("The landmarks of the face are degenerate, so no mesh can be fitted.")
    base = np.asarray(topology.rigid_weight, np.float64)
    weight = base
    for _ in range(settings.iterations):
        scale, rotation, offset = weighted_similarity(mean, seen, weight)
        error = np.linalg.norm(scale * mean @ rotation.T + offset - seen, axis=1) / corners
        weight = base / (1 + (error / settings.robust_scale) ** 2)
    shape = (seen - offset) @ rotation / scale
    left, right = shape[EYE_CORNERS[0]], shape[EYE_CORNERS[1]]
    unit = EYE_CORNER_DISTANCE_MM / float(np.linalg.norm(left - right))
    # Move and scale so that the outer eye corners lie where the canonical frame wants them; the camera follows.
    origin = (left + right) / 2 - np.array([0, 0, ORIGIN_SETBACK_MM]) / unit
    vertices = topology.operator @ ((shape - origin) * unit)
    centre = scale * rotation @ origin + offset
    residual = float(np.sqrt((weight * error**2).sum() / weight.sum()) * 100)
    pixels = scale / unit
    return FittedFace(
        vertices=vertices.astype(np.float32),
        landmarks=np.asarray(landmarks.points, np.float32),
        rotation=rotation,
        camera_matrix=orthographic_matrix(rotation, pixels, (float(centre[0]), float(-centre[1]))),
        pose_deg=pose_from_rotation(rotation),
        scale=float(pixels),
        residual=residual,
    )


def as_canonical(face: FittedFace, vertices: FloatArray, rotation: DoubleArray, camera: DoubleArray) -> FittedFace:
    """A face whose mesh and camera have changed, in the canonical frame again.

    Args:
        face: as it was; its landmarks and residual are kept.
        vertices: [V, 3] nearly canonical; the eye corners say where the frame is.
        rotation: [3, 3].
        camera: [3, 4] scaled orthography of these vertices.
    """
    left, right = (vertices[k].astype(np.float64) for k in EYE_CORNERS)
    unit = EYE_CORNER_DISTANCE_MM / float(np.linalg.norm(left - right))
    origin = (left + right) / 2 - np.array([0, 0, ORIGIN_SETBACK_MM]) / unit
    matrix = camera.copy()
    matrix[:2, :3] /= unit
    matrix[:2, 3] += camera[:2, :3] @ origin
    return FittedFace(
        vertices=((vertices - origin) * unit).astype(np.float32),
        landmarks=face.landmarks,
        rotation=rotation,
        camera_matrix=matrix,
        pose_deg=pose_from_rotation(rotation),
        scale=float(np.linalg.norm(matrix[0, :3])),
        residual=face.residual,
    )


def stretch_of(landmarks: FloatArray, topology: Topology) -> float:
    """How much wider than high a photo shows a face than it is, as the landmarks [N, 3] have it; 1 if as it is.

    Both rows of a scaled-orthographic camera are of one length, however the head is turned: those of the best affine
    camera for the mean face are not if the photo was stretched.
    """
    weight = np.sqrt(np.asarray(topology.rigid_weight, np.float64))[:, None]
    mean = np.hstack([topology.mean_landmarks, np.ones((len(landmarks), 1))])
    camera = np.linalg.lstsq(mean * weight, landmarks[:, :2] * weight, rcond=None)[0]
    across, down = np.linalg.norm(camera[:3], axis=0)
    return float(across / max(down, 1e-9))


def _on_a_line(points: DoubleArray) -> bool:
    """Whether points [N, 3] extend in one direction only, so that nothing says how they are turned about it."""
    extent = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return bool(extent[1] < 1e-3 * extent[0])


def face_from_camera(vertices: FloatArray, landmarks: FloatArray, camera_matrix: DoubleArray) -> FittedFace:
    """A fitted face from what ``NAME.npz`` keeps of it; the rotation is read off the scaled-orthographic camera."""
    scale = float(np.linalg.norm(camera_matrix[0, :3]))
    right, down = camera_matrix[0, :3] / scale, camera_matrix[1, :3] / scale
    rotation = np.stack([right, -down, np.cross(right, -down)])
    return FittedFace(
        vertices, landmarks, rotation, camera_matrix, pose_from_rotation(rotation), scale, residual=float("nan")
    )


def weighted_similarity(
    source: DoubleArray, target: DoubleArray, weight: DoubleArray
) -> tuple[float, DoubleArray, DoubleArray]:
    """Scale, rotation [3, 3] and offset [3] of the similarity that takes ``source`` nearest to ``target``, both [N, 3].

    Umeyama, Least-squares estimation of transformation parameters between two point patterns (1991), eq. 40 to 42, with
    weights [N].
    """
    w = (weight / weight.sum())[:, None]
    ms, mt = (w * source).sum(0), (w * target).sum(0)
    u, s, vt = np.linalg.svd((w * (target - mt)).T @ (source - ms))
    d = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * d) @ vt
    scale = float((s * d).sum() / (w * (source - ms) ** 2).sum())
    return scale, rotation, mt - scale * rotation @ ms
