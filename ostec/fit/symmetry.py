"""The side of a face that a photo does not show, from the side that it shows.

The landmark network guesses what is turned away, and the guess bends nose and mouth to one side. The more a face is
turned, the more its landmarks become those of the visible side and their mirror images.
"""

import numpy as np
import torch

from ostec.core.types import DoubleArray, FittedFace, FloatArray, Topology
from ostec.render.geometry import smoothstep, vertex_normals

FACING = (0.0, 0.35)
"""Cosine to the viewer up to which a landmark is not seen, and from which it is."""
BETTER = (0.1, 0.4)
"""By how much its mirror image must be seen better to take its place, first and fully."""
TURNED_DEG = (15.0, 40.0)
"""Yaw from which what both sides show is evened out, and from which they are equal."""


def landmarks_by_symmetry(face: FittedFace, topology: Topology) -> FloatArray:
    """The face's landmarks [N, 3] in canonical millimetres, unseen ones mirrored; those of a frontal face as they are.

    Args:
        face: its first N vertices are the landmarks.
        topology: of its mesh.
    """
    points = face.vertices[: len(face.landmarks)].astype(np.float64)
    normals = vertex_normals(torch.as_tensor(face.vertices), torch.as_tensor(topology.triangles)).numpy()
    facing = (normals[: len(points)] @ face.rotation.T)[:, 2]
    other = topology.mirror_landmarks
    hidden = (1 - smoothstep(facing, *FACING)) * smoothstep(facing[other] - facing, *BETTER)
    even = points + hidden[:, None] * (_mirrored(points)[other] - points)
    turned = smoothstep(np.abs(face.pose_deg[1]), *TURNED_DEG)
    return np.asarray(even + turned / 2 * (_mirrored(even)[other] - even), np.float32)


def _mirrored(points: DoubleArray) -> DoubleArray:
    return points * [-1, 1, 1]
