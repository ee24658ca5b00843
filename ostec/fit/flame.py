"""Linear blend skinning of FLAME: how the jaw opens and the eyes and the neck turn.

Follows Li, Bolkart, Black, Li, Romero, "Learning a model of facial shape and expression from 4D scans" (2017), eq. 1-3:
the unposed head plus the pose's corrections, each vertex moved by its joints' rotations.
"""

import numpy as np

from ostec.core.morphable import Skinning
from ostec.core.types import DoubleArray, FloatArray


def pose_head(vertices: FloatArray, skinning: Skinning, rotations: DoubleArray) -> FloatArray:
    """Bend a head at its joints.

    Args:
        vertices: [V, 3], the head of some identity and expression, unposed.
        skinning: of the same model.
        rotations: [J, 3] axis times angle in radians, each joint's relative to the one it hangs on, in the order of
            ``skinning.names``.

    Returns:
        [V, 3].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    count = len(skinning.parents)
    if rotations.shape != (count, 3) or vertices.shape != (len(skinning.weights), 3):
        expected = f"{(len(skinning.weights), 3)} vertices and {(count, 3)} rotations"
        raise ValueError(f"expected {expected}, got {vertices.shape} and {rotations.shape}")
    turns = np.stack([rotation_matrix(rotation) for rotation in rotations])  # [J, 3, 3]
    joints = skinning.joints.astype(np.float64) @ vertices  # [J, 3]
    bent = vertices + skinning.corrections @ (turns[1:] - np.eye(3)).reshape(-1)  # [V, 3]
    moved = np.empty((count, 3, 4))  # of a vertex: rotation, then translation
    for joint, parent in enumerate(skinning.parents):
        above = moved[parent] if parent >= 0 else np.eye(3, 4)
        rotation = above[:, :3] @ turns[joint]
        place = above[:, :3] @ joints[joint] + above[:, 3]
        moved[joint] = np.column_stack([rotation, place - rotation @ joints[joint]])
    of_vertex = np.einsum("vj,jab->vab", skinning.weights, moved)  # [V, 3, 4]
    posed = np.einsum("vab,vb->va", of_vertex[:, :, :3], bent) + of_vertex[:, :, 3]
    return posed.astype(np.float32)


def rotation_matrix(rotation: DoubleArray) -> DoubleArray:
    """Rodrigues' formula: the [3, 3] matrix of an axis times its angle in radians, [3]."""
    angle = float(np.linalg.norm(rotation))
    if angle == 0:
        return np.eye(3)
    x, y, z = np.asarray(rotation, np.float64) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turned: DoubleArray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return turned
