"""A face of nine vertices whose texture has a different colour in every corner."""

import numpy as np
import pytest
from scipy import sparse

from ostec.core.types import CompletedTexture, FittedFace, ProjectedView, TexturedFace, Topology


def toy_topology() -> Topology:
    """A grid of 3 x 3 vertices, counter-clockwise seen from +z."""
    rows, columns = np.divmod(np.arange(9, dtype=np.int32), 3)
    uv = np.stack([0.1 + 0.4 * columns, 0.1 + 0.4 * rows], axis=1).astype(np.float32)
    corner = np.array([0, 1, 3, 4], np.int32)
    triangles = np.concatenate([[[a, a + 1, a + 4], [a, a + 4, a + 3]] for a in corner]).astype(np.int32)
    points = np.zeros((468, 3), np.float32)
    return Topology(
        name="toy",
        sha256="0" * 64,
        triangles=triangles,
        uv=uv,
        operator=sparse.csr_matrix((9, 468)),
        mirror=np.array([2, 1, 0, 5, 4, 3, 8, 7, 6], np.int32),
        mirror_landmarks=np.arange(468, dtype=np.int32),
        mean_landmarks=points,
        rigid_weight=np.ones(468, np.float32),
    )


def toy_result() -> TexturedFace:
    topology = toy_topology()
    height = np.array([0, 3, 0, 1, 9, 1, 0, 2, 0], np.float32)  # the middle stands out
    vertices = np.concatenate([(topology.uv - 0.5) * 100, height[:, None]], axis=1).astype(np.float32)
    v, u = 1 - (np.arange(256) + 0.5) / 256, (np.arange(256) + 0.5) / 256
    texture = np.stack(np.broadcast_arrays(u[None, :], v[:, None], 0.25), axis=2).astype(np.float32)
    provenance = np.full((256, 256), 10, np.uint8)
    provenance[30:128, 30:220] = 1
    provenance[128:220, 30:220] = 3
    face = FittedFace(
        vertices=vertices,
        landmarks=np.arange(468 * 3, dtype=np.float32).reshape(468, 3),
        rotation=np.eye(3),
        camera_matrix=np.array([[2.0, 0, 0, 100], [0, -2, 0, 120], [0, 0, 0, 1]]),
        pose_deg=(4.0, -12.0, 1.5),
        scale=2.0,
        residual=0.8,
    )
    return TexturedFace(
        face=face,
        topology=topology,
        completed=CompletedTexture({"colour": texture}, provenance),
        frontal=texture[:64, :48],
        stages={"Photo": texture[:200, :100], "Seen & <trusted>": texture},
        views=(toy_view(),),
    )


def toy_view() -> ProjectedView:
    ramp = np.linspace(0, 1, 16, dtype=np.float32)
    return ProjectedView(
        name="front",
        render=np.repeat(np.tile(ramp, (16, 1))[..., None], 3, axis=2),
        trust=np.tile(ramp[::-1], (16, 1)),
        generated=np.repeat(np.tile(ramp[:, None], (1, 16))[..., None], 3, axis=2),
        latent=np.arange(36, dtype=np.float32).reshape(18, 2),
        losses={"pixel": 0.5, "total": 0.5, "start_total": 1.0},
        iterations=7,
    )


@pytest.fixture
def result() -> TexturedFace:
    return toy_result()
